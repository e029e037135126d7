// The slow path's moves: exchanges, the stack, segment registers, system words, the time-stamp counter,
// and the seam to the x87. Source: Intel SDM volume 2.

extension Core {
    // MARK: Exchanges

    func exchange(_ i: Instruction) throws(Fault) {
        let old = try modifiable(i)
        try setOperand(i, part(i.operation.a, i.size))
        setPart(i.operation.a, i.size, old)
    }

    /// The destination is written in any case: back to itself if it differs.
    func compareExchange(_ i: Instruction) throws(Fault) {
        let old = try modifiable(i)
        let accumulator = part(0, i.size)
        _ = compute(.cmp, accumulator, old, i.size)
        try setOperand(i, old == accumulator ? part(i.operation.a, i.size) : old)
        if old != accumulator { setPart(0, i.size, old) }
    }

    func exchangeAdd(_ i: Instruction) throws(Fault) {
        let old = try modifiable(i)
        let sum = compute(.add, old, part(i.operation.a, i.size), i.size)
        // Of a register with itself the sum stays, of memory the address is of before.
        if !i.operation.shape.isMemory { setPart(i.operation.a, i.size, old) }
        try setOperand(i, sum)
        if i.operation.shape.isMemory { setPart(i.operation.a, i.size, old) }
    }

    func compareExchange8(_ i: Instruction) throws(Fault) {
        let linear = try linear(i, 8, write: true)
        try checkWrite(linear, 8)
        let low = try read(linear, as: UInt32.self)
        let high = try read(linear &+ 4, as: UInt32.self)
        let isEqual = low == state.eax && high == state.edx
        try write(linear, isEqual ? state.ebx : low)
        try write(linear &+ 4, isEqual ? state.ecx : high)
        if !isEqual { (state.eax, state.edx) = (low, high) }
        setFlag(Flag.zero, isEqual)
    }

    func moveIf(_ i: Instruction) throws(Fault) {
        let value = try operand(i)
        if condition(UInt8(truncatingIfNeeded: i.operation.immediate)) {
            setPart(i.operation.a, i.size, value)
        }
    }

    func loadAddress(_ i: Instruction) {
        setPart(i.operation.a, i.size, offset(i))
    }

    func extendAccumulator(_ i: Instruction) {
        if i.size == 1 {
            set(0, UInt16(truncatingIfNeeded: get(0, as: UInt8.self).extended))
        } else {
            state.eax = get(0, as: UInt16.self).extended
        }
    }

    func translateByte(_ i: Instruction) throws(Fault) {
        let sum = state.ebx &+ UInt32(get(0, as: UInt8.self))
        let offset = i.operation.shape.isAddress16 ? sum & 0xFFFF : sum
        let linear = try linear(i.operation.segmentNumber, offset, 1, write: false)
        set(0, try read(linear, as: UInt8.self))
    }

    // MARK: Stack

    func popRegister(_ i: Instruction) throws(Fault) {
        let value = try peek(0, size: i.size)
        discard(i.bytes)
        setPart(i.operation.b, i.size, value)
    }

    /// The address of the destination counts esp as it is after the pop.
    func popMemory(_ i: Instruction) throws(Fault) -> Flow {
        let value = try peek(0, size: i.size)
        let old = state.esp
        let oldTemporary = state.temporary
        discard(i.bytes)
        do throws(Fault) {
            try setOperand(i, value)
            return .next
        } catch {
            state.esp = old
            state.temporary = oldTemporary
            throw error
        }
    }

    /// A 32-bit push of a selector writes 16 bits and moves esp by 4.
    func pushSegment(_ i: Instruction) throws(Fault) {
        let selector = unsafe state.segments[Int(i.operation.a)].selector
        guard i.size == 2 else { return try push(UInt32(selector), size: 1) }
        let offset = (state.esp &- 4) & stackMask
        try write(try linear(SegmentRegister.stack, offset, 2, write: true), selector)
        setStackPointer(offset)
    }

    func popSegment(_ i: Instruction) throws(Fault) -> Flow {
        let segment = Int(i.operation.a)
        // Two bytes are read, however many are popped.
        let selector = UInt16(truncatingIfNeeded: try peek(0, size: 1))
        let mask = stackMask
        try loadSegment(segment, selector)
        state.esp = state.esp & ~mask | (state.esp &+ i.bytes) & mask
        return loadedSegment(segment, i)
    }

