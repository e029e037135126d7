// Unpacks LZMA2 data, what xz files consist of: chunks of up to 2 MiB, each stored or coded by LZMA. LZMA
// codes single bits, each with the odds that the bits before it in the same place have given it.
// Sources: docs/abi/pc.md §1.3; the XZ file format and LZMA descriptions of their authors.

/// One run of the unpacker.
@safe struct Lzma2: ~Copyable {
    private let input: PackedBytes
    private let output: UnsafeMutableRawPointer?
    private let room: Int
    /// How far back copies may reach, by the block's header.
    private let dictionary: Int
    /// Offset in the file of the next byte.
    private(set) var position: Int
    /// Bytes written so far, also after a failure.
    private(set) var produced: Int
    /// Where in the output the dictionary begins.
    private var beginning: Int

    /// The odds of all bits.
    private let odds: UnsafeMutablePointer<UInt16>
    private var state = 0
    /// The last four distances, less 1 each.
    private var distances = (UInt32(0), UInt32(0), UInt32(0), UInt32(0))
    private var literalContext: UInt32 = 0
    private var literalMask = 0
    private var positionMask = 0

    /// Places in `odds`.
    private enum Place {
        static let isMatch = 0
        static let isRepeat = 192
        static let isOlder = 204
        static let isThird = 216
        static let isFourth = 228
        static let isLong = 240
        static let slot = 432
        static let near = 688
        static let align = 816
        static let matchLength = 832
        static let repeatLength = 1346
        static let literal = 1860
        static let all = 1860 + 0x300 << 4
    }

    init(
        _ input: PackedBytes, from: Int, to output: UnsafeMutableRawBufferPointer, produced: Int,
        dictionary: Int
    ) {
        self.input = input
        unsafe self.output = output.baseAddress
        room = output.count
        position = from
        self.produced = produced
        beginning = produced
        self.dictionary = dictionary
        unsafe odds = .allocate(capacity: Place.all)
    }

    deinit { unsafe odds.deallocate() }

    /// Unpacks chunks until the end mark.
    mutating func run() throws(Damage) {
        var needsDictionary = true
        var needsProperties = true
        var needsState = true
        while true {
            let control = try input.byte(position)
            if control == 0 {
                position += 1
                return
            }
            let resets = control >= 0x80 ? Int(control >> 5 & 3) : 0
            if control == 1 || resets == 3 {
                needsDictionary = false
                beginning = produced
                if control == 1 { needsState = true }
            } else if needsDictionary {
                throw .corrupt(position, "a first chunk that is not the first")
            }
            if control < 0x80 {
                guard control <= 2 else { throw .corrupt(position, "a chunk of unknown kind") }
                try stored()
                continue
            }
            let chunk = position
            let size = Int(control & 0x1F) << 16 + (try half(chunk + 1)) + 1
            let packed = try half(chunk + 3) + 1
            position += 5
            if resets >= 2 {
                try setProperties(try input.byte(position))
                position += 1
                needsProperties = false
            } else if needsProperties {
                throw .corrupt(chunk, "a chunk before its properties are known")
            }
            if resets >= 1 {
                resetState()
                needsState = false
            } else if needsState {
                throw .corrupt(chunk, "a chunk that goes on with nothing")
            }
            try coded(size: size, packed: packed)
        }
    }

    private func half(_ offset: Int) throws(Damage) -> Int {
        Int(try input.byte(offset)) << 8 | Int(try input.byte(offset + 1))
    }

    private mutating func stored() throws(Damage) {
        let size = try half(position + 1) + 1
        position += 3
        let available = min(size, input.end - position)
        guard available <= room - produced, let output = unsafe output else {
            throw Damage(position, .full)
        }
        if available > 0 {
            unsafe (output + produced).copyMemory(
                from: input.pointer(position), byteCount: available)
        }
        position += max(0, available)
        produced += max(0, available)
        if available < size { throw Damage(input.end, .endsEarly) }
    }

    private mutating func setProperties(_ byte: UInt8) throws(Damage) {
        let literalBits = Int(byte % 9)
        let positionBits = Int(byte / 9 % 5)
        guard byte < 9 * 5 * 5, literalBits + positionBits <= 4 else {
            throw .corrupt(position, "properties that LZMA2 does not have")
        }
        literalContext = UInt32(literalBits)
        literalMask = 1 << positionBits - 1
        positionMask = 1 << Int(byte / 45) - 1
    }

    private mutating func resetState() {
        state = 0
        distances = (0, 0, 0, 0)
        for index in 0..<Place.all { unsafe odds[index] = 1024 }
    }

    // MARK: Bits

