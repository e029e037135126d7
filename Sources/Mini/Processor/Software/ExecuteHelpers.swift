// What the cases of the execution loop do, each small enough to be inlined there.

/// A record under the execution loop's hand.
typealias Record = UnsafePointer<Operation>

extension Operation {
    /// Offset after the instruction, relative to the block's start.
    @inline(__always) var end: UInt32 { UInt32(offset) &+ UInt32(length) }
}

extension Core {
    // MARK: Addresses

    /// The linear address of a record's memory operand.
    @inline(__always) func address(_ record: Record) -> UInt32 {
        unsafe effectiveAddress(record) &+ get(record.pointee.segment)
    }

    @inline(__always) func effectiveAddress(_ record: Record) -> UInt32 {
        unsafe get(record.pointee.base)
            &+ get(record.pointee.index, as: UInt32.self) &<< UInt32(record.pointee.scale)
            &+ record.pointee.displacement
    }

    @inline(__always) func source<Width: Operand>(_ record: Record, _: Width.Type) -> Width {
        unsafe get(record.pointee.b)
    }

    @inline(__always) func immediate<Width: Operand>(_ record: Record, _: Width.Type) -> Width {
        unsafe Width(truncatingIfNeeded: record.pointee.immediate)
    }

    // MARK: Arithmetic

    /// One of the eight operations, with its flags.
    @inline(__always) func compute<Width: Operand>(
        _ operation: Arithmetic, _ a: Width, _ b: Width
    ) -> Width {
        let result: Width
        switch operation {
        case .add:
            result = a &+ b
            setFlags(sum: result, a, b)
        case .adc:
            result = a &+ b &+ Width(truncatingIfNeeded: carryBit)
            setFlags(sum: result, a, b)
        case .sub, .cmp:
            result = a &- b
            setFlags(difference: result, a, b)
        case .sbb:
            result = a &- b &- Width(truncatingIfNeeded: carryBit)
            setFlags(difference: result, a, b)
        case .and:
            result = a & b
            setFlags(logic: result)
        case .or:
            result = a | b
            setFlags(logic: result)
        case .xor:
            result = a ^ b
            setFlags(logic: result)
        }
        return result
    }

    /// Register, register.
    @inline(__always) func rr<Width: Operand>(
        _ operation: Arithmetic, _ record: Record, _ width: Width.Type
    ) {
        let a: Width = unsafe get(record.pointee.a)
        let result = unsafe compute(operation, a, source(record, width))
        if operation != .cmp { unsafe set(record.pointee.a, result) }
    }

    /// Register, immediate.
    @inline(__always) func ri<Width: Operand>(
        _ operation: Arithmetic, _ record: Record, _ width: Width.Type
    ) {
        let a: Width = unsafe get(record.pointee.a)
        let result = unsafe compute(operation, a, immediate(record, width))
        if operation != .cmp { unsafe set(record.pointee.a, result) }
    }

    /// Register, memory. Like all that follow, false or `.fault` if the access faults.
    @inline(__always) func rm<Width: Operand>(
        _ operation: Arithmetic, _ record: Record, _ width: Width.Type
    ) -> Bool {
        guard let b = unsafe load(address(record), width) else { return false }
        let a: Width = unsafe get(record.pointee.a)
        let result = compute(operation, a, b)
        if operation != .cmp { unsafe set(record.pointee.a, result) }
        return true
    }

    /// Memory, register or immediate.
    @inline(__always) func mr<Width: Operand>(
        _ operation: Arithmetic, _ record: Record, _ b: Width
    ) -> Flow {
        if operation == .cmp {
            guard let a = unsafe load(address(record), Width.self) else { return .fault }
            _ = compute(.cmp, a, b)
            return .next
        }
        return unsafe modify(record) { compute(operation, $0, b) }
    }

    /// Reads, changes and writes the memory operand.
    @inline(__always) func modify<Width: Operand>(_ record: Record, _ body: (Width) -> Width)
        -> Flow
    {
        let linear = unsafe address(record)
        if let host = unsafe writable(linear, Width.self) {
            unsafe host.storeBytes(
                of: body(host.loadUnaligned(as: Width.self)), as: Width.self)
            return .next
        }
        guard let old = slowLoadToModify(linear, Width.self) else { return .fault }
        return slowStore(linear, body(old))
    }

