// The ways from our guest to the others that share a page with it: PeerLink decides what becomes of a frame, this does it.
// How the process at the other end is identified: PeerAddress.swift. Source: docs/abi/lguest.md §5.1, unix(7).

/// The end of a connection that frames go into.
final class PeerOutlet {
    private let slot: UInt32
    private var link = PeerLink()
    private let page: SharedPage
    private var socket: Descriptor?

    init(to slot: UInt32, of page: SharedPage) {
        self.slot = slot
        self.page = page
    }

    /// How long a receiver has to make room.
    private static let patience = Nanoseconds.milliseconds(5)

    /// Connects to the process that has bound the slot's key, if it is the one that has the slot.
    private func connect() -> PeerLink.Event {
        socket = nil
        do throws(Errno) {
            let key = page.key(of: slot)
            let socket = try LocalSocket.connected(
                to: page.address(of: key), from: page.ownAddress(to: key))
            guard try page.isHolder(slot, socket.number) else { return .refused }
            self.socket = consume socket
            return .connected
        } catch {
            // The queue of connections is full. Without the lock it is not a member's, and anybody can have made it.
            guard error == .again, (try? FileLock.holder(Int(slot), of: page.descriptor)) != nil
            else { return .refused }
            return .full
        }
    }

    /// The slot's owner has come to us or sent something.
    func heard() { _ = handle(.heard) }

    private func handle(_ event: PeerLink.Event) -> PeerLink.Action? {
        link.handle(event, at: Clock.monotonic())
    }

    /// What became of a frame.
    enum Outcome {
        /// So many bytes have arrived.
        case taken(UInt32)
        case lost
        /// It is lost without a call.
        case skipped
        /// In this state of the way came what cannot come there: a defect of mini.
        case defect(StaticString)
    }

    /// Brings one frame there, or loses it.
    /// - Parameters:
    ///   - frame: asked for when there is a receiver, once for each attempt; nil if there is none any more.
    ///   - watched: see `waitForRoom`.
    ///   - now: the moment at which this begins.
    func carry(
        _ frame: () -> IOVector?, watched: @autoclosure () -> [Poll.Interest],
        at now: () -> Nanoseconds = Clock.monotonic
    ) -> Outcome {
        var action = link.handle(.frame, at: now())
        var taken: UInt32 = 0
        while true {
            switch action {
            case nil, .forget: return .defect(link.stateName)
            case .finish(delivered: false): return .lost
            case .finish(delivered: true): return .taken(taken)
            case .skip: return .skipped
            case .connect: action = handle(connect())
            case .send:
                guard let frame = frame() else {
                    action = handle(.givenUp)
                    continue
                }
                taken = frame.count
                action = handle(send(frame))
            case .waitForRoom: action = handle(waitForRoom(watched()))
            }
        }
    }

    private func send(_ frame: IOVector) -> PeerLink.Event {
        guard let number = socket?.number else { return .gone }
        do throws(Errno) {
            try LocalSocket.send(number, frame)
            return .sent
        } catch {
            if error == .again { return .full }
            self.socket = nil
            return .gone
        }
    }

    /// - Parameter watched: what the launcher waits for, which ends this wait as well.
    private func waitForRoom(_ watched: [Poll.Interest]) -> PeerLink.Event {
        guard let number = socket?.number else { return .timeOut }
        let interests = [Poll.Interest(number, .writable)] + watched
        let ready = try? Poll.wait(interests, timeout: Self.patience)
        return ready?[0] == true ? .room : .timeOut
    }
}

/// The ways to the others of a page, each made when there is a frame for it.
struct PeerOutlets {
    /// By slots; empty as long as there was no frame.
    private var known: [PeerOutlet?] = []

    /// - Parameter slot: one that exists, and is not ours.
    mutating func outlet(to slot: UInt32, of page: SharedPage) -> PeerOutlet {
        if known.isEmpty { known = [PeerOutlet?](repeating: nil, count: SharedPage.slots) }
        if let outlet = known[Int(slot)] { return outlet }
        let outlet = PeerOutlet(to: slot, of: page)
        known[Int(slot)] = outlet
        return outlet
    }

    /// A slot's owner came or sent something: he is there.
    func heard(_ slot: UInt32) {
        if Int(slot) < known.count { known[Int(slot)]?.heard() }
    }

    var isEmpty: Bool { known.isEmpty }
}
