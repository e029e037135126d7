// Frames from the others that share a page with our guest. The key that the guest has bound is a local socket. The hosts of the other
// guests connect to it and send frames straight out of their guests' memory; we receive them straight into our guest's buffers.
// Any user can connect, so a connection costs the same few calls whoever made it, and after many refused ones in
// a row the next have to wait for a while.
// Source: docs/abi/lguest.md §5.1, §5.2 (shared net), unix(7).

/// Our guest's slot in a shared page: its key, those who send to that, and the ways to them.
final class PeerInlet {
    let page: SharedPage
    let key: DMAKey
    /// The socket that others connect to; it listens only while the guest has buffers bound.
    private var listener: Descriptor?
    private(set) var isOpen = false
    /// Until then no connection is accepted: too many were refused, or accepting one failed.
    private var rest: Deadline?
    /// Every connection of the last turn was refused.
    private var isCrowded = false
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

    /// - Parameter listener: the slot's socket, if it is there already.
    /// - Throws: EADDRINUSE if the address is taken.
    init(_ page: SharedPage, listener: consuming Descriptor? = nil) throws(Errno) {
        self.page = page
        key = page.key(of: page.slot)
        self.listener = listener
        if self.listener == nil { self.listener = try page.makeListener() }
    }

    /// The guest has bound the key.
    /// - Returns: false if it cannot be reached.
    func open() -> Bool {
        if isOpen { return true }
        if listener == nil { listener = try? page.makeListener() }
        guard let number = listener?.number else { return false }
        isOpen = (try? LocalSocket.listen(number)) != nil
        return isOpen
    }

    /// The guest has taken its key back. Senders are refused from now on.
    func close() {
        guard isOpen else { return }
        isOpen = false
        rest = nil
        isWaiting = false
        peers = []
        listener = nil
        listener = try? page.makeListener()
    }

    /// The socket that others connect to.
    var descriptor: Int32? { listener?.number }

    /// The descriptors that say when there is something to do.
    var watched: [Int32] {
        guard isOpen else { return [] }
        var numbers: [Int32] = []
        if !isResting, let number = listener?.number { numbers.append(number) }
        if !isWaiting { for peer in peers { numbers.append(peer.socket.number) } }
        return numbers
    }

    /// For how long no connection is accepted; nil if they are.
    var restLeft: Nanoseconds? { isOpen && isResting ? rest?.remaining : nil }

    private var isResting: Bool { rest.map { !$0.isOver } ?? false }

    /// How many connections are accepted in one turn, and how long none is after two turns in which all were refused.
    private static let turnOfConnections = 16
    private static let pause = Nanoseconds.milliseconds(10)

    /// Accepts connections, and closes those of processes that are not on the network. A slot has one connection: a second
    /// one replaces the first.
    func accept() {
        guard isOpen, !isResting, let number = listener?.number else { return }
        rest = nil
        var refused = 0
        do throws(Errno) {
            for _ in 0..<Self.turnOfConnections {
                let connection = try LocalSocket.accept(number)
                let socket = Descriptor(owning: connection.socket)
                guard let slot = page.slot(of: connection.address, at: key),
                    (try? page.isHolder(slot, socket.number)) ?? false
                else {
                    refused += 1
                    continue
                }
                peers.removeAll { $0.slot == slot }
                let peer = Peer(socket, slot: slot)
                peers.append(peer)
                outlets.heard(peer.slot)
            }
            let isCrowd = refused == Self.turnOfConnections
            if isCrowd && isCrowded { rest = .after(Self.pause) }
            isCrowded = isCrowd && !isCrowded
        } catch {
            isCrowded = false
            if error != .again { rest = .after(Self.pause) }
        }
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
                // The end; no frame is empty.
                if count == 0 {
                    leave(peer)
                    break
                }
                outlets.heard(peer.slot)
                received(min(count, place.count))
                frames += 1
            }
        }
        // The one that was first is last now.
        if peers.count > 1 { peers.append(peers.removeFirst()) }
    }

    /// Takes one frame of the next peer that has one.
    /// - Returns: its length, as far as there is room; nil if there is none.
    func receive(into room: IOVector) -> UInt32? {
        isWaiting = false
        // Each is looked at once; the one that was first is last then.
        for _ in peers {
            let peer = peers.removeFirst()
            do throws(Errno) {
                let count = try LocalSocket.receive(peer.socket.number, into: room)
                if count == 0 { continue }
                peers.append(peer)
                outlets.heard(peer.slot)
                return min(count, room.count)
            } catch { if error == .again || error == .badAddress { peers.append(peer) } }
        }
        return nil
    }

    private func leave(_ peer: Peer) {
        peers.removeAll { $0 === peer }
    }
}
