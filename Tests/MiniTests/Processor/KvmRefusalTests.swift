// What is said of a /dev/kvm that cannot be used, whatever it is that fails, and that nothing stays open; and what is
// done to one for a restart.

import Synchronization
import Testing

@testable import Mini

#if canImport(Glibc)
import Glibc
#endif

/// A kernel with a /dev/kvm that answers as it is told. Signals, timers and memory are the real kernel's.
final class FakeKvm: Sendable {
    struct State {
        /// What is refused: a request of /dev/kvm's, or opening it.
        var refused: [Int: Errno] = [:]
        var openError: Errno?
        var version = 12
        var extensions: Set<Int> = [3, 7]
        /// What the first runs end with, and all behind them, and what ECX is by then.
        var firstExits: [UInt32] = []
        var exit: UInt32 = KvmExit.halt
        var countLeft: UInt32 = 0
        /// From this one on all of the calls that concern /dev/kvm fail.
        var firstFailure = Int.max

        /// CPUID on offer, and as it is set: leaves with their ECX.
        var offered: [(leaf: UInt32, value: UInt32)] = []
        var identified: [UInt32: UInt32] = [:]
        /// The processor's requests in their order, its debug registers, and what a guest has left in CR8.
        var requests: [Int] = []
        var debugRegisters: [UInt64] = []
        var priority: UInt64 = 0
        var modelRegisters: [UInt32: UInt64] = [:]
        /// What is held back while the guest runs.
        var signals = SignalSet()
        /// What the kernel has not ended of an instruction, in runs.
        var unfinished = 0
        /// Writes to ports that each run begins with, if they are put off; and the ports for which they are.
        var writes: [(port: UInt16, value: UInt32)] = []
        var portsPutOff: [UInt64] = []
        /// The guest takes interrupts.
        var takesInterrupts = false

        var calls = 0
        var next = 1_000_900
        var open: Set<Int> = []
        var everOpen = 0
        var runPage = 0
    }
    let state: Mutex<State>

    init(_ change: (inout State) -> Void = { _ in }) {
        var state = State()
        change(&state)
        self.state = Mutex(state)
    }

    /// What probing it says; empty where it can be used.
    func probe(_ mode: ProcessorStart.Mode) -> String {
        SystemCall.hooked({ self.answer($0) }) {
            do throws(KvmError) {
                _ = try KvmVirtualMachine.probed(mode)
                return ""
            } catch { return string(error.text.bytes) }
        }
    }

    func play<Value>(_ body: () throws -> Value) rethrows -> Value {
        try SystemCall.hooked({ self.answer($0) }, body)
    }

    /// Nil for what is another's.
    func answer(_ call: SystemCall) -> Int? { state.withLock { Self.answer(call, &$0) } }

    private static func answer(_ call: SystemCall, _ state: inout State) -> Int? {
        let (first, second, third, _, fifth, _) = call.arguments
        switch call.number {
        case .open:
            guard String(cString: UnsafePointer<CChar>(bitPattern: first)!) == "/dev/kvm" else {
                return nil
            }
            if let error = state.openError { return -Int(error.rawValue) }
            return state.failed ?? state.opened()
        case .close:
            guard first >= 1_000_900 && first < 1_001_000 else { return nil }
            return state.open.remove(first) == nil ? -9 : 0
        case .map where fifth >= 1_000_900 && fifth < 1_001_000:
            if let failure = state.failed { return failure }
            let page = mmap(
                nil, second, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)!
            state.runPage = Int(bitPattern: page)
            return state.runPage
        case .ioctl where first >= 1_000_900 && first < 1_001_000:
            return state.failed ?? ioctl(second, third, &state)
        default: return nil
        }
    }

