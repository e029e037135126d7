// FXSAVE and FXRSTOR: the x87's state in another order than FNSAVE's, with a tag bit a register, and the
// state of SSE where that is offered. Source: Intel SDM volume 2, FXSAVE.

/// Offsets in the 512 bytes.
private enum Place {
    static let control = 0
    static let status = 2
    static let tags = 4
    static let opcode = 6
    static let instruction = 8
    static let codeSelector = 12
    static let operand = 16
    static let dataSelector = 20
    static let vectorControl = 24
    static let vectorControlMask = 28
    static let registers = 32
    static let vectors = 160
    static let end = 288
}

extension FloatingPointUnit {
    static let imageCount: UInt32 = 512
    private static let nowhere = Site(instruction: 0, codeSelector: 0, operand: 0, dataSelector: 0)

    /// Copies the state out.
    /// - Parameters: scratch for FNSAVE's 108 bytes; the 512 bytes to fill.
    mutating func save(_ scratch: UnsafeMutableRawPointer, to image: UnsafeMutableRawPointer) {
        suspend()
        let before = self
        unsafe perform(0xDD, 6 << 3, scratch)
        suspend()
        self = before
        let words = unsafe scratch.assumingMemoryBound(to: UInt32.self)
        unsafe image.initializeMemory(as: UInt8.self, repeating: 0, count: Int(Self.imageCount))
        func half(_ value: UInt32, _ offset: Int) {
            unsafe image.storeBytes(
                of: UInt16(truncatingIfNeeded: value), toByteOffset: offset, as: UInt16.self)
        }
        unsafe half(words[0], Place.control)
        unsafe half(words[1], Place.status)
        var tags: UInt32 = 0
        for register in 0..<8 as Range<UInt32> where unsafe words[2] &>> (2 * register) & 3 != 3 {
            tags |= 1 &<< register
        }
        half(tags, Place.tags)
        unsafe half(words[4] &>> 16 & 0x7FF, Place.opcode)
        unsafe image.storeBytes(of: words[3], toByteOffset: Place.instruction, as: UInt32.self)
        unsafe half(words[4], Place.codeSelector)
        unsafe image.storeBytes(of: words[5], toByteOffset: Place.operand, as: UInt32.self)
        unsafe half(words[6], Place.dataSelector)
        for index in 0..<8 {
            unsafe (image + Place.registers + index * 16).copyMemory(
                from: scratch + 28 + index * 10, byteCount: 10)
        }
    }

    /// Takes the state from an image.
    mutating func restore(_ scratch: UnsafeMutableRawPointer, from image: UnsafeRawPointer) {
        func half(_ offset: Int) -> UInt32 {
            UInt32(unsafe image.load(fromByteOffset: offset, as: UInt16.self))
        }
        let words = unsafe scratch.assumingMemoryBound(to: UInt32.self)
        unsafe words[0] = half(Place.control)
        unsafe words[1] = half(Place.status)
        // Full or empty is all that is taken from a tag.
        var tags: UInt32 = 0
        for register in 0..<8 as Range<UInt32> where half(Place.tags) &>> register & 1 == 0 {
            tags |= 3 &<< (2 * register)
        }
        unsafe words[2] = tags
        unsafe words[3] = image.load(fromByteOffset: Place.instruction, as: UInt32.self)
        unsafe words[4] = half(Place.codeSelector) | half(Place.opcode) &<< 16
        unsafe words[5] = image.load(fromByteOffset: Place.operand, as: UInt32.self)
        unsafe words[6] = half(Place.dataSelector)
        for index in 0..<8 {
            unsafe (scratch + 28 + index * 10).copyMemory(
                from: image + Place.registers + index * 16, byteCount: 10)
        }
        // Nothing that is pending keeps FRSTOR from it.
        var flags: UInt32 = 0
        var ax: UInt16 = 0
        _ = unsafe execute(
            opcode: 0xDB, modrm: 0xE3, scratch: scratch, flags: &flags, ax: &ax, site: Self.nowhere)
        unsafe perform(0xDD, 4 << 3, scratch)
    }

    private mutating func perform(
        _ opcode: UInt8, _ modrm: UInt8, _ scratch: UnsafeMutableRawPointer
    ) {
        var flags: UInt32 = 0
        var ax: UInt16 = 0
        _ = unsafe execute(
            opcode: opcode, modrm: modrm, scratch: scratch, flags: &flags, ax: &ax,
            site: Self.nowhere)
    }
}

extension Core {
    /// Where in the scratch the image is.
    private static let imageOffset = 512

    func saveFloatingPoint(_ i: Instruction) throws(Fault) -> Flow {
        let count = FloatingPointUnit.imageCount
        let place = try imagePlace(i, write: true)
        try checkWrite(place, count)
        let image = unsafe state.scratch + Self.imageOffset
        unsafe state.floatingPoint.save(state.scratch, to: image)
        if hasVectors {
            unsafe image.storeBytes(
                of: system.vectorControl, toByteOffset: Place.vectorControl, as: UInt32.self)
            unsafe image.storeBytes(
                of: Self.controlStatusBits, toByteOffset: Place.vectorControlMask, as: UInt32.self)
            unsafe (image + Place.vectors).copyMemory(
                from: vector(0), byteCount: Place.end - Place.vectors)
        }
        // Places of registers that there are not stay as they are.
        for offset in stride(from: 0, to: hasVectors ? Place.end : Place.vectors, by: 4) {
            let word = unsafe image.load(fromByteOffset: offset, as: UInt32.self)
            try write(place &+ UInt32(offset), word)
        }
        return .next
    }

    func restoreFloatingPoint(_ i: Instruction) throws(Fault) -> Flow {
        let place = try imagePlace(i, write: false)
        try checkRead(place, FloatingPointUnit.imageCount)
        let image = unsafe state.scratch + Self.imageOffset
        for offset in stride(from: 0, to: Place.end, by: 4) {
            let word = try read(place &+ UInt32(offset), as: UInt32.self)
            unsafe image.storeBytes(of: word, toByteOffset: offset, as: UInt32.self)
        }
        if hasVectors {
            let control = unsafe image.load(fromByteOffset: Place.vectorControl, as: UInt32.self)
            guard control & ~Self.controlStatusBits == 0 else { throw .protection(0) }
            system.vectorControl = control
            unsafe vector(0).copyMemory(
                from: image + Place.vectors, byteCount: Place.end - Place.vectors)
        }
        unsafe state.floatingPoint.restore(state.scratch, from: image)
        return .next
    }

    /// #NM before all else, then a protection fault for a place that is not a multiple of 16.
    private func imagePlace(_ i: Instruction, write: Bool) throws(Fault) -> UInt32 {
        if state.taskSwitched { throw .noDevice }
        let place = try linear(i, FloatingPointUnit.imageCount, write: write)
        guard place & 15 == 0 else { throw .protection(0) }
        return place
    }
}
