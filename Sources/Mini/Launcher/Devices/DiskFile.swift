// Opens what a person named as a disk: a regular file or a block device, and finds out how many
// sectors it has. Everything that could make it unfit is told before the guest starts.
// Source: docs/abi/lguest.md §5.2 (block).

/// `--block FILE[,ro][,raw]`, in either order.
struct DiskRequest: Equatable {
    var name: Text
    var isReadOnly = false
    /// True if its bytes are meant, whatever they look like.
    var isRaw = false
}

extension DiskRequest {
    /// - Parameter word: the option's argument. A file whose name ends in ",ro" can be had by
    ///   writing ",ro" twice, or as "NAME,rw"; one whose name ends in ",raw" as "NAME,raw,rw".
    init(_ word: Text) {
        var word = word
        if let rest = word.dropping(suffix: ",raw,ro") { word = "\(rest),ro,raw" }
        if let rest = word.dropping(suffix: ",raw") {
            word = rest
            isRaw = true
        }
        name = word
        if let rest = word.dropping(suffix: ",ro") {
            name = rest
            isReadOnly = true
        } else if let rest = word.dropping(suffix: ",rw") {
            name = rest
        }
    }

    /// Opens it, and keeps other launchers from it: one that writes wants it alone.
    /// - Parameters:
    ///   - others: what was opened before.
    ///   - notice: takes a line that a person should read.
    func open(
        beside others: [DeviceClaim] = [], notice: (Text) -> Void
    ) throws(LauncherError) -> Disk {
        var isReadOnly = isReadOnly
        var file: Descriptor
        do throws(LoaderError) {
            file = try FileSource.open(name, isReadOnly ? .readOnly : .readWrite, "open disk")
        } catch {
            guard !isReadOnly, case .host(_, _, let errno) = error else { throw .loader(error) }
            guard [.accessDenied, .readOnlySystem, .notPermitted, .busy].contains(errno) else {
                throw .loader(error)
            }
            file = try openForReading(errno)
            // A medium that takes no writes is everybody's.
            if errno == .busy && !file.isReadOnlyDevice { throw claimed(beside: others) }
            isReadOnly = true
        }
        // There are block devices that can be opened for writing, and take none.
        if !isReadOnly && file.isReadOnlyDevice {
            file = try openForReading(.readOnlySystem)
            isReadOnly = true
        }
        return try examine(file, isReadOnly: isReadOnly, beside: others, notice: notice)
    }

    /// Why a block device cannot be opened exclusively: a disk of this guest has it, or another program.
    private func claimed(beside others: [DeviceClaim]) -> LauncherError {
        let medium = Medium.of(name)
        let other = others.first { $0.isDisk && $0.file != nil && $0.file == medium }
        return .disk(name: name, other.map { .twice(other: $0.name) } ?? .claimed)
    }

    private func openForReading(_ first: Errno) throws(LauncherError) -> Descriptor {
        do throws(Errno) { return try Descriptor.open(name, .readOnly) } catch {
            throw .host("open disk", name: name, first)
        }
    }

    private func examine(
        _ file: consuming Descriptor, isReadOnly: Bool, beside others: [DeviceClaim],
        notice: (Text) -> Void
    ) throws(LauncherError) -> Disk {
        let kind: FileStatus.Kind
        let size: UInt64
        let medium: Medium
        do throws(Errno) {
            let status = try file.status()
            kind = status.kind
            medium = Medium(status, at: file.number)
            size = kind == .block ? try file.deviceSize() : status.size
        } catch { throw .host("examine disk", name: name, error) }
        guard kind == .regular || kind == .block else {
            throw .disk(name: name, kind == .directory ? .directory : .notAFile)
        }
        // Before its size: a description of an image may be short.
        let compressed = try lookAtFormat(file, size: size)
        let sectors = size / Disk.sectorSize
        guard sectors > 0 else { throw .disk(name: name, .tooSmall(size: size)) }
        guard let count = UInt32(exactly: sectors) else {
            throw .disk(name: name, .tooLarge(size: size))
        }
        for other in others where other.file == medium && other.isDisk {
            guard isReadOnly && other.isReadOnly else {
                throw .disk(name: name, .twice(other: other.name))
            }
        }
        do throws(Errno) { try file.lock(shared: isReadOnly) } catch {
            // A file system without locks cannot keep others away.
            if error == .again { throw .diskInUse(name: name) }
        }
        // Behind everything that can go wrong: of a disk that is refused one line is enough.
        if isReadOnly != self.isReadOnly {
            notice("disk \(quoted: name) cannot be written: the guest's writes will fail")
        }
        if let compressed {
            notice("disk \(quoted: name) holds \(compressed), which the guest sees as it is")
        }
        if size % Disk.sectorSize != 0 {
            notice(
                "disk \(quoted: name): the guest cannot see its last \(size % Disk.sectorSize) bytes, which are no whole sector of 512"
            )
        }
        return Disk(
            file, name: name, sectorCount: count, isReadOnly: isReadOnly,
            isFile: kind == .regular, medium: medium)
    }

