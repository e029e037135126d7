// Owned memory mappings. Sources: mmap(2), asm-generic/mman-common.h.

/// A mapped range of our address space, unmapped when its owner goes.
@safe struct Mapping: ~Copyable {
    let start: UnsafeMutableRawPointer
    /// Length in bytes, as asked for (the kernel rounds up to pages).
    let count: Int

    private init(start: UnsafeMutableRawPointer, count: Int) {
        unsafe self.start = unsafe start
        self.count = count
    }

    deinit { _ = try? SystemCall.make(.unmap, Int(bitPattern: unsafe start), count) }

    var bytes: UnsafeMutableRawBufferPointer {
        unsafe UnsafeMutableRawBufferPointer(start: start, count: count)
    }

    private static let readable = 1
    private static let writable = 2
    private static let isShared = 0x01
    private static let isPrivate = 0x02
    private static let isFixed = 0x10
    private static let isAnonymous = 0x20
    private static let withoutReserve = 0x4000

    /// Fresh zero pages, private, readable and writable, taken only when touched.
    static func anonymous(count: Int) throws(Errno) -> Mapping {
        try make(
            count: count, protection: readable | writable,
            flags: isPrivate | isAnonymous | withoutReserve, descriptor: -1)
    }

    /// A file from its start, private, read-only.
    static func file(_ descriptor: Int32, count: Int) throws(Errno) -> Mapping {
        try make(
            count: count, protection: readable, flags: isPrivate, descriptor: Int(descriptor))
    }

    /// Lays pages of a file over part of this mapping: readable and writable.
    /// - Parameters:
    ///   - offset, count, fileOffset: in bytes, multiples of 4096.
    ///   - shared: true if what is written goes to the file, and so to others.
    /// - Throws: the kernel's errno; ENODEV where the file cannot be mapped.
    func overlay(
        at offset: Int, count: Int, file descriptor: Int32, fileOffset: Int, shared: Bool = false
    ) throws(Errno) {
        precondition(offset >= 0 && count > 0 && offset + count <= self.count)
        precondition((offset | count | fileOffset) & 4095 == 0)
        try SystemCall.make(
            .map, Int(bitPattern: unsafe start) + offset, count, Self.readable | Self.writable,
            (shared ? Self.isShared : Self.isPrivate) | Self.isFixed, Int(descriptor),
            Self.offsetWord(fileOffset))
    }

    private static func make(
        count: Int, protection: Int, flags: Int, descriptor: Int
    ) throws(Errno) -> Mapping {
        let address = try SystemCall.make(.map, 0, count, protection, flags, descriptor, 0)
        guard let start = unsafe UnsafeMutableRawPointer(bitPattern: address) else {
            throw .invalid
        }
        return unsafe Mapping(start: start, count: count)
    }

    private static func offsetWord(_ bytes: Int) -> Int {
        #if arch(i386)
        bytes >> 12
        #else
        bytes
        #endif
    }
}
