// The execution loop: one switch over decoded records, a block at a time. It holds the block,
// the record and the instruction budget in local variables and everything else in `State`.
// What it cannot do in a few instructions it leaves to functions out of line, which answer
// with a `Flow`. A line a record; the arithmetic is in ExecuteHelpers.swift.

extension Core {
    /// Runs until the budget is used up (`.next`) or something is for the processor's user (`.exit`).
    /// `State.eip` is then at an instruction boundary. The release is optimised for size; this
    /// one function, where a guest's time goes, is not. Each case of the table leaves it by itself (a
    /// fault, a stop, a branch to an unlinked block) or falls through to the next record.
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
            // At an instruction boundary, at `State.eip`, with no block at hand.
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
            state.suppressesStep = state.otherFlags & Flag.trap == 0
            state.codeChanged = false
            state.blockStart = state.eip
            guard var block = unsafe nextBlock(limit: budget) else {
                budget &-= 1
                if !deliver(state.fault) { return .exit }
                unsafe state.linkSource = nil
                continue
            }
            if let from = unsafe state.linkSource {
                unsafe link(from, taken: state.isTaken, to: block)
            }
            unsafe state.linkSource = nil
            // Blocks of this mode are never linked: each comes this way.
            isStepping = state.mode & BlockMode.stepping != 0

