// How hosts of guests that share a page find each other, and whom they believe. Each bound key of such a page is a local socket,
// named after the file and the word in it. A host that connects says by the address of its own end which slot it has; both ends ask the
// kernel which process the other one is, whether that holds the slot's lock on the file, which takes permission to write it, and
// whether it still lives: a number alone may be another process's by then.
// Source: docs/abi/lguest.md §5.1, §5.2 (shared net), unix(7), fcntl(2).

extension SharedPage {
    /// The key under which a slot is sent to.
    func key(of slot: UInt32) -> DMAKey { NetworkPage.key(slot, of: start) }

    /// The address of a key's socket, the same for every host that has this file.
    func address(of key: DMAKey) -> LocalAddress {
        LocalAddress(
            name:
                "mini-lguest/\(bareHex: file.device)/\(bareHex: file.inode)/\(bareHex: key.rawValue - start)"
        )
    }

    /// Our slot's socket, which does not listen yet; nobody else can have its address.
    /// - Throws: EADDRINUSE if somebody else has it.
    func makeListener() throws(Errno) -> Descriptor {
        try LocalSocket.bound(to: address(of: key(of: slot)))
    }

    /// The address of our end of a connection to a key: that of the key, and which slot is ours. The kernel
    /// refuses an address that is taken, so a number follows that others cannot have foreseen.
    func ownAddress(to key: DMAKey) -> LocalAddress {
        let chance = UInt32(truncatingIfNeeded: Clock.monotonic().count)
        return LocalAddress(name: "\(address(of: key).name)<\(slot).\(bareHex: chance)")
    }

    /// The slot that the owner of such an address claims; nil for any other address.
    func slot(of address: LocalAddress, at key: DMAKey) -> UInt32? {
        let bytes = address.name.bytes
        let prefix = self.address(of: key).name.bytes
        guard bytes.starts(with: prefix), bytes.count > prefix.count,
            bytes[prefix.count] == UInt8(ascii: "<"),
            let dot = address.name.lastIndex(of: UInt8(ascii: ".")), dot > prefix.count,
            let slot = address.name.part(prefix.count + 1..<dot).number,
            slot < UInt64(Self.slots), slot != UInt64(self.slot)
        else { return nil }
        return UInt32(slot)
    }

    /// True if the process at the other end of a socket has a slot.
    func isHolder(_ slot: UInt32, _ socket: Int32) throws(Errno) -> Bool {
        let process = try LocalSocket.peer(of: socket)
        guard process != 0, try FileLock.holder(Int(slot), of: descriptor) == process else {
            return false
        }
        // Asked last: the process that had the number when it connected has it still.
        return try LocalSocket.isPeerAlive(socket)
    }
}
