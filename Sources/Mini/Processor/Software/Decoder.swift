// From instruction bytes to operation records: prefixes, modrm and sib, and the way records
// are laid down. The opcode tables are in DecoderOneByte.swift and DecoderTwoByte.swift.
//
// An instruction becomes one record, with up to two in front of it: a 16-bit address is
// computed into a temporary register, and an access through a segment that is not open is
// checked. Operations of the slow path check for themselves. Source: Intel SDM volume 2, chapters 2 and 3.

/// Decodes the instructions of one block.
@safe struct Decoder {
    /// The bytes that may be looked at, and how many they are.
    private let bytes: UnsafePointer<UInt8>
    private let available: Int
    private let operations: UnsafeMutablePointer<Operation>
    let mode: UInt32
    /// The guest has ring 0: instructions that ask for it are looked at when they are executed.
    let isSystem: Bool
    /// It has MMX, SSE and SSE2 as well.
    let hasVectors: Bool

    /// Records laid down.
    private(set) var recordCount = 0
    /// Instructions decoded.
    private(set) var instructionCount = 0
    /// Offset of the next byte, and of the present instruction.
    private(set) var position = 0
    private var start = 0
    private var firstRecord = 0
    /// The instruction goes on beyond the bytes that are available.
    private var isCutOff = false

    // Prefixes of the present instruction.
    var isOperand32 = true
    var isAddress32 = true
    private var override: Int?
    var repeating: UInt8 = 0
    private var isLocked = false
    /// Set by instructions that may be locked.
    private var mayLock = false
    /// The block ends after the present instruction.
    private var isLast = false

    /// The modrm byte taken apart, and its memory operand as fields of a record.
    var modrm: UInt8 = 0
    private var memory = Operation()
    private var memoryIsAddress16 = false

    init(
        bytes: UnsafePointer<UInt8>, available: Int, mode: UInt32, isSystem: Bool = false,
        hasVectors: Bool = false, operations: UnsafeMutablePointer<Operation>
    ) {
        unsafe self.bytes = unsafe bytes
        self.available = available
        self.mode = mode
        self.isSystem = isSystem
        self.hasVectors = hasVectors
        unsafe self.operations = unsafe operations
    }

    // MARK: The block

    /// Decodes up to `limit` instructions.
    /// - Returns: false if not even the first lies wholly in the available bytes.
    mutating func block(limit: Int) -> Bool {
        while instructionCount < limit && !isLast {
            guard instruction() else { break }
        }
        guard instructionCount > 0 else { return false }
        if !isLast { lay(Operation(code: .next, displacement: UInt32(position))) }
        return true
    }

    /// Decodes one instruction; false if it is cut off.
    private mutating func instruction() -> Bool {
        start = position
        firstRecord = recordCount
        (isCutOff, isLocked, mayLock, override, repeating) = (false, false, false, nil, 0)
        isOperand32 = mode & BlockMode.code32 != 0
        isAddress32 = isOperand32
        oneByte(opcodeAfterPrefixes())
        if position - start > 15 {
            replace(raising: 13)
            position = start + 15
        } else if isCutOff {
            recordCount = firstRecord
            position = start
            isLast = false
            return false
        } else if isLocked && !mayLock {
            replace(raising: 6)
        }
        instructionCount += 1
        return true
    }

    private mutating func opcodeAfterPrefixes() -> UInt8 {
        let is32 = mode & BlockMode.code32 != 0
        while true {
            let byte = next8()
            switch byte {
            case 0x26: override = 0
            case 0x2E: override = 1
            case 0x36: override = 2
            case 0x3E: override = 3
            case 0x64: override = 4
            case 0x65: override = 5
            case 0x66: isOperand32 = !is32
            case 0x67: isAddress32 = !is32
            case 0xF0: isLocked = true
            case 0xF2: repeating = 1
            case 0xF3: repeating = 2
            default: return byte
            }
            if isCutOff || position - start > 15 { return 0x90 }
        }
    }

