// The devices of one guest behind its host: which of them a DMA key means, and whose
// descriptors the launcher must watch. The console is there always, in the last slot, as the
// original has it.
// Source: docs/abi/lguest.md §5.1, §5.2, §7.1.

/// One guest's devices, and the lguest device that finds their buffers.
final class DeviceBus {
    let device: any LguestDevice
    let memory: GuestMemory
    var console: Console
    let blocks: [BlockDevice]
    let networks: [NetworkDevice]
    /// The host says itself when the guest has a buffer.
    private var isTold = false
    private(set) var hasTakenInput = false

    /// What a guest can send to.
    enum Target {
        case console
        case block(Int)
        case network(Int)
    }

    init(
        _ device: any LguestDevice, memory: GuestMemory, console: Console,
        blocks: [BlockDevice], networks: [NetworkDevice]
    ) {
        self.device = device
        self.memory = memory
        self.console = console
        self.blocks = blocks
        self.networks = networks
    }

    /// The device behind a key; nil if there is none.
    func target(_ key: DMAKey) -> Target? {
        if key == Console.key { return .console }
        if let index = blocks.firstIndex(where: { $0.key == key }) { return .block(index) }
        return networks.firstIndex { $0.key == key }.map { .network($0) }
    }

    // MARK: Networks

    /// The taps whose next frame must end a run of the guest.
    var watched: [Int32] { networks.compactMap { $0.watched } }

    /// Which networks those are of: bit n stands for the network n.
    var watchedNetworks: UInt32 {
        var bits: UInt32 = 0
        for (index, network) in networks.enumerated() where network.watched != nil {
            bits |= 1 << UInt32(index)
        }
        return bits
    }

    /// Looks after every tap that the guest may have something of.
    /// - Parameters:
    ///   - alarm: true if it went off since.
    ///   - ready: says which taps have a frame; nil if the guest only sent something. A kernel's
    ///     host is asked for a buffer by a call each time, so there nothing else is looked at.
    /// - Returns: when to look again at the latest.
    func serveNetworks(alarm: Bool, _ ready: PollSet?) -> Nanoseconds? {
        var next: Nanoseconds?
        for network in networks
        where network.isWaiting || isTold
            || ready.map({ $0.isReady(descriptor: network.tap.descriptor) }) ?? false
        {
            let event: NetworkInput.Event =
                !network.isWaiting ? .readable : alarm ? .alarm : .guestRan
            guard let wait = network.handle(event, on: device) else { continue }
            next = next.map { min($0, wait) } ?? wait
        }
        // A host that says when the guest has a buffer needs no alarm.
        isTold = device.awaitBuffers(networks.compactMap { $0.isWaiting ? $0.inputKey : nil })
        return isTold ? nil : next
    }

    // MARK: Console

    /// A free buffer of the console's, if the guest has one.
    func borrow() -> Console.Loan? {
        guard console.canTakeInput else { return nil }
        // No buffer, or the guest is dead: the next run tells which.
        guard let address = try? device.dmaBuffer(Console.key) else { return nil }
        return console.borrow(address)
    }

    /// Fills it and raises its interrupt.
    /// - Returns: how many bytes went in.
    func fill(_ loan: Console.Loan, with bytes: ArraySlice<UInt8>) -> Int {
        let (count, line) = console.fill(loan, with: bytes)
        if count > 0 {
            hasTakenInput = true
            try? device.interrupt(line)
        }
        return count
    }
}
