// One end of a vchan: two rings in memory that one domain grants to another, and an event channel. The
// driver beside VchanView, which makes and checks what is in the memory. A peer that ends, by whatever
// end, leaves its mark: the kernel clears the byte that says it is there, and sends an event.
// Source: docs/abi/xen-grants.md §8.

/// Where a server's shared page and event channel are.
struct VchanAddress: Equatable {
    var page: GrantReference
    var port: EventPort
}

/// The devices of an end, opened once for all its peers.
final class VchanDevices {
    let role: VchanRole
    fileprivate let gntdev: GntDev?
    fileprivate let gntalloc: GntAlloc?
    fileprivate let evtchn: EventDevice

    init(_ role: VchanRole) throws(GrantError) {
        self.role = role
        // In front of evtchn: a process that is killed closes its files in this order, and the event that tells
        // of it is sent through the channel.
        gntdev = role == .client ? try GntDev() : nil
        gntalloc = role == .server ? try GntAlloc() : nil
        evtchn = try EventDevice()
    }

    /// Asks now what cannot be asked later, and tells the descriptors.
    func keep(_ have: inout GrantDescriptors) {
        (_, _) = (gntdev?.limit, gntalloc?.limit)
        have.gntdev = gntdev?.number ?? -1
        have.gntalloc = gntalloc?.number ?? -1
        have.evtchn = evtchn.number
        have.assistants = evtchn.assistants
    }
}

/// An end of a vchan. The other end sees that it is gone when its last owner is.
final class Vchan {
    /// What keeps the memory: pages of ours that are lent, or of the server's that are mapped.
    private enum Memory {
        case lent([SharedPages])
        case mapped([GrantMapping])
    }
    private var memory: Memory
    private let channel: EventChannel
    private var view: VchanView
    private var isOpen = true
    /// How many bytes were taken from the other end, and given to it.
    private(set) var received: UInt64 = 0
    private(set) var sent: UInt64 = 0

    var role: VchanRole { view.role }
    /// Readable when the other end has something to tell.
    var descriptor: Int32 { channel.descriptor }

    // MARK: Making it

    /// Makes a server's end for one domain. No client can come before the address is published.
    static func offered(
        to domain: DomainID, _ layout: VchanLayout, on devices: VchanDevices
    ) throws(GrantError) -> (vchan: Vchan, address: VchanAddress) {
        let channel = try EventChannel(.unbound(for: domain), on: devices.evtchn)
        let rings = layout.left.pages + layout.right.pages
        var shares = [
            try SharedPages(
                SharingPlan(
                    domain: domain, pages: PageCount(1), isWritable: true,
                    notification: UnmapNotification(
                        clearedByte: VchanView.liveByte(of: .server), port: channel.port)),
                on: devices.gntalloc)
        ]
        if rings > 0 {
            shares.append(
                try SharedPages(
                    SharingPlan(domain: domain, pages: PageCount(rings), isWritable: true),
                    on: devices.gntalloc))
        }
        let page = unsafe SharedMemory(shares[0].bytes)
        let view = unsafe VchanView(
            serverOn: page, rings: rings > 0 ? SharedMemory(shares[1].bytes) : page, layout,
            references: rings > 0 ? shares[1].references[...] : [])
        let address = VchanAddress(page: shares[0].references[0], port: channel.port)
        return (Vchan(.lent(shares), channel, view), address)
    }

    /// Makes a client's end of what a domain offers.
    /// - Throws: `.refused` if that is no vchan, or its server is gone.
    static func connected(
        to domain: DomainID, _ address: VchanAddress, on devices: VchanDevices,
        _ deadline: Deadline
    ) throws(GrantError) -> Vchan {
        let channel = try EventChannel(.interdomain(domain, address.port), on: devices.evtchn)
        let device: GntDev
        if let kept = devices.gntdev { device = kept } else { device = try GntDev() }
        func map(
            _ references: [GrantReference], _ plan: MappingPlan
        ) throws(GrantError) -> GrantMapping {
            try GrantMapping(GrantList(references, of: domain), on: device, plan)
        }
        var mappings = [
            try map(
                [address.page],
                MappingPlan(
                    isWritable: true,
                    notification: UnmapNotification(
                        clearedByte: VchanView.liveByte(of: .client), port: channel.port),
                    presetBits: VchanView.clientsPreset, deadline: deadline))
        ]
        let page = unsafe SharedMemory(mappings[0].bytes)
        guard let layout = VchanView.layout(of: page) else {
            throw .refused("what domain \(domain.rawValue) offers is no vchan")
        }
        let references = VchanView.references(of: page, layout)
        var rings = (left: page, right: page)
        if !references.left.isEmpty {
            mappings.append(
                try map(references.left, MappingPlan(isWritable: true, deadline: deadline)))
            rings.left = unsafe SharedMemory(mappings[mappings.count - 1].bytes)
        }
        if !references.right.isEmpty {
            // The server's to write, so a mistake of ours shall not.
            mappings.append(try map(references.right, MappingPlan(deadline: deadline)))
            rings.right = unsafe SharedMemory(mappings[mappings.count - 1].bytes)
        }
        guard
            let view = VchanView(clientOn: page, left: rings.left, right: rings.right, layout)
        else { throw .refused("domain \(domain.rawValue) has left the vchan that it offers") }
        let vchan = Vchan(.mapped(mappings), channel, view)
        try channel.notify()
        return vchan
    }

