// Unpacks "deflate" data from memory to memory. Every byte read is inside the input, every byte
// written inside the output, whatever the data say; where they stop making sense, the position
// is known to the byte.
//
// A code of up to `fastBits` bits is one look-up, which gives all that there is to know of its symbol;
// the rare longer ones are resolved bit by bit from the number of codes of each length, which is
// all that defines a canonical Huffman code.
// Source: RFC 1951.

/// One run of the unpacker.
@safe struct Inflate {
    enum Failure: Error, Equatable {
        /// The input is over before the data are.
        case endsEarly
        /// The output is full before the data end.
        case full
        case corrupt(Text)
    }

    private var source: BitSource
    private let output: UnsafeMutableRawPointer?
    private let room: Int
    /// Bytes written so far, also after a failure.
    private(set) var produced = 0

    /// Offset in the input of the first byte of which no bit has been used.
    var position: Int { source.position }

    /// - Parameters: the input and where in it the data begin; where the unpacked bytes go.
    init(_ input: ByteView, from: Int, to output: UnsafeMutableRawBufferPointer) {
        source = BitSource(input, from: from)
        unsafe self.output = output.baseAddress
        room = output.count
    }

    /// Unpacks blocks until the last one is done.
    mutating func run() throws(Failure) {
        var isLast = false
        while !isLast {
            isLast = try source.take(1) == 1
            switch try source.take(2) {
            case 0: try stored()
            case 1: try block(Self.fixedLiterals(), Self.fixedDistances())
            case 2: try dynamic()
            default: throw .corrupt("a block of unknown kind")
            }
        }
    }

    // MARK: Bits

    /// The input, from which bits are taken. A loop keeps its own copy in registers.
    @safe private struct BitSource {
        private let input: UnsafeRawPointer
        private let inputCount: Int
        private var next: Int
        /// Bits read and not used, the next one lowest. Above the `count` that are accounted
        /// for there may be more, the same that a refill puts there again.
        private(set) var bits: UInt = 0
        private(set) var count: UInt = 0

        /// Offset in the input of the first byte of which no bit has been used.
        var position: Int { next - Int(count / 8) }

        init(_ input: ByteView, from: Int) {
            inputCount = input.count
            next = min(max(0, from), input.count)
            unsafe self.input =
                input.buffer.baseAddress ?? UnsafeRawPointer(bitPattern: 1).unsafelyUnwrapped
        }

        /// True if `fill` may be called three times.
        var isFar: Bool {
            @inline(__always) get { inputCount &- next >= 4 &* MemoryLayout<UInt>.size }
        }

        /// Fills the bit buffer with a whole word, up to 24 bits at least: those of its bytes that fit in count as read.
        @inline(__always)
        mutating func fill() {
            let word = unsafe UInt(
                littleEndian: input.loadUnaligned(fromByteOffset: next, as: UInt.self))
            bits |= word &<< count
            next &+= Int(truncatingIfNeeded: (UInt(UInt.bitWidth - 1) &- count) >> 3)
            count |= UInt(UInt.bitWidth - 8)
        }

        /// The same where the input may end, as far as there is any.
        private mutating func fillToEnd() {
            while count <= UInt(UInt.bitWidth - 8) && next < inputCount {
                let byte = unsafe input.load(fromByteOffset: next, as: UInt8.self)
                bits |= UInt(byte) &<< count
                next &+= 1
                count &+= 8
            }
        }

        @inline(__always)
        mutating func drop(_ number: UInt) {
            bits = bits &>> number
            count &-= number
        }

        /// The lowest bits as a number.
        @inline(__always)
        mutating func taken(_ number: UInt) -> Int {
            let value = bits & ~(UInt.max &<< number)
            drop(number)
            return Int(truncatingIfNeeded: value)
        }

        /// Up to 16 bits as a number.
        mutating func take(_ number: UInt) throws(Failure) -> Int {
            if count < number {
                fillToEnd()
                if count < number { throw .endsEarly }
            }
            return taken(number)
        }

        /// The entry of the next symbol.
        mutating func entry(_ code: borrowing Code) throws(Failure) -> Entry {
            if count < 15 { fillToEnd() }
            let entry = code.entry(bits)
            guard entry.length <= count else { throw .endsEarly }
            if entry.length == 0 {
                throw count < 15
                    ? .endsEarly : .corrupt("a word that its code does not have")
            }
            drop(entry.length)
            return entry
        }

