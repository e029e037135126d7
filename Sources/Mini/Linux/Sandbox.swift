// A process that has opened all it needs gives up everything else: other descriptors, capabilities,
// the user root, limits, and the system calls that it will not make. What takes it over later has
// nothing to use. There is no way back, and no step depends on another: where a kernel lacks one, the
// others hold. Sources: seccomp(2), prctl(2), capabilities(7), credentials(7), getrlimit(2),
// close_range(2); docs/sandbox.md.

import CShim

/// Whether a process enters a sandbox.
enum SandboxChoice: Equatable {
    case off
    /// As far as the kernel can.
    case on
    /// Wholly, or not at all.
    case required
}

/// What a process keeps.
struct SandboxPlan {
    /// Nil for a process whose calls are not filtered.
    var rules: [CallRule]?
    /// Its descriptors beside 0 to 2.
    var descriptors: [Int32] = []
    /// How many descriptors it may get in addition.
    var moreDescriptors = 0
    /// No file may become longer by its writing, in bytes; nil for any length.
    var fileSize: UInt64?
    /// What it still does takes the user that it has.
    var keepsUser = false
}

enum Sandbox {
    /// What came of it.
    struct Outcome {
        /// Calls that are left; nil if they are not filtered.
        var calls: Int?
        /// Why they are not, though they were to be.
        var failure: Errno?
        /// It was root, and is no more.
        var hasLeftRoot = false
    }

    /// The user and the group without rights, by custom: nobody and nogroup.
    private static let nobody = 65534

    /// Enters it; `closeOthers` comes first. The process has remembered its own numbers before.
    static func enter(_ plan: SandboxPlan) -> Outcome {
        var outcome = Outcome()
        limit(plan)
        forgetCapabilities()
        if !plan.keepsUser { outcome.hasLeftRoot = leaveRoot() }
        dropCapabilities()
        try? control(4, 0)  // PR_SET_DUMPABLE
        // Before the filter: without privileges the kernel asks for it.
        try? control(38, 1)  // PR_SET_NO_NEW_PRIVS
        guard let rules = plan.rules else { return outcome }
        let filter = SystemCallFilter(rules)
        do throws(Errno) {
            try install(filter)
            outcome.calls = filter.count
        } catch { outcome.failure = error }
        return outcome
    }

    /// What a person reads of a kernel without filters.
    static func withoutFilter(_ errno: Errno?) -> Text {
        let line: Text = "this kernel does not filter system calls (seccomp)"
        return errno.map { "\(line): \($0)" } ?? line
    }

    private static func control(_ option: Int, _ argument: Int) throws(Errno) {
        try SystemCall.make(.processControl, option, argument)
    }

    // MARK: The filter

    private static func install(_ filter: SystemCallFilter) throws(Errno) {
        var failure: Errno?
        unsafe filter.words.withUnsafeBufferPointer { words in
            // struct sock_fprog: a count of 16 bits, and after its padding the address.
            var program = (words.count, Int(bitPattern: words.baseAddress))
            do throws(Errno) {
                try withKernel(&program) { (address) throws(Errno) in try install(address) }
            } catch { failure = error }
        }
        if let failure { throw failure }
    }

    private static func install(_ program: Int) throws(Errno) {
        let filterMode = 1  // SECCOMP_SET_MODE_FILTER
        // SECCOMP_FILTER_FLAG_SPEC_ALLOW, since 4.17: a filter turns on a slower processor there
        // (no speculative store bypass), which is for those who run native code of others. The
        // guest's code is interpreted.
        do throws(Errno) {
            try SystemCall.make(.seccomp, filterMode, 4, program)
            return
        } catch {}
        // Since 3.5; what it says is why there is none.
        try SystemCall.make(.processControl, 22, 2, program)  // PR_SET_SECCOMP
    }

    // MARK: Descriptors and limits

