import Testing

@testable import Mini

@Suite struct DeadlineTimerTests {
    private final class Calls: @unchecked Sendable {
        /// Seconds and nanoseconds of what each call set.
        var moments: [[Int]] = []
    }

    @Test("a timer that goes is not set any more: its signal would end the process")
    func goes() throws {
        let calls = Calls()
        try SystemCall.hooked({ call in
            if call.number == .setTimer {
                let times = UnsafePointer<Int>(bitPattern: call.arguments.2)!
                calls.moments.append([times[2], times[3]])
            }
            return nil
        }) {
            let timer = try DeadlineTimer()
            try timer.arm(Clock.monotonic() + .milliseconds(3_600_000))
            #expect(calls.moments.count == 1 && calls.moments[0][0] > 3600)
        }
        #expect(calls.moments.count == 2)
        #expect(calls.moments.last == [0, 0])
    }
}
