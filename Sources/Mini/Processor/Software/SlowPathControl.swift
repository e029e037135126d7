// Near branches at 16 bits, on unusual stacks or in code with a limit, loops, far branches, INT n.
// Source: Intel SDM volume 2.

extension Core {
    /// A near target must lie in the code segment.
    private func checkTarget(_ eip: UInt32) throws(Fault) {
        guard unsafe eip <= state.segments[SegmentRegister.code].limit else {
            throw .protection(0)
        }
    }

    func jumpNear(_ eip: UInt32) throws(Fault) -> Flow {
        try checkTarget(eip)
        return go(eip)
    }

    func callNear(_ i: Instruction, _ target: UInt32) throws(Fault) -> Flow {
        try checkTarget(target)
        try push(i.next, size: i.size)
        return go(target)
    }

    func returnNear(_ i: Instruction) throws(Fault) -> Flow {
        let target = try peek(0, size: i.size)
        try checkTarget(target)
        discard(i.bytes &+ i.operation.immediate)
        return go(target)
    }

    func loop(_ i: Instruction) throws(Fault) -> Flow {
        let mask: UInt32 = i.operation.shape.isAddress16 ? 0xFFFF : 0xFFFF_FFFF
        let kind = i.slowPath
        var count = state.ecx & mask
        let isTaken: Bool
        if kind == .jumpIfCountZero {
            isTaken = count == 0
        } else {
            count = (count &- 1) & mask
            isTaken =
                count != 0 && (kind == .loop || zero == (kind == .loopIfZero))
        }
        let target = isTaken ? i.relativeTarget : i.next
        if isTaken { try checkTarget(target) }
        state.ecx = state.ecx & ~mask | count
        return go(target)
    }

    func farImmediate(_ i: Instruction) throws(Fault) -> Flow {
        try farTransfer(
            UInt16(truncatingIfNeeded: i.operation.displacement), i.operation.immediate,
            isCall: i.operation.aux == SlowPath.callFar.rawValue, size: i.size, returnTo: i.next)
        return .jump
    }

    func farMemory(_ i: Instruction) throws(Fault) -> Flow {
        let linear = try linear(i, i.bytes &+ 2, write: false)
        let offset = try read(linear, i.size)
        let selector = try read(linear &+ i.bytes, as: UInt16.self)
        try farTransfer(
            selector, offset, isCall: i.operation.aux == SlowPath.callFarMemory.rawValue,
            size: i.size, returnTo: i.next)
        return .jump
    }

    /// INT n; the decoder marks F1, which asks for no privilege, with bit 8.
    func interrupt(_ i: Instruction) throws(Fault) -> Flow {
        let vector = UInt8(truncatingIfNeeded: i.operation.immediate)
        state.eip = i.start
        if i.operation.immediate & 0x100 != 0 {
            guard isSystem else { return software(vector, returnTo: i.next) }
            state.suppressesStep = true
            let fault = Fault.exception(vector: vector, code: 0)
            return raise(fault, returnTo: i.next, .external) ? .jump : .exit
        }
        return try interrupt(vector, returnTo: i.next)
    }
}
