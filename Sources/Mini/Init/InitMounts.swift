// The file systems that everything else rests on, and leaving them in order at the end.
// Sources: mount(8), proc(5) (mounts, swaps), the kernel's devtmpfs.

enum InitMounts {
    /// Mounts what is missing of /dev, /proc, /sys and /run.
    /// - Returns: what was wrong with those that cannot be mounted.
    static func mountUsual() -> [InitError] {
        let safe: MountFlags = [.noSetUserID, .noDevices, .noExecution]
        let usual: [(type: Text, target: Text, flags: MountFlags, data: Text)] = [
            ("devtmpfs", "/dev", .noSetUserID, "mode=0755"), ("proc", "/proc", safe, ""),
            ("sysfs", "/sys", safe, ""),
            ("tmpfs", "/run", [.noSetUserID, .noDevices], "mode=0755"),
        ]
        var errors: [InitError] = []
        for (type, target, flags, data) in usual where !isMounted(target) {
            defer { if target == "/dev" { makeLinks() } }
            do throws(InitError) {
                try mount(
                    MountRequest(
                        source: type, target: target, type: type, flags: flags, data: data))
            } catch { errors.append(error) }
        }
        // A kernel without devtmpfs: the two nodes that programs count on.
        _ = try? FileSystem.makeNode(InitConsole.path, .console)
        _ = try? FileSystem.makeNode("/dev/null", .null)
        return errors
    }

    /// What programs and shells count on in /dev, and devtmpfs does not have. Source: the kernel's devices.rst, "Compulsory links".
    private static func makeLinks() {
        let own: Text = "/proc/self/fd"
        _ = try? FileSystem.makeLink("/dev/fd", to: own)
        let names: [StaticString] = ["stdin", "stdout", "stderr"]
        for (number, name) in names.enumerated() {
            _ = try? FileSystem.makeLink("/dev/\(name)", to: "\(own)/\(number)")
        }
    }

    /// Mounts one, and makes its folder where that is missing.
    /// - Returns: what came out otherwise than it was asked for.
    @discardableResult
    static func mount(_ request: MountRequest) throws(InitError) -> Text? {
        do throws(Errno) {
            if !isChange(request) { try FileSystem.makeDirectories(request.target) }
        } catch { throw .host("make", name: request.target, error) }
        let source = try device(request)
        do throws(Errno) {
            let isWritable = try mount(source, request)
            try restrict(request)
            for flag in request.propagation {
                try FileSystem.mount("", on: request.target, type: "", flag)
            }
            return isWritable
                ? nil : "\(quoted: request.source) is write-protected: it is mounted read-only"
        } catch {
            let action: Text = "mount \(quoted: request.source) as \(visible: request.type) on"
            if let why = reason(error, request) {
                throw .cause(action, name: request.target, why)
            }
            throw .host(action, name: request.target, error)
        }
    }

    /// - Returns: false if that was possible for reading alone.
    private static func mount(_ source: Text, _ request: MountRequest) throws(Errno) -> Bool {
        if isPropagation(request) { return true }
        let type = try type(request, source)
        let flags = try flags(request)
        do throws(Errno) {
            try FileSystem.mount(source, on: request.target, type: type, flags, data: request.data)
            return true
        } catch {
            // The same file system is mounted there already. Of these types there is only one, whatever its source is called.
            if error == .busy, flags.isDisjoint(with: .remount),
                type == source || type == "devtmpfs" || type == "sysfs" || type == "proc"
            {
                return true
            }
            // As mount(8) does it with a disk that takes no writes.
            guard error == .accessDenied || error == .readOnlySystem,
                flags.isDisjoint(with: [.readOnly, .remount, .bind, .move]),
                (try? FileSystem.mount(
                    source, on: request.target, type: type, flags.union(.readOnly),
                    data: request.data)) != nil
            else { throw error }
            return false
        }
    }

    /// True if there is a mount already.
    private static func isChange(_ request: MountRequest) -> Bool {
        request.flags.contains(.remount) || isPropagation(request)
    }

    /// True if nothing is to be mounted, and only said what becomes of mounts below.
    private static func isPropagation(_ request: MountRequest) -> Bool {
        !request.propagation.isEmpty && request.type == "none" && request.flags.isEmpty
            && request.data.bytes.isEmpty
    }

    /// What the kernel's number means here, as a part of a sentence.
    private static func reason(_ errno: Errno, _ request: MountRequest) -> Text? {
        switch errno {
        case .noDevice:
            return "this kernel has no such file system, or its module is not loaded (ENODEV)"
        case .noData: return "none of ext2 to ext4, xfs, btrfs, vfat and iso9660 is seen there"
        case .notBlockDevice:
            return "the source is no block device, and mini-init sets up no loop devices (ENOTBLK)"
        case .invalid:
            // mount.nfs adds that.
            if request.type == "nfs" || request.type == "nfs4", !isChange(request),
                !request.data.bytes[...].split(separator: UInt8(ascii: ",")).contains(where: {
                    Text(bytes: Array($0)).dropping(prefix: "addr=") != nil
                })
            {
                return "the options have no addr= with the server's address (EINVAL)"
            }
            // One number for a damaged or other file system and for an option that it does not know.
            let options: Text =
                request.data.bytes.isEmpty ? "" : ", or it does not take \(quoted: request.data)"
            let what: StaticString =
                isChange(request)
                ? "the folder is no mount point"
                : request.flags.contains(.move)
                    ? "the source is no mount point, or below a shared one"
                    : "the source is no such file system"
            return "\(what)\(options) (EINVAL)"
        default: return nil
        }
    }

