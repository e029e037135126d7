// A store that wants to do harm: replies in pieces, with wrong numbers, kinds and lengths, events without
// an end, silence. A case is a script; when it has been played the connection ends. Beside the store a hypervisor and
// assistants answer whatever stands in the script.

import CShim

#if !hasFeature(Embedded)
@testable import Mini
#endif

enum FuzzStore {
    /// What the store does when something is read from it.
    private enum Move: UInt8, CaseIterable {
        case reply, error, event, stray, raw, trickle, silence, again, other, number, permissions,
            value
    }

    nonisolated(unsafe) private static var reader: FuzzReader?
    /// What is to be read before the script goes on.
    nonisolated(unsafe) private static var output: [UInt8] = []
    nonisolated(unsafe) private static var most = 4096
    /// Type, number and transaction of the last request.
    nonisolated(unsafe) private static var request: (UInt32, UInt32, UInt32) = (0, 0, 0)
    nonisolated(unsafe) private static var time = 0
    nonisolated(unsafe) private static var calls = 0
    private static let descriptor = 900
    private static let hypervisor = 901
    /// The number of this machine, which only domain 0 has not.
    private static let machine = 902
    /// An assistant's pipes: its questions and its answers.
    private static let questions = 904
    private static let answers = 905
    nonisolated(unsafe) private static var hasToldMachine = false
    /// What tables look up there.
    private static var words: [StaticString] {
        [
            "run x @{data/a} @{data/b}", "run @{data/args/*}", "set /x @{a/@{b/@{c}}}-@{d:-none}",
            "run @{data/list/*:-}", "run @{data/@{n}/*:-default} '@{k}'",
        ]
    }

    static func make(_ random: inout FuzzRandom, _ input: FuzzInput) {
        // What is asked, and how long may that take.
        input.append(random.byte())
        input.append(random.byte())
        for _ in 0..<1 + random.below(30) {
            // Sound replies more often: so more gets asked.
            let move: Move =
                random.once(in: 2) ? .reply : Move.allCases[random.below(Move.allCases.count)]
            input.append(move.rawValue)
            let size = random.once(in: 8) ? random.byte() : random.byte() & 7
            input.append(size)
            for _ in 0..<size {
                input.append(
                    random.once(in: 3)
                        ? random.byte() : random.once(in: 3) ? 0 : 0x30 &+ random.byte() & 7)
            }
        }
    }

    static func take(_ input: FuzzInput) {
        var script = FuzzReader(input)
        let what = script.byte()
        let patience = Nanoseconds.milliseconds(UInt64(script.byte()) * 50)
        unsafe reader = script
        unsafe output = []
        unsafe most = 4096
        unsafe time = 1
        unsafe calls = 0
        unsafe hasToldMachine = false
        Fuzz.playing({ (call) in answer(call) }) {
            do throws(GrantError) {
                try ask(what, patience)
            } catch { Fuzz.require(!error.text.bytes.contains(10), "an error of two lines") }
        }
        // A reply is at most 50 ms late in the script's time, and each step takes some.
        Fuzz.require(unsafe calls < 20_000, "asking the store does not end")
    }

    private static func ask(_ what: UInt8, _ patience: Nanoseconds) throws(GrantError) {
        let path = try StorePath(named: "/x/v")
        let deadline = Deadline.after(patience)
        switch what & 31 {
        case 16: return look(deadline)
        case 17: return askDeadPorts()
        case 18:
            _ = try ("@/x/v" as Text).fromStore(deadline: deadline)
            return
        case 19, 20: return lookUp(what)
        default: break
        }
        if what & 15 == 0 {
            _ = try XenStore(deadline: deadline).ask(.isIntroduced(try domain()))
            return
        }
        let store = try XenStore(deadline: deadline)
        switch what & 15 {
        case 1: _ = try store.read(path)
        case 2: _ = try store.list(path)
        case 3: _ = try store.wait(for: path) { $0 == [0x31] }
        case 4: try store.publish("8,9", at: path, for: try domain())
        case 5, 6:
            let address = VchanAddress(page: GrantReference(rawValue: 8), port: try port())
            let isNew = try store.publish(address, at: path, for: try domain())
            try store.withdraw(address, at: path, isNew: isNew)
        case 7: _ = try store.find(path)
        case 8:
            try store.watch(path, token: "t")
            for _ in 0..<100 { if try store.nextEvent(until: deadline) == nil { break } }
        case 9: _ = try store.permissions(of: path)
        case 10:
            let transaction = try StoreTransaction(store)
            repeat {
                try store.write(path, [1], in: transaction.number)
            } while try !transaction.commit()
        default:
            try store.watch(path, token: "t")
            while try store.nextEvent(until: deadline) != nil {
                if try store.find(path) != nil || deadline.isOver { break }
            }
        }
    }