    /// Closes every descriptor but these and 0 to 2. Where another descriptor of the same
    /// file goes, the kernel gives up this process's locks there (fcntl(2)): take them again.
    static func closeOthers(_ kept: [Int32]) {
        var first = 3
        for number in sorted(kept) where Int(number) >= first {
            close(first, Int(number) - 1)
            first = Int(number) + 1
        }
        close(first, Int(Int32.max))
    }

    private static func close(_ first: Int, _ last: Int) {
        guard first <= last else { return }
        do throws(Errno) { try SystemCall.make(.closeRange, first, last, 0) } catch {
            // Before 5.9, or a filter around us refuses what it does not know. No caller hands on a higher descriptor by mistake, and one that does it on purpose harms only itself.
            for number in first...min(last, max(first, 1023)) {
                _ = try? SystemCall.make(.close, number)
            }
        }
    }

    private static func sorted(_ numbers: [Int32]) -> [Int32] {
        var result: [Int32] = []
        for number in numbers {
            let place = result.firstIndex { $0 >= number } ?? result.count
            result.insert(number, at: place)
        }
        return result
    }

    private static func limit(_ plan: SandboxPlan) {
        let highest = plan.descriptors.reduce(2) { max($0, $1) }
        set(4, 0)  // RLIMIT_CORE
        set(7, UInt64(Int(highest) + 1 + plan.moreDescriptors))  // RLIMIT_NOFILE
        if let size = plan.fileSize { set(1, size) }  // RLIMIT_FSIZE
    }

    /// Both the limit and what it may be raised to, where they are not lower already.
    private static func set(_ resource: Int, _ value: UInt64) {
        // struct rlimit64.
        var limits = (new: (value, value), old: (UInt64(0), UInt64(0)))
        do throws(Errno) {
            try withKernel(&limits) { (address) throws(Errno) -> Void in
                try SystemCall.make(.limit, 0, resource, 0, address + 16)
            }
            limits.new = (min(value, limits.old.0), min(value, limits.old.1))
            try withKernel(&limits) { (address) throws(Errno) -> Void in
                try SystemCall.make(.limit, 0, resource, address, 0)
            }
        } catch {
            // Before 2.6.36.
            guard let word = UInt(exactly: value) else { return }
            var limit = (word, word)
            _ = try? withKernel(&limit) { (address) throws(Errno) in
                try SystemCall.make(.oldLimit, resource, address)
            }
        }
    }

    // MARK: Privileges

    /// From here on no program can bring capabilities back, and none is inherited.
    private static func forgetCapabilities() {
        do throws(Errno) {
            for capability in 0..<64 { try control(24, capability) }  // PR_CAPBSET_DROP
        } catch {}  // It has none to forget, or all are forgotten.
        try? control(47, 4)  // PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL
    }

    /// - Returns: true if it was root and is not any more.
    private static func leaveRoot() -> Bool {
        guard (try? SystemCall.make(.effectiveUser)) == 0 else { return false }
        _ = try? SystemCall.make(.setGroups, 0, 0)
        _ = try? SystemCall.make(.setGroup, nobody, nobody, nobody)
        return (try? SystemCall.make(.setUser, nobody, nobody, nobody)) != nil
    }

    private static func dropCapabilities() {
        // struct __user_cap_header_struct: version and process; then effective, permitted and
        // inheritable sets, twice 32 bits. _LINUX_CAPABILITY_VERSION_3 is of 2.6.26, _1 older.
        for version in [0x2008_0522, 0x1998_0330] as [UInt32] {
            var words = (version, 0 as UInt32, (0, 0, 0, 0, 0, 0) as Sets)
            let done: Int? = try? withKernel(&words) { (address) throws(Errno) in
                try SystemCall.make(.setCapabilities, address, address + 8)
            }
            if done != nil { return }
        }
    }
    private typealias Sets = (UInt32, UInt32, UInt32, UInt32, UInt32, UInt32)
}