    private mutating func replace(raising vector: UInt32) {
        recordCount = firstRecord
        raise(vector)
    }

    // MARK: Bytes

    mutating func next8() -> UInt8 {
        guard position < available else {
            isCutOff = true
            return 0
        }
        defer { position += 1 }
        return unsafe bytes[position]
    }

    mutating func next16() -> UInt16 { UInt16(next8()) | UInt16(next8()) &<< 8 }
    mutating func next32() -> UInt32 { UInt32(next16()) | UInt32(next16()) &<< 16 }
    /// A byte, sign-extended.
    mutating func nextSigned8() -> UInt32 { next8().extended }
    /// An immediate of the operand size; 8 bits if `size` is 0.
    mutating func immediate(_ size: UInt8) -> UInt32 {
        switch size {
        case 0: UInt32(next8())
        case 1: UInt32(next16())
        default: next32()
        }
    }

    // MARK: Operands

    /// Operand size of an opcode whose lowest bit chooses between a byte and a word.
    func size(_ opcode: UInt8) -> UInt8 { opcode & 1 == 0 ? 0 : wordSize }
    var wordSize: UInt8 { isOperand32 ? 2 : 1 }

    /// Byte offset of a register of a size.
    static func register(_ number: UInt8, _ size: UInt8) -> UInt8 {
        size == 0 && number & 4 != 0 ? (number & 3) * 4 + 1 : (number & 7) * 4
    }

    var isRegisterForm: Bool { modrm >= 0xC0 }
    var regField: UInt8 { modrm &>> 3 & 7 }
    func reg(_ size: UInt8) -> UInt8 { Self.register(regField, size) }
    func rm(_ size: UInt8) -> UInt8 { Self.register(modrm & 7, size) }

    /// Segment number of a memory operand, before or after an override.
    func segment(_ usual: Int) -> Int { override ?? usual }
    private static func slot(_ segment: Int) -> UInt8 { Slot.segmentBases + UInt8(segment * 4) }

    /// Reads modrm, sib and displacement.
    mutating func readModrm() {
        modrm = next8()
        memory = Operation()
        memoryIsAddress16 = !isAddress32
        guard !isRegisterForm else { return }
        if isAddress32 { readAddress32() } else { readAddress16() }
    }

    private mutating func readAddress32() {
        var usual = SegmentRegister.data
        let form = modrm &>> 6
        var base = modrm & 7
        if base == 4 {
            let sib = next8()
            base = sib & 7
            if sib &>> 3 & 7 != 4 {
                memory.index = (sib &>> 3 & 7) * 4
                memory.scale = sib &>> 6
            }
        }
        if base == 5 && form == 0 {
            memory.displacement = next32()
        } else {
            memory.base = base * 4
            if base == 4 || base == 5 { usual = SegmentRegister.stack }
        }
        if form == 1 { memory.displacement = nextSigned8() }
        if form == 2 { memory.displacement = next32() }
        memory.segment = Self.slot(segment(usual))
    }

    private mutating func readAddress16() {
        let bx: UInt8 = 12
        let bp: UInt8 = 20
        let si: UInt8 = 24
        let di: UInt8 = 28
        var usual = SegmentRegister.data
        let form = modrm &>> 6
        switch modrm & 7 {
        case 0: (memory.base, memory.index) = (bx, si)
        case 1: (memory.base, memory.index) = (bx, di)
        case 2: (memory.base, memory.index, usual) = (bp, si, SegmentRegister.stack)
        case 3: (memory.base, memory.index, usual) = (bp, di, SegmentRegister.stack)
        case 4: memory.base = si
        case 5: memory.base = di
        case 6 where form == 0: memory.displacement = UInt32(next16())
        case 6: (memory.base, usual) = (bp, SegmentRegister.stack)
        default: memory.base = bx
        }
        if form == 1 { memory.displacement = nextSigned8() }
        if form == 2 { memory.displacement = UInt32(next16()) }
        memory.segment = Self.slot(segment(usual))
    }

