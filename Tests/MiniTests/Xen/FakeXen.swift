// A kernel that runs on Xen, as far as gntdev, gntalloc and evtchn show it, with other domains
// that grant pages. Maps, indices, counts, references and errnos are those of
// docs/abi/xen-grants.md §4 to §6 and §10. Clock, signals, standard input and output are the model's
// too; other files and memory stay the real kernel's, and all that is given out is counted.
// The devices: FakeGntDev.swift, FakeGntAlloc.swift, FakeEvtchn.swift.

import CShim
import Synchronization

@testable import Mini

/// Stands in the system calls of a task; see `SystemCall.hook`.
final class FakeXen: Sendable {
    /// What happens while somebody waits and nothing is ready.
    enum Happening {
        case signal(Int32)
        /// An event for a port of this domain.
        case event(UInt32)
        /// The ring of every evtchn file overflows.
        case overflow
        /// Whatever another domain does.
        case act(@Sendable (inout State) -> Void)
    }

    /// A page that some domain grants to this one.
    struct Grant {
        var page: Int
        var isReadOnly = false
        /// False for a page that is granted to somebody else.
        var isOurs = true
        /// How often the page is not there yet.
        var absences = 0
        var mappings = 0
    }

    enum Device { case gntdev, gntalloc, evtchn, store, signals, privcmd }

    struct File {
        var device: Device
        /// The descriptors and mappings that hold it.
        var users = 1
    }

    struct Area {
        var file: Int
        var count: Int
        var maps: [Int]
        var gntallocPages: [Int]
    }

    struct State {
        var isXen = true
        var isPV = true
        var modules: Set<String> = ["gntdev", "gntalloc", "evtchn", "xenbus"]
        /// Files that only this kernel has.
        var files: [String: String] = ["/sys/hypervisor/type": "xen\n"]
        var hasCopy = true
        /// After how many requests to copy the other domains are gone; nil for never.
        var copiesUntilDomainsEnd: Int?
        var mostGrants = 65536
        var ownDomain: UInt32 = 0
        var domains: Set<UInt32> = [0, 3]
        /// By domain and reference.
        var grants: [UInt64: Grant] = [:]
        var nextPage = 0

        var opened: [Int: File] = [:]
        var openedInOrder: [Device] = []
        /// Which file a descriptor is of.
        var descriptors: [Int: Int] = [:]
        var nextFile = 1
        var areas: [Int: Area] = [:]
        /// Areas that a forked process would not have.
        var notForked: Set<Int> = []
        var maps: [Int: Map] = [:]
        var nextMap = 1
        var lent: [Int: LentPage] = [:]
        var lentCount: [Int: Int] = [:]
        var nextReference: UInt32 = 8
        var referenceStep: UInt32 = 1
        var ports: [UInt32: Port] = [:]
        var rings: [Int: Ring] = [:]
        var nextPort: UInt32 = 1
        /// Ports of other domains that wait for us, by domain and port.
        var remotePorts: Set<UInt64> = []
        /// Whether a port that is bound to another domain's rings at once, as on Xen.
        var ringsWhenBound = false
        /// Ports of other domains that got an event from us.
        var notified: [UInt32] = []

        /// Without one there is no device for it.
        var store: FakeStore?
        /// The store is at a socket in the device's place, at which too many wait: so many times it takes nobody.
        var fullStore: Int?
        /// What the hypervisor says of domains, and which version of the question it knows; without it there is no
        /// device to ask with.
        var domainFlags: [UInt16: UInt32]?
        var domainControlVersion: UInt32 = 0x15

        var clock: UInt64 = 1_000_000_000
        /// How much time passes with each look at the clock.
        var tick: UInt64 = 1000
        var happenings: [Happening] = []
        var signals: [Int32] = []
        var held: UInt64 = 0
        var input: [UInt8] = []
        var inputReads = 0
        /// Which of standard input, output and errors are terminals.
        var terminals: Set<Int> = []
        /// How long each read of standard input takes.
        var inputTime: UInt64 = 0
        /// When all of standard input was read, nothing comes, and it does not end.
        var isInputIdle = false
        var isInputPipe = false
        var output: [UInt8] = []
        var errors: [UInt8] = []
        var outputErrno: Errno?
        var hasEndedByPipe = false
        /// Which of standard output and error take nothing, as a pipe that is full; and whether somebody slept for
        /// that in a call that no signal and no timer would end.
        var stuck: Set<Int> = []
        var hasSlept = false
        private(set) var hasTimer = false
        mutating func setTimer(_ isSet: Bool) { hasTimer = isSet }
        var isOutputClosed = false

