// One end's view of a vchan's shared memory: a page that the server grants to the client, with
// the indices of both rings and who is there, and the rings. The server makes the page; the client
// believes nothing in it that is not checked here. Source: docs/abi/xen-grants.md §8.

/// The ends of a vchan.
enum VchanRole: Equatable {
    /// Grants the memory and says in the store where it is.
    case server
    case client
}

/// The fields of the shared page.
private enum Field {
    static let leftOrder = 16
    static let rightOrder = 18

    static func consumed(ofLeft isLeft: Bool) -> Int { isLeft ? 0 : 8 }
    static func produced(ofLeft isLeft: Bool) -> Int { isLeft ? 4 : 12 }

    /// Whether that end is there.
    static func live(_ role: VchanRole) -> Int { role == .client ? 20 : 21 }
    /// What that end is to tell the other one. The other one sets the bits.
    static func orders(to role: VchanRole) -> Int { role == .client ? 22 : 23 }
    /// These four bytes as one word.
    static let word = 20
}

/// The rings in memory, and the ends' notes to each other.
struct VchanView {
    let role: VchanRole
    private let page: SharedMemory
    private let sendingRing: SharedMemory
    private let receivingRing: SharedMemory
    private var sending: VchanFlow
    private var receiving: VchanFlow

    /// What one end asks the other to tell it with an event, once.
    enum Notice: UInt8 {
        case written = 1
        case read = 2
    }

    /// Our own addition, which libxenvchan does not see: an end that has set this sends nothing more.
    private static let finished: UInt8 = 0x80
    /// An end that has set this knows `finished`, and will set it when it has finished.
    private static let knowsFinished: UInt8 = 0x40

    /// What the other end says of itself.
    enum Presence: Equatable { case notYet, here, gone }
    private static let isHere: UInt8 = 1
    private static let isAwaited: UInt8 = 2

    // MARK: Making it

    /// Makes a server's end on fresh pages.
    /// - Parameters:
    ///   - rings: the pages of the left ring, then of the right one.
    ///   - references: theirs, in the same order.
    init(
        serverOn page: SharedMemory, rings: SharedMemory, _ layout: VchanLayout,
        references: ArraySlice<GrantReference>
    ) {
        page.clear()
        page.store16(Field.leftOrder, layout.left.rawValue)
        page.store16(Field.rightOrder, layout.right.rawValue)
        page.store8(Field.live(.client), Self.isAwaited)
        page.store8(Field.live(.server), Self.isHere)
        page.store8(Field.orders(to: .client), Notice.written.rawValue | Self.knowsFinished)
        for (index, reference) in references.enumerated() {
            page.store32(VchanLayout.references + 4 * index, reference.rawValue)
        }
        self.init(.server, page, rings, rings, layout)
    }

    /// A client's view of a page that it has mapped: how the rings lie.
    /// - Returns: nil if they cannot lie so.
    static func layout(of page: SharedMemory) -> VchanLayout? {
        VchanLayout(left: page.load16(Field.leftOrder), right: page.load16(Field.rightOrder))
    }

    /// The references of the rings' pages: of the left ring, then of the right one.
    static func references(
        of page: SharedMemory, _ layout: VchanLayout
    ) -> (left: [GrantReference], right: [GrantReference]) {
        let all = (0..<layout.left.pages + layout.right.pages).map { index in
            GrantReference(rawValue: page.load32(VchanLayout.references + 4 * index))
        }
        return (Array(all.prefix(layout.left.pages)), Array(all.dropFirst(layout.left.pages)))
    }

    /// Makes a client's end, and tells the server's page that it is there.
    /// - Parameters: left and right are the pages of the rings that have pages of their own.
    /// - Returns: nil if the server is gone, or the indices are impossible.
    init?(
        clientOn page: SharedMemory, left: SharedMemory, right: SharedMemory, _ layout: VchanLayout
    ) {
        self.init(.client, page, left, right, layout)
        guard presence != .gone, space != nil, ready != nil else { return nil }
        // First what another client may have left there, for a server that looks only at clients that are here.
        page.store8(Field.orders(to: .server), Notice.written.rawValue | Self.knowsFinished)
        page.store8(Field.live(.client), Self.isHere)
        // A server that renewed the rings may have cleared it in between. A client that is here is left alone.
        page.set8(Field.orders(to: .server), Self.knowsFinished)
    }

    private init(
        _ role: VchanRole, _ page: SharedMemory, _ left: SharedMemory, _ right: SharedMemory,
        _ layout: VchanLayout
    ) {
        self.role = role
        self.page = page
        let leftRing = layout.left.place.map { page[$0] } ?? left[0..<layout.left.bytes]
        let start = role == .server ? layout.left.pages * PageCount.pageSize : 0
        let rightRing =
            layout.right.place.map { page[$0] } ?? right[start..<start + layout.right.bytes]
        let isServer = role == .server
        sendingRing = isServer ? rightRing : leftRing
        receivingRing = isServer ? leftRing : rightRing
        // A client may take up where another one left off.
        sending = VchanFlow(
            isServer ? layout.right : layout.left, isWriting: true,
            from: page.load32(Field.produced(ofLeft: !isServer)))
        receiving = VchanFlow(
            isServer ? layout.left : layout.right, isWriting: false,
            from: page.load32(Field.consumed(ofLeft: isServer)))
    }

