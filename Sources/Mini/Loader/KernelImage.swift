// A kernel file on its way into a guest: opened by the caller, recognised here, loaded, and
// described. Whatever the file holds, it ends up inside the memory that it was given or is
// refused with the reason. Source: docs/abi/lguest.md §2.3, §2.4, §6.4.

/// A kernel in guest memory, and everything that is known of it.
struct LoadedKernel: Equatable {
    enum Format: Equatable {
        case elf
        /// The compressed kernel's offset in the file.
        case bzImage(member: Int)
    }

    /// The file's name as it was given.
    let name: Text
    /// The file's size in bytes.
    let size: UInt64
    let format: Format
    /// "Linux version …", nil for a kernel that is not Linux.
    let banner: Text?
    let abi: GuestABI
    /// Initial EIP: virtual up to era 1b, physical in era 1c.
    let entry: UInt32
    let pageOffset: UInt32
    let segments: [ImageSegment]
    /// Guest-physical address of `lguest_data`, if the image shows it.
    let data: UInt32?
    /// Guest-physical end of all that the kernel is known to use.
    let end: UInt32

    var era: GuestABI.Era { abi.era }

    /// It may be started as a PC's, too: what distributions have is packed, and unpacks itself.
    var mayBePC: Bool {
        if case .bzImage = format { return banner != nil }
        return false
    }
}

/// What is inside a kernel file that was unpacked for an engine that may not take it: the next one need not unpack it again.
final class UnpackedImage {
    var kernel: StockKernel?

    /// - Parameter size: of the file by now; in one of another size it would not be what it was.
    func take(size: Int) -> StockKernel? {
        defer { kernel = nil }
        return kernel?.size == size ? kernel : nil
    }
}

/// An open kernel file, mapped for reading.
struct KernelImage: ~Copyable {
    private let name: Text
    private let descriptor: Int32
    private let mapping: Mapping
    private let size: UInt64
    private let kind: Kind
    private let inside: UnpackedImage

    private enum Kind {
        case elf(ElfImage)
        case bzImage(BzImage)
    }

    private static let largestFile: UInt64 = 1 << 30

    private init(
        name: Text, descriptor: Int32, mapping: consuming Mapping, kind: Kind,
        _ inside: UnpackedImage
    ) {
        self.name = name
        self.descriptor = descriptor
        size = UInt64(mapping.count)
        self.mapping = mapping
        self.kind = kind
        self.inside = inside
    }

    /// Looks at the file's headers.
    /// - Parameters:
    ///   - descriptor: open for reading; must stay open as long as the image is in use.
    ///   - name: for messages.
    ///   - inside: gets what `load` unpacks.
    /// - Throws: a refusal if this can be no kernel of ours; or the kernel's errno.
    static func examine(
        _ descriptor: Int32, name: Text, status: FileStatus? = nil,
        inside: UnpackedImage = UnpackedImage()
    ) throws(LoaderError) -> KernelImage {
        let mapping = try map(descriptor, name, status)
        let kind: Kind
        do throws(ImageError) {
            kind = try self.kind(of: unsafe ByteView(UnsafeRawBufferPointer(mapping.bytes)))
        } catch { throw .image(name: name, error) }
        return KernelImage(
            name: name, descriptor: descriptor, mapping: mapping, kind: kind, inside)
    }

    /// A kernel that is started as a PC's, if the file is one. For the file that `examine` or `load` refused.
    /// - Throws: the kernel's errno.
    static func stock(_ descriptor: Int32, name: Text) throws(LoaderError) -> StockKernel? {
        let mapping = try map(descriptor, name, nil)
        do throws(Errno) {
            return try StockKernel(unsafe ByteView(UnsafeRawBufferPointer(mapping.bytes)))
        } catch { throw .host("unpack", name: name, error) }
    }

    /// A file that can be a kernel's, mapped.
    static func map(
        _ descriptor: Int32, _ name: Text, _ known: FileStatus?
    ) throws(LoaderError) -> Mapping {
        let status: FileStatus
        do throws(Errno) {
            if let known { status = known } else { status = try FileStatus.of(descriptor) }
        } catch {
            throw .host("read", name: name, error)
        }
        do throws(ImageError) { try check(status) } catch {
            throw .image(name: name, error)
        }
        do throws(Errno) { return try Mapping.file(descriptor, count: Int(status.size)) } catch {
            throw .map(name, error)
        }
    }

    private static func check(_ status: FileStatus) throws(ImageError) {
        switch status.kind {
        case .directory: throw .directory
        case .regular: break
        default: throw .notAFile
        }
        if status.size == 0 { throw .empty }
        if status.size > largestFile { throw .tooLarge }
    }

