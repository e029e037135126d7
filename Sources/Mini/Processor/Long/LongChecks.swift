// What the processor of long mode relies on and does not look at, in the checked build: as in Checks.swift.

extension LongCore {
    @inline(__always) static func checkOffset(_ offset: UInt8, _ bits: Int) {
        Checks.register(offset, bits, end: Int(LongSlot.blockStart) + 8)
    }

    @inline(__always) func checkPhysical(_ physical: UInt64, _ count: UInt64) {
        Checks.physical(physical, count, of: state.extent)
    }

    @inline(__always) func checkHost(_ address: UInt, _ count: UInt) {
        unsafe Checks.host(address, count, state.memory, state.extent)
    }

    /// A block that is about to run.
    @inline(__always) func checkBlock(_ block: UnsafeMutablePointer<Block>) {
        #if MINI_CHECKED
        unsafe state.blocks.check(block, mode: state.mode)
        checkPhysical(UInt64(unsafe block.pointee.physical), 1)
        #endif
    }

    /// A record that is about to be executed.
    @inline(__always) func checkRecord(
        _ record: LongRecord, in block: UnsafeMutablePointer<Block>
    ) {
        #if MINI_CHECKED
        unsafe state.blocks.check(record: record, in: block)
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
