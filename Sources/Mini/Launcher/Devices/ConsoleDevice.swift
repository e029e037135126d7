// The console of a guest between its two sides: what the guest sees (Devices/Lguest/Console.swift), and standard
// input and output (ConsoleSession.swift). It is there always, in the last slot, as the original has it.
// Source: docs/abi/lguest.md §5.2 (console).

final class ConsoleDevice: GuestDevice, ConsoleGuest {
    private var console: Console
    private let session: ConsoleSession
    private let device: any LguestDevice
    private var use = ConsoleUse()
    /// The buffer that `room` spoke of.
    private var loan: Console.Loan?

    init(_ console: Console, of device: any LguestDevice, _ session: ConsoleSession) {
        self.console = console
        self.device = device
        self.session = session
    }

    func watch(_ descriptors: inout [Int32]) { session.watch(&descriptors) }

    func notified(
        _ notification: DMANotification, by guest: RunningGuest
    ) throws(LauncherError) -> Bool {
        guard notification.key == Console.key else { return false }
        guard let record = console.output(at: notification.record) else {
            guest.warnOfRecord()
            return true
        }
        try session.write(record.sections, of: guest.memory)
        guard guest.loop.outcome == nil else { return true }
        console.wrote(record.count, of: record)
        if record.count > 0 { use.hasSent = true }
        return true
    }

    func serve(
        _ occasion: Occasion, for guest: RunningGuest
    ) throws(LauncherError) -> Nanoseconds? {
        if let ready = occasion.ready {
            try session.serve(self, ready)
        } else {
            try session.guestRan(self)
        }
        return nil
    }

    func uses(of guest: RunningGuest) -> [Timeline.Use] { use.uses }

    // MARK: The guest's buffers

    func room() -> Int? {
        loan = nil
        guard console.canTakeInput else { return nil }
        // No buffer, or the guest is dead: the next run tells which.
        guard let address = try? device.dmaBuffer(Console.key) else { return nil }
        loan = console.borrow(address)
        return loan?.count
    }

    func fill(with bytes: ArraySlice<UInt8>) -> Int {
        guard let loan else { return 0 }
        self.loan = nil
        let (count, line) = console.fill(loan, with: bytes)
        if count > 0 {
            use.hasTaken = true
            try? device.interrupt(line)
        }
        return count
    }
}