        /// Up to `number` bytes as they are, from the next whole one on.
        mutating func bytes(_ number: Int) -> UnsafeRawBufferPointer {
            // Whole bytes may wait in the bit buffer: give them back.
            next = position
            bits = 0
            count = 0
            let available = min(number, inputCount - next)
            let bytes = unsafe UnsafeRawBufferPointer(start: input + next, count: available)
            next += available
            return unsafe bytes
        }
    }

    // MARK: Codes

    private static let fastBits = 11

    /// A word of a code, and what it stands for.
    private struct Entry {
        /// Bits 0 to 3 the word's length, 0 for none; 8 to 11 the number of extra bits; 12 to 27 the value, to
        /// which the extra bits count; 28 to 31 what it is.
        private let word: UInt32

        /// What is at the top of the word.
        enum Kind: UInt32 { case copy = 0, end = 1, none = 2, plain = 8 }

        static var none: Entry { Entry(0, .none, length: 0) }

        init(_ value: Int, extra: Int = 0, _ kind: Kind, length: Int) {
            word =
                UInt32(truncatingIfNeeded: length | extra << 8 | value << 12) | kind.rawValue << 28
        }

        var length: UInt { UInt(word & 15) }
        var extra: UInt { UInt(word >> 8 & 15) }
        var value: Int { Int(word >> 12 & 0xFFFF) }
        var isPlain: Bool { word >> 31 == 1 }
        var isCopy: Bool { word >> 28 == 0 }
        var isEnd: Bool { word >> 28 == 1 }
    }

    /// What the symbols of a code are.
    private enum Alphabet {
        case lengths, literals, distances

        func entry(_ symbol: Int, _ length: Int) -> Entry {
            switch self {
            case .literals where symbol > 255:
                // 3 to 258; symbols in fours share a number of extra bits.
                if symbol == 256 { return Entry(0, .end, length: length) }
                if symbol < 265 { return Entry(symbol - 254, .copy, length: length) }
                if symbol == 285 { return Entry(258, .copy, length: length) }
                if symbol > 285 { return Entry(0, .none, length: length) }
                let extra = (symbol - 261) >> 2
                return Entry(
                    3 + (4 + (symbol - 265) & 3) << extra, extra: extra, .copy, length: length)
            case .distances where symbol > 3:
                // 1 to 32768; symbols in pairs share a number of extra bits.
                if symbol > 29 { return Entry(0, .none, length: length) }
                let extra = (symbol - 2) >> 1
                return Entry(1 + (2 + symbol & 1) << extra, extra: extra, .plain, length: length)
            case .distances: return Entry(symbol + 1, .plain, length: length)
            default: return Entry(symbol, .plain, length: length)
            }
        }
    }

    private struct Code {
        /// By the next `fastBits` bits: the symbol; none for a longer code.
        var fast = [Entry](repeating: .none, count: 1 << Inflate.fastBits)
        /// How many codes there are of each length, and their symbols in the order of the codes.
        var counts = [UInt16](repeating: 0, count: 16)
        var symbols: [Entry] = []

        /// - Parameter lengths: of each symbol's code in bits, 0 for a symbol without one.
        /// - Throws: if there are more codes than fit, or too few (a single one may be alone).
        init(_ lengths: ArraySlice<UInt8>, _ alphabet: Alphabet) throws(Failure) {
            symbols = [Entry](repeating: .none, count: lengths.count)
            for length in lengths { counts[Int(length)] += 1 }
            let used = lengths.count - Int(counts[0])
            counts[0] = 0
            var free = 1
            for length in 1...15 {
                free = free * 2 - Int(counts[length])
                if free < 0 { throw .corrupt("a code with too many words") }
            }
            if free > 0 && !(used == 0 || (used == 1 && counts[1] == 1)) {
                throw .corrupt("an incomplete code")
            }
            var firstIndex = [Int](repeating: 0, count: 17)
            var nextCode = [Int](repeating: 0, count: 17)
            for length in 1...15 {
                firstIndex[length + 1] = firstIndex[length] + Int(counts[length])
                nextCode[length + 1] = (nextCode[length] + Int(counts[length])) * 2
            }
            for (symbol, length) in lengths.enumerated() where length > 0 {
                let length = Int(length)
                let entry = alphabet.entry(symbol, length)
                symbols[firstIndex[length]] = entry
                firstIndex[length] += 1
                enter(entry, nextCode[length])
                nextCode[length] += 1
            }
        }

