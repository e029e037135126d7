// The instructions that ask for ring 0, or that only a guest with ring 0 has: control and debug registers, tables,
// interrupt flag, HLT, ports and strings of ports, FXSAVE. A line an instruction in the table below.
// Source: Intel SDM volume 2; volume 3, chapter 2.5 (control registers).

/// What a guest calls whose processor says that it is KVM's. There is no call, which it is told as KVM would.
enum HypervisorCall {
    /// Of a kernel KVM_ENOSYS, of a program EPERM.
    static func answer(_ privilege: UInt32) -> UInt64 { privilege == 0 ? ~999 : ~0 }
}

extension Core {
    func system(_ i: Instruction) throws(Fault) -> Flow {
        guard
            let operation = SystemOperation(
                rawValue: UInt8(truncatingIfNeeded: i.operation.immediate))
        else { throw .undefined }
        switch operation {
        case .clearInterrupt, .setInterrupt, .enterSystem, .saveFloatingPoint,
            .restoreFloatingPoint, .loadControlStatus, .storeControlStatus, .callHypervisor:
            break
        default: guard state.privilege == 0 else { throw .protection(0) }
        }
        switch operation {
        case .clearInterrupt: return try clearInterrupt()
        case .setInterrupt: return try setInterrupt(i)
        case .halt: return halt(i)
        case .clearTaskSwitched: setTaskSwitched(false)
        case .flushCaches: return .next
        case .readModelRegister: try readModelRegister()
        case .writeModelRegister: try writeModelRegister()
        case .enterSystem: return try enterSystem()
        case .exitSystem: return try exitSystem()
        case .loadLocalTable: try loadLocalTable(try operand(i, UInt16.self))
        case .loadTask: try loadTask(try operand(i, UInt16.self))
        case .loadMachineStatus: try loadMachineStatus(try operand(i, UInt16.self))
        case .loadGlobalTable: system.globalTable = try readTable(i)
        case .loadInterruptTable: system.interruptTable = try readTable(i)
        case .forgetPage: forgetPage(of: base(i.operation.segmentNumber) &+ offset(i))
        case .readControl:
            set(i.operation.b, control(i.operation.a))
            return .next
        case .writeControl: try setControl(i.operation.a, get(i.operation.b))
        case .readDebug:
            let number = try state.debug.place(of: i.operation.a, system.control4)
            set(i.operation.b, UInt32(truncatingIfNeeded: state.debug[number]))
            return .next
        case .writeDebug:
            let number = try state.debug.place(of: i.operation.a, system.control4)
            if state.debug.set(number, UInt64(get(i.operation.b, as: UInt32.self))) { flushTLB() }
        case .saveFloatingPoint: return try saveFloatingPoint(i)
        case .restoreFloatingPoint: return try restoreFloatingPoint(i)
        case .loadControlStatus:
            try loadControlStatus(i)
            return .next
        case .storeControlStatus: return try storeControlStatus(i)
        case .callHypervisor:
            state.eax = UInt32(truncatingIfNeeded: HypervisorCall.answer(state.privilege))
        }
        return go(i.next)
    }

    // MARK: Interrupts

    private func clearInterrupt() throws(Fault) -> Flow {
        guard state.privilege <= ioPrivilege else { throw .protection(0) }
        state.otherFlags &= ~Flag.interrupt
        return .next
    }

    private func setInterrupt(_ i: Instruction) throws(Fault) -> Flow {
        guard state.privilege <= ioPrivilege else { throw .protection(0) }
        if state.otherFlags & Flag.interrupt == 0 { state.attention |= Attention.shadow }
        state.otherFlags |= Flag.interrupt
        return go(i.next)
    }

    private func halt(_ i: Instruction) -> Flow {
        state.attention &= ~Attention.shadow
        // The step's trap ends it.
        if state.otherFlags & Flag.trap != 0 { return go(i.next) }
        state.exit = .halt(interruptsEnabled: state.otherFlags & Flag.interrupt != 0)
        state.eip = i.next
        return .exit
    }

    // MARK: Control registers

    private func control(_ number: UInt8) -> UInt32 {
        switch number {
        case 0: system.control0
        case 2: state.faultAddress
        case 3: state.pageDirectory
        default: system.control4
        }
    }

    private func setControl(_ number: UInt8, _ value: UInt32) throws(Fault) {
        switch number {
        case 0: try setControl0(value)
        case 2: state.faultAddress = value
        case 3: try loadPageDirectory(value)
        default: try setControl4(value)
        }
    }

    func loadPageDirectory(_ value: UInt32) throws(Fault) {
        if system.isPaging && system.isExtended { try loadDirectoryPointers(from: value) }
        state.pageDirectory = value
        forgetAddressSpace()
    }

