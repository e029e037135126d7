// Unpacks zstd frames: blocks that are stored, one byte repeated, or packed. A packed block is literals, mostly
// in a Huffman code, and sequences, which take some of the literals and then repeat bytes written before.
// Source: docs/abi/pc.md §1.3; RFC 8878.

enum Zstd {
    static let signature: UInt64 = 0xFD2F_B528
    /// What a block gives at most.
    private static let blockRoom = 128 << 10

    /// Unpacks the frames at `start`, one after the other up to `end`.
    /// - Parameter output: room for the unpacked bytes; more is never written.
    static func unpack(
        _ file: ByteView, at start: Int, end: Int, to output: UnsafeMutableRawBufferPointer
    ) -> Unpacked {
        var frames = unsafe Frames(input: PackedBytes(file, end: end), output: output, start)
        do throws(Damage) { try frames.run() } catch {
            return Unpacked(
                position: error.position, produced: frames.produced, failure: error.failure)
        }
        return Unpacked(position: frames.position, produced: frames.produced, failure: nil)
    }

    /// Tables and literals, which last from block to block.
    @safe private struct Scratch: ~Copyable {
        let literals: UnsafeMutableRawPointer
        let huffman: UnsafeMutablePointer<UInt16>
        let cells: UnsafeMutablePointer<ZstdCell>

        init() {
            unsafe literals = .allocate(
                byteCount: Zstd.blockRoom + WideCopy.slack, alignment: 16)
            unsafe huffman = .allocate(capacity: 1 << ZstdHuffman.mostLog)
            unsafe cells = .allocate(capacity: 3 << 9)
        }

        deinit {
            unsafe literals.deallocate()
            unsafe huffman.deallocate()
            unsafe cells.deallocate()
        }
    }

    /// A table of an entropy code; nil as long as no block has brought one.
    @safe private struct Table {
        let cells: UnsafeMutablePointer<ZstdCell>
        var log: Int?

        init(_ cells: UnsafeMutablePointer<ZstdCell>) { unsafe self.cells = unsafe cells }
    }

    @safe private struct Frames: ~Copyable {
        private let input: PackedBytes
        private let output: UnsafeMutableRawPointer?
        private let room: Int
        private(set) var position: Int
        private(set) var produced = 0

        // Of the frame.
        private var frameStart = 0
        private var blockMost = 0
        private let scratch: Scratch
        private var huffman: ZstdHuffman
        private var literalLengths: Table
        private var distances: Table
        private var matchLengths: Table
        private var recent = (1, 4, 8)

        init(input: PackedBytes, output: UnsafeMutableRawBufferPointer, _ start: Int) {
            self.input = input
            unsafe self.output = output.baseAddress
            room = output.count
            position = start
            scratch = Scratch()
            huffman = unsafe ZstdHuffman(scratch.huffman)
            literalLengths = unsafe Table(scratch.cells)
            distances = unsafe Table(scratch.cells + 512)
            matchLengths = unsafe Table(scratch.cells + 1024)
        }

        mutating func run() throws(Damage) {
            repeat {
                let signature = try input.number(position, bytes: 4)
                if signature & 0xFFFF_FFF0 == 0x184D_2A50 {
                    // A frame to be skipped.
                    let size = try input.number(position + 4, bytes: 4)
                    guard size <= UInt64(input.end - position - 8) else {
                        throw Damage(input.end, .endsEarly)
                    }
                    position += 8 + Int(size)
                    continue
                }
                guard signature == Zstd.signature else {
                    throw .corrupt(position, "no zstd signature")
                }
                try frame()
            } while position < input.end
        }

