// Several pieces of memory that are read or written in one call. Source: readv(2).

/// Pieces of memory in the order in which bytes go there or come from there.
@safe struct IOVector {
    enum Direction: Equatable { case read, write }

    /// What the kernel takes in one call: IOV_MAX is 1024, ours are far fewer.
    private static let limit = 64

    /// `struct iovec` after `struct iovec`: address, length in bytes.
    private var words: [UInt] = []
    /// Sum of the lengths.
    private(set) var count: UInt32 = 0

    /// - Parameter pieces: how many there will be at the most, if that is known.
    init(pieces: Int = 0) { words.reserveCapacity(2 * pieces) }

    /// Adds a piece, which must outlive the transfer. Pieces side by side become one.
    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        let start = UInt(bitPattern: bytes.baseAddress)
        guard bytes.count > 0 else { return }
        count += UInt32(bytes.count)
        if let last = words.indices.last, words[last - 1] &+ words[last] == start {
            words[last] &+= UInt(bytes.count)
        } else {
            words.append(start)
            words.append(UInt(bytes.count))
        }
    }

    /// Forgets all pieces, for others.
    mutating func clear() {
        words.removeAll(keepingCapacity: true)
        count = 0
    }

    /// Forgets the first bytes.
    mutating func drop(_ bytes: UInt32) {
        var rest = UInt(min(bytes, count))
        count -= UInt32(truncatingIfNeeded: rest)
        while rest > 0 {
            if words[1] > rest {
                words[0] &+= rest
                words[1] -= rest
                return
            }
            rest -= words[1]
            words.removeFirst(2)
        }
    }

    /// The first bytes, the first of them lowest; 0 for those that there are not.
    /// - Parameters:
    ///   - count: at most 8.
    ///   - first: where they begin, if not at the start.
    func start(of count: Int, from first: Int = 0) -> UInt64 {
        var value: UInt64 = 0
        var seen = 0
        for index in stride(from: 0, to: words.count, by: 2) {
            let piece = unsafe UnsafeRawBufferPointer(
                start: UnsafeRawPointer(bitPattern: words[index]), count: Int(words[index + 1]))
            for index in 0..<min(piece.count, first + count - seen) {
                if seen >= first {
                    value |= UInt64(unsafe piece[index]) << UInt64(8 * (seen - first))
                }
                seen += 1
            }
            if seen == first + count { break }
        }
        return value
    }

    /// One call at the descriptor's position.
    /// - Returns: how many bytes were moved; 0 at the end of a file.
    func transfer(_ direction: Direction, _ descriptor: Int32) throws(Errno) -> Int {
        let call: SystemCall.Number = direction == .read ? .readVector : .writeVector
        do throws(Errno) {
            return try withKernel { (address, count) throws(Errno) in
                try SystemCall.retrying(call, Int(descriptor), address, count)
            }
        } catch {
            guard error == .badAddress, touch() else { throw error }
            return try withKernel { (address, count) throws(Errno) in
                try SystemCall.retrying(call, Int(descriptor), address, count)
            }
        }
    }

    /// Touches all pieces after a call could not.
    /// - Returns: true if the call may be made again; see `FileFaults`.
    func touch() -> Bool {
        var isChanged = false
        for index in stride(from: 0, to: words.count, by: 2)
        where FileFaults.touch(words[index], Int(words[index + 1])) { isChanged = true }
        return isChanged
    }

    /// Hands the array of pieces, and how many they are, to a call.
    func withKernel(_ call: (Int, Int) throws(Errno) -> Int) throws(Errno) -> Int {
        var result: Result<Int, Errno> = .failure(.invalid)
        unsafe words.withUnsafeBufferPointer { buffer in
            do throws(Errno) {
                result = .success(
                    try call(
                        Int(bitPattern: buffer.baseAddress), min(buffer.count / 2, Self.limit)))
            } catch { result = .failure(error) }
        }
        return try result.get()
    }
}
