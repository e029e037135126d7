// How the ends of a vchan find each other: the server writes under a path of the store where its page and
// its event channel are, for the client's eyes. Source: docs/abi/xen-grants.md §8.

extension XenStore {
    private static let page: Text = "ring-ref"
    private static let port: Text = "event-channel"

    /// What the store has of a vchan.
    static func entries(
        of address: VchanAddress, at path: StorePath
    ) throws(GrantError) -> [(path: StorePath, value: Text)] {
        [
            (try StorePath(named: "\(path.text)/\(page)"), "\(address.page.rawValue)"),
            (try StorePath(named: "\(path.text)/\(port)"), "\(address.port.rawValue)"),
        ]
    }

    /// Tells one domain where a vchan is, all at once.
    /// - Returns: true if the path was not there before.
    func publish(
        _ address: VchanAddress, at path: StorePath, for domain: DomainID
    ) throws(GrantError) -> Bool {
        let isNew = try valueIfAny(path) == nil
        let transaction = try StoreTransaction(self)
        repeat {
            for (entry, value) in try Self.entries(of: address, at: path) {
                try publish(value, at: entry, for: domain, in: transaction.number)
            }
        } while try !transaction.commit()
        return isNew
    }

    /// Takes back what was published, unless somebody has published something else there since.
    /// - Parameter isNew: the path was made for it, and goes as well.
    func withdraw(_ address: VchanAddress, at path: StorePath, isNew: Bool) throws(GrantError) {
        guard try find(path) == address else { return }
        for name in [Self.page, Self.port] {
            try remove(try StorePath(named: "\(path.text)/\(name)"))
        }
        if isNew, try list(path).isEmpty { try remove(path) }
    }

    /// Where a vchan is that somebody has published.
    /// - Returns: nil if there is none, or not for us.
    @inline(never)
    func find(_ path: StorePath) throws(GrantError) -> VchanAddress? {
        guard let page = try number(Self.page, at: path).flatMap({ GrantReference($0) }),
            // libxenvchan takes reference 0 for none.
            page.rawValue != 0,
            let port = try number(Self.port, at: path).flatMap({ EventPort($0) })
        else { return nil }
        return VchanAddress(page: page, port: port)
    }

    @inline(never)
    private func number(_ name: Text, at path: StorePath) throws(GrantError) -> UInt64? {
        let entry = try StorePath(named: "\(path.text)/\(name)")
        do throws(GrantError) { return Text(bytes: try read(entry)).number } catch {
            switch error {
            case .store(_, _, .noSuchFile), .store(_, _, .accessDenied): return nil
            default: throw error
            }
        }
    }
}
