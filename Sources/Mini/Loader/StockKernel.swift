// A kernel of today, or any that is started as a PC's: what its file says, and what is inside once that is unpacked.
// `mini-launch --check` tells all there is to tell; PCLoader.swift lays it into memory. The file may be a unified kernel image,
// of which it is a part (UnifiedImage.swift).
// Source: docs/abi/pc.md §1 to §4.

struct StockKernel {
    /// How the compressed kernel lies in the file.
    struct Payload: Equatable {
        let compression: Compression
        let offset: Int
        let length: Int
        /// What it unpacks to by its own word.
        let unpackedSize: UInt32
    }

    /// What it is a part of; nil for a file of its own.
    let unified: UnifiedImage?
    /// In bytes, without what it is a part of.
    let size: Int
    /// nil for an ELF file.
    let header: SetupHeader?
    private(set) var payload: Payload?
    private(set) var vmlinux: Vmlinux?
    /// What `vmlinux` describes, if it was unpacked.
    private(set) var image: UnpackedKernel?
    private(set) var banner: Text?
    /// Its first code, or that of its own unpacker, turns long mode on: before 2.12 no header says so. In a 32-bit file with a
    /// PVH note that may be any of its code, as in Xen's.
    private(set) var goesLong = false
    /// What is wrong with the kernel inside, as far as it was looked at.
    private(set) var damage: ImageError?

    /// More than any kernel unpacks to.
    static let mostUnpacked: UInt32 = 512 << 20
    private static let mostFound = 64 << 20
    /// Bytes within which a kernel leaves protected mode.
    private static let firstCode = 512

    /// Looks at a file; nil for one that is neither a bzImage nor an ELF kernel for this kind of processor.
    /// - Throws: the kernel's errno where there is no memory to unpack to.
    init?(_ file: ByteView) throws(Errno) {
        let unified = try? UnifiedImage(file)
        self.unified = unified
        let file = Self.kernel(of: unified, file)
        size = file.count
        header = SetupHeader(file)
        if let header {
            banner = header.banner
            goesLong = Self.goesLong(file, from: header.body)
            try unpack(file, header)
        } else if ElfImage.isElf(file) {
            do throws(ImageError) { vmlinux = try Vmlinux(file) } catch { return nil }
            banner = Recognition.banner(file)
            if let vmlinux, vmlinux.width == .bits32, pvhEntry != nil {
                goesLong = vmlinux.segments.contains {
                    Self.goesLong(
                        file, from: Int(truncatingIfNeeded: $0.fileOffset),
                        count: Int(truncatingIfNeeded: $0.fileSize))
                }
            }
        } else {
            return nil
        }
    }

    private static func kernel(of image: UnifiedImage?, _ file: ByteView) -> ByteView {
        image.flatMap { $0.kernel.bytes(of: file) } ?? file
    }

    /// The kernel's own bytes in the file that it was made of.
    func bytes(of file: ByteView) -> ByteView { Self.kernel(of: unified, file) }

    private mutating func unpack(_ file: ByteView, _ header: SetupHeader) throws(Errno) {
        guard header.holdsLinux else { return }
        guard let place = header.payload else { return try search(file, from: header.body) }
        guard file.contains(place.offset, place.length), place.length > 8 else {
            // In a file that is all there the header is wrong, which the image's own unpacker does not mind.
            damage =
                header.isCutOff(file.count)
                ? .bzImageCutOff(
                    size: UInt64(file.count),
                    expected: max(UInt64(place.offset) + UInt64(place.length), header.expectedSize))
                : header.lack(file.count)
            return
        }
        let end = place.offset + place.length
        guard let compression = Compression(file, at: place.offset) else {
            damage = header.lack(file.count)
            return
        }
        // The last word is the size: of gzip's own trailer, or put after the rest by the kernel's build.
        let size = file.word(end - 4) ?? 0
        payload = Payload(
            compression: compression, offset: place.offset, length: place.length,
            unpackedSize: size)
        guard compression.isUnpacked else { return }
        guard size <= Self.mostUnpacked else {
            damage = .damaged(compression, at: end - 4, .wrongLength)
            return
        }
        let unpacked = UnpackedKernel(try Mapping.anonymous(count: max(Int(size), 1)), Int(size))
        let room = unsafe unpacked.room
        let outcome = unsafe compression.unpack(
            file, at: place.offset, end: compression == .gzip ? end : end - 4, to: room)
        switch outcome.failure {
        case .full: damage = .damaged(compression, at: end - 4, .wrongLength)
        case .some(let failure):
            damage = .damaged(compression, at: outcome.position, failure)
        case nil where outcome.produced != Int(size):
            damage = .damaged(compression, at: end - 4, .wrongLength)
        case nil: lookInside(unpacked)
        }
    }

