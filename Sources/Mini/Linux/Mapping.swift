// Owned memory mappings. Sources: mmap(2), asm-generic/mman-common.h.

/// A mapped range of our address space, unmapped when its owner goes.
@safe struct Mapping: ~Copyable {
    let start: UnsafeMutableRawPointer
    /// Length in bytes, as asked for (the kernel rounds up to pages).
    let count: Int
    /// Bytes of the guards before and after it.
    private let front: Int
    private let back: Int

    private init(start: UnsafeMutableRawPointer, count: Int, front: Int = 0, back: Int = 0) {
        unsafe self.start = unsafe start
        self.count = count
        (self.front, self.back) = (front, back)
    }

    deinit {
        #if MINI_FUZZ
        if unsafe front > 0 && count < 1 << 22 && Self.spare.count < 16 {
            unsafe Self.spare.append((start, count))
            return
        }
        #endif
        _ = try? SystemCall.make(
            .unmap, Int(bitPattern: unsafe start) &- front, front + count + back)
    }

    var bytes: UnsafeMutableRawBufferPointer {
        unsafe UnsafeMutableRawBufferPointer(start: start, count: count)
    }

    private static let untouchable = 0
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

    /// Bytes that lie idle on either side of a guarded mapping.
    static let guardCount = 0x1_0000

    /// The same between guard pages: an access outside it faults, instead of reading or changing what
    /// happens to lie beside it.
    /// - Parameters:
    ///   - count: in bytes; is rounded up to pages.
    ///   - hole: a part of it that is guarded as well: bytes, multiples of 4096.
    /// - Throws: as the kernel, EINVAL for no bytes.
    static func guarded(count: Int, hole: Range<Int>? = nil) throws(Errno) -> Mapping {
        guard count > 0 else { throw .invalid }
        let count = Page.rounded(count)
        #if MINI_FUZZ
        if hole == nil, let index = unsafe spare.firstIndex(where: { unsafe $0.count == count }) {
            let start = unsafe spare.remove(at: index).start
            unsafe start.initializeMemory(as: UInt8.self, repeating: 0, count: count)
            return unsafe Mapping(
                start: start, count: count, front: guardCount, back: guardCount)
        }
        #endif
        let hole = hole ?? count..<count
        precondition(hole.lowerBound > 0 && hole.upperBound <= count)
        let all = guardCount + count + guardCount
        let address = try SystemCall.make(
            .map, 0, all, untouchable, isPrivate | isAnonymous | withoutReserve, -1, 0)
        do throws(Errno) {
            let start = address &+ guardCount
            try renew(start, hole.lowerBound)
            if hole.upperBound < count {
                try renew(start &+ hole.upperBound, count - hole.upperBound)
            }
            guard let start = unsafe UnsafeMutableRawPointer(bitPattern: start) else {
                throw .invalid
            }
            return unsafe Mapping(
                start: start, count: count, front: guardCount, back: guardCount)
        } catch {
            _ = try? SystemCall.make(.unmap, address, all)
            throw error
        }
    }

    /// Puts fresh pages in the place of what is there.
    private static func renew(_ start: Int, _ count: Int) throws(Errno) {
        try SystemCall.make(
            .map, start, count, readable | writable,
            isPrivate | isAnonymous | withoutReserve | isFixed, -1, 0)
    }

    /// Gives all pages of a guarded mapping back to the kernel: it is zeros again, and takes pages as they are touched.
    /// - Throws: ENOMEM; it must not be touched any more then.
    func empty() throws(Errno) {
        precondition(front == Self.guardCount && back == Self.guardCount)
        try Self.renew(Int(bitPattern: unsafe start), count)
    }

    #if MINI_FUZZ
    /// Guarded mappings that were given back: a fuzzer makes thousands a second.
    nonisolated(unsafe) private static var spare: [(start: UnsafeMutableRawPointer, count: Int)] =
        unsafe []
    #endif

    /// As `anonymous`, from address 0 of our address space on, and guarded at its end. A pointer with
    /// that address is not one that Swift could test for nil: only what lies after byte 0 may be
    /// looked at.
    /// - Throws: EPERM or EACCES where address 0 is not to be had; EEXIST where something else
    ///   of ours is in the way.
    static func lowest(count: Int) throws(Errno) -> Mapping {
        let flags = isPrivate | isAnonymous | withoutReserve
        // A fixed mapping replaces what is there. Whether something is, a mapping tells that
        // only prefers its address; nothing can be in the pages before. What it has behind the
        // second one's end stays as a guard.
        let probed = count - lowestUsual + guardCount
        let address = try SystemCall.make(.map, lowestUsual, probed, untouchable, flags, -1, 0)
        do throws(Errno) {
            guard address == lowestUsual else { throw .exists }
            let start = try SystemCall.make(
                .map, 0, count, readable | writable, flags | isFixed, -1, 0)
            return unsafe Mapping(
                start: unsafeBitCast(
                    UnsafeMutableRawPointer(bitPattern: start), to: UnsafeMutableRawPointer.self),
                count: count, back: guardCount)
        } catch {
            _ = try? SystemCall.make(.unmap, address, probed)
            throw error
        }
    }

    /// Where kernels with a vm.mmap_min_addr let mappings begin.
    private static let lowestUsual = 0x1_0000

    /// A file from its start, private, read-only.
    static func file(_ descriptor: Int32, count: Int) throws(Errno) -> Mapping {
        try make(
            count: count, protection: readable, flags: isPrivate, descriptor: Int(descriptor))
    }

    /// Part of a device's or file's memory, shared with all others that map it.
    /// - Parameters: offset and count in bytes, multiples of 4096.
    static func shared(
        _ descriptor: Int32, offset: Int, count: Int, isWritable: Bool
    ) throws(Errno) -> Mapping {
        try make(
            count: count, protection: isWritable ? readable | writable : readable,
            flags: isShared, descriptor: Int(descriptor), offset: offset)
    }

    /// Keeps the pages out of processes that are forked from this one: there they would stay
    /// in use after we have given them up, or be no memory at all.
    func excludeFromFork() throws(Errno) {
        try SystemCall.make(.memoryAdvice, Int(bitPattern: unsafe start), count, Self.notForked)
    }
    static let notForked = 10  // MADV_DONTFORK

    /// Lays pages of a file over part of this mapping: readable and writable.
    /// - Parameters:
    ///   - offset, count, fileOffset: in bytes, multiples of 4096.
    ///   - shared: true if what is written goes to the file, and so to others.
    /// - Throws: the kernel's errno; ENODEV where the file cannot be mapped.
    func overlay(
        at offset: Int, count: Int, file descriptor: Int32, fileOffset: Int, shared: Bool = false
    ) throws(Errno) {
        precondition(offset >= 0 && count > 0)
        precondition(offset <= self.count && count <= self.count - offset)
        precondition((offset | count | fileOffset) & Int(Page.offset) == 0)
        try SystemCall.make(
            .map, Int(bitPattern: unsafe start) &+ offset, count, Self.readable | Self.writable,
            (shared ? Self.isShared : Self.isPrivate) | Self.isFixed, Int(descriptor),
            Self.offsetWord(fileOffset))
    }

    private static func make(
        count: Int, protection: Int, flags: Int, descriptor: Int, offset: Int = 0
    ) throws(Errno) -> Mapping {
        let address = try SystemCall.make(
            .map, 0, count, protection, flags, descriptor, offsetWord(offset))
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