    private static func kind(of file: ByteView) throws(ImageError) -> Kind {
        if ElfImage.isElf(file) {
            // It may have a note beside that header, and be a PC's.
            if ElfImage.isMultiboot(file) { _ = try Vmlinux(file) }
            do throws(ImageError) { return .elf(try ElfImage(file)) } catch {
                if case .kernel64 = error { throw error }
                // One that is not for lguest may lie as it likes.
                let recognition = Recognition(image: file, origin: 0)
                guard recognition.dialect == .none, (try? Vmlinux(file)) != nil else { throw error }
                throw Self.refusal(recognition)
            }
        }
        if let image = BzImage(file) {
            try image.check(file)
            return .bzImage(image)
        }
        throw FileKind.refusal(file)
    }

    // MARK: Loading

    /// Loads the kernel.
    /// - Parameters:
    ///   - memory: fresh (all zero), with room for the devices above the RAM.
    ///   - mebibytes: RAM; nothing above is touched.
    /// - Throws: a refusal or the kernel's errno; the memory is not fit for use then.
    func load(
        into memory: GuestMemory, mebibytes: UInt32
    ) throws(LoaderError) -> LoadedKernel {
        let limit = mebibytes << 20
        let file = unsafe ByteView(UnsafeRawBufferPointer(mapping.bytes))
        switch kind {
        case .elf(let image):
            guard image.highest <= limit else {
                throw .image(name: name, Self.tooLarge(image, file, limit: limit))
            }
            let segments: [ImageSegment]
            do throws(Errno) {
                segments = try image.load(file, descriptor: descriptor, into: memory)
            } catch { throw .map(name, error) }
            return try refusing { () throws(ImageError) in
                try describe(
                    .elf, segments, memory, range: (image.lowest, image.highestLoaded),
                    end: image.highest, knownOffset: image.pageOffset, ownEntry: image.entry)
            }
        case .bzImage(let image):
            if let (unpacked, member) = try inner(of: image, file) {
                return try refusing { () throws(ImageError) in
                    try loadInner(unpacked, member: member, into: memory, limit: limit)
                }
            }
            let member: Int
            let size: UInt32
            do throws(ImageError) {
                (member, size) = try image.unpack(file, into: memory, limit: limit)
            } catch { throw .image(name: name, error) }
            let start = BzImage.loadAddress
            let elf = try takeElf(at: start, size, of: memory)
            return try refusing { () throws(ImageError) in
                if let elf {
                    return try loadInner(elf, member: member, into: memory, limit: limit)
                }
                let start = try Self.settle(size, in: memory, limit: limit)
                let segment = ImageSegment(
                    address: start, fileOffset: UInt32(member), fileSize: size, memorySize: size,
                    flags: 7)
                return try describe(
                    .bzImage(member: member), [segment], memory, range: (start, start + size),
                    end: start + size, knownOffset: nil)
            }
        }
    }

    /// The ELF file in a bzImage whose header tells where it is; nil for others.
    private func inner(
        of image: BzImage, _ file: ByteView
    ) throws(LoaderError) -> (UnpackedKernel, member: Int)? {
        guard let member = image.payload else { return nil }
        let kernel: StockKernel?
        do throws(Errno) { kernel = try StockKernel(file) } catch {
            throw .host("unpack", name: name, error)
        }
        inside.kernel = kernel
        if let unpacked = kernel?.image { return (unpacked, member) }
        // What is in another than gzip is looked for nowhere else.
        if let method = image.compression(file) {
            throw .image(name: name, kernel?.damage ?? image.otherCompression(method))
        }
        return nil
    }

    /// Takes a kernel that was unpacked to memory as if it were a raw image, where it is an ELF file: its header
    /// does not lead to it, or is older than that.
    private func takeElf(
        at start: UInt32, _ size: UInt32, of memory: GuestMemory
    ) throws(LoaderError) -> UnpackedKernel? {
        guard let range = memory.range(start, size),
            ElfImage.isElf(unsafe ByteView(memory.readable(range)))
        else { return nil }
        let elf: UnpackedKernel
        do throws(Errno) {
            elf = UnpackedKernel(try Mapping.anonymous(count: Int(size)), Int(size))
        } catch { throw .host("unpack", name: name, error) }
        unsafe elf.room.copyMemory(from: memory.readable(range))
        unsafe memory.writable(range).initializeMemory(as: UInt8.self, repeating: 0)
        return elf
    }

