// A virtual machine of /dev/kvm with its one processor, opened once and used for one guest after the other: a restart
// opens nothing. Interrupt controller and timer are not the kernel's: with those a guest that halts for good would never
// come back to us, and what a boot gains by them is a sixth (docs/abi/pc.md §5).
//
//     open ── reset(memory, start) ── run … ── reset …
//
// Source: docs/abi/pc.md §5.1, §5.2; the kernel's KVM API.

/// Why /dev/kvm is not used.
enum KvmError: Error, Equatable {
    /// open, or what was tried with it (as "make a machine").
    case unavailable(Errno)
    case refused(Text, Errno)
    case otherVersion(Int)
    /// What it lacks, as "KVM_CAP_USER_MEMORY".
    case lacks(Text)
    /// The probe's code had not ended after so many milliseconds.
    case slow(milliseconds: UInt64)
    /// The probe ended otherwise than on a processor: 32-bit paging or 64-bit code.
    case broken(Text)
    case failed(UInt32)
}

/// What a virtual machine of /dev/kvm holds open.
struct KvmDescriptors {
    let system: Int32
    let virtualMachine: Int32
    let processor: Int32
    /// Of the signal that ends its runs.
    let timer: Int32
    var all: [Int32] { [system, virtualMachine, processor, timer] }
}

/// What /dev/kvm gives: a virtual machine, its processor, the page that both share.
@safe final class KvmVirtualMachine {
    static let path: Text = "/dev/kvm"

    private let system: Descriptor
    private let virtualMachine: Descriptor
    let processor: Descriptor
    private let runPages: Mapping
    private let scratchPages: Mapping
    let timer: DeadlineTimer
    /// KVM_CAP_IMMEDIATE_EXIT: from 4.11 on.
    private let canEndAtOnce: Bool
    private var memory: GuestMemory?
    let run: RecordBytes
    /// Where the kernel keeps the writes that it puts off: from 5.0 on.
    private let ring: Int?
    let scratch: RecordBytes

    /// - Throws: one line's worth of why not.
    init() throws(KvmError) {
        do throws(Errno) { system = try Descriptor.open(Self.path, .readWrite) } catch {
            throw .unavailable(error)
        }
        let version = try Self.ask("tell its version", system.number, KvmRequest.version)
        guard version == 12 else { throw .otherVersion(version) }
        for (number, name) in [
            (Capability.userMemory, "KVM_CAP_USER_MEMORY"),
            (Capability.extendedCPUID, "KVM_CAP_EXT_CPUID"),
        ] as [(Int, Text)] {
            if try Self.capability(number, of: system.number) == 0 { throw .lacks(name) }
        }
        canEndAtOnce = try Self.capability(Capability.immediateExit, of: system.number) != 0
        let canPutOff = try Self.capability(Capability.coalescedPorts, of: system.number)
        let ringPage =
            canPutOff == 0
            ? 0 : try Self.capability(Capability.coalescedMemory, of: system.number)
        virtualMachine = Descriptor(
            owning: Int32(
                try Self.ask("make a machine", system.number, KvmRequest.makeVirtualMachine)))
        // Processors of Intel's before 2010 want three pages of their own below 4 GiB; others do not mind.
        _ = try? Ioctl.call(
            virtualMachine.number, KvmRequest.setTaskAddress, argument: Self.taskAddress)
        processor = Descriptor(
            owning: Int32(
                try Self.ask("make a processor", virtualMachine.number, KvmRequest.makeProcessor)))
        let size = try Self.ask("tell its page's size", system.number, KvmRequest.runSize)
        guard size >= 4096 && size <= 1 << 20 else { throw .lacks("a page to share") }
        let isShared = ringPage > 0 && ringPage < size / KvmRing.count
        ring = isShared ? ringPage * KvmRing.count : nil
        do throws(Errno) {
            runPages = try Mapping.shared(
                processor.number, offset: 0, count: size, isWritable: true)
            scratchPages = try Mapping.anonymous(count: Self.scratchCount)
            timer = try DeadlineTimer()
        } catch { throw .refused("share a page", error) }
        run = unsafe RecordBytes(start: runPages.start, count: size)
        scratch = unsafe RecordBytes(start: scratchPages.start, count: Self.scratchCount)
        try identify()
        try setSignalMask()
    }

    /// Numbers of KVM_CAP_… Source: linux/kvm.h.
    private enum Capability {
        static let userMemory = 3
        static let extendedCPUID = 7
        /// Its value is the number of the page with the ring, which has the writes to ports as well.
        static let coalescedMemory = 15
        static let immediateExit = 136
        static let coalescedPorts = 162
    }