    /// A memory operand that is an absolute offset in the instruction.
    mutating func readOffset() {
        memory = Operation()
        modrm = 0
        memoryIsAddress16 = false
        memory.displacement = isAddress32 ? next32() : UInt32(next16())
        memory.segment = Self.slot(segment(SegmentRegister.data))
    }

    // MARK: Records

    /// Lays down one record of the present instruction.
    mutating func lay(_ operation: Operation) {
        var record = operation
        record.offset = UInt16(truncatingIfNeeded: start)
        record.length = UInt8(truncatingIfNeeded: position - start)
        unsafe operations[recordCount] = record
        recordCount += 1
    }

    /// Fills the memory operand in, with the computation of a 16-bit address in front.
    mutating func addMemory(to operation: inout Operation) {
        if memoryIsAddress16 {
            var address = memory
            address.code = .address16
            lay(address)
            operation.base = Slot.temporary
            operation.index = Slot.zero
            operation.scale = 0
            operation.displacement = 0
        } else {
            operation.base = memory.base
            operation.index = memory.index
            operation.scale = memory.scale
            operation.displacement = memory.displacement
        }
        operation.segment = memory.segment
    }

    /// Lays down an operation on memory.
    /// - Parameters: access size in bytes; whether it writes.
    mutating func layMemory(_ operation: Operation, _ size: UInt8, write: Bool = false) {
        var record = operation
        addMemory(to: &record)
        let segment = record.segmentNumber
        let isOpen = segment < 4 && mode & (BlockMode.open &<< UInt32(segment)) != 0
        if !isOpen || (write && segment == SegmentRegister.code) {
            var check = record
            check.code = .check
            check.aux = size | (write ? 0x80 : 0)
            lay(check)
        }
        lay(record)
    }

    /// A record of an operation of the slow path; the register-or-memory operand is `b` or memory.
    mutating func laySlowPath(
        _ slowPath: SlowPath, size: UInt8, a: UInt8 = 0, b: UInt8 = 0, immediate: UInt32 = 0,
        toRegister: Bool = false, countInRegister: Bool = false, segment: Int? = nil,
        hasOperand: Bool = false
    ) {
        var record = Operation(code: .slowPath, a: a, b: b)
        if let segment { record.segment = Self.slot(segment) }
        record.aux = slowPath.rawValue
        record.immediate = immediate
        record.shape.size = size
        record.shape.isToRegister = toRegister
        record.shape.isCountInRegister = countInRegister
        record.shape.isAddress16 = !isAddress32
        record.shape.repeating = repeating
        if hasOperand && !isRegisterForm {
            record.shape.isMemory = true
            addMemory(to: &record)
        }
        lay(record)
    }

    /// An operation of the slow path that has no operands of its own but a segment (strings, xlat).
    mutating func laySlowPath(_ slowPath: SlowPath, size: UInt8, segment: Int) {
        var record = Operation(code: .slowPath)
        record.aux = slowPath.rawValue
        record.shape.size = size
        record.shape.isAddress16 = !isAddress32
        record.shape.repeating = repeating
        record.segment = Self.slot(segment)
        lay(record)
    }

    /// The instruction raises a fault. Ends the block.
    mutating func raise(_ vector: UInt32) {
        lay(Operation(code: .slowPath, aux: SlowPath.raise.rawValue, immediate: vector))
        isLast = true
    }

    mutating func undefined() { raise(6) }
    mutating func privileged() { raise(13) }

    /// An instruction for ring 0 or the like: of a guest that has none, a protection fault.
    mutating func laySystem(
        _ operation: SystemOperation, size: UInt8 = 2, a: UInt8 = 0, hasOperand: Bool = false,
        isLast: Bool = true
    ) {
        guard isSystem else { return privileged() }
        laySlowPath(
            .system, size: size, a: a, b: Self.register(modrm & 7, 2),
            immediate: UInt32(operation.rawValue), hasOperand: hasOperand)
        if isLast { endBlock() }
    }

    mutating func endBlock() { isLast = true }