    /// Loads of es, ss, ds change what blocks may assume: theirs ends.
    private func loadedSegment(_ segment: Int, _ i: Instruction) -> Flow {
        if segment == SegmentRegister.stack {
            state.suppressesStep = true
            if isSystem { state.attention |= Attention.shadow }
        }
        return segment < 4 ? go(i.next) : .next
    }

    func pushAll(_ i: Instruction) throws(Fault) {
        var frame = Frame(size: i.size)
        for register in 0..<UInt8(8) { append(get(register * 4), to: &frame) }
        try push(frame)
    }

    func popAll(_ i: Instruction) throws(Fault) {
        var values = InlineArray<8, UInt32>(repeating: 0)
        for index in 0..<8 { values[index] = try peek(UInt32(index), size: i.size) }
        // They lie in the order edi ... eax; esp's is skipped.
        for index in 0..<8 where index != 3 {
            setPart(UInt8(7 - index) * 4, i.size, values[index])
        }
        discard(8 &* i.bytes)
    }

    func popFlags(_ i: Instruction) throws(Fault) -> Flow {
        let value = try peek(0, size: i.size)
        discard(i.bytes)
        let new = i.size == 1 ? flags & 0xFFFF_0000 | value : value & ~Flag.resume
        flags = flagsWithin(state.privilege, new)
        return go(i.next)
    }

    /// One word after the other, because the frames may overlap; what was pushed before a
    /// fault stays in memory, as on hardware.
    func enterFrame(_ i: Instruction) throws(Fault) {
        let level = i.operation.immediate &>> 16 & 31
        let mask = stackMask
        var offset = try pushBelow(state.esp, state.ebp, i)
        let pointer = state.esp & ~mask | offset
        if level > 0 {
            for index in 1..<level {
                let old = try readStack((state.ebp &- index &* i.bytes) & mask, i)
                offset = try pushBelow(offset, old, i)
            }
            offset = try pushBelow(offset, pointer, i)
        }
        let end = (offset &- i.operation.immediate & 0xFFFF) & mask
        // The new top must be writable, though nothing is written there.
        try checkWrite(try linear(SegmentRegister.stack, end, i.bytes, write: true), i.bytes)
        setPart(20, i.size, pointer)
        setStackPointer(end)
    }

    /// Writes a word below a stack offset and returns where; esp stays.
    private func pushBelow(_ top: UInt32, _ value: UInt32, _ i: Instruction) throws(Fault)
        -> UInt32
    {
        let offset = (top &- i.bytes) & stackMask
        let linear = try linear(SegmentRegister.stack, offset, i.bytes, write: true)
        if i.size == 1 {
            try write(linear, UInt16(truncatingIfNeeded: value))
        } else {
            try write(linear, value)
        }
        return offset
    }

    private func readStack(_ offset: UInt32, _ i: Instruction) throws(Fault) -> UInt32 {
        let linear = try linear(SegmentRegister.stack, offset, i.bytes, write: false)
        return i.size == 1 ? UInt32(try read(linear, as: UInt16.self)) : try read(linear)
    }

    func leaveFrame(_ i: Instruction) throws(Fault) {
        let mask = stackMask
        let offset = state.ebp & mask
        let value = try readStack(offset, i)
        setStackPointer(offset &+ i.bytes)
        setPart(20, i.size, value)
    }

    // MARK: Segment registers

    func moveFromSegment(_ i: Instruction) throws(Fault) -> Flow {
        let selector = unsafe state.segments[Int(i.operation.a)].selector
        return i.size == 2
            ? try storeOperand(i, UInt32(selector)) : try storeOperand(i, selector)
    }

    func moveToSegment(_ i: Instruction) throws(Fault) -> Flow {
        let segment = Int(i.operation.a)
        try loadSegment(segment, try operand(i, UInt16.self))
        return loadedSegment(segment, i)
    }

    func loadFarPointer(_ i: Instruction) throws(Fault) -> Flow {
        let linear = try linear(i, i.bytes &+ 2, write: false)
        try checkRead(linear, i.bytes &+ 2)
        let selector = try read(linear &+ i.bytes, as: UInt16.self)
        let offset = try read(linear, i.size)
        try loadSegment(Int(i.operation.b), selector)
        setPart(i.operation.a, i.size, offset)
        return go(i.next)
    }

    // MARK: Protection

    func checkBounds(_ i: Instruction) throws(Fault) {
        // The upper bound is not looked at when the lower one is missed.
        let index = Self.extend(part(i.operation.a, i.size), i.size)
        guard index >= (try bound(i, 0)), index <= (try bound(i, i.bytes)) else { throw .bounds }
    }

