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

    #if MINI_CHECKED
    @inline(never) private static func fail(_ what: StaticString) -> Never {
        try? Transfer.write(2, "mini: checked build: not true: \(what)\n")
        fatalError()
    }
    #endif
}

extension Core {
    /// A register's offset: of an operand of so many bits.
    @inline(__always) static func checkOffset(_ offset: UInt8, _ bits: Int) {
        Checks.require(
            Int(offset) + bits / 8 <= Int(Slot.end), "a record names a register of the guest's")
    }

    /// Guest-physical bytes that are about to be used.
    @inline(__always) func checkPhysical(_ physical: UInt32, _ count: UInt32) {
        Checks.require(
            count <= state.memoryCount && physical <= state.memoryCount - count,
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

    /// Where a block's head is or will be.
    @inline(__always) func checkPlace(_ offset: UInt32) {
        #if MINI_CHECKED
        let most = state.arenaCount - UInt32(MemoryLayout<Block>.stride)
        Checks.require(
            offset & 7 == 0 && (offset == 0 || offset >= Self.arenaStart)
                && offset <= state.arenaUsed && offset <= most,
            "a block lies in the used arena")
        #endif
    }

    /// A block that is about to run.
    @inline(__always) func checkBlock(_ block: UnsafeMutablePointer<Block>) {
        #if MINI_CHECKED
        let address = UInt(bitPattern: block) &- UInt(bitPattern: unsafe state.arena)
        Checks.require(address < UInt(state.arenaCount), "a block's pointer is into the arena")
        let offset = UInt32(address)
        checkPlace(offset)
        let head = unsafe block.pointee
        Checks.require(
            head.count >= 1 && head.count <= UInt32(Self.maximumInstructions)
                && head.operationCount >= 1
                && head.operationCount <= UInt32(Self.maximumInstructions * 3 + 1),
            "a block has some instructions and not too many")
        let end = offset + (unsafe room(of: block))
        Checks.require(
            offset == 0 ? end <= Self.arenaStart : end <= state.arenaUsed,
            "a block ends in the used arena")
        Checks.require(head.isTemporary == (offset == 0), "a temporary block has its own place")
        Checks.require(head.mode == state.mode, "a block was decoded for the present mode")
        checkPhysical(head.physical, 1)
        Checks.require(unsafe seal(of: block) == head.seal, "a block's records are as decoded")
        #endif
    }

    /// A record that is about to be executed.
    @inline(__always) func checkRecord(
        _ record: UnsafePointer<Operation>, in block: UnsafeMutablePointer<Block>
    ) {
        #if MINI_CHECKED
        let first = unsafe UInt(bitPattern: Self.operations(of: block))
        let distance = UInt(bitPattern: record) &- first
        let size = UInt(MemoryLayout<Operation>.stride)
        Checks.require(
            unsafe distance % size == 0 && distance / size < UInt(block.pointee.operationCount),
            "a record is one of its block's")
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

    #if MINI_CHECKED
    /// A sum of all that must not change in a block, once decoded.
    func seal(of block: UnsafeMutablePointer<Block>) -> UInt32 {
        let head = unsafe block.pointee
        var sum = head.physical ^ head.mode &* 31 ^ head.count &* 17 ^ head.bytes &* 13
        let words = unsafe UnsafeRawPointer(Self.operations(of: block))
        let count = min(Int(head.operationCount), Self.maximumInstructions * 3 + 1)
        for index in 0..<count * MemoryLayout<Operation>.stride / 4 {
            let word = unsafe words.load(fromByteOffset: index * 4, as: UInt32.self)
            sum = (sum ^ word) &* 0x0100_0193
        }
        return sum
    }
    #endif
}
