// What a PC's guest runs on and has for its console, as they are asked for. LguestEngine.swift has what runs guests of lguest.

/// What a PC's guest runs on, as it was asked for.
enum PCEngine: Equatable {
    /// /dev/kvm where it can be used, else the software processor.
    case automatic
    case kvm
    case software

    /// Whether a processor in software takes a start: one of 32 bits in all builds, of 64 bits where `Long` is.
    static func softwareRuns(_ mode: ProcessorStart.Mode) -> Bool {
        #if arch(x86_64) && !MINI_WITHOUT_LONG
        return true
        #else
        return mode == .protected32
        #endif
    }

    /// What would run a kernel on this machine, and why nothing would.
    static func choice(for kernel: StockKernel, name: Text) -> (Text, LauncherError?) {
        do throws(KvmError) {
            _ = try KvmVirtualMachine.probed(kernel.mode)
            return ("/dev/kvm", nil)
        } catch {
            guard softwareRuns(kernel.mode) else {
                return ("none", .needsKvm(name: name, error))
            }
            return ("the software processor (/dev/kvm: \(error.text))", nil)
        }
    }
}

/// What a PC's kernel has for its console, the serial port, or something beside it.
enum PCConsole {
    case serial
    case virtio
    /// A screen in text mode, for kernels that can do without a serial port.
    case screen

    /// The kernel's words for it.
    var words: [Text] {
        switch self {
        case .serial: ["console=ttyS0"]
        case .virtio: ["console=hvc0", "earlyprintk=ttyS0"]
        case .screen: ["console=tty0"]
        }
    }
}
