// The one file that makes system calls. Everything above speaks to the kernel through
// `SystemCall.make`, and in ordinary (test) builds a hook stands in that function: it can
// play a kernel, or fail the n-th call. Source of numbers and arguments: asm/unistd_32.h,
// asm/unistd_64.h and the manual's section 2.

import CShim

/// One request to the kernel: a number and six machine words.
struct SystemCall {
    /// The kernel's number for a call on this architecture.
    struct Number: RawRepresentable, Equatable {
        let rawValue: Int
    }

    var number: Number
    var arguments: (Int, Int, Int, Int, Int, Int)

    #if !hasFeature(Embedded)
    /// Stands in every system call of the current task; answers with the kernel's
    /// result (a value or −errno), or with nil to let the real kernel answer.
    @TaskLocal static var hook: (@Sendable (SystemCall) -> Int?)?

    /// Runs `body` with a hook in place. (Not `$hook.withValue` in the tests themselves: there the
    /// optimiser of Swift 6.3 loses the type of the value and the run-time library crashes.)
    @discardableResult
    static func hooked<Value, Failure: Error>(
        _ hook: @escaping @Sendable (SystemCall) -> Int?, _ body: () throws(Failure) -> Value
    ) throws(Failure) -> Value {
        let result: Result<Value, Failure> = $hook.withValue(hook) {
            do throws(Failure) { return .success(try body()) } catch { return .failure(error) }
        }
        return try result.get()
    }
    #elseif MINI_FUZZ
    /// The same for fuzzers, which are built like the release and have one task.
    nonisolated(unsafe) static var player: ((SystemCall) -> Int?)?
    #endif

    /// Makes the call.
    /// - Returns: the kernel's value.
    /// - Throws: the kernel's errno.
    @discardableResult
    static func make(
        _ number: Number, _ a1: Int = 0, _ a2: Int = 0, _ a3: Int = 0, _ a4: Int = 0,
        _ a5: Int = 0, _ a6: Int = 0
    ) throws(Errno) -> Int {
        let result = raw(number, a1, a2, a3, a4, a5, a6)
        // Only the last page of values are errors: a large address is a success.
        if result < 0 && result >= -4095 {
            throw Errno(rawValue: Int32(truncatingIfNeeded: -result))
        }
        return result
    }

    /// As `make`, but begins again when a signal interrupted the call.
    @discardableResult
    static func retrying(
        _ number: Number, _ a1: Int = 0, _ a2: Int = 0, _ a3: Int = 0, _ a4: Int = 0
    ) throws(Errno) -> Int {
        while true {
            do throws(Errno) {
                return try make(number, a1, a2, a3, a4)
            } catch {
                if error != .interrupted { throw error }
            }
        }
    }

    /// Starts a waker's thread: clone(2), which only the first thread returns from.
    /// - Parameter stack: the upper end of the thread's stack.
    static func startWaker(
        _ waker: UnsafeMutablePointer<mini_waker>, stack: UnsafeMutableRawPointer, flags: Int
    ) throws(Errno) {
        var result: Int?
        #if !hasFeature(Embedded)
        result = hook?(
            SystemCall(
                number: .clone,
                arguments: (flags, Int(bitPattern: stack), Int(bitPattern: waker), 0, 0, 0)))
        #endif
        let value =
            unsafe result ?? mini_start_waker(Number.clone.rawValue, flags, stack, waker)
        if value < 0 { throw Errno(rawValue: Int32(truncatingIfNeeded: -value)) }
    }

    private static func raw(
        _ number: Number, _ a1: Int, _ a2: Int, _ a3: Int, _ a4: Int, _ a5: Int, _ a6: Int
    ) -> Int {
        #if !hasFeature(Embedded)
        if let hook,
            let answer = hook(
                SystemCall(number: number, arguments: (a1, a2, a3, a4, a5, a6)))
        {
            return answer
        }
        #elseif MINI_FUZZ
        if let player = unsafe player,
            let answer = player(
                SystemCall(number: number, arguments: (a1, a2, a3, a4, a5, a6)))
        {
            return answer
        }
        #endif
        let result = mini_syscall(number.rawValue, a1, a2, a3, a4, a5, a6)
        #if !hasFeature(Embedded)
        // Closing a number that is not open can hit one that another thread, of a test say, has just opened.
        precondition(
            number != .close || a1 < 0 || result != -Int(Errno.badDescriptor.rawValue),
            "descriptor \(a1) is closed and was not open")
        #endif
        return result
    }
}

extension SystemCall.Number {
    private init(x86_64: Int, i386: Int) {
        #if arch(x86_64)
        self.init(rawValue: x86_64)
        #else
        self.init(rawValue: i386)
        #endif
    }

