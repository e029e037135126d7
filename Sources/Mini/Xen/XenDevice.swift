// The device nodes through which a process speaks with Xen, and whether this is Xen at all.
// Source: docs/abi/xen-grants.md §1.

/// Whether this kernel runs on Xen.
enum XenPresence: Equatable {
    case xen, notXen
    /// Neither /sys nor /proc is mounted, and no device of Xen's is there.
    case unknown

    /// Looks at /sys and /proc, and else at the device nodes.
    static func find() -> XenPresence {
        if let type = SmallFile.line("/sys/hypervisor/type") {
            return type == "xen" ? .xen : .notXen
        }
        // The kernel makes the first folder for its devices, the second to mount xenfs on.
        for folder: Text in ["/dev/xen", "/proc/xen"]
        where (try? Descriptor.open(folder, .readOnly).number) != nil {
            return .xen
        }
        for folder: Text in ["/sys/kernel", "/proc/self"]
        where (try? Descriptor.open(folder, .readOnly).number) != nil {
            return .notXen
        }
        return .unknown
    }
}

/// One of Xen's devices.
enum XenDevice {
    /// Maps and copies pages that other domains granted.
    case gntdev
    /// Allocates pages and grants them to another domain.
    case gntalloc
    /// Event channels.
    case evtchn
    /// XenStore.
    case xenbus

    static var all: [XenDevice] { [.gntdev, .gntalloc, .evtchn, .xenbus] }

    var name: StaticString {
        switch self {
        case .gntdev: "gntdev"
        case .gntalloc: "gntalloc"
        case .evtchn: "evtchn"
        case .xenbus: "xenbus"
        }
    }

    var path: Text { "/dev/xen/\(name)" }

    /// The kernel module that makes it; nil for what is part of every kernel that runs on Xen.
    var module: StaticString? {
        switch self {
        case .gntdev: "xen-gntdev"
        case .gntalloc: "xen-gntalloc"
        case .evtchn: "xen-evtchn"
        case .xenbus: nil
        }
    }

    /// The module's limit, as the kernel tells it; nil where there is none to tell.
    var limit: UInt64? {
        limitFile.flatMap { SmallFile.line($0) }?.number
    }

    /// Where the limit is read, and changed.
    var limitFile: Text? {
        switch self {
        case .gntdev: "/sys/module/xen_gntdev/parameters/limit"
        case .gntalloc: "/sys/module/xen_gntalloc/parameters/limit"
        case .evtchn, .xenbus: nil
        }
    }

    /// What the limit is one of.
    var limited: StaticString {
        self == .gntdev ? "grants in one mapping" : "pages lent at a time by the whole domain"
    }

    /// Why a kernel that runs on Xen does not show the device.
    private var absence: Text {
        if (try? Descriptor.open("/sys/class/misc/xen!\(name)", .readOnly).number) != nil {
            return "the kernel has it; mount devtmpfs on /dev"
        }
        guard let module else { return "mount devtmpfs on /dev" }
        return "the kernel module \(module) brings it"
    }

    /// What it is that a device does not know which does not know one of its first requests.
    func unknown(_ request: Text) -> Text {
        #if arch(i386)
        // No 64-bit kernel translates requests to these devices.
        "requests of 32-bit programs"
        #else
        // Every kernel's knows that: another device stands in its place.
        "\(request): it is no \(name)"
        #endif
    }

    /// Opens the device. Whatever opens it is not inherited by a program that is executed.
    func open() throws(GrantError) -> Descriptor {
        do throws(Errno) { return try Self.open(path) } catch {
            switch error {
            case .noSuchFile, .noSuchDevice, .noDevice:
                if XenPresence.find() == .notXen { throw .notOnXen(device: path) }
                throw .noDevice(path, why: absence)
            default: throw .host("open", name: path, error)
            }
        }
    }

    /// Opens a device, and nothing else: what is written would change a file that stands in its place, and come back
    /// from a pipe as an answer.
    static func open(_ path: Text) throws(Errno) -> Descriptor {
        let device = try Descriptor.open(path, .readWrite)
        let kind = try device.status().kind
        // In xenfs and old kernels' /proc the store is a regular file, and no file there can be a user's.
        if kind == .regular && path.dropping(prefix: "/proc/xen/") != nil { return device }
        if kind != .other { throw .noDevice }
        return device
    }
}
