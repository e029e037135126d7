// The ELF file of a kernel that is started as a PC's, 32-bit or 64-bit, alone or as it comes out of a bzImage: where its parts go in
// physical memory, where it is entered. Nothing of it is believed before it is checked.
// Source: docs/abi/pc.md §1.3, §2; the System V ABI's chapter on object files.

struct Vmlinux: Equatable {
    struct Segment: Equatable {
        /// Guest-physical, bytes.
        let address: UInt64
        /// Where its bytes begin in the file.
        let fileOffset: UInt64
        let fileSize: UInt64
        /// Bytes in memory, at least `fileSize`; the rest is zero.
        let memorySize: UInt64
        /// ELF's: 4 read, 2 write, 1 execute.
        let flags: UInt32

        var end: UInt64 { address + memorySize }
    }

    enum Width: Equatable { case bits32, bits64 }

    let width: Width
    /// The file's own entry, physical.
    let entry: UInt64
    /// Where it is entered in 32-bit mode with a Xen start_info, by a note of the file's.
    let pvhEntry: UInt32?
    /// The PT_LOAD segments, in the file's order, none of which overlaps another.
    let segments: [Segment]
    /// Linked elsewhere than where it lies in memory, as Linux is.
    let isHigh: Bool
    /// Its entry is where it is linked, of which a processor knows nothing at first.
    let isEnteredHigh: Bool

    var lowest: UInt64 { segments.reduce(.max) { min($0, $1.address) } }
    var highest: UInt64 { segments.reduce(0) { max($0, $1.end) } }

    /// Bytes of notes that are looked through.
    private static let mostNotes = 1 << 16
    /// No kernel is put above.
    private static let addressLimit: UInt64 = 1 << 40

    /// Where fields are, by width.
    private struct Layout {
        let isWide: Bool
        var headerSize: Int { isWide ? 64 : 52 }
        var entrySize: UInt16 { isWide ? 56 : 32 }

        func address(_ file: ByteView, _ narrow: Int, _ wide: Int) -> UInt64 {
            isWide ? file.double(wide) ?? 0 : UInt64(file.word(narrow) ?? 0)
        }
    }

    /// Reads and checks the headers of a file that begins as ELF does.
    init(_ file: ByteView) throws(ImageError) {
        let isWide = try ElfImage.isWide(file)
        let layout = Layout(isWide: isWide)
        guard file.contains(0, layout.headerSize) else {
            throw .damagedElf("its header is cut off at byte \(file.count)")
        }
        width = isWide ? .bits64 : .bits32
        entry = layout.address(file, 24, 24)
        let (start, count) = try Self.programHeaders(file, layout)
        var segments: [Segment] = []
        var pvhEntry: UInt32?
        var isHigh = false
        var isEnteredHigh = false
        var isProgram = false
        for index in 0..<count {
            let header = start + index * Int(layout.entrySize)
            let kind = file.word(header)
            if kind == Elf.interpreter { isProgram = true }
            guard kind == Elf.load || kind == Elf.note else { continue }
            let segment = try Self.segment(file, header, layout, index, isNote: kind == Elf.note)
            if kind == Elf.note {
                let align = layout.address(file, header + 28, header + 48)
                pvhEntry = pvhEntry ?? Self.pvhEntry(file, segment, align: align == 8 ? 8 : 4)
                continue
            }
            // A kernel lives in the upper half of its addresses, which a 32-bit one may share out in its own way.
            let virtual = layout.address(file, header + 8, header + 16)
            isHigh = isHigh || (isWide ? virtual >> 63 == 1 : virtual != segment.address)
            isEnteredHigh = isEnteredHigh || entry &- virtual < segment.fileSize
            if segment.memorySize > 0 { segments.append(segment) }
        }
        // With the note it may be linked as a program is: it is entered there without paging.
        if pvhEntry == nil {
            if isProgram { throw .userProgram(bits: isWide ? 64 : 32) }
            if ElfImage.isMultiboot(file) { throw .multiboot }
            if !isHigh { throw .otherLoader(bits: isWide ? 64 : 32) }
        }
        guard segments.contains(where: { $0.fileSize > 0 }) else {
            throw .damagedElf("it has nothing to load")
        }
        try Self.checkOverlap(segments)
        self.segments = segments
        self.pvhEntry = pvhEntry
        self.isHigh = isHigh
        self.isEnteredHigh = isEnteredHigh
    }