    private func bound(_ i: Instruction, _ at: UInt32) throws(Fault) -> Int32 {
        Self.extend(
            try read(
                try linear(i.operation.segmentNumber, offset(i) &+ at, i.bytes, write: false),
                i.size),
            i.size)
    }

    func adjustPrivilege(_ i: Instruction) throws(Fault) -> Flow {
        let wanted = get(i.operation.a, as: UInt16.self) & 3
        let selector = try operand(i, UInt16.self)
        let isLower = selector & 3 < wanted
        // Written only if it changes.
        let flow = isLower ? try storeOperand(i, selector & ~3 | wanted) : .next
        setFlag(Flag.zero, isLower)
        return flow
    }

    /// The descriptor that lar, lsl, verr, verw may look at; nil where they clear ZF.
    private func visible(_ selector: UInt16) throws(Fault) -> SegmentDescriptor? {
        guard selector & 0xFFFC != 0, let descriptor = try tableEntry(selector) else { return nil }
        let least = max(state.privilege, UInt32(selector & 3))
        guard descriptor.isConforming || least <= descriptor.privilege else { return nil }
        return descriptor
    }

    func canAccess(_ selector: UInt16, write: Bool) throws(Fault) -> Bool {
        guard let descriptor = try visible(selector), descriptor.isSegment else { return false }
        return write ? descriptor.isWritableData : descriptor.isReadable
    }

    func loadAccessRights(_ i: Instruction) throws(Fault) {
        let selector = try operand(i, UInt16.self)
        // System types: TSS, LDT, call and task gates.
        guard let descriptor = try visible(selector),
            descriptor.isSegment || 0x1A3E >> UInt32(descriptor.type) & 1 != 0
        else { return setFlag(Flag.zero, false) }
        let rights = UInt32(truncatingIfNeeded: descriptor.value &>> 32) & 0x00FF_FF00
        setPart(i.operation.a, i.size, rights)
        setFlag(Flag.zero, true)
    }

    func loadLimit(_ i: Instruction) throws(Fault) {
        let selector = try operand(i, UInt16.self)
        // System types: TSS, LDT.
        guard let descriptor = try visible(selector),
            descriptor.isSegment || 0x0A0E >> UInt32(descriptor.type) & 1 != 0
        else { return setFlag(Flag.zero, false) }
        setPart(i.operation.a, i.size, descriptor.limit)
        setFlag(Flag.zero, true)
    }

    // MARK: System words

    func storeTable(_ i: Instruction, _ table: ProcessorProfile.Table) throws(Fault) {
        let linear = try linear(i, 6, write: true)
        try checkWrite(linear, 6)
        try write(linear, table.limit)
        try write(linear &+ 2, table.base)
    }

    func storeSystemWord(_ i: Instruction, _ value: UInt32) throws(Fault) -> Flow {
        i.size == 2
            ? try storeOperand(i, value)
            : try storeOperand(i, UInt16(truncatingIfNeeded: value))
    }

    func storeMachineStatus(_ i: Instruction) throws(Fault) -> Flow {
        if isSystem { return try storeSystemWord(i, system.control0) }
        let taskSwitched: UInt32 = state.taskSwitched ? 1 << 3 : 0
        return try storeSystemWord(i, state.profile.machineStatus | taskSwitched)
    }

    func identify(_ i: Instruction) -> Flow {
        (state.eax, state.ebx, state.ecx, state.edx) = state.profile.identification(state.eax)
        return go(i.next)
    }

    func readTimeStamp(_ i: Instruction) throws(Fault) -> Flow {
        let time = isSystem ? try guestTimeStamp() : state.timeStamp()
        state.eax = UInt32(truncatingIfNeeded: time)
        state.edx = UInt32(truncatingIfNeeded: time &>> 32)
        return go(i.next)
    }

    // MARK: Ports

    /// Leaves the loop with the access, after the instruction.
    func accessPort(_ i: Instruction, isInput: Bool) throws(Fault) -> Flow {
        let port = i.operation.shape.isCountInRegister ? state.edx : i.operation.immediate
        if isSystem {
            try checkPort(port & 0xFFFF, i.bytes)
        } else {
            guard state.privilege <= state.portRules.ring,
                state.csBase &+ i.start >= state.portRules.codeFrom
            else { throw .protection(0) }
        }
        let access = PortAccess(
            port: UInt16(truncatingIfNeeded: port), size: UInt8(truncatingIfNeeded: i.bytes))
        let unused = 32 &- i.bytes &* 8
        state.exit =
            isInput
            ? .portInput(access)
            : .portOutput(access, value: (state.eax &<< unused) &>> unused)
        state.eip = i.next
        return .exit
    }

