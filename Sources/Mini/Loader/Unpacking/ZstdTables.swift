// The two kinds of codes of zstd: "finite state entropy", whose symbols take fractions of bits as they move from state to
// state, for lengths, distances and the codes' own descriptions; and Huffman codes for literals.
// Source: docs/abi/pc.md §1.3; RFC 8878 §4.

/// What a state of an entropy code stands for, and where it goes from there.
struct ZstdCell {
    /// The value, less what its extra bits add; for weights of Huffman codes the symbol itself.
    var base: UInt32 = 0
    /// The next state, less what `bits` bits add.
    var next: UInt16 = 0
    /// Extra bits of the value.
    var extra: UInt8 = 0
    var bits: UInt8 = 0
}

/// The odds of each symbol, in parts of `1 << log`; -1 stands for less than one part.
struct ZstdOdds {
    private(set) var odds: [Int16] = []
    private(set) var log = 0

    init(_ odds: [Int16], log: Int) {
        self.odds = odds
        self.log = log
    }

    /// Reads a description.
    /// - Parameters:
    ///   - position: where it begins; afterwards what follows it.
    ///   - end: where it ends at the latest.
    init(
        _ input: PackedBytes, _ position: inout Int, end: Int, most: Int, mostLog: Int
    ) throws(Damage) {
        let start = position
        var bits = ForwardBits(input: input, start: start, end: end)
        log = 5 + (try bits.take(4))
        guard log <= mostLog else { throw .corrupt(start, "a code with too many states") }
        var left = 1 << log
        while left > 0 {
            guard odds.count < most else {
                throw .corrupt(bits.position, "a code with too many symbols")
            }
            // As many bits as the largest possible value has; small values take one less.
            let count = Int.bitWidth - (left + 1).leadingZeroBitCount
            let spare = 1 << count - 1 - (left + 1)
            var value = try bits.take(count - 1)
            if value >= spare {
                value += (try bits.take(1)) << (count - 1)
                if value >= 1 << (count - 1) { value -= spare }
            }
            odds.append(Int16(value - 1))
            left -= abs(value - 1)
            guard value == 1 else { continue }
            var more = 0
            repeat {
                more = try bits.take(2)
                guard odds.count + more <= most else {
                    throw .corrupt(bits.position, "a code with too many symbols")
                }
                for _ in 0..<more { odds.append(0) }
            } while more == 3
        }
        guard left == 0 else { throw .corrupt(bits.position, "a code with too many words") }
        position = bits.position
    }

    /// Bits from the beginning, the lowest of each byte first.
    private struct ForwardBits {
        let input: PackedBytes
        let start: Int
        let end: Int
        private var read = 0

        init(input: PackedBytes, start: Int, end: Int) {
            self.input = input
            self.start = start
            self.end = end
        }

        /// Of the first byte of which no bit was read.
        var position: Int { start + (read + 7) / 8 }

        @inline(never)
        mutating func take(_ count: Int) throws(Damage) -> Int {
            var value = 0
            for bit in 0..<count {
                let at = start + read / 8
                guard at < end else { throw .corrupt(at, "a code that does not end") }
                value |= Int(try input.byte(at) >> UInt8(read & 7) & 1) << bit
                read += 1
            }
            return value
        }
    }

