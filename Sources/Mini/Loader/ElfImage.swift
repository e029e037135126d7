// An ELF `vmlinux`: its headers, checked against each other, the file and the guest's memory
// before a byte is used, and its way into guest memory. Pages that are the same in file and
// memory are mapped, so that they cost nothing until they are touched.
// Source: docs/abi/lguest.md §2.3; the System V ABI's chapter on object files.

/// Numbers of the format. Source: linux/elf.h.
enum Elf {
    static let machine386: UInt16 = 3  // EM_386
    static let machineX86: UInt16 = 62  // EM_X86_64

    // Kinds of files, ET_REL to ET_CORE.
    static let objectFile: UInt16 = 1
    static let program: UInt16 = 2
    static let sharedObject: UInt16 = 3
    static let coreDump: UInt16 = 4

    // Kinds of program headers, PT_LOAD, PT_INTERP, PT_NOTE.
    static let load: UInt32 = 1
    static let interpreter: UInt32 = 3
    static let note: UInt32 = 4
    /// More of them make no sense.
    static let mostHeaders: UInt16 = 2048
}

/// A piece of a kernel image in guest memory.
struct ImageSegment: Equatable {
    /// Guest-physical address, bytes.
    let address: UInt32
    /// Where its bytes begin in the file.
    let fileOffset: UInt32
    let fileSize: UInt32
    /// Bytes in memory, at least `fileSize`; the rest is zero.
    let memorySize: UInt32
    /// ELF's: 4 read, 2 write, 1 execute.
    let flags: UInt32
    /// Bytes of `fileSize` that were mapped, not copied.
    var mapped: UInt32 = 0

    var end: UInt32 { address + memorySize }
}

/// A checked ELF32 kernel.
struct ElfImage: Equatable {
    /// The PT_LOAD segments, in the file's order; none overlaps another, each ends below
    /// 4 GiB and lies in the file.
    let segments: [ImageSegment]
    /// The file's own entry; physical in the kernels that are entered there.
    let entry: UInt32
    /// Virtual minus physical address, the same for all segments.
    let pageOffset: UInt32
    /// Lowest address, and highest end of the bytes that come from the file.
    let lowest: UInt32
    let highestLoaded: UInt32
    /// Highest end in memory.
    let highest: UInt32

    static func isElf(_ file: ByteView) -> Bool { file.has([0x7F, 0x45, 0x4C, 0x46], at: 0) }
    /// One with 64-bit addresses, whatever else is wrong with it.
    static func isElf64(_ file: ByteView) -> Bool { isElf(file) && file.byte(4) == 2 }

    private static let headerSize = 52
    private static let programHeaderSize: UInt32 = 32
    /// Below lie the boot parameters and the command line.
    private static let lowestAddress = GuestLayout.lowestKernelAddress

    /// Reads and checks the headers of a file that begins as ELF does.
    init(_ file: ByteView) throws(ImageError) {
        try Self.checkKind(file)
        guard let start = file.word(28), let entrySize = file.half(42), let count = file.half(44)
        else { throw .damagedElf("its header is cut off at byte \(file.count)") }
        guard UInt32(entrySize) == Self.programHeaderSize else {
            throw .damagedElf("its program headers have \(entrySize) bytes each, not 32")
        }
        guard count >= 1 else { throw .damagedElf("it has no program headers") }
        guard count <= Elf.mostHeaders else {
            throw .damagedElf(
                "it has \(count) program headers, at most \(Elf.mostHeaders) make sense")
        }
        var segments: [ImageSegment] = []
        var offset: UInt32?
        for index in 0..<Int(count) {
            let at = UInt64(start) + UInt64(index) * 32
            guard at + 32 <= UInt64(file.count) else {
                throw .damagedElf("program header \(index) lies beyond the end of the file")
            }
            let header = Int(at)
            if file.word(header) == Elf.interpreter { throw .userProgram(bits: 32) }
            guard file.word(header) == Elf.load else { continue }
            let (segment, segmentOffset) = try Self.segment(file, header, index)
            if segment.memorySize == 0 { continue }
            if let offset, offset != segmentOffset {
                throw .damagedElf("segment \(index) has another page offset than the first")
            }
            offset = segmentOffset
            segments.append(segment)
        }
        guard let offset, segments.contains(where: { $0.fileSize > 0 }) else {
            throw .damagedElf("it has nothing to load")
        }
        try Self.checkOverlap(segments)
        if offset == 0 { throw .otherLoader(bits: 32) }
        self.segments = segments
        entry = file.word(24) ?? 0
        pageOffset = offset
        var lowest = UInt32.max
        var highestLoaded: UInt32 = 0
        var highest: UInt32 = 0
        for segment in segments {
            lowest = min(lowest, segment.address)
            highestLoaded = max(highestLoaded, segment.address + segment.fileSize)
            highest = max(highest, segment.end)
        }
        self.lowest = lowest
        self.highestLoaded = highestLoaded
        self.highest = highest
    }