    /// - Returns: 0 for a capability that this kernel does not have.
    private static func capability(_ number: Int, of system: Int32) throws(KvmError) -> Int {
        try ask("tell what it can do", system, KvmRequest.hasExtension, number)
    }

    /// While the guest runs, the launch's signals and the timer's are let through: one that is pending ends the run. Others that
    /// were blocked at our start stay blocked, as they are never read, and a pending one would end each run at once.
    private func setSignalMask() throws(KvmError) {
        var mask = (try? SignalSet().apply(.block)) ?? SignalSet()
        mask.mask &= ~SignalSet.ofLaunch.mask
        mask.remove(DeadlineTimer.signal)
        mask.insert(.brokenPipe)
        // struct kvm_signal_mask: a length, and a set without padding.
        scratch.store(UInt32(SignalSet.size), at: 0)
        scratch.store(mask.mask, at: 4)
        try call("set its signals", KvmRequest.setSignalMask, scratch.address)
    }

    /// Lets writes of a byte to a port end no run: they are kept, and come before what ends it. For a port behind which
    /// nothing is done at once that the guest could see but by another access. Older kernels do not.
    func putOffWrites(to port: UInt16) {
        guard ring != nil else { return }
        // struct kvm_coalesced_mmio_zone.
        scratch.store(UInt64(port), at: 0)
        scratch.store(UInt32(1), at: 8)
        scratch.store(UInt32(1), at: 12)
        _ = try? Ioctl.call(
            virtualMachine.number, KvmRequest.putOffWrites, argument: scratch.address)
    }

    /// Takes the next of the writes that were put off.
    func takeWrite() -> ProcessorExit? {
        guard let ring else { return nil }
        let first = run.load(ring + KvmRing.first, UInt32.self)
        let last = run.load(ring + KvmRing.last, UInt32.self)
        guard first != last, first < KvmRing.most, last < KvmRing.most else { return nil }
        let write = ring + KvmRing.writes + Int(first) * KvmRing.writeCount
        let size = UInt8(truncatingIfNeeded: run.load(write + KvmRing.size, UInt32.self))
        let access = PortAccess(port: run.load(write, UInt16.self), size: size)
        let value = run.load(write + KvmRing.value, UInt32.self)
        run.store((first + 1) % KvmRing.most, at: ring + KvmRing.first)
        return .portOutput(access, value: size == 1 ? value & 0xFF : value)
    }

    private static let taskAddress = Int(truncatingIfNeeded: 0xFFFB_D000 as UInt32)
    private static let scratchCount = 0x4000

    private static func ask(
        _ what: Text, _ descriptor: Int32, _ request: IoctlRequest, _ argument: Int = 0
    ) throws(KvmError) -> Int {
        do throws(Errno) {
            return try Ioctl.call(descriptor, request, argument: argument)
        } catch { throw .refused(what, error) }
    }

    /// Requests of the processor's.
    func call(
        _ what: Text, _ request: IoctlRequest, _ argument: Int
    ) throws(KvmError) {
        _ = try Self.ask(what, processor.number, request, argument)
    }

    /// What the sandbox is to leave.
    var descriptors: KvmDescriptors {
        KvmDescriptors(
            system: system.number, virtualMachine: virtualMachine.number,
            processor: processor.number,
            timer: timer.descriptor)
    }

    // MARK: CPUID

    private static let mostLeaves = 256

    /// Tells the processor what CPUID answers: what the kernel offers, without what only its own interrupt controller could do,
    /// and without guests of the guest's: no registers of ours would undo that it has begun with those.
    private func identify() throws(KvmError) {
        scratch.clear(8)
        scratch.store(UInt32(Self.mostLeaves), at: 0)
        _ = try Self.ask(
            "tell its features", system.number, KvmRequest.supportedIdentification,
            scratch.address)
        let count = Int(min(scratch.load(0, UInt32.self), UInt32(Self.mostLeaves)))
        for index in 0..<count {
            let leaf = 8 + index * 40
            func change(_ offset: Int, clear: UInt32, set: UInt32) {
                let old = scratch.load(leaf + offset, UInt32.self)
                scratch.store(old & ~clear | set, at: leaf + offset)
            }
            switch scratch.load(leaf, UInt32.self) {
            case 1:
                // EBX: the first processor of one. ECX: no VMX, no x2APIC, no TSC deadline; a hypervisor. EDX: no APIC.
                change(16, clear: 0xFFFF_0000, set: 0x0001_0000)
                change(20, clear: 1 << 5 | 1 << 21 | 1 << 24, set: 1 << 31)
                change(24, clear: 1 << 9 | 1 << 28, set: 0)
            // ECX: no SVM.
            case 0x8000_0001: change(20, clear: 1 << 2, set: 0)
            case 0x4000_0001:
                // Clocks, no delays for ports, a stable clock; what needs an APIC is not there.
                change(12, clear: ~(1 | 1 << 1 | 1 << 3 | 1 << 24), set: 0)
            default: break
            }
        }
        try call("set its features", KvmRequest.setIdentification, scratch.address)
    }

