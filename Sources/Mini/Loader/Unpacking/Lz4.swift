// Unpacks lz4 data in the frame that kernels use, the "legacy" one: its signature, then blocks with
// their lengths in front. A block gives up to 8 MiB and knows nothing of the one before. There is no checksum
// and no end mark: the data end where the input does.
// Source: docs/abi/pc.md §1.3; the LZ4 block and frame format descriptions.

enum Lz4 {
    static let signature: UInt64 = 0x184C_2102
    /// What a block gives at most.
    private static let blockRoom = 8 << 20
    private static let leastMatch = 4

    /// Unpacks the frame at `start`, which ends at `end`.
    /// - Parameter output: room for the unpacked bytes; more is never written.
    static func unpack(
        _ file: ByteView, at start: Int, end: Int, to output: UnsafeMutableRawBufferPointer
    ) -> Unpacked {
        let input = PackedBytes(file, end: end)
        var outcome = Unpacked(position: start, produced: 0, failure: nil)
        do throws(Damage) { try unsafe frame(input, output, &outcome) } catch {
            outcome.position = error.position
            outcome.failure = error.failure
        }
        return outcome
    }

    private static func frame(
        _ input: PackedBytes, _ output: UnsafeMutableRawBufferPointer, _ outcome: inout Unpacked
    ) throws(Damage) {
        guard try input.number(outcome.position, bytes: 4) == signature else {
            throw .corrupt(outcome.position, "no lz4 signature")
        }
        outcome.position += 4
        while outcome.position < input.end {
            let count = try input.number(outcome.position, bytes: 4)
            // Frames in a row are one file.
            if count == signature {
                outcome.position += 4
                continue
            }
            guard count > 0 && count <= UInt64(blockRoom + blockRoom / 255 + 16) else {
                throw .corrupt(outcome.position, "a block of doubtful length")
            }
            outcome.position += 4
            // What of a block was cut off was never there: the rest of it can be looked at all the same.
            let available = min(Int(count), input.end - outcome.position)
            var block = unsafe Block(
                input: input.pointer(outcome.position), count: available,
                output: output.baseAddress, produced: outcome.produced, room: output.count)
            let end = block.run()
            outcome.produced = block.produced
            outcome.position += block.next
            switch end {
            case .whole where available == Int(count): break
            case .whole, .endsEarly:
                throw available < Int(count)
                    ? Damage(input.end, .endsEarly)
                    : .corrupt(outcome.position, "a block that ends in the middle of a copy")
            case .full where output.count - block.start <= blockRoom:
                throw Damage(outcome.position, .full)
            case .full: throw .corrupt(outcome.position, "a block of more than 8 MiB")
            case .badDistance:
                throw .corrupt(outcome.position, "a copy from before the beginning of its block")
            }
        }
    }

    /// One block on its way.
    @safe private struct Block {
        enum End { case whole, endsEarly, full, badDistance }

        private let input: UnsafeRawPointer
        private let count: Int
        private let output: UnsafeMutableRawPointer?
        /// Where in the output the block begins, and where it must end.
        let start: Int
        private let limit: Int
        private let room: Int
        /// Bytes read of the block.
        private(set) var next = 0
        private(set) var produced: Int

        init(
            input: UnsafeRawPointer, count: Int, output: UnsafeMutableRawPointer?, produced: Int,
            room: Int
        ) {
            unsafe self.input = unsafe input
            self.count = count
            unsafe self.output = unsafe output
            start = produced
            self.produced = produced
            self.room = room
            limit = room - produced > Lz4.blockRoom ? produced + Lz4.blockRoom : room
        }

        @_optimize(speed) mutating func run() -> End {
            guard let output = unsafe output else { return .full }
            let input = unsafe input
            let count = count
            var at = 0
            var to = produced
            defer {
                next = at
                produced = to
            }
            while at < count {
                let token = Int(unsafe input.load(fromByteOffset: at, as: UInt8.self))
                at &+= 1
                var literals = token >> 4
                if literals < 15 && count &- at >= 32 && limit &- to >= 64 {
                    unsafe WideCopy.sixteen(output + to, input + at)
                    at &+= literals
                    to &+= literals
                } else {
                    if literals == 15 {
                        guard let more = more(&at, limit &- to) else {
                            return at < count ? .full : .endsEarly
                        }
                        literals &+= more
                    }
                    if literals > limit &- to { return .full }
                    if literals > count &- at { return .endsEarly }
                    if count &- at &- literals >= 16
                        && room &- to &- literals >= WideCopy.slack
                    {
                        unsafe WideCopy.apart(output + to, input + at, literals)
                    } else {
                        unsafe (output + to).copyMemory(from: input + at, byteCount: literals)
                    }
                    at &+= literals
                    to &+= literals
                    // The last literals have no copy after them.
                    if at == count { return .whole }
                }
                if count &- at < 2 { return .endsEarly }
                let distance = Int(
                    UInt16(
                        littleEndian: unsafe input.loadUnaligned(
                            fromByteOffset: at, as: UInt16.self)))
                if distance == 0 || distance > to &- start { return .badDistance }
                at &+= 2
                var length = token & 15
                if length == 15 {
                    guard let more = more(&at, limit &- to) else {
                        return at < count ? .full : .endsEarly
                    }
                    length &+= more
                }
                length &+= Lz4.leastMatch
                if length > limit &- to { return .full }
                if room &- to &- length >= WideCopy.slack {
                    unsafe WideCopy.repeated(output + to, distance, length)
                } else {
                    unsafe WideCopy.exactly(output + to, distance, length)
                }
                to &+= length
            }
            // A block ends with literals.
            return .endsEarly
        }

        /// What the bytes that go on with a length add to it; nil if they do not end, or to more than `most`.
        @inline(__always)
        private func more(_ at: inout Int, _ most: Int) -> Int? {
            var sum = 0
            while at < count {
                let byte = unsafe input.load(fromByteOffset: at, as: UInt8.self)
                sum &+= Int(byte)
                if sum > most { return nil }
                at &+= 1
                if byte != 255 { return sum }
            }
            return nil
        }
    }
}