    // MARK: Checks

    private static func checkKind(_ file: ByteView) throws(ImageError) {
        if try isWide(file) { throw kind64(file) }
        // A 32-bit file for the 64-bit machine: x32, which never was a kernel.
        if file.half(18) != Elf.machine386 { throw .userProgram(bits: 32) }
    }

    /// Whether a file that begins as ELF does has 64-bit addresses.
    /// - Throws: if it is none that was linked for an x86 processor.
    static func isWide(_ file: ByteView) throws(ImageError) -> Bool {
        guard let bits = file.byte(4), let order = file.byte(5), file.contains(0, headerSize)
        else { throw .damagedElf("its header is cut off at byte \(file.count)") }
        if order == 2 { throw .bigEndian }
        guard order == 1, bits == 1 || bits == 2, let type = file.half(16),
            let machine = file.half(18)
        else { throw .damagedElf("neither 32-bit nor 64-bit little-endian") }
        guard machine == Elf.machine386 || machine == Elf.machineX86 else {
            throw .otherMachine(machine)
        }
        switch type {
        case Elf.objectFile: throw .objectFile
        case Elf.program: break
        case Elf.sharedObject: throw .sharedObject
        case Elf.coreDump: throw .coreDump
        default: throw .unknownElfType(type)
        }
        return bits == 2
    }

    /// Whether a loader is to find a Multiboot header, 1 or 2, near the file's start. Its words' sum is 0.
    /// Source: the Multiboot Specification, 0.6.96 and 2.0.
    static func isMultiboot(_ file: ByteView) -> Bool {
        var at = 0
        while at < 1 << 15, let first = file.word(at) {
            if first == 0x1BAD_B002 || first == 0xE852_50D6 {
                let words = first == 0x1BAD_B002 ? 3 : 4
                let sum = (0..<words).reduce(UInt32(0)) { $0 &+ (file.word(at + 4 * $1) ?? 0) }
                if sum == 0 { return true }
            }
            at += 4
        }
        return false
    }

    /// A 64-bit kernel is linked into the upper half of its addresses; a program is not.
    private static func kind64(_ file: ByteView) -> ImageError {
        guard let start = file.double(32), let count = file.half(56), start < UInt64(file.count)
        else { return .damagedElf("its 64-bit header is cut off") }
        for index in 0..<Int(count) {
            let header = Int(start) + index * 56
            if file.word(header) == Elf.interpreter { return .userProgram(bits: 64) }
            if file.word(header) == Elf.load, let address = file.double(header + 16),
                address >> 63 == 1
            {
                let recognition = Recognition(image: file, origin: 0)
                return .kernel64(version: recognition.version?.name)
            }
        }
        return .otherLoader(bits: 64)
    }

