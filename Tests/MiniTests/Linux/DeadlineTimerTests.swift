import CShim
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

    @Test("a timer whose signal waits goes without a wait for a signal that the kernel takes back")
    func goesLate() throws {
        let calls = Calls()
        let thread = Int32(mini_syscall(186, 0, 0, 0, 0, 0, 0))  // gettid
        try SystemCall.hooked({ call in
            switch call.number {
            case .makeTimer:
                // For this thread alone: the test process's others do not hold the signal back. SIGEV_THREAD_ID.
                let event = UnsafeMutableRawPointer(bitPattern: call.arguments.1)!
                event.storeBytes(of: 4, toByteOffset: 12, as: Int32.self)
                event.storeBytes(of: thread, toByteOffset: 16, as: Int32.self)
            case .setTimer:
                let times = UnsafePointer<Int>(bitPattern: call.arguments.2)!
                calls.moments.append([times[2], times[3]])
            default: break
            }
            return nil
        }) {
            let timer = try DeadlineTimer()
            try timer.arm(Clock.monotonic() + .milliseconds(1))
            let interest = Poll.Interest(timer.descriptor)
            #expect(try Poll.wait([interest], timeout: .milliseconds(10_000)) == [true])
        }
        #expect(calls.moments.last == [0, 0])
    }
}
