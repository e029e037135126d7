// The wrapper around deflate data: a header, and after the data their checksum and length.
// Source: RFC 1952.

/// A gzip member inside a larger file.
enum Gzip {
    typealias Outcome = Unpacked

    private static let signature: [UInt8?] = [0x1F, 0x8B, 8]
    private static let systemUnix: UInt8 = 3

    /// The next place at or after `from` where a member may begin.
    /// - Parameter onUnix: true for those that were packed on Unix, as the header says in its tenth
    ///   byte; nearly all kernels were, and that makes false candidates rare. False for the others.
    static func candidate(_ file: ByteView, from: Int, onUnix: Bool = true) -> Int? {
        var at = max(0, from)
        while at < file.count {
            if file[at] == 0x1F, isMember(file, at), (file.byte(at + 9) == systemUnix) == onUnix {
                return at
            }
            at += 1
        }
        return nil
    }

    /// True if a member may begin here.
    static func isMember(_ file: ByteView, _ at: Int) -> Bool {
        guard file.has(signature, at: at), let flags = file.byte(at + 3) else { return false }
        return flags & 0xE0 == 0
    }

    /// Unpacks the member that begins at `start`.
    /// - Parameter output: room for the unpacked bytes; more is never written.
    static func unpack(
        _ file: ByteView, at start: Int, to output: UnsafeMutableRawBufferPointer
    ) -> Outcome {
        var outcome = Outcome(position: start, produced: 0, failure: nil)
        guard let data = headerEnd(file, start) else {
            outcome.position = file.count
            outcome.failure = .endsEarly
            return outcome
        }
        var inflate = unsafe Inflate(file, from: data, to: output)
        do throws(Inflate.Failure) { try inflate.run() } catch {
            switch error {
            case .endsEarly: outcome.failure = .endsEarly
            case .full: outcome.failure = .full
            case .corrupt(let what): outcome.failure = .corrupt(what)
            }
        }
        outcome.position = inflate.position
        outcome.produced = inflate.produced
        if outcome.failure == .endsEarly { outcome.position = file.count }
        guard outcome.failure == nil else { return outcome }
        let trailer = inflate.position
        guard let checksum = file.word(trailer), let length = file.word(trailer + 4) else {
            outcome.position = file.count
            outcome.failure = .endsEarly
            return outcome
        }
        let unpacked = unsafe UnsafeRawBufferPointer(rebasing: output[..<inflate.produced])
        if length != UInt32(truncatingIfNeeded: inflate.produced) {
            outcome.position = trailer + 4
            outcome.failure = .wrongLength
        } else if unsafe checksum != CRC32.of(unpacked) {
            outcome.failure = .wrongChecksum
        } else {
            outcome.position = trailer + 8
        }
        return outcome
    }

    /// Offset of the deflate data after a header with any of the optional fields.
    private static func headerEnd(_ file: ByteView, _ start: Int) -> Int? {
        guard let flags = file.byte(start + 3) else { return nil }
        var at = start + 10
        if flags & 4 != 0 {
            guard let length = file.half(at) else { return nil }
            at += 2 + Int(length)
        }
        // A name and a comment, each ended by 0.
        for flag: UInt8 in [8, 16] where flags & flag != 0 {
            while true {
                guard let byte = file.byte(at) else { return nil }
                at += 1
                if byte == 0 { break }
            }
        }
        if flags & 2 != 0 { at += 2 }
        return at <= file.count ? at : nil
    }
}

/// The checksum of gzip and Ethernet, four bytes a step.
enum CRC32 {
    private static let polynomial: UInt32 = 0xEDB8_8320

    @_optimize(speed) static func of(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        let tables = ChecksumTables.make(polynomial)
        return unsafe tables.withUnsafeBufferPointer { tables in
            guard let table = tables.baseAddress, let start = bytes.baseAddress else { return 0 }
            var checksum = UInt32.max
            var at = 0
            while bytes.count &- at >= 4 {
                checksum ^= unsafe UInt32(
                    littleEndian: start.loadUnaligned(fromByteOffset: at, as: UInt32.self))
                let near = unsafe table[768 &+ Int(checksum & 0xFF)]
                let next = unsafe table[512 &+ Int(checksum >> 8 & 0xFF)]
                let far = unsafe table[256 &+ Int(checksum >> 16 & 0xFF)]
                checksum = unsafe near ^ next ^ far ^ table[Int(checksum >> 24)]
                at &+= 4
            }
            while at < bytes.count {
                let byte = unsafe start.load(fromByteOffset: at, as: UInt8.self)
                let index = Int(UInt8(truncatingIfNeeded: checksum) ^ byte)
                checksum = unsafe checksum >> 8 ^ table[index]
                at &+= 1
            }
            return ~checksum
        }
    }
}
