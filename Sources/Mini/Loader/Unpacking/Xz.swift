// Unpacks an xz stream: a header, blocks of LZMA2 data that may have gone through the x86 filter, an index
// of the blocks, a footer. All of it is held against its checksums.
// Source: docs/abi/pc.md §1.3; the XZ file format, 1.1.

enum Xz {
    static let signature: [UInt8?] = [0xFD, 0x37, 0x7A, 0x58, 0x5A, 0]
    private static let headerSize = 12
    /// More than any kernel has: what is known of each is kept until the index comes.
    private static let mostBlocks = 1 << 14
    private static let filterX86: UInt64 = 4
    private static let filterLzma2: UInt64 = 0x21

    /// Unpacks the stream at `start`, which ends at `end` or before.
    /// - Parameter output: room for the unpacked bytes; more is never written. A damaged block's are as
    ///   the x86 filter left them.
    static func unpack(
        _ file: ByteView, at start: Int, end: Int, to output: UnsafeMutableRawBufferPointer
    ) -> Unpacked {
        var stream = unsafe Stream(input: PackedBytes(file, end: end), output: output, start)
        do throws(Damage) { try stream.run() } catch {
            return Unpacked(
                position: error.position, produced: stream.produced, failure: error.failure)
        }
        return Unpacked(position: stream.position, produced: stream.produced, failure: nil)
    }

    /// What a stream's blocks are checked by.
    private enum Check: UInt8 {
        case none = 0
        case crc32 = 1
        case crc64 = 4

        var size: Int {
            switch self {
            case .none: 0
            case .crc32: 4
            case .crc64: 8
            }
        }

        func of(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
            switch self {
            case .none: 0
            case .crc32: unsafe UInt64(CRC32.of(bytes))
            case .crc64: unsafe CRC64.of(bytes)
            }
        }
    }

    /// What a block's header says.
    private struct BlockHeader {
        var packed: UInt64?
        var unpacked: UInt64?
        /// The address that the x86 filter took for the first byte's; nil without that filter.
        var filterOrigin: UInt32?
        var dictionary = 0
    }

    /// A block as the index has it.
    private struct Record: Equatable {
        var size: UInt64
        var unpacked: UInt64
    }

    @safe private struct Stream {
        private let input: PackedBytes
        private let output: UnsafeMutableRawBufferPointer
        private(set) var position: Int
        private(set) var produced = 0
        private var check = Check.none
        private var records: [Record] = []

        init(input: PackedBytes, output: UnsafeMutableRawBufferPointer, _ start: Int) {
            self.input = input
            unsafe self.output = unsafe output
            position = start
        }

        mutating func run() throws(Damage) {
            let flags = try header()
            while try input.byte(position) != 0 { try block() }
            let index = position
            try readIndex()
            try footer(flags, indexSize: position - index)
        }

        private func checksum(_ from: Int, _ to: Int) -> UInt32 {
            unsafe CRC32.of(
                UnsafeRawBufferPointer(start: input.pointer(from), count: to - from))
        }

        /// - Throws: if a checksum over the bytes from `start` up to here does not follow; goes after it.
        private mutating func verify(from start: Int) throws(Damage) {
            let stored = try input.number(position, bytes: 4)
            guard stored == UInt64(checksum(start, position)) else {
                throw Damage(position, .wrongChecksum)
            }
            position += 4
        }

        /// A number of 7 bits a byte, the lowest first.
        private mutating func number() throws(Damage) -> UInt64 {
            var number: UInt64 = 0
            for shift in 0..<9 {
                let byte = try input.byte(position)
                if byte == 0 && shift > 0 { break }
                number |= UInt64(byte & 0x7F) << UInt64(7 * shift)
                position += 1
                if byte & 0x80 == 0 { return number }
            }
            throw .corrupt(position, "a number that does not end")
        }

        /// - Returns: the stream's flags.
        private mutating func header() throws(Damage) -> UInt64 {
            for (index, byte) in Xz.signature.enumerated() {
                guard try input.byte(position + index) == byte else {
                    throw .corrupt(position, "no xz signature")
                }
            }
            let start = position + 6
            let flags = try input.number(start, bytes: 2)
            position = start + 2
            try verify(from: start)
            guard flags & 0xF0FF == 0, let check = Check(rawValue: UInt8(flags >> 8)) else {
                throw .corrupt(start, "a check that mini does not know")
            }
            self.check = check
            return flags
        }

        // MARK: Blocks