    /// Moves a raw image to the address that it is linked for, where the kernel's own unpacker puts it from era 2 on.
    /// Before, the launcher unpacks, to one place.
    /// - Returns: where it lies.
    private static func settle(
        _ size: UInt32, in memory: GuestMemory, limit: UInt32
    ) throws(ImageError) -> UInt32 {
        let start = BzImage.loadAddress
        guard let range = memory.range(start, size) else { throw .noLguestEntry }
        let image = unsafe ByteView(memory.readable(range))
        guard case .virtio = Recognition(image: image, origin: start).dialect else { return start }
        guard let origin = Recognition.origin(of: image),
            origin >= GuestLayout.lowestKernelAddress
        else { throw .addressUnknown }
        if origin == start { return start }
        let end = UInt64(origin) + UInt64(size)
        guard end <= UInt64(limit), let room = memory.range(origin, size) else {
            throw .needsMemory(needed: GuestLayout.mebibytes(end), available: limit >> 20)
        }
        unsafe memory.writable(room).copyMemory(from: memory.readable(range))
        // What of the first place it does not lie on any more.
        let first = origin > start ? start : max(origin + size, start)
        let last = origin > start ? min(origin, start + size) : start + size
        if let rest = memory.range(first, last - first) {
            unsafe memory.writable(rest).initializeMemory(as: UInt8.self, repeating: 0)
        }
        return origin
    }

    private func loadInner(
        _ unpacked: UnpackedKernel, member: Int, into memory: GuestMemory, limit: UInt32
    ) throws(ImageError) -> LoadedKernel {
        let bytes = unsafe ByteView(unpacked.bytes)
        let image: ElfImage
        do throws(ImageError) { image = try ElfImage(bytes) } catch {
            // One that is not for lguest may lie as it likes.
            let recognition = Recognition(image: bytes, origin: 0)
            if ElfImage.isElf64(bytes) {
                throw .kernel64(version: recognition.version?.name)
            }
            if recognition.dialect == .none { throw Self.refusal(recognition) }
            throw error
        }
        guard image.highest <= limit else { throw Self.tooLarge(image, bytes, limit: limit) }
        let segments = try image.copy(bytes, into: memory)
        return try describe(
            .bzImage(member: member), segments, memory,
            range: (image.lowest, image.highestLoaded), end: image.highest,
            knownOffset: image.pageOffset, ownEntry: image.entry)
    }

    private func refusing(
        _ body: () throws(ImageError) -> LoadedKernel
    ) throws(LoaderError) -> LoadedKernel {
        do throws(ImageError) { return try body() } catch {
            throw .image(name: name, error)
        }
    }

    /// Looks at the kernel where it lies in memory.
    private func describe(
        _ format: LoadedKernel.Format, _ segments: [ImageSegment], _ memory: GuestMemory,
        range: (start: UInt32, end: UInt32), end: UInt32, knownOffset: UInt32?,
        ownEntry: UInt32? = nil
    ) throws(ImageError) -> LoadedKernel {
        guard let checked = memory.range(range.start, range.end - range.start) else {
            throw .noLguestEntry
        }
        let image = unsafe ByteView(memory.readable(checked))
        if ElfImage.isElf64(image) {
            throw .kernel64(version: Recognition(image: image, origin: 0).version?.name)
        }
        let recognition = Recognition(image: image, origin: range.start)
        var abi: GuestABI
        let address: UInt32
        let data: Int?
        switch recognition.dialect {
        case .dma(let era, let entry, let place):
            (abi, address, data) = (GuestABI(era: era), range.start + UInt32(entry), place)
        case .virtio(let era, let place, let hasWideTables):
            // A kernel that is not an ELF file begins with its entry.
            (abi, address, data) = (GuestABI(era: era), ownEntry ?? range.start, place)
            abi.hasWideTables = hasWideTables
        case .none: throw Self.refusal(recognition)
        }
        let isInside = segments.contains {
            address >= $0.address && address - $0.address < $0.fileSize
        }
        guard isInside else { throw .entryOutside(address: address) }
        guard let pageOffset = knownOffset ?? BzImage.pageOffset(image),
            GuestLayout.isPageOffset(pageOffset)
        else { throw .pageOffsetUnknown }
        return LoadedKernel(
            name: name, size: size, format: format, banner: recognition.banner, abi: abi,
            entry: abi.startsLow ? address : address &+ pageOffset, pageOffset: pageOffset,
            segments: segments, data: data.map { range.start + UInt32($0) }, end: end)
    }

    /// - Parameter bytes: what the image describes. A kernel that is not for lguest may be as large as it likes.
    private static func tooLarge(
        _ image: ElfImage, _ bytes: ByteView, limit: UInt32
    ) -> ImageError {
        let recognition = Recognition(image: bytes, origin: 0)
        if recognition.dialect == .none { return refusal(recognition) }
        return .needsMemory(
            needed: GuestLayout.mebibytes(UInt64(image.highest)), available: limit >> 20)
    }

    private static func refusal(_ recognition: Recognition) -> ImageError {
        let version = recognition.version
        guard let version else { return .noLguestEntry }
        return version.isAtLeast(4, 14)
            ? .withoutLguest(version: version.name) : .lguestGuestOff(version: version.name)
    }
}
