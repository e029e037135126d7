// x87 instructions of long mode: the unit is the one of Software/FloatingPoint.swift.

extension LongCore {
    func floatingPoint(_ i: LongOperation) throws(Fault) {
        if state.control0 & UInt64(Control0.taskSwitched | Control0.emulation) != 0 {
            throw .noDevice
        }
        let opcode = i.which
        // FISTTP came with SSE3.
        if i.shape.isMemory && MemoryForm.isTruncating(opcode: opcode, modrm: i.b) {
            try needLevel2()
        }
        let place = linear(i)
        let site = FloatingPointUnit.Site(
            instruction: UInt32(truncatingIfNeeded: state.blockStart &+ i.first),
            codeSelector: 0, operand: UInt32(truncatingIfNeeded: place), dataSelector: 0)
        let isShort = i.shape.size == 1
        var flags = arithmeticFlags
        var ax = get(0, as: UInt16.self)
        guard i.shape.isMemory else {
            let outcome = unsafe state.floatingPoint.execute(
                opcode: opcode, modrm: i.b, scratch: state.scratch, flags: &flags, ax: &ax,
                site: site, short: isShort)
            try settle(outcome)
            if flags != arithmeticFlags { arithmeticFlags = flags }
            set(0, ax)
            return
        }
        try settle(state.floatingPoint.check(opcode: opcode, modrm: i.b))
        let size = FloatingPointUnit.operandSize(opcode: opcode, modrm: i.b, short: isShort)
        if size.read > 0 { try unsafe copy(place, state.scratch, size.read, write: false) }
        if size.written > 0 {
            let faultAddress = state.faultAddress
            do throws(Fault) { try check(place, UInt64(size.written), write: true) } catch {
                if unsafe state.floatingPoint.withholds(
                    opcode: opcode, modrm: i.b, scratch: state.scratch, site: site)
                {
                    // The store's fault never was.
                    state.faultAddress = faultAddress
                    state.isOutside = false
                    return
                }
                throw error
            }
        }
        let outcome = unsafe state.floatingPoint.execute(
            opcode: opcode, modrm: i.b, scratch: state.scratch, flags: &flags, ax: &ax,
            site: site, short: isShort)
        try settle(outcome)
        if size.written > 0 && outcome == .done {
            try unsafe copy(place, state.scratch, size.written, write: true)
        }
    }

    private func settle(_ outcome: FloatingPointUnit.Outcome) throws(Fault) {
        switch outcome {
        case .done, .withheld: break
        case .undefined: throw .undefined
        case .pending: throw .floatingPoint
        }
    }
}