    private func setControl0(_ value: UInt32) throws(Fault) {
        let new = value & Control0.known | Control0.extensionType
        // Real mode is not offered.
        guard new & Control0.protection != 0,
            new & (Control0.notWriteThrough | Control0.cacheDisable) != Control0.notWriteThrough
        else { throw .protection(0) }
        let change = new ^ system.control0
        var flushes = change & (Control0.paging | Control0.writeProtect) != 0
        let pointing = Control0.paging | Control0.cacheDisable | Control0.notWriteThrough
        if change & pointing != 0 && new & Control0.paging != 0 && system.isExtended {
            try loadDirectoryPointers(from: state.pageDirectory)
            flushes = true
        }
        system.control0 = new
        floatingPointMayBeTrapped()
        if flushes { flushTLB() }
    }

    private func setControl4(_ value: UInt32) throws(Fault) {
        let known = Control4.known | (system.hasVectors ? Control4.vectorFaults : 0)
        guard value & ~known == 0 else { throw .protection(0) }
        let walks =
            Control4.largePages | Control4.physicalExtension | Control4.globalPages
        let changesWalks = (value ^ system.control4) & walks != 0
        if changesWalks && value & Control4.physicalExtension != 0 && system.isPaging {
            try loadDirectoryPointers(from: state.pageDirectory)
        }
        system.control4 = value
        if changesWalks { flushTLB() }
    }

    /// LMSW sets PE, MP, EM, TS, and cannot clear PE.
    private func loadMachineStatus(_ value: UInt16) throws(Fault) {
        try setControl0(system.control0 & ~0xE | UInt32(value & 0xF) | Control0.protection)
    }

    func setTaskSwitched(_ value: Bool) {
        system.control0 =
            value
            ? system.control0 | Control0.taskSwitched : system.control0 & ~Control0.taskSwitched
        floatingPointMayBeTrapped()
    }

    private func floatingPointMayBeTrapped() {
        state.taskSwitched =
            system.control0 & (Control0.taskSwitched | Control0.emulation) != 0
    }

    // MARK: Tables

    private func readTable(_ i: Instruction) throws(Fault) -> ProcessorProfile.Table {
        let linear = try linear(i, 6, write: false)
        let limit = try read(linear, as: UInt16.self)
        let base = try read(linear &+ 2, as: UInt32.self)
        return ProcessorProfile.Table(base: i.size == 1 ? base & 0xFF_FFFF : base, limit: limit)
    }

    // MARK: Strings of ports

    /// One element of INS or OUTS leaves the loop; a repeated one comes back to itself for the next.
    func portString(_ i: Instruction) throws(Fault) -> Flow {
        let mask: UInt32 = i.operation.shape.isAddress16 ? 0xFFFF : 0xFFFF_FFFF
        let isRepeated = i.operation.shape.repeating != 0
        // First, also where nothing is to be done: so all processors do (Xen's f41c88a6fca5), and Bochs and QEMU.
        try checkPort(state.edx & 0xFFFF, i.bytes)
        if isRepeated && state.ecx & mask == 0 { return go(i.next) }
        let access = PortAccess(
            port: UInt16(truncatingIfNeeded: state.edx), size: UInt8(truncatingIfNeeded: i.bytes))
        let step = state.otherFlags & Flag.direction == 0 ? i.bytes : 0 &- i.bytes
        if i.slowPath == .portInputString {
            let linear = try linear(
                SegmentRegister.extra, state.edi & mask, i.bytes, write: true)
            try checkWrite(linear, i.bytes)
            system.inputAddress = linear
            system.hasInputAddress = true
            state.edi = state.edi & ~mask | (state.edi &+ step) & mask
            state.exit = .portInput(access)
        } else {
            let linear = try linear(
                i.operation.segmentNumber, state.esi & mask, i.bytes, write: false)
            let value: UInt32 =
                switch i.size {
                case 0: UInt32(try read(linear, as: UInt8.self))
                case 1: UInt32(try read(linear, as: UInt16.self))
                default: try read(linear, as: UInt32.self)
                }
            state.esi = state.esi & ~mask | (state.esi &+ step) & mask
            state.exit = .portOutput(access, value: value)
        }
        state.eip = i.next
        if isRepeated {
            let left = (state.ecx &- 1) & mask
            state.ecx = state.ecx & ~mask | left
            if left != 0 {
                state.eip = i.start
                resume()
            }
        }
        return .exit
    }

    /// Stores an input where INS wants it.
    /// - Returns: false if the last input was that of an IN.
    func answerString(_ value: UInt64, _ size: UInt8) -> Bool {
        guard isSystem && system.hasInputAddress else { return false }
        system.hasInputAddress = false
        let linear = system.inputAddress
        do throws(Fault) {
            switch size {
            case 1: try write(linear, UInt8(truncatingIfNeeded: value))
            case 2: try write(linear, UInt16(truncatingIfNeeded: value))
            default: try write(linear, UInt32(truncatingIfNeeded: value))
            }
        } catch {
            // Somebody else has changed the tables since: the processor looked before it asked.
        }
        return true
    }
}