    private init(_ memory: Memory, _ channel: EventChannel, _ view: VchanView) {
        self.memory = memory
        self.channel = channel
        self.view = view
    }

    deinit { close() }

    /// Leaves, and gives the memory back. Nothing may be done with the end afterwards.
    func close() {
        guard isOpen else { return }
        isOpen = false
        view.leave()
        memory = .mapped([])
        // If that fails the kernel has told the other end anyhow.
        try? channel.notify()
        try? channel.unbind()
    }

    // MARK: The other end

    var presence: VchanView.Presence { view.presence }
    var isOtherFinished: Bool { view.isOtherFinished }
    var willOtherFinish: Bool { view.willOtherFinish }
    var space: UInt32? { view.space }
    var ready: UInt32? { view.ready }
    var untaken: UInt32 { view.untaken }
    var ringSizes: (sending: Int, receiving: Int) { view.ringSizes }

    /// Goes on, as a server, with the next client in the same rings.
    /// - Returns: false where they are not as for a first one.
    func renew() -> Bool {
        (received, sent) = (0, 0)
        return view.renew()
    }

    func ask(for notice: VchanView.Notice) { view.ask(for: notice) }

    /// Takes the event that made `descriptor` readable.
    func takeEvent() throws(GrantError) { try channel.take() }

    /// Tells the other end that we send nothing more.
    func finish() throws(GrantError) {
        view.finish()
        try channel.notify()
    }

    // MARK: Bytes

    /// Reads from a file into the ring, as much as one read gives and the ring takes.
    /// - Returns: how many bytes that was, 0 at the end of the file; nil if there is nothing now.
    /// - Throws: the file's errno as `.host` with its name.
    func send(from descriptor: Int32, name: Text, space: UInt32) throws(GrantError) -> Int? {
        let room = view.room(space)
        let count = try Self.transfer("read", name) { () throws(Errno) in
            try room.fill(from: descriptor)
        }
        guard let count, count > 0 else { return count }
        sent += UInt64(count)
        if view.send(count) { try channel.notify() }
        return count
    }

    /// Copies bytes into the ring, as many as it takes.
    /// - Returns: how many that was.
    func send(_ bytes: UnsafeRawBufferPointer, space: UInt32) throws(GrantError) -> Int {
        let count = unsafe view.room(space).copy(bytes)
        sent += UInt64(count)
        if view.send(count) { try channel.notify() }
        return count
    }

    /// Sends one byte. There is room for it.
    func send(_ byte: UInt8) throws(GrantError) {
        view.room(1).first.store8(0, byte)
        sent += 1
        if view.send(1) { try channel.notify() }
    }

    /// Where a byte is in what has come, the last time.
    func lastIndex(of byte: UInt8, ready: UInt32) -> Int? {
        view.arrived(ready).lastIndex(of: byte)
    }

    enum Reception { case moved, notNow, closed }

    /// Takes what has come and throws it away.
    func discard(ready: UInt32) throws(GrantError) {
        received += UInt64(ready)
        if view.consume(Int(ready)) { try channel.notify() }
    }

    /// Writes from the ring to a file.
    /// - Parameter most: how many bytes the file takes without waiting.
    /// - Returns: `.closed` if the file has no reader any more.
    func receive(
        to descriptor: Int32, name: Text, ready: UInt32, most: Int
    ) throws(GrantError) -> Reception {
        let part = view.arrived(ready).prefix(most)
        var isClosed = false
        let count = try Self.transfer("write to", name) { () throws(Errno) -> Int in
            do throws(Errno) { return try part.write(to: descriptor) } catch {
                isClosed = error == .brokenPipe || error == .connectionReset
                throw isClosed ? .again : error
            }
        }
        received += UInt64(count ?? 0)
        if let count, view.consume(count) { try channel.notify() }
        return isClosed ? .closed : count == nil ? .notNow : .moved
    }

    /// - Returns: nil for EAGAIN; 0 where a socket's other end is gone.
    static func transfer(
        _ action: Text, _ name: Text, _ body: () throws(Errno) -> Int
    ) throws(GrantError) -> Int? {
        do throws(Errno) { return try body() } catch {
            if error == .again { return nil }
            // A socket whose other end was closed with bytes of ours unread.
            if error == .connectionReset { return 0 }
            throw .host(action, name: name, error)
        }
    }
}