        private mutating func frame() throws(Damage) {
            let start = position
            let flags = try input.byte(start + 4)
            position += 5
            guard flags & 8 == 0 else { throw .corrupt(start + 4, "a frame of unknown kind") }
            let isSingle = flags & 0x20 != 0
            var window: UInt64 = 0
            if !isSingle {
                let byte = UInt64(try input.byte(position))
                window = (8 + byte & 7) << (7 + byte >> 3)
                position += 1
            }
            let dictionarySize = (1 << Int(flags & 3)) >> 1
            guard try input.number(position, bytes: dictionarySize) == 0 else {
                throw .corrupt(position, "a frame that needs a dictionary")
            }
            position += dictionarySize
            var size: UInt64?
            let sizeSize = flags < 0x40 ? (isSingle ? 1 : 0) : 1 << Int(flags >> 6)
            if sizeSize > 0 {
                let value = try input.number(position, bytes: sizeSize)
                size = value &+ (sizeSize == 2 ? 256 : 0)
                if isSingle { window = value }
                position += sizeSize
            }
            if let size, size > UInt64(room - produced) { throw Damage(position, .full) }
            if let size, isSingle { window = size }
            blockMost = Int(min(window, UInt64(Zstd.blockRoom)))
            frameStart = produced
            recent = (1, 4, 8)
            (huffman, literalLengths.log) = (unsafe ZstdHuffman(scratch.huffman), nil)
            (distances.log, matchLengths.log) = (nil, nil)
            while try !block() {}
            if let size, size != UInt64(produced - frameStart) {
                throw Damage(position, .wrongLength)
            }
            if flags & 4 != 0 { try verify() }
        }

        private mutating func verify() throws(Damage) {
            let stored = try input.number(position, bytes: 4)
            let bytes = unsafe UnsafeRawBufferPointer(
                start: output.map { unsafe UnsafeRawPointer($0 + frameStart) },
                count: produced - frameStart)
            guard unsafe stored == XXHash64.of(bytes) & 0xFFFF_FFFF else {
                throw Damage(position, .wrongChecksum)
            }
            position += 4
        }

        // MARK: Blocks

        /// - Returns: true for a frame's last one.
        private mutating func block() throws(Damage) -> Bool {
            let header = Int(try input.number(position, bytes: 3))
            let start = position
            let size = header >> 3
            guard size <= blockMost else { throw .corrupt(start, "a block of doubtful length") }
            position += 3
            switch header >> 1 & 3 {
            case 0: try stored(size)
            case 1:
                let byte = try input.byte(position)
                guard size <= room - produced else { throw Damage(position, .full) }
                if size > 0, let output = unsafe output {
                    unsafe (output + produced).initializeMemory(
                        as: UInt8.self, repeating: byte, count: size)
                }
                position += 1
                produced += size
            case 2:
                try input.require(position, size)
                try packed(end: position + size)
            default: throw .corrupt(start, "a block of unknown kind")
            }
            return header & 1 == 1
        }

        private mutating func stored(_ size: Int) throws(Damage) {
            let available = min(size, input.end - position)
            guard available <= room - produced else { throw Damage(position, .full) }
            if available > 0, let output = unsafe output {
                unsafe (output + produced).copyMemory(
                    from: input.pointer(position), byteCount: available)
            }
            position += available
            produced += available
            if available < size { throw Damage(input.end, .endsEarly) }
        }

        private mutating func packed(end: Int) throws(Damage) {
            let literals = try literals(end: end)
            guard position < end else {
                throw .corrupt(position, "a block without a number of sequences")
            }
            let most = min(room, produced + blockMost)
            let count = try sequenceCount(end)
            if count > 0 {
                try tables(end)
                try sequences(count, literals, end: end, most: most)
            } else if position == end {
                try rest(of: literals, from: 0, most: most)
            }
            guard position == end else {
                throw .corrupt(position, "a block with something behind it")
            }
        }

        /// Literals that no sequence takes.
        private mutating func rest(of literals: Int, from: Int, most: Int) throws(Damage) {
            let left = literals - from
            guard left <= most - produced, let output = unsafe output else { throw tooMuch(most) }
            unsafe (output + produced).copyMemory(from: scratch.literals + from, byteCount: left)
            produced += left
        }

        private func tooMuch(_ most: Int) -> Damage {
            most == room ? Damage(position, .full) : .corrupt(position, "a block that is too long")
        }

        // MARK: Literals