    private static func ioctl(_ request: Int, _ argument: Int, _ state: inout State) -> Int {
        if let error = state.refused[request] { return -Int(error.rawValue) }
        state.requests.append(request)
        switch request {
        case KvmRequest.version.rawValue: return state.version
        case KvmRequest.hasExtension.rawValue:
            // That of writes that are put off is the number of their page.
            return state.extensions.contains(argument) ? argument == 15 ? 2 : 1 : 0
        case KvmRequest.putOffWrites.rawValue:
            let zone = UnsafeRawPointer(bitPattern: argument)!
            #expect(zone.load(fromByteOffset: 8, as: UInt64.self) == 1 << 32 | 1)
            state.portsPutOff.append(zone.load(as: UInt64.self))
            return 0
        case KvmRequest.makeVirtualMachine.rawValue, KvmRequest.makeProcessor.rawValue:
            return state.opened()
        case KvmRequest.runSize.rawValue: return 0x3000
        case KvmRequest.supportedIdentification.rawValue:
            let list = UnsafeMutableRawPointer(bitPattern: argument)!
            list.storeBytes(of: UInt32(state.offered.count), as: UInt32.self)
            for (index, entry) in state.offered.enumerated() {
                list.storeBytes(of: entry.leaf, toByteOffset: 8 + 40 * index, as: UInt32.self)
                list.storeBytes(of: entry.value, toByteOffset: 28 + 40 * index, as: UInt32.self)
            }
            return 0
        case KvmRequest.setIdentification.rawValue:
            let list = UnsafeRawPointer(bitPattern: argument)!
            for index in 0..<Int(list.load(as: UInt32.self)) {
                let leaf = list.load(fromByteOffset: 8 + 40 * index, as: UInt32.self)
                state.identified[leaf] = list.load(
                    fromByteOffset: 28 + 40 * index, as: UInt32.self)
            }
            return 0
        case KvmRequest.run.rawValue:
            let page = UnsafeMutableRawPointer(bitPattern: state.runPage)!
            if page.load(fromByteOffset: KvmRun.endsAtOnce, as: UInt8.self) != 0 {
                guard state.unfinished > 0 else { return -4 }
                state.unfinished -= 1
                return 0
            }
            state.putWrites(into: page + 0x2000)
            let takes: UInt8 = state.takesInterrupts ? 1 : 0
            page.storeBytes(of: takes, toByteOffset: KvmRun.canInject, as: UInt8.self)
            page.storeBytes(of: takes, toByteOffset: KvmRun.interruptFlag, as: UInt8.self)
            let exit = state.firstExits.isEmpty ? state.exit : state.firstExits.removeFirst()
            page.storeBytes(of: exit, toByteOffset: KvmRun.exitReason, as: UInt32.self)
            page.storeBytes(of: state.priority, toByteOffset: KvmRun.priority, as: UInt64.self)
            return 0
        case KvmRequest.setDebugRegisters.rawValue:
            let record = UnsafeRawPointer(bitPattern: argument)!
            state.debugRegisters = (0..<16).map {
                record.load(fromByteOffset: 8 * $0, as: UInt64.self)
            }
            return 0
        case KvmRequest.setSignalMask.rawValue:
            let record = UnsafeRawPointer(bitPattern: argument)!
            guard record.load(as: UInt32.self) == 8 else { return -22 }
            state.signals.mask = record.loadUnaligned(fromByteOffset: 4, as: UInt64.self)
            return 0
        case KvmRequest.setModelRegisters.rawValue:
            let record = UnsafeRawPointer(bitPattern: argument)!
            let count = record.load(as: UInt32.self)
            for index in 0..<Int(count) {
                let number = record.load(fromByteOffset: 8 + 16 * index, as: UInt32.self)
                state.modelRegisters[number] = record.load(
                    fromByteOffset: 16 + 16 * index, as: UInt64.self)
            }
            return Int(count)
        case KvmRequest.registers.rawValue:
            UnsafeMutableRawPointer(bitPattern: argument)!.storeBytes(
                of: UInt64(state.countLeft), toByteOffset: KvmRegisters.offset(.ecx),
                as: UInt64.self)
            return 0
        default: return 0
        }
    }
}

