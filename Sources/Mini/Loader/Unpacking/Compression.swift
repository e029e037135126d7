// How a kernel in a bzImage is compressed, told by its first bytes, and its way to the unpacker for it.
// Source: docs/abi/pc.md §1.3.

enum Compression: Equatable {
    case gzip, xz, zstd, lz4
    // Told, not unpacked: a kernel in one of these starts by its own unpacker.
    case lzma, lzo, bzip2

    /// nil for bytes that begin like none of them.
    init?(_ file: ByteView, at offset: Int) {
        if file.has(Xz.signature, at: offset) {
            self = .xz
        } else if file.word(offset) == UInt32(Zstd.signature) {
            self = .zstd
        } else if file.word(offset) == UInt32(Lz4.signature) {
            self = .lz4
        } else if Gzip.isMember(file, offset) {
            self = .gzip
        } else if file.has("BZh", at: offset) {
            self = .bzip2
        } else if file.has([0x5D, 0, 0], at: offset) {
            self = .lzma
        } else if file.has([0x89, 0x4C, 0x5A, 0x4F], at: offset) {
            self = .lzo
        } else {
            return nil
        }
    }

    var name: StaticString {
        switch self {
        case .gzip: "gzip"
        case .xz: "xz"
        case .zstd: "zstd"
        case .lz4: "lz4"
        case .lzma: "lzma"
        case .lzo: "lzo"
        case .bzip2: "bzip2"
        }
    }

    var isUnpacked: Bool {
        switch self {
        case .gzip, .xz, .zstd, .lz4: true
        case .lzma, .lzo, .bzip2: false
        }
    }

    /// Unpacks the data between two offsets; what mini does not unpack is corrupt from its first byte on.
    func unpack(
        _ file: ByteView, at start: Int, end: Int, to output: UnsafeMutableRawBufferPointer
    ) -> Unpacked {
        switch self {
        case .xz: unsafe Xz.unpack(file, at: start, end: end, to: output)
        case .zstd: unsafe Zstd.unpack(file, at: start, end: end, to: output)
        case .lz4: unsafe Lz4.unpack(file, at: start, end: end, to: output)
        case .gzip:
            if let part = file.slice(0, min(end, file.count)) {
                unsafe Gzip.unpack(part, at: start, to: output)
            } else {
                Unpacked(position: file.count, produced: 0, failure: .endsEarly)
            }
        case .lzma, .lzo, .bzip2:
            Unpacked(
                position: start, produced: 0,
                failure: .corrupt("compressed with \(name), which mini does not unpack"))
        }
    }
}