    static let read = Self(x86_64: 0, i386: 3)
    static let write = Self(x86_64: 1, i386: 4)
    static let open = Self(x86_64: 2, i386: 5)
    static let close = Self(x86_64: 3, i386: 6)
    /// fstat, or fstat64 on i386.
    static let fileStatus = Self(x86_64: 5, i386: 197)
    /// newfstatat, or fstatat64 on i386.
    static let fileStatusAt = Self(x86_64: 262, i386: 300)
    /// fchmod.
    static let changePermissions = Self(x86_64: 91, i386: 94)
    /// fchown, or fchown32 on i386.
    static let changeOwner = Self(x86_64: 93, i386: 207)
    /// getxattr.
    static let attribute = Self(x86_64: 191, i386: 229)
    /// fsetxattr.
    static let setAttribute = Self(x86_64: 190, i386: 228)
    /// faccessat.
    static let mayAccess = Self(x86_64: 269, i386: 307)
    static let readLink = Self(x86_64: 89, i386: 85)
    static let rename = Self(x86_64: 82, i386: 38)
    /// getdents64.
    static let directoryEntries = Self(x86_64: 217, i386: 220)
    /// ppoll: nanoseconds rather than milliseconds.
    static let poll = Self(x86_64: 271, i386: 309)
    /// mmap, or mmap2 on i386 (offset in pages).
    static let map = Self(x86_64: 9, i386: 192)
    static let unmap = Self(x86_64: 11, i386: 91)
    static let memoryAdvice = Self(x86_64: 28, i386: 219)
    static let signalAction = Self(x86_64: 13, i386: 174)
    static let signalMask = Self(x86_64: 14, i386: 175)
    static let ioctl = Self(x86_64: 16, i386: 54)
    static let fileControl = Self(x86_64: 72, i386: 55)
    /// lseek, or _llseek on i386, which has the offset in two words and stores its result.
    static let seek = Self(x86_64: 8, i386: 140)
    static let readVector = Self(x86_64: 19, i386: 145)
    static let writeVector = Self(x86_64: 20, i386: 146)
    static let lock = Self(x86_64: 73, i386: 143)
    static let synchronize = Self(x86_64: 74, i386: 118)
    /// fdatasync: without times and the like, which a file can do without.
    static let synchronizeData = Self(x86_64: 75, i386: 148)
    /// ftruncate, whose length is a word.
    static let truncate = Self(x86_64: 77, i386: 93)
    static let intervalTimer = Self(x86_64: 38, i386: 104)
    /// getitimer.
    static let timeLeft = Self(x86_64: 36, i386: 105)
    /// timer_create.
    static let makeTimer = Self(x86_64: 222, i386: 259)
    /// timer_settime with the native timespec.
    static let setTimer = Self(x86_64: 223, i386: 260)
    static let processGroup = Self(x86_64: 111, i386: 65)
    static let signalStack = Self(x86_64: 131, i386: 186)
    static let processID = Self(x86_64: 39, i386: 20)
    static let kill = Self(x86_64: 62, i386: 37)
    /// gettid.
    static let threadID = Self(x86_64: 186, i386: 224)
    /// clock_gettime with the native timespec.
    static let clockTime = Self(x86_64: 228, i386: 265)
    /// unlink.
    static let removeName = Self(x86_64: 87, i386: 10)
    static let exitGroup = Self(x86_64: 231, i386: 252)
    static let clone = Self(x86_64: 56, i386: 120)
    /// exit: of the calling thread alone.
    static let exitThread = Self(x86_64: 60, i386: 1)
    static let killThread = Self(x86_64: 234, i386: 270)
    static let futex = Self(x86_64: 202, i386: 240)
    static let pipe = Self(x86_64: 22, i386: 42)
    /// pipe2.
    static let pipeWithFlags = Self(x86_64: 293, i386: 331)
    static let signalDescriptor = Self(x86_64: 282, i386: 321)

    // Files by name.
    static let makeDirectory = Self(x86_64: 83, i386: 39)
    static let makeNode = Self(x86_64: 133, i386: 14)
    /// symlink.
    static let makeLink = Self(x86_64: 88, i386: 83)
    static let removeDirectory = Self(x86_64: 84, i386: 40)
    static let changeDirectory = Self(x86_64: 80, i386: 12)
    static let changeRoot = Self(x86_64: 161, i386: 61)
    static let duplicate = Self(x86_64: 33, i386: 63)
    static let memoryFile = Self(x86_64: 319, i386: 356)
    /// getrandom.
    static let randomBytes = Self(x86_64: 318, i386: 355)

    // File systems, modules, the machine.
    static let mount = Self(x86_64: 165, i386: 21)
    static let unmount = Self(x86_64: 166, i386: 52)
    /// statfs, or statfs64 on i386, whose second argument is the size of its structure: statfs has no room there for a
    /// number of blocks that is wider than a word (a file system of 16 TiB).
    static let fileSystemStatus = Self(x86_64: 137, i386: 268)
    /// swapoff.
    static let endSwap = Self(x86_64: 168, i386: 115)
    static let synchronizeAll = Self(x86_64: 162, i386: 36)
    static let loadModule = Self(x86_64: 313, i386: 350)
    /// init_module.
    static let loadModuleImage = Self(x86_64: 175, i386: 128)
    /// ioperm.
    static let allowPorts = Self(x86_64: 173, i386: 101)
    static let reboot = Self(x86_64: 169, i386: 88)

    // Processes.
    static let fork = Self(x86_64: 57, i386: 2)
    static let execute = Self(x86_64: 59, i386: 11)
    static let waitForChild = Self(x86_64: 61, i386: 114)
    /// prctl.
    static let processControl = Self(x86_64: 157, i386: 172)
    static let newSession = Self(x86_64: 112, i386: 66)

    // What a process may do.
    static let seccomp = Self(x86_64: 317, i386: 354)
    static let closeRange = Self(x86_64: 436, i386: 436)
    /// prlimit64.
    static let limit = Self(x86_64: 302, i386: 340)
    /// setrlimit, whose numbers are words.
    static let oldLimit = Self(x86_64: 160, i386: 75)
    // With 32-bit numbers of users and groups on i386, too.
    static let effectiveUser = Self(x86_64: 107, i386: 201)
    static let setGroups = Self(x86_64: 116, i386: 206)
    static let setUser = Self(x86_64: 117, i386: 208)
    static let setGroup = Self(x86_64: 119, i386: 210)
    static let setCapabilities = Self(x86_64: 126, i386: 185)
    /// rt_sigreturn.
    static let signalReturn = Self(x86_64: 15, i386: 173)
}