    private var other: VchanRole { role == .server ? .client : .server }
    private var sendsLeft: Bool { role == .client }

    /// The byte that says that an end is there, and that the kernel clears should it end without
    /// saying so.
    static func liveByte(of role: VchanRole) -> Int { Field.live(role) }

    /// What a client says before its end can be noticed: one that is killed from then on has not sent all.
    static var clientsPreset: (offset: Int, bits: UInt8) {
        (Field.orders(to: .server), knowsFinished)
    }

    // MARK: The other end

    var presence: Presence {
        switch page.load8(Field.live(other)) {
        case 0: .gone
        case Self.isAwaited where role == .server: .notYet
        default: .here
        }
    }

    /// Says that we are gone. The memory may be read for a while.
    func leave() {
        // Said to us, and not to the next client in the same rings.
        if role == .client { _ = page.clear8(Field.orders(to: .client), Self.finished) }
        page.store8(Field.live(role), 0)
    }

    /// Makes a server's end ready for the next client in the same rings, which may be there already.
    /// - Returns: false where the last one has not taken all: the next one would take it for its own.
    func renew() -> Bool {
        guard untaken == 0 else { return false }
        _ = page.clear8(Field.orders(to: .client), Self.finished)
        guard clearIfGone() else { return false }
        ask(for: .written)
        return true
    }

    /// Clears the bits of a client that is gone. The next client writes its own, and may come at any moment: so the check that
    /// nobody is there and the clearing are one atomic step.
    /// - Returns: false if the other domain keeps writing there.
    private func clearIfGone() -> Bool {
        let bits = UInt32(Self.finished | Self.knowsFinished) << 24
        for _ in 0..<1000 {
            let word = page.load32(Field.word)
            if word & 0xFF != 0 || page.replace32(Field.word, word, by: word & ~bits) {
                return true
            }
        }
        return false
    }

    /// True if the other end says that it sends nothing more. What it has sent is in the ring.
    var isOtherFinished: Bool { page.load8(Field.orders(to: role)) & Self.finished != 0 }

    /// True if the other end will say so.
    var willOtherFinish: Bool { page.load8(Field.orders(to: role)) & Self.knowsFinished != 0 }

    /// Says that we send nothing more.
    func finish() { page.set8(Field.orders(to: other), Self.finished) }

    /// Asks for an event when the other end next writes or reads. Look again before waiting for it:
    /// it may have done so already.
    func ask(for notice: Notice) { page.set8(Field.orders(to: other), notice.rawValue) }

    // MARK: Sending and receiving

    /// How many bytes can be sent now; nil if the other end's index is impossible.
    var space: UInt32? { sending.available(page.load32(Field.consumed(ofLeft: sendsLeft))) }

    /// How many bytes have come; nil if the other end's index is impossible.
    var ready: UInt32? { receiving.available(page.load32(Field.produced(ofLeft: !sendsLeft))) }

    /// How many bytes the other end has not read yet.
    var untaken: UInt32 { space.map { sending.size - $0 } ?? sending.size }

    /// In bytes.
    var ringSizes: (sending: Int, receiving: Int) { (sendingRing.count, receivingRing.count) }

    /// Room for the next bytes that are sent.
    func room(_ space: UInt32) -> SharedRun { run(sendingRing, sending.spans(space)) }

    /// The next bytes that have come.
    func arrived(_ ready: UInt32) -> SharedRun { run(receivingRing, receiving.spans(ready)) }

    private func run(
        _ ring: SharedMemory, _ spans: (first: Range<Int>, second: Range<Int>)
    ) -> SharedRun {
        SharedRun(first: ring[spans.first], second: ring[spans.second])
    }

    /// Hands over what was put into the room.
    /// - Returns: true if the other end is to get an event.
    mutating func send(_ count: Int) -> Bool {
        sending.advance(UInt32(count))
        page.store32(Field.produced(ofLeft: sendsLeft), sending.index)
        return isWanted(.written)
    }

    /// Gives back what was read.
    /// - Returns: true if the other end is to get an event.
    mutating func consume(_ count: Int) -> Bool {
        receiving.advance(UInt32(count))
        page.store32(Field.consumed(ofLeft: !sendsLeft), receiving.index)
        return isWanted(.read)
    }

    private func isWanted(_ notice: Notice) -> Bool {
        page.clear8(Field.orders(to: role), notice.rawValue) & notice.rawValue != 0
    }
}
