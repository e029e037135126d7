// The kernel's error numbers, as values. Source: asm-generic/errno-base.h, errno.h.

/// A Linux error number (positive).
struct Errno: RawRepresentable, Equatable, Error {
    let rawValue: Int32

    static let notPermitted = Errno(rawValue: 1)
    static let noSuchFile = Errno(rawValue: 2)
    static let interrupted = Errno(rawValue: 4)
    static let inputOutput = Errno(rawValue: 5)
    static let noSuchDevice = Errno(rawValue: 6)
    static let badDescriptor = Errno(rawValue: 9)
    static let again = Errno(rawValue: 11)
    static let noMemory = Errno(rawValue: 12)
    static let accessDenied = Errno(rawValue: 13)
    static let badAddress = Errno(rawValue: 14)
    static let busy = Errno(rawValue: 16)
    static let exists = Errno(rawValue: 17)
    static let noDevice = Errno(rawValue: 19)
    static let isDirectory = Errno(rawValue: 21)
    static let invalid = Errno(rawValue: 22)
    static let notATerminal = Errno(rawValue: 25)
    static let noSpace = Errno(rawValue: 28)
    static let readOnlySystem = Errno(rawValue: 30)
    static let brokenPipe = Errno(rawValue: 32)
    static let notImplemented = Errno(rawValue: 38)
    static let restart = Errno(rawValue: 85)

    /// What a person reads: the usual words and the usual name.
    var words: (text: StaticString, name: StaticString) {
        switch rawValue {
        case 1: ("operation not permitted", "EPERM")
        case 2: ("no such file", "ENOENT")
        case 4: ("interrupted", "EINTR")
        case 5: ("input/output error", "EIO")
        case 6: ("no such device or address", "ENXIO")
        case 7: ("argument list too long", "E2BIG")
        case 9: ("bad file descriptor", "EBADF")
        case 11: ("try again", "EAGAIN")
        case 12: ("out of memory", "ENOMEM")
        case 13: ("permission denied", "EACCES")
        case 14: ("bad address", "EFAULT")
        case 16: ("device or resource busy", "EBUSY")
        case 17: ("file exists", "EEXIST")
        case 19: ("no such device", "ENODEV")
        case 20: ("not a directory", "ENOTDIR")
        case 21: ("is a directory", "EISDIR")
        case 22: ("invalid argument", "EINVAL")
        case 23: ("too many open files in the system", "ENFILE")
        case 24: ("too many open files", "EMFILE")
        case 25: ("not a terminal", "ENOTTY")
        case 26: ("file busy", "ETXTBSY")
        case 27: ("file too large", "EFBIG")
        case 28: ("no space left on device", "ENOSPC")
        case 29: ("cannot seek", "ESPIPE")
        case 30: ("read-only file system", "EROFS")
        case 32: ("broken pipe", "EPIPE")
        case 36: ("file name too long", "ENAMETOOLONG")
        case 38: ("not implemented by this kernel", "ENOSYS")
        case 40: ("too many symbolic links", "ELOOP")
        case 75: ("value too large", "EOVERFLOW")
        case 85: ("interrupted, to be restarted", "ERESTART")
        case 110: ("timed out", "ETIMEDOUT")
        default: ("error", "errno")
        }
    }
}