    /// Another domain, looked at now and then.
    private static func look(_ deadline: Deadline) {
        guard let domain = try? domain() else { return }
        let peer = PeerDomain(domain, awaitsSuspension: true, deadline)
        if let path = try? StorePath(named: "/x/v") { peer.entries = [(path, "1")] }
        for _ in 0..<8 {
            guard let breach = peer.look() else { continue }
            Fuzz.require(!breach.words.bytes.contains(10), "a breach of two lines")
        }
    }

    private static func askDeadPorts() {
        guard let ports = DeadPorts(7) else { return }
        let first = ports.areDead
        for _ in 0..<4 { Fuzz.require(ports.areDead || !first, "ports that are alive again") }
    }

    /// The words of a statement.
    private static func lookUp(_ what: UInt8) {
        let text: Text = "\(words[Int(what >> 5) % words.count])"
        guard let words = try? TableWords.cut(line: text.bytes[...]) else {
            return Fuzz.require(false, "a table's words that are none")
        }
        var lookups = TableLookups()
        do throws(TableLookups.Complaint) {
            let found = try lookups.expand(words)
            let bytes = found.reduce(0) { $0 + $1.text.bytes.count }
            Fuzz.require(bytes <= TableLookups.mostBytes, "more words than a statement has")
        } catch { Fuzz.require(!error.words.bytes.contains(10), "a complaint of two lines") }
    }

    private static func domain() throws(GrantError) -> DomainID {
        guard let domain = DomainID(3) else { throw .use("no domain") }
        return domain
    }
    private static func port() throws(GrantError) -> EventPort {
        guard let port = EventPort(7) else { throw .use("no port") }
        return port
    }

    // MARK: The kernel and the store

    private static func answer(_ call: SystemCall) -> Int? {
        unsafe calls += 1
        Fuzz.require(unsafe calls < 100_000, "asking the store does not end")
        let (first, second, third, _, _, _) = call.arguments
        switch call.number {
        case .open: return open(first)
        case .close: return 0
        case .fileStatus where first == descriptor:
            // A device.
            unsafe UnsafeMutablePointer<mini_stat>(bitPattern: second)?.pointee.mode = 0o020600
            return 0
        case .fork: return 4242
        case .pipeWithFlags: return pipe(first)
        case .ioctl where first == hypervisor: return control(third)
        case .read where first == machine: return tellMachine(second, third)
        case .read where first == answers:
            let kind = byte()
            if kind & 7 == 0 { return kind & 8 == 0 ? 0 : -5 }
            unsafe UnsafeMutablePointer<UInt8>(bitPattern: second)?.pointee = byte()
            return 1
        case .write where first == questions: return byte() & 15 == 0 ? -32 : third
        case .clockTime:
            unsafe time += 1000
            let words = unsafe UnsafeMutablePointer<Int>(bitPattern: second)
            unsafe words?[0] = unsafe time / 1_000_000
            unsafe words?[1] = unsafe time % 1_000_000 * 1000
            return 0
        case .poll: return poll(first, second, third)
        case .read where first == descriptor: return read(second, third)
        case .write where first == descriptor:
            let words = unsafe UnsafePointer<UInt32>(bitPattern: second)
            if third >= 16, let words = unsafe words {
                unsafe request = unsafe (words[0], words[1], words[2])
            }
            return third
        default: return nil
        }
    }

    private static func byte() -> UInt8 {
        guard var script = unsafe reader else { return 0 }
        defer { unsafe reader = script }
        return script.byte()
    }

    private static func open(_ path: Int) -> Int {
        guard let path = unsafe UnsafeRawPointer(bitPattern: path) else { return -14 }
        let name = unsafe Text(cString: path)
        if name == "/dev/xen/privcmd" { return hypervisor }
        return name == "/sys/hypervisor/uuid" ? machine : descriptor
    }

    /// The two ends of one; the second that is made carries answers.
    private static func pipe(_ ends: Int) -> Int {
        guard let ends = unsafe UnsafeMutablePointer<Int32>(bitPattern: ends) else { return -14 }
        unsafe ends[0] = Int32(answers)
        unsafe ends[1] = Int32(questions)
        return 0
    }

    private static func tellMachine(_ address: Int, _ count: Int) -> Int {
        if unsafe hasToldMachine { return 0 }
        unsafe hasToldMachine = true
        let size = min(count, Int(byte()))
        for index in 0..<size {
            unsafe UnsafeMutablePointer<UInt8>(bitPattern: address)?[index] = 0x30 | byte() & 7
        }
        return size
    }

