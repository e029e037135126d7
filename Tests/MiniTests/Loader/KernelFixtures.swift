// Kernel images made to order: sound ones of each era, and the parts to damage them with.
// Nothing here is a real kernel; it has just what the launcher looks at.

@testable import Mini

extension Array where Element == UInt8 {
    mutating func put(_ value: UInt16, at offset: Int) {
        for index in 0..<2 {
            self[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * index))
        }
    }
    mutating func put(_ value: UInt32, at offset: Int) {
        for index in 0..<4 {
            self[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * index))
        }
    }
    mutating func put(_ value: UInt64, at offset: Int) {
        put(UInt32(truncatingIfNeeded: value), at: offset)
        put(UInt32(truncatingIfNeeded: value >> 32), at: offset + 4)
    }
    mutating func put(_ text: String, at offset: Int) {
        replaceSubrange(offset..<(offset + text.utf8.count), with: text.utf8)
    }
    mutating func put(_ bytes: [UInt8], at offset: Int) {
        replaceSubrange(offset..<(offset + bytes.count), with: bytes)
    }
}

/// A small generator with a seed, the same on every machine.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed &* 2 &+ 1 }
    mutating func next() -> UInt64 {
        // splitmix64
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
        return word ^ word >> 31
    }
}

/// A file that exists in memory only.
func memoryFile(_ bytes: [UInt8]) throws -> Descriptor {
    // memfd_create
    let number = SystemCall.Number(rawValue: 319)
    var name: [UInt8] = [0x6B, 0]
    let descriptor = try name.withUnsafeMutableBytes { buffer in
        try SystemCall.make(number, Int(bitPattern: buffer.baseAddress), 1)
    }
    let file = Descriptor(owning: Int32(descriptor))
    try bytes.withUnsafeBytes { buffer in try Transfer.writeAll(file.number, buffer) }
    return file
}

extension ByteView {
    /// Runs `body` on a view of these bytes.
    static func of<Value>(_ bytes: [UInt8], _ body: (ByteView) throws -> Value) rethrows -> Value {
        try bytes.withUnsafeBytes { try body(ByteView($0)) }
    }
}

/// The inside of a kernel: what lies at 1 MiB when it is loaded.
struct KernelSpec {
    var era = GuestABI.Era.era1
    var banner: String? = "Linux version 2.6.23 (user@host) (gcc version 4.1.2) #1 Mon"
    var pageOffset: UInt32 = 0xC000_0000
    var origin: UInt32 = 0x10_0000
    var hasMagic = true
    var size = 0x3000

    static let dataOffset = 0x1000
    static let magicOffset = 0x2804
    var entryOffset: Int { Self.magicOffset + 13 }
    /// Where the kernel's INIT call names its structure.
    var dataAddress: UInt32 { origin + UInt32(Self.dataOffset) }

    func bytes() -> [UInt8] {
        var bytes = (0..<size).map { UInt8(truncatingIfNeeded: 0x40 + $0 % 7) }
        // mov moffs32,%eax from kernel data
        for index in 0..<6 {
            bytes[64 * index] = 0xA1
            bytes.put(pageOffset + origin + UInt32(64 * index), at: 64 * index + 1)
        }
        if let banner { bytes.put(banner + "\n", at: 0x800) }
        putData(&bytes)
        if GuestABI(era: era).dma == nil {
            putFirstCall(&bytes)
            return bytes
        }
        if hasMagic { bytes.put("GenuineLguest", at: Self.magicOffset) }
        if era == .era1c {
            bytes.put([0xB8, 1, 0, 0, 0, 0xBA], at: entryOffset)
            bytes.put(dataAddress, at: entryOffset + 6)
            bytes.put([0xCD, 0x1F], at: entryOffset + 10)
        } else {
            bytes[entryOffset] = 0xBC
            bytes.put(pageOffset + origin + 0x2000, at: entryOffset + 1)
        }
        return bytes
    }

    /// What tells an era without a mark.
    static let firstCallOffset = 0x2900
    var setsStack: Bool { era == .era3b || era == .era4b }

    private func putFirstCall(_ bytes: inout [UInt8]) {
        let isData = GuestABI(era: era).callRegisters == .dataFirst
        bytes.put([0xB8, 1, 0, 0, 0, isData ? 0xBA : 0xBB], at: Self.firstCallOffset)
        bytes.put(dataAddress, at: Self.firstCallOffset + 6)
        let isVmcall = GuestABI(era: era).callsByVmcall && era < .era4b
        bytes.put(isVmcall ? [0x0F, 1, 0xC1] : [0xCD, 0x1F], at: Self.firstCallOffset + 10)
        bytes[Self.firstCallOffset + (isVmcall ? 13 : 12)] = setsStack ? 0xBC : 0xB8
    }