    // MARK: A guest

    /// Makes it anew: this memory and nothing in its registers but how a kernel is entered.
    func reset(_ memory: GuestMemory, _ start: ProcessorStart) throws(KvmError) {
        finishRun()
        while takeWrite() != nil {}
        resetModelRegisters()
        if let old = self.memory { try setMemory(old, isThere: false) }
        try setMemory(memory, isThere: true)
        self.memory = memory
        try resetSystemRegisters(start)
        scratch.clear(KvmRegisters.count)
        scratch.store(start.stack, at: KvmRegisters.offset(.esp))
        scratch.store(start.parameters, at: KvmRegisters.offset(.esi))
        scratch.store(start.startInfo, at: KvmRegisters.offset(.ebx))
        scratch.store(start.entry, at: KvmRegisters.offset(.eip))
        scratch.store(UInt64(2), at: KvmRegisters.offset(.eflags))
        try call("set its registers", KvmRequest.setRegisters, scratch.address)
        // struct kvm_fpu: the control words of a reset.
        scratch.clear(416)
        scratch.store(UInt16(0x37F), at: 0x80)
        scratch.store(UInt32(0x1F80), at: 0x198)
        try call("set its x87", KvmRequest.setFloatingPoint, scratch.address)
        // struct kvm_vcpu_events: nothing is under way.
        scratch.clear(64)
        _ = try? Ioctl.call(
            processor.number, KvmRequest.setEvents, argument: scratch.address)
        // struct kvm_debugregs: no breakpoints, which would hit where the next kernel has its code.
        scratch.clear(128)
        scratch.store(UInt64(0xFFFF_0FF0), at: 0x20)
        scratch.store(UInt64(0x400), at: 0x28)
        _ = try? Ioctl.call(
            processor.number, KvmRequest.setDebugRegisters, argument: scratch.address)
        run.store(UInt8(0), at: KvmRun.wantsWindow)
        run.store(UInt64(0), at: KvmRun.priority)
    }

    /// Lets the kernel end the instruction of the last exit, as an OUTS whose byte has reset the guest: else the next run begins
    /// with that, and can put old registers over the new ones. Older kernels have no run that does nothing else.
    private func finishRun() {
        guard canEndAtOnce, memory != nil else { return }
        run.store(UInt8(1), at: KvmRun.endsAtOnce)
        for _ in 0..<Self.mostPieces {
            // EINTR, once there is nothing left.
            guard (try? Ioctl.call(processor.number, KvmRequest.run)) != nil else { break }
        }
        run.store(UInt8(0), at: KvmRun.endsAtOnce)
    }

    /// An access comes in two pieces at the most.
    private static let mostPieces = 4

    /// Looks whether a file that lies in the guest's memory was cut short.
    func touchFiles() -> Bool { memory?.touchFiles() ?? false }

    /// A slot for each part.
    private func setMemory(_ memory: GuestMemory, isThere: Bool) throws(KvmError) {
        let extent = memory.extent
        try setSlot(0, at: 0, isThere ? UInt64(extent.low) : 0, memory)
        guard extent.high > 0 else { return }
        try setSlot(1, at: MemoryExtent.highStart, isThere ? extent.high : 0, memory)
    }

    /// struct kvm_userspace_memory_region.
    private func setSlot(
        _ slot: UInt32, at address: UInt64, _ count: UInt64, _ memory: GuestMemory
    ) throws(KvmError) {
        scratch.clear(32)
        scratch.store(slot, at: 0)
        scratch.store(address, at: 8)
        scratch.store(count, at: 16)
        scratch.store(UInt64(memory.address) + address, at: 24)
        _ = try Self.ask(
            "take the memory", virtualMachine.number, KvmRequest.setMemory, scratch.address)
    }

