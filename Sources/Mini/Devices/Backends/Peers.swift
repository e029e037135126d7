// What a host knows of the guests that share a page with its own. Each bound key of such a page is
// a local socket, named after the file and the word in it: there the hosts of the others
// connect, wherever they run, and send frames out of their guest's memory straight into the
// queue from which we fill our guest's buffers. Nobody else is believed: who connects says by the address of
// its own end which slot it has; both ends ask the kernel which process the other one is, whether that
// holds the slot's lock on the file, which takes permission to write it, and whether it still lives: a
// number alone may be another process's by then. Any user can knock, so a knock costs the same few
// calls whoever it is, and many of them in a row are left waiting for a while.
// Source: docs/abi/lguest.md §5.1, §5.2 (shared net), unix(7), fcntl(2).

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

    /// Connects to whoever has bound the slot's key, if it is who has the slot.
    private func connect() -> PeerLink.Event {
        socket = nil
        do throws(Errno) {
            let key = page.key(of: slot)
            let socket = try LocalSocket.connected(
                to: page.address(of: key), from: page.ownAddress(to: key))
            guard try page.isHolder(slot, socket.number) else { return .refused }
            self.socket = consume socket
            return .connected
        } catch { return .refused }
    }

    /// The slot's owner has come to us or sent something.
    fileprivate func heard() { _ = handle(.heard) }

    private func handle(_ event: PeerLink.Event) -> PeerLink.Action? {
        link.handle(event, at: Clock.monotonic())
    }

    /// What became of a frame.
    enum Fate {
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
    ) -> Fate {
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
    fileprivate func heard(_ slot: UInt32) {
        if Int(slot) < known.count { known[Int(slot)]?.heard() }
    }

    var isEmpty: Bool { known.isEmpty }
}

/// Our guest's slot in a shared page: its key, those who send to that, and the ways to them.
final class PeerInlet {
    let page: SharedPage
    let key: DMAKey
    /// Where others knock; it listens only while the guest has buffers bound.
    private var door: Descriptor?
    private(set) var isOpen = false
    /// Until then nobody looks who is at the door: there were too many, or one could not be let in.
    private var rest: Deadline?
    private var peers: [Peer] = []
    var outlets = PeerOutlets()
    /// Frames are there, the guest's buffers are all in use.
    private(set) var isWaiting = false

    private final class Peer {
        let socket: Descriptor
        let slot: UInt32
        init(_ socket: consuming Descriptor, slot: UInt32) {
            self.socket = consume socket
            self.slot = slot
        }
    }

    /// - Throws: EADDRINUSE if somebody else has the address.
    init(_ page: SharedPage) throws(Errno) {
        self.page = page
        key = page.key(of: page.slot)
        door = try LocalSocket.bound(to: page.address(of: key))
    }

    /// The guest has bound the key.
    /// - Returns: false if nobody can reach it.
    func open() -> Bool {
        if isOpen { return true }
        if door == nil { door = try? LocalSocket.bound(to: page.address(of: key)) }
        guard let number = door?.number else { return false }
        isOpen = (try? LocalSocket.listen(number)) != nil
        return isOpen
    }

    /// The guest listens no more. Whoever sends now finds nobody.
    func close() {
        guard isOpen else { return }
        isOpen = false
        rest = nil
        isWaiting = false
        peers = []
        door = nil
        door = try? LocalSocket.bound(to: page.address(of: key))
    }

    /// Where others knock.
    var descriptor: Int32? { door?.number }

    /// The descriptors that say when there is something to do.
    var watched: [Int32] {
        guard isOpen else { return [] }
        var numbers: [Int32] = []
        if !isResting, let number = door?.number { numbers.append(number) }
        if !isWaiting { for peer in peers { numbers.append(peer.socket.number) } }
        return numbers
    }

    /// How long the door is not looked at any more; nil if it is.
    var restLeft: Nanoseconds? { isOpen && isResting ? rest?.remaining : nil }

    private var isResting: Bool { rest.map { !$0.isOver } ?? false }