    private func putData(_ bytes: inout [UInt8]) {
        let abi = GuestABI(era: era)
        let start = Self.dataOffset
        for index in start..<(start + 1400) { bytes[index] = 0 }
        bytes.put(UInt32(1), at: start + 4)
        for index in 0..<64 { bytes[start + Int(abi.data.ringStatus) + index] = 0xFF }
        let code = pageOffset + origin + 0x40
        bytes.put(code, at: start + Int(abi.data.quietStart))
        if let end = abi.data.quietEnd { bytes.put(code + 5, at: start + Int(end)) }
        if let offset = abi.data.kernelAddress { bytes.put(pageOffset, at: start + Int(offset)) }
        if let offset = abi.data.systemCallVector {
            bytes.put(UInt32(0x80), at: start + Int(offset))
        }
        if era == .era1b { bytes.put(UInt32(0x80), at: start + 1124) }
    }
}

/// An ELF file around a kernel.
struct ElfSpec {
    struct Header {
        var type: UInt32 = 1
        var offset: UInt32
        var virtual: UInt32
        var physical: UInt32
        var fileSize: UInt32
        var memorySize: UInt32
        var flags: UInt32 = 7
    }
    var headers: [Header]
    var fileSize: Int
    var contents: [(offset: Int, bytes: [UInt8])]

    /// One segment for the code and one for data and bss, on pages of the file.
    init(_ kernel: KernelSpec = KernelSpec()) {
        let bytes = kernel.bytes()
        let split = 0x2000
        let base = kernel.origin
        headers = [
            Header(
                offset: 0x1000, virtual: base &+ kernel.pageOffset, physical: base,
                fileSize: UInt32(split), memorySize: UInt32(split), flags: 5),
            Header(
                offset: 0x1000 + UInt32(split), virtual: base &+ kernel.pageOffset + UInt32(split),
                physical: base + UInt32(split), fileSize: UInt32(bytes.count - split),
                memorySize: UInt32(bytes.count - split) + 0x800, flags: 6),
        ]
        contents = [(0x1000, bytes)]
        fileSize = 0x1000 + bytes.count
    }

    func bytes() -> [UInt8] {
        var file = [UInt8](repeating: 0, count: fileSize)
        file.put([0x7F, 0x45, 0x4C, 0x46, 1, 1, 1], at: 0)
        file.put(UInt16(2), at: 16)
        file.put(UInt16(3), at: 18)
        file.put(UInt32(1), at: 20)
        file.put(UInt32(0x10_0000), at: 24)
        file.put(UInt32(52), at: 28)
        file.put(UInt16(52), at: 40)
        file.put(UInt16(32), at: 42)
        file.put(UInt16(headers.count), at: 44)
        for (index, header) in headers.enumerated() {
            let at = 52 + 32 * index
            let words = [
                header.type, header.offset, header.virtual, header.physical, header.fileSize,
                header.memorySize, header.flags, 4096,
            ]
            for (word, value) in words.enumerated() { file.put(value, at: at + 4 * word) }
        }
        for content in contents { file.put(content.bytes, at: content.offset) }
        return file
    }

    static func kernel(_ spec: KernelSpec = KernelSpec()) -> [UInt8] { ElfSpec(spec).bytes() }
}

/// A bzImage around a packed kernel.
struct BzImageSpec {
    var protocolVersion: UInt16 = 0x0206
    var loadFlags: UInt8 = 1
    var longFlags: UInt16 = 0
    var version = "2.6.23 (user@host) #1 Mon"
    var setupSectors = 4
    /// In front of the packed kernel: the unpacker, with something that looks like gzip.
    var unpacker: [UInt8] = Array("code".utf8) + [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 2, 3, 0xFF, 0xFF]
    var payload: [UInt8]
    var trailer = [UInt8](repeating: 0x90, count: 100)

    init(_ kernel: [UInt8] = KernelSpec().bytes()) { payload = Packer.gzip(kernel) }

    var bodyOffset: Int { (setupSectors + 1) * 512 }
    var memberOffset: Int { bodyOffset + unpacker.count }

    func bytes() -> [UInt8] {
        let body = unpacker + payload + trailer
        var setup = [UInt8](repeating: 0, count: bodyOffset)
        setup[0x1F1] = UInt8(setupSectors)
        setup.put(UInt32((body.count + 15) / 16), at: 0x1F4)
        setup.put(UInt16(0xAA55), at: 0x1FE)
        setup.put("HdrS", at: 0x202)
        setup.put(protocolVersion, at: 0x206)
        setup.put(UInt16(0x300), at: 0x20E)
        setup[0x211] = loadFlags
        setup.put(UInt32(0x10_0000), at: 0x214)
        if protocolVersion >= 0x20C { setup.put(longFlags, at: 0x236) }
        if protocolVersion >= 0x208 {
            setup.put(UInt32(unpacker.count), at: 0x248)
            setup.put(UInt32(payload.count), at: 0x24C)
        }
        setup.put(version, at: 0x500)
        return setup + body
    }
}

