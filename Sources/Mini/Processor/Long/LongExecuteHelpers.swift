// What the cases of the execution loop of long mode do, each small enough to be inlined there.

typealias LongRecord = UnsafePointer<LongOperation>

extension LongOperation {
    /// Offsets of the instruction behind, and of the instruction, relative to the block's start.
    @inline(__always) var next: UInt64 { UInt64(end) }
    @inline(__always) var first: UInt64 { UInt64(end) &- UInt64(length) }
}

extension LongCore {
    // MARK: Addresses

    /// The linear address of a record's memory operand.
    @inline(__always) func address(_ record: LongRecord) -> UInt64 {
        unsafe get(record.pointee.base)
            &+ get(record.pointee.index, as: UInt64.self) &<< UInt64(record.pointee.scale)
            &+ UInt64(bitPattern: Int64(record.pointee.displacement))
    }

    /// What `.address` leaves: of 32 bits, with a segment's base, or given in two halves.
    @inline(never) func preparedAddress(_ record: LongRecord) -> UInt64 {
        let operation = unsafe record.pointee
        let base: UInt64 = get(operation.b)
        let kind = unsafe LongAddress(rawValue: operation.aux).unsafelyUnwrapped
        if kind == .halves {
            return UInt64(UInt32(bitPattern: operation.displacement))
                | UInt64(UInt32(bitPattern: operation.immediate)) &<< 32 &+ base
        }
        var address =
            unsafe address(record) &+ UInt64(bitPattern: Int64(operation.immediate))
        if kind == .double { address &= 0xFFFF_FFFF }
        if kind == .compatible16 { address &= 0xFFFF }
        if kind == .compatible16 || kind == .compatible32 {
            return tagged(address &+ base, operation.which)
        }
        return address &+ base
    }

    @inline(__always) func source<Width: LongOperand>(_ record: LongRecord, _: Width.Type) -> Width
    {
        unsafe get(record.pointee.b)
    }

    @inline(__always) func immediate<Width: LongOperand>(_ record: LongRecord, _: Width.Type)
        -> Width
    {
        unsafe Width(truncatingIfNeeded: record.pointee.immediate)
    }

    @inline(__always) func wideImmediate(_ record: LongRecord) -> UInt64 {
        unsafe UInt64(UInt32(bitPattern: record.pointee.immediate))
            | UInt64(UInt32(bitPattern: record.pointee.displacement)) &<< 32
    }

    // MARK: Arithmetic

