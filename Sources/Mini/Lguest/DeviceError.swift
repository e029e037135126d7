// Why the kernel's /dev/lguest cannot run a guest, each with the one line that a person reads.

enum DeviceError: Error, Equatable {
    /// There is none for a 64-bit program.
    case otherBuild
    /// What opening it, or its first answer, failed with.
    case unavailable(Errno)
    case notTheDevice
    /// It runs guests, but not of this era.
    case otherGuest(DeviceEra, GuestABI.Era)
    /// Host and guest have the page tables of PAE, or neither. What the host has, if it is known.
    case otherTables(host: Bool?)
    /// Era 0: the guest's memory cannot be at address 0.
    case addressZero(Errno)
    /// Era 0: so many MiB are more than fit below the program.
    case tooMuchMemory(mebibytes: UInt32, most: UInt32)

    /// The reason without what it is about.
    var reason: Text {
        switch self {
        case .otherBuild: "only 32-bit kernels have it, and this is the 64-bit build of mini"
        case .unavailable(.noSuchFile): missing(.noSuchFile)
        case .unavailable(.noSuchDevice): missing(.noSuchDevice)
        case .unavailable(.noDevice): missing(.noDevice)
        case .unavailable(.noSpace): "it runs as many guests as it can (ENOSPC)"
        case .unavailable(let errno): "\(errno)"
        case .notTheDevice: "it is something else"
        case .otherGuest(let era, let guest):
            "it is of \(era.kernels), the guest of era \(guest.name)"
        case .otherTables(nil): "the guest has PAE, which its kernel may not have"
        case .otherTables(false): "the guest has PAE, its kernel has not"
        case .otherTables(true): "its kernel has PAE, the guest has not"
        case .addressZero(let errno):
            "memory at address 0, where this kernel wants the guest's, cannot be had: \(errno); is vm.mmap_min_addr 0?"
        case .tooMuchMemory(let size, let most):
            "a guest of \(size) MiB does not fit, at most \(most) MiB do"
        }
    }

    private func missing(_ errno: Errno) -> Text {
        "\(errno); is the kernel's module lg loaded?"
    }

    /// One line without the program's name in front.
    var text: Text { "cannot use \(quoted: KernelDevice.path): \(reason)" }
}
