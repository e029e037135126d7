// The domain at the other side of something that is kept for long, looked at now and then. No event tells that a
// domain was destroyed, that another domain has its number, or that this domain was saved and restored and the
// pages that it had granted are gone. The store knows.
// Source: docs/abi/xen-grants.md §7.

/// Another domain, as it was at the first look.
final class PeerDomain {
    let domain: DomainID
    private let deadline: Deadline
    /// Kept open: in a sandbox it could not be opened again. Nil after a failure, until the next look.
    private var store: XenStore?
    private var wasThere = false
    private let awaitsSuspension: Bool
    private var isWatching = false
    private var isConfined = false
    private var shutdown = Shutdown.unknown
    private var isDown = false
    /// Asked where it answers: what the store says of a suspension is gone within a moment.
    private let state: () -> DomainState?
    private let assistant: Assistant?
    /// What the store said of it, and of this domain, when it first could.
    private var machine: [UInt8]?
    private var own: [UInt8]?
    /// Entries by which the other domain finds what waits for it, as long as it has not come.
    var entries: [(path: StorePath, value: Text)] = []

    /// How long to wait between two looks.
    static let pause = Nanoseconds.milliseconds(3000)
    /// How long the store may take each time: the caller has signals to look at meanwhile, and looks again.
    private static let patience = Nanoseconds.milliseconds(1000)
    private static let mostEvents = 1 << 16

    /// Why the other side cannot be reached any more.
    enum Breach: Equatable {
        /// The domain was there, and is not any more.
        case ended(DomainID)
        /// It was saved to a file, or has moved: should it come back, then with another number.
        case suspended(DomainID)
        /// It was told something that could not be read in time, perhaps to let itself be saved.
        case endedAsTold(DomainID)
        /// It was started again, or restored, with another number.
        case renumbered(DomainID, Text)
        /// Another domain has its number.
        case replaced(DomainID)
        /// This domain has another number than before: it was saved and restored, or has moved.
        case restored(as: Text)
        /// What leads the other side here was removed, or leads somewhere else.
        case overwritten(StorePath)

        var words: Text {
            switch self {
            case .ended(let domain): "domain \(domain.rawValue) has ended"
            case .suspended(let domain):
                "domain \(domain.rawValue) was suspended: should it be restored, it is another domain"
            case .endedAsTold(let domain):
                "domain \(domain.rawValue) has ended as it was told to, or was suspended: nobody could see which"
            case .renumbered(let domain, let number):
                "domain \(domain.rawValue) is domain \(visible: number) now"
            case .replaced(let domain): "domain \(domain.rawValue) is not the same domain any more"
            case .restored(let number):
                "this domain was restored as domain \(visible: number): nobody has its pages any more"
            case .overwritten(let path):
                "others have changed \(quoted: path.text), so nobody can come"
            }
        }
    }

    /// What the domain is about to do, as far as the store has said.
    private enum Shutdown {
        case unknown
        /// Told by the toolstack, and the domain has taken the word out of the store before we could read it.
        case told
        /// Told to let itself be saved, or down for that reason.
        case suspended
        /// Told to end in another way, or down for another reason.
        case ended
    }

    /// A domain that has not come yet, has not ended.
    /// - Parameter awaitsSuspension: whether it matters how the domain ends.
    /// - Parameter deadline: with the signals that are held back, which end a look.
    /// - Parameter state: what the hypervisor says, asked in another way than by an assistant.
    init(
        _ domain: DomainID, awaitsSuspension: Bool = false, _ deadline: Deadline = .never,
        state: (() -> DomainState?)? = nil
    ) {
        self.domain = domain
        self.deadline = deadline
        self.awaitsSuspension = awaitsSuspension
        let assistant =
            awaitsSuspension && state == nil ? Hypervisor.assistant(for: domain) : nil
        self.assistant = assistant
        self.state = state ?? { assistant?.ask().flatMap { DomainState(code: $0) } }
        _ = look()
    }

    /// Readable when there may be something to look at before the pause is over; nil while nothing tells.
    var descriptor: Int32? { isWatching ? store?.descriptor : nil }

    /// Looks once. A store that does not answer, for whatever reason, has ended nothing.
    func look() -> Breach? {
        do throws(GrantError) { return try ask() } catch {
            // What came too late may still come.
            if !(store?.isUsable ?? false) {
                store = nil
                isWatching = false
            }
            return nil
        }
    }

    /// Of the assistant, where there is one.
    var assistants: [Int32] { assistant?.descriptors ?? [] }

    /// From now on no other connection is opened.
    /// - Returns: the one that there is.
    func confine() -> Int32? {
        isConfined = true
        return store?.descriptor
    }

