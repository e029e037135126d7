// Traps and interrupts: what the host does itself, and how it enters the guest's handlers,
// pushing the frame that the CPU would have pushed. Source: docs/abi/lguest.md §4.3…§4.5.

extension Host {
    /// A trap that is not the guest's own.
    func handleTrap(_ vector: UInt32, _ errorCode: UInt32, _ address: UInt32) {
        lastErrorCode = errorCode
        switch vector {
        case InterruptTable.hypercallVector: callPending = true
        case UInt32(ExceptionVector.invalidOpcode)
        where abi.callsByVmcall && hasCode(0x0F, 0x01, 0xC1):
            // The original writes its own call over this one.
            processor.eip &+= 3
            callPending = true
        case InterruptTable.generalProtection
        where abi.skipsCLI && errorCode == 0 && hasCode(0xFA):
            processor.eip &+= 1
        case InterruptTable.pageFault: handlePageFault(errorCode, address)
        // The FPU is the guest's as long as it did not ask to be told.
        case InterruptTable.deviceNotAvailable where !processor.taskSwitched: break
        case InterruptTable.systemCallVector where abi.reflectsSystemCalls && gates[vector] != nil:
            reflect(vector, errorCode, detail: errorCode)
        // A system call without a trap gate looks like a device interrupt: dropped.
        case 32...: break
        default: reflect(vector, errorCode, detail: errorCode)
        }
    }

    /// Whether the guest's kernel is at these bytes of code.
    private func hasCode(_ bytes: UInt8...) -> Bool {
        guard processor.privilege == 1 else { return false }
        for (index, byte) in bytes.enumerated() {
            guard
                let address = processor.translate(
                    processor.eip &+ UInt32(index), write: false, user: false),
                let range = memory.range(address, 1), unsafe memory.readable(range)[0] == byte
            else { return false }
        }
        return true
    }

    private func handlePageFault(_ errorCode: UInt32, _ address: UInt32) {
        if address >= Self.reservedTop, !abi.namesSwitcherPages,
            hasTable(processor.pageDirectory, address)
        {
            return kill(.reservedTop)
        }
        data?.setFaultAddress(address)
        reflect(InterruptTable.pageFault, errorCode, detail: address)
    }

    /// Enters the guest's handler, or ends the guest if it has none.
    private func reflect(_ vector: UInt32, _ errorCode: UInt32, detail: UInt32) {
        guard let gate = gates[vector] else {
            return kill(
                .unhandledTrap(vector, instruction: processor.eip, detail: detail))
        }
        enter(gate, errorCode: InterruptTable.hasErrorCode(vector) ? errorCode : nil)
    }

    /// Delivers the interrupt that may be delivered now, if any.
    /// - Returns: how long the guest may run before it is asked again; nil for as long as it wants. It
    ///   makes no call when it turns interrupts on, so the host has to look.
    func deliverInterrupt() -> Nanoseconds? {
        guard let data else { return nil }
        let isAsleep = machine.phase == .halted
        switch lines.decide(
            .init(
                blocked: data.blockedInterrupts, enabled: data.interruptsEnabled,
                asleep: isAsleep, instruction: processor.eip, quietCode: quietCode))
        {
        case .none: return nil
        case .blocked: return Self.long
        case .notNow:
            data.setInterruptPending(true)
            return Self.short
        case .deliver(let line):
            if isAsleep {
                data.setInterruptsEnabled(true)
                machine.wake()
            }
            if let gate = gates[InterruptLines.firstVector + line.rawValue] {
                lines.acknowledge(line)
                enter(gate, errorCode: nil)
            }
            data.setTime(Clock.realTime())
            data.setInterruptPending(!lines.isQuiet)
            return lines.isQuiet ? nil : Self.short
        }
    }

    /// Between two looks at a guest that has interrupts off, or only the lines that are pending.
    private static let short = Nanoseconds(count: 20_000)
    private static let long = Nanoseconds.milliseconds(1)

    /// Pushes a frame and starts a handler in ring 1. Every word goes through the guest's
    /// page tables; a stack that is not there ends the guest.
    private func enter(_ gate: InterruptTable.Gate, errorCode: UInt32?) {
        let cpu = processor
        let fromUser = cpu.selector(.ss) & 3 != 1
        let stackSelector = fromUser ? ringStack.selector : cpu.selector(.ss)
        var stack = fromUser ? ringStack.pointer : cpu[.esp]
        if fromUser {
            guard push(UInt32(cpu.selector(.ss)), &stack), push(cpu[.esp], &stack) else { return }
        }
        let enabled = data?.interruptsEnabled ?? true
        let flag = GuestDataArea.interruptFlag
        let flags = enabled ? cpu.eflags | flag : cpu.eflags & ~flag
        guard push(flags, &stack), push(UInt32(cpu.selector(.cs)), &stack),
            push(cpu.eip, &stack)
        else { return }
        if let errorCode, !push(errorCode, &stack) { return }
        // As a gate does that the processor takes: a program's single step is not its kernel's.
        cpu.eflags &= ~(Flag.trap | Flag.nestedTask | Flag.resume)
        cpu[.esp] = stack
        cpu.eip = gate.handler
        if gate.masksInterrupts { data?.setInterruptsEnabled(false) }
        guard cpu.setSegment(.cs, InterruptTable.codeSelector),
            cpu.setSegment(.ss, stackSelector)
        else { return failEntry() }
    }

    private func push(_ value: UInt32, _ stack: inout UInt32) -> Bool {
        stack &-= 4
        if stack < Self.reservedTop && processor.write32(linear: stack, value) { return true }
        // The original reckons with the guest's linear map where it knows that; else it looks up where the stack begins.
        let cpu = processor
        let top = cpu.selector(.ss) & 3 == 1 ? cpu[.esp] : ringStack.pointer
        let isThere = walk(top, from: cpu.pageDirectory).end == .page
        kill(
            abi.namesPageOffset
                ? .badWrite(address: stack &- pageOffset)
                : .badAddress(virtual: isThere ? stack : top))
        return false
    }

    // MARK: Ports
    // Up to era 4 nothing is there: probing drivers read ones, and output goes nowhere. §4.5.
    //
    // One output is heard: a guest before 2.6.25 has no call that asks for a reboot, its kernel
    // pulls the reset line of a PC's keyboard controller. The original ignores that, too, and the
    // guest tries again for ever. Source: the kernels' mach_reboot(), 2.6.23.

    /// An input of a byte sets 16 bits, one of 16 bits all: so did the original.
    func readPort(_ access: PortAccess) {
        if let ports { return processor.answer(UInt64(ports.read(access))) }
        processor[.eax] = access.size == 1 ? processor[.eax] | 0xFFFF : 0xFFFF_FFFF
    }

    func writePort(_ access: PortAccess, _ value: UInt32) {
        let reset = PortAccess(port: 0x64, size: 1)
        if access == reset && value & 0xFF == 0xFE { return kill(.restart) }
        ports?.write(access, value)
    }
}
