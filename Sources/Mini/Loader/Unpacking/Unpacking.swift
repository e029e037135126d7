// What the unpackers of gzip, xz, zstd and lz4 have in common: how they end, how they say where the
// data are damaged, and how they repeat what they have written.
//
// All of them unpack from memory to memory, and what was written is their dictionary: nothing is written
// twice, however far back a copy reaches. Every byte read is inside the input, every byte written inside the
// output, whatever the data say. The time that they take is bounded by the room that they get and
// by the length of the input.

/// Why packed data gave nothing whole.
enum UnpackFailure: Error, Equatable {
    /// The input is over before the data are.
    case endsEarly
    /// The output is full before the data end.
    case full
    case corrupt(Text)
    case wrongChecksum
    case wrongLength
}

/// What became of packed data: how far they were read and how many bytes they gave. Both also
/// tell how far damaged ones got.
struct Unpacked: Equatable {
    /// Offset in the file of the first byte after what was read, or of the damage.
    var position: Int
    var produced: Int
    var failure: UnpackFailure?
}

/// A failure with its place in the file.
struct Damage: Error {
    let position: Int
    let failure: UnpackFailure

    init(_ position: Int, _ failure: UnpackFailure) {
        self.position = position
        self.failure = failure
    }

    @inline(never)
    static func corrupt(_ position: Int, _ what: StaticString) -> Damage {
        Damage(position, .corrupt("\(what)"))
    }
}

/// A file and how far of it belongs to the packed data.
@safe struct PackedBytes {
    private let start: UnsafeRawPointer
    /// Offset in the file of the first byte that is not theirs any more.
    let end: Int

    /// - Parameter end: at most the file's length.
    init(_ file: ByteView, end: Int) {
        unsafe start = file.buffer.baseAddress ?? UnsafeRawPointer(bitPattern: 8).unsafelyUnwrapped
        self.end = min(max(0, end), file.count)
    }

    /// Where the byte at an offset lies; the offset is inside, or the end.
    @inline(__always)
    func pointer(_ offset: Int) -> UnsafeRawPointer {
        precondition(offset >= 0 && offset <= end)
        return unsafe start + offset
    }

    /// The byte at an offset.
    @inline(never)
    func byte(_ offset: Int) throws(Damage) -> UInt8 {
        guard offset >= 0 && offset < end else { throw Damage(end, .endsEarly) }
        return unsafe start.load(fromByteOffset: offset, as: UInt8.self)
    }

    /// A little-endian number of 1 to 8 bytes.
    @inline(never)
    func number(_ offset: Int, bytes count: Int) throws(Damage) -> UInt64 {
        try require(offset, count)
        var number: UInt64 = 0
        for index in (0..<count).reversed() {
            number = number << 8 | UInt64(try byte(offset + index))
        }
        return number
    }

    /// That so many bytes are there.
    @inline(never)
    func require(_ offset: Int, _ count: Int) throws(Damage) {
        guard offset >= 0 && count >= 0 && offset <= end && count <= end - offset else {
            throw Damage(end, .endsEarly)
        }
    }
}

/// Copies that may write more than they should, up to `slack` bytes beyond their end: only where there is room.
enum WideCopy {
    static let slack = 32

    @inline(__always)
    static func sixteen(_ to: UnsafeMutableRawPointer, _ from: UnsafeRawPointer) {
        let low = unsafe from.loadUnaligned(as: UInt64.self)
        let high = unsafe from.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
        unsafe to.storeBytes(of: low, as: UInt64.self)
        unsafe to.storeBytes(of: high, toByteOffset: 8, as: UInt64.self)
    }

    /// Bytes that do not overlap; up to 15 more are read and written.
    @inline(__always)
    static func apart(_ to: UnsafeMutableRawPointer, _ from: UnsafeRawPointer, _ count: Int) {
        unsafe sixteen(to, from)
        var done = 16
        while done < count {
            unsafe sixteen(to + done, from + done)
            done &+= 16
        }
    }

    /// Repeats what lies `distance` bytes in front of `to`, where that repeats itself too.
    @inline(__always)
    static func repeated(_ to: UnsafeMutableRawPointer, _ distance: Int, _ count: Int) {
        if distance >= 16 {
            unsafe apart(to, to - distance, count)
            return
        }
        unsafe close(to, distance, count)
    }

    /// The same for a pattern of less than 16 bytes.
    @inline(never)
    private static func close(_ to: UnsafeMutableRawPointer, _ distance: Int, _ count: Int) {
        // Whole patterns byte by byte, until one copy of eight reaches no further than they do.
        var span = distance
        var done = 0
        while span < 8 { span &+= distance }
        if span > distance {
            while done < span {
                let byte = unsafe to.load(fromByteOffset: done &- distance, as: UInt8.self)
                unsafe to.storeBytes(of: byte, toByteOffset: done, as: UInt8.self)
                done &+= 1
            }
        }
        while done < count {
            let word = unsafe to.loadUnaligned(fromByteOffset: done &- span, as: UInt64.self)
            unsafe to.storeBytes(of: word, toByteOffset: done, as: UInt64.self)
            done &+= 8
        }
    }

    /// The same, and not a byte more.
    @inline(never)
    static func exactly(_ to: UnsafeMutableRawPointer, _ distance: Int, _ count: Int) {
        var done = 0
        while done < count {
            let byte = unsafe to.load(fromByteOffset: done &- distance, as: UInt8.self)
            unsafe to.storeBytes(of: byte, toByteOffset: done, as: UInt8.self)
            done &+= 1
        }
    }
}
