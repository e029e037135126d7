// How the applets end: the codes, and what they mean.
// The manual page and README.md list the same.

/// A process's exit code.
enum ExitCode {
    static let success: Int32 = 0
    static let hostFailure: Int32 = 1
    static let wrongUse: Int32 = 2
    static let guestDied: Int32 = 4
    static let reboot: Int32 = 5
    static let escaped: Int32 = 6
    /// With --guest-exit, of a guest that told no code, and for each failure of ours.
    static let noGuestExit: Int32 = 125
    static func signal(_ signal: Signal) -> Int32 { 128 + signal.rawValue }

    /// Code and meaning, for help.
    static var table: [(code: StaticString, meaning: StaticString)] {
        [
            ("0", "the guest powered itself off"),
            ("1", "the host failed: a system call, memory, a device"),
            ("2", "wrong use: an option, an argument"),
            ("3", "a kernel, initrd, disk or network file was refused"),
            ("4", "the guest died; its reason is printed"),
            ("5", "the guest asked for a reboot, and --no-reboot was given"),
            ("6", "left by three ^C within a second"),
            ("125", "with --guest-exit: no code came out of the guest"),
            ("128+n", "ended by signal n; 141 if the output was closed"),
        ]
    }
}