    // MARK: x87

    func floatingPointWait() throws(Fault) {
        if isSystem ? system.waitIsTrapped : state.taskSwitched { throw .noDevice }
        if state.floatingPoint.wait() == .pending { throw .floatingPoint }
    }

    func floatingPointInstruction(_ i: Instruction) throws(Fault) -> Flow {
        let opcode = UInt8(truncatingIfNeeded: i.operation.immediate)
        let modrm = UInt8(truncatingIfNeeded: i.operation.immediate &>> 8)
        if state.taskSwitched { throw .noDevice }
        var site = FloatingPointUnit.Site(
            instruction: i.start, codeSelector: codeSelector, operand: 0, dataSelector: 0)
        guard i.operation.shape.isMemory else {
            try execute(opcode, modrm, site, isShort: i.size == 1)
            return .next
        }
        let sizes = FloatingPointUnit.operandSize(
            opcode: opcode, modrm: modrm, short: i.size == 1)
        let bytes = UInt32(max(sizes.read, sizes.written))
        guard bytes > 0 else { throw .undefined }
        switch state.floatingPoint.check(opcode: opcode, modrm: modrm) {
        case .undefined: throw .undefined
        case .pending: throw .floatingPoint
        case .done, .withheld: break
        }
        site.operand = offset(i)
        site.dataSelector = unsafe state.segments[i.operation.segmentNumber].selector
        let linear: UInt32
        let faultAddress = state.faultAddress
        do throws(Fault) {
            linear = try self.linear(i, bytes, write: sizes.written > 0)
            // It pops its stack before we can store: all of the store must be possible.
            if sizes.written > 0 { try checkWrite(linear, bytes) }
        } catch {
            let isControl = modrm &>> 3 & 7 == 7 && (opcode == 0xD9 || opcode == 0xDD)
            let isValue = sizes.written > 0 && sizes.written <= 10 && !isControl
            // An exception of its own comes before the fault of a store that never happens.
            if isValue,
                unsafe state.floatingPoint.withholds(
                    opcode: opcode, modrm: modrm, scratch: state.scratch, site: site)
            {
                state.faultAddress = faultAddress
                return .next
            }
            throw error
        }
        try readScratch(linear, sizes.read)
        guard try execute(opcode, modrm, site, isShort: i.size == 1) else { return .next }
        try writeScratch(linear, sizes.written)
        return .next
    }

    /// Reads an even number of bytes into the scratch.
    private func readScratch(_ linear: UInt32, _ count: Int) throws(Fault) {
        var index = 0
        while index < count {
            let address = linear &+ UInt32(index)
            if count - index >= 4 {
                let value = try read(address, as: UInt32.self)
                unsafe state.scratch.storeBytes(of: value, toByteOffset: index, as: UInt32.self)
                index += 4
            } else {
                let value = try read(address, as: UInt16.self)
                unsafe state.scratch.storeBytes(of: value, toByteOffset: index, as: UInt16.self)
                index += 2
            }
        }
    }

    /// Writes an even number of bytes out of the scratch.
    private func writeScratch(_ linear: UInt32, _ count: Int) throws(Fault) {
        var index = 0
        while index < count {
            let address = linear &+ UInt32(index)
            let source = unsafe state.scratch + index
            if count - index >= 4 {
                try write(address, unsafe source.loadUnaligned(as: UInt32.self))
                index += 4
            } else {
                try write(address, unsafe source.loadUnaligned(as: UInt16.self))
                index += 2
            }
        }
    }

    /// - Returns: false if nothing is to be written.
    @discardableResult
    private func execute(
        _ opcode: UInt8, _ modrm: UInt8, _ site: FloatingPointUnit.Site, isShort: Bool
    ) throws(Fault) -> Bool {
        // FCMOVcc, FCOMI and its kin look at the flags or set them.
        let usesFlags = modrm >= 0xC0 && (opcode == 0xDA || opcode == 0xDB || opcode == 0xDF)
        var image = usesFlags ? flags : 0
        var ax: UInt16 = get(0)
        let outcome = unsafe state.floatingPoint.execute(
            opcode: opcode, modrm: modrm, scratch: state.scratch, flags: &image, ax: &ax,
            site: site, short: isShort)
        switch outcome {
        case .undefined: throw .undefined
        case .pending: throw .floatingPoint
        case .done, .withheld:
            set(0, ax)
            if usesFlags && image & Flag.arithmetic != arithmeticFlags { arithmeticFlags = image }
            return outcome == .done
        }
    }
}
