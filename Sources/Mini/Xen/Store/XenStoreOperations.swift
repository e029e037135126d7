// What can be done with the store, each by its name. Source: docs/abi/xen-grants.md §7.

extension XenStore {
    /// Reads one entry, for those who want nothing else of the store; or a list that stands there in parts.
    /// - Parameter path: not yet checked.
    static func read(
        _ path: Text, deadline: Deadline = .after(patience)
    ) throws(GrantError) -> Text {
        let path = try StorePath(named: path)
        return try XenStore(deadline: deadline).readWhole(path)
    }

    /// Writes one entry, for those who want nothing else of the store.
    static func write(_ path: Text, _ value: Text) throws(GrantError) {
        let path = try StorePath(named: path)
        let store = try XenStore(deadline: .after(patience))
        try store.write(path, value.bytes)
    }

    /// How long the store may take for a request that does not wait for anything.
    static let patience = Nanoseconds.milliseconds(10_000)

    /// The value of an entry: any bytes.
    @inline(never)
    func read(_ path: StorePath, in transaction: UInt32 = 0) throws(GrantError) -> [UInt8] {
        try ask(.read(path), in: transaction).payload
    }

    /// Sets the value of an entry, and makes the entry and those above it if they are not there.
    @inline(never)
    func write(
        _ path: StorePath, _ value: [UInt8], in transaction: UInt32 = 0
    ) throws(GrantError) {
        _ = try ask(.write(path, value: value), in: transaction)
    }

    /// Makes an entry with an empty value; does nothing to one that is there.
    func makeDirectory(_ path: StorePath, in transaction: UInt32 = 0) throws(GrantError) {
        _ = try ask(.makeDirectory(path), in: transaction)
    }

    /// Removes an entry and all below it.
    @inline(never)
    func remove(_ path: StorePath, in transaction: UInt32 = 0) throws(GrantError) {
        _ = try ask(.remove(path), in: transaction)
    }

    /// The permissions of an entry.
    @inline(never)
    func permissions(
        of path: StorePath, in transaction: UInt32 = 0
    ) throws(GrantError) -> StorePermissions {
        let reply = try ask(.getPermissions(path), in: transaction)
        guard let permissions = StorePermissions(reply.strings) else { throw Self.broken }
        return permissions
    }

    @inline(never)
    func setPermissions(
        of path: StorePath, _ permissions: StorePermissions, in transaction: UInt32 = 0
    ) throws(GrantError) {
        _ = try ask(.setPermissions(path, permissions), in: transaction)
    }

    /// Writes an entry for one other domain to read, and no other. Its owner stays the same.
    func publish(
        _ value: Text, at path: StorePath, for domain: DomainID, in transaction: UInt32 = 0
    ) throws(GrantError) {
        try write(path, value.bytes, in: transaction)
        guard
            let permissions = try permissions(of: path, in: transaction).forReading(by: domain)
        else { throw Self.broken }
        try setPermissions(of: path, permissions, in: transaction)
    }

    /// The names of the entries right below one.
    @inline(never)
    func list(_ path: StorePath, in transaction: UInt32 = 0) throws(GrantError) -> [Text] {
        do throws(GrantError) { return try ask(.list(path), in: transaction).strings } catch {
            guard case .store(_, _, .tooBig) = error else { throw error }
            return try listInParts(path, in: transaction)
        }
    }

    /// More bytes than the names of 65,536 entries have that one domain could make.
    private static let longestList = 1 << 24

    /// A list that is too long for one message. Each part has in front the generation of the list:
    /// when that changes in between, everything begins again. The end is an empty name.
    private func listInParts(
        _ path: StorePath, in transaction: UInt32
    ) throws(GrantError) -> [Text] {
        var generation: Text?
        var list: [UInt8] = []
        while true {
            let part = try ask(.listPart(path, offset: list.count), in: transaction).payload
            guard let end = part.firstIndex(of: 0) else { throw Self.broken }
            let current = Text(bytes: Array(part[..<end]))
            if deadline.isOver {
                throw .deadline("others kept changing the entries of \(quoted: path.text)")
            }
            if let before = generation, before != current {
                generation = nil
                list = []
                continue
            }
            generation = current
            let names = part[(end + 1)...]
            guard !names.isEmpty else { throw Self.broken }
            list += names
            guard list.count <= Self.longestList else { throw Self.broken }
            if list.suffix(2).allSatisfy({ $0 == 0 }) {
                list.removeLast()
                return StoreMessage(type: 0, payload: list).strings
            }
        }
    }

    /// From now on `nextEvent` tells of every change at or below the path; at once of one, which
    /// says that the watch is there.
    /// - Parameter token: comes back with each event.
    @inline(never)
    func watch(_ path: StorePath, token: Text) throws(GrantError) {
        _ = try ask(.watch(path, token: token))
    }

    func unwatch(_ path: StorePath, token: Text) throws(GrantError) {
        _ = try ask(.unwatch(path, token: token))
    }

    /// Waits until an entry meets a condition. One that may not be read counts as one that is not there yet:
    /// the store answers EACCES for what is missing below an entry of another domain.
    /// - Parameter isMet: nil stands for an entry that is not there.
    /// - Returns: its value then.
    func wait(
        for path: StorePath, _ isMet: ([UInt8]?) -> Bool
    ) throws(GrantError) -> [UInt8]? {
        let token: Text = "wait"
        var reason: Text = ""
        try watch(path, token: token)
        while try nextEvent(until: deadline) != nil {
            do throws(GrantError) {
                let value = try valueIfAny(path)
                if isMet(value) {
                    try unwatch(path, token: token)
                    return value
                }
                reason = ""
            } catch {
                // A caller that waits for the entry's end must not take that for it.
                guard case .store(_, _, .accessDenied) = error, !isMet(nil) else { throw error }
                reason = "; \(error.text)"
            }
            // It may change all the time, and never to what is wanted.
            if deadline.isOver { break }
        }
        throw .deadline("\(quoted: path.text) was not so in time\(reason)")
    }

    /// The value of an entry as soon as it is there.
    func waitForEntry(_ path: StorePath) throws(GrantError) -> [UInt8] {
        if let value = try valueIfLegible(path) { return value }
        return try wait(for: path) { $0 != nil } ?? []
    }

    /// The value of an entry; nil if it is not there.
    @inline(never)
    func valueIfAny(
        _ path: StorePath, in transaction: UInt32 = 0
    ) throws(GrantError) -> [UInt8]? {
        do throws(GrantError) { return try read(path, in: transaction) } catch {
            guard case .store(_, _, .noSuchFile) = error else { throw error }
            return nil
        }
    }

    /// The same, and nil for an entry that this domain may not read: the store says no more of what is missing below
    /// another domain's folder.
    @inline(never)
    func valueIfLegible(
        _ path: StorePath, in transaction: UInt32 = 0
    ) throws(GrantError) -> [UInt8]? {
        do throws(GrantError) { return try valueIfAny(path, in: transaction) } catch {
            guard case .store(_, _, .accessDenied) = error else { throw error }
            return nil
        }
    }
}

extension StorePath {
    /// A path that was given, with what is wrong with it as an error of use.
    @inline(never)
    init(named path: Text) throws(GrantError) {
        do throws(Flaw) { self = try StorePath(written: path) } catch {
            throw .use("\(quoted: path) \(error.words)")
        }
    }
}
