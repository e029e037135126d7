// For a process that must not die: a fault of its own is told and then the process stands still,
// where the default would end it. The end of process 1 would be the end of the kernel.
// Source: signal(7), init/Kconfig's panic "Attempted to kill init".

import CShim

enum FaultGuard {
    private static let faults: [Signal] = [
        .illegalInstruction, .busError, .arithmetic, .segmentationFault,
    ]
    private static let stackSize = 16384

    /// Handles the faults from now on.
    static func install() throws(Errno) {
        // Kept for good: the fault may be that the usual stack is used up.
        let stack = try SystemCall.make(.map, 0, stackSize, 3, 0x22, -1, 0)
        var record = (stack, 0, stackSize)
        try withKernel(&record) { (address) throws(Errno) -> Void in
            try SystemCall.make(.signalStack, address, 0)
        }
        var action = mini_sigaction()
        let handler: @convention(c) (Int32, UnsafePointer<Int32>) -> Void = {
            unsafe FaultGuard.stand($0, $1)
        }
        action.handler = unsafe unsafeBitCast(handler, to: (@convention(c) (Int32) -> Void).self)
        action.flags = Signal.onOwnStack | Signal.returnsByItself
        action.restorer = mini_signal_return
        try set(action)
    }

    /// Leaves them to the kernel again.
    static func remove() { try? set(mini_sigaction()) }

    private static func set(_ action: mini_sigaction) throws(Errno) {
        var action = action
        for fault in faults {
            try withKernel(&action) { (address) throws(Errno) -> Void in
                try SystemCall.make(
                    .signalAction, Int(fault.rawValue), address, 0, SignalSet.size)
            }
        }
    }

    /// - Parameter information: siginfo_t; its third word tells who sent the signal.
    private static func stand(_ signal: Int32, _ information: UnsafePointer<Int32>) {
        // Up to 0 are processes, which cannot harm process 1 with any other signal either.
        if unsafe information[2] <= 0 { return }
        try? Transfer.write(2, "mini: a fault of our own, signal \(signal); standing still\n")
        while true { Clock.sleep(.milliseconds(3_600_000)) }
    }
}
