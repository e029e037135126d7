// Kernels of today, as far as their files say what they are: a vmlinux and a bzImage.

@testable import Mini

/// An ELF kernel of either width, with notes of Xen's.
struct VmlinuxSpec {
    struct Part {
        var kind: UInt32 = 1
        var address: UInt64
        var virtual: UInt64
        var offset: UInt64
        var fileSize: UInt64
        var memorySize: UInt64
        var align: UInt64 = 4096
    }
    var isWide = true
    var entry: UInt64 = 0x100_0000
    var banner = "Linux version 6.1.0 (somebody@somewhere) #1"
    var parts: [Part]
    var notes: [UInt8] = []

    static func note(_ kind: UInt32, _ data: [UInt8], name: String = "Xen\0", align: Int = 4)
        -> [UInt8]
    {
        func padded(_ bytes: [UInt8]) -> [UInt8] {
            bytes + [UInt8](repeating: 0, count: (align - bytes.count % align) % align)
        }
        return .little(UInt64(name.utf8.count), 4) + .little(UInt64(data.count), 4)
            + .little(UInt64(kind), 4) + padded(Array(name.utf8)) + padded(data)
    }

    init(isWide: Bool = true) {
        self.isWide = isWide
        let high: UInt64 = isWide ? 0xFFFF_FFFF_8000_0000 : 0xC000_0000
        parts = [
            Part(
                address: 0x100_0000, virtual: high + 0x100_0000, offset: 0x1000, fileSize: 0x800,
                memorySize: 0x1000),
            // The per-processor area.
            Part(
                address: 0x100_1000, virtual: isWide ? 0 : high + 0x100_1000, offset: 0x1800,
                fileSize: 0x100, memorySize: 0x234567),
        ]
    }

    mutating func addNotes(_ notes: [UInt8], align: UInt64 = 4) {
        parts.append(
            Part(
                kind: 4, address: 0, virtual: 0, offset: 0x1900, fileSize: UInt64(notes.count),
                memorySize: 0, align: align))
        self.notes = notes
    }

    func bytes() -> [UInt8] {
        var file = [UInt8](repeating: 0x66, count: 0x1A00)
        file.put([UInt8](repeating: 0, count: 0x400), at: 0)
        file.put([0x7F, 0x45, 0x4C, 0x46, isWide ? 2 : 1, 1, 1], at: 0)
        file.put(UInt16(2), at: 16)
        file.put(UInt16(isWide ? 62 : 3), at: 18)
        let (start, size) = isWide ? (64, 56) : (52, 32)
        if isWide {
            file.put(entry, at: 24)
            file.put(UInt64(start), at: 32)
            file.put(UInt16(size), at: 54)
            file.put(UInt16(parts.count), at: 56)
        } else {
            file.put(UInt32(entry), at: 24)
            file.put(UInt32(start), at: 28)
            file.put(UInt16(size), at: 42)
            file.put(UInt16(parts.count), at: 44)
        }
        for (index, part) in parts.enumerated() {
            let at = start + index * size
            file.put(part.kind, at: at)
            if isWide {
                file.put(UInt32(7), at: at + 4)
                let words = [
                    part.offset, part.virtual, part.address, part.fileSize, part.memorySize,
                    part.align,
                ]
                for (word, value) in words.enumerated() { file.put(value, at: at + 8 + 8 * word) }
            } else {
                let words = [
                    part.offset, part.virtual, part.address, part.fileSize, part.memorySize, 7,
                    part.align,
                ]
                for (word, value) in words.enumerated() {
                    file.put(UInt32(truncatingIfNeeded: value), at: at + 4 + 4 * word)
                }
            }
        }
        file.put(Array(banner.utf8) + [10], at: 0x1100)
        file.put(notes, at: 0x1900)
        return file
    }
}

/// A bzImage of the present around a packed kernel.
struct StockSpec {
    var protocolVersion: UInt16 = 0x20F
    var setupSectors: UInt8 = 2
    var longFlags: UInt16 = 0x7F
    var payload: [UInt8]
    /// Behind the payload; the kernel's build puts the size there, and gzip has it.
    var sizeWord: UInt32?
    var initSize: UInt32 = 0x40_0000
    var payloadLengthChange = 0

    var payloadOffset: Int { (Int(setupSectors == 0 ? 4 : setupSectors) + 1) * 512 + 0x40 }
    var payloadEnd: Int { payloadOffset + payload.count + (sizeWord == nil ? 0 : 4) }

    init(_ compression: Compression, _ kernel: [UInt8] = VmlinuxSpec().bytes()) {
        sizeWord = UInt32(kernel.count)
        switch compression {
        case .gzip:
            payload = Packer.gzip(kernel)
            sizeWord = nil
        case .xz:
            var spec = XzSpec(kernel)
            spec.blocks[0].filters = [(4, []), (0x21, [22])]
            // Data that are none of the filter's: without E8 and E9.
            payload = spec.bytes()
        case .zstd:
            payload = ZstdSpec(
                blocks: [.stored(kernel)], header: [0xA0] + .little(UInt64(kernel.count), 4)
            ).bytes()
        case .lz4:
            let rest = kernel.count - 15
            payload = lz4Frame([
                [0xF0] + [UInt8](repeating: 255, count: rest / 255) + [UInt8(rest % 255)] + kernel
            ])
        case .lzma: payload = [0x5D, 0, 0, 0x80, 0] + kernel
        case .lzo: payload = [0x89, 0x4C, 0x5A, 0x4F, 0, 0x0D] + kernel
        case .bzip2: payload = Array("BZh9".utf8) + kernel
        }
    }

    func bytes() -> [UInt8] {
        let body = payloadOffset - 0x40
        let data = payload + (sizeWord.map { [UInt8].little(UInt64($0), 4) } ?? [])
        var file = [UInt8](repeating: 0x90, count: payloadOffset) + data
        file += [UInt8](repeating: 0x90, count: 64)
        file.put([UInt8](repeating: 0, count: body - 0x1E0), at: 0x1E0)
        file[0x1F1] = setupSectors
        file.put(UInt32((file.count - body + 15) / 16), at: 0x1F4)
        file.put(UInt16(0xAA55), at: 0x1FE)
        file.put("HdrS", at: 0x202)
        file.put(protocolVersion, at: 0x206)
        file.put(UInt16(0x200), at: 0x20E)
        file[0x211] = 1
        file.put(UInt32(0x10_0000), at: 0x214)
        file.put(UInt32(0x7FFF_FFFF), at: 0x22C)
        file.put(UInt32(0x20_0000), at: 0x230)
        file[0x234] = 1
        file.put(longFlags, at: 0x236)
        file.put(UInt32(2047), at: 0x238)
        file.put(UInt32(0x40), at: 0x248)
        file.put(UInt32(data.count + payloadLengthChange), at: 0x24C)
        file.put(UInt64(0x100_0000), at: 0x258)
        file.put(initSize, at: 0x260)
        file.put("6.1.0 (somebody@somewhere) #1", at: 0x400)
        return file
    }
}
