// The file systems that everything else rests on, and leaving them in order at the end.
// Sources: mount(8), proc(5) (mounts), the kernel's devtmpfs.

enum InitMounts {
    /// Mounts what is missing of /dev, /proc, /sys and /run.
    /// - Parameter complain: takes a line for each that cannot be mounted.
    static func mountUsual(complain: (InitError) -> Void) {
        let safe: MountFlags = [.noSetUserID, .noDevices, .noExecution]
        let requests = [
            MountRequest(
                source: "devtmpfs", target: "/dev", type: "devtmpfs", flags: .noSetUserID,
                data: "mode=0755"),
            MountRequest(source: "proc", target: "/proc", type: "proc", flags: safe),
            MountRequest(source: "sysfs", target: "/sys", type: "sysfs", flags: safe),
            MountRequest(
                source: "tmpfs", target: "/run", type: "tmpfs", flags: [.noSetUserID, .noDevices],
                data: "mode=0755"),
        ]
        for request in requests where !isMounted(request.target) {
            do throws(InitError) { try mount(request) } catch { complain(error) }
        }
        // A kernel without devtmpfs: the two nodes that programs count on.
        _ = try? FileSystem.makeNode(InitConsole.path, major: 5, minor: 1)
        _ = try? FileSystem.makeNode("/dev/null", major: 1, minor: 3)
    }

    /// Mounts one, and makes its folder where that is missing.
    static func mount(_ request: MountRequest) throws(InitError) {
        do throws(Errno) {
            if request.flags.isDisjoint(with: [.remount]) {
                try FileSystem.makeDirectories(request.target)
            }
        } catch { throw .host("make", name: request.target, error) }
        do throws(Errno) {
            try FileSystem.mount(
                request.source, on: request.target, type: request.type, request.flags,
                data: request.data)
        } catch {
            // Somebody has mounted the very same before.
            if error == .busy && request.type == request.source { return }
            throw .host("mount \(visible: request.type) on", name: request.target, error)
        }
    }

    /// True if a folder is on another file system than the root.
    static func isMounted(_ path: Text) -> Bool {
        guard let here = fileSystem(of: path), let root = fileSystem(of: "/") else { return false }
        return here != root
    }

    private static func fileSystem(of path: Text) -> UInt64? {
        guard let folder = try? Descriptor.open(path, .ownDirectory),
            let status = try? folder.status()
        else { return nil }
        return status.identity.device
    }

    // MARK: The end

    /// Unmounts what can be, the last one first; what is in use cannot be written any more.
    static func unmountAll() {
        FileSystem.synchronize()
        guard let text = try? SmallFile.read("/proc/self/mounts", limit: 65536) else { return }
        for target in targets(text).reversed() {
            if !(target == "/"), (try? FileSystem.unmount(target)) != nil { continue }
            _ = try? FileSystem.mount("", on: target, type: "", [.remount, .readOnly])
        }
    }

    /// The second word of each line, where `\040` stands for a blank.
    static func targets(_ mounts: Text) -> [Text] {
        mounts.bytes.split(separator: 10).compactMap { line in
            let words = line.split(separator: UInt8(ascii: " "))
            return words.count > 1 ? unescaped(words[1]) : nil
        }
    }

    private static func unescaped(_ word: ArraySlice<UInt8>) -> Text {
        var text = Text()
        var rest = word
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\\"), rest.count >= 3 {
                let digits = rest.prefix(3).map { $0 &- UInt8(ascii: "0") }
                text.append(digits[0] << 6 | digits[1] << 3 | digits[2])
                rest = rest.dropFirst(3)
            } else {
                text.append(byte)
            }
        }
        return text
    }
}