    /// The range coder: a number in a range, which is parted by each bit's odds.
    @safe private struct Range {
        private var range = UInt32.max
        private var code: UInt32 = 0
        private(set) var next: UnsafeRawPointer
        private let end: UnsafeRawPointer
        /// More was read than there is.
        private(set) var isOver = false

        /// - Parameter count: of the coded bytes, five at least.
        init(_ start: UnsafeRawPointer, _ count: Int) {
            unsafe next = start + 1
            unsafe end = start + count
            for _ in 0..<4 { code = code << 8 | byte() }
        }

        /// True where the coder stands if all went well.
        var isFinished: Bool { unsafe !isOver && code == 0 && next == end }

        @inline(__always)
        private mutating func byte() -> UInt32 {
            if unsafe next == end {
                isOver = true
                return 0
            }
            defer { unsafe next += 1 }
            return UInt32(unsafe next.load(as: UInt8.self))
        }

        @inline(__always)
        mutating func normalize() {
            if range < 1 << 24 {
                range <<= 8
                code = code << 8 | byte()
            }
        }

        @inline(__always)
        mutating func bit(_ odds: UnsafeMutablePointer<UInt16>) -> Bool {
            normalize()
            let odd = UInt32(unsafe odds.pointee)
            let bound = (range >> 11) &* odd
            if code < bound {
                range = bound
                unsafe odds.pointee = UInt16(truncatingIfNeeded: odd &+ (2048 &- odd) >> 5)
                return false
            }
            range &-= bound
            code &-= bound
            unsafe odds.pointee = UInt16(truncatingIfNeeded: odd &- odd >> 5)
            return true
        }

        /// A bit of even odds.
        @inline(__always)
        mutating func plainBit() -> UInt32 {
            normalize()
            range >>= 1
            if code < range { return 0 }
            code &-= range
            return 1
        }

        /// So many bits, the highest first, each with odds for all those before it.
        @inline(never)
        mutating func tree(_ odds: UnsafeMutablePointer<UInt16>, _ count: Int) -> Int {
            var value = 1
            for _ in 0..<count { value = value &<< 1 | (unsafe bit(odds + value) ? 1 : 0) }
            return value &- 1 &<< count
        }

        /// The same, the lowest bit first.
        @inline(never)
        mutating func turnedTree(_ odds: UnsafeMutablePointer<UInt16>, _ count: UInt32) -> UInt32 {
            var value = 1
            var result: UInt32 = 0
            var index: UInt32 = 0
            while index < count {
                let bit = unsafe bit(odds + value)
                value = value &<< 1 | (bit ? 1 : 0)
                if bit { result |= 1 &<< index }
                index &+= 1
            }
            return result
        }

        /// The length of a copy, less 2.
        @inline(never)
        mutating func length(_ odds: UnsafeMutablePointer<UInt16>, _ place: Int) -> Int {
            if unsafe !bit(odds) { return unsafe tree(odds + (2 &+ place &<< 3), 3) }
            if unsafe !bit(odds + 1) { return unsafe 8 &+ tree(odds + (130 &+ place &<< 3), 3) }
            return unsafe 16 &+ tree(odds + 258, 8)
        }
    }

    // MARK: Chunks

    /// A chunk of LZMA, which must give `size` bytes and take `packed`.
    private mutating func coded(size: Int, packed: Int) throws(Damage) {
        guard packed >= 5 else { throw .corrupt(position - 1, "a chunk of doubtful length") }
        guard size <= room - produced, let output = unsafe output else {
            throw Damage(position, .full)
        }
        let available = min(packed, input.end - position)
        guard available >= 5 else { throw Damage(input.end, .endsEarly) }
        let start = unsafe input.pointer(position)
        guard unsafe start.load(as: UInt8.self) == 0 else {
            throw .corrupt(position, "a chunk that begins with something else than 0")
        }
        var range = unsafe Range(start, available)
        let isGood = unsafe symbols(&range, output, produced + size)
        let read = unsafe range.next - start
        if range.isOver {
            throw available < packed
                ? Damage(input.end, .endsEarly)
                : .corrupt(position + packed, "a chunk that goes on behind its end")
        }
        guard isGood else { throw .corrupt(position + read, "a copy from before the beginning") }
        range.normalize()
        guard available == packed else { throw Damage(input.end, .endsEarly) }
        guard range.isFinished else {
            throw .corrupt(position + read, "a chunk that ends in the wrong place")
        }
        position += packed
    }

