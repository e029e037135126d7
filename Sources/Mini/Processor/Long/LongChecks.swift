// What the processor of long mode relies on and does not look at, in the checked build: as in Checks.swift.

extension LongCore {
    /// A register's offset: of an operand of so many bits.
    @inline(__always) static func checkOffset(_ offset: UInt8, _ bits: Int) {
        Checks.require(
            Int(offset) + bits / 8 <= Int(LongSlot.blockStart) + 8,
            "a record names a register of the guest's")
    }

    /// Guest-physical bytes that are about to be used.
    @inline(__always) func checkPhysical(_ physical: UInt64, _ count: UInt64) {
        Checks.require(
            count <= UInt64(state.memoryCount)
                && physical <= UInt64(state.memoryCount) - count,
            "a guest-physical address is in guest memory")
    }

    /// Our own address of guest memory.
    @inline(__always) func checkHost(_ address: UInt, _ count: UInt) {
        #if MINI_CHECKED
        let offset = address &- UInt(bitPattern: unsafe state.memory)
        Checks.require(
            offset <= UInt(state.memoryCount) - count, "a translated address is in guest memory")
        #endif
    }

    /// A block that is about to run.
    @inline(__always) func checkBlock(_ block: UnsafeMutablePointer<LongBlock>) {
        #if MINI_CHECKED
        let offset = UInt(bitPattern: block) &- UInt(bitPattern: unsafe state.arena)
        let head = MemoryLayout<LongBlock>.stride
        Checks.require(
            offset & 7 == 0 && offset <= UInt(state.arenaCount) - UInt(head)
                && (offset == 0 || offset >= UInt(Self.arenaStart)),
            "a block's pointer is into the arena")
        let count = unsafe Int(block.pointee.operationCount)
        Checks.require(
            unsafe block.pointee.count >= 1
                && Int(block.pointee.count) <= Self.maximumInstructions
                && count >= 1 && count <= Self.maximumInstructions * 2 + 1,
            "a block has some instructions and not too many")
        let end = offset + UInt(head + count * MemoryLayout<LongOperation>.stride)
        Checks.require(
            end <= UInt(offset == 0 ? Self.arenaStart : state.arenaUsed),
            "a block ends in the used arena")
        Checks.require(
            unsafe block.pointee.isTemporary == (offset == 0),
            "a temporary block has its own place")
        Checks.require(
            unsafe block.pointee.mode == state.mode, "a block was decoded for the present mode")
        checkPhysical(UInt64(unsafe block.pointee.physical), 1)
        #endif
    }

    /// A record that is about to be executed.
    @inline(__always) func checkRecord(
        _ record: LongRecord, in block: UnsafeMutablePointer<LongBlock>
    ) {
        #if MINI_CHECKED
        let distance =
            unsafe UInt(bitPattern: record) &- UInt(bitPattern: Self.operations(of: block))
        let size = UInt(MemoryLayout<LongOperation>.stride)
        Checks.require(
            unsafe distance % size == 0 && distance / size < UInt(block.pointee.operationCount),
            "a record is one of its block's")
        let bytes = unsafe UnsafeRawPointer(record)
        Checks.require(
            unsafe bytes.load(as: UInt8.self) <= LongCode.slowPath.rawValue,
            "a record's code exists")
        let operation = unsafe record.pointee
        Checks.require(
            operation.code != .slowPath || operation.aux <= LongSlow.asciiDivide.rawValue,
            "a record's slow path exists")
        // Vector instructions have numbers of registers for a and b: below these.
        Checks.require(
            max(operation.a, operation.b, operation.base, operation.index) <= LongSlot.blockStart
                || operation.code == .slowPath,
            "a record names registers of the guest's")
        #endif
    }
}