        /// Enters a symbol at every index whose low bits are its code, first bit lowest.
        private mutating func enter(_ entry: Entry, _ code: Int) {
            let length = Int(entry.length)
            guard length <= Inflate.fastBits else { return }
            var reversed = 0
            for bit in 0..<length where code >> bit & 1 == 1 { reversed |= 1 << (length - 1 - bit) }
            var index = reversed
            while index < 1 << Inflate.fastBits {
                fast[index] = entry
                index += 1 << length
            }
        }

        /// The entry of the word with which these bits begin; none if the code does not have it.
        borrowing func entry(_ bits: UInt) -> Entry {
            let entry = fast[Int(bits & (1 << UInt(Inflate.fastBits) - 1))]
            return entry.length > 0 ? entry : long(bits)
        }

        private borrowing func long(_ bits: UInt) -> Entry {
            var word = 0
            var first = 0
            var index = 0
            for length in 1...15 {
                word |= Int(bits >> UInt(length - 1) & 1)
                let count = Int(counts[length])
                if word - count < first { return symbols[index + word - first] }
                index += count
                first = (first + count) << 1
                word <<= 1
            }
            return .none
        }
    }

    // MARK: Blocks

    private mutating func stored() throws(Failure) {
        source.drop(source.count & 7)
        let length = try source.take(16)
        let check = try source.take(16)
        guard length == check ^ 0xFFFF else { throw .corrupt("a stored block of doubtful length") }
        let bytes = unsafe source.bytes(length)
        guard bytes.count <= room - produced else { throw .full }
        if bytes.count > 0, let input = bytes.baseAddress, let output = unsafe output {
            unsafe (output + produced).copyMemory(from: input, byteCount: bytes.count)
        }
        produced += bytes.count
        if bytes.count < length { throw .endsEarly }
    }

    private static func fixedLiterals() throws(Failure) -> Code {
        var lengths = [UInt8](repeating: 8, count: 288)
        for symbol in 144..<256 { lengths[symbol] = 9 }
        for symbol in 256..<280 { lengths[symbol] = 7 }
        return try Code(lengths[...], .literals)
    }

    private static func fixedDistances() throws(Failure) -> Code {
        try Code([UInt8](repeating: 5, count: 32)[...], .distances)
    }

    private mutating func dynamic() throws(Failure) {
        let literalCount = try source.take(5) + 257
        let distanceCount = try source.take(5) + 1
        let lengthCount = try source.take(4) + 4
        guard literalCount <= 286 && distanceCount <= 30 else {
            throw .corrupt("a code with too many symbols")
        }
        var lengthLengths = [UInt8](repeating: 0, count: 19)
        for index in 0..<lengthCount {
            lengthLengths[Self.lengthOrder(index)] = UInt8(try source.take(3))
        }
        let lengthCode = try Code(lengthLengths[...], .lengths)
        var lengths: [UInt8] = []
        lengths.reserveCapacity(literalCount + distanceCount)
        while lengths.count < literalCount + distanceCount {
            let symbol = try source.entry(lengthCode).value
            if symbol < 16 {
                lengths.append(UInt8(symbol))
                continue
            }
            let value: UInt8
            let times: Int
            switch symbol {
            case 16:
                guard let last = lengths.last else { throw .corrupt("a repetition of nothing") }
                value = last
                times = 3 + (try source.take(2))
            case 17: (value, times) = (0, 3 + (try source.take(3)))
            default: (value, times) = (0, 11 + (try source.take(7)))
            }
            guard times <= literalCount + distanceCount - lengths.count else {
                throw .corrupt("a repetition beyond the end of a code")
            }
            for _ in 0..<times { lengths.append(value) }
        }
        guard lengths[256] > 0 else { throw .corrupt("a block that cannot end") }
        try block(
            try Code(lengths[..<literalCount], .literals),
            try Code(lengths[literalCount...], .distances))
    }

    /// In which order the lengths of the length code are given.
    private static func lengthOrder(_ index: Int) -> Int {
        switch index {
        case 0...2: 16 + index
        case 3: 0
        default: index & 1 == 0 ? 6 + index / 2 : 10 - (index + 1) / 2
        }
    }