        /// Programs that could be run, which are only noted: each says that it may not.
        var programs: Set<String> = []
        var executed: [[String]] = []
        var environment: [String] = []
        var inherited: Set<Int> = []

        var sandbox = FakeSandbox()
        var calls: [Int] = []
        /// Which of them opened a file that only tells whether something has to be looked after later.
        var looks: Set<Int> = []
        /// Real descriptors and mappings that are still open.
        var realDescriptors: Set<Int> = []
        var realMappings: Set<Int> = []
        var failing: (call: Int, errno: Errno)?
        /// A signal that comes while somebody is busy.
        var signalAtCall: (call: Int, signal: Int32)?
        /// After so many calls all fail: a loop that does not end fails its test, and does not stop it.
        var mostCalls = Int.max
        /// Every port of this domain gets events without an end.
        var ringsAll = false
        /// Nobody writes to standard input, and nobody closes it.
        var isInputSilent = false

        /// True if the call that was to fail is one after which nothing can be done: the real kernel
        /// does what it should then, this one does not.
        var failsHopelessly: Bool {
            guard let failing, failing.call <= calls.count else { return false }
            let hopeless: [SystemCall.Number] = [.close, .unmap, .signalMask]
            return hopeless.contains { $0.rawValue == calls[failing.call - 1] }
        }

        /// What the calls have left behind, in words.
        var left: [String] {
            var left = descriptors.keys.map { "descriptor \($0)" }
            left += realDescriptors.map { "descriptor \($0)" }
            left += areas.keys.map { _ in "granted pages mapped" }
            left += realMappings.map { _ in "a mapping" }
            left += maps.values.map { "index \($0.first) of \($0.references.count) pages" }
            left += lent.values.map { "lent page \($0.reference)" }
            left += ports.keys.map { "port \($0)" }
            left += grants.values.filter { $0.mappings > 0 }.map { _ in "a grant in use" }
            left += store?.connections.keys.map { _ in "a connection to the store" } ?? []
            if held != 0 { left.append("signals held back") }
            return left.sorted()
        }
    }
    let state: Mutex<State>
    let memory: MachineMemory

    init(_ change: (inout State) -> Void = { _ in }) throws {
        memory = MachineMemory()
        var state = State()
        change(&state)
        self.state = Mutex(state)
    }

    var now: State { state.withLock { $0 } }
    func change(_ body: (inout State) -> Void) { state.withLock { body(&$0) } }

    /// Lets a domain grant pages, filled with what `content` gives for each.
    func grant(
        _ references: [UInt32], of domain: UInt32, isReadOnly: Bool = false,
        content: (Int) -> UInt8 = { UInt8(truncatingIfNeeded: $0 + 1) }
    ) {
        state.withLock { state in
            for (index, reference) in references.enumerated() {
                let page = state.nextPage
                state.nextPage += 1
                memory[page].initializeMemory(as: UInt8.self, repeating: content(index))
                state.grants[key(domain, reference)] = Grant(page: page, isReadOnly: isReadOnly)
            }
        }
    }

    func changeGrant(_ reference: UInt32, of domain: UInt32, _ body: (inout Grant) -> Void) {
        state.withLock { body(&$0.grants[key(domain, reference)]!) }
    }

    /// A granted page as its owner sees it.
    func page(_ reference: UInt32, of domain: UInt32) -> UnsafeMutableRawBufferPointer {
        memory[state.withLock { $0.grants[key(domain, reference)]!.page }]
    }

    /// Runs `body` on this kernel.
    func play<Value, Failure: Error>(
        _ body: () throws(Failure) -> Value
    ) throws(Failure) -> Value {
        try SystemCall.hooked({ self.answer($0) }, body)
    }

    private func answer(_ call: SystemCall) -> Int? {
        state.withLock { state in
            state.calls.append(call.number.rawValue)
            if call.number == .open,
                String(cString: UnsafePointer<CChar>(bitPattern: call.arguments.0)!)
                    == "/sys/hypervisor/uuid"
            {
                state.looks.insert(state.calls.count)
            }
            state.watch(call)
            if let next = state.signalAtCall, state.calls.count >= next.call {
                state.signals.append(next.signal)
                state.signalAtCall = nil
            }
            if state.calls.count > state.mostCalls { return -5 }
            if let failing = state.failing, failing.call == state.calls.count {
                return -Int(failing.errno.rawValue)
            }
            return answer(call, &state)
        }
    }

