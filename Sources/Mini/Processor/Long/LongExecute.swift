// The execution loop of long mode: Execute.swift's, with records of 64 and 32 bits.

extension LongCore {
    /// Runs until the budget is used up (`.next`) or something is for the processor's user (`.exit`).
    /// `LongState.rip` is then at an instruction boundary. Optimised for speed, as Execute.swift's.
    @_optimize(speed) func execute() -> Flow {
        var budget = state.budget
        // What `attend` holds back meanwhile.
        state.budget = 0
        defer { state.budget &+= budget }
        unsafe state.linkSource = nil
        // The block before was one step with the trap flag set.
        var isStepping = state.owesStep
        state.owesStep = false

        while true {
            // At an instruction boundary, at `LongState.rip`, with no block at hand.
            if isStepping || state.debug.pending != 0 {
                if !tellTraps(step: isStepping) { return .exit }
                isStepping = false
                unsafe state.linkSource = nil
            }
            if budget <= 0 {
                budget &+= state.budget
                state.budget = 0
                guard budget > 0 else { return .next }
            }
            if state.attention != 0 {
                guard let present = attend(budget) else { return .exit }
                budget = present
            }
            state.suppressesStep = state.otherFlags & UInt64(Flag.trap) == 0
            state.codeChanged = false
            state.blockStart = state.rip
            guard var block = unsafe nextBlock(limit: budget) else {
                budget &-= 1
                state.isOutside = false
                if !deliver(state.fault) { return .exit }
                unsafe state.linkSource = nil
                continue
            }
            if let from = unsafe state.linkSource {
                unsafe link(from, taken: state.isTaken, to: block)
            }
            unsafe state.linkSource = nil
            // Blocks of this mode are never linked: each comes this way.
            isStepping = state.mode & LongMode.stepping != 0

            enter: while true {
                let count = unsafe Int(block.pointee.count)
                budget &-= count
                if budget < 0 {
                    // Not enough left for all of it: a shorter block, or the end.
                    budget &+= count
                    state.rip = state.blockStart
                    if budget == 0 { break enter }
                    guard let short = unsafe shortBlock(limit: budget) else {
                        budget &-= 1
                        if !deliver(state.fault) { return .exit }
                        break enter
                    }
                    unsafe block = unsafe short
                    continue enter
                }
                unsafe checkBlock(block)
                var record = unsafe UnsafePointer(Self.operations(of: block))
                var flow = Flow.jump
                run: while true {
                    unsafe checkRecord(record, in: block)
                    // A table: a line a case, however long.
                    // swift-format-ignore
                    switch unsafe record.pointee.code {
                    case .add64rr: unsafe rr(.add, record, UInt64.self)
                    case .add64rm: if unsafe !rm(.add, record, UInt64.self) { flow = .fault; break run }
                    case .add64mr: flow = unsafe mr(.add, record, source(record, UInt64.self)); if flow != .next { break run }
                    case .add64ri: unsafe ri(.add, record, UInt64.self)
                    case .add64mi: flow = unsafe mr(.add, record, immediate(record, UInt64.self)); if flow != .next { break run }
                    case .or64rr: unsafe rr(.or, record, UInt64.self)
                    case .or64rm: if unsafe !rm(.or, record, UInt64.self) { flow = .fault; break run }
                    case .or64mr: flow = unsafe mr(.or, record, source(record, UInt64.self)); if flow != .next { break run }
                    case .or64ri: unsafe ri(.or, record, UInt64.self)
                    case .or64mi: flow = unsafe mr(.or, record, immediate(record, UInt64.self)); if flow != .next { break run }
                    case .adc64rr: unsafe rr(.adc, record, UInt64.self)
                    case .adc64ri: unsafe ri(.adc, record, UInt64.self)
                    case .sbb64rr: unsafe rr(.sbb, record, UInt64.self)
                    case .sbb64ri: unsafe ri(.sbb, record, UInt64.self)
                    case .and64rr: unsafe rr(.and, record, UInt64.self)
                    case .and64rm: if unsafe !rm(.and, record, UInt64.self) { flow = .fault; break run }
                    case .and64mr: flow = unsafe mr(.and, record, source(record, UInt64.self)); if flow != .next { break run }
                    case .and64ri: unsafe ri(.and, record, UInt64.self)
                    case .and64mi: flow = unsafe mr(.and, record, immediate(record, UInt64.self)); if flow != .next { break run }
                    case .sub64rr: unsafe rr(.sub, record, UInt64.self)
                    case .sub64rm: if unsafe !rm(.sub, record, UInt64.self) { flow = .fault; break run }
                    case .sub64mr: flow = unsafe mr(.sub, record, source(record, UInt64.self)); if flow != .next { break run }
                    case .sub64ri: unsafe ri(.sub, record, UInt64.self)
                    case .sub64mi: flow = unsafe mr(.sub, record, immediate(record, UInt64.self)); if flow != .next { break run }
                    case .xor64rr: unsafe rr(.xor, record, UInt64.self)
                    case .xor64rm: if unsafe !rm(.xor, record, UInt64.self) { flow = .fault; break run }
                    case .xor64ri: unsafe ri(.xor, record, UInt64.self)
                    case .cmp64rr: unsafe rr(.cmp, record, UInt64.self)
                    case .cmp64rm: if unsafe !rm(.cmp, record, UInt64.self) { flow = .fault; break run }
                    case .cmp64mr: flow = unsafe mr(.cmp, record, source(record, UInt64.self)); if flow != .next { break run }
                    case .cmp64ri: unsafe ri(.cmp, record, UInt64.self)
                    case .cmp64mi: flow = unsafe mr(.cmp, record, immediate(record, UInt64.self)); if flow != .next { break run }
                    case .add32rr: unsafe rr(.add, record, UInt32.self)
                    case .add32rm: if unsafe !rm(.add, record, UInt32.self) { flow = .fault; break run }
                    case .add32mr: flow = unsafe mr(.add, record, source(record, UInt32.self)); if flow != .next { break run }
                    case .add32ri: unsafe ri(.add, record, UInt32.self)
                    case .add32mi: flow = unsafe mr(.add, record, immediate(record, UInt32.self)); if flow != .next { break run }
                    case .or32rr: unsafe rr(.or, record, UInt32.self)
                    case .or32rm: if unsafe !rm(.or, record, UInt32.self) { flow = .fault; break run }
                    case .or32mr: flow = unsafe mr(.or, record, source(record, UInt32.self)); if flow != .next { break run }
                    case .or32ri: unsafe ri(.or, record, UInt32.self)
                    case .or32mi: flow = unsafe mr(.or, record, immediate(record, UInt32.self)); if flow != .next { break run }
                    case .adc32rr: unsafe rr(.adc, record, UInt32.self)
                    case .adc32ri: unsafe ri(.adc, record, UInt32.self)
                    case .sbb32rr: unsafe rr(.sbb, record, UInt32.self)
                    case .sbb32ri: unsafe ri(.sbb, record, UInt32.self)
                    case .and32rr: unsafe rr(.and, record, UInt32.self)
                    case .and32rm: if unsafe !rm(.and, record, UInt32.self) { flow = .fault; break run }
                    case .and32mr: flow = unsafe mr(.and, record, source(record, UInt32.self)); if flow != .next { break run }
                    case .and32ri: unsafe ri(.and, record, UInt32.self)
                    case .and32mi: flow = unsafe mr(.and, record, immediate(record, UInt32.self)); if flow != .next { break run }
                    case .sub32rr: unsafe rr(.sub, record, UInt32.self)
                    case .sub32rm: if unsafe !rm(.sub, record, UInt32.self) { flow = .fault; break run }
                    case .sub32mr: flow = unsafe mr(.sub, record, source(record, UInt32.self)); if flow != .next { break run }
                    case .sub32ri: unsafe ri(.sub, record, UInt32.self)
                    case .sub32mi: flow = unsafe mr(.sub, record, immediate(record, UInt32.self)); if flow != .next { break run }
                    case .xor32rr: unsafe rr(.xor, record, UInt32.self)
                    case .xor32rm: if unsafe !rm(.xor, record, UInt32.self) { flow = .fault; break run }
                    case .xor32ri: unsafe ri(.xor, record, UInt32.self)
                    case .cmp32rr: unsafe rr(.cmp, record, UInt32.self)
                    case .cmp32rm: if unsafe !rm(.cmp, record, UInt32.self) { flow = .fault; break run }
                    case .cmp32mr: flow = unsafe mr(.cmp, record, source(record, UInt32.self)); if flow != .next { break run }
                    case .cmp32ri: unsafe ri(.cmp, record, UInt32.self)
                    case .cmp32mi: flow = unsafe mr(.cmp, record, immediate(record, UInt32.self)); if flow != .next { break run }
                    case .cmp8rr: unsafe rr(.cmp, record, UInt8.self)
                    case .cmp8rm: if unsafe !rm(.cmp, record, UInt8.self) { flow = .fault; break run }
                    case .cmp8mr: flow = unsafe mr(.cmp, record, source(record, UInt8.self)); if flow != .next { break run }
                    case .cmp8ri: unsafe ri(.cmp, record, UInt8.self)
                    case .cmp8mi: flow = unsafe mr(.cmp, record, immediate(record, UInt8.self)); if flow != .next { break run }
                    case .jo, .jno, .jp, .jnp: if unsafe follow(&block, record, if: condition(record.pointee.aux)) { continue enter }; flow = .branch; break run
                    case .jb: if unsafe follow(&block, record, if: condition(2)) { continue enter }; flow = .branch; break run
                    case .jae: if unsafe follow(&block, record, if: condition(3)) { continue enter }; flow = .branch; break run
                    case .je: if unsafe follow(&block, record, if: condition(4)) { continue enter }; flow = .branch; break run
                    case .jne: if unsafe follow(&block, record, if: condition(5)) { continue enter }; flow = .branch; break run
                    case .jbe: if unsafe follow(&block, record, if: condition(6)) { continue enter }; flow = .branch; break run
                    case .ja: if unsafe follow(&block, record, if: condition(7)) { continue enter }; flow = .branch; break run
                    case .js: if unsafe follow(&block, record, if: condition(8)) { continue enter }; flow = .branch; break run
                    case .jns: if unsafe follow(&block, record, if: condition(9)) { continue enter }; flow = .branch; break run
                    case .jl: if unsafe follow(&block, record, if: condition(12)) { continue enter }; flow = .branch; break run
                    case .jge: if unsafe follow(&block, record, if: condition(13)) { continue enter }; flow = .branch; break run
                    case .jle: if unsafe follow(&block, record, if: condition(14)) { continue enter }; flow = .branch; break run
                    case .jg: if unsafe follow(&block, record, if: condition(15)) { continue enter }; flow = .branch; break run
                    case .cmp64rrJe: unsafe rr(.cmp, record, UInt64.self); if unsafe follow(&block, record, if: condition(4)) { continue enter }; flow = .branch; break run
                    case .cmp64rrJne: unsafe rr(.cmp, record, UInt64.self); if unsafe follow(&block, record, if: condition(5)) { continue enter }; flow = .branch; break run
                    case .cmp64riJe: unsafe ri(.cmp, record, UInt64.self); if unsafe follow(&block, record, if: condition(4)) { continue enter }; flow = .branch; break run
                    case .cmp64riJne: unsafe ri(.cmp, record, UInt64.self); if unsafe follow(&block, record, if: condition(5)) { continue enter }; flow = .branch; break run
                    case .cmp32rrJe: unsafe rr(.cmp, record, UInt32.self); if unsafe follow(&block, record, if: condition(4)) { continue enter }; flow = .branch; break run
                    case .cmp32rrJne: unsafe rr(.cmp, record, UInt32.self); if unsafe follow(&block, record, if: condition(5)) { continue enter }; flow = .branch; break run
                    case .cmp32riJe: unsafe ri(.cmp, record, UInt32.self); if unsafe follow(&block, record, if: condition(4)) { continue enter }; flow = .branch; break run
                    case .cmp32riJne: unsafe ri(.cmp, record, UInt32.self); if unsafe follow(&block, record, if: condition(5)) { continue enter }; flow = .branch; break run
                    case .cmp8riJe: unsafe ri(.cmp, record, UInt8.self); if unsafe follow(&block, record, if: condition(4)) { continue enter }; flow = .branch; break run
                    case .cmp8riJne: unsafe ri(.cmp, record, UInt8.self); if unsafe follow(&block, record, if: condition(5)) { continue enter }; flow = .branch; break run
                    case .test64rrJe: unsafe setFlags(logic: get(record.pointee.a) & source(record, UInt64.self)); if unsafe follow(&block, record, if: condition(4)) { continue enter }; flow = .branch; break run
                    case .test64rrJne: unsafe setFlags(logic: get(record.pointee.a) & source(record, UInt64.self)); if unsafe follow(&block, record, if: condition(5)) { continue enter }; flow = .branch; break run
                    case .test32rrJe: unsafe setFlags(logic: get(record.pointee.a) & source(record, UInt32.self)); if unsafe follow(&block, record, if: condition(4)) { continue enter }; flow = .branch; break run
                    case .test32rrJne: unsafe setFlags(logic: get(record.pointee.a) & source(record, UInt32.self)); if unsafe follow(&block, record, if: condition(5)) { continue enter }; flow = .branch; break run
                    case .test8rrJe: unsafe setFlags(logic: get(record.pointee.a) & source(record, UInt8.self)); if unsafe follow(&block, record, if: condition(4)) { continue enter }; flow = .branch; break run
                    case .test8rrJne: unsafe setFlags(logic: get(record.pointee.a) & source(record, UInt8.self)); if unsafe follow(&block, record, if: condition(5)) { continue enter }; flow = .branch; break run
                    case .test64rr: unsafe setFlags(logic: get(record.pointee.a) & source(record, UInt64.self))
                    case .test64ri: unsafe setFlags(logic: get(record.pointee.a) & immediate(record, UInt64.self))
                    case .test64mi: if unsafe !testMemory(record, immediate(record, UInt64.self)) { flow = .fault; break run }
                    case .test32rr: unsafe setFlags(logic: get(record.pointee.a) & source(record, UInt32.self))
                    case .test32ri: unsafe setFlags(logic: get(record.pointee.a) & immediate(record, UInt32.self))
                    case .test32mi: if unsafe !testMemory(record, immediate(record, UInt32.self)) { flow = .fault; break run }
                    case .test8rr: unsafe setFlags(logic: get(record.pointee.a) & source(record, UInt8.self))
                    case .test8ri: unsafe setFlags(logic: get(record.pointee.a) & immediate(record, UInt8.self))
                    case .test8mi: if unsafe !testMemory(record, immediate(record, UInt8.self)) { flow = .fault; break run }
                    case .move64rr: unsafe move(record, UInt64.self)
                    case .move64ri: unsafe set(record.pointee.a, immediate(record, UInt64.self))
                    case .move64i: unsafe set(record.pointee.a, wideImmediate(record))
                    case .load64: if unsafe !load(record, UInt64.self, { $0 }) { flow = .fault; break run }
                    case .store64: flow = unsafe store(address(record), source(record, UInt64.self)); if flow != .next { break run }
                    case .store64i: flow = unsafe store(address(record), immediate(record, UInt64.self)); if flow != .next { break run }
                    case .move32rr: unsafe move(record, UInt32.self)
                    case .move32ri: unsafe set(record.pointee.a, immediate(record, UInt32.self))
                    case .load32: if unsafe !load(record, UInt32.self, { $0 }) { flow = .fault; break run }
                    case .store32: flow = unsafe store(address(record), source(record, UInt32.self)); if flow != .next { break run }
                    case .store32i: flow = unsafe store(address(record), immediate(record, UInt32.self)); if flow != .next { break run }
                    case .move8rr: unsafe move(record, UInt8.self)
                    case .move8ri: unsafe set(record.pointee.a, immediate(record, UInt8.self))
                    case .load8: if unsafe !load(record, UInt8.self, { $0 }) { flow = .fault; break run }
                    case .store8: flow = unsafe store(address(record), source(record, UInt8.self)); if flow != .next { break run }
                    case .store8i: flow = unsafe store(address(record), immediate(record, UInt8.self)); if flow != .next { break run }
                    case .load16: if unsafe !load(record, UInt16.self, { $0 }) { flow = .fault; break run }
                    case .store16: flow = unsafe store(address(record), source(record, UInt16.self)); if flow != .next { break run }
                    case .zero8r: unsafe set(record.pointee.a, UInt64(source(record, UInt8.self)))
                    case .zero8m: if unsafe !load(record, UInt8.self, { UInt64($0) }) { flow = .fault; break run }
                    case .zero16r: unsafe set(record.pointee.a, UInt64(source(record, UInt16.self)))
                    case .zero16m: if unsafe !load(record, UInt16.self, { UInt64($0) }) { flow = .fault; break run }
                    case .sign8r32: unsafe set(record.pointee.a, UInt32(truncatingIfNeeded: source(record, UInt8.self).extended64))
                    case .sign8m32: if unsafe !load(record, UInt8.self, { UInt32(truncatingIfNeeded: $0.extended64) }) { flow = .fault; break run }
                    case .sign8r64: unsafe set(record.pointee.a, source(record, UInt8.self).extended64)
                    case .sign8m64: if unsafe !load(record, UInt8.self, { $0.extended64 }) { flow = .fault; break run }
                    case .sign16r32: unsafe set(record.pointee.a, UInt32(truncatingIfNeeded: source(record, UInt16.self).extended64))
                    case .sign16m32: if unsafe !load(record, UInt16.self, { UInt32(truncatingIfNeeded: $0.extended64) }) { flow = .fault; break run }
                    case .sign16r64: unsafe set(record.pointee.a, source(record, UInt16.self).extended64)
                    case .sign16m64: if unsafe !load(record, UInt16.self, { $0.extended64 }) { flow = .fault; break run }
                    case .sign32r64: unsafe set(record.pointee.a, source(record, UInt32.self).extended64)
                    case .sign32m64: if unsafe !load(record, UInt32.self, { $0.extended64 }) { flow = .fault; break run }
                    case .lea64: unsafe set(record.pointee.a, address(record))
                    case .lea32: unsafe set(record.pointee.a, UInt32(truncatingIfNeeded: address(record)))
                    case .inc64r: unsafe set(record.pointee.a, increment(get(record.pointee.a, as: UInt64.self)))
                    case .dec64r: unsafe set(record.pointee.a, decrement(get(record.pointee.a, as: UInt64.self)))
                    case .not64r: unsafe set(record.pointee.a, ~get(record.pointee.a, as: UInt64.self))
                    case .neg64r: unsafe set(record.pointee.a, negate(get(record.pointee.a, as: UInt64.self)))
                    case .inc32r: unsafe set(record.pointee.a, increment(get(record.pointee.a, as: UInt32.self)))
                    case .dec32r: unsafe set(record.pointee.a, decrement(get(record.pointee.a, as: UInt32.self)))
                    case .not32r: unsafe set(record.pointee.a, ~get(record.pointee.a, as: UInt32.self))
                    case .neg32r: unsafe set(record.pointee.a, negate(get(record.pointee.a, as: UInt32.self)))
                    case .shl64i: unsafe shiftLeft(record, UInt64(truncatingIfNeeded: record.pointee.immediate))
                    case .shr64i: unsafe shiftRight(record, UInt64(truncatingIfNeeded: record.pointee.immediate))
                    case .sar64i: unsafe shiftRightSigned(record, UInt64(truncatingIfNeeded: record.pointee.immediate))
                    case .rol64i: unsafe rotateLeft(record, UInt64(truncatingIfNeeded: record.pointee.immediate))
                    case .ror64i: unsafe rotateRight(record, UInt64(truncatingIfNeeded: record.pointee.immediate))
                    case .shl32i: unsafe shiftLeft(record, UInt32(truncatingIfNeeded: record.pointee.immediate))
                    case .shr32i: unsafe shiftRight(record, UInt32(truncatingIfNeeded: record.pointee.immediate))
                    case .sar32i: unsafe shiftRightSigned(record, UInt32(truncatingIfNeeded: record.pointee.immediate))
                    case .rol32i: unsafe rotateLeft(record, UInt32(truncatingIfNeeded: record.pointee.immediate))
                    case .ror32i: unsafe rotateRight(record, UInt32(truncatingIfNeeded: record.pointee.immediate))
                    case .multiply64r: unsafe multiply(record, get(record.pointee.a), source(record, UInt64.self))
                    case .multiply64ri: unsafe multiply(record, source(record, UInt64.self), immediate(record, UInt64.self))
                    case .multiply32r: unsafe multiply(record, get(record.pointee.a), source(record, UInt32.self))
                    case .multiply32ri: unsafe multiply(record, source(record, UInt32.self), immediate(record, UInt32.self))
                    case .push64r: flow = unsafe push(source(record, UInt64.self)); if flow != .next { break run }
                    case .push64i: flow = unsafe push(immediate(record, UInt64.self)); if flow != .next { break run }
                    case .pop64r: guard let value = pop() else { flow = .fault; break run }; unsafe set(record.pointee.a, value)
                    case .leave64: if !leaveFrame() { flow = .fault; break run }
                    case .callNear: if unsafe !pushReturn(record) { flow = .fault; break run }; if unsafe follow(&block, record, if: true) { continue enter }; flow = .branch; break run
                    case .callRegister: let target = unsafe source(record, UInt64.self); if unsafe !pushReturn(record) { flow = .fault; break run }; if unsafe jump(&block, to: target) { continue enter }; flow = .jump; break run
                    case .callMemory: guard let target = unsafe load(address(record), UInt64.self), unsafe pushReturn(record) else { flow = .fault; break run }; if unsafe jump(&block, to: target) { continue enter }; flow = .jump; break run
                    case .returnNear: guard let target = pop() else { flow = .fault; break run }; if unsafe jump(&block, to: target) { continue enter }; flow = .jump; break run
                    case .jump: if unsafe follow(&block, record, if: true) { continue enter }; flow = .branch; break run
                    case .jumpRegister: if unsafe jump(&block, to: source(record, UInt64.self)) { continue enter }; flow = .jump; break run
                    case .jumpMemory: guard let target = unsafe load(address(record), UInt64.self) else { flow = .fault; break run }; if unsafe jump(&block, to: target) { continue enter }; flow = .jump; break run
                    case .set8r: unsafe set(record.pointee.a, UInt8(condition(record.pointee.aux) ? 1 : 0))
                    case .move64rrIf: if unsafe condition(record.pointee.aux) { unsafe move(record, UInt64.self) }
                    case .move32rrIf: unsafe set(record.pointee.a, condition(record.pointee.aux) ? source(record, UInt32.self) : get(record.pointee.a, as: UInt32.self))
                    case .exchange64rr: unsafe exchange(record)
                    case .swap32: unsafe set(record.pointee.a, get(record.pointee.a, as: UInt32.self).byteSwapped)
                    case .swap64: unsafe set(record.pointee.a, get(record.pointee.a, as: UInt64.self).byteSwapped)
                    case .doubleWord: set(16, UInt32(truncatingIfNeeded: get(0, as: UInt32.self).extended64 &>> 32))
                    case .quadWord: rdx = UInt64(bitPattern: Int64(bitPattern: rax) &>> 63)
                    case .loadVector: if unsafe !loadVector(record) { flow = .fault; break run }
                    case .storeVector: flow = unsafe storeVector(record); if flow != .next { break run }
                    case .moveVector: if unsafe !moveVector(record) { flow = .fault; break run }
                    case .alignVector: flow = unsafe alignVector(record); if flow != .next { break run }
                    case .next: if unsafe follow(&block, record, if: true) { continue enter }; flow = .branch; break run
                    case .address: state.temporary = unsafe preparedAddress(record)
                    // The first ones are never laid: rare, and so in the slow path. No case is empty: see build.sh.
                    case .adc64rm, .adc64mr, .adc64mi, .sbb64rm, .sbb64mr, .sbb64mi, .adc32rm, .adc32mr, .adc32mi, .sbb32rm, .sbb32mr, .sbb32mi,
                        .xor64mr, .xor64mi, .xor32mr, .xor32mi, .slowPath:
                        flow = unsafe slowPath(record); if flow != .next { break run }
                    }
                    unsafe record += 1
                }

                switch flow {
                case .next, .branch:
                    unsafe state.linkSource = unsafe block
                case .jump:
                    budget &+= unsafe Self.instructions(after: record, in: block)
                    budget &-= state.charge
                    state.charge = 0
                case .stop:
                    state.rip = unsafe state.blockStart &+ record.pointee.next
                    budget &+= unsafe Self.instructions(after: record, in: block)
                    budget &-= state.charge
                    state.charge = 0
                case .fault:
                    // The instruction counts, lest a guest that only faults never ends.
                    state.rip = unsafe state.blockStart &+ record.pointee.first
                    budget &+= unsafe Self.instructions(after: record, in: block)
                    isStepping = false
                    state.debug.pending = 0
                    if state.isOutside { unsafe outside(record) }
                    if !deliver(state.fault) { return .exit }
                case .exit:
                    budget &+= unsafe Self.instructions(after: record, in: block)
                    if isStepping { state.owesStep = state.exit.isOfPort }
                    return .exit
                }
                break enter
            }
        }
    }

    /// The block at `LongState.rip`; nil with the fault in the state if it cannot be fetched.
    private func nextBlock(limit: Int) -> UnsafeMutablePointer<Block>? {
        if limit != 1, let block = unsafe cachedBlock() { return unsafe block }
        return unsafe shortBlock(limit: limit)
    }

    /// The same, and no longer than `limit` instructions.
    @inline(never) private func shortBlock(limit: Int) -> UnsafeMutablePointer<Block>? {
        do throws(Fault) {
            return unsafe try findBlock(limit: limit)
        } catch {
            state.fault = error
            return nil
        }
    }
}
