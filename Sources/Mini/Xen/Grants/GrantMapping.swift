// Pages of another domain in this process's memory: the steps of GrantMachine on gntdev. The error
// names the reference at fault where the kernel says only EINVAL.

/// How pages are to be mapped.
struct MappingPlan {
    var isWritable = false
    var notification = UnmapNotification()
    /// Bits of a byte, by its offset, that are set before the notification is armed.
    var presetBits: (offset: Int, bits: UInt8)?
    /// How long a granter may take to bring back pages that it has moved out.
    var deadline: Deadline
}

/// Mapped pages of another domain, unmapped when the last owner goes.
final class GrantMapping {
    private let pages: GrantedPages

    /// - Throws: `.grant` or `.readOnlyGrant` with the first reference that Xen refuses, `.deadline`,
    ///   `.limit`, or the kernel's errno.
    init(
        _ grants: GrantList, on device: GntDev, _ plan: MappingPlan
    ) throws(GrantError) {
        pages = try GrantedPages(
            MappingSteps(grants, device, plan), isNotifying: !plan.notification.isEmpty)
    }

    /// The pages, one after the other, for as long as this object is kept (`unmap` at the end of
    /// their use keeps it). Their content may change at any moment: the granter has
    /// them too.
    var bytes: UnsafeMutableRawBufferPointer { unsafe pages.bytes }

    /// Unmaps the pages now. `bytes` is empty afterwards.
    func unmap() throws(GrantError) { try pages.unmap() }
}

private final class MappingSteps: GrantSteps {
    private let grants: GrantList
    private let device: GntDev
    private let plan: MappingPlan

    init(_ grants: GrantList, _ device: GntDev, _ plan: MappingPlan) {
        self.grants = grants
        self.device = device
        self.plan = plan
    }

    func reference() throws(GrantError) -> GrantIndex {
        do throws(Errno) { return try device.reference(grants) } catch {
            if error == .invalid, let most = device.limit, grants.pages.count > most {
                throw .limit(
                    "\(grants.name) are too many: gntdev of this kernel maps at most \(most) at once"
                )
            }
            throw device.failure("map", grants, error)
        }
    }

    func map(_ index: GrantIndex) throws(GrantError) -> Mapping? {
        do throws(Errno) {
            let mapping = try device.map(index, isWritable: plan.isWritable)
            if let (offset, bits) = plan.presetBits {
                unsafe SharedMemory(mapping.bytes).set8(offset, bits)
            }
            return mapping
        } catch {
            switch error {
            case .again: return nil
            case .invalid: throw device.culprit(of: grants, isWritable: plan.isWritable)
            default: throw device.failure("map", grants, error)
            }
        }
    }

    func arm(_ index: GrantIndex) throws(GrantError) {
        do throws(Errno) { try device.notify(plan.notification, of: index) } catch {
            throw notificationFailure(plan.notification, of: grants.name, error)
        }
    }

    func release(_ index: GrantIndex) throws(GrantError) {
        do throws(Errno) { try device.release(index) } catch {
            throw device.failure("release", grants, error)
        }
    }

    func wait() throws(GrantError) {
        if plan.deadline.isOver {
            throw .deadline("the pages of \(grants.name) were not there in time")
        }
        plan.deadline.sleep(atMost: Self.pause)
    }

    private static let pause = Nanoseconds.milliseconds(2)
}