    private func answer(_ call: SystemCall, _ state: inout State) -> Int? {
        let (first, second, third, fourth, fifth, sixth) = call.arguments
        let device = state.device(of: first)
        if let answer = state.giveUp(call) { return answer }
        switch call.number {
        case .fork: return 4242
        case .pipeWithFlags:
            let result = mini_syscall(call.number.rawValue, first, second, 0, 0, 0, 0)
            let numbers = UnsafePointer<(Int32, Int32)>(bitPattern: first)!.pointee
            state.realDescriptors.formUnion([Int(numbers.0), Int(numbers.1)])
            return result
        case .signalAction where second != 0: return 0
        case .intervalTimer:
            let value = UnsafePointer<(Int, Int, Int, Int)>(bitPattern: second)!.pointee
            state.setTimer(value.2 != 0 || value.3 != 0)
            return 0
        case .duplicate where second == 1:
            state.isOutputClosed = true
            return 1
        case .fileStatus where first == 1 || first == 2:
            // A terminal, or a file; standard output is a device that cannot be opened once more.
            var status = mini_stat()
            let isDevice =
                first == 1 || state.terminals.contains(first) || state.stuck.contains(first)
            status.mode = isDevice ? 0o020600 : 0o100600
            UnsafeMutableRawPointer(bitPattern: second)!
                .storeBytes(of: status, as: mini_stat.self)
            return 0
        case SystemCall.Number(rawValue: SocketCall.connect.direct) where state.fullStore != nil:
            return state.connect(first)
        case .open: return open(call, &state)
        case .close: return close(call, &state)
        case .ioctl where second == 0x5450:  // FIONCLEX
            state.inherited.insert(first)
            return 0
        case .ioctl where second == 0x5421: return real(call, &state)  // FIONBIO
        case .ioctl where second == 0x5401 && state.terminals.contains(first): return 0  // TCGETS
        case .execute: return execute(first, second, third, &state)
        case .ioctl:
            switch device {
            case .gntdev?: return state.gntdev(file(first, state), second, third, memory)
            case .gntalloc?: return state.gntalloc(file(first, state), second, third, memory)
            case .evtchn?: return state.evtchn(file(first, state), second, third)
            case .privcmd?: return state.hypercall(second, third)
            default: return -25
            }
        case .map:
            switch state.device(of: fifth) {
            case .gntdev?:
                return state.mapGrants(file(fifth, state), second, third, fourth, sixth, memory)
            case .gntalloc?:
                return state.mapLent(file(fifth, state), second, third, fourth, sixth, memory)
            case .some: return -19
            case nil: return real(call, &state)
            }
        case .memoryAdvice:
            guard third == 10, state.areas[first]?.count == second else { return -22 }
            state.notForked.insert(first)
            return 0
        case .unmap:
            guard state.areas[first] != nil else { return real(call, &state) }
            _ = mini_syscall(call.number.rawValue, first, second, 0, 0, 0, 0)
            state.unmap(first, memory)
            state.notForked.remove(first)
            return 0
        case .write where state.stuck.contains(first):
            if !state.hasTimer && state.held != 0 { state.hasSlept = true }
            return state.hasTimer ? -4 : -35
        case .write where first == 1 || first == 2: return write(first, second, third, &state)
        case .write where device == .evtchn:
            return state.acknowledge(file(first, state), second, third)
        case .read where first == 0 && state.isInputSilent: return -35  // would sleep for ever
        case .read where first == 0:
            state.inputReads += 1
            state.clock += state.inputTime
            let count = min(third, state.input.count)
            UnsafeMutableRawPointer(bitPattern: second)!.copyMemory(
                from: state.input, byteCount: count)
            state.input.removeFirst(count)
            return count
        case .read where device == .evtchn:
            return state.readEvents(file(first, state), second, third)
        case .write where device == .store:
            return state.writeStore(file(first, state), second, third)
        case .read where device == .store:
            return state.readStore(file(first, state), second, third)
        case .read where device == .signals:
            guard !state.signals.isEmpty else { return -11 }
            UnsafeMutableRawPointer(bitPattern: second)!.storeBytes(
                of: UInt32(state.signals.removeFirst()), as: UInt32.self)
            return third
        case .readVector where first == 0, .writeVector where first == 1:
            let pieces = UnsafeBufferPointer(
                start: UnsafePointer<(Int, Int)>(bitPattern: second), count: third)
            let number: SystemCall.Number = first == 0 ? .read : .write
            var sum = 0
            for (address, count) in pieces {
                let result = answer(
                    SystemCall(number: number, arguments: (first, address, count, 0, 0, 0)), &state)!
                if result <= 0 { return sum > 0 ? sum : result }
                sum += result
                if result < count { break }
            }
            return sum
        case .fileStatus where first == 0:
            var status = mini_stat()
            status.mode = state.isInputPipe ? 0o010600 : 0o020600
            UnsafeMutableRawPointer(bitPattern: second)!.storeBytes(of: status, as: mini_stat.self)
            return 0
        case .poll: return poll(first, second, third, &state)
        case .clockTime:
            state.clock += state.tick
            let time = mini_timespec(
                seconds: Int(state.clock / 1_000_000_000),
                nanoseconds: Int(state.clock % 1_000_000_000))
            UnsafeMutableRawPointer(bitPattern: second)!.storeBytes(
                of: time, as: mini_timespec.self)
            return 0
        case .signalDescriptor: return state.open(.signals)
        case .signalMask: return mask(first, second, third, &state)
        default: return real(call, &state)
        }
    }

