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
        var isNew = false
        let transaction = try StoreTransaction(self)
        repeat {
            isNew = try valueIfAny(path, in: transaction.number) == nil
            for (entry, value) in try Self.entries(of: address, at: path) {
                try publish(value, at: entry, for: domain, in: transaction.number)
            }
        } while try !transaction.commit()
        return isNew
    }

    /// Takes back what was published, unless something else has been published there since.
    /// - Parameter isNew: the path was made for it, and goes as well if it is empty.
    func withdraw(_ address: VchanAddress, at path: StorePath, isNew: Bool) throws(GrantError) {
        let transaction = try StoreTransaction(self)
        repeat {
            let number = transaction.number
            guard try find(path, in: number) == address else { return }
            for (entry, _) in try Self.entries(of: address, at: path) {
                try remove(entry, in: number)
            }
            if isNew, try list(path, in: number).isEmpty, try read(path, in: number).isEmpty {
                try remove(path, in: number)
            }
        } while try !transaction.commit()
    }

    /// The address of a vchan that was published.
    /// - Returns: nil if there is none, or not for us.
    @inline(never)
    func find(
        _ path: StorePath, in transaction: UInt32 = 0
    ) throws(GrantError) -> VchanAddress? {
        guard
            let page = try number(Self.page, at: path, transaction).flatMap({ GrantReference($0) }),
            // libxenvchan takes reference 0 for none.
            page.rawValue != 0,
            let port = try number(Self.port, at: path, transaction).flatMap({ EventPort($0) })
        else { return nil }
        return VchanAddress(page: page, port: port)
    }

    @inline(never)
    private func number(
        _ name: Text, at path: StorePath, _ transaction: UInt32
    ) throws(GrantError) -> UInt64? {
        let entry = try StorePath(named: "\(path.text)/\(name)")
        do throws(GrantError) {
            return Text(bytes: try read(entry, in: transaction)).number
        } catch {
            switch error {
            case .store(_, _, .noSuchFile), .store(_, _, .accessDenied): return nil
            default: throw error
            }
        }
    }
}