    private static func segment(
        _ file: ByteView, _ header: Int, _ index: Int
    ) throws(ImageError) -> (ImageSegment, pageOffset: UInt32) {
        func word(_ offset: Int) -> UInt32 { file.word(header + offset) ?? 0 }
        let segment = ImageSegment(
            address: word(12), fileOffset: word(4), fileSize: word(16), memorySize: word(20),
            flags: word(24))
        let virtual = word(8)
        guard segment.fileSize <= segment.memorySize else {
            throw .damagedElf("segment \(index) has more bytes in the file than in memory")
        }
        // A segment without bytes in the file has an offset all the same, which says nothing.
        let end = UInt64(segment.fileOffset) + UInt64(segment.fileSize)
        guard segment.fileSize == 0 || end <= UInt64(file.count) else {
            throw .elfCutOff(segment: index, end: end, size: UInt64(file.count))
        }
        if segment.memorySize == 0 { return (segment, 0) }
        guard UInt64(segment.address) + UInt64(segment.memorySize) <= UInt64(UInt32.max),
            UInt64(virtual) + UInt64(segment.memorySize) <= UInt64(UInt32.max)
        else { throw .damagedElf("segment \(index) reaches beyond 4 GiB") }
        guard segment.address >= lowestAddress else {
            throw .damagedElf("segment \(index) lies over the boot parameters")
        }
        return (segment, virtual &- segment.address)
    }

    private static func checkOverlap(_ segments: [ImageSegment]) throws(ImageError) {
        for index in segments.indices {
            for other in 0..<index
            where segments[index].address < segments[other].end
                && segments[other].address < segments[index].end
            {
                throw .damagedElf("segments \(other) and \(index) overlap")
            }
        }
    }

    // MARK: Into memory

    /// Loads the segments into memory that is all zero. All of them must lie inside.
    /// - Parameters:
    ///   - file: the bytes of `descriptor`'s file.
    /// - Returns: the segments, with what was mapped.
    /// - Throws: what the kernel said to a mapping; memory is not fit for use then.
    func load(
        _ file: ByteView, descriptor: Int32, into memory: GuestMemory
    ) throws(Errno) -> [ImageSegment] {
        var loaded: [ImageSegment] = []
        for var segment in segments {
            let pages = Self.wholePages(segment)
            if pages.count > 0 {
                guard let range = memory.range(segment.address + pages.start, pages.count) else {
                    throw .badAddress
                }
                try memory.map(
                    range, file: descriptor, fileOffset: Int(segment.fileOffset + pages.start))
            }
            let tail = pages.start + pages.count
            try Self.copy(file, segment, from: 0, count: pages.start, memory)
            try Self.copy(file, segment, from: tail, count: segment.fileSize - tail, memory)
            segment.mapped = pages.count
            loaded.append(segment)
        }
        return loaded
    }

    /// The same for bytes that are in no file.
    func copy(_ file: ByteView, into memory: GuestMemory) throws(ImageError) -> [ImageSegment] {
        for segment in segments {
            do throws(Errno) {
                try Self.copy(file, segment, from: 0, count: segment.fileSize, memory)
            } catch { throw .entryOutside(address: segment.address) }
        }
        return segments
    }

    /// The part of a segment, relative to its start, that is whole pages in file and memory
    /// alike. A page that is the file's only in part is copied: mapping it would bring
    /// bytes along that belong to something else.
    private static func wholePages(_ segment: ImageSegment) -> (start: UInt32, count: UInt32) {
        guard segment.address & Page.offset == segment.fileOffset & Page.offset else {
            return (0, 0)
        }
        let start = (0 &- segment.address) & Page.offset
        guard segment.fileSize > start else { return (0, 0) }
        return (start, (segment.fileSize - start) & Page.number)
    }

    private static func copy(
        _ file: ByteView, _ segment: ImageSegment, from: UInt32, count: UInt32,
        _ memory: GuestMemory
    ) throws(Errno) {
        guard count > 0 else { return }
        guard let bytes = file.slice(Int(segment.fileOffset + from), Int(count)),
            let range = memory.range(segment.address + from, count)
        else { throw .badAddress }
        unsafe memory.writable(range).copyMemory(from: bytes.buffer)
    }
}