        /// Unpacks a block's literals to where they wait.
        /// - Returns: how many there are.
        private mutating func literals(end: Int) throws(Damage) -> Int {
            let start = position
            guard start < end else { throw .corrupt(start, "an empty block") }
            let head = Int(try input.byte(start))
            let form = head >> 2 & 3
            let headSize: Int
            let sizeBits: Int
            if head & 2 == 0 {
                (headSize, sizeBits) = form == 3 ? (3, 20) : form == 1 ? (2, 12) : (1, 5)
            } else {
                (headSize, sizeBits) = form == 3 ? (5, 18) : form == 2 ? (4, 14) : (3, 10)
            }
            guard headSize <= end - start else {
                throw .corrupt(start, "a block that is too short")
            }
            let word = try input.number(start, bytes: headSize)
            let mask = UInt64(1) << UInt64(sizeBits) - 1
            let count = Int(word >> UInt64(headSize == 1 ? 3 : 4) & mask)
            guard count <= blockMost else { throw .corrupt(start, "too many literals") }
            position += headSize
            guard head & 2 != 0 else {
                try plainLiterals(count, isRepeated: head & 1 == 1, end)
                return count
            }
            let size = Int(word >> UInt64(4 + sizeBits) & mask)
            guard size <= end - position else {
                throw .corrupt(start, "literals that are longer than their block")
            }
            let dataEnd = position + size
            if head & 1 == 0 { try huffman.read(input, &position, end: dataEnd) }
            guard huffman.log > 0 else { throw .corrupt(start, "a code that was never given") }
            guard count > 0 else { throw .corrupt(start, "no literals in a code") }
            let isGood = form == 0 ? oneStream(count, dataEnd) : try fourStreams(count, dataEnd)
            guard isGood else { throw .corrupt(position, "literals that end in the wrong place") }
            position = dataEnd
            return count
        }

        private mutating func plainLiterals(
            _ count: Int, isRepeated: Bool, _ end: Int
        ) throws(Damage) {
            let size = isRepeated ? 1 : count
            guard size <= end - position else {
                throw .corrupt(position, "literals that are longer than their block")
            }
            if isRepeated {
                let byte = try input.byte(position)
                unsafe scratch.literals.initializeMemory(
                    as: UInt8.self, repeating: byte, count: count)
            } else {
                unsafe scratch.literals.copyMemory(from: input.pointer(position), byteCount: count)
            }
            position += size
        }

        private func oneStream(_ count: Int, _ end: Int) -> Bool {
            guard
                var bits = unsafe BackwardBits(input.pointer(position), end - position)
            else { return false }
            unsafe Self.huffman(
                &bits, huffman.cells, huffman.log, scratch.literals, scratch.literals + count)
            return bits.isFinished
        }

        private func fourStreams(_ count: Int, _ end: Int) throws(Damage) -> Bool {
            let start = position + 6
            guard start <= end else { return false }
            let first = start + Int(try input.number(position, bytes: 2))
            let second = first + Int(try input.number(position + 2, bytes: 2))
            let third = second + Int(try input.number(position + 4, bytes: 2))
            let part = (count + 3) / 4
            guard third <= end, part * 3 <= count,
                var a = unsafe BackwardBits(input.pointer(start), first - start),
                var b = unsafe BackwardBits(input.pointer(first), second - first),
                var c = unsafe BackwardBits(input.pointer(second), third - second),
                var d = unsafe BackwardBits(input.pointer(third), end - third)
            else { return false }
            let to = unsafe scratch.literals
            let cells = unsafe huffman.cells
            let log = huffman.log
            // As long as all four have something: the last part is the shortest.
            let together = unsafe Self.huffman(
                &a, &b, &c, &d, cells, log, to, part, count - 3 * part)
            unsafe Self.huffman(&a, cells, log, to + together, to + part)
            unsafe Self.huffman(&b, cells, log, to + (part + together), to + 2 * part)
            unsafe Self.huffman(&c, cells, log, to + (2 * part + together), to + 3 * part)
            unsafe Self.huffman(&d, cells, log, to + (3 * part + together), to + count)
            return a.isFinished && b.isFinished && c.isFinished && d.isFinished
        }

        @inline(__always)
        private static func symbol(
            _ bits: inout BackwardBits, _ cells: UnsafeMutablePointer<UInt16>, _ log: Int
        ) -> UInt8 {
            let cell = unsafe cells[bits.peek(log)]
            bits.skip(Int(cell & 0xFF))
            return UInt8(truncatingIfNeeded: cell >> 8)
        }