    /// Makes a table of `1 << log` cells.
    /// - Parameter kind: whose values the symbols stand for; nil where they are what is asked for.
    @inline(never)
    func fill(_ cells: UnsafeMutablePointer<ZstdCell>, _ kind: ZstdKind?) {
        let size = 1 << log
        var symbols = [UInt8](repeating: 0, count: size)
        var nexts = [Int](repeating: 0, count: odds.count)
        var high = size
        for (symbol, odd) in odds.enumerated() {
            nexts[symbol] = odd < 0 ? 1 : Int(odd)
            if odd < 0 {
                high -= 1
                symbols[high] = UInt8(symbol)
            }
        }
        let step = size >> 1 + size >> 3 + 3
        var place = 0
        for (symbol, odd) in odds.enumerated() where odd > 0 {
            for _ in 0..<odd {
                symbols[place] = UInt8(symbol)
                repeat { place = (place + step) & (size - 1) } while place >= high
            }
        }
        for state in 0..<size {
            let code = Int(symbols[state])
            let next = nexts[code]
            nexts[code] += 1
            let bits = log - (Int.bitWidth - 1 - next.leadingZeroBitCount)
            let (base, extra) = kind?.value(code) ?? (UInt32(code), 0)
            unsafe cells[state] = ZstdCell(
                base: base, next: UInt16(next << bits - size), extra: extra, bits: UInt8(bits))
        }
    }
}

/// What sequences are made of: lengths of literals and copies, and distances.
enum ZstdKind {
    case literals, distances, matches

    var mostSymbols: Int {
        switch self {
        case .literals: 36
        case .distances: 32
        case .matches: 53
        }
    }

    var mostLog: Int { self == .distances ? 8 : 9 }

    /// Extra bits of the codes from the first one that has any.
    private static let literalBits: StaticString =
        "\u{1}\u{1}\u{1}\u{1}\u{2}\u{2}\u{3}\u{3}\u{4}\u{6}\u{7}\u{8}\u{9}\u{a}\u{b}\u{c}\u{d}\u{e}\u{f}\u{10}"
    private static let matchBits: StaticString =
        "\u{1}\u{1}\u{1}\u{1}\u{2}\u{2}\u{3}\u{3}\u{4}\u{4}\u{5}\u{7}\u{8}\u{9}\u{a}\u{b}\u{c}\u{d}\u{e}\u{f}\u{10}"

    /// The least value of a code, and how many bits are added to it.
    func value(_ code: Int) -> (base: UInt32, extra: UInt8) {
        switch self {
        case .distances: (1 << UInt32(code), UInt8(code))
        case .literals: Self.value(code, plain: 16, base: 0, Self.literalBits)
        case .matches: Self.value(code, plain: 32, base: 3, Self.matchBits)
        }
    }

    private static func value(
        _ code: Int, plain: Int, base: UInt32, _ bits: StaticString
    ) -> (base: UInt32, extra: UInt8) {
        if code < plain { return (base + UInt32(code), 0) }
        var base = base + UInt32(plain)
        for index in 0..<(code - plain) { base += 1 << UInt32(unsafe bits.utf8Start[index]) }
        return (base, unsafe bits.utf8Start[code - plain])
    }

    /// The odds where a block does not bring its own.
    var usual: ZstdOdds {
        var odds: [Int16]
        switch self {
        case .literals:
            odds = [Int16](repeating: 2, count: 36)
            odds[0] = 4
            for index in [1, 25] { odds[index] = 3 }
            for index in [13, 14, 15, 27, 28, 29, 30, 31] { odds[index] = 1 }
            for index in 32..<36 { odds[index] = -1 }
            return ZstdOdds(odds, log: 6)
        case .distances:
            odds = [Int16](repeating: 1, count: 29)
            for index in 6..<9 { odds[index] = 2 }
            for index in 24..<29 { odds[index] = -1 }
            return ZstdOdds(odds, log: 5)
        case .matches:
            odds = [Int16](repeating: 1, count: 53)
            odds[1] = 4
            odds[2] = 3
            for index in 3..<9 { odds[index] = 2 }
            for index in 46..<53 { odds[index] = -1 }
            return ZstdOdds(odds, log: 6)
        }
    }
}

/// A Huffman code of literals: by the next `log` bits, the byte times 256 and how many bits it takes.
@safe struct ZstdHuffman {
    static let mostLog = 11
    let cells: UnsafeMutablePointer<UInt16>
    private(set) var log = 0

    init(_ cells: UnsafeMutablePointer<UInt16>) { unsafe self.cells = unsafe cells }