    /// One of the eight operations, with its flags.
    @inline(__always) func compute<Width: LongOperand>(
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

    @inline(__always) func rr<Width: LongOperand>(
        _ operation: Arithmetic, _ record: LongRecord, _ width: Width.Type
    ) {
        let a: Width = unsafe get(record.pointee.a)
        let result = unsafe compute(operation, a, source(record, width))
        if operation != .cmp { unsafe set(record.pointee.a, result) }
    }

    @inline(__always) func ri<Width: LongOperand>(
        _ operation: Arithmetic, _ record: LongRecord, _ width: Width.Type
    ) {
        let a: Width = unsafe get(record.pointee.a)
        let result = unsafe compute(operation, a, immediate(record, width))
        if operation != .cmp { unsafe set(record.pointee.a, result) }
    }

    /// Like all that follow, false or `.fault` if the access faults.
    @inline(__always) func rm<Width: LongOperand>(
        _ operation: Arithmetic, _ record: LongRecord, _ width: Width.Type
    ) -> Bool {
        guard let b = unsafe load(address(record), width) else { return false }
        let a: Width = unsafe get(record.pointee.a)
        let result = compute(operation, a, b)
        if operation != .cmp { unsafe set(record.pointee.a, result) }
        return true
    }

    @inline(__always) func mr<Width: LongOperand>(
        _ operation: Arithmetic, _ record: LongRecord, _ b: Width
    ) -> Flow {
        let linear = unsafe address(record)
        if operation == .cmp {
            guard let a = load(linear, Width.self) else { return .fault }
            _ = compute(.cmp, a, b)
            return .next
        }
        let count = UInt64(Width.bitWidth / 8)
        if let host = unsafe writable(linear, count) {
            unsafe host.storeBytes(
                of: compute(operation, host.loadUnaligned(as: Width.self), b), as: Width.self)
            return .next
        }
        guard let old = slowLoadToModify(linear, count) else { return .fault }
        return slowStore(
            linear,
            UInt64(
                truncatingIfNeeded: compute(operation, Width(truncatingIfNeeded: old), b)), count)
    }

    @inline(__always) func increment<Width: LongOperand>(_ a: Width) -> Width {
        let result = a &+ 1
        setFlagsKeepingCarry(result, a & ~result)
        return result
    }

    @inline(__always) func decrement<Width: LongOperand>(_ a: Width) -> Width {
        let result = a &- 1
        setFlagsKeepingCarry(result, ~a & result)
        return result
    }

    @inline(__always) func negate<Width: LongOperand>(_ a: Width) -> Width {
        let result = 0 &- a
        setFlags(difference: result, 0, a)
        return result
    }

    /// Shifts of a register by less than its bits; nothing happens for 0.
    @inline(__always) func shiftLeft<Width: LongOperand>(_ record: LongRecord, _ count: Width) {
        let a: Width = unsafe get(record.pointee.a)
        // With 32 bits the upper half is cleared in any case.
        guard count != 0 else { return unsafe set(record.pointee.a, a) }
        let result = a &<< count
        let carry = UInt64(truncatingIfNeeded: a &>> (Width(Width.bitWidth) &- count) & 1)
        state.result = result.extended64
        state.carries = carry &<< 63 | (result.extended64 &>> 63) &<< 62
        unsafe set(record.pointee.a, result)
    }

    @inline(__always) func shiftRight<Width: LongOperand>(_ record: LongRecord, _ count: Width) {
        let a: Width = unsafe get(record.pointee.a)
        guard count != 0 else { return unsafe set(record.pointee.a, a) }
        let result = a &>> count
        let carry = UInt64(truncatingIfNeeded: a &>> (count &- 1) & 1)
        state.result = result.extended64
        state.carries = carry &<< 63 | (carry ^ a.extended64 &>> 63) &<< 62
        unsafe set(record.pointee.a, result)
    }

    @inline(__always) func shiftRightSigned<Width: LongOperand>(
        _ record: LongRecord, _ count: Width
    ) {
        let a: Width = unsafe get(record.pointee.a)
        guard count != 0 else { return unsafe set(record.pointee.a, a) }
        let signed = Int64(bitPattern: a.extended64)
        let shift = Int64(truncatingIfNeeded: count)
        let result = UInt64(bitPattern: signed &>> shift)
        let carry = UInt64(bitPattern: signed &>> (shift &- 1)) & 1
        state.result = result
        state.carries = carry &<< 63 | carry &<< 62
        unsafe set(record.pointee.a, Width(truncatingIfNeeded: result))
    }

    @inline(__always) func rotateLeft<Width: LongOperand>(_ record: LongRecord, _ count: Width) {
        let a: Width = unsafe get(record.pointee.a)
        guard count != 0 else { return unsafe set(record.pointee.a, a) }
        let result = a &<< count | a &>> (Width(Width.bitWidth) &- count)
        setRotateFlags(
            carry: UInt64(truncatingIfNeeded: result & 1), sign: result.extended64 &>> 63)
        unsafe set(record.pointee.a, result)
    }

    @inline(__always) func rotateRight<Width: LongOperand>(_ record: LongRecord, _ count: Width) {
        let a: Width = unsafe get(record.pointee.a)
        guard count != 0 else { return unsafe set(record.pointee.a, a) }
        let result = a &>> count | a &<< (Width(Width.bitWidth) &- count)
        setRotateFlags(
            carry: result.extended64 &>> 63,
            sign: UInt64(truncatingIfNeeded: result &>> Width(Width.bitWidth - 2) & 1))
        unsafe set(record.pointee.a, result)
    }

    /// Carry, and overflow where `sign` differs from it (0 or 1); the other flags stay.
    @inline(__always) func setRotateFlags(carry: UInt64, sign: UInt64) {
        state.carries = state.carries & ~(Self.top | Self.next) | carry &<< 63 | sign &<< 62
    }

    @inline(__always) func multiply<Width: LongOperand>(
        _ record: LongRecord, _ a: Width, _ b: Width
    ) {
        let low: UInt64
        let isWide: Bool
        if Width.bitWidth == 64 {
            let product = Int64(bitPattern: a.extended64)
                .multipliedReportingOverflow(by: Int64(bitPattern: b.extended64))
            low = UInt64(bitPattern: product.partialValue)
            isWide = product.overflow
        } else {
            let product = a.extended64 &* b.extended64
            low = Width(truncatingIfNeeded: product).extended64
            isWide = low != product
        }
        setFlags(extended: low, carry: isWide, overflow: isWide)
        unsafe set(record.pointee.a, Width(truncatingIfNeeded: low))
    }

    @inline(__always) func testMemory<Width: LongOperand>(_ record: LongRecord, _ b: Width) -> Bool
    {
        guard let a = unsafe load(address(record), Width.self) else { return false }
        setFlags(logic: a & b)
        return true
    }

    // MARK: Moves

    @inline(__always) func move<Width: LongOperand>(_ record: LongRecord, _ width: Width.Type) {
        unsafe set(record.pointee.a, source(record, width))
    }

    @inline(__always) func load<Width: LongOperand, Wide: LongOperand>(
        _ record: LongRecord, _ width: Width.Type, _ extend: (Width) -> Wide
    ) -> Bool {
        guard let value = unsafe load(address(record), width) else { return false }
        unsafe set(record.pointee.a, extend(value))
        return true
    }

    @inline(__always) func exchange(_ record: LongRecord) {
        let a: UInt64 = unsafe get(record.pointee.a)
        unsafe set(record.pointee.a, source(record, UInt64.self))
        unsafe set(record.pointee.b, a)
    }

    /// Of 16 bytes, whose address has none of the bits in `aux`.
    @inline(__always) func loadVector(_ record: LongRecord) -> Bool {
        let linear = unsafe address(record)
        let to = unsafe vector(record.pointee.a)
        if unsafe state.hasVectors && linear & UInt64(record.pointee.aux) == 0,
            let host = unsafe readable(linear, 16)
        {
            unsafe to.copyMemory(from: host, byteCount: 16)
            return true
        }
        return unsafe slowCopy(record, linear, to, write: false) != .fault
    }

    @inline(__always) func storeVector(_ record: LongRecord) -> Flow {
        let linear = unsafe address(record)
        let from = unsafe vector(record.pointee.b)
        if unsafe state.hasVectors && linear & UInt64(record.pointee.aux) == 0,
            let host = unsafe writable(linear, 16)
        {
            unsafe host.copyMemory(from: from, byteCount: 16)
            return .next
        }
        return unsafe slowCopy(record, linear, from, write: true)
    }

    @inline(__always) func moveVector(_ record: LongRecord) -> Bool {
        guard state.hasVectors else {
            do throws(Fault) { try useVectors() } catch { state.fault = error }
            return false
        }
        unsafe vector(record.pointee.a).copyMemory(from: vector(record.pointee.b), byteCount: 16)
        return true
    }

    @inline(never) func alignVector(_ record: LongRecord) -> Flow {
        guard state.hasVectors && state.hasLevel2 else { return unsafe slowPath(record) }
        let operation = unsafe record.pointee
        unsafe Level2.align(vector(operation.a), vector(operation.b), operation.vectorCode.value)
        return .next
    }

    @inline(never) private func slowCopy(
        _ record: LongRecord, _ linear: UInt64, _ buffer: UnsafeMutableRawPointer, write: Bool
    ) -> Flow {
        do throws(Fault) {
            try useVectors()
            guard unsafe linear & UInt64(record.pointee.aux) == 0 else { throw .protection(0) }
            try unsafe copy(linear, buffer, 16, write: write)
            if write { return state.codeChanged ? .stop : .next }
            return isToBeAlone() ? .fault : .next
        } catch {
            state.fault = error
            return .fault
        }
    }

    // MARK: Stack

    @inline(__always) func push(_ value: UInt64) -> Flow {
        let rsp = rsp &- 8
        let flow = store(rsp, value)
        if flow != .fault { self.rsp = rsp }
        return flow
    }

    /// Pushes the address after a call; false if that faults.
    @inline(__always) func pushReturn(_ record: LongRecord) -> Bool {
        push(unsafe state.blockStart &+ record.pointee.next) != .fault
    }

    @inline(__always) func pop() -> UInt64? {
        let rsp = rsp
        guard let value = load(rsp, UInt64.self) else { return nil }
        self.rsp = rsp &+ 8
        return value
    }

    @inline(__always) func leaveFrame() -> Bool {
        let frame = rbp
        guard let value = load(frame, UInt64.self) else { return false }
        rsp = frame &+ 8
        rbp = value
        return true
    }

    // MARK: Branches

    /// Goes on to the block that a branch is linked to; without a link leaves the target in
    /// `LongState.rip`.
    @inline(__always) func follow(
        _ block: inout UnsafeMutablePointer<Block>, _ record: LongRecord, if isTaken: Bool
    ) -> Bool {
        var target = unsafe state.blockStart &+ record.pointee.next
        if isTaken {
            target &+= unsafe UInt64(bitPattern: Int64(record.pointee.displacement))
            if unsafe block.pointee.takenKey == state.key &+ target {
                state.blockStart = target
                unsafe block = unsafe block.pointee.taken.unsafelyUnwrapped
                return true
            }
        } else if unsafe block.pointee.untakenKey == state.key &+ target {
            state.blockStart = target
            unsafe block = unsafe block.pointee.untaken.unsafelyUnwrapped
            return true
        }
        state.rip = target
        state.isTaken = isTaken
        return false
    }

    /// Goes on to a target that is not in the instruction, if the jump cache knows it.
    @inline(__always) func jump(
        _ block: inout UnsafeMutablePointer<Block>, to target: UInt64
    ) -> Bool {
        let entry = unsafe jumpEntry(target)
        // What is not canonical could make the key of another generation or mode.
        if unsafe entry.pointee.key == state.key &+ target && Self.isCanonical(target) {
            state.blockStart = target
            unsafe block = unsafe entry.pointee.block.unsafelyUnwrapped
            return true
        }
        state.rip = target
        return false
    }

    /// The jump cache's block for `LongState.rip`.
    @inline(__always) func cachedBlock() -> UnsafeMutablePointer<Block>? {
        guard state.mode & LongMode.stepping == 0 else { return nil }
        let entry = unsafe jumpEntry(state.rip)
        guard unsafe entry.pointee.key == state.key &+ state.rip, Self.isCanonical(state.rip)
        else { return nil }
        return unsafe entry.pointee.block
    }

    /// Links a branch of a block to where it went.
    func link(
        _ from: UnsafeMutablePointer<Block>, taken: Bool,
        to block: UnsafeMutablePointer<Block>
    ) {
        guard state.mode & LongMode.stepping == 0,
            unsafe !from.pointee.isTemporary && !block.pointee.isTemporary
        else { return }
        let key = state.key &+ state.blockStart
        if taken {
            unsafe from.pointee.taken = unsafe block
            unsafe from.pointee.takenKey = key
        } else {
            unsafe from.pointee.untaken = unsafe block
            unsafe from.pointee.untakenKey = key
        }
    }

    /// How many instructions of a block lie after a record's.
    static func instructions(after record: LongRecord, in block: UnsafeMutablePointer<Block>)
        -> Int
    {
        let first = unsafe operations(of: block)
        var count = 0
        var other = unsafe record + 1
        let end = unsafe UnsafePointer(first + Int(block.pointee.operationCount))
        while unsafe other < end {
            if unsafe !other.pointee.code.isPrefix { count += 1 }
            if unsafe other.pointee.code.isFused { count += 1 }
            unsafe other += 1
        }
        // A prefix that is alone faults nothing; the instruction behind it counts.
        return count
    }

    /// An address that is not canonical: by way of rsp or rbp it is a stack fault, unless a prefix says fs or gs.
    @inline(never) func outside(_ record: LongRecord) {
        state.isOutside = false
        let operation = unsafe record.pointee
        var base = operation.base
        var segment = operation.index
        if base == LongSlot.temporary {
            base = unsafe (record - 1).pointee.base
            segment = unsafe (record - 1).pointee.b
        }
        let isStack =
            switch operation.code {
            case .push64r, .push64i, .pop64r, .leave64, .callNear, .callRegister, .returnNear: true
            case .callMemory: unsafe Self.isInside(address(record))
            case .slowPath:
                switch LongSlow(rawValue: operation.aux) {
                case .returnPopping, .pushFlags, .popFlags, .enter, .leave, .interruptReturn,
                    .returnFar, .pushSegment, .popSegment:
                    true
                case .push, .callFar:
                    unsafe !operation.shape.isMemory || Self.isInside(address(record))
                case .pop: !Self.isInside(rsp)
                default: false
                }
            default: false
            }
        let isByStack = (base == 32 || base == 40) && segment < LongSlot.bases
        if isStack || isByStack { state.fault = .stack(0) }
    }

    /// Eight bytes that are canonical all of them.
    private static func isInside(_ linear: UInt64) -> Bool {
        isCanonical(linear) && isCanonical(linear &+ 7)
    }

    /// To be called at an instruction boundary where `LongState.attention` is not 0.
    /// - Returns: how many instructions may be run until the next look, whatever they jump to; the rest of the budget is held
    ///   back in the state. nil where the loop is to be left.
    @inline(never) func attend(_ budget: Int) -> Int? {
        let attention = state.attention
        if attention & Attention.shadow != 0 {
            state.attention = attention & ~Attention.shadow
            guard attention & Attention.window != 0 else { return budget }
            state.budget &+= budget &- 1
            return 1
        }
        guard state.otherFlags & UInt64(Flag.interrupt) != 0 else { return budget }
        state.exit = .interruptWindow
        return nil
    }
}

extension LongState {
    /// SSE instructions do not raise #UD or #NM: CR0.EM, CR0.TS, CR4.OSFXSR.
    @inline(__always) var hasVectors: Bool {
        control0 & UInt64(Control0.taskSwitched | Control0.emulation) == 0
            && control4 & UInt64(Control4.fastSave) != 0
    }
}