extension FakeKvm.State {
    fileprivate mutating func opened() -> Int {
        next += 1
        open.insert(next)
        everOpen += 1
        return next
    }

    /// struct kvm_coalesced_mmio_ring, of 170 writes.
    fileprivate func putWrites(into ring: UnsafeMutableRawPointer) {
        for write in writes where portsPutOff.contains(UInt64(write.port)) {
            let last = ring.load(fromByteOffset: 4, as: UInt32.self)
            let place = 8 + 24 * Int(last)
            ring.storeBytes(of: UInt64(write.port), toByteOffset: place, as: UInt64.self)
            ring.storeBytes(of: 1, toByteOffset: place + 8, as: UInt32.self)
            ring.storeBytes(of: 1, toByteOffset: place + 12, as: UInt32.self)
            ring.storeBytes(of: write.value, toByteOffset: place + 16, as: UInt32.self)
            ring.storeBytes(of: (last + 1) % 170, toByteOffset: 4, as: UInt32.self)
        }
    }

    /// EIO, from the call on that is to be the first failure.
    fileprivate var failed: Int? {
        mutating get {
            calls += 1
            return calls >= firstFailure ? -5 : nil
        }
    }
}

@Suite("What is said of a /dev/kvm that cannot be used")
struct KvmRefusalTests {
    private static let modes: [ProcessorStart.Mode] = [.protected32, .long64(pageTable: 0)]

