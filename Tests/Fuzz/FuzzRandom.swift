// Chance that can be repeated, and the bytes of one case.

#if !hasFeature(Embedded)
@testable import Mini
#endif

/// A small generator (splitmix64): a case is its seed and its number, whatever ran before it.
struct FuzzRandom {
    private var state: UInt64

    init(seed: UInt64, number: UInt64) {
        state = seed &* 0x9E37_79B9_7F4A_7C15 ^ number &* 0xD134_2543_DE82_EF95
        _ = next()
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
        return word ^ word >> 31
    }

    /// A number below `limit`, which is at least 1.
    mutating func below(_ limit: Int) -> Int {
        // The upper half of a product: no division, which is slow on 32 bits.
        Int(truncatingIfNeeded: ((next() >> 32) &* UInt64(limit)) >> 32)
    }

    mutating func byte() -> UInt8 { UInt8(truncatingIfNeeded: next() >> 56) }
    mutating func word() -> UInt32 { UInt32(truncatingIfNeeded: next() >> 32) }
    /// True once in so many times.
    mutating func once(in times: Int) -> Bool { below(times) == 0 }

    /// Words at which arithmetic goes wrong, and some at which it should not.
    mutating func hurtful() -> UInt32 {
        switch below(10) {
        case 0: 0
        case 1: UInt32(1) &<< UInt32(below(32))
        case 2: (UInt32(1) &<< UInt32(below(32))) &- 1
        case 3: .max &- UInt32(below(5000))
        case 4: 0x7FFF_FFFF &+ UInt32(below(3))
        case 5: UInt32(below(4096))
        case 6: UInt32(below(0x50_0000))
        case 7: UInt32(below(1 << 20)) << 12
        default: word()
        }
    }
}

/// The bytes of a case, in memory that outlives the process which runs it.
@safe struct FuzzInput {
    static let room = 1 << 18
    /// The count stands before the bytes.
    private let start: UnsafeMutableRawPointer

    init(_ start: UnsafeMutableRawPointer) { unsafe self.start = unsafe start }

    var count: Int {
        get { unsafe Int(start.load(as: UInt32.self)) }
        nonmutating set {
            unsafe start.storeBytes(of: UInt32(min(max(newValue, 0), Self.room)), as: UInt32.self)
        }
    }

    /// All that has room, of which `count` are the case.
    var memory: UnsafeMutableRawBufferPointer {
        unsafe UnsafeMutableRawBufferPointer(start: start + 16, count: Self.room)
    }

    var bytes: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: start + 16, count: count)
    }

    subscript(index: Int) -> UInt8 {
        get { index >= 0 && index < count ? unsafe memory[index] : 0 }
        nonmutating set { if index >= 0 && index < count { unsafe memory[index] = newValue } }
    }

    func append(_ byte: UInt8) {
        let end = count
        guard end < Self.room else { return }
        unsafe memory[end] = byte
        count = end + 1
    }

    func append(_ word: UInt32) {
        for shift in [0, 8, 16, 24] as [UInt32] { append(UInt8(truncatingIfNeeded: word >> shift)) }
    }

    func append(_ bytes: [UInt8]) {
        let end = count
        let size = min(bytes.count, Self.room - end)
        for index in 0..<size { unsafe memory[end + index] = bytes[index] }
        count = end + size
    }

    func append(_ text: StaticString) {
        for index in 0..<text.utf8CodeUnitCount { append(unsafe text.utf8Start[index]) }
    }

    func put(_ word: UInt32, at offset: Int) {
        for index in 0..<4 {
            self[offset + index] = UInt8(truncatingIfNeeded: word >> UInt32(8 * index))
        }
    }

    /// Changes a few places: bits, bytes, words that tend to hurt, the length; parts are copied or
    /// swapped. Most changes are in the first `span` bytes, where headers are.
    func mutate(_ random: inout FuzzRandom, span: Int) {
        for _ in 0..<1 + random.below(4) where count > 8 {
            let within = random.once(in: 2) ? min(count, span) : count
            let at = random.below(max(1, within - 4))
            switch random.below(10) {
            case 0, 1: self[at] ^= 1 &<< UInt8(random.below(8))
            case 2: self[at] = random.byte()
            case 3, 4: put(random.hurtful(), at: at & ~3)
            case 5: put(random.hurtful(), at: at)
            case 6: count = random.below(count)
            case 7: self[at] = self[at] &+ (random.once(in: 2) ? 1 : 255)
            case 8:
                let from = random.below(count)
                for index in 0..<1 + random.below(32) { self[at + index] = self[from + index] }
            default:
                for index in 0..<1 + random.below(16) { self[at + index] = random.byte() }
            }
        }
    }
}

/// Takes a case's bytes one after the other; zeros when there are no more.
struct FuzzReader {
    let input: FuzzInput
    private(set) var position = 0

    init(_ input: FuzzInput) { self.input = input }

    var isAtEnd: Bool { position >= input.count }

    mutating func byte() -> UInt8 {
        let byte = input[position]
        position += 1
        return byte
    }

    mutating func word() -> UInt32 {
        var word: UInt32 = 0
        for shift in [0, 8, 16, 24] as [UInt32] { word |= UInt32(byte()) << shift }
        return word
    }

    mutating func rest() -> [UInt8] { bytes(input.count) }

    mutating func bytes(_ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        for _ in 0..<count where !isAtEnd { bytes.append(byte()) }
        return bytes
    }
}