    @inline(__always) func increment<Width: Operand>(_ a: Width) -> Width {
        let result = a &+ 1
        setFlagsKeepingCarry(result, a & ~result)
        return result
    }

    @inline(__always) func decrement<Width: Operand>(_ a: Width) -> Width {
        let result = a &- 1
        setFlagsKeepingCarry(result, ~a & result)
        return result
    }

    @inline(__always) func negate<Width: Operand>(_ a: Width) -> Width {
        let result = 0 &- a
        setFlags(difference: result, 0, a)
        return result
    }

    /// Shifts of a 32-bit register by 0...31; nothing happens for 0.
    @inline(__always) func shiftLeft(_ record: Record, _ count: UInt32) {
        guard count != 0 else { return }
        let a: UInt32 = unsafe get(record.pointee.a)
        let result = a &<< count
        let carry = a &>> (32 &- count) & 1
        state.result = result
        state.carries = carry &<< 31 | (result &>> 31) &<< 30
        unsafe set(record.pointee.a, result)
    }

    @inline(__always) func shiftRight(_ record: Record, _ count: UInt32) {
        guard count != 0 else { return }
        let a: UInt32 = unsafe get(record.pointee.a)
        let result = a &>> count
        let carry = a &>> (count &- 1) & 1
        state.result = result
        state.carries = carry &<< 31 | (carry ^ a &>> 31) &<< 30
        unsafe set(record.pointee.a, result)
    }

    @inline(__always) func rotateLeft(_ record: Record, _ count: UInt32) {
        guard count != 0 else { return }
        let a: UInt32 = unsafe get(record.pointee.a)
        let result = a &<< count | a &>> (32 &- count)
        setRotateFlags(carry: result & 1, sign: result &>> 31)
        unsafe set(record.pointee.a, result)
    }

    @inline(__always) func rotateRight(_ record: Record, _ count: UInt32) {
        guard count != 0 else { return }
        let a: UInt32 = unsafe get(record.pointee.a)
        let result = a &>> count | a &<< (32 &- count)
        setRotateFlags(carry: result &>> 31, sign: result &>> 30 & 1)
        unsafe set(record.pointee.a, result)
    }

    /// Carry, and overflow where `sign` differs from it (0 or 1); the other flags stay.
    @inline(__always) func setRotateFlags(carry: UInt32, sign: UInt32) {
        state.carries = state.carries & 0x3FFF_FFFF | carry &<< 31 | sign &<< 30
    }

    @inline(__always) func shiftRightSigned(_ record: Record, _ count: UInt32) {
        guard count != 0 else { return }
        let a: UInt32 = unsafe get(record.pointee.a)
        let signed = Int32(bitPattern: a)
        let result = UInt32(bitPattern: signed &>> Int32(bitPattern: count))
        let carry = UInt32(bitPattern: signed &>> Int32(bitPattern: count &- 1)) & 1
        state.result = result
        state.carries = carry &<< 31 | carry &<< 30
        unsafe set(record.pointee.a, result)
    }

    @inline(__always) func multiply(_ record: Record, _ a: UInt32, _ b: UInt32) {
        let product = Int64(Int32(bitPattern: a)) &* Int64(Int32(bitPattern: b))
        let low = Int32(truncatingIfNeeded: product)
        let isWide = Int64(low) != product
        setFlags(result: UInt32(bitPattern: low), carry: isWide, overflow: isWide)
        unsafe set(record.pointee.a, UInt32(bitPattern: low))
    }

    @inline(__always) func multiplyMemory(_ record: Record, _ other: UInt32) -> Bool {
        guard let value = unsafe load(address(record), UInt32.self) else { return false }
        unsafe multiply(record, other, value)
        return true
    }

    @inline(__always) func testMemory<Width: Operand>(_ record: Record, _ b: Width) -> Bool {
        guard let a = unsafe load(address(record), Width.self) else { return false }
        setFlags(logic: a & b)
        return true
    }