    @Test("one that runs what it is given is taken", arguments: [0, 1])
    func works(_ mode: Int) {
        let kvm = FakeKvm()
        #expect(kvm.probe(Self.modes[mode]) == "")
        kvm.state.withLock { #expect($0.open.isEmpty && $0.everOpen == 3) }
    }

    @Test("guests of the guest's are not offered, nor what needs the kernel's interrupt controller")
    func identification() {
        let kvm = FakeKvm {
            $0.offered = [(0, .max), (1, 0x7FFF_FFFF), (0x8000_0001, .max), (0x8000_0008, .max)]
        }
        #expect(kvm.probe(.protected32) == "")
        let expected: [UInt32: UInt32] = [
            0: 0xFFFF_FFFF, 1: 0xFEDF_FFDF, 0x8000_0001: 0xFFFF_FFFB, 0x8000_0008: 0xFFFF_FFFF,
        ]
        kvm.state.withLock { #expect($0.identified == expected) }
    }

    @Test("a guest that lowers its priority in CR8 goes on")
    func lowersPriority() {
        let kvm = FakeKvm { $0.firstExits = [KvmExit.priority, KvmExit.priority] }
        #expect(kvm.probe(.long64(pageTable: 0)) == "")
        kvm.state.withLock { #expect($0.firstExits.isEmpty) }
    }

    @Test("a signal that was held back before, and that nobody looks at, ends no run")
    func heldBack() throws {
        let held: SignalSet = [.windowSize, .terminate]
        let before = try held.apply(.block)
        defer { _ = try? before.apply(.replace) }
        let open: SignalSet = [.urgent]
        try open.apply(.unblock)
        let kvm = FakeKvm()
        #expect(kvm.probe(.protected32) == "")
        let signals = kvm.state.withLock { $0.signals }
        #expect(signals.contains(.windowSize) && signals.contains(.brokenPipe))
        // What the launch reads has to end one, held back or not.
        let others: [Signal] = [.urgent, .terminate, .alarm, .proceed, DeadlineTimer.signal]
        for signal in others { #expect(!signals.contains(signal), "\(signal)") }
    }

    @Test(
        "none, no permission, no module, no processor for it",
        arguments: [
            (2, "there is none"),
            (13, "permission denied (EACCES): its group may, usually \"kvm\""),
            (16, "(EBUSY)"), (19, "(ENODEV)"), (6, "(ENXIO)"), (24, "(EMFILE)"), (1, "(EPERM)"),
        ])
    func cannotBeOpened(_ number: Int32, _ text: String) {
        let kvm = FakeKvm { $0.openError = Errno(rawValue: number) }
        let said = kvm.probe(.protected32)
        #expect(said.hasSuffix(text), "\(said)")
        #expect(!said.contains("\n"))
    }

    @Test("another version, and what is lacking")
    func isAnother() {
        #expect(FakeKvm { $0.version = 11 }.probe(.protected32) == "it has version 11, not 12")
        #expect(
            FakeKvm { $0.extensions = [7] }.probe(.protected32) == "it lacks KVM_CAP_USER_MEMORY")
        #expect(FakeKvm { $0.extensions = [3] }.probe(.protected32) == "it lacks KVM_CAP_EXT_CPUID")
    }

    @Test("busy with another hypervisor's guest, out of memory: what it cannot do, and why")
    func isBusy() {
        let requests: [(IoctlRequest, Int32, String)] = [
            (KvmRequest.makeVirtualMachine, 16, "it cannot make a machine: "),
            (KvmRequest.makeProcessor, 12, "it cannot make a processor: "),
            (KvmRequest.setIdentification, 22, "it cannot set its features: "),
            (KvmRequest.setMemory, 12, "it cannot take the memory: "),
            (KvmRequest.setSystemRegisters, 22, "it cannot set its registers: "),
        ]
        for (request, number, text) in requests {
            let kvm = FakeKvm { $0.refused[request.rawValue] = Errno(rawValue: number) }
            let said = kvm.probe(.long64(pageTable: 0))
            #expect(said.hasPrefix(text) && said.hasSuffix(")"), "\(said)")
            kvm.state.withLock { #expect($0.open.isEmpty) }
        }
    }

    @Test("one that interprets code, and one that stops at it")
    func isNoProcessor() {
        let slow = FakeKvm {
            $0.exit = KvmExit.interrupted
            $0.countLeft = 10_000
        }
        #expect(
            slow.probe(.protected32)
                == "it took more than 20 ms for 40,000 instructions: a KVM that interprets them")
        let shut = FakeKvm { $0.exit = KvmExit.shutdown }
        #expect(shut.probe(.protected32) == "it does not run 32-bit code with paging")
        let plain = FakeKvm { $0.exit = KvmExit.shutdown }
        #expect(plain.probe(.long64(pageTable: 0)) == "it does not run plain code")
        // An access to no memory of no length, and what it cannot emulate.
        let odd = FakeKvm { $0.exit = KvmExit.memory }
        #expect(odd.probe(.protected32) == "it cannot go on (0x20000)")
        // A page that is not there, and no file that was cut short.
        let lost = FakeKvm { $0.refused[KvmRequest.run.rawValue] = .badAddress }
        #expect(lost.probe(.protected32) == "it cannot go on: bad address (EFAULT)")
        let stuck = FakeKvm { $0.exit = KvmExit.internalError }
        #expect(stuck.probe(.long64(pageTable: 0)) == "it cannot go on (0x0)")
    }

    @Test("whichever call fails, it is one line and nothing stays open")
    func failsAnywhere() {
        let whole = FakeKvm()
        #expect(whole.probe(.protected32) == "")
        let calls = whole.state.withLock { $0.calls }
        #expect(calls > 15)
        for first in 1...calls {
            let kvm = FakeKvm { $0.firstFailure = first }
            let said = kvm.probe(.protected32)
            #expect(!said.isEmpty && !said.contains("\n"), "call \(first): \(said)")
            kvm.state.withLock { #expect($0.open.isEmpty, "call \(first)") }
        }
    }
}

@Suite("Writes to a port that the kernel keeps until a run of /dev/kvm ends")
struct KvmPutOffTests {
    private static let start = ProcessorStart(
        mode: .protected32, entry: 0x1000, stack: 0x1000, parameters: 0, globalTable: 0,
        globalTableLimit: 0)

    /// - Returns: the exits of some runs, and whether an interrupt could be injected behind each.
    private func exits(
        _ kvm: FakeKvm, _ count: Int
    ) throws -> (exits: [ProcessorExit], canInject: [Bool]) {
        try kvm.play { () throws -> (exits: [ProcessorExit], canInject: [Bool]) in
            let machine = try KvmVirtualMachine()
            machine.putOffWrites(to: 0x3F8)
            let processor = try KvmProcessor(
                machine, memory: try GuestMemory(count: 0x2000), start: Self.start)
            var exits: [ProcessorExit] = []
            var canInject: [Bool] = []
            for _ in 0..<count {
                exits.append(processor.run(until: nil, atMost: nil))
                canInject.append(processor.canInject)
            }
            return (exits, canInject)
        }
    }

    private func output(_ byte: UInt8) -> ProcessorExit {
        .portOutput(PortAccess(port: 0x3F8, size: 1), value: UInt32(byte))
    }

    @Test("writes that were put off come in order before what ended the run, without an interrupt")
    func come() throws {
        // Behind a byte the ring may have anything.
        let kvm = FakeKvm {
            $0.takesInterrupts = true
            $0.extensions = [3, 7, 15, 162]
            $0.writes = [(0x3F8, 0xAA41), (0x3F9, 0x42), (0x3F8, 0x43)]
        }
        let halt = ProcessorExit.halt(interruptsEnabled: true)
        let run = try exits(kvm, 6)
        #expect(run.exits == [output(0x41), output(0x43), halt, output(0x41), output(0x43), halt])
        #expect(run.canInject == [false, false, true, false, false, true])
        kvm.state.withLock { #expect($0.portsPutOff == [0x3F8]) }
    }

    @Test("the ring's end is followed by its beginning")
    func goRound() throws {
        let kvm = FakeKvm {
            $0.takesInterrupts = true
            $0.extensions = [3, 7, 15, 162]
            $0.writes = (0..<100).map { (0x3F8, $0) }
        }
        let run = try exits(kvm, 4 * 101)
        let round = (0..<100).map { output($0) } + [.halt(interruptsEnabled: true)]
        #expect(run.exits == round + round + round + round)
    }

    @Test("a kernel before 5.0, or one without the page, is not asked", arguments: [0, 1])
    func isOld(_ number: Int) throws {
        let kvm = FakeKvm {
            $0.takesInterrupts = true
            $0.extensions = number == 0 ? [3, 7, 15] : [3, 7, 162]
            $0.writes = [(0x3F8, 0x41)]
        }
        let run = try exits(kvm, 2)
        #expect(run.exits == Array(repeating: .halt(interruptsEnabled: true), count: 2))
        kvm.state.withLock { #expect($0.portsPutOff.isEmpty) }
    }

    @Test("what a guest has written is not the next guest's")
    func restart() throws {
        let kvm = FakeKvm {
            $0.takesInterrupts = true
            $0.extensions = [3, 7, 15, 162]
            $0.writes = [(0x3F8, 0x41), (0x3F8, 0x42)]
        }
        try kvm.play {
            let machine = try KvmVirtualMachine()
            machine.putOffWrites(to: 0x3F8)
            let first = try KvmProcessor(
                machine, memory: try GuestMemory(count: 0x2000), start: Self.start)
            let exit = first.run(until: nil, atMost: nil)
            #expect(exit == output(0x41))
            kvm.state.withLock { $0.writes = [] }
            let second = try KvmProcessor(
                machine, memory: try GuestMemory(count: 0x2000), start: Self.start)
            let next = second.run(until: nil, atMost: nil)
            #expect(next == .halt(interruptsEnabled: true))
        }
    }
}

@Suite("What a guest on /dev/kvm leaves to the next one")
struct KvmRestartTests {
    private static let start = ProcessorStart(
        mode: .protected32, entry: 0x1000, stack: 0x1000, parameters: 0, globalTable: 0,
        globalTableLimit: 0)

    /// One guest runs to its first exit, and another begins.
    /// - Returns: the processor's and its virtual machine's requests for the second, and CR8 as the next run has it.
    private func restart(_ kvm: FakeKvm) throws -> (requests: [Int], priority: UInt64) {
        try kvm.play { () throws -> (requests: [Int], priority: UInt64) in
            let virtualMachine = try KvmVirtualMachine()
            let first = try KvmProcessor(
                virtualMachine, memory: try GuestMemory(count: 0x2000), start: Self.start)
            let exit = first.run(until: nil, atMost: nil)
            #expect(exit == .shutdown)
            kvm.state.withLock {
                $0.requests = []
                $0.debugRegisters = []
            }
            let second = try KvmProcessor(
                virtualMachine, memory: try GuestMemory(count: 0x2000), start: Self.start)
            defer { withExtendedLifetime(second) {} }
            let requests = kvm.state.withLock { $0.requests }
            return (requests, virtualMachine.run.load(KvmRun.priority, UInt64.self))
        }
    }

    @Test("a guest that was stopped is told by its clock, which old kernels cannot, or it has none")
    func stopped() throws {
        for refusal in [nil, .invalid] as [Errno?] {
            let kvm = FakeKvm { $0.refused[KvmRequest.tellStop.rawValue] = refusal }
            try kvm.play { () throws -> Void in
                let virtualMachine = try KvmVirtualMachine()
                let processor = try KvmProcessor(
                    virtualMachine, memory: try GuestMemory(count: 0x2000), start: Self.start)
                kvm.state.withLock { $0.requests = [] }
                processor.tellStop()
                let exit = processor.run(until: nil, atMost: nil)
                #expect(exit == .halt(interruptsEnabled: false))
            }
            let told = refusal == nil ? [KvmRequest.tellStop.rawValue] : []
            #expect(kvm.state.withLock { $0.requests } == told + [KvmRequest.run.rawValue])
        }
    }

    @Test("no breakpoints, and no priority")
    func debugRegisters() throws {
        let kvm = FakeKvm {
            $0.exit = KvmExit.shutdown
            $0.priority = 15
        }
        let (_, priority) = try restart(kvm)
        #expect(priority == 0)
        let registers = kvm.state.withLock { $0.debugRegisters }
        #expect(registers == [0, 0, 0, 0, 0xFFFF_0FF0, 0x400] + [UInt64](repeating: 0, count: 10))
    }

    @Test("fast strings, which a firmware would have switched on, and none of the other registers")
    func modelRegisters() throws {
        let kvm = FakeKvm { $0.exit = KvmExit.shutdown }
        _ = try restart(kvm)
        let registers = kvm.state.withLock { $0.modelRegisters }
        #expect(registers[0x1A0] == 0x1801)
        #expect(registers.count > 5)
        #expect(registers.allSatisfy { $0.key == 0x1A0 || $0.value == 0 })
    }

    @Test("no addresses that would be written in the new memory")
    func addresses() throws {
        let kvm = FakeKvm { $0.exit = KvmExit.shutdown }
        let requests = try restart(kvm).requests
        let last = try #require(requests.lastIndex(of: KvmRequest.setModelRegisters.rawValue))
        let memory = try #require(requests.firstIndex(of: KvmRequest.setMemory.rawValue))
        #expect(last < memory)
    }

    @Test("nothing of an instruction, where the kernel can end that by itself")
    func unfinished() throws {
        for pieces in 0...2 {
            let kvm = FakeKvm {
                $0.extensions.insert(136)
                $0.exit = KvmExit.shutdown
                $0.unfinished = pieces
            }
            let requests = try restart(kvm).requests
            let runs = requests.prefix { $0 == KvmRequest.run.rawValue }
            // The last one says that there is no more, and none follows before the guest's own.
            #expect(runs.count == pieces + 1)
            #expect(!requests.dropFirst(runs.count).contains(KvmRequest.run.rawValue))
            kvm.state.withLock { #expect($0.unfinished == 0) }
        }
        let old = FakeKvm { $0.exit = KvmExit.shutdown }
        let requests = try restart(old).requests
        #expect(!requests.contains(KvmRequest.run.rawValue))
    }
}