    /// The instruction may have a lock prefix if its destination is memory.
    mutating func allowLock() { if !isRegisterForm { mayLock = true } }

    /// Push, pop, call and return need no checks: esp is used, the stack segment is open.
    var hasPlainStack: Bool {
        let plain = BlockMode.stack32 | BlockMode.open &<< UInt32(SegmentRegister.stack)
        return mode & plain == plain
    }

    /// The end of the present instruction plus a distance, relative to the block's start.
    func target(_ distance: UInt32) -> UInt32 { UInt32(position) &+ distance }

    /// Joins a conditional jump with the comparison laid down just before it.
    mutating func fuse(condition: UInt8, target: UInt32) -> Bool {
        guard firstRecord > 0, !isCutOff, !isLocked, position - start <= 15 else { return false }
        let previous = unsafe operations[firstRecord - 1]
        let first: Code
        switch previous.code {
        case .cmp32rr: first = .cmp32rrJo
        case .cmp32ri: first = .cmp32riJo
        case .test32rr: first = .test32rrJo
        default: return false
        }
        var joined = previous
        joined.code = Code(rawValue: first.rawValue + condition)!
        joined.displacement = target
        joined.length = UInt8(truncatingIfNeeded: position - Int(previous.offset))
        unsafe operations[firstRecord - 1] = joined
        return true
    }
}

extension Core {
    /// Decodes from one page into the block at `made`, which is not yet entered anywhere.
    /// - Returns: false if the first instruction does not lie wholly in the page.
    func decode(
        into made: UnsafeMutablePointer<Block>, _ linear: UInt32, _ physical: UInt32, limit: Int
    ) throws(Fault) -> Bool {
        unsafe decode(
            into: made, physical, limit: limit,
            from: (state.memory + Int(physical)).assumingMemoryBound(to: UInt8.self),
            available: Int(Page.rest(physical)))
    }

    /// Decodes the one instruction that begins on one page and ends on another.
    func decodeCrossing(
        into made: UnsafeMutablePointer<Block>, _ physical: UInt32, _ second: UInt32
    ) {
        let inFirst = Page.rest(physical)
        checkPhysical(physical, inFirst)
        checkPhysical(second, 16)
        unsafe (state.scratch + Self.crossingOffset).copyMemory(
            from: state.memory + Int(physical), byteCount: Int(inFirst))
        unsafe (state.scratch + Self.crossingOffset + Int(inFirst)).copyMemory(
            from: state.memory + Int(second), byteCount: 16)
        _ = unsafe decode(
            into: made, physical, limit: 1,
            from: (state.scratch + Self.crossingOffset).assumingMemoryBound(to: UInt8.self),
            available: Int(inFirst) + 16)
        markCode(second, 16)
    }

    /// Where in the scratch the bytes of an instruction on two pages are put together.
    static let crossingOffset = 192

    private func decode(
        into made: UnsafeMutablePointer<Block>, _ physical: UInt32, limit: Int,
        from bytes: UnsafePointer<UInt8>, available: Int
    ) -> Bool {
        checkPhysical(physical, 1)
        let operations = unsafe Self.operations(of: made)
        var decoder = unsafe Decoder(
            bytes: bytes, available: available, mode: state.mode, isSystem: isSystem,
            hasVectors: hasVectors,
            operations: operations)
        guard decoder.block(limit: limit) else { return false }
        unsafe made.initialize(
            to: Block(
                physical: UInt(physical), mode: state.mode, count: UInt32(decoder.instructionCount),
                bytes: UInt32(decoder.position), operationCount: UInt32(decoder.recordCount),
                isTemporary: unsafe made == state.blocks.temporary))
        unsafe state.blocks.close(made)
        return true
    }

    /// The operations after a block's head.
    @inline(__always) static func operations(of block: UnsafeMutablePointer<Block>)
        -> UnsafeMutablePointer<Operation>
    {
        unsafe UnsafeMutableRawPointer(block + 1).assumingMemoryBound(to: Operation.self)
    }
}
