// An instruction that a guest executed and its processor does not offer: it may be why the guest has ended. Kernels and
// programs that are built for newer processors die of the first, often without a word.

struct MissingInstruction {
    /// Linear.
    let address: UInt64
    /// In ring 0, where only the kernel itself could make up for it.
    let isKernel: Bool
    /// The first eight bytes, the first of them lowest; of a page's last ones, the rest is 0.
    let bytes: UInt64

    /// - Parameter place: where it lies in guest memory.
    /// - Returns: nil for UD0 to UD2, which are there to be undefined.
    init?(at address: UInt64, isKernel: Bool, _ memory: UnsafeMutableRawPointer, _ place: UInt) {
        var bytes: UInt64 = 0
        for index in 0..<min(Page.rest(UInt32(truncatingIfNeeded: place)), 8) {
            let byte = unsafe memory.load(
                fromByteOffset: Int(place &+ UInt(index)), as: UInt8.self)
            bytes |= UInt64(byte) &<< UInt64(index &* 8)
        }
        let opcode = bytes & 0xFFFF
        if opcode == 0x0B0F || opcode == 0xB90F || opcode == 0xFF0F { return nil }
        self.bytes = bytes
        self.address = address
        self.isKernel = isKernel
    }

    /// As "an instruction that its processor does not offer: c4e271f7d2895010, at 0x1969562".
    var text: Text {
        "an instruction that its processor does not offer: \(bareHex: bytes.byteSwapped, width: 16), at \(hex: address)"
    }
}