    /// What Xen says of a domain: anything, or an errno.
    private static func control(_ address: Int) -> Int {
        let kind = byte()
        if kind & 7 == 0 { return kind & 8 == 0 ? -3 : kind & 16 == 0 ? -13 : -22 }
        guard let call = unsafe UnsafePointer<mini_hypercall>(bitPattern: address),
            let question = unsafe UnsafeMutablePointer<mini_domain_information>(
                bitPattern: UInt(truncatingIfNeeded: call.pointee.arguments.0))
        else { return -14 }
        unsafe question.pointee.found = kind & 16 == 0 ? 3 : UInt16(byte()) << 8 | UInt16(byte())
        unsafe question.pointee.flags = UInt32(byte()) | UInt32(byte()) << 16 | UInt32(byte()) << 24
        return 0
    }

    /// Ready but in a silence, which takes the time that somebody waits.
    private static func poll(_ records: Int, _ count: Int, _ limit: Int) -> Int {
        guard let records = unsafe UnsafeMutablePointer<mini_pollfd>(bitPattern: records) else {
            return 0
        }
        var ready = 0
        for index in 0..<count {
            if unsafe records[index].descriptor == Int32(answers) {
                // Asked without waiting: whether it has ended.
                let isReady = (byte() & 15 == 0) == isNow(limit)
                unsafe records[index].returned = isReady ? 1 : 0
                if isReady { ready += 1 }
                continue
            }
            let isOurs = unsafe records[index].descriptor == Int32(descriptor)
            let isSilent = unsafe output.isEmpty && isOurs && isNext(.silence)
            if isSilent {
                _ = move()
                if let limit = unsafe UnsafePointer<Int>(bitPattern: limit) {
                    let microseconds = unsafe limit[0] * 1_000_000 + limit[1] / 1000
                    unsafe time += min(microseconds, 10_000_000)
                }
            }
            unsafe records[index].returned = isOurs && !isSilent ? records[index].events : 0
            if isOurs && !isSilent { ready += 1 }
        }
        return ready
    }

    private static func isNow(_ limit: Int) -> Bool {
        guard let limit = unsafe UnsafePointer<Int>(bitPattern: limit) else { return false }
        return unsafe limit[0] == 0 && limit[1] == 0
    }

    private static func isNext(_ move: Move) -> Bool {
        guard let script = unsafe reader, !script.isAtEnd else { return false }
        return script.input[script.position] % UInt8(Move.allCases.count) == move.rawValue
    }

    private static func move() -> (Move, [UInt8])? {
        guard var script = unsafe reader, !script.isAtEnd else { return nil }
        let move = Move.allCases[Int(script.byte()) % Move.allCases.count]
        let bytes = script.bytes(Int(script.byte()))
        unsafe reader = script
        return (move, bytes)
    }

    private static func read(_ address: Int, _ count: Int) -> Int {
        if unsafe output.isEmpty {
            unsafe most = 4096
            guard let (move, bytes) = move() else { return 0 }
            let (type, number, transaction) = unsafe request
            func message(_ type: UInt32, _ number: UInt32, _ payload: [UInt8]) -> [UInt8] {
                StoreMessage(
                    type: type, request: number, transaction: transaction, payload: payload
                ).bytes
            }
            switch move {
            case .reply: unsafe output = message(type, number, bytes)
            case .error:
                let name: Text = bytes.first ?? 0 & 1 == 0 ? "ENOENT" : "EAGAIN"
                unsafe output = message(16, number, name.bytes + [0])
            case .event: unsafe output = message(15, 0, bytes + [0, 0x74, 0])
            case .stray: unsafe output = message(UInt32(bytes.first ?? 0) % 24, number &+ 1, bytes)
            case .raw: unsafe output = bytes
            case .trickle:
                unsafe output = message(type, number, bytes)
                unsafe most = 1
            case .silence, .again: return -11
            case .other: unsafe output = message(UInt32(bytes.first ?? 0) % 24, number, bytes)
            case .number: unsafe output = message(type, number, ("17" as Text).bytes + [0])
            case .permissions: unsafe output = message(type, number, ("n0" as Text).bytes + [0])
            case .value: unsafe output = message(type, number, [0x31])
            }
            if unsafe output.isEmpty { return -11 }
        }
        let size = unsafe min(count, output.count, most)
        if let target = unsafe UnsafeMutablePointer<UInt8>(bitPattern: address) {
            for index in 0..<size { unsafe target[index] = output[index] }
        }
        unsafe output.removeFirst(size)
        return size
    }
}