            enter: while true {
                unsafe checkBlock(block)
                let count = unsafe Int(block.pointee.count)
                budget &-= count
                if budget < 0 {
                    // Not enough left for all of it: a shorter block, or the end.
                    budget &+= count
                    state.eip = state.blockStart
                    if budget == 0 { break enter }
                    guard let short = unsafe shortBlock(limit: budget) else {
                        budget &-= 1
                        if !deliver(state.fault) { return .exit }
                        break enter
                    }
                    unsafe block = unsafe short
                    continue enter
                }
                var record = unsafe UnsafePointer(Self.operations(of: block))
                var flow = Flow.jump
                run: while true {
                    unsafe checkRecord(record, in: block)
                    // A table: a line a case, however long.
                    // swift-format-ignore
                    switch unsafe record.pointee.code {
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
                    case .adc32rm: if unsafe !rm(.adc, record, UInt32.self) { flow = .fault; break run }
                    case .adc32mr: flow = unsafe mr(.adc, record, source(record, UInt32.self)); if flow != .next { break run }
                    case .adc32ri: unsafe ri(.adc, record, UInt32.self)
                    case .adc32mi: flow = unsafe mr(.adc, record, immediate(record, UInt32.self)); if flow != .next { break run }
                    case .sbb32rr: unsafe rr(.sbb, record, UInt32.self)
                    case .sbb32rm: if unsafe !rm(.sbb, record, UInt32.self) { flow = .fault; break run }
                    case .sbb32mr: flow = unsafe mr(.sbb, record, source(record, UInt32.self)); if flow != .next { break run }
                    case .sbb32ri: unsafe ri(.sbb, record, UInt32.self)
                    case .sbb32mi: flow = unsafe mr(.sbb, record, immediate(record, UInt32.self)); if flow != .next { break run }
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
                    case .xor32mr: flow = unsafe mr(.xor, record, source(record, UInt32.self)); if flow != .next { break run }
                    case .xor32ri: unsafe ri(.xor, record, UInt32.self)
                    case .xor32mi: flow = unsafe mr(.xor, record, immediate(record, UInt32.self)); if flow != .next { break run }
                    case .cmp32rr: unsafe rr(.cmp, record, UInt32.self)
                    case .cmp32rm: if unsafe !rm(.cmp, record, UInt32.self) { flow = .fault; break run }
                    case .cmp32mr: flow = unsafe mr(.cmp, record, source(record, UInt32.self)); if flow != .next { break run }
                    case .cmp32ri: unsafe ri(.cmp, record, UInt32.self)
                    case .cmp32mi: flow = unsafe mr(.cmp, record, immediate(record, UInt32.self)); if flow != .next { break run }
                    case .add8rr: unsafe rr(.add, record, UInt8.self)
                    case .add8rm: if unsafe !rm(.add, record, UInt8.self) { flow = .fault; break run }
                    case .add8mr: flow = unsafe mr(.add, record, source(record, UInt8.self)); if flow != .next { break run }
                    case .add8ri: unsafe ri(.add, record, UInt8.self)
                    case .add8mi: flow = unsafe mr(.add, record, immediate(record, UInt8.self)); if flow != .next { break run }
                    case .or8rr: unsafe rr(.or, record, UInt8.self)
                    case .or8rm: if unsafe !rm(.or, record, UInt8.self) { flow = .fault; break run }
                    case .or8mr: flow = unsafe mr(.or, record, source(record, UInt8.self)); if flow != .next { break run }
                    case .or8ri: unsafe ri(.or, record, UInt8.self)
                    case .or8mi: flow = unsafe mr(.or, record, immediate(record, UInt8.self)); if flow != .next { break run }
                    case .adc8rr: unsafe rr(.adc, record, UInt8.self)
                    case .adc8rm: if unsafe !rm(.adc, record, UInt8.self) { flow = .fault; break run }
                    case .adc8mr: flow = unsafe mr(.adc, record, source(record, UInt8.self)); if flow != .next { break run }
                    case .adc8ri: unsafe ri(.adc, record, UInt8.self)
                    case .adc8mi: flow = unsafe mr(.adc, record, immediate(record, UInt8.self)); if flow != .next { break run }
                    case .sbb8rr: unsafe rr(.sbb, record, UInt8.self)
                    case .sbb8rm: if unsafe !rm(.sbb, record, UInt8.self) { flow = .fault; break run }
                    case .sbb8mr: flow = unsafe mr(.sbb, record, source(record, UInt8.self)); if flow != .next { break run }
                    case .sbb8ri: unsafe ri(.sbb, record, UInt8.self)
                    case .sbb8mi: flow = unsafe mr(.sbb, record, immediate(record, UInt8.self)); if flow != .next { break run }
                    case .and8rr: unsafe rr(.and, record, UInt8.self)
                    case .and8rm: if unsafe !rm(.and, record, UInt8.self) { flow = .fault; break run }
                    case .and8mr: flow = unsafe mr(.and, record, source(record, UInt8.self)); if flow != .next { break run }
                    case .and8ri: unsafe ri(.and, record, UInt8.self)
                    case .and8mi: flow = unsafe mr(.and, record, immediate(record, UInt8.self)); if flow != .next { break run }
                    case .sub8rr: unsafe rr(.sub, record, UInt8.self)
                    case .sub8rm: if unsafe !rm(.sub, record, UInt8.self) { flow = .fault; break run }
                    case .sub8mr: flow = unsafe mr(.sub, record, source(record, UInt8.self)); if flow != .next { break run }
                    case .sub8ri: unsafe ri(.sub, record, UInt8.self)
                    case .sub8mi: flow = unsafe mr(.sub, record, immediate(record, UInt8.self)); if flow != .next { break run }
                    case .xor8rr: unsafe rr(.xor, record, UInt8.self)
                    case .xor8rm: if unsafe !rm(.xor, record, UInt8.self) { flow = .fault; break run }
                    case .xor8mr: flow = unsafe mr(.xor, record, source(record, UInt8.self)); if flow != .next { break run }
                    case .xor8ri: unsafe ri(.xor, record, UInt8.self)
                    case .xor8mi: flow = unsafe mr(.xor, record, immediate(record, UInt8.self)); if flow != .next { break run }
                    case .cmp8rr: unsafe rr(.cmp, record, UInt8.self)
                    case .cmp8rm: if unsafe !rm(.cmp, record, UInt8.self) { flow = .fault; break run }
                    case .cmp8mr: flow = unsafe mr(.cmp, record, source(record, UInt8.self)); if flow != .next { break run }
                    case .cmp8ri: unsafe ri(.cmp, record, UInt8.self)
                    case .cmp8mi: flow = unsafe mr(.cmp, record, immediate(record, UInt8.self)); if flow != .next { break run }
                    case .jo: if unsafe follow(&block, record, if: overflow) { continue enter }; flow = .branch; break run
                    case .jno: if unsafe follow(&block, record, if: !overflow) { continue enter }; flow = .branch; break run
                    case .jb: if unsafe follow(&block, record, if: carry) { continue enter }; flow = .branch; break run
                    case .jae: if unsafe follow(&block, record, if: !carry) { continue enter }; flow = .branch; break run
                    case .je: if unsafe follow(&block, record, if: zero) { continue enter }; flow = .branch; break run
                    case .jne: if unsafe follow(&block, record, if: !zero) { continue enter }; flow = .branch; break run
                    case .jbe: if unsafe follow(&block, record, if: carry || zero) { continue enter }; flow = .branch; break run
                    case .ja: if unsafe follow(&block, record, if: !(carry || zero)) { continue enter }; flow = .branch; break run
                    case .js: if unsafe follow(&block, record, if: sign) { continue enter }; flow = .branch; break run
                    case .jns: if unsafe follow(&block, record, if: !sign) { continue enter }; flow = .branch; break run
                    case .jp: if unsafe follow(&block, record, if: parity) { continue enter }; flow = .branch; break run
                    case .jnp: if unsafe follow(&block, record, if: !parity) { continue enter }; flow = .branch; break run
                    case .jl: if unsafe follow(&block, record, if: less) { continue enter }; flow = .branch; break run
                    case .jge: if unsafe follow(&block, record, if: !less) { continue enter }; flow = .branch; break run
                    case .jle: if unsafe follow(&block, record, if: less || zero) { continue enter }; flow = .branch; break run
                    case .jg: if unsafe follow(&block, record, if: !(less || zero)) { continue enter }; flow = .branch; break run
                    case .cmp32rrJo: if unsafe follow(&block, record, if: compareRR(record, 0)) { continue enter }; flow = .branch; break run
                    case .cmp32rrJno: if unsafe follow(&block, record, if: compareRR(record, 1)) { continue enter }; flow = .branch; break run
                    case .cmp32rrJb: if unsafe follow(&block, record, if: compareRR(record, 2)) { continue enter }; flow = .branch; break run
                    case .cmp32rrJae: if unsafe follow(&block, record, if: compareRR(record, 3)) { continue enter }; flow = .branch; break run
                    case .cmp32rrJe: if unsafe follow(&block, record, if: compareRR(record, 4)) { continue enter }; flow = .branch; break run
                    case .cmp32rrJne: if unsafe follow(&block, record, if: compareRR(record, 5)) { continue enter }; flow = .branch; break run
                    case .cmp32rrJbe: if unsafe follow(&block, record, if: compareRR(record, 6)) { continue enter }; flow = .branch; break run
                    case .cmp32rrJa: if unsafe follow(&block, record, if: compareRR(record, 7)) { continue enter }; flow = .branch; break run
                    case .cmp32rrJs: if unsafe follow(&block, record, if: compareRR(record, 8)) { continue enter }; flow = .branch; break run
                    case .cmp32rrJns: if unsafe follow(&block, record, if: compareRR(record, 9)) { continue enter }; flow = .branch; break run
                    case .cmp32rrJp: if unsafe follow(&block, record, if: compareRR(record, 10)) { continue enter }; flow = .branch; break run
                    case .cmp32rrJnp: if unsafe follow(&block, record, if: compareRR(record, 11)) { continue enter }; flow = .branch; break run
                    case .cmp32rrJl: if unsafe follow(&block, record, if: compareRR(record, 12)) { continue enter }; flow = .branch; break run
                    case .cmp32rrJge: if unsafe follow(&block, record, if: compareRR(record, 13)) { continue enter }; flow = .branch; break run
                    case .cmp32rrJle: if unsafe follow(&block, record, if: compareRR(record, 14)) { continue enter }; flow = .branch; break run
                    case .cmp32rrJg: if unsafe follow(&block, record, if: compareRR(record, 15)) { continue enter }; flow = .branch; break run
                    case .cmp32riJo: if unsafe follow(&block, record, if: compareRI(record, 0)) { continue enter }; flow = .branch; break run
                    case .cmp32riJno: if unsafe follow(&block, record, if: compareRI(record, 1)) { continue enter }; flow = .branch; break run
                    case .cmp32riJb: if unsafe follow(&block, record, if: compareRI(record, 2)) { continue enter }; flow = .branch; break run
                    case .cmp32riJae: if unsafe follow(&block, record, if: compareRI(record, 3)) { continue enter }; flow = .branch; break run
                    case .cmp32riJe: if unsafe follow(&block, record, if: compareRI(record, 4)) { continue enter }; flow = .branch; break run
                    case .cmp32riJne: if unsafe follow(&block, record, if: compareRI(record, 5)) { continue enter }; flow = .branch; break run
                    case .cmp32riJbe: if unsafe follow(&block, record, if: compareRI(record, 6)) { continue enter }; flow = .branch; break run
                    case .cmp32riJa: if unsafe follow(&block, record, if: compareRI(record, 7)) { continue enter }; flow = .branch; break run
                    case .cmp32riJs: if unsafe follow(&block, record, if: compareRI(record, 8)) { continue enter }; flow = .branch; break run
                    case .cmp32riJns: if unsafe follow(&block, record, if: compareRI(record, 9)) { continue enter }; flow = .branch; break run
                    case .cmp32riJp: if unsafe follow(&block, record, if: compareRI(record, 10)) { continue enter }; flow = .branch; break run
                    case .cmp32riJnp: if unsafe follow(&block, record, if: compareRI(record, 11)) { continue enter }; flow = .branch; break run
                    case .cmp32riJl: if unsafe follow(&block, record, if: compareRI(record, 12)) { continue enter }; flow = .branch; break run
                    case .cmp32riJge: if unsafe follow(&block, record, if: compareRI(record, 13)) { continue enter }; flow = .branch; break run
                    case .cmp32riJle: if unsafe follow(&block, record, if: compareRI(record, 14)) { continue enter }; flow = .branch; break run
                    case .cmp32riJg: if unsafe follow(&block, record, if: compareRI(record, 15)) { continue enter }; flow = .branch; break run
                    case .test32rrJo: if unsafe follow(&block, record, if: testRR(record, 0)) { continue enter }; flow = .branch; break run
                    case .test32rrJno: if unsafe follow(&block, record, if: testRR(record, 1)) { continue enter }; flow = .branch; break run
                    case .test32rrJb: if unsafe follow(&block, record, if: testRR(record, 2)) { continue enter }; flow = .branch; break run
                    case .test32rrJae: if unsafe follow(&block, record, if: testRR(record, 3)) { continue enter }; flow = .branch; break run
                    case .test32rrJe: if unsafe follow(&block, record, if: testRR(record, 4)) { continue enter }; flow = .branch; break run
                    case .test32rrJne: if unsafe follow(&block, record, if: testRR(record, 5)) { continue enter }; flow = .branch; break run
                    case .test32rrJbe: if unsafe follow(&block, record, if: testRR(record, 6)) { continue enter }; flow = .branch; break run
                    case .test32rrJa: if unsafe follow(&block, record, if: testRR(record, 7)) { continue enter }; flow = .branch; break run
                    case .test32rrJs: if unsafe follow(&block, record, if: testRR(record, 8)) { continue enter }; flow = .branch; break run
                    case .test32rrJns: if unsafe follow(&block, record, if: testRR(record, 9)) { continue enter }; flow = .branch; break run
                    case .test32rrJp: if unsafe follow(&block, record, if: testRR(record, 10)) { continue enter }; flow = .branch; break run
                    case .test32rrJnp: if unsafe follow(&block, record, if: testRR(record, 11)) { continue enter }; flow = .branch; break run
                    case .test32rrJl: if unsafe follow(&block, record, if: testRR(record, 12)) { continue enter }; flow = .branch; break run
                    case .test32rrJge: if unsafe follow(&block, record, if: testRR(record, 13)) { continue enter }; flow = .branch; break run
                    case .test32rrJle: if unsafe follow(&block, record, if: testRR(record, 14)) { continue enter }; flow = .branch; break run
                    case .test32rrJg: if unsafe follow(&block, record, if: testRR(record, 15)) { continue enter }; flow = .branch; break run
                    case .test32rr: unsafe setFlags(logic: get(record.pointee.a) & source(record, UInt32.self))
                    case .test32ri: unsafe setFlags(logic: get(record.pointee.a) & immediate(record, UInt32.self))
                    case .test32mr: if unsafe !testMemory(record, source(record, UInt32.self)) { flow = .fault; break run }
                    case .test32mi: if unsafe !testMemory(record, immediate(record, UInt32.self)) { flow = .fault; break run }
                    case .test8rr: unsafe setFlags(logic: get(record.pointee.a) & source(record, UInt8.self))
                    case .test8ri: unsafe setFlags(logic: get(record.pointee.a) & immediate(record, UInt8.self))
                    case .test8mr: if unsafe !testMemory(record, source(record, UInt8.self)) { flow = .fault; break run }
                    case .test8mi: if unsafe !testMemory(record, immediate(record, UInt8.self)) { flow = .fault; break run }
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
                    case .move16rr: unsafe move(record, UInt16.self)
                    case .load16: if unsafe !load(record, UInt16.self, { $0 }) { flow = .fault; break run }
                    case .store16: flow = unsafe store(address(record), source(record, UInt16.self)); if flow != .next { break run }
                    case .zero8r: unsafe set(record.pointee.a, UInt32(source(record, UInt8.self)))
                    case .zero8m: if unsafe !load(record, UInt8.self, { UInt32($0) }) { flow = .fault; break run }
                    case .sign8r: unsafe set(record.pointee.a, source(record, UInt8.self).extended)
                    case .sign8m: if unsafe !load(record, UInt8.self, { $0.extended }) { flow = .fault; break run }
                    case .zero16r: unsafe set(record.pointee.a, UInt32(source(record, UInt16.self)))
                    case .zero16m: if unsafe !load(record, UInt16.self, { UInt32($0) }) { flow = .fault; break run }
                    case .sign16r: unsafe set(record.pointee.a, source(record, UInt16.self).extended)
                    case .sign16m: if unsafe !load(record, UInt16.self, { $0.extended }) { flow = .fault; break run }
                    case .lea: unsafe set(record.pointee.a, effectiveAddress(record))
                    case .lea0: unsafe set(record.pointee.a, get(record.pointee.base) &+ record.pointee.displacement)
                    case .inc32r: unsafe set(record.pointee.a, increment(get(record.pointee.a, as: UInt32.self)))
                    case .dec32r: unsafe set(record.pointee.a, decrement(get(record.pointee.a, as: UInt32.self)))
                    case .inc32m: flow = unsafe modify(record) { (a: UInt32) in increment(a) }; if flow != .next { break run }
                    case .dec32m: flow = unsafe modify(record) { (a: UInt32) in decrement(a) }; if flow != .next { break run }
                    case .not32r: unsafe set(record.pointee.a, ~get(record.pointee.a, as: UInt32.self))
                    case .neg32r: unsafe set(record.pointee.a, negate(get(record.pointee.a, as: UInt32.self)))
                    case .shl32i: unsafe shiftLeft(record, record.pointee.immediate)
                    case .shr32i: unsafe shiftRight(record, record.pointee.immediate)
                    case .sar32i: unsafe shiftRightSigned(record, record.pointee.immediate)
                    case .rol32i: unsafe rotateLeft(record, record.pointee.immediate)
                    case .ror32i: unsafe rotateRight(record, record.pointee.immediate)
                    case .shl32c: unsafe shiftLeft(record, state.ecx & 31)
                    case .shr32c: unsafe shiftRight(record, state.ecx & 31)
                    case .sar32c: unsafe shiftRightSigned(record, state.ecx & 31)
                    case .multiply32r: unsafe multiply(record, get(record.pointee.a), source(record, UInt32.self))
                    case .multiply32m: if unsafe !multiplyMemory(record, get(record.pointee.a)) { flow = .fault; break run }
                    case .multiply32ri: unsafe multiply(record, source(record, UInt32.self), record.pointee.immediate)
                    case .multiply32mi: if unsafe !multiplyMemory(record, record.pointee.immediate) { flow = .fault; break run }
                    case .push32r: flow = unsafe push(source(record, UInt32.self)); if flow != .next { break run }
                    case .push32i: flow = unsafe push(record.pointee.immediate); if flow != .next { break run }
                    case .push32m: flow = unsafe pushMemory(record); if flow != .next { break run }
                    case .pop32r: guard let value = pop() else { flow = .fault; break run }; unsafe set(record.pointee.a, value)
                    case .leave32: if !leaveFrame() { flow = .fault; break run }
                    case .loop: state.ecx &-= 1; if unsafe follow(&block, record, if: state.ecx != 0) { continue enter }; flow = .branch; break run
                    case .jecxz: if unsafe follow(&block, record, if: state.ecx == 0) { continue enter }; flow = .branch; break run
                    case .callNear: if unsafe !pushReturn(record) { flow = .fault; break run }; if unsafe follow(&block, record, if: true) { continue enter }; flow = .branch; break run
                    case .callRegister: let target = unsafe source(record, UInt32.self); if unsafe !pushReturn(record) { flow = .fault; break run }; if unsafe jump(&block, to: target) { continue enter }; flow = .jump; break run
                    case .callMemory: guard let target = unsafe load(address(record), UInt32.self), unsafe pushReturn(record) else { flow = .fault; break run }; if unsafe jump(&block, to: target) { continue enter }; flow = .jump; break run
                    case .returnNear: guard let target = pop() else { flow = .fault; break run }; if unsafe jump(&block, to: target) { continue enter }; flow = .jump; break run
                    case .returnPopping: guard let target = pop() else { flow = .fault; break run }; state.esp &+= unsafe record.pointee.immediate; if unsafe jump(&block, to: target) { continue enter }; flow = .jump; break run
                    case .jump: if unsafe follow(&block, record, if: true) { continue enter }; flow = .branch; break run
                    case .jumpRegister: if unsafe jump(&block, to: source(record, UInt32.self)) { continue enter }; flow = .jump; break run
                    case .jumpMemory: guard let target = unsafe load(address(record), UInt32.self) else { flow = .fault; break run }; if unsafe jump(&block, to: target) { continue enter }; flow = .jump; break run
                    case .loadString8: guard let value = load(state.dsBase &+ state.esi, UInt8.self) else { flow = .fault; break run }; set(0, value); state.esi &+= step(1)
                    case .loadString32: guard let value = load(state.dsBase &+ state.esi, UInt32.self) else { flow = .fault; break run }; state.eax = value; state.esi &+= step(4)
                    case .storeString8: flow = store(state.esBase &+ state.edi, get(0, as: UInt8.self)); if flow == .fault { break run }; state.edi &+= step(1); if flow != .next { break run }
                    case .storeString32: flow = store(state.esBase &+ state.edi, state.eax); if flow == .fault { break run }; state.edi &+= step(4); if flow != .next { break run }
                    case .moveString8: flow = moveOne(UInt8.self); if flow != .next { break run }
                    case .moveString32: flow = moveOne(UInt32.self); if flow != .next { break run }
                    case .scanString8: guard let value = load(state.esBase &+ state.edi, UInt8.self) else { flow = .fault; break run }; _ = compute(.cmp, get(0), value); state.edi &+= step(1)
                    case .set8r: unsafe set(record.pointee.a, UInt8(condition(record.pointee.aux) ? 1 : 0))
                    case .move32rrIf: if unsafe condition(record.pointee.aux) { unsafe move(record, UInt32.self) }
                    case .load32If: if unsafe !loadIf(record) { flow = .fault; break run }
                    case .exchange32rr: unsafe exchange(record)
                    case .swap: unsafe set(record.pointee.a, get(record.pointee.a, as: UInt32.self).byteSwapped)
                    case .doubleWord: state.edx = UInt32(bitPattern: Int32(bitPattern: state.eax) &>> 31)
                    case .next: if unsafe follow(&block, record, if: true) { continue enter }; flow = .branch; break run
                    case .address16: state.temporary = unsafe effectiveAddress(record) & 0xFFFF
                    case .check: if unsafe !check(record) { flow = .fault; break run }
                    case .slowPath: flow = unsafe slowPath(record); if flow != .next { break run }
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
                    state.eip = unsafe state.blockStart &+ record.pointee.end
                    budget &+= unsafe Self.instructions(after: record, in: block)
                case .fault:
                    // The instruction counts, lest a guest that only faults never ends: also one that is behind
                    // the record which found the fault.
                    state.eip = unsafe state.blockStart &+ UInt32(record.pointee.offset)
                    budget &+= unsafe Self.instructions(after: record, in: block)
                    if unsafe record.pointee.code.isPrefix { budget &-= 1 }
                    isStepping = false
                    state.debug.pending = 0
                    if !deliver(state.fault) { return .exit }
                case .exit:
                    budget &+= unsafe Self.instructions(after: record, in: block)
                    if isStepping && isSystem { state.owesStep = state.exit.isOfPort }
                    return .exit
                }
                break enter
            }
        }
    }

    /// The block at `State.eip`; nil with the fault in the state if it cannot be fetched.
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