/// A packer just good enough to test the unpacker: fixed codes, copies from the last occurrence
/// of the same three bytes; or stored blocks.
struct Packer {
    private var bytes: [UInt8] = []
    private var partial: UInt32 = 0
    private var partialCount = 0

    private mutating func add(_ value: Int, bits count: Int) {
        for bit in 0..<count {
            partial |= UInt32(value >> bit & 1) << partialCount
            partialCount += 1
            if partialCount == 8 { flush() }
        }
    }

    private mutating func flush() {
        if partialCount > 0 { bytes.append(UInt8(partial)) }
        partial = 0
        partialCount = 0
    }

    private mutating func addCode(_ code: Int, bits count: Int) {
        for bit in (0..<count).reversed() { add(code >> bit & 1, bits: 1) }
    }

    private mutating func literal(_ symbol: Int) {
        switch symbol {
        case 0...143: addCode(0x30 + symbol, bits: 8)
        case 144...255: addCode(0x190 + symbol - 144, bits: 9)
        case 256...279: addCode(symbol - 256, bits: 7)
        default: addCode(0xC0 + symbol - 280, bits: 8)
        }
    }

    private static let lengths = [
        3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115,
        131, 163, 195, 227, 258,
    ]
    private static let distances = [
        1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537,
        2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577,
    ]

    private mutating func copy(length: Int, distance: Int) {
        let index = Self.lengths.lastIndex { $0 <= length }!
        literal(257 + index)
        add(length - Self.lengths[index], bits: index < 8 || index == 28 ? 0 : (index - 4) / 4)
        let far = Self.distances.lastIndex { $0 <= distance }!
        addCode(far, bits: 5)
        add(distance - Self.distances[far], bits: far < 4 ? 0 : far / 2 - 1)
    }

    /// Deflate data with fixed codes.
    static func deflate(_ data: [UInt8]) -> [UInt8] {
        var packer = Packer()
        packer.add(1, bits: 1)
        packer.add(1, bits: 2)
        var last: [Int: Int] = [:]
        var at = 0
        while at < data.count {
            var length = 0
            var from = 0
            if at + 2 < data.count {
                let key = Int(data[at]) << 16 | Int(data[at + 1]) << 8 | Int(data[at + 2])
                if let before = last[key], at - before <= 32768 {
                    from = before
                    while length < 258, at + length < data.count,
                        data[before + length] == data[at + length]
                    {
                        length += 1
                    }
                }
                last[key] = at
            }
            if length >= 3 {
                packer.copy(length: length, distance: at - from)
                at += length
            } else {
                packer.literal(Int(data[at]))
                at += 1
            }
        }
        packer.literal(256)
        packer.flush()
        return packer.bytes
    }

    /// Deflate data in stored blocks.
    static func stored(_ data: [UInt8], block: Int = 1000) -> [UInt8] {
        var bytes: [UInt8] = []
        var at = 0
        repeat {
            let part = data[at..<min(at + block, data.count)]
            at += part.count
            bytes.append(at == data.count ? 1 : 0)
            let length = UInt16(part.count)
            for word in [length, ~length] {
                bytes.append(UInt8(word & 0xFF))
                bytes.append(UInt8(word >> 8))
            }
            bytes += part
        } while at < data.count
        return bytes
    }

    /// A gzip member around deflate data.
    static func gzip(
        _ data: [UInt8], flags: UInt8 = 0, extras: [UInt8] = [], deflated: [UInt8]? = nil
    ) -> [UInt8] {
        var member: [UInt8] = [0x1F, 0x8B, 8, flags, 1, 2, 3, 4, 2, 3] + extras
        member += deflated ?? deflate(data)
        var end = [UInt8](repeating: 0, count: 8)
        end.put(slowChecksum(data), at: 0)
        end.put(UInt32(data.count), at: 4)
        return member + end
    }

    /// CRC-32 straight from its definition, a bit at a time.
    static func slowChecksum(_ data: [UInt8]) -> UInt32 {
        var checksum = UInt32.max
        for byte in data {
            checksum ^= UInt32(byte)
            for _ in 0..<8 {
                checksum = checksum & 1 == 1 ? checksum >> 1 ^ 0xEDB8_8320 : checksum >> 1
            }
        }
        return ~checksum
    }
}

/// Loads a kernel from bytes into memory of its own.
func loadKernel(
    _ bytes: [UInt8], mebibytes: UInt32 = 4
) throws -> (kernel: LoadedKernel, memory: GuestMemory) {
    let file = try memoryFile(bytes)
    let image = try KernelImage.examine(file.number, name: "kernel")
    let memory = try GuestLayout.makeMemory(mebibytes: mebibytes)
    return (try image.load(into: memory, mebibytes: mebibytes), memory)
}

/// The bytes of guest memory from `start` on.
func bytes(of memory: GuestMemory, _ start: UInt32, _ count: UInt32) -> [UInt8] {
    guard let range = memory.range(start, count) else { return [] }
    return Array(memory.readable(range))
}