    private func file(_ descriptor: Int, _ state: State) -> Int { state.descriptors[descriptor]! }

    // MARK: Files

    private func open(_ call: SystemCall, _ state: inout State) -> Int {
        let path = String(cString: UnsafePointer<CChar>(bitPattern: call.arguments.0)!)
        if let content = state.files[path] {
            let number = rawMemoryFile(content)
            state.realDescriptors.insert(number)
            return number
        }
        if path.hasPrefix("/dev/xen/") {
            let name = String(path.dropFirst("/dev/xen/".count))
            if name == "privcmd", state.domainFlags != nil { return state.open(.privcmd) }
            guard state.isXen, state.modules.contains(name) else { return -2 }
            switch name {
            case "gntdev": return state.open(.gntdev)
            case "gntalloc": return state.open(.gntalloc)
            case "evtchn": return state.open(.evtchn)
            // As a socket answers whoever opens it.
            case "xenbus" where state.fullStore != nil: return -6
            case "xenbus" where state.store != nil: return state.open(.store)
            default: break
            }
        }
        // A test's own output is not this model's.
        if path.hasPrefix("/proc/self/fd/") { return -2 }
        for place in ["/dev/xen", "/sys/hypervisor", "/sys/module/xen", "/proc/xen"]
        where path.hasPrefix(place) { return -2 }
        return real(call, &state)
    }

    private func close(_ call: SystemCall, _ state: inout State) -> Int {
        let descriptor = call.arguments.0
        if descriptor <= 2 {
            state.isOutputClosed = state.isOutputClosed || descriptor == 1
            return 0
        }
        guard let file = state.descriptors.removeValue(forKey: descriptor) else {
            // No number that is not this model's: others have files open in this process.
            guard state.realDescriptors.contains(descriptor) else { return -9 }
            return real(call, &state)
        }
        _ = mini_syscall(call.number.rawValue, descriptor, 0, 0, 0, 0, 0)
        state.drop(file, memory)
        return 0
    }

    private func write(
        _ descriptor: Int, _ address: Int, _ count: Int, _ state: inout State
    ) -> Int {
        let bytes = UnsafeRawBufferPointer(
            start: UnsafeRawPointer(bitPattern: address), count: count)
        if descriptor == 2 {
            state.errors += bytes
            return count
        }
        if let errno = state.outputErrno {
            // SIGPIPE, which is not held back, ends the process before it has the errno.
            if errno == .brokenPipe && state.held & 1 << 12 == 0 { state.hasEndedByPipe = true }
            return -Int(errno.rawValue)
        }
        state.output += bytes
        return count
    }

    private func execute(_ path: Int, _ words: Int, _ environment: Int, _ state: inout State) -> Int
    {
        func strings(_ address: Int) -> [String] {
            var entry = UnsafePointer<UnsafePointer<CChar>?>(bitPattern: address)!
            var strings: [String] = []
            while let string = entry.pointee {
                strings.append(String(cString: string))
                entry += 1
            }
            return strings
        }
        let path = String(cString: UnsafePointer<CChar>(bitPattern: path)!)
        guard state.programs.contains(path) else { return -2 }
        state.executed.append([path] + strings(words))
        state.environment = strings(environment)
        return -13
    }

    // MARK: Waiting and signals

