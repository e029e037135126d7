// A kernel of today, or any that is started as a PC's: what its file says, and what is inside once that is unpacked. Nothing
// starts it yet; `mini-launch --check` tells all there is to tell.
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

    let size: Int
    /// nil for an ELF file.
    let header: SetupHeader?
    private(set) var payload: Payload?
    private(set) var vmlinux: Vmlinux?
    private(set) var banner: Text?
    /// What is wrong with the kernel inside, as far as it was looked at.
    private(set) var damage: ImageError?

    /// More than any kernel unpacks to.
    static let mostUnpacked: UInt32 = 512 << 20
    private static let mostFound = 64 << 20

    /// Looks at a file; nil for one that is neither a bzImage nor an ELF kernel for this kind of processor.
    /// - Throws: the kernel's errno where there is no memory to unpack to.
    init?(_ file: ByteView) throws(Errno) {
        size = file.count
        header = SetupHeader(file)
        if let header {
            banner = header.banner
            try unpack(file, header)
        } else if ElfImage.isElf(file) {
            do throws(ImageError) { vmlinux = try Vmlinux(file) } catch { return nil }
            banner = Recognition.banner(file)
        } else {
            return nil
        }
    }

    private mutating func unpack(_ file: ByteView, _ header: SetupHeader) throws(Errno) {
        guard let place = header.payload else { return try search(file, from: header.body) }
        guard file.contains(place.offset, place.length), place.length > 8 else {
            let end = UInt64(place.offset) + UInt64(place.length)
            damage = .bzImageCutOff(
                size: UInt64(file.count), expected: max(end, header.expectedSize))
            return
        }
        let end = place.offset + place.length
        guard let compression = Compression(file, at: place.offset) else {
            damage = .noCompressedKernel(version: header.version?.name)
            return
        }
        // The last word is the size: of gzip's own trailer, or put behind the rest by the kernel's build.
        let size = file.word(end - 4) ?? 0
        payload = Payload(
            compression: compression, offset: place.offset, length: place.length,
            unpackedSize: size)
        guard compression.isUnpacked else { return }
        guard size <= Self.mostUnpacked else {
            damage = .damaged(compression, at: end - 4, .wrongLength)
            return
        }
        let memory = try Mapping.anonymous(count: max(Int(size), 1))
        let room = unsafe UnsafeMutableRawBufferPointer(rebasing: memory.bytes[..<Int(size)])
        let outcome = unsafe compression.unpack(
            file, at: place.offset, end: compression == .gzip ? end : end - 4, to: room)
        switch outcome.failure {
        case .full: damage = .damaged(compression, at: end - 4, .wrongLength)
        case .some(let failure):
            damage = .damaged(compression, at: outcome.position, failure)
        case nil where outcome.produced != Int(size):
            damage = .damaged(compression, at: end - 4, .wrongLength)
        case nil: lookInside(unsafe ByteView(UnsafeRawBufferPointer(room)))
        }
    }

    /// Unpacks the first sound gzip member: before 2.08 the header does not tell where it is. A hostile file does not
    /// keep us busy: false candidates together may give as much as one kernel.
    private mutating func search(_ file: ByteView, from body: Int) throws(Errno) {
        let memory = try Mapping.anonymous(count: Self.mostFound)
        var from = body
        var wasted = 0
        while wasted < Self.mostFound, let at = Gzip.candidate(file, from: from) {
            let outcome = unsafe Gzip.unpack(file, at: at, to: memory.bytes)
            if outcome.failure == nil {
                payload = Payload(
                    compression: .gzip, offset: at, length: outcome.position - at,
                    unpackedSize: UInt32(outcome.produced))
                lookInside(
                    unsafe ByteView(
                        UnsafeRawBufferPointer(rebasing: memory.bytes[..<outcome.produced])))
                return
            }
            // What was read counts, too: a name in a header may be as long as the file.
            wasted += outcome.produced + 4096 + (outcome.position - at)
            from = at + 1
        }
        damage = .noCompressedKernel(version: header?.version?.name)
    }

    private mutating func lookInside(_ image: ByteView) {
        if banner == nil { banner = Recognition.banner(image) }
        // Kernels before 2.6.26 are bare code.
        guard ElfImage.isElf(image) else { return }
        do throws(ImageError) { vmlinux = try Vmlinux(image) } catch { damage = error }
    }

    /// The least guest memory in MiB that it can do with, without an initrd; nil where nothing tells.
    var leastMebibytes: UInt64? {
        var end = vmlinux?.highest ?? 0
        if let header, let size = header.initSize {
            let start =
                header.isRelocatable ? header.preferredAddress ?? 0 : UInt64(header.codeStart)
            let (sum, isFar) = start.addingReportingOverflow(UInt64(size))
            end = max(end, isFar ? .max : sum)
        }
        return end == 0 ? nil : end >> 20 + (end & 0xF_FFFF == 0 ? 0 : 1)
    }
}