    /// A guest reads and writes the bytes of its disk as they are. In a file of another format that
    /// is not what was meant, and the first write would damage it.
    /// - Returns: what would have to be unpacked first, as "a gzip file".
    private func lookAtFormat(
        _ file: borrowing Descriptor, size: UInt64
    ) throws(LauncherError) -> Text? {
        if isRaw { return nil }
        let format = DiskFormat(
            start: try read(file, from: 0, 4096),
            end: try read(file, from: size - min(size, Disk.sectorSize), Int(Disk.sectorSize)))
        if let image = format.image { throw .disk(name: name, .format(image)) }
        return format.compressed
    }

    private func read(
        _ file: borrowing Descriptor, from offset: UInt64, _ count: Int
    ) throws(LauncherError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        do throws(Errno) {
            try file.seek(to: offset)
            let count = try Transfer.read(file.number, into: &bytes)
            return Array(bytes[..<count])
        } catch { throw .host("read disk", name: name, error) }
    }
}

/// The format of a file that was named as a disk, where it is not raw. Source: the formats' published signatures.
struct DiskFormat {
    /// A format of disk images that is not raw, as "a qcow2"; nil for all others.
    private(set) var image: Text?
    /// What has to be unpacked first, as "a gzip file".
    private(set) var compressed: Text?

    /// - Parameters: its first bytes and its last sector.
    init(start: [UInt8], end: [UInt8]) {
        unsafe start.withUnsafeBytes { bytes in
            let view = unsafe ByteView(bytes)
            image = Self.image(view)
            compressed = Self.compressed(view)
        }
        unsafe end.withUnsafeBytes { bytes in
            if unsafe ByteView(bytes).has("conectix") { image = "a VHD" }
        }
    }

    private static func image(_ file: ByteView) -> Text? {
        if file.has([0x51, 0x46, 0x49, 0xFB], at: 0) {
            return file.byte(7) == 1 ? "a qcow" : "a qcow2"
        }
        if file.has([0x51, 0x45, 0x44, 0], at: 0) { return "a QED" }
        if file.has("KDMV") || file.has("COWD") || file.has("# Disk DescriptorFile") {
            return "a VMDK"
        }
        if file.has([0x7F, 0x10, 0xDA, 0xBE], at: 0x40) { return "a VDI" }
        if file.has("vhdxfile") { return "a VHDX" }
        if file.has("conectix") { return "a VHD" }
        if file.has("WithoutFreeSpace") || file.has("WithouFreSpacExt") { return "a Parallels" }
        if file.has([0x3A, 0xFF, 0x26, 0xED], at: 0) { return "an Android sparse" }
        return nil
    }

    private static func compressed(_ file: ByteView) -> Text? {
        switch Compression(file, at: 0) {
        case .gzip: "a gzip file"
        case .xz: "an xz file"
        case .zstd: "a zstd file"
        case .bzip2: "a bzip2 file"
        // A disk may begin so without being packed.
        case .lz4, .lzma, .lzo, nil: nil
        }
    }
}

/// Why a file is no disk.
enum DiskError: Equatable {
    case directory
    case notAFile
    /// Bytes.
    case tooSmall(size: UInt64)
    case tooLarge(size: UInt64)
    /// The same as one that was named before.
    case twice(other: Text)
    /// A block device that a file system, another device or another process has.
    case claimed
    /// The launch has it as something else, as "the kernel".
    case inUse(as: Text)
    /// As "a qcow2".
    case format(Text)

    var text: Text {
        switch self {
        case .directory: "is a directory"
        case .notAFile: "is neither a regular file nor a block device"
        case .tooSmall(let size): "has \(size) bytes, less than one 512-byte sector"
        case .tooLarge(let size): "has \(size) bytes: a guest's disk has less than 2 TiB"
        case .twice(let other):
            "is the same as disk \(quoted: other): a disk can be given twice only if both are read-only (,ro)"
        case .claimed:
            "is in use: it is mounted, or a part of another device, or another process has it"
        case .inUse(let use): "is \(use), too: as a disk it must be read-only (,ro)"
        case .format(let format):
            "is \(format) image: convert it to raw (qemu-img convert -O raw), or add ,raw to have its bytes as they are"
        }
    }
}
