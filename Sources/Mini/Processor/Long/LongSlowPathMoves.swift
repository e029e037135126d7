// Moves, the stack and branches of the slow path.

extension LongCore {
    // MARK: Moves and the stack

    func moveOperand(_ i: LongOperation) throws(Fault) {
        let size = i.shape.size
        if i.shape.isImmediate {
            let value = UInt64(bitPattern: Int64(i.immediate))
            if i.shape.isMemory { return try write(linear(i), value, Self.bytes(size)) }
            return setPart(i.a, size, value)
        }
        setPart(i.a, size, try operand(i))
    }

    func push(_ value: UInt64, _ size: UInt8) throws(Fault) {
        let place = rsp &- Self.bytes(size)
        try write(stackPlace(place), value, Self.bytes(size))
        moveStack(to: place)
    }

    func pop(_ size: UInt8) throws(Fault) -> UInt64 {
        let value = try read(stackPlace(rsp), Self.bytes(size))
        moveStack(to: rsp &+ Self.bytes(size))
        return value
    }

    func popOperand(_ i: LongOperation) throws(Fault) {
        let size = i.shape.size
        let before = rsp
        let value = try pop(size)
        do throws(Fault) {
            try setOperand(i, value)
        } catch {
            rsp = before
            throw error
        }
    }

    func popFlags(_ i: LongOperation) throws(Fault) -> Flow {
        let size = i.shape.size
        let value = try pop(size)
        let old = flags
        let merged = size == 1 ? old & ~0xFFFF | value & 0xFFFF : value
        flags = flagsWithin(state.privilege, merged) & ~UInt64(Flag.resume | Flag.virtual8086)
        return .stop
    }

    func enterFrame(_ i: LongOperation) throws(Fault) {
        let size = i.shape.size
        let bytes = Self.bytes(size)
        var place = rsp &- bytes
        try write(stackPlace(place), part(40, size), bytes)
        let frame = place & state.stackMask | rsp & ~state.stackMask
        let level = UInt64(i.which)
        if level > 0 {
            for index in 1..<max(level, 1) {
                let value = try read(stackPlace(rbp &- index &* bytes), bytes)
                place &-= bytes
                try write(stackPlace(place), value, bytes)
            }
            place &-= bytes
            try write(stackPlace(place), frame, bytes)
        }
        let bottom = place &- UInt64(truncatingIfNeeded: i.immediate)
        try checkWrite(stackPlace(bottom), state.isLong ? 1 : bytes)
        setPart(40, size, frame)
        moveStack(to: bottom)
    }

    // MARK: Branches

    func loop(_ i: LongOperation) throws(Fault) -> Flow {
        let size = i.scale
        var count = part(8, size)
        let isTaken: Bool
        if i.which == 3 {
            isTaken = count == 0
        } else {
            count = (count &- 1) & Self.mask(size)
            isTaken = count != 0 && (i.which == 2 || zero == (i.which == 1))
        }
        var target = following(i)
        if isTaken {
            target &+= UInt64(bitPattern: Int64(i.displacement))
            target &= Self.mask(i.shape.size)
            try checkTarget(target)
        }
        if i.which != 3 { setPart(8, size, count) }
        state.rip = target
        state.isTaken = isTaken
        return .branch
    }

    /// Interrupts come after the next instruction.
    func holdInterrupts() {
        state.attention |= Attention.shadow
        state.suppressesStep = true
    }
}
