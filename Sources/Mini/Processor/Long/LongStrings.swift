// String instructions of long mode: repeated moves and stores by page, the others one element after the other. A repeated
// one counts as many instructions; where it is interrupted, rcx, rsi and rdi say how far it came, and it is executed again.

extension LongCore {
    /// Elements between two looks at the budget.
    private static let most: UInt64 = 4096

    func string(_ i: LongOperation) throws(Fault) -> Flow {
        let path = unsafe LongSlow(rawValue: i.aux).unsafelyUnwrapped
        if path == .inputString || path == .outputString { return try portString(i, path) }
        guard i.shape.repeating != 0 else {
            _ = try element(i, path)
            return .next
        }
        let isComparison = path == .compare || path == .scan
        // Each round is a step.
        let isStepping = state.mode & LongMode.stepping != 0
        let most = isStepping ? 1 : Self.most
        var count = stringCount(i)
        var done: UInt64 = 0
        // Until the end the flags are those of before, also for a fault on the way.
        let flags = (state.result, state.carries)
        defer { state.charge = Int(truncatingIfNeeded: done &>> 2) }
        while count > 0 {
            // Goes on from here when it is executed again.
            if done >= most || state.debug.pending != 0 {
                (state.result, state.carries) = flags
                return again(i)
            }
            if !isComparison, !isStepping, let elements = bulk(i, path, count) {
                advance(i, path, elements)
                count &-= elements
                setStringCount(i, count)
                done &+= elements
                continue
            }
            let isEqual: Bool
            do throws(Fault) {
                isEqual = try element(i, path)
            } catch {
                (state.result, state.carries) = flags
                throw error
            }
            count &-= 1
            setStringCount(i, count)
            done &+= 1
            if isComparison && isEqual != (i.shape.repeating == 2) { break }
        }
        return .next
    }

    private func again(_ i: LongOperation) -> Flow {
        state.rip = state.blockStart &+ i.first
        resume()
        return .jump
    }

    // MARK: Registers

    private func stringCount(_ i: LongOperation) -> UInt64 {
        part(8, i.scale)
    }

    private func setStringCount(_ i: LongOperation, _ count: UInt64) { setPart(8, i.scale, count) }

    private func source(_ i: LongOperation) -> UInt64 { implicit(i, rsi) }
    /// By way of es, whatever the prefix.
    private func destination(_ i: LongOperation) -> UInt64 {
        let place = rdi & Self.mask(i.scale)
        return state.isLong ? place : extra(place)
    }

    private var isDownwards: Bool { state.otherFlags & UInt64(Flag.direction) != 0 }

    private func advance(_ i: LongOperation, _ path: LongSlow, _ elements: UInt64) {
        let bytes = elements &<< UInt64(i.shape.size)
        let step = isDownwards ? 0 &- bytes : bytes
        switch path {
        case .moves, .compare:
            setPart(48, i.scale, rsi &+ step)
            setPart(56, i.scale, rdi &+ step)
        case .load, .outputString: setPart(48, i.scale, rsi &+ step)
        default: setPart(56, i.scale, rdi &+ step)
        }
    }

    // MARK: One element

    /// - Returns: of a comparison, whether it found them equal.
    private func element(_ i: LongOperation, _ path: LongSlow) throws(Fault) -> Bool {
        let size = i.shape.size
        let bytes = Self.bytes(size)
        switch path {
        case .moves: try write(destination(i), try read(source(i), bytes), bytes)
        case .store: try write(destination(i), part(0, size), bytes)
        case .load: setPart(0, size, try read(source(i), bytes))
        case .compare:
            // Processors read the second operand first.
            let b = try read(destination(i), bytes)
            let a = try read(source(i), bytes)
            _ = compute(Arithmetic.cmp.rawValue, a, b, size)
        default:
            let b = try read(destination(i), bytes)
            _ = compute(Arithmetic.cmp.rawValue, part(0, size), b, size)
        }
        advance(i, path, 1)
        return zero
    }

    // MARK: Many at once

    /// Moves or stores upwards within a page of each, through the TLB.
    /// - Returns: how many elements; nil where it has to be one by one.
    private func bulk(_ i: LongOperation, _ path: LongSlow, _ count: UInt64) -> UInt64? {
        guard path != .load && !isDownwards && i.scale >= 2 else { return nil }
        let shift = UInt64(i.shape.size)
        let to = destination(i)
        var room = (Self.pageSize &- to & Self.pageOffset) &>> shift
        let from = source(i)
        if path == .moves { room = min(room, (Self.pageSize &- from & Self.pageOffset) &>> shift) }
        let elements = min(room, min(count, Self.most))
        guard elements > 0 else { return nil }
        let bytes = elements &<< shift
        guard let target = unsafe writable(to, bytes) else { return nil }
        guard path == .moves else {
            unsafe StringRun.fill(
                target, UInt(bytes), UInt(rax), size: i.shape.size)
            return elements
        }
        guard let origin = unsafe readable(from, bytes),
            unsafe StringRun.copy(target, origin, UInt(bytes), element: 1 &<< UInt(i.shape.size))
        else { return nil }
        return elements
    }

    // MARK: Ports

    private func portString(_ i: LongOperation, _ path: LongSlow) throws(Fault) -> Flow {
        // First, also where nothing is to be done, as in SystemInstructions.swift.
        try checkPort(UInt16(truncatingIfNeeded: rdx), i.shape.size)
        let isRepeated = i.shape.repeating != 0
        let count = stringCount(i)
        if isRepeated && count == 0 { return .next }
        let bytes = Self.bytes(i.shape.size)
        let access = PortAccess(
            port: UInt16(truncatingIfNeeded: rdx), size: UInt8(truncatingIfNeeded: bytes))
        if path == .outputString {
            let value = try read(source(i), bytes)
            state.exit = .portOutput(access, value: UInt32(truncatingIfNeeded: value))
        } else {
            try checkWrite(destination(i), bytes)
            state.inputAddress = destination(i)
            state.hasInputAddress = true
            state.exit = .portInput(access)
        }
        advance(i, path, 1)
        if isRepeated { setStringCount(i, count &- 1) }
        state.rip = following(i)
        if isRepeated && count > 1 { _ = again(i) }
        return .exit
    }

    /// The input of a port string goes to memory.
    func answerString(_ value: UInt64, _ size: UInt8) -> Bool {
        guard state.hasInputAddress else { return false }
        state.hasInputAddress = false
        do throws(Fault) { try write(state.inputAddress, value, UInt64(size)) } catch {}
        return true
    }
}