    // MARK: Moves

    /// cmovcc with a memory source, which is read in any case.
    @inline(__always) func loadIf(_ record: Record) -> Bool {
        guard let value = unsafe load(address(record), UInt32.self) else { return false }
        if unsafe condition(record.pointee.aux) { unsafe set(record.pointee.a, value) }
        return true
    }

    @inline(__always) func move<Width: Operand>(_ record: Record, _ width: Width.Type) {
        unsafe set(record.pointee.a, source(record, width))
    }

    /// Loads memory into a register, extended by `extend`.
    @inline(__always) func load<Width: Operand, Wide: Operand>(
        _ record: Record, _ width: Width.Type, _ extend: (Width) -> Wide
    ) -> Bool {
        guard let value = unsafe load(address(record), width) else { return false }
        unsafe set(record.pointee.a, extend(value))
        return true
    }

    @inline(__always) func exchange(_ record: Record) {
        let a: UInt32 = unsafe get(record.pointee.a)
        unsafe set(record.pointee.a, source(record, UInt32.self))
        unsafe set(record.pointee.b, a)
    }

    // MARK: Stack, where esp is used and the segment is open

    @inline(__always) func push(_ value: UInt32) -> Flow {
        let esp = state.esp &- 4
        let flow = store(state.ssBase &+ esp, value)
        if flow != .fault { state.esp = esp }
        return flow
    }

    /// Pushes the address after a call; false if that faults.
    @inline(__always) func pushReturn(_ record: Record) -> Bool {
        push(unsafe state.blockStart &+ record.pointee.end) != .fault
    }

    @inline(__always) func pushMemory(_ record: Record) -> Flow {
        guard let value = unsafe load(address(record), UInt32.self) else { return .fault }
        return push(value)
    }

    @inline(__always) func pop() -> UInt32? {
        guard let value = load(state.ssBase &+ state.esp, UInt32.self) else { return nil }
        state.esp &+= 4
        return value
    }

    @inline(__always) func leaveFrame() -> Bool {
        guard let value = load(state.ssBase &+ state.ebp, UInt32.self) else { return false }
        state.esp = state.ebp &+ 4
        state.ebp = value
        return true
    }

    // MARK: Strings

    /// What a string instruction adds to an index register.
    @inline(__always) func step(_ bytes: UInt32) -> UInt32 {
        state.otherFlags & Flag.direction == 0 ? bytes : 0 &- bytes
    }

    @inline(__always) func moveOne<Width: Operand>(_: Width.Type) -> Flow {
        guard let value = load(state.dsBase &+ state.esi, Width.self) else { return .fault }
        let flow = store(state.esBase &+ state.edi, value)
        if flow == .fault { return flow }
        let step = step(UInt32(Width.bitWidth / 8))
        state.esi &+= step
        state.edi &+= step
        return flow
    }

    // MARK: Branches

    /// Condition of a jump fused with `cmp a, b`; sets the flags as well.
    @inline(__always) func compare(_ a: UInt32, _ b: UInt32, _ condition: UInt8) -> Bool {
        let difference = a &- b
        setFlags(difference: difference, a, b)
        let holds =
            switch condition &>> 1 {
            case 0: overflow
            case 1: a < b
            case 2: a == b
            case 3: a <= b
            case 4: difference &>> 31 != 0
            case 5: parity
            case 6: Int32(bitPattern: a) < Int32(bitPattern: b)
            default: Int32(bitPattern: a) <= Int32(bitPattern: b)
            }
        return holds != (condition & 1 != 0)
    }

    /// Condition of a jump fused with `test a, b`.
    @inline(__always) func test(_ a: UInt32, _ b: UInt32, _ condition: UInt8) -> Bool {
        let result = a & b
        setFlags(logic: result)
        let holds =
            switch condition &>> 1 {
            case 0, 1: false
            case 2, 3: result == 0
            case 4, 6: result &>> 31 != 0
            case 5: parity
            default: Int32(bitPattern: result) <= 0
            }
        return holds != (condition & 1 != 0)
    }

    @inline(__always) func compareRR(_ record: Record, _ condition: UInt8) -> Bool {
        unsafe compare(get(record.pointee.a), get(record.pointee.b), condition)
    }

