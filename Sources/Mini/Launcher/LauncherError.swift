// Everything that can keep the launcher from starting a guest or from staying with it, each with the one
// line that a person reads.

/// Why the launcher cannot prepare or serve a guest.
enum LauncherError: Error, Equatable {
    case loader(LoaderError)
    /// What the lguest device refused (as "run the guest").
    case device(Text, Errno)
    /// The kernel's device cannot be used.
    case engine(DeviceError)
    /// The device answers as one of another era than the kernel's.
    case otherDevice(era: GuestABI.Era)
    /// /dev/kvm, which was asked for.
    case kvm(KvmError)
    /// A 64-bit kernel; nil if /dev/kvm was not to be used.
    case needsKvm(name: Text, KvmError?)
    /// A kind of device that a PC does not have, as "network".
    case notOnPC(Text)
    case disk(name: Text, DiskError)
    /// Another process has locked it.
    case diskInUse(name: Text)
    /// The kernel cannot filter system calls; the errno says why, if it was asked.
    case noFilter(Errno?)
    case networkFile(name: Text, NetworkFileError)
    case timeline(name: Text, TimelineError)
    /// What is wrong with it, and the kernel's number.
    case tap(name: Text, Text, Errno)
    /// The same guest has it already.
    case tapTwice(name: Text)
    /// Devices with their console's slot taken off.
    case tooManyDevices(count: Int, most: Int)
    /// The page of devices is full, or no interrupt is left.
    case noRoomForDevices
    /// Something that cannot come in this state of the launch machine.
    case defect(state: Text)

    /// What the launcher tried (as "read the kernel"), on which file.
    static func host(_ action: Text, name: Text, _ errno: Errno) -> LauncherError {
        .loader(.host(action, name: name, errno))
    }

    /// What the launcher tried (as "set the terminal").
    static func system(_ action: Text, _ errno: Errno) -> LauncherError {
        .loader(.system(action, errno))
    }

    /// A file that was mapped is shorter than it was.
    static func fileCut(name: Text) -> LauncherError { .loader(.fileCut(name: name)) }

    /// The exit code of mini-launch that goes with it.
    var exitCode: Int32 {
        switch self {
        case .loader(let error): error.exitCode
        case .kvm, .device, .engine, .otherDevice, .diskInUse, .tap, .noFilter, .defect: 1
        case .networkFile(_, .full), .networkFile(_, .held), .disk(_, .claimed): 1
        case .networkFile(_, .twice), .disk(_, .twice), .disk(_, .inUse), .tapTwice: 2
        case .timeline(_, .notAFile), .timeline(_, .inUseElsewhere): 1
        case .timeline, .tooManyDevices, .noRoomForDevices, .notOnPC: 2
        case .disk, .networkFile, .needsKvm: 3
        }
    }

    /// One line without the program's name in front.
    var text: Text {
        switch self {
        case .loader(let error): error.text
        case .device(let action, let errno): "the lguest device cannot \(action): \(errno)"
        case .engine(let error): error.text
        case .kvm(let error): "/dev/kvm cannot be used: \(error.text)"
        case .needsKvm(let name, nil):
            "cannot start \(quoted: name): a 64-bit kernel needs /dev/kvm: this build runs 32-bit guests"
        case .needsKvm(let name, let error?):
            "cannot start \(quoted: name): this build runs 32-bit guests; a 64-bit kernel needs a usable /dev/kvm: \(error.text)"
        case .notOnPC(let kind): "a guest of this kind has no \(kind) yet"
        case .otherDevice(let era):
            "this host's /dev/lguest does not run guests of era \(era.name)"
        case .disk(let name, let error): "disk \(quoted: name) \(error.text)"
        case .diskInUse(let name):
            "disk \(quoted: name) is in use by another process"
        case .tap(let name, let reason, let errno): "tap \(quoted: name) \(reason): \(errno)"
        case .tapTwice(let name): "tap \(quoted: name) was given twice"
        case .noFilter(let errno):
            "\(Self.noFilterText(errno)), which --sandbox=require asks for"
        case .networkFile(let name, let error): "network file \(quoted: name) \(error.text)"
        case .timeline(let name, let error): "timeline \(quoted: name) \(error.text)"
        case .tooManyDevices(let count, let most):
            "\(count) devices are too many: a guest can have \(most) beside its console"
        case .noRoomForDevices: "a guest of this kind has no room for so many devices"
        case .defect(let state): .defect(state: state)
        }
    }
}

/// Loads, as part of a launch.
func loading<Value: ~Copyable>(
    _ body: () throws(LoaderError) -> Value
) throws(LauncherError) -> Value {
    do throws(LoaderError) { return try body() } catch { throw .loader(error) }
}

extension LauncherError {
    static func noFilterText(_ errno: Errno?) -> Text {
        guard let errno else { return "with /dev/lguest system calls are not filtered" }
        return Sandbox.withoutFilter(errno)
    }
}
