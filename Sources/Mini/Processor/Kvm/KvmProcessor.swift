// A processor of /dev/kvm behind the contract of GuestProcessor.swift. What its header says of one holds here: registers are
// read once after an exit that wants one, written before the next run if one was set; a timer's signal, held back but while the guest
// runs, ends a run at the deadline; any other signal that is held back ends it, too, and stays pending.
//
// Source: docs/abi/pc.md §5; the kernel's KVM API.

@safe final class KvmProcessor: GuestProcessor {
    private let virtualMachine: KvmVirtualMachine
    private let run: RecordBytes
    /// struct kvm_regs, while `isLoaded`.
    private let registers: RecordBytes
    private let registerPage: Mapping
    private let timer: DeadlineTimer
    private var isLoaded = false
    private var isChanged = false
    /// What the last exit's input or read wants: its place in the shared page, and its bytes.
    private var wanted: (offset: Int, size: Int)?

    /// A processor with a guest's memory and start. The virtual machine serves one at a time.
    init(
        _ virtualMachine: KvmVirtualMachine, memory: GuestMemory, start: ProcessorStart
    ) throws(KvmError) {
        self.virtualMachine = virtualMachine
        run = virtualMachine.run
        do throws(Errno) {
            registerPage = try Mapping.anonymous(count: Int(Page.size))
        } catch { throw .refused("get a page", error) }
        timer = virtualMachine.timer
        registers = unsafe RecordBytes(start: registerPage.start, count: Int(Page.size))
        try virtualMachine.reset(memory, start)
    }

    // MARK: Registers

    private func load() {
        guard !isLoaded else { return }
        do throws(Errno) {
            try Ioctl.call(
                virtualMachine.processor.number, KvmRequest.registers, argument: registers.address)
        } catch { registers.clear(KvmRegisters.count) }
        isLoaded = true
    }

    func register(_ register: ProcessorRegister) -> UInt64 {
        load()
        return registers.load(KvmRegisters.offset(register), UInt64.self)
    }

    func setRegister(_ register: ProcessorRegister, _ value: UInt64) {
        load()
        registers.store(value, at: KvmRegisters.offset(register))
        isChanged = true
    }

    /// Always 0: to know that the guest is in a program would take one request more.
    var privilege: UInt8 { 0 }

    // MARK: Running

    var awaitsInterruptWindow = false
    var timeStamp: () -> UInt64 = { 0 }
    func resume(at now: Nanoseconds) {}

    /// A guest without KVM's clock cannot be told, nor can one on a KVM before 3.4.
    func tellStop() { _ = try? Ioctl.call(virtualMachine.processor.number, KvmRequest.tellStop) }

    /// True if an interrupt can be injected before the next run. Not in front of an exit that the user has not seen, which may be a
    /// halt that the interrupt ends.
    var canInject: Bool {
        held == nil && run.load(KvmRun.canInject, UInt8.self) != 0
            && run.load(KvmRun.interruptFlag, UInt8.self) != 0
    }

    func inject(_ vector: UInt8, errorCode: UInt32) {
        // Not refused where `canInject` was true.
        virtualMachine.scratch.store(UInt32(vector), at: 0)
        _ = try? Ioctl.call(
            virtualMachine.processor.number, KvmRequest.interrupt,
            argument: virtualMachine.scratch.address)
        // It is under way: no second one before the guest has run.
        run.store(UInt8(0), at: KvmRun.canInject)
    }

    func answer(_ value: UInt64) {
        guard let wanted else { return }
        for index in 0..<wanted.size {
            run.store(
                UInt8(truncatingIfNeeded: value >> (8 * UInt64(index))), at: wanted.offset + index)
        }
        self.wanted = nil
    }

    /// The exit before which the guest has written what was put off.
    private var held: ProcessorExit?

    /// Each stop costs a signal, and in a machine that is a guest itself much more than that.
    var longestStretch: Nanoseconds { .milliseconds(8) }

    func run(until deadline: Nanoseconds?, atMost stretch: Nanoseconds?) -> ProcessorExit {
        if let write = virtualMachine.takeWrite() { return write }
        if let exit = held {
            held = nil
            return exit
        }
        let exit = runGuest(until: deadline, atMost: stretch)
        guard let write = virtualMachine.takeWrite() else { return exit }
        held = exit
        return write
    }