        private mutating func block() throws(Damage) {
            let start = position
            guard records.count < Xz.mostBlocks else { throw .corrupt(start, "too many blocks") }
            let header = try blockHeader()
            let data = position
            let first = produced
            var lzma = unsafe Lzma2(
                input, from: data, to: output, produced: produced, dictionary: header.dictionary)
            let damage: Damage?
            do throws(Damage) {
                try lzma.run()
                damage = nil
            } catch { damage = error }
            position = lzma.position
            produced = lzma.produced
            if let damage { throw damage }
            let unpadded = position - start
            if let packed = header.packed, packed != UInt64(position - data) {
                throw Damage(position, .wrongLength)
            }
            if let unpacked = header.unpacked, unpacked != UInt64(produced - first) {
                throw Damage(position, .wrongLength)
            }
            try padding(from: start)
            let bytes = unsafe UnsafeMutableRawBufferPointer(rebasing: output[first..<produced])
            if let origin = header.filterOrigin { unsafe X86Filter.undo(bytes, origin: origin) }
            let stored = try input.number(position, bytes: check.size)
            guard unsafe stored == check.of(UnsafeRawBufferPointer(bytes)) else {
                throw Damage(position, .wrongChecksum)
            }
            position += check.size
            records.append(
                Record(size: UInt64(unpadded + check.size), unpacked: UInt64(produced - first)))
        }

        /// Zeros up to a multiple of four.
        private mutating func padding(from start: Int) throws(Damage) {
            while (position - start) & 3 != 0 {
                guard try input.byte(position) == 0 else {
                    throw .corrupt(position, "a padding of something else than zeros")
                }
                position += 1
            }
        }

        private mutating func blockHeader() throws(Damage) -> BlockHeader {
            let start = position
            let end = start + Int(try input.byte(start)) * 4
            try input.require(start, end - start + 4)
            position = end
            try verify(from: start)
            position = start + 1
            var header = BlockHeader()
            let flags = try input.byte(position)
            position += 1
            guard flags & 0x3C == 0 else { throw .corrupt(start + 1, "a block of unknown kind") }
            if flags & 0x40 != 0 { header.packed = try number() }
            if flags & 0x80 != 0 { header.unpacked = try number() }
            for left in (0...(flags & 3)).reversed() {
                try filter(&header, isLast: left == 0, end)
            }
            while position < end {
                guard try input.byte(position) == 0 else {
                    throw .corrupt(position, "a block header with something behind it")
                }
                position += 1
            }
            guard position == end else { throw .corrupt(start, "a block header that is too short") }
            position = end + 4
            return header
        }

        private mutating func filter(
            _ header: inout BlockHeader, isLast: Bool, _ end: Int
        ) throws(Damage) {
            let start = position
            let kind = try number()
            let size = try number()
            guard position <= end, size <= UInt64(end - position) else {
                throw .corrupt(start, "a filter that does not fit into its header")
            }
            let properties = position
            position += Int(size)
            switch (kind, size) {
            case (Xz.filterLzma2, 1) where isLast:
                header.dictionary = try dictionary(properties)
            case (Xz.filterX86, 0) where !isLast && header.filterOrigin == nil:
                header.filterOrigin = 0
            case (Xz.filterX86, 4) where !isLast && header.filterOrigin == nil:
                header.filterOrigin = UInt32(try input.number(properties, bytes: 4))
            default:
                throw Damage(start, .corrupt("a filter that mini does not know, number \(kind)"))
            }
        }

        /// The size of a dictionary: 2 or 3 times a power of two, from 4 KiB on.
        private func dictionary(_ at: Int) throws(Damage) -> Int {
            let byte = try input.byte(at)
            guard byte <= 40 else { throw .corrupt(at, "a dictionary that is too large") }
            let size = (2 | UInt64(byte & 1)) << UInt64(byte / 2 + 11)
            return Int(clamping: size)
        }

        // MARK: The end

        private mutating func readIndex() throws(Damage) {
            let start = position
            position += 1
            guard try number() == UInt64(records.count) else {
                throw .corrupt(start + 1, "an index of other blocks than there are")
            }
            for record in records {
                let at = position
                guard Record(size: try number(), unpacked: try number()) == record else {
                    throw .corrupt(at, "an index of other blocks than there are")
                }
            }
            try padding(from: start)
            try verify(from: start)
        }

        private mutating func footer(_ flags: UInt64, indexSize: Int) throws(Damage) {
            let start = position
            let stored = try input.number(start, bytes: 4)
            let size = try input.number(start + 4, bytes: 4)
            let same = try input.number(start + 8, bytes: 2)
            let mark = try input.number(start + 10, bytes: 2)
            guard mark == 0x5A59 else { throw .corrupt(start + 10, "no end of an xz stream") }
            guard stored == UInt64(checksum(start + 4, start + 10)) else {
                throw Damage(start, .wrongChecksum)
            }
            guard same == flags, (size + 1) * 4 == UInt64(indexSize) else {
                throw .corrupt(start + 4, "an end that does not fit the beginning")
            }
            position = start + Xz.headerSize
        }
    }
}