    /// Unpacks the first sound gzip member: before 2.08 the header does not tell where it is. A hostile file does not
    /// keep us busy: false candidates together may give as much as one kernel.
    private mutating func search(_ file: ByteView, from body: Int) throws(Errno) {
        let unpacked = UnpackedKernel(
            try Mapping.anonymous(count: Self.mostFound), Self.mostFound)
        var from = body
        var wasted = 0
        while wasted < Self.mostFound, let at = Gzip.candidate(file, from: from) {
            let outcome = unsafe Gzip.unpack(file, at: at, to: unpacked.room)
            if outcome.failure == nil {
                payload = Payload(
                    compression: .gzip, offset: at, length: outcome.position - at,
                    unpackedSize: UInt32(outcome.produced))
                unpacked.count = outcome.produced
                lookInside(unpacked)
                return
            }
            // What was read counts, too: a name in a header may be as long as the file.
            wasted += outcome.produced + 4096 + (outcome.position - at)
            from = at + 1
        }
        damage = header?.lack(file.count)
    }

    private mutating func lookInside(_ unpacked: UnpackedKernel) {
        let image = unsafe ByteView(unpacked.bytes)
        if banner == nil { banner = Recognition.banner(image) }
        // Kernels before 2.6.26 are bare code.
        guard ElfImage.isElf(image) else {
            goesLong = goesLong || Self.goesLong(image, from: 0)
            return
        }
        do throws(ImageError) {
            vmlinux = try Vmlinux(image)
            self.image = unpacked
        } catch { damage = error }
    }

    /// Whether code sets EFER.LME: `mov $0xC0000080, %ecx` and, within a few instructions, `bts $8, %eax`, or an `or` with that
    /// bit, or with a word of which nothing is known. What 32-bit kernels set there is another bit.
    private static func goesLong(
        _ code: ByteView, from start: Int, count: Int = Self.firstCode
    ) -> Bool {
        for at in start..<start + count
        where code.word(at + 1) == 0xC000_0080 && code.byte(at) == 0xB9 {
            for next in at + 5..<at + 32 {
                // or $imm, %eax
                let bits = code.byte(next) == 0x0D ? code.word(next + 1) ?? 0 : 0
                // or (address), %eax; or $1, %ah
                if bits & 0xFFFF_0100 == 0x100 || code.has([0x0F, 0xBA, 0xE8, 8], at: next)
                    || code.has([0x0F, 0x32, 0x0B, 0x05], at: next)
                    || code.has([0x80, 0xCC, 1], at: next)
                {
                    return true
                }
                // wrmsr
                if code.has([0x0F, 0x30], at: next) { break }
            }
        }
        return false
    }

    /// What the header's text begins with, or what "Linux version " is in front of.
    var version: LinuxVersion? {
        header?.version
            ?? banner.flatMap { LinuxVersion(Text(bytes: Array($0.bytes.dropFirst(14)))) }
    }

    /// The last byte that an initrd may have; without a header nothing says how old a 32-bit kernel is.
    var initrdLimit: UInt32 {
        header?.initrdLimit
            ?? (vmlinux?.width == .bits32
                ? SetupHeader.oldInitrdLimit : SetupHeader.usualInitrdLimit)
    }

    /// Where it is entered by its PVH note; nil for Linux, which is entered as an ELF file.
    var pvhEntry: UInt32? {
        guard header == nil, let vmlinux, banner == nil || !vmlinux.isHigh else { return nil }
        return vmlinux.pvhEntry
    }

    /// How it is entered; where its page table is, its loader says.
    var mode: ProcessorStart.Mode {
        if let vmlinux {
            guard vmlinux.width == .bits64 else {
                return pvhEntry != nil && goesLong ? .protectedToLong : .protected32
            }
            // By its note it is entered in 32-bit mode, and is a 64-bit kernel all the same.
            return pvhEntry == nil ? .long64(pageTable: 0) : .protectedToLong
        }
        if header?.is64Bit ?? false { return .long64(pageTable: 0) }
        return goesLong ? .protectedToLong : .protected32
    }

    /// Where the protected-mode part goes if the image unpacks itself.
    var imageStart: UInt32 { header?.imageStart ?? 0 }

    /// The first byte after what it needs until it runs; 0 where nothing tells.
    var end: UInt64 {
        let end = vmlinux?.highest ?? 0
        guard let header else { return end }
        let start = UInt64(imageStart)
        guard let size = header.initSize else {
            // An old image unpacks itself to where it lies, and beyond.
            return max(end, start + UInt64(payload?.unpackedSize ?? 0) + UInt64(self.size))
        }
        // One that cannot be moved lies elsewhere than where it runs.
        let run = header.place.addingReportingOverflow(UInt64(size))
        return max(end, start + UInt64(self.size), run.overflow ? .max : run.partialValue)
    }

    /// Guest memory in MiB, without any initrd but the image's own: the least that it is loaded into, and what it should have
    /// beside that; nil where nothing tells.
    var mebibytes: (least: UInt64, working: UInt64)? {
        guard vmlinux != nil || header?.initSize != nil else { return nil }
        let initrd = UInt64(unified?.initrd?.count ?? 0)
        return (PCLayout.least(end, initrd), PCLayout.working(initrd))
    }
}

/// A kernel's bytes as they came out of its image.
final class UnpackedKernel {
    private let mapping: Mapping
    var count: Int

    init(_ mapping: consuming Mapping, _ count: Int) {
        self.mapping = mapping
        self.count = count
    }

    /// Room for it, of `count` bytes.
    var room: UnsafeMutableRawBufferPointer {
        unsafe UnsafeMutableRawBufferPointer(rebasing: mapping.bytes[..<count])
    }
    var bytes: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(room) }
}