    /// Reads a description, which lies between `position` and `end`; goes after it.
    mutating func read(_ input: PackedBytes, _ position: inout Int, end: Int) throws(Damage) {
        log = 0
        let start = position
        guard start < end else { throw .corrupt(start, "a block of literals without a code") }
        let head = Int(try input.byte(start))
        let size = head < 128 ? head : (head - 126) / 2
        guard size <= end - start - 1 else {
            throw .corrupt(start, "a code that is longer than its block")
        }
        position = start + 1 + size
        var weights: [UInt8] = []
        if head < 128 {
            weights = try Self.packedWeights(input, from: start + 1, end: position)
        } else {
            for index in 0..<(head - 127) {
                let byte = try input.byte(start + 1 + index / 2)
                weights.append(index & 1 == 0 ? byte >> 4 : byte & 15)
            }
        }
        try fill(weights, at: start)
    }

    private static func packedWeights(
        _ input: PackedBytes, from: Int, end: Int
    ) throws(Damage) -> [UInt8] {
        var position = from
        let odds = try ZstdOdds(input, &position, end: end, most: 13, mostLog: 6)
        guard var bits = unsafe BackwardBits(input.pointer(position), end - position) else {
            throw .corrupt(end - 1, "bits without a mark where they begin")
        }
        var weights: [UInt8] = []
        try unsafe withUnsafeTemporaryAllocation(of: ZstdCell.self, capacity: 64) {
            cells throws(Damage) in
            guard let cells = cells.baseAddress else { return }
            unsafe odds.fill(cells, nil)
            // Two states take turns, until one lacks bits to go on: then the other one tells the last weight.
            var state = bits.slowly(odds.log)
            var other = bits.slowly(odds.log)
            guard !bits.isOver else { throw .corrupt(position, "a code that does not end") }
            while true {
                let cell = unsafe cells[state]
                guard weights.count < 254 else {
                    throw .corrupt(position, "a code with too many symbols")
                }
                weights.append(UInt8(cell.base))
                let next = Int(cell.next) + bits.slowly(Int(cell.bits))
                if bits.isOver {
                    weights.append(UInt8(unsafe cells[other].base))
                    return
                }
                (state, other) = (other, next)
            }
        }
        return weights
    }

    /// - Parameter weights: of all symbols but the last; it gets what is left.
    private mutating func fill(_ weights: [UInt8], at position: Int) throws(Damage) {
        var counts = [Int](repeating: 0, count: Self.mostLog + 2)
        var sum = 0
        for weight in weights {
            guard weight <= Self.mostLog else {
                throw .corrupt(position, "a code with words that are too long")
            }
            counts[Int(weight)] += 1
            if weight > 0 { sum += 1 << Int(weight - 1) }
        }
        let log = Int.bitWidth - sum.leadingZeroBitCount
        let rest = 1 << log - sum
        guard sum > 0, log <= Self.mostLog, rest & (rest - 1) == 0 else {
            throw .corrupt(position, "an incomplete code")
        }
        let last = UInt8(rest.trailingZeroBitCount + 1)
        counts[Int(last)] += 1
        guard counts[1] >= 2, counts[1] & 1 == 0 else {
            throw .corrupt(position, "an incomplete code")
        }
        var starts = [Int](repeating: 0, count: Self.mostLog + 2)
        for weight in 1...Self.mostLog {
            starts[weight + 1] = starts[weight] + counts[weight] << (weight - 1)
        }
        for symbol in 0...weights.count {
            let weight = Int(symbol < weights.count ? weights[symbol] : last)
            if weight == 0 { continue }
            let cell = UInt16(symbol << 8 | (log + 1 - weight))
            let size = 1 << (weight - 1)
            for index in 0..<size { unsafe cells[starts[weight] + index] = cell }
            starts[weight] += size
        }
        self.log = log
    }
}