    /// Literals and copies until the end mark.
    private mutating func block(
        _ literals: borrowing Code, _ distances: borrowing Code
    ) throws(Failure) {
        while true {
            if let output = unsafe output {
                unsafe (source, produced) = Self.quick(
                    source, literals.fast, distances.fast, to: output, produced, limit: room - 260)
            }
            let entry = try source.entry(literals)
            if entry.isPlain {
                guard produced < room, let output = unsafe output else { throw .full }
                unsafe output.storeBytes(
                    of: UInt8(truncatingIfNeeded: entry.value), toByteOffset: produced,
                    as: UInt8.self)
                produced &+= 1
                continue
            }
            guard entry.isCopy else {
                if entry.isEnd { return }
                throw .corrupt("a copy of unknown length")
            }
            let length = entry.value &+ (try source.take(entry.extra))
            let far = try source.entry(distances)
            guard far.isPlain else { throw .corrupt("a copy from an unknown distance") }
            let distance = far.value &+ (try source.take(far.extra))
            guard distance <= produced else {
                throw .corrupt("a copy from before the beginning")
            }
            guard length <= room &- produced, let output = unsafe output else { throw .full }
            unsafe Self.copy(output + produced, distance: distance, length: length)
            produced &+= length
        }
    }

    /// The same while neither the input nor the output can end in a symbol, and up to the first word that the tables
    /// do not have.
    private static func quick(
        _ source: BitSource, _ literals: [Entry], _ distances: [Entry],
        to output: UnsafeMutableRawPointer, _ produced: Int, limit: Int
    ) -> (BitSource, Int) {
        var source = source
        var written = produced
        unsafe literals.withUnsafeBufferPointer { literals in
            unsafe distances.withUnsafeBufferPointer { distances in
                let mask = UInt(1 << fastBits - 1)
                guard literals.count > mask, distances.count > mask,
                    let literals = literals.baseAddress, let distances = distances.baseAddress
                else { return }
                while source.isFar && written <= limit {
                    source.fill()
                    var entry = unsafe literals[Int(truncatingIfNeeded: source.bits & mask)]
                    if entry.isPlain {
                        unsafe output.storeBytes(
                            of: UInt8(truncatingIfNeeded: entry.value), toByteOffset: written,
                            as: UInt8.self)
                        written &+= 1
                        source.drop(entry.length)
                        entry = unsafe literals[Int(truncatingIfNeeded: source.bits & mask)]
                        if entry.isPlain {
                            unsafe output.storeBytes(
                                of: UInt8(truncatingIfNeeded: entry.value), toByteOffset: written,
                                as: UInt8.self)
                            written &+= 1
                            source.drop(entry.length)
                            continue
                        }
                        if source.count < 16 { source.fill() }
                    }
                    guard entry.isCopy else { break }
                    let before = source
                    source.drop(entry.length)
                    let length = entry.value &+ source.taken(entry.extra)
                    if source.count < 24 { source.fill() }
                    let far = unsafe distances[Int(truncatingIfNeeded: source.bits & mask)]
                    source.drop(far.length)
                    let distance = far.value &+ source.taken(far.extra)
                    guard far.isPlain, distance <= written else {
                        source = before
                        break
                    }
                    unsafe Self.copy(output + written, distance: distance, length: length)
                    written &+= length
                }
            }
        }
        return (source, written)
    }

    /// Repeats 3 bytes or more written before. Source and target may overlap: then the pattern repeats.
    @inline(__always)
    private static func copy(_ to: UnsafeMutableRawPointer, distance: Int, length: Int) {
        let from = unsafe to - distance
        var at = 0
        if distance >= 4 && length >= 4 {
            // The last word may overlap the one before.
            while at < length &- 4 {
                unsafe to.storeBytes(
                    of: from.loadUnaligned(fromByteOffset: at, as: UInt32.self), toByteOffset: at,
                    as: UInt32.self)
                at &+= 4
            }
            at = length &- 4
            unsafe to.storeBytes(
                of: from.loadUnaligned(fromByteOffset: at, as: UInt32.self), toByteOffset: at,
                as: UInt32.self)
            return
        }
        while at < length {
            unsafe to.storeBytes(
                of: from.load(fromByteOffset: at, as: UInt8.self), toByteOffset: at, as: UInt8.self)
            at &+= 1
        }
    }
}