    private func ask() throws(GrantError) -> Breach? {
        let store: XenStore
        if let open = self.store {
            store = open
        } else if isConfined {
            return nil
        } else {
            store = try XenStore(deadline: deadline.within(Self.patience))
        }
        self.store = store
        store.deadline = deadline.within(Self.patience)
        // First: both are there for a moment only.
        if awaitsSuspension { try watchSuspension(store) }
        if let breach = try restoration(store) { return breach }
        switch try introduction(store) {
        case "F":
            return wasThere ? try departure(store) : nil
        case "T": wasThere = true
        default: break
        }
        if let breach = try exchange(store) { return breach }
        for (path, value) in entries {
            let now = try store.valueIfAny(path)
            if now.map({ !(Text(bytes: $0) == value) }) ?? true {
                // Perhaps with all that a domain had, since the looks above: the other one, or this one, which was saved.
                if let breach = try restoration(store) { return breach }
                return try exchange(store) ?? .overwritten(path)
            }
        }
        return nil
    }

    /// Whether this domain has another number than before.
    private func restoration(_ store: XenStore) throws(GrantError) -> Breach? {
        guard let number = try value("domid", store) else { return nil }
        if let own, own != number { return .restored(as: Text(bytes: number)) }
        own = number
        return nil
    }

    /// How the domain went that is not there any more.
    private func departure(_ store: XenStore) throws(GrantError) -> Breach {
        if let number = try successor(store) { return .renumbered(domain, number) }
        return switch shutdown {
        case .suspended: .suspended(domain)
        case .told: .endedAsTold(domain)
        case .unknown, .ended: .ended(domain)
        }
    }

    /// Whether the number is another machine's by now, or free: a toolstack removes what a domain has in the store
    /// before the domain itself, when it runs no more.
    private func exchange(_ store: XenStore) throws(GrantError) -> Breach? {
        let now = try value("/local/domain/\(domain.rawValue)/vm", store)
        guard let machine else {
            machine = now
            return nil
        }
        guard let now else { return try departure(store) }
        return machine == now ? nil : .replaced(domain)
    }

    /// The toolstack writes what a domain is to do, and the domain takes it away at once. Once it has done so it is
    /// down, until the toolstack has written all of its memory.
    private func watchSuspension(_ store: XenStore) throws(GrantError) {
        // Asked first, before anything is waited for.
        let state = state()
        let path = try StorePath(named: "/local/domain/\(domain.rawValue)/control/shutdown")
        if !isWatching {
            guard try watch(path, store) else { return }
            isWatching = true
            store.lastingEvent = path.text
            // When a domain goes down, and when it has ended.
            _ = try watch(try StorePath(named: "@releaseDomain"), store)
        }
        var isTold = false
        // One event for each change, and for each that the domain makes below. What is left is an event at once.
        for _ in 0..<Self.mostEvents {
            guard !store.deadline.isOver,
                let event = try store.nextEvent(until: .after(Nanoseconds(count: 0)))
            else { break }
            if event == path.text { isTold = true }
        }
        if case .down(let reason)? = state {
            isDown = true
            shutdown = reason == .suspend ? .suspended : .ended
            return
        }
        if isDown, state == .up {
            // It goes on: what was written was a copy.
            isDown = false
            shutdown = .unknown
        }
        switch try value(path.text, store).map({ Text(bytes: $0) }) {
        case nil: break
        case ""?: if isTold && shutdown == .unknown { shutdown = .told }
        case let word?: shutdown = word == "suspend" ? .suspended : .ended
        }
    }

    /// - Returns: false where that is not for us to see.
    private func watch(_ path: StorePath, _ store: XenStore) throws(GrantError) -> Bool {
        do throws(GrantError) { try store.watch(path, token: "domain") } catch {
            guard case .store = error else { throw error }
            return false
        }
        // It tells at once that it is there.
        _ = try store.nextEvent(until: store.deadline)
        return true
    }

    /// The number of a domain that is the same machine as the one that has ended.
    private func successor(_ store: XenStore) throws(GrantError) -> Text? {
        guard let machine else { return nil }
        let names: [Text]
        do throws(GrantError) {
            names = try store.list(try StorePath(named: "/local/domain"))
        } catch {
            guard case .store = error else { throw error }
            return nil
        }
        for name in names where name.number != UInt64(domain.rawValue) {
            if try value("/local/domain/\(name)/vm", store) == machine { return name }
        }
        return nil
    }

    /// Whether the store knows the domain, T or F; nil where we may not ask.
    private func introduction(_ store: XenStore) throws(GrantError) -> Text? {
        do throws(GrantError) { return try store.ask(.isIntroduced(domain)).strings.first } catch {
            guard case .store = error else { throw error }
            return nil
        }
    }

    private func value(_ path: Text, _ store: XenStore) throws(GrantError) -> [UInt8]? {
        do throws(GrantError) { return try store.read(try StorePath(named: path)) } catch {
            guard case .store = error else { throw error }
            return nil
        }
    }
}
