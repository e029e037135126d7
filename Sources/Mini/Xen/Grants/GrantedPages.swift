// Pages that two domains share, in this process's memory: all of them or none. The driver beside
// GrantMachine; which device's calls its steps are is not its business. On whatever fails nothing
// stays mapped and no index stays behind.

/// The machine's actions as the calls of one device: gntdev for pages of others (GrantMapping.swift),
/// gntalloc for our own (SharedPages.swift).
protocol GrantSteps: AnyObject {
    /// Gets an index for the pages; nothing is mapped yet.
    func reference() throws(GrantError) -> GrantIndex
    /// - Throws: nothing for a page that is not there yet: that is nil.
    func map(_ index: GrantIndex) throws(GrantError) -> Mapping?
    /// Asks Xen to notify the other domain when the mapping goes.
    func arm(_ index: GrantIndex) throws(GrantError)
    /// Gives the index back, when nothing is mapped by it.
    func release(_ index: GrantIndex) throws(GrantError)
    /// Lets some time pass, if there is any left.
    func wait() throws(GrantError)
}

/// Mapped pages, unmapped when the last owner goes. A process that is forked does not have them.
final class GrantedPages {
    private let steps: any GrantSteps
    private var machine: GrantMachine
    private var pages: Mapping?

    init(_ steps: any GrantSteps, isNotifying: Bool) throws(GrantError) {
        self.steps = steps
        machine = GrantMachine(isNotifying: isNotifying)
        try drive(.opened)
    }

    deinit { try? unmap() }

    /// The pages, one after the other, for as long as this object is kept (`unmap` at the end of
    /// their use keeps it). Their content may change at any moment: another domain
    /// has them too.
    var bytes: UnsafeMutableRawBufferPointer {
        unsafe pages?.bytes ?? UnsafeMutableRawBufferPointer(start: nil, count: 0)
    }

    /// Unmaps the pages now. `bytes` is empty afterwards.
    func unmap() throws(GrantError) { if !machine.isReleased { try drive(.finished) } }

    /// Does what the machine says until it needs nothing more.
    private func drive(_ event: GrantMachine.Event) throws(GrantError) {
        var event = event
        var failure: GrantError?
        while true {
            guard let action = machine.handle(event) else {
                throw .defect(state: "\(machine.stateName)")
            }
            do throws(GrantError) {
                guard let next = try perform(action) else { break }
                event = next
            } catch {
                // What fails while this is undone is not what went wrong.
                if failure == nil { failure = error }
                event = .failed
            }
        }
        if let failure { throw failure }
    }

    /// - Returns: nil if that needs nothing more.
    private func perform(
        _ action: GrantMachine.Action
    ) throws(GrantError) -> GrantMachine.Event? {
        switch action {
        case .reference: return .referenced(try steps.reference())
        case .map(let index):
            pages = try steps.map(index)
            return pages == nil ? .busy : .mapped
        case .arm(let index):
            try steps.arm(index)
            return .armed
        case .unmap:
            pages = nil
            return .unmapped
        case .release(let index):
            try steps.release(index)
            return .released
        case .wait:
            try steps.wait()
            return .resumed
        case .use, .end: return nil
        }
    }
}

/// What is wrong with a notification.
func notificationFailure(
    _ notification: UnmapNotification, of pages: Text, _ errno: Errno
) -> GrantError {
    if errno == .invalid, let port = notification.port {
        return .use("event port \(port.rawValue) is not bound by a process of this domain")
    }
    return .system("have a notification for \(pages)", errno)
}