        /// Four streams at once: none waits for another.
        /// - Returns: how many bytes each of the parts has got.
        @_optimize(speed)
        private static func huffman(
            _ a: inout BackwardBits, _ b: inout BackwardBits, _ c: inout BackwardBits,
            _ d: inout BackwardBits, _ cells: UnsafeMutablePointer<UInt16>, _ log: Int,
            _ to: UnsafeMutableRawPointer, _ part: Int, _ least: Int
        ) -> Int {
            var (first, second, third, fourth) = (a, b, c, d)
            var done = 0
            let to2 = unsafe to + part
            let to3 = unsafe to2 + part
            let to4 = unsafe to3 + part
            // Five words of 11 bits are fewer than a refill gives.
            while done &+ 5 <= least {
                first.refill()
                second.refill()
                third.refill()
                fourth.refill()
                for _ in 0..<5 {
                    let one = unsafe symbol(&first, cells, log)
                    let two = unsafe symbol(&second, cells, log)
                    let three = unsafe symbol(&third, cells, log)
                    let four = unsafe symbol(&fourth, cells, log)
                    unsafe to.storeBytes(of: one, toByteOffset: done, as: UInt8.self)
                    unsafe to2.storeBytes(of: two, toByteOffset: done, as: UInt8.self)
                    unsafe to3.storeBytes(of: three, toByteOffset: done, as: UInt8.self)
                    unsafe to4.storeBytes(of: four, toByteOffset: done, as: UInt8.self)
                    done &+= 1
                }
            }
            (a, b, c, d) = (first, second, third, fourth)
            return done
        }

        @inline(never)
        private static func huffman(
            _ bits: inout BackwardBits, _ cells: UnsafeMutablePointer<UInt16>, _ log: Int,
            _ start: UnsafeMutableRawPointer, _ end: UnsafeMutableRawPointer
        ) {
            var to = unsafe start
            while unsafe to < end {
                bits.refill()
                unsafe to.storeBytes(of: symbol(&bits, cells, log), as: UInt8.self)
                unsafe to += 1
            }
        }

        // MARK: Sequences

        private mutating func sequenceCount(_ end: Int) throws(Damage) -> Int {
            let first = Int(try input.byte(position))
            let size = first < 128 ? 1 : first < 255 ? 2 : 3
            guard size <= end - position else {
                throw .corrupt(position, "a block that is too short")
            }
            defer { position += size }
            switch size {
            case 1: return first
            case 2: return (first - 128) << 8 + Int(try input.byte(position + 1))
            default: return Int(try input.number(position + 1, bytes: 2)) + 0x7F00
            }
        }

        private mutating func tables(_ end: Int) throws(Damage) {
            guard position < end else { throw .corrupt(position, "a block that is too short") }
            let modes = try input.byte(position)
            guard modes & 3 == 0 else { throw .corrupt(position, "sequences of unknown kind") }
            position += 1
            literalLengths.log = try table(literalLengths, .literals, modes >> 6, end)
            distances.log = try table(distances, .distances, modes >> 4 & 3, end)
            matchLengths.log = try table(matchLengths, .matches, modes >> 2 & 3, end)
        }

        /// - Returns: how many states the table has, as a power of two.
        private mutating func table(
            _ table: Table, _ kind: ZstdKind, _ mode: UInt8, _ end: Int
        ) throws(Damage) -> Int {
            let odds: ZstdOdds
            switch mode {
            case 0: odds = kind.usual
            case 1:
                guard position < end else { throw .corrupt(position, "a block that is too short") }
                let code = Int(try input.byte(position))
                guard code < kind.mostSymbols else {
                    throw .corrupt(position, "a symbol that its code does not have")
                }
                position += 1
                let (base, extra) = kind.value(code)
                unsafe table.cells[0] = ZstdCell(base: base, next: 0, extra: extra, bits: 0)
                return 0
            case 2:
                odds = try ZstdOdds(
                    input, &position, end: end, most: kind.mostSymbols, mostLog: kind.mostLog)
            default:
                guard let log = table.log else {
                    throw .corrupt(position, "a code that was never given")
                }
                return log
            }
            unsafe odds.fill(table.cells, kind)
            return odds.log
        }

