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

    var isRepeated: Bool { instruction.operation.shape.repeating != 0 }
    /// Whether a comparison that came out so ends the repetition.
    func ends(isEqual: Bool) -> Bool {
        isRepeated && isEqual != (instruction.operation.shape.repeating == 2)
    }
}

extension Core {
    /// Elements done before the loop is let in between.
    private static let longestRun: UInt32 = 1024

    private func string<Width: Operand>(_ i: Instruction, _: Width.Type) -> StringOperation {
        let bytes = UInt32(Width.bitWidth / 8)
        return StringOperation(
            instruction: i, mask: i.operation.shape.isAddress16 ? 0xFFFF : 0xFFFF_FFFF,
            step: state.otherFlags & Flag.direction == 0 ? bytes : 0 &- bytes,
            sourceSegment: i.operation.segmentNumber)
    }

    /// Repeats `body`, which does up to the given number of elements, returns how many it
    /// did, and 0 for one after which the repetition ends.
    private func repeated(
        _ s: StringOperation, _ body: (UInt32) throws(Fault) -> UInt32
    ) throws(Fault) -> Flow {
        guard s.isRepeated else {
            _ = try body(1)
            return .next
        }
        // Until the end the flags are those of before, also for a fault on the way.
        let flags = (state.result, state.carries)
        var left = state.mode & BlockMode.stepping != 0 ? 1 : Self.longestRun
        while true {
            let count = state.ecx & s.mask
            if count == 0 { return .next }
            if left == 0 || state.codeChanged { break }
            let done: UInt32
            do throws(Fault) {
                done = try body(min(count, left))
            } catch {
                (state.result, state.carries) = flags
                throw error
            }
            state.ecx = state.ecx & ~s.mask | (count &- max(done, 1)) & s.mask
            if done == 0 { return .next }
            left &-= done
        }
        (state.result, state.carries) = flags
        state.charge = Int(Self.longestRun / 4)
        return go(s.instruction.start)
    }

    private func source<Width: Operand>(_ s: StringOperation, _: Width.Type) throws(Fault)
        -> Width
    {
        try read(
            try linear(
                s.sourceSegment, state.esi & s.mask, UInt32(Width.bitWidth / 8), write: false))
    }

    private func destination<Width: Operand>(
        _ s: StringOperation, _: Width.Type, write: Bool
    ) throws(Fault) -> UInt32 {
        try linear(
            SegmentRegister.extra, state.edi & s.mask, UInt32(Width.bitWidth / 8), write: write)
    }

    private func advanceSource(_ s: StringOperation, _ count: UInt32 = 1) {
        state.esi = state.esi & ~s.mask | (state.esi &+ s.step &* count) & s.mask
    }

    private func advanceDestination(_ s: StringOperation, _ count: UInt32 = 1) {
        state.edi = state.edi & ~s.mask | (state.edi &+ s.step &* count) & s.mask
    }

    // MARK: The five

    func moveString<Width: Operand>(_ i: Instruction, _ width: Width.Type) throws(Fault) -> Flow {
        let s = string(i, width)
        return try repeated(s) { (most: UInt32) throws(Fault) in
            if most > 1, let count = copyRun(s, most, width) { return count }
            let value = try source(s, width)
            try write(try destination(s, width, write: true), value)
            advanceSource(s)
            advanceDestination(s)
            return 1
        }
    }

    func storeString<Width: Operand>(_ i: Instruction, _ width: Width.Type) throws(Fault) -> Flow {
        let s = string(i, width)
        return try repeated(s) { (most: UInt32) throws(Fault) in
            if most > 1, let count = fillRun(s, most, width) { return count }
            try write(try destination(s, width, write: true), get(0, as: Width.self))
            advanceDestination(s)
            return 1
        }
    }