    /// Where the program headers begin in the file, all of which are in it, and how many there are.
    private static func programHeaders(
        _ file: ByteView, _ layout: Layout
    ) throws(ImageError) -> (start: Int, count: Int) {
        let start = layout.address(file, 28, 32)
        let size = file.half(layout.isWide ? 54 : 42) ?? 0
        let count = file.half(layout.isWide ? 56 : 44) ?? 0
        guard size == layout.entrySize else {
            throw .damagedElf(
                "its program headers have \(size) bytes each, not \(layout.entrySize)")
        }
        guard count >= 1 && count <= Elf.mostHeaders else {
            throw .damagedElf("it has \(count) program headers, 1 to \(Elf.mostHeaders) make sense")
        }
        guard start <= UInt64(file.count),
            UInt64(count) * UInt64(size) <= UInt64(file.count) - start
        else { throw .damagedElf("its program headers lie beyond the end of the file") }
        return (Int(start), Int(count))
    }

    private static func segment(
        _ file: ByteView, _ header: Int, _ layout: Layout, _ index: Int, isNote: Bool
    ) throws(ImageError) -> Segment {
        let segment = Segment(
            address: layout.address(file, header + 12, header + 24),
            fileOffset: layout.address(file, header + 4, header + 8),
            fileSize: layout.address(file, header + 16, header + 32),
            memorySize: layout.address(file, header + 20, header + 40),
            flags: file.word(header + (layout.isWide ? 4 : 24)) ?? 0)
        // Sums of two of these are far from a word's end.
        guard segment.fileSize < addressLimit, segment.fileOffset < addressLimit else {
            throw .damagedElf("segment \(index) has an impossible size")
        }
        let end = segment.fileOffset + segment.fileSize
        guard segment.fileSize == 0 || end <= UInt64(file.count) else {
            throw .elfCutOff(segment: index, end: end, size: UInt64(file.count))
        }
        if isNote { return segment }
        guard segment.fileSize <= segment.memorySize else {
            throw .damagedElf("segment \(index) has more bytes in the file than in memory")
        }
        guard segment.memorySize < addressLimit, segment.address < addressLimit - segment.memorySize
        else { throw .damagedElf("segment \(index) reaches beyond 1 TiB") }
        return segment
    }

    private static func checkOverlap(_ segments: [Segment]) throws(ImageError) {
        for index in segments.indices {
            for other in 0..<index
            where segments[index].address < segments[other].end
                && segments[other].address < segments[index].end
            {
                throw .damagedElf("segments \(other) and \(index) overlap")
            }
        }
    }

    /// What Xen's note 18 says, if there is one; other notes of Xen's may stand before it.
    private static func pvhEntry(_ file: ByteView, _ segment: Segment, align: Int) -> UInt32? {
        guard let offset = Int(exactly: segment.fileOffset),
            let notes = file.slice(offset, min(Int(clamping: segment.fileSize), mostNotes))
        else { return nil }
        func padded(_ size: UInt32) -> Int? {
            guard size < 1 << 24 else { return nil }
            return (Int(size) + align - 1) & ~(align - 1)
        }
        var at = 0
        while let nameSize = notes.word(at), let size = notes.word(at + 4),
            let kind = notes.word(at + 8), let name = padded(nameSize), let data = padded(size)
        {
            if kind == 18, nameSize == 4, notes.has("Xen\0", at: at + 12), size >= 4 {
                return notes.word(at + 12 + name)
            }
            at += 12 + name + data
        }
        return nil
    }
}
