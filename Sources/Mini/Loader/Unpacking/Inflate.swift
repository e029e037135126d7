// Unpacks "deflate" data from memory to memory. Every byte read is inside the input, every byte
// written inside the output, whatever the data say; where they stop making sense, the position
// is known to the byte.
//
// A code of up to `fastBits` bits is one look-up; the rare longer ones are resolved bit by bit
// from the number of codes of each length, which is all that defines a canonical Huffman code.
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

    private let input: UnsafeRawPointer?
    private let inputCount: Int
    private let output: UnsafeMutableRawPointer?
    private let room: Int
    private var next: Int
    /// Bits read and not used, the next one lowest. Above the `bitCount` that are accounted
    /// for there may be more, the same that a refill puts there again.
    private var bits: UInt = 0
    private var bitCount = 0
    /// Bytes written so far, also after a failure.
    private(set) var produced = 0

    /// Offset in the input of the first byte of which no bit has been used.
    var position: Int { next - bitCount / 8 }

    /// - Parameters: the input and where in it the data begin; where the unpacked bytes go.
    init(_ input: ByteView, from: Int, to output: UnsafeMutableRawBufferPointer) {
        unsafe self.input = input.buffer.baseAddress
        inputCount = input.count
        unsafe self.output = output.baseAddress
        room = output.count
        next = min(max(0, from), input.count)
    }

    /// Unpacks blocks until the last one is done.
    mutating func run() throws(Failure) {
        var isLast = false
        while !isLast {
            isLast = try take(1) == 1
            switch try take(2) {
            case 0: try stored()
            case 1: try block(Self.fixedLiterals(), Self.fixedDistances())
            case 2: try dynamic()
            default: throw .corrupt("a block of unknown kind")
            }
        }
    }

    // MARK: Bits

    /// Fills the bit buffer up to 24 bits at least, as far as there is input.
    @inline(__always)
    private mutating func refill() {
        guard let input = unsafe input else { return }
        if inputCount &- next >= MemoryLayout<UInt>.size {
            // A whole word: those of its bytes that fit in count as read.
            let word = unsafe UInt(
                littleEndian: input.loadUnaligned(fromByteOffset: next, as: UInt.self))
            bits |= word &<< UInt(bitCount)
            next &+= (UInt.bitWidth - 1 &- bitCount) >> 3
            bitCount |= UInt.bitWidth - 8
            return
        }
        while bitCount <= UInt.bitWidth - 8 && next < inputCount {
            bits |= UInt(unsafe input.load(fromByteOffset: next, as: UInt8.self)) &<< UInt(bitCount)
            next &+= 1
            bitCount &+= 8
        }
    }

    @inline(__always)
    private mutating func drop(_ count: Int) {
        bits >>= UInt(count)
        bitCount &-= count
    }

    /// Up to 16 bits as a number.
    private mutating func take(_ count: Int) throws(Failure) -> Int {
        if bitCount < count {
            refill()
            if bitCount < count { throw .endsEarly }
        }
        let value = Int(bits & (1 &<< UInt(count) &- 1))
        drop(count)
        return value
    }

    // MARK: Codes

    private static let fastBits = 10

    private struct Code {
        /// By the next `fastBits` bits: symbol times 16 plus length; 0 for a longer code.
        var fast = [UInt16](repeating: 0, count: 1 << Inflate.fastBits)
        /// How many codes there are of each length, and their symbols in the order of the codes.
        var counts = [UInt16](repeating: 0, count: 16)
        var symbols: [UInt16] = []

        /// - Parameter lengths: of each symbol's code in bits, 0 for a symbol without one.
        /// - Throws: if there are more codes than fit, or too few (a single one may be alone).
        init(_ lengths: ArraySlice<UInt8>) throws(Failure) {
            symbols = [UInt16](repeating: 0, count: lengths.count)
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
                symbols[firstIndex[length]] = UInt16(symbol)
                firstIndex[length] += 1
                fill(symbol, length, nextCode[length])
                nextCode[length] += 1
            }
        }

        /// Enters a code at every index whose low bits are the code, first bit lowest.
        private mutating func fill(_ symbol: Int, _ length: Int, _ code: Int) {
            guard length <= Inflate.fastBits else { return }
            var reversed = 0
            for bit in 0..<length where code >> bit & 1 == 1 { reversed |= 1 << (length - 1 - bit) }
            var index = reversed
            while index < 1 << Inflate.fastBits {
                fast[index] = UInt16(symbol << 4 | length)
                index += 1 << length
            }
        }
    }

    /// The next symbol.
    @inline(__always)
    private mutating func symbol(_ code: borrowing Code) throws(Failure) -> Int {
        if bitCount < 15 { refill() }
        let entry = Int(code.fast[Int(bits & (1 << UInt(Self.fastBits) - 1))])
        let length = entry & 15
        if length != 0 && length <= bitCount {
            drop(length)
            return entry >> 4
        }
        return try longSymbol(code)
    }

    private mutating func longSymbol(_ code: borrowing Code) throws(Failure) -> Int {
        var word = 0
        var first = 0
        var index = 0
        for length in 1...15 {
            guard length <= bitCount else { throw .endsEarly }
            word |= Int(bits >> UInt(length - 1) & 1)
            let count = Int(code.counts[length])
            if word - count < first {
                drop(length)
                return Int(code.symbols[index + word - first])
            }
            index += count
            first = (first + count) << 1
            word <<= 1
        }
        throw .corrupt("a word that its code does not have")
    }

    // MARK: Blocks

    private mutating func stored() throws(Failure) {
        drop(bitCount & 7)
        let length = try take(16)
        let check = try take(16)
        guard length == check ^ 0xFFFF else { throw .corrupt("a stored block of doubtful length") }
        // Whole bytes may wait in the bit buffer: give them back.
        next -= bitCount / 8
        bits = 0
        bitCount = 0
        let available = min(length, inputCount - next)
        guard available <= room - produced else { throw .full }
        if available > 0, let input = unsafe input, let output = unsafe output {
            unsafe (output + produced).copyMemory(from: input + next, byteCount: available)
        }
        next += available
        produced += available
        if available < length { throw .endsEarly }
    }

    private static func fixedLiterals() throws(Failure) -> Code {
        var lengths = [UInt8](repeating: 8, count: 288)
        for symbol in 144..<256 { lengths[symbol] = 9 }
        for symbol in 256..<280 { lengths[symbol] = 7 }
        return try Code(lengths[...])
    }

    private static func fixedDistances() throws(Failure) -> Code {
        try Code([UInt8](repeating: 5, count: 32)[...])
    }

    private mutating func dynamic() throws(Failure) {
        let literalCount = try take(5) + 257
        let distanceCount = try take(5) + 1
        let lengthCount = try take(4) + 4
        guard literalCount <= 286 && distanceCount <= 30 else {
            throw .corrupt("a code with too many symbols")
        }
        var lengthLengths = [UInt8](repeating: 0, count: 19)
        for index in 0..<lengthCount {
            lengthLengths[Self.lengthOrder(index)] = UInt8(try take(3))
        }
        let lengthCode = try Code(lengthLengths[...])
        var lengths: [UInt8] = []
        lengths.reserveCapacity(literalCount + distanceCount)
        while lengths.count < literalCount + distanceCount {
            let symbol = try symbol(lengthCode)
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
                times = 3 + (try take(2))
            case 17: (value, times) = (0, 3 + (try take(3)))
            default: (value, times) = (0, 11 + (try take(7)))
            }
            guard times <= literalCount + distanceCount - lengths.count else {
                throw .corrupt("a repetition beyond the end of a code")
            }
            for _ in 0..<times { lengths.append(value) }
        }
        guard lengths[256] > 0 else { throw .corrupt("a block that cannot end") }
        try block(try Code(lengths[..<literalCount]), try Code(lengths[literalCount...]))
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
            let symbol = try symbol(literals)
            if symbol < 256 {
                guard produced < room, let output = unsafe output else { throw .full }
                unsafe output.storeBytes(
                    of: UInt8(truncatingIfNeeded: symbol), toByteOffset: produced, as: UInt8.self)
                produced &+= 1
                continue
            }
            if symbol == 256 { return }
            let length = try length(symbol)
            let distance = try distance(try self.symbol(distances))
            guard distance <= produced else {
                throw .corrupt("a copy from before the beginning")
            }
            guard length <= room - produced else { throw .full }
            copy(distance: distance, length: length)
        }
    }

    /// 3 to 258; symbols in fours share a number of extra bits.
    @inline(__always)
    private mutating func length(_ symbol: Int) throws(Failure) -> Int {
        if symbol < 265 { return symbol - 254 }
        if symbol == 285 { return 258 }
        guard symbol < 285 else { throw .corrupt("a copy of unknown length") }
        let extra = (symbol - 261) >> 2
        return 3 + (4 + (symbol - 265) & 3) << extra + (try take(extra))
    }

    /// 1 to 32768; symbols in pairs share a number of extra bits.
    @inline(__always)
    private mutating func distance(_ symbol: Int) throws(Failure) -> Int {
        if symbol < 4 { return symbol + 1 }
        guard symbol < 30 else { throw .corrupt("a copy from an unknown distance") }
        let extra = (symbol - 2) >> 1
        return 1 + (2 + symbol & 1) << extra + (try take(extra))
    }

    /// Repeats bytes written before. Source and target may overlap: then the pattern repeats.
    @inline(__always)
    private mutating func copy(distance: Int, length: Int) {
        guard let output = unsafe output else { return }
        var to = unsafe output + produced
        var from = unsafe to - distance
        var rest = length
        while rest >= 8 && distance >= 8 {
            unsafe to.storeBytes(of: from.loadUnaligned(as: UInt64.self), as: UInt64.self)
            unsafe to += 8
            unsafe from += 8
            rest &-= 8
        }
        while rest > 0 {
            unsafe to.storeBytes(of: from.load(as: UInt8.self), as: UInt8.self)
            unsafe to += 1
            unsafe from += 1
            rest &-= 1
        }
        produced &+= length
    }
}
