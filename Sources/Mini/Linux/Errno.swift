// The kernel's error numbers, as values. Source: asm-generic/errno-base.h, errno.h.

/// A Linux error number (positive).
struct Errno: RawRepresentable, Equatable, Error {
    let rawValue: Int32

    static let notPermitted = Errno(rawValue: 1)  // EPERM
    static let noSuchFile = Errno(rawValue: 2)  // ENOENT
    static let noProcess = Errno(rawValue: 3)  // ESRCH
    static let interrupted = Errno(rawValue: 4)  // EINTR
    static let inputOutput = Errno(rawValue: 5)  // EIO
    static let noSuchDevice = Errno(rawValue: 6)  // ENXIO
    static let tooBig = Errno(rawValue: 7)  // E2BIG
    static let notAProgram = Errno(rawValue: 8)  // ENOEXEC
    static let badDescriptor = Errno(rawValue: 9)  // EBADF
    static let noChild = Errno(rawValue: 10)  // ECHILD
    static let again = Errno(rawValue: 11)  // EAGAIN
    static let noMemory = Errno(rawValue: 12)  // ENOMEM
    static let accessDenied = Errno(rawValue: 13)  // EACCES
    static let badAddress = Errno(rawValue: 14)  // EFAULT
    static let notBlockDevice = Errno(rawValue: 15)  // ENOTBLK
    static let busy = Errno(rawValue: 16)  // EBUSY
    static let exists = Errno(rawValue: 17)  // EEXIST
    static let noDevice = Errno(rawValue: 19)  // ENODEV
    static let notDirectory = Errno(rawValue: 20)  // ENOTDIR
    static let isDirectory = Errno(rawValue: 21)  // EISDIR
    static let invalid = Errno(rawValue: 22)  // EINVAL
    static let notATerminal = Errno(rawValue: 25)  // ENOTTY
    static let fileTooLarge = Errno(rawValue: 27)  // EFBIG
    static let noSpace = Errno(rawValue: 28)  // ENOSPC
    static let readOnlySystem = Errno(rawValue: 30)  // EROFS
    static let brokenPipe = Errno(rawValue: 32)  // EPIPE
    static let nameTooLong = Errno(rawValue: 36)  // ENAMETOOLONG
    static let notImplemented = Errno(rawValue: 38)  // ENOSYS
    static let tooManyLinks = Errno(rawValue: 40)  // ELOOP
    static let noData = Errno(rawValue: 61)  // ENODATA
    static let restart = Errno(rawValue: 85)  // ERESTART
    static let wrongSocket = Errno(rawValue: 91)  // EPROTOTYPE
    static let noProtocolOption = Errno(rawValue: 92)  // ENOPROTOOPT
    static let unsupported = Errno(rawValue: 95)  // EOPNOTSUPP
    static let addressInUse = Errno(rawValue: 98)  // EADDRINUSE
    static let addressNotAvailable = Errno(rawValue: 99)  // EADDRNOTAVAIL
    static let connectionReset = Errno(rawValue: 104)  // ECONNRESET
    static let noBufferSpace = Errno(rawValue: 105)  // ENOBUFS
    static let timedOut = Errno(rawValue: 110)  // ETIMEDOUT
    static let refused = Errno(rawValue: 111)  // ECONNREFUSED

    /// What a person reads: the usual words and the usual name.
    var words: (text: StaticString, name: StaticString) {
        switch rawValue {
        case 1: ("operation not permitted", "EPERM")
        case 2: ("no such file", "ENOENT")
        case 3: ("no such process or domain", "ESRCH")
        case 4: ("interrupted", "EINTR")
        case 5: ("input/output error", "EIO")
        case 6: ("no such device or address", "ENXIO")
        case 7: ("argument list too long", "E2BIG")
        case 8: ("not a program", "ENOEXEC")
        case 9: ("bad file descriptor", "EBADF")
        case 10: ("no child process", "ECHILD")
        case 11: ("try again", "EAGAIN")
        case 12: ("out of memory", "ENOMEM")
        case 13: ("permission denied", "EACCES")
        case 14: ("bad address", "EFAULT")
        case 15: ("not a block device", "ENOTBLK")
        case 16: ("device or resource busy", "EBUSY")
        case 17: ("file exists", "EEXIST")
        case 18: ("on another file system", "EXDEV")
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
        case 34: ("number out of range", "ERANGE")
        case 36: ("file name too long", "ENAMETOOLONG")
        case 37: ("no locks available", "ENOLCK")
        case 38: ("not implemented by this kernel", "ENOSYS")
        case 39: ("not empty", "ENOTEMPTY")
        case 40: ("too many symbolic links", "ELOOP")
        case 74: ("bad message", "EBADMSG")
        case 75: ("value too large", "EOVERFLOW")
        case 77: ("file descriptor in bad state", "EBADFD")
        case 84: ("invalid character", "EILSEQ")
        case 85: ("interrupted, to be restarted", "ERESTART")
        case 91: ("a socket of another kind", "EPROTOTYPE")
        case 92: ("protocol not available", "ENOPROTOOPT")
        case 95: ("operation not supported", "EOPNOTSUPP")
        case 97: ("address family not supported", "EAFNOSUPPORT")
        case 98: ("address in use", "EADDRINUSE")
        case 99: ("cannot assign this address", "EADDRNOTAVAIL")
        case 100: ("network is down", "ENETDOWN")
        case 101: ("no way to that network", "ENETUNREACH")
        case 104: ("connection reset", "ECONNRESET")
        case 106: ("already connected", "EISCONN")
        case 107: ("not connected", "ENOTCONN")
        case 110: ("timed out", "ETIMEDOUT")
        case 111: ("connection refused", "ECONNREFUSED")
        case 113: ("no way to that host", "EHOSTUNREACH")
        case 116: ("stale file handle", "ESTALE")
        case 117: ("damaged: it needs to be checked", "EUCLEAN")
        case 122: ("quota exceeded", "EDQUOT")
        case 123: ("no medium", "ENOMEDIUM")
        case 126: ("a key is missing", "ENOKEY")
        case 129: ("the signature was rejected", "EKEYREJECTED")
        default: ("error", "errno")
        }
    }
}