    /// For the kernel, what a remount does not name is off: without what mount(8) adds, another size would bring back
    /// devices and programs of others' rights.
    private static func flags(_ request: MountRequest) throws(Errno) -> MountFlags {
        guard request.flags.contains(.remount) else { return request.flags }
        return request.flags.union(
            try FileSystem.restrictions(of: request.target).subtracting(request.denied))
    }

    /// The kernel binds a folder as it is where it comes from, whatever else it is asked for: that
    /// takes a second call, as mount(8) makes it. What the source is kept from stays so.
    private static func restrict(_ request: MountRequest) throws(Errno) {
        guard request.flags.isSuperset(of: .bind), request.flags.isDisjoint(with: [.remount]),
            !request.flags.isDisjoint(with: .ofFolder)
        else { return }
        do throws(Errno) {
            let flags = request.flags.intersection(.ofFolder)
                .union(try FileSystem.restrictions(of: request.target))
            try FileSystem.mount("", on: request.target, type: "", flags.union([.remount, .bind]))
        } catch {
            _ = try? FileSystem.unmount(request.target)
            throw error
        }
    }

    /// The device that a source stands for.
    private static func device(_ request: MountRequest) throws(InitError) -> Text {
        guard let tag = FileSystemTag(request.source) else { return request.source }
        if let device = tag.device() { return device }
        throw .cause(
            "mount \(quoted: request.source) on", name: request.target,
            tag == .foreign
                ? "UUID=, LABEL=, PARTUUID= and PARTLABEL= are looked for, this is not"
                : "no block device has it")
    }

    /// The type, found out where the table leaves that open.
    private static func type(_ request: MountRequest, _ device: Text) throws(Errno) -> Text {
        guard request.type == "auto", request.flags.isDisjoint(with: [.remount, .bind, .move])
        else { return request.type }
        _ = try Descriptor.open(device, .readOnlyNow)
        guard let found = FileSystemTag.look(at: device) else { throw .noData }
        return "\(found.type.text)"
    }

    /// True if a folder is on another file system than the root.
    static func isMounted(_ path: Text) -> Bool {
        guard let here = fileSystem(of: path), let root = fileSystem(of: "/") else { return false }
        return here != root
    }

    private static func fileSystem(of path: Text) -> UInt64? {
        guard let folder = try? Descriptor.open(path, .directory),
            let status = try? folder.status()
        else { return nil }
        return status.identity.device
    }

    // MARK: The end

    /// How long disks may make no progress before they are given up.
    private static let patience = Nanoseconds.milliseconds(30_000)

    /// Unmounts all that can be, in a process of its own: no signal ends a call that waits for a disk, and one that is dead
    /// must not keep the machine. As long as less and less is left to write, it is waited for.
    /// - Parameter left: how much that is; nil where that is unknown.
    /// - Returns: false if the disks stand still. The process may still go on.
    static func leave(left: () -> UInt64? = unwritten) -> Bool {
        guard
            let assistant = try? Assistant(
                keeping: [],
                answer: { _ in
                    unmountAll()
                    return 0
                }), assistant.begin()
        else {
            unmountAll()
            return true
        }
        var before = UInt64.max
        while !((try? Poll.wait([assistant.answered], timeout: patience))?[0] ?? false) {
            guard let now = left(), now < before else {
                assistant.goesOn = true
                return false
            }
            before = now
        }
        return true
    }

    /// KiB that wait for disks.
    private static func unwritten() -> UInt64? {
        guard let text = try? SmallFile.read("/proc/meminfo") else { return nil }
        return unwritten(text)
    }

    static func unwritten(_ meminfo: Text) -> UInt64? {
        var sum: UInt64?
        for line in meminfo.bytes[...].split(separator: UInt8(ascii: "\n")) {
            let words = line.split(separator: UInt8(ascii: " "))
            guard words.count >= 2 else { continue }
            let name = Text(bytes: Array(words[0]))
            guard name == "Dirty:" || name == "Writeback:",
                let count = Text(bytes: Array(words[1])).number
            else { continue }
            sum = (sum ?? 0).addingReportingOverflow(count).partialValue
        }
        return sum
    }

    /// Unmounts what can be, the last one first; what is in use cannot be written any more.
    static func unmountAll() {
        FileSystem.synchronize()
        // The kernel has these files open for writing.
        if let text = try? SmallFile.read("/proc/swaps", limit: .max) {
            for name in targets(text, word: 0) { _ = try? FileSystem.endSwap(name) }
        }
        guard let text = try? SmallFile.read("/proc/self/mounts", limit: .max) else { return }
        for target in targets(text).reversed() {
            if !(target == "/"), (try? FileSystem.unmount(target)) != nil { continue }
            _ = try? FileSystem.mount("", on: target, type: "", [.remount, .readOnly])
        }
    }

    /// The second word of each line, or another one from 0, where `\040` stands for a blank.
    static func targets(_ mounts: Text, word wanted: Int = 1) -> [Text] {
        var targets: [Text] = []
        var word = 0
        var target = Text()
        var rest = mounts.bytes[...]
        while var byte = rest.popFirst() {
            if byte == UInt8(ascii: " ") || byte == 10 {
                if word == wanted { targets.append(target) }
                target = Text()
                word = byte == 10 ? 0 : word + 1
            } else if word == wanted {
                if byte == UInt8(ascii: "\\"), rest.count >= 3 {
                    byte = 0
                    for _ in 0..<3 { byte = byte << 3 | (rest.removeFirst() & 7) }
                }
                target.append(byte)
            }
        }
        return targets
    }
}