    /// Unpacks until `produced` is `goal`.
    /// - Returns: false after a copy that makes no sense, and where the input is over.
    @_optimize(speed)
    private mutating func symbols(
        _ coder: inout Range, _ output: UnsafeMutableRawPointer, _ goal: Int
    ) -> Bool {
        var range = coder
        let odds = unsafe odds
        var to = produced
        var state = state
        var (first, second, third, fourth) = distances
        let beginning = beginning
        defer {
            coder = range
            produced = to
            self.state = state
            distances = (first, second, third, fourth)
        }
        while to < goal {
            let place = (to &- beginning) & positionMask
            if unsafe !range.bit(odds + (Place.isMatch &+ state &<< 4 &+ place)) {
                let before =
                    to > beginning
                    ? UInt32(unsafe output.load(fromByteOffset: to &- 1, as: UInt8.self)) : 0
                let line = (to &- beginning) & literalMask
                let context = line &<< Int(literalContext) &+ Int(before >> (8 &- literalContext))
                let literal = unsafe odds + (Place.literal &+ 0x300 &* context)
                var symbol = 1
                if state < 7 {
                    repeat {
                        symbol = symbol &<< 1 | (unsafe range.bit(literal + symbol) ? 1 : 0)
                    } while symbol < 0x100
                    state = state < 4 ? 0 : state &- 3
                } else {
                    // The byte that a copy would have given tells what this one is not.
                    let from = to &- 1 &- Int(truncatingIfNeeded: first)
                    var other = Int(unsafe output.load(fromByteOffset: from, as: UInt8.self))
                    var same = 0x100
                    repeat {
                        other &<<= 1
                        let bit = other & same
                        if unsafe range.bit(literal + (same &+ bit &+ symbol)) {
                            symbol = symbol &<< 1 | 1
                            same &= bit
                        } else {
                            symbol &<<= 1
                            same &= ~bit
                        }
                    } while symbol < 0x100
                    state = state < 10 ? state &- 3 : state &- 6
                }
                if range.isOver { return false }
                unsafe output.storeBytes(
                    of: UInt8(truncatingIfNeeded: symbol), toByteOffset: to, as: UInt8.self)
                to &+= 1
                continue
            }
            var length: Int
            if unsafe !range.bit(odds + (Place.isRepeat &+ state)) {
                (fourth, third, second) = (third, second, first)
                length = unsafe range.length(odds + Place.matchLength, place)
                first = unsafe Self.distance(&range, odds, min(length, 3))
                state = state < 7 ? 7 : 10
            } else if unsafe !range.bit(odds + (Place.isOlder &+ state)) {
                if unsafe !range.bit(odds + (Place.isLong &+ state &<< 4 &+ place)) {
                    state = state < 7 ? 9 : 11
                    length = -1
                } else {
                    length = unsafe range.length(odds + Place.repeatLength, place)
                    state = state < 7 ? 8 : 11
                }
            } else {
                if unsafe !range.bit(odds + (Place.isThird &+ state)) {
                    (first, second) = (second, first)
                } else if unsafe !range.bit(odds + (Place.isFourth &+ state)) {
                    (first, second, third) = (third, first, second)
                } else {
                    (first, second, third, fourth) = (fourth, first, second, third)
                }
                length = unsafe range.length(odds + Place.repeatLength, place)
                state = state < 7 ? 8 : 11
            }
            length &+= 2
            if range.isOver { return false }
            // As unsigned: a distance may be anything.
            guard UInt(first) < UInt(bitPattern: min(to &- beginning, dictionary)),
                length <= goal &- to
            else { return false }
            let distance = Int(truncatingIfNeeded: first) &+ 1
            if room &- to &- length >= WideCopy.slack {
                unsafe WideCopy.repeated(output + to, distance, length)
            } else {
                unsafe WideCopy.exactly(output + to, distance, length)
            }
            to &+= length
        }
        return true
    }

    /// How far back a copy begins, less 1.
    @inline(never)
    private static func distance(
        _ range: inout Range, _ odds: UnsafeMutablePointer<UInt16>, _ kind: Int
    ) -> UInt32 {
        let slot = UInt32(
            truncatingIfNeeded: unsafe range.tree(odds + (Place.slot &+ kind &<< 6), 6))
        if slot < 4 { return slot }
        let count = slot >> 1 &- 1
        let base = (2 | slot & 1) &<< count
        if slot < 14 {
            let place = Place.near &+ Int(base &- slot) &- 1
            return base &+ (unsafe range.turnedTree(odds + place, count))
        }
        var high: UInt32 = 0
        for _ in 0..<(count &- 4) { high = high << 1 | range.plainBit() }
        return base &+ high << 4 &+ (unsafe range.turnedTree(odds + Place.align, 4))
    }
}
