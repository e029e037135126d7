// What the processor relies on and does not look at: that records name registers and nothing else,
// that blocks are whole and lie in the arena, that an address which it made is guest memory. The
// checked build (-D MINI_CHECKED) looks at all of it, each time, and ends the process with a line
// where something does not hold; the fuzzers run in it. In other builds nothing of this is there.

enum Checks {
    /// - Parameter what: what holds, to be printed if it does not.
    @inline(__always) static func require(
        _ condition: @autoclosure () -> Bool, _ what: StaticString
    ) {
        #if MINI_CHECKED
        if !condition() { fail(what) }
        #endif
    }

    /// Guest-physical bytes that are about to be used.
    @inline(__always) static func physical(
        _ address: UInt64, _ count: UInt64, of memory: MemoryExtent
    ) {
        require(
            memory.contains(address, count),
            "a guest-physical address is in guest memory")
    }

    /// Our own address of guest memory.
    @inline(__always) static func host(
        _ address: UInt, _ count: UInt, _ memory: UnsafeMutableRawPointer, _ extent: MemoryExtent
    ) {
        #if MINI_CHECKED
        let offset = address &- UInt(bitPattern: memory)
        require(
            extent.contains(UInt64(offset), UInt64(count)),
            "a translated address is in guest memory")
        #endif
    }

    /// A record's byte offset of an operand of so many bits.
    @inline(__always) static func register(_ offset: UInt8, _ bits: Int, end: Int) {
        require(Int(offset) + bits / 8 <= end, "a record names a register of the guest's")
    }

    #if MINI_CHECKED
    @inline(never) private static func fail(_ what: StaticString) -> Never {
        try? Transfer.write(2, "mini: checked build: not true: \(what)\n")
        fatalError()
    }
    #endif
}

extension Core {
    @inline(__always) static func checkOffset(_ offset: UInt8, _ bits: Int) {
        Checks.register(offset, bits, end: Int(Slot.end))
    }

    @inline(__always) func checkPhysical(_ physical: UInt32, _ count: UInt32) {
        Checks.physical(
            UInt64(physical), UInt64(count), of: MemoryExtent(low: state.memoryCount))
    }

    @inline(__always) func checkHost(_ address: UInt, _ count: UInt) {
        unsafe Checks.host(address, count, state.memory, MemoryExtent(low: state.memoryCount))
    }

    /// A block that is about to run.
    @inline(__always) func checkBlock(_ block: UnsafeMutablePointer<Block>) {
        #if MINI_CHECKED
        unsafe state.blocks.check(block, mode: state.mode)
        checkPhysical(UInt32(truncatingIfNeeded: unsafe block.pointee.physical), 1)
        #endif
    }

    /// A record that is about to be executed.
    @inline(__always) func checkRecord(
        _ record: UnsafePointer<Operation>, in block: UnsafeMutablePointer<Block>
    ) {
        #if MINI_CHECKED
        unsafe state.blocks.check(record: record, in: block)
        let code = unsafe UnsafeRawPointer(record).load(as: UInt8.self)
        Checks.require(code <= Code.slowPath.rawValue, "a record's code exists")
        let operation = unsafe record.pointee
        Checks.require(
            operation.code != .slowPath || operation.aux <= SlowPath.portOutputString.rawValue,
            "a record's slowPath code exists")
        Checks.require(
            max(operation.a, operation.b, operation.base, operation.index) < Slot.end
                && operation.scale < 4,
            "a record names registers of the guest's")
        Checks.require(
            operation.segment & 3 == 0 && operation.segment >= Slot.segmentBases
                && operation.segment < Slot.end, "a record's segment exists")
        #endif
    }
}