    private func poll(_ address: Int, _ count: Int, _ limit: Int, _ state: inout State) -> Int {
        let records = UnsafeMutableBufferPointer(
            start: UnsafeMutablePointer<mini_pollfd>(bitPattern: address), count: count)
        while true {
            if state.ringsAll { for port in state.ports.keys { state.deliver(port) } }
            var ready = 0
            for index in records.indices {
                let descriptor = Int(records[index].descriptor)
                switch state.device(of: descriptor) {
                case .evtchn?:
                    let ring = state.rings[file(descriptor, state)] ?? Ring()
                    records[index].returned =
                        ring.isOverflowed ? 8 : ring.ports.isEmpty ? 0 : records[index].events & 1
                case .store?:
                    let output = state.store!.connections[file(descriptor, state)]!.output
                    records[index].returned = output.isEmpty ? 0 : records[index].events & 1
                case .signals?: records[index].returned = state.signals.isEmpty ? 0 : 1
                case .some: records[index].returned = 0
                case nil where state.stuck.contains(descriptor): records[index].returned = 0
                case nil where descriptor == 0 && state.isInputSilent: records[index].returned = 0
                case nil where descriptor > 2: records[index].returned = look(records[index])
                case nil where descriptor == 0 && state.isInputIdle && state.input.isEmpty:
                    records[index].returned = 0
                case nil: records[index].returned = descriptor < 0 ? 0 : records[index].events
                }
                if records[index].returned != 0 { ready += 1 }
            }
            if ready > 0 { return ready }
            if limit != 0 {
                let length = UnsafePointer<mini_timespec>(bitPattern: limit)!.pointee
                if length.seconds == 0 && length.nanoseconds == 0 { return 0 }
            }
            if !state.happenings.isEmpty {
                state.happen(state.happenings.removeFirst())
                continue
            }
            // Nothing will ever come: the time passes, if there is an end to it.
            guard limit != 0 else { return -35 }
            let length = UnsafePointer<mini_timespec>(bitPattern: limit)!.pointee
            state.clock += UInt64(length.seconds) * 1_000_000_000 + UInt64(length.nanoseconds)
            return 0
        }
    }

    /// What the real kernel says of a descriptor of its own, a socket.
    private func look(_ record: mini_pollfd) -> Int16 {
        var record = record
        var now = mini_timespec()
        _ = withUnsafeMutablePointer(to: &record) { record in
            withUnsafeMutablePointer(to: &now) { now in
                mini_syscall(
                    SystemCall.Number.poll.rawValue, Int(bitPattern: record), 1,
                    Int(bitPattern: now), 0, 0, 0)
            }
        }
        return record.returned
    }

    private func mask(_ how: Int, _ new: Int, _ old: Int, _ state: inout State) -> Int {
        let before = state.held
        if new != 0 {
            let mask = UnsafeRawPointer(bitPattern: new)!.load(as: UInt64.self)
            state.held = how == 0 ? state.held | mask : how == 1 ? state.held & ~mask : mask
        }
        if old != 0 {
            UnsafeMutableRawPointer(bitPattern: old)!.storeBytes(of: before, as: UInt64.self)
        }
        return 0
    }

    /// The real kernel answers, and what it gives is noted.
    private func real(_ call: SystemCall, _ state: inout State) -> Int {
        let (first, second, third, fourth, fifth, sixth) = call.arguments
        let result = mini_syscall(
            call.number.rawValue, first, second, third, fourth, fifth, sixth)
        guard result >= 0 || result < -4095 else { return result }
        switch call.number {
        case .open, SystemCall.Number(rawValue: SocketCall.socket.direct),
            SystemCall.Number(rawValue: SocketCall.accept.direct):
            state.realDescriptors.insert(result)
            state.opened(result)
            name(call, result, &state)
        case .close: state.realDescriptors.remove(first)
        case .map where fourth & 0x10 == 0: state.realMappings.insert(result)
        case .unmap: state.realMappings.remove(first)
        default: break
        }
        return result
    }
}

/// What a descriptor is of, as the page of the sandbox calls it.
private func name(_ call: SystemCall, _ descriptor: Int, _ state: inout FakeXen.State) {
    guard call.number == .open else { return state.sandbox.roles[descriptor] = "socket" }
    let path = String(cString: UnsafePointer<CChar>(bitPattern: call.arguments.0)!)
    state.sandbox.roles[descriptor] = path == "/dev/null" ? "nothing" : "file"
}
