// Opens what a person named as a disk: a regular file or a block device, and finds out how many
// sectors it has. Everything that could make it unfit is told before the guest starts.
// Source: docs/abi/lguest.md §5.2 (block).

/// `--block FILE[,ro]`.
struct DiskRequest: Equatable {
    var name: Text
    var isReadOnly = false
}

extension DiskRequest {
    /// - Parameter word: the option's argument. A file whose name ends in ",ro" can be had by
    ///   writing ",ro" twice, or as "NAME,rw".
    init(_ word: Text) {
        name = word
        if let rest = word.dropping(suffix: ",ro") {
            name = rest
            isReadOnly = true
        } else if let rest = word.dropping(suffix: ",rw") {
            name = rest
        }
    }

    /// Opens it, and keeps other launchers from it: one that writes wants it alone.
    /// - Parameter notice: takes a line that a person should read.
    func open(notice: (Text) -> Void) throws(LauncherError) -> Disk {
        var isReadOnly = isReadOnly
        let file: Descriptor
        do throws(LauncherError) {
            file = try FileSource.open(name, isReadOnly ? .readOnly : .readWrite, "open disk")
        } catch {
            guard !isReadOnly, case .host(_, _, let errno) = error,
                [.accessDenied, .readOnlySystem, .notPermitted].contains(errno)
            else { throw error }
            file = try openForReading(errno)
            isReadOnly = true
            notice("disk \(quoted: name) cannot be written: the guest's writes will fail")
        }
        return try examine(file, isReadOnly: isReadOnly)
    }

    private func openForReading(_ first: Errno) throws(LauncherError) -> Descriptor {
        do throws(Errno) { return try Descriptor.open(name, .readOnly) } catch {
            throw .host("open disk", name: name, first)
        }
    }

    private func examine(
        _ file: consuming Descriptor, isReadOnly: Bool
    ) throws(LauncherError) -> Disk {
        let kind: FileStatus.Kind
        let size: UInt64
        do throws(Errno) {
            let status = try file.status()
            kind = status.kind
            size = kind == .block ? try file.deviceSize() : status.size
        } catch { throw .host("examine disk", name: name, error) }
        guard kind == .regular || kind == .block else {
            throw .disk(name: name, kind == .directory ? .directory : .notAFile)
        }
        let sectors = size / Disk.sectorSize
        guard sectors > 0 else { throw .disk(name: name, .tooSmall(size: size)) }
        guard let count = UInt32(exactly: sectors) else {
            throw .disk(name: name, .tooLarge(size: size))
        }
        do throws(Errno) { try file.lock(shared: isReadOnly) } catch {
            // A file system without locks has nobody to keep away.
            if error == .again { throw .diskInUse(name: name) }
        }
        return Disk(
            file, name: name, sectorCount: count, isReadOnly: isReadOnly,
            isFile: kind == .regular)
    }
}

/// Why a file is no disk.
enum DiskError: Equatable {
    case directory
    case notAFile
    /// Bytes.
    case tooSmall(size: UInt64)
    case tooLarge(size: UInt64)

    var text: Text {
        switch self {
        case .directory: "is a directory"
        case .notAFile: "is neither a regular file nor a block device"
        case .tooSmall(let size): "of \(size) bytes has not one sector of 512"
        case .tooLarge(let size): "of \(size) bytes is too large: a guest's disk can have 2 TiB"
        }
    }
}