    func loadString<Width: Operand>(_ i: Instruction, _ width: Width.Type) throws(Fault) -> Flow {
        let s = string(i, width)
        return try repeated(s) { (_: UInt32) throws(Fault) in
            set(0, try source(s, width))
            advanceSource(s)
            return 1
        }
    }

    func compareString<Width: Operand>(_ i: Instruction, _ width: Width.Type) throws(Fault)
        -> Flow
    {
        let s = string(i, width)
        return try repeated(s) { (_: UInt32) throws(Fault) in
            // Processors read the second operand first.
            let b: Width = try read(try destination(s, width, write: false))
            let a = try source(s, width)
            _ = compute(.cmp, a, b)
            advanceSource(s)
            advanceDestination(s)
            return s.ends(isEqual: a == b) ? 0 : 1
        }
    }

    func scanString<Width: Operand>(_ i: Instruction, _ width: Width.Type) throws(Fault) -> Flow {
        let s = string(i, width)
        let a: Width = get(0)
        return try repeated(s) { (_: UInt32) throws(Fault) in
            let b: Width = try read(try destination(s, width, write: false))
            _ = compute(.cmp, a, b)
            advanceDestination(s)
            return s.ends(isEqual: a == b) ? 0 : 1
        }
    }

    // MARK: A page at a time

    /// Whether elements may be handled many at once: upwards, whole registers, open segments.
    private func isPlain(_ s: StringOperation, _ segments: UInt32) -> Bool {
        s.mask == 0xFFFF_FFFF && state.otherFlags & Flag.direction == 0
            && state.openSegments & segments == segments
    }

    /// How many whole elements lie between an address and the end of its page.
    private func elements(_ linear: UInt32, _ bytes: UInt32) -> UInt32 {
        (Page.rest(linear)) / bytes
    }

    /// Copies what lies within one page on either side; nil if the slow way must be gone.
    private func copyRun<Width: Operand>(_ s: StringOperation, _ most: UInt32, _: Width.Type)
        -> UInt32?
    {
        let bytes = UInt32(Width.bitWidth / 8)
        guard isPlain(s, 1 | 1 &<< UInt32(s.sourceSegment)) else { return nil }
        let from = base(s.sourceSegment) &+ state.esi
        let to = state.esBase &+ state.edi
        let count = min(most, elements(from, bytes), elements(to, bytes))
        guard count > 0, let source = unsafe readable(from, UInt8.self),
            let target = unsafe writable(to, UInt8.self)
        else { return nil }
        let total = Int(count * bytes)
        checkHost(UInt(bitPattern: source), UInt(total))
        checkHost(UInt(bitPattern: target), UInt(total))
        let distance = UInt(bitPattern: target) &- UInt(bitPattern: source)
        if distance >= UInt(total) || distance == 0 {
            unsafe target.copyMemory(from: source, byteCount: total)
        } else {
            // The target overlaps what is still to be read: the elements' order shows.
            for index in 0..<Int(count) {
                let offset = index &* Int(bytes)
                unsafe target.storeBytes(
                    of: source.loadUnaligned(fromByteOffset: offset, as: Width.self),
                    toByteOffset: offset, as: Width.self)
            }
        }
        advanceSource(s, count)
        advanceDestination(s, count)
        return count
    }

    private func fillRun<Width: Operand>(_ s: StringOperation, _ most: UInt32, _: Width.Type)
        -> UInt32?
    {
        let bytes = UInt32(Width.bitWidth / 8)
        guard isPlain(s, 1) else { return nil }
        let to = state.esBase &+ state.edi
        let count = min(most, elements(to, bytes))
        guard count > 0, let target = unsafe writable(to, UInt8.self) else { return nil }
        let value: Width = get(0)
        checkHost(UInt(bitPattern: target), UInt(count * bytes))
        for index in 0..<Int(count) {
            unsafe target.storeBytes(
                of: value, toByteOffset: index &* Int(bytes), as: Width.self)
        }
        advanceDestination(s, count)
        return count
    }
}
