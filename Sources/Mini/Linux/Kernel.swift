// The machine as a whole: how it ends, the keys that ask for it, and the kernel's modules.
// Sources: reboot(2), linux/reboot.h, finit_module(2), init_module(2), linux/module.h.

/// How the machine ends.
enum Ending: Equatable {
    case powerOff, reboot, halt

    /// LINUX_REBOOT_CMD_POWER_OFF, _RESTART, _HALT.
    fileprivate var command: UInt32 {
        switch self {
        case .powerOff: 0x4321_FEDC
        case .reboot: 0x0123_4567
        case .halt: 0xCDEF_0123
        }
    }
}

enum Kernel {
    private static let magic1 = 0xFEE1_DEAD as UInt32
    private static let magic2 = 672_274_793

    private static func reboot(_ command: UInt32) throws(Errno) {
        try SystemCall.make(
            .reboot, Int(truncatingIfNeeded: Int32(bitPattern: magic1)), magic2,
            Int(truncatingIfNeeded: Int32(bitPattern: command)))
    }

    /// What it calls its version, as "6.1.0-32-amd64"; nil where that is not told.
    static var release: Text? { SmallFile.line("/proc/sys/kernel/osrelease") }

    /// Ends it. What is not on the disks is lost.
    /// - Throws: EPERM, or what keeps the kernel from it; else it does not return.
    static func end(_ ending: Ending) throws(Errno) { try reboot(ending.command) }

    /// Has Ctrl-Alt-Del send SIGINT to process 1 rather than reboot at once.
    static func catchKeys() throws(Errno) { try reboot(0) }  // LINUX_REBOOT_CMD_CAD_OFF

    /// Loads a kernel module from an open file.
    /// - Parameters:
    ///   - parameters: `NAME=VALUE`, blanks between them.
    ///   - isCompressed: true to have the kernel unpack it (since 5.17).
    static func loadModule(
        _ file: Int32, parameters: Text, isCompressed: Bool
    ) throws(Errno) {
        _ = try parameters.withCString { (text) throws(Errno) in
            // MODULE_INIT_COMPRESSED_FILE
            try SystemCall.make(.loadModule, Int(file), text, isCompressed ? 4 : 0)
        }
    }

    /// The same from memory, where it is not compressed.
    static func loadModule(
        _ image: UnsafeRawBufferPointer, parameters: Text
    ) throws(Errno) {
        let start = Int(bitPattern: image.baseAddress)
        _ = try parameters.withCString { (text) throws(Errno) in
            try SystemCall.make(.loadModuleImage, start, image.count, text)
        }
    }
}