    /// The clocks of a guest before would be written into the memory of this one, as would its asynchronous page faults and steal
    /// time, which are not offered and yet not refused. The others are as a reset leaves them, and the last as a firmware
    /// does: the kernel's own reset has no fast strings, and a guest's memmove that sees them switched off breaks.
    private func resetModelRegisters() {
        let numbers = [
            ModelRegister.wallClock, ModelRegister.clock, ModelRegister.asynchronousFaults,
            ModelRegister.stealTime, ModelRegister.entryCodeSelector, ModelRegister.entryStack,
            ModelRegister.entryPoint, ModelRegister.debugControl, ModelRegister.defaultMemoryType,
            ModelRegister.miscellaneous,
        ]
        for number in numbers {
            scratch.clear(24)
            scratch.store(UInt32(1), at: 0)
            scratch.store(number, at: 8)
            // Fast strings; no records of branches, no precise samples.
            if number == ModelRegister.miscellaneous { scratch.store(UInt64(0x1801), at: 16) }
            _ = try? Ioctl.call(
                processor.number, KvmRequest.setModelRegisters, argument: scratch.address)
        }
    }

    private func resetSystemRegisters(_ start: ProcessorStart) throws(KvmError) {
        try call("tell its registers", KvmRequest.systemRegisters, scratch.address)
        let apicBase = scratch.load(KvmRegisters.apicBase, UInt64.self)
        scratch.clear(KvmRegisters.systemCount)
        // Bit 11: else CPUID shows an APIC again, which would not answer.
        scratch.store(apicBase & ~(1 << 11), at: KvmRegisters.apicBase)
        var isLong = false
        if case .long64(let table) = start.mode {
            isLong = true
            scratch.store(table, at: KvmRegisters.cr3)
            scratch.store(UInt64(0x20), at: KvmRegisters.cr4)
            scratch.store(UInt64(0x500), at: KvmRegisters.efer)
        }
        scratch.store(
            isLong ? UInt64(0x8000_0011) : 0x11, at: KvmRegisters.cr0)
        setSegment(
            KvmRegisters.code, ProcessorStart.codeSelector, type: 0xB, limit: .max,
            big: !isLong, long: isLong)
        for segment in KvmRegisters.data {
            setSegment(segment, ProcessorStart.dataSelector, type: 3, limit: .max, big: true)
        }
        setSegment(
            KvmRegisters.task, ProcessorStart.taskSelector, type: 0xB, limit: 0x67, big: false,
            isSystem: true)
        setSegment(KvmRegisters.localTable, 0, type: 2, limit: 0, big: false, isSystem: true)
        scratch.store(UInt8(1), at: KvmRegisters.localTable + 0x16)
        scratch.store(start.globalTable, at: KvmRegisters.globalTable)
        scratch.store(start.globalTableLimit, at: KvmRegisters.globalTable + 8)
        try call("set its registers", KvmRequest.setSystemRegisters, scratch.address)
    }

    /// struct kvm_segment.
    private func setSegment(
        _ offset: Int, _ selector: UInt16, type: UInt8, limit: UInt32, big: Bool,
        long: Bool = false, isSystem: Bool = false
    ) {
        scratch.store(limit, at: offset + 8)
        scratch.store(selector, at: offset + 0xC)
        scratch.store(type, at: offset + 0xE)
        scratch.store(UInt8(isSystem && type == 2 ? 0 : 1), at: offset + 0xF)
        scratch.store(UInt8(big ? 1 : 0), at: offset + 0x11)
        scratch.store(UInt8(isSystem ? 0 : 1), at: offset + 0x12)
        scratch.store(UInt8(long ? 1 : 0), at: offset + 0x13)
        scratch.store(UInt8(limit == .max ? 1 : 0), at: offset + 0x14)
    }
}

extension KvmError {
    /// What is wrong with /dev/kvm, as "permission denied (EACCES)".
    var text: Text {
        switch self {
        case .unavailable(.noSuchFile): "there is none"
        case .unavailable(.accessDenied):
            "\(Errno.accessDenied): its group may, usually \"kvm\""
        case .unavailable(let errno): "\(errno)"
        case .refused(let what, let errno): "it cannot \(what): \(errno)"
        case .otherVersion(let version): "it has version \(version), not 12"
        case .lacks(let what): "it lacks \(what)"
        case .slow(let time):
            "it took more than \(time) ms for 40,000 instructions: a KVM that interprets them"
        case .broken(let what): what
        case .failed(let code): "it cannot go on\(KvmProcessor.failure(code))"
        }
    }
}