    /// How many knocks are answered in one turn, and how long the door rests after so many that were
    /// none of the network's.
    private static let knocks = 16
    private static let pause = Nanoseconds.milliseconds(10)

    /// Lets those in who are on the network. A slot has one connection: a second is in place of
    /// the first.
    func accept() {
        guard isOpen, !isResting, let number = door?.number else { return }
        rest = nil
        var strangers = 0
        do throws(Errno) {
            for _ in 0..<Self.knocks {
                let knock = try LocalSocket.accept(number)
                let socket = Descriptor(owning: knock.socket)
                guard let slot = page.slot(of: knock.address, at: key),
                    (try? page.isHolder(slot, socket.number)) ?? false
                else {
                    strangers += 1
                    continue
                }
                peers.removeAll { $0.slot == slot }
                let peer = Peer(socket, slot: slot)
                peers.append(peer)
                outlets.heard(peer.slot)
            }
            if strangers == Self.knocks { rest = .after(Self.pause) }
        } catch { if error != .again { rest = .after(Self.pause) } }
    }

    /// The most frames that are taken in one turn.
    private static let turn = 64

    /// What becomes of a frame.
    enum Delivery {
        /// Straight to these pieces of memory.
        case into(IOVector)
        /// Not now: the guest has no free buffer.
        case noRoom
        /// Never: the guest is dead.
        case dead
    }

    /// Takes frames, each sender's in turn.
    /// - Parameters:
    ///   - room: finds a place for the next frame.
    ///   - received: hears the frame's length.
    func receive(room: () -> Delivery, received: (UInt32) -> Void) {
        isWaiting = false
        var frames = 0
        for peer in peers {
            while frames < Self.turn {
                let place: IOVector
                switch room() {
                case .into(let vector): place = vector
                case .noRoom:
                    isWaiting = true
                    return
                case .dead: return
                }
                let count: UInt32
                do throws(Errno) {
                    count = try LocalSocket.receive(peer.socket.number, into: place)
                } catch {
                    if error != .again && error != .badAddress { leave(peer) }
                    break
                }
                if count == 0 && place.count > 0 {
                    leave(peer)
                    break
                }
                outlets.heard(peer.slot)
                received(count)
                frames += 1
            }
        }
        // The one that was first is last now.
        if peers.count > 1 { peers.append(peers.removeFirst()) }
    }

    /// Takes one frame of whoever is next.
    /// - Returns: its length; nil if there is none.
    func receive(into room: IOVector) -> UInt32? {
        isWaiting = false
        // Each is looked at once; the one that was first is last then.
        for _ in peers {
            let peer = peers.removeFirst()
            do throws(Errno) {
                let count = try LocalSocket.receive(peer.socket.number, into: room)
                if count == 0 && room.count > 0 { continue }
                peers.append(peer)
                outlets.heard(peer.slot)
                return count
            } catch { if error == .again || error == .badAddress { peers.append(peer) } }
        }
        return nil
    }

    private func leave(_ peer: Peer) {
        peers.removeAll { $0 === peer }
    }
}

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

    /// The address of our end of a connection to a key: that of the key, and which slot is ours. The kernel
    /// keeps addresses apart, so there is something behind it that nobody has foreseen.
    func ownAddress(to key: DMAKey) -> LocalAddress {
        let chance = UInt32(truncatingIfNeeded: Clock.monotonic().count)
        return LocalAddress(name: "\(address(of: key).name)<\(slot).\(bareHex: chance)")
    }

    /// The slot that whoever has such an address claims; nil for any other address.
    func slot(of address: LocalAddress, at key: DMAKey) -> UInt32? {
        let bytes = address.name.bytes
        let door = self.address(of: key).name.bytes
        guard bytes.starts(with: door), bytes.count > door.count,
            bytes[door.count] == UInt8(ascii: "<"),
            let dot = address.name.lastIndex(of: UInt8(ascii: ".")), dot > door.count,
            let slot = address.name.part(door.count + 1..<dot).number,
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