        private mutating func sequences(
            _ count: Int, _ literals: Int, end: Int, most: Int
        ) throws(Damage) {
            guard
                var bits = unsafe BackwardBits(input.pointer(position), end - position)
            else { throw .corrupt(end - 1, "bits without a mark where they begin") }
            var used = 0
            let outcome = carryOut(count, &bits, literals, &used, most: most)
            switch outcome {
            case .good: break
            case .tooMuch: throw tooMuch(most)
            case .badDistance: throw .corrupt(position, "a copy from before the beginning")
            case .noLiterals: throw .corrupt(position, "more literals than there are")
            }
            guard bits.isFinished else {
                throw .corrupt(position, "sequences that end in the wrong place")
            }
            position = end
            try rest(of: literals, from: used, most: most)
        }

        private enum Outcome { case good, tooMuch, badDistance, noLiterals }

        /// Carries out all sequences of a block.
        @_optimize(speed)
        private mutating func carryOut(
            _ count: Int, _ source: inout BackwardBits, _ literals: Int, _ used: inout Int,
            most: Int
        ) -> Outcome {
            guard let output = unsafe output else { return .tooMuch }
            let literalCells = unsafe literalLengths.cells
            let distanceCells = unsafe distances.cells
            let matchCells = unsafe matchLengths.cells
            let waiting = unsafe UnsafeRawPointer(scratch.literals)
            let room = room
            let frameStart = frameStart
            var bits = source
            var (first, second, third) = recent
            var from = 0
            var to = produced
            defer {
                source = bits
                recent = (first, second, third)
                used = from
                produced = to
            }
            bits.refill()
            var literalState = bits.take(literalLengths.log ?? 0)
            var distanceState = bits.take(distances.log ?? 0)
            var matchState = bits.take(matchLengths.log ?? 0)
            var left = count
            while left > 0 {
                let literal = unsafe literalCells[literalState]
                let far = unsafe distanceCells[distanceState]
                let match = unsafe matchCells[matchState]
                bits.refill()
                let value =
                    UInt(far.base) &+ UInt(truncatingIfNeeded: bits.take(Int(far.extra)))
                if far.extra > 24 { bits.refill() }
                let copied = Int(match.base) &+ bits.take(Int(match.extra))
                let plain = Int(literal.base) &+ bits.take(Int(literal.extra))
                left &-= 1
                if left > 0 {
                    if far.extra &+ match.extra &+ literal.extra > 30 { bits.refill() }
                    literalState = Int(literal.next) &+ bits.take(Int(literal.bits))
                    matchState = Int(match.next) &+ bits.take(Int(match.bits))
                    distanceState = Int(far.next) &+ bits.take(Int(far.bits))
                }
                // One of the last three distances, or a new one.
                let distance: UInt
                if value > 3 {
                    distance = value &- 3
                    (first, second, third) = (Int(bitPattern: distance), first, second)
                } else {
                    let index = Int(bitPattern: value) &- (plain == 0 ? 0 : 1)
                    switch index {
                    case 0: break
                    case 1: (first, second) = (second, first)
                    case 2: (first, second, third) = (third, first, second)
                    default: (first, second, third) = (first &- 1, first, second)
                    }
                    distance = UInt(bitPattern: first)
                }
                if plain > literals &- from { return .noLiterals }
                if plain &+ copied > most &- to { return .tooMuch }
                let isRoomy = room &- to &- plain &- copied >= WideCopy.slack
                if isRoomy {
                    unsafe WideCopy.apart(output + to, waiting + from, plain)
                } else {
                    unsafe (output + to).copyMemory(from: waiting + from, byteCount: plain)
                }
                to &+= plain
                from &+= plain
                if distance &- 1 >= UInt(bitPattern: to &- frameStart) { return .badDistance }
                let back = Int(bitPattern: distance)
                if isRoomy {
                    unsafe WideCopy.repeated(output + to, back, copied)
                } else {
                    unsafe WideCopy.exactly(output + to, back, copied)
                }
                to &+= copied
            }
            return .good
        }
    }
}
