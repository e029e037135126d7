// String instructions. A repeated one does a bounded number of elements and then lets the
// loop come back to it, so that a slice ends in time; a fault leaves the registers at the
// element that faulted, as hardware does. Moves and stores within pages that the translation
// table knows go a page at a time. Source: Intel SDM volume 2, MOVS, CMPS, STOS, LODS, SCAS,
// REP.

/// One string instruction under way.
private struct StringOperation {
    let instruction: Instruction
    /// Which bits of ecx, esi, edi are used.
    let mask: UInt32
    /// What an element adds to an index register.
    let step: UInt32
    let sourceSegment: Int

    /// Of an element.
    var bytes: UInt32 { instruction.bytes }
    var isRepeated: Bool { instruction.operation.shape.repeating != 0 }
    /// Whether a comparison that came out so ends the repetition.
    func ends(isEqual: Bool) -> Bool {
        isEqual != (instruction.operation.shape.repeating == 2)
    }
}

extension Core {
    /// Elements done before the loop is let in between.
    private static let longestRun: UInt32 = 1024

    /// Any of the five.
    func string(_ i: Instruction) throws(Fault) -> Flow {
        let s = StringOperation(
            instruction: i, mask: i.operation.shape.isAddress16 ? 0xFFFF : 0xFFFF_FFFF,
            step: state.otherFlags & Flag.direction == 0 ? i.bytes : 0 &- i.bytes,
            sourceSegment: i.operation.segmentNumber)
        guard s.isRepeated else {
            _ = try element(s)
            return .next
        }
        // Until the end the flags are those of before, also for a fault on the way.
        let flags = (state.result, state.carries)
        var left = state.mode & BlockMode.stepping != 0 ? 1 : Self.longestRun
        while true {
            let count = state.ecx & s.mask
            if count == 0 { return .next }
            if left == 0 || state.codeChanged { break }
            var done: UInt32 = 1
            var isLast = false
            if let many = run(s, min(count, left)) {
                done = many
            } else {
                do throws(Fault) {
                    isLast = try element(s)
                } catch {
                    (state.result, state.carries) = flags
                    throw error
                }
            }
            state.ecx = state.ecx & ~s.mask | (count &- done) & s.mask
            if isLast { return .next }
            left &-= done
        }
        (state.result, state.carries) = flags
        state.charge = Int(Self.longestRun / 4)
        state.eip = i.start
        resume()
        return .jump
    }

    // MARK: One element

    /// - Returns: of a comparison, whether it ends a repetition.
    private func element(_ s: StringOperation) throws(Fault) -> Bool {
        let i = s.instruction
        var isLast = false
        switch i.slowPath {
        case .moves:
            let value = try source(s)
            try write(try destination(s, write: true), value, i.size)
            advance(s, source: 1, destination: 1)
        case .store:
            try write(try destination(s, write: true), state.eax, i.size)
            advance(s, source: 0, destination: 1)
        case .load:
            setPart(0, i.size, try source(s))
            advance(s, source: 1, destination: 0)
        case .compare:
            // Processors read the second operand first.
            let b = try read(try destination(s, write: false), i.size)
            let a = try source(s)
            isLast = s.ends(isEqual: compute(.cmp, a, b, i.size) == 0)
            advance(s, source: 1, destination: 1)
        default:
            let a = part(0, i.size)
            let b = try read(try destination(s, write: false), i.size)
            isLast = s.ends(isEqual: compute(.cmp, a, b, i.size) == 0)
            advance(s, source: 0, destination: 1)
        }
        return isLast
    }

    private func source(_ s: StringOperation) throws(Fault) -> UInt32 {
        try read(
            try linear(s.sourceSegment, state.esi & s.mask, s.bytes, write: false),
            s.instruction.size)
    }

    private func destination(_ s: StringOperation, write: Bool) throws(Fault) -> UInt32 {
        try linear(SegmentRegister.extra, state.edi & s.mask, s.bytes, write: write)
    }

    /// Moves the index registers on by so many elements.
    private func advance(_ s: StringOperation, source: UInt32, destination: UInt32) {
        state.esi = state.esi & ~s.mask | (state.esi &+ s.step &* source) & s.mask
        state.edi = state.edi & ~s.mask | (state.edi &+ s.step &* destination) & s.mask
    }

    // MARK: A page at a time

    /// Moves or stores what lies within one page of each, at most so many elements: upwards, with whole
    /// registers, in open segments.
    /// - Returns: how many elements; nil if it has to be one by one.
    private func run(_ s: StringOperation, _ most: UInt32) -> UInt32? {
        let path = s.instruction.slowPath
        let isMove = path == .moves
        guard
            most > 1 && (isMove || path == .store) && s.mask == 0xFFFF_FFFF
                && state.otherFlags & Flag.direction == 0
        else { return nil }
        let segments: UInt32 = isMove ? 1 | 1 &<< UInt32(s.sourceSegment) : 1
        guard state.openSegments & segments == segments else { return nil }
        let from = base(s.sourceSegment) &+ state.esi
        let to = state.esBase &+ state.edi
        let room = isMove ? min(Page.rest(from), Page.rest(to)) : Page.rest(to)
        let count = min(most, room &>> UInt32(s.instruction.size))
        let total = count &<< UInt32(s.instruction.size)
        guard count > 0, let target = unsafe writable(to, total) else { return nil }
        guard isMove else {
            unsafe StringRun.fill(
                target, UInt(total), UInt(state.eax), size: s.instruction.size)
            advance(s, source: 0, destination: count)
            return count
        }
        guard let source = unsafe readable(from, total),
            unsafe StringRun.copy(target, source, UInt(total), element: UInt(s.bytes))
        else { return nil }
        advance(s, source: count, destination: count)
        return count
    }
}
