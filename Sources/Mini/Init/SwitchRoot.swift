// From the initramfs to the real root: makes the new root the root, and when nothing can fail any more
// moves the kernel's file systems over and frees the memory of the initramfs by removing its
// files. Done only where it is right: on an initramfs, to another file system. Source: switch_root(8), the kernel's
// ramfs-rootfs-initramfs.rst, mount(2) (MS_MOVE, MS_PRIVATE), mount_namespaces(7).

enum SwitchRoot {
    private static let moved: [StaticString] = ["/dev", "/proc", "/sys", "/run"]

    /// Makes a folder the root that `check` has found to be one.
    static func change(to root: Text) throws(InitError) {
        do throws(Errno) {
            try FileSystem.changeDirectory("/")
            // Nothing is moved out of a shared mount.
            _ = try? FileSystem.mount("", on: "/", type: "", [.own, .recursive])
            do throws(Errno) { try enter(root) } catch {
                // Only what is mounted can be moved: a folder of a file system is, once it is bound.
                guard error == .invalid else { throw error }
                try FileSystem.mount(root, on: root, type: "", [.bind, .recursive])
                do throws(Errno) { try enter(root) } catch {
                    _ = try? FileSystem.unmount(root)
                    throw error
                }
            }
        } catch { throw .host("make the root", name: root, error) }
        for name in moved {
            do throws(Errno) {
                try FileSystem.mount(".\(name)", on: "\(name)", type: "", .move)
            } catch {
                // There is none, or the new root has no place for it.
                _ = try? FileSystem.unmount(".\(name)")
            }
        }
        removeEverything()
        _ = try? FileSystem.changeDirectory("/")
    }

    /// Makes a folder the root. The working directory stays the old root, to which no path leads any more.
    private static func enter(_ root: Text) throws(Errno) {
        try FileSystem.changeRoot(root)
        do throws(Errno) {
            try FileSystem.mount("/", on: ".", type: "", .move)
        } catch {
            _ = try? FileSystem.changeRoot(".")
            throw error
        }
    }

    /// In a child: looks for a program as it will be found under the new root.
    static func check(_ root: Text, has program: Text) throws(InitError) {
        do throws(Errno) {
            try FileSystem.changeDirectory(root)
            try FileSystem.changeRoot(".")
        } catch { throw .host("enter", name: root, error) }
        if let trouble = InitLauncher.trouble(with: program) {
            throw .refused("nothing is switched: \(trouble.text), behind the new root")
        }
    }

    /// Whether a folder can be switched to.
    static func check(_ root: Text) throws(InitError) {
        guard InitMounts.isMounted(root) else {
            throw .refused("\(quoted: root) is no file system of its own to switch to")
        }
        let isInitramfs: Bool
        do throws(Errno) { isInitramfs = try FileSystem.isMemory("/") } catch {
            throw .host("examine", name: "/", error)
        }
        guard isInitramfs else {
            throw .refused("the root is no initramfs: nothing is switched")
        }
    }

    // MARK: Freeing the old root

    /// Removes what is in the old root's own file system, which is the working directory; whatever is mounted there is
    /// left alone.
    private static func removeEverything() {
        guard let root = try? Descriptor.open(".", .directory),
            let status = try? root.status()
        else { return }
        remove(contentsOf: root, ".", device: status.identity.device, depth: 0)
    }

    private static let deepest = 64

    private static func remove(
        contentsOf folder: borrowing Descriptor, _ path: Text, device: UInt64, depth: Int
    ) {
        guard depth < deepest, let names = try? FileSystem.names(in: folder) else { return }
        for name in names {
            let child: Text = "\(path)/\(name)"
            if let inner = try? Descriptor.open(child, .ownDirectory) {
                guard let status = try? inner.status(), status.identity.device == device else {
                    continue
                }
                remove(contentsOf: inner, child, device: device, depth: depth + 1)
                _ = try? FileSystem.removeDirectory(child)
            } else {
                _ = try? Files.remove(child)
            }
        }
    }
}