    private func runGuest(
        until deadline: Nanoseconds?, atMost stretch: Nanoseconds?
    ) -> ProcessorExit {
        if isChanged {
            do throws(Errno) {
                try Ioctl.call(
                    virtualMachine.processor.number, KvmRequest.setRegisters,
                    argument: registers.address)
            } catch { return .failed(Self.registersRefused) }
            isChanged = false
        }
        var end = deadline
        if let stretch {
            let moment = Clock.monotonic() + stretch
            end = min(end ?? moment, moment)
        }
        if let exit = nextItem() { return exit }
        run.store(UInt8(awaitsInterruptWindow ? 1 : 0), at: KvmRun.wantsWindow)
        while true {
            do throws(Errno) {
                if let end { try timer.arm(end) }
                isLoaded = false
                try Ioctl.call(virtualMachine.processor.number, KvmRequest.run)
            } catch {
                // The kernel met a page of a file that was cut short, for which it sends no signal here: as after a
                // signal the launcher looks at the files.
                if error == .badAddress, virtualMachine.touchFiles() { return .signal }
                guard error == .interrupted || error == .again else {
                    return .failed(UInt32(bitPattern: error.rawValue) | Self.callFailed)
                }
                guard timer.take() else { return .signal }
                guard let end, Clock.monotonic() < end else {
                    return deadline.map { end == $0 } ?? false ? .deadline : .stretchEnded
                }
                continue
            }
            if let exit = exit() { return exit }
        }
    }

    static let registersRefused: UInt32 = 0xFFFF
    static let callFailed: UInt32 = 0x1_0000
    static let unknownExit: UInt32 = 0x2_0000

    /// What follows "it cannot go on", for a code of `.failed`: the errno of the call that runs the guest, or a number.
    @inline(never)
    static func failure(_ code: UInt32) -> Text {
        code & ~0xFFF == callFailed
            ? ": \(Errno(rawValue: Int32(code & 0xFFF)))" : " (\(hex: code))"
    }

    /// What ended the run; nil if that was nothing.
    private func exit() -> ProcessorExit? {
        switch run.load(KvmRun.exitReason, UInt32.self) {
        case KvmExit.port: portExit()
        case KvmExit.memory: memoryExit()
        case KvmExit.halt:
            .halt(interruptsEnabled: run.load(KvmRun.interruptFlag, UInt8.self) != 0)
        case KvmExit.interruptWindow: .interruptWindow
        case KvmExit.shutdown: .shutdown
        case KvmExit.interrupted: .signal
        // CR8 is lower now, of which an interrupt controller of ours knows nothing.
        case KvmExit.priority: nil
        case KvmExit.internalError: .failed(run.load(KvmRun.subError, UInt32.self))
        case let reason: .failed(reason | Self.unknownExit)
        }
    }

    /// What is left of a string instruction's items: the next run tells one and runs nothing.
    private var items: (access: PortAccess, isOutput: Bool, offset: Int, left: Int)?

    private func portExit() -> ProcessorExit? {
        let size = run.load(KvmRun.portSize, UInt8.self)
        let offset = Int(clamping: run.load(KvmRun.portData, UInt64.self))
        let count = run.load(KvmRun.portCount, UInt32.self)
        let access = PortAccess(port: run.load(KvmRun.port, UInt16.self), size: size)
        guard size == 1 || size == 2 || size == 4, count >= 1, offset >= 0,
            count <= UInt32(run.count), offset <= run.count - Int(size) * Int(count)
        else { return .failed(Self.unknownExit) }
        let isOutput = run.load(KvmRun.portDirection, UInt8.self) != 0
        items = (access, isOutput, offset, Int(count))
        return nextItem()
    }

    /// One item of the exit; a string instruction's come one after the other.
    private func nextItem() -> ProcessorExit? {
        guard let (access, isOutput, offset, left) = items, left > 0 else {
            items = nil
            return nil
        }
        let size = Int(access.size)
        items = left > 1 ? (access, isOutput, offset + size, left - 1) : nil
        guard isOutput else {
            wanted = (offset, size)
            return .portInput(access)
        }
        return .portOutput(access, value: word(offset, size))
    }

    private func word(_ offset: Int, _ size: Int) -> UInt32 {
        switch size {
        case 1: UInt32(run.load(offset, UInt8.self))
        case 2: UInt32(run.load(offset, UInt16.self))
        default: run.load(offset, UInt32.self)
        }
    }

    private func memoryExit() -> ProcessorExit {
        let length = run.load(KvmRun.memoryLength, UInt32.self)
        guard length >= 1 && length <= 8 else { return .failed(Self.unknownExit) }
        let access = MemoryAccess(
            address: run.load(KvmRun.memoryAddress, UInt64.self), size: UInt8(length))
        guard run.load(KvmRun.memoryIsWrite, UInt8.self) != 0 else {
            wanted = (KvmRun.memoryData, Int(length))
            return .memoryRead(access)
        }
        let value = run.load(KvmRun.memoryData, UInt64.self)
        return .memoryWrite(
            access, value: length == 8 ? value : value & (1 << (UInt64(length) * 8) - 1))
    }
}
