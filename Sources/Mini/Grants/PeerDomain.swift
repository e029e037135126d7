// The domain at the other side of something that is kept for long, looked at now and then: no event tells
// that a domain has ended whose kernel could say nothing, that another one has its number, or that
// this one was restored from a file and what it had lent is gone. The store knows.
// Source: docs/abi/xen-grants.md §7.

/// Another domain, as it was when somebody first looked.
final class PeerDomain {
    let domain: DomainID
    private let deadline: Deadline
    /// Kept open: whoever waits may not open anything later. Nil after a failure, until the next look.
    private var store: XenStore?
    private var wasThere = false
    private let awaitsSuspension: Bool
    private var isWatching = false
    private var isConfined = false
    /// The toolstack told the domain to let itself be saved, and nothing else since.
    private var isSuspended = false
    /// What the store said of it, and of this domain, when it first could.
    private var machine: [UInt8]?
    private var own: [UInt8]?
    /// Entries by which the other domain finds what waits for it, as long as it has not come.
    var entries: [(path: StorePath, value: Text)] = []

    /// How long to wait between two looks.
    static let pause = Nanoseconds.milliseconds(3000)
    /// How long the store may take each time: who looks has signals to wait for, and looks again.
    private static let patience = Nanoseconds.milliseconds(1000)

    /// Why nobody reaches the other side any more.
    enum Breach: Equatable {
        /// The domain was there, and is not any more.
        case ended(DomainID)
        /// It was saved to a file, or has moved: should it come back, then with another number.
        case suspended(DomainID)
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

    /// A domain that has not come yet, has not ended.
    /// - Parameter awaitsSuspension: whether it matters how the domain ends.
    /// - Parameter deadline: with the signals that are held back, which end a look.
    init(_ domain: DomainID, awaitsSuspension: Bool = false, _ deadline: Deadline = .never) {
        self.domain = domain
        self.deadline = deadline
        self.awaitsSuspension = awaitsSuspension
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
            store = try XenStore(deadline: deadline)
        }
        self.store = store
        store.deadline = deadline.within(Self.patience)
        if let number = try value("domid", store) {
            if let own, own != number { return .restored(as: Text(bytes: number)) }
            own = number
        }
        if awaitsSuspension { try watchSuspension(store) }
        switch try introduction(store) {
        case "F":
            guard wasThere else { return nil }
            if let number = try successor(store) { return .renumbered(domain, number) }
            return isSuspended ? .suspended(domain) : .ended(domain)
        case "T": wasThere = true
        default: break
        }
        if let now = try value("/local/domain/\(domain.rawValue)/vm", store) {
            if let machine, machine != now { return .replaced(domain) }
            machine = now
        }
        for (path, value) in entries {
            let now = try store.valueIfAny(path)
            if now.map({ !(Text(bytes: $0) == value) }) ?? true { return .overwritten(path) }
        }
        return nil
    }

    /// The toolstack writes what a domain is to do, and the domain takes it away at once.
    private func watchSuspension(_ store: XenStore) throws(GrantError) {
        let path = try StorePath(named: "/local/domain/\(domain.rawValue)/control/shutdown")
        if !isWatching {
            do throws(GrantError) { try store.watch(path, token: "shutdown") } catch {
                guard case .store = error else { throw error }
                return
            }
            isWatching = true
        }
        // One event for each change; a flood of them is looked at in the next pause.
        for _ in 0..<16 {
            guard try store.nextEvent(until: .after(Nanoseconds(count: 0))) != nil else { break }
        }
        switch try value(path.text, store).map({ Text(bytes: $0) }) {
        case nil, "": break
        case let word?: isSuspended = word == "suspend"
        }
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