    @inline(__always) func compareRI(_ record: Record, _ condition: UInt8) -> Bool {
        unsafe compare(get(record.pointee.a), record.pointee.immediate, condition)
    }

    @inline(__always) func testRR(_ record: Record, _ condition: UInt8) -> Bool {
        unsafe test(get(record.pointee.a), get(record.pointee.b), condition)
    }

    /// Goes on to the block that a branch is linked to; without a link leaves the target in
    /// `State.eip`.
    @inline(__always) func follow(
        _ block: inout UnsafeMutablePointer<Block>, _ record: Record, if isTaken: Bool
    ) -> Bool {
        if isTaken {
            let target = unsafe state.blockStart &+ record.pointee.displacement
            if unsafe block.pointee.takenKey == state.key | UInt64(target) {
                state.blockStart = target
                unsafe block = unsafe block.pointee.taken.unsafelyUnwrapped
                return true
            }
            state.eip = target
            state.isTaken = true
        } else {
            let target = unsafe state.blockStart &+ record.pointee.end
            if unsafe block.pointee.untakenKey == state.key | UInt64(target) {
                state.blockStart = target
                unsafe block = unsafe block.pointee.untaken.unsafelyUnwrapped
                return true
            }
            state.eip = target
            state.isTaken = false
        }
        return false
    }

    /// The segment check in front of a memory operation; `aux` holds size and direction.
    @inline(never) func check(_ record: Record) -> Bool {
        let segment = unsafe record.pointee.segmentNumber
        let aux = unsafe record.pointee.aux
        let write = aux & 0x80 != 0
        if state.openSegments &>> UInt32(segment) & 1 != 0
            && !(write && segment == SegmentRegister.code)
        {
            return true
        }
        do throws(Fault) {
            try checkAccess(
                segment, unsafe effectiveAddress(record), UInt32(aux & 0x7F), write: write)
            return true
        } catch {
            state.fault = error
            return false
        }
    }

    /// Goes on to a target that is not in the instruction, if the jump cache knows it.
    @inline(__always) func jump(
        _ block: inout UnsafeMutablePointer<Block>, to target: UInt32
    ) -> Bool {
        let entry = unsafe jumpEntry(target)
        if unsafe entry.pointee.key == state.key | UInt64(target) {
            state.blockStart = target
            unsafe block = unsafe entry.pointee.block.unsafelyUnwrapped
            return true
        }
        state.eip = target
        return false
    }

    /// The jump cache's block for `State.eip`.
    @inline(__always) func cachedBlock() -> UnsafeMutablePointer<Block>? {
        let entry = unsafe jumpEntry(state.eip)
        guard unsafe entry.pointee.key == state.key | UInt64(state.eip) else { return nil }
        return unsafe entry.pointee.block
    }

    /// Links a branch of a block to where it went.
    @inline(__always)
    func link(
        _ from: UnsafeMutablePointer<Block>, taken: Bool, to block: UnsafeMutablePointer<Block>
    ) {
        let isLinkable =
            state.mode & (BlockMode.openCode | BlockMode.stepping) == BlockMode.openCode
        guard isLinkable, unsafe !from.pointee.isTemporary && !block.pointee.isTemporary else {
            return
        }
        let key = state.key | UInt64(state.blockStart)
        if taken {
            unsafe from.pointee.taken = unsafe block
            unsafe from.pointee.takenKey = key
        } else {
            unsafe from.pointee.untaken = unsafe block
            unsafe from.pointee.untakenKey = key
        }
    }

    /// How many instructions of a block lie after a record's.
    @inline(__always)
    static func instructions(after record: Record, in block: UnsafeMutablePointer<Block>)
        -> Int
    {
        let first = unsafe operations(of: block)
        var count = 0
        var other = unsafe record + 1
        let end = unsafe UnsafePointer(first + Int(block.pointee.operationCount))
        while unsafe other < end {
            let code = unsafe other.pointee.code
            count += code.isPrefix ? 0 : code.isFused ? 2 : 1
            unsafe other += 1
        }
        return count
    }
}
