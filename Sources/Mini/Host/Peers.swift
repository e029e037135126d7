// What a host knows of the guests that share a page with its own. Each bound key of such a page is
// a local socket, named after the file and the word in it: there the hosts of the others
// connect, wherever they run, and send frames out of their guest's memory straight into the
// queue from which we fill our guest's buffers. Nobody else is believed: both ends ask the kernel
// which process the other one is, and whether it holds a slot's lock on the file, which takes
// permission to write it. Source: docs/abi/lguest.md §5.1, §5.2 (shared net), unix(7).

/// The end of a connection that frames go into.
final class PeerOutlet {
    let key: UInt32
    var link = PeerLink()
    private let page: SharedPage
    private var socket: Descriptor?

    init(_ key: UInt32, of page: SharedPage) {
        self.key = key
        self.page = page
    }

    /// How long a receiver has to make room.
    private static let patience = Nanoseconds.milliseconds(5)

    /// Connects to whoever has bound the key, if it is who has the slot.
    func connect() -> PeerLink.Event {
        socket = nil
        let slot = (key - page.start) / 4
        do throws(Errno) {
            let socket = try LocalSocket.connected(to: page.address(of: key))
            let holder = try FileLock.holder(Int(slot), of: page.descriptor)
            guard let holder, holder != 0,
                holder == (try LocalSocket.peer(of: socket.number))
            else { return .refused }
            self.socket = consume socket
            return .connected
        } catch { return .refused }
    }

    func send(_ frame: TransferVector) -> PeerLink.Event {
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

    func waitForRoom() -> PeerLink.Event {
        guard let number = socket?.number else { return .timeOut }
        let interest = Poll.Interest(number, .writable)
        let ready = try? Poll.wait([interest], timeout: Self.patience)
        return ready == [true] ? .room : .timeOut
    }
}

/// A key of our guest's in a shared page, and those who send to it.
final class PeerInlet {
    let page: SharedPage
    let key: UInt32
    /// Where others knock; it listens only while the guest has buffers bound.
    private var door: Descriptor?
    private(set) var isOpen = false
    /// A knock could not be answered: it does not end a sleep before something else did.
    private var isDeaf = false
    private var peers: [Peer] = []
    /// Frames are there, the guest's buffers are all in use.
    private(set) var isWaiting = false

    private final class Peer {
        let socket: Descriptor
        let process: Int32
        init(_ socket: consuming Descriptor, process: Int32) {
            self.socket = consume socket
            self.process = process
        }
    }

    /// - Throws: EADDRINUSE if somebody else has the address.
    init(_ page: SharedPage) throws(Errno) {
        self.page = page
        key = page.start + 4 * page.slot
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
        isDeaf = false
        isWaiting = false
        peers = []
        door = nil
        door = try? LocalSocket.bound(to: page.address(of: key))
    }

    /// The descriptors that say when there is something to do.
    var watched: [Int32] {
        guard isOpen else { return [] }
        var numbers: [Int32] = []
        if !isDeaf, let number = door?.number { numbers.append(number) }
        if !isWaiting { for peer in peers { numbers.append(peer.socket.number) } }
        return numbers
    }

    /// Lets those in who are on the network. A process has one connection: a second is in
    /// place of the first.
    func accept() {
        guard isOpen, let number = door?.number else { return }
        do throws(Errno) {
            while true {
                let socket = try LocalSocket.accept(number)
                let process = try LocalSocket.peer(of: socket.number)
                guard page.isMember(process) else { continue }
                peers.removeAll { $0.process == process }
                peers.append(Peer(socket, process: process))
            }
        } catch { isDeaf = error != .again }
    }

    /// The most frames that are taken in one turn.
    private static let turn = 64

    /// What becomes of a frame.
    enum Delivery {
        /// Straight to these pieces of memory.
        case into(TransferVector)
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
                let place: TransferVector
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
                received(count)
                frames += 1
            }
        }
        // The one that was first is last now.
        if peers.count > 1 { peers.append(peers.removeFirst()) }
    }

    private func leave(_ peer: Peer) {
        peers.removeAll { $0 === peer }
        isDeaf = false
    }
}

extension SharedPage {
    /// The address of a key's socket, the same for every host that has this file.
    func address(of key: UInt32) -> LocalAddress {
        LocalAddress(
            name:
                "mini-lguest/\(bareHex: file.device)/\(bareHex: file.inode)/\(bareHex: key - start)"
        )
    }

    /// True for a process that holds one of the slots.
    func isMember(_ process: Int32) -> Bool {
        // Asked of all at once, the kernel tells any one of them.
        guard process != 0, let first = try? FileLock.holder(0, count: Self.slots, of: descriptor)
        else { return false }
        if first == process { return true }
        for slot in 0..<Self.slots {
            if (try? FileLock.holder(slot, of: descriptor)) == process { return true }
        }
        return false
    }
}
