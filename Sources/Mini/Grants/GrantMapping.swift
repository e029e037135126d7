// Granted pages in this process's memory: all of them or none. The driver beside GrantMachine, which
// makes its calls. On whatever fails nothing stays mapped and no index stays behind, and the error
// names the reference at fault where the kernel says only EINVAL.

/// How pages are to be mapped.
struct MappingPlan {
    var isWritable = false
    var notification = UnmapNotification()
    /// How long a granter may take to bring back pages that it has moved out.
    var deadline: Deadline
}

/// Mapped pages of another domain, unmapped when the last owner goes. A process that is forked
/// does not have them.
final class GrantMapping {
    let grants: GrantList
    private let device: GntDev
    private let plan: MappingPlan
    private var machine: GrantMachine
    private var pages: Mapping?

    /// - Throws: `.grant` or `.readOnlyGrant` with the first reference that Xen refuses, `.deadline`,
    ///   `.limit`, or the kernel's errno.
    init(
        _ grants: GrantList, on device: GntDev, _ plan: MappingPlan
    ) throws(GrantError) {
        self.grants = grants
        self.device = device
        self.plan = plan
        machine = GrantMachine(isNotifying: !plan.notification.isEmpty)
        try drive(.opened)
    }

    deinit { try? drive(.finished) }

    /// The pages, one behind the other. Their content may change at any moment: the granter has
    /// them too.
    var bytes: UnsafeMutableRawBufferPointer {
        // Without pages there would be no object.
        unsafe pages?.bytes ?? UnsafeMutableRawBufferPointer(start: nil, count: 0)
    }

    /// Unmaps the pages now. `bytes` is empty afterwards.
    func unmap() throws(GrantError) { try drive(.finished) }

    /// Does what the machine says until it needs nothing more.
    private func drive(_ event: GrantMachine.Event) throws(GrantError) {
        var event = event
        while let action = machine.handle(event) {
            switch action {
            case .use: return
            case .end(let error):
                if let error { throw error }
                return
            default: event = perform(action)
            }
        }
    }

    private func perform(_ action: GrantMachine.Action) -> GrantMachine.Event {
        do throws(GrantError) {
            switch action {
            case .reference: return .referenced(try reference())
            case .map(let index): return try map(index)
            case .arm(let index):
                try arm(index)
                return .armed
            case .unmap:
                pages = nil
                return .unmapped
            case .release(let index):
                try release(index)
                return .released
            case .wait, .use, .end:
                try wait()
                return .resumed
            }
        } catch { return .failed(error) }
    }

    // MARK: The steps

    private func reference() throws(GrantError) -> GrantIndex {
        do throws(Errno) { return try device.reference(grants) } catch {
            if error == .invalid, let most = XenDevice.gntdev.limit,
                grants.pages.count > most
            {
                throw .limit(
                    "\(grants.name) are too many: gntdev of this kernel maps at most \(most) at once"
                )
            }
            throw device.failure("map", grants, error)
        }
    }

    private func map(_ index: GrantIndex) throws(GrantError) -> GrantMachine.Event {
        do throws(Errno) {
            pages = try device.map(index, isWritable: plan.isWritable)
            return .mapped
        } catch {
            switch error {
            case .again: return .busy
            case .invalid: throw device.culprit(of: grants, isWritable: plan.isWritable)
            default: throw device.failure("map", grants, error)
            }
        }
    }

    private func arm(_ index: GrantIndex) throws(GrantError) {
        do throws(Errno) { try device.notify(plan.notification, of: index) } catch {
            if error == .invalid, let port = plan.notification.port {
                throw .use("event port \(port.rawValue) is not bound by a process of this domain")
            }
            throw device.failure("have a notification for", grants, error)
        }
    }

    private func release(_ index: GrantIndex) throws(GrantError) {
        do throws(Errno) { try device.release(index) } catch {
            throw device.failure("release", grants, error)
        }
    }

    /// Gives the granter some time, if there is any left.
    private func wait() throws(GrantError) {
        if plan.deadline.isOver {
            throw .deadline("the pages of \(grants.name) were not there in time")
        }
        Clock.sleep(min(Self.pause, plan.deadline.remaining ?? Self.pause))
    }

    private static let pause = Nanoseconds.milliseconds(2)
}
