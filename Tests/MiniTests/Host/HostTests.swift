// The built-in host as its launcher sees it: verbs, run loop, time.

import Testing

@testable import Mini

private let everyEra: [GuestABI.Era] = [.era0, .era0b, .era1a, .era1, .era1b, .era1c]

@Suite struct HostTests {
    @Test("INITIALIZE answers the size of its arguments in each era")
    func sizes() throws {
        for era in everyEra {
            let host = try Host(memory: GuestMemory(count: 4096), abi: GuestABI(era: era))
            let expected = era == .era0 || era == .era0b || era == .era1c ? 16 : 20
            let count = try host.initialize(
                pageLimit: 1, pageDirectory: 0, start: 0, pageOffset: 0xC000_0000)
            #expect(count == expected, "\(era)")
            #expect(throws: Errno.busy) {
                try host.initialize(pageLimit: 1, pageDirectory: 0, start: 0, pageOffset: 0)
            }
        }
    }

    @Test("a page offset in the top four megabytes is refused, and the guest stays new")
    func pageOffset() throws {
        let host = try Host(memory: GuestMemory(count: 4096), abi: GuestABI(era: .era1))
        #expect(throws: Errno.invalid) {
            try host.initialize(pageLimit: 1, pageDirectory: 0, start: 0, pageOffset: 0xFFC0_0000)
        }
        #expect(throws: Errno.invalid) { try host.run() }
        _ = try host.initialize(pageLimit: 1, pageDirectory: 0, start: 0, pageOffset: 0xFFBF_FFFF)
    }

    /// Errnos of GETDMA, IRQ, BREAK and run, or nil.
    private func errnos(_ host: Host) -> [Errno?] {
        func errno(_ call: () throws(Errno) -> Void) -> Errno? {
            do throws(Errno) { try call() } catch { return error }
            return nil
        }
        return [
            errno { () throws(Errno) in _ = try host.dmaBuffer(0) },
            errno { () throws(Errno) in try host.interrupt(1) },
            errno { () throws(Errno) in try host.interrupt(32) },
            errno { () throws(Errno) in try host.breakOut(false) },
            errno { () throws(Errno) in _ = try host.run() },
        ]
    }

    @Test("each verb gives the device's errno before INITIALIZE, after it, dead and closed")
    func verbs() throws {
        let new = try Host(memory: GuestMemory(count: 4096), abi: GuestABI(era: .era1))
        #expect(errnos(new) == [.invalid, .invalid, .invalid, .invalid, .invalid])
        let guest = try TinyGuest { $0.undefined() }
        #expect(errnos(guest.host) == [.noSuchFile, nil, .invalid, nil, .noSuchFile])
        #expect(errnos(guest.host) == [.noSuchFile, .noSuchFile, .noSuchFile, .noSuchFile, nil])
        #expect(throws: Errno.noSuchFile) {
            try guest.host.initialize(pageLimit: 1, pageDirectory: 0, start: 0, pageOffset: 0)
        }
        guest.host.close()
        #expect(errnos(guest.host).allSatisfy { $0 == .badDescriptor })
    }

    @Test("a guest begins at its entry in ring 1 with empty registers")
    func beginning() throws {
        let guest = try TinyGuest { _ in }
        let cpu = guest.cpu
        #expect(cpu.eip == TinyGuest.high + TinyGuest.code)
        #expect(cpu.eflags == 0x202)
        #expect(cpu.privilege == 1)
        #expect(cpu.selector(.cs) == 0x61)
        for segment in [ProcessorSegment.ds, .es, .ss] {
            #expect(cpu.selector(segment) == 0x69)
        }
        for segment in [ProcessorSegment.fs, .gs] { #expect(cpu.selector(segment) == 0) }
        for register in [
            ProcessorRegister.eax, .ebx, .ecx, .edx, .esi, .edi, .ebp, .esp,
        ] { #expect(cpu[register] == 0) }
    }

    @Test("records are handed out one by one, and the guest goes on behind each")
    func records() throws {
        let guest = try TinyGuest {
            $0.initialize()
            $0.checkpoint(1)
            $0.call(13, 0x40, 0x1234_5678)
            $0.checkpoint(2)
        }
        #expect(guest.run() == .checkpoint(1))
        #expect(guest.run() == .dma(buffer: 0x1234_5678, key: 0x40))
        #expect(guest.run() == .checkpoint(2))
    }

    @Test("a break ends run() before any guest code, as long as it is on")
    func breakOut() throws {
        let guest = try TinyGuest {
            $0.initialize()
            $0.checkpoint(1)
        }
        try guest.host.breakOut(true)
        let start = guest.cpu.eip
        #expect(guest.run() == .failed(.again))
        #expect(guest.run() == .failed(.again))
        #expect(guest.cpu.eip == start)
        try guest.host.breakOut(false)
        #expect(guest.run() == .checkpoint(1))
    }

    @Test("death is ENOENT, then the reason, as often as one asks")
    func death() throws {
        let guest = try TinyGuest { $0.undefined() }
        #expect(guest.run() == .failed(.noSuchFile))
        let text = "unhandled trap 6 at 0xc0010005 (0x0)"
        #expect(guest.run() == .reason(text))
        #expect(guest.run() == .reason(text))
    }

    @Test("a page directory outside memory is accepted and ends the guest when it runs")
    func badDirectory() throws {
        let host = try Host(memory: GuestMemory(count: 0x10_0000), abi: GuestABI(era: .era1))
        _ = try host.initialize(
            pageLimit: 0x401, pageDirectory: 0xFFFF_F000, start: 0xC010_0000,
            pageOffset: 0xC000_0000)
        #expect(throws: Errno.noSuchFile) { try host.run() }
        guard case .reason(let text) = try host.run() else {
            Issue.record("no reason")
            return
        }
        let expected: Text = "bad read address 0xfffffc00: pfn_limit=1025 membase=00000000"
        #expect(text == expected)
    }

    @Test("with no pages granted every guest dies at once")
    func noPages() throws {
        #expect(
            try lastWords(pageLimit: 0) { _ in }
                == "bad read address 0x1c00: pfn_limit=0 membase=00000000")
    }

    // MARK: - Time

    /// Runs with a clock that moves 10 microseconds at each look, and sleeps as asked.
    private func withFakeClock<Value>(
        _ sleeps: Sleeps, _ body: () throws -> Value
    ) rethrows -> Value {
        try SystemCall.hooked({ call in
            switch call.number {
            case .clockTime:
                sleeps.now += 10_000
                let time = UnsafeMutablePointer<Int>(bitPattern: call.arguments.1)!
                time[0] = (call.arguments.0 == 0 ? 1_000_000 : 0) + Int(sleeps.now / 1_000_000_000)
                time[1] = Int(sleeps.now % 1_000_000_000)
                return 0
            case .poll:
                sleeps.lengths.append(Self.milliseconds(call))
                guard let length = Self.timeout(call) else { return -4 }
                sleeps.now += length
                return 0
            default: return nil
            }
        }) { try body() }
    }

    /// The nanoseconds that a ppoll() asks for; nil for no end.
    private static func timeout(_ call: SystemCall) -> UInt64? {
        guard let words = UnsafePointer<Int>(bitPattern: call.arguments.2) else { return nil }
        return UInt64(words[0]) * 1_000_000_000 + UInt64(words[1])
    }

    /// The same in milliseconds, rounded up; -1 for no end.
    private static func milliseconds(_ call: SystemCall) -> Int {
        timeout(call).map { Int(($0 + 999_999) / 1_000_000) } ?? -1
    }

    private final class Sleeps: @unchecked Sendable {
        var now: UInt64 = 0
        /// Milliseconds of each poll().
        var lengths: [Int] = []
    }

    @Test("a halted guest sleeps in poll() until its clock event, then gets interrupt 0")
    func sleeps() throws {
        let sleeps = Sleeps()
        try withFakeClock(sleeps) {
            let guest = try TinyGuest(handler: { $0.checkpoint(2) }) {
                $0.initialize()
                $0.gate(0x20, TinyGuest.high + TinyGuest.handler)
                $0.call(9, 50_000_000)
                $0.call(10)
                $0.checkpoint(1)
            }
            #expect(guest.run() == .checkpoint(2))
            #expect(sleeps.lengths == [50])
            // HALT turned interrupts on, the gate turned them off again.
            #expect(guest.field(0) == 0)
        }
    }

    @Test("a spinning guest gets its timer, though it never exits by itself")
    func spins() throws {
        let guest = try TinyGuest(handler: { $0.checkpoint(2) }) {
            $0.initialize()
            $0.gate(0x20, TinyGuest.high + TinyGuest.handler)
            $0.call(9, 3_000_000)
            $0.store(TinyGuest.high + TinyGuest.data, 0x200)
        }
        let start = Clock.monotonic()
        let used = threadTime()
        #expect(guest.run() == .checkpoint(2))
        #expect(Clock.monotonic() - start >= Nanoseconds(count: 3_000_000))
        // Not by the clock on the wall: others may have had the processor.
        #expect(threadTime() - used < .milliseconds(1000))
    }

    @Test("a clock event that is cancelled does not come; a new one replaces the old")
    func cancelled() throws {
        let sleeps = Sleeps()
        try withFakeClock(sleeps) {
            let guest = try TinyGuest(handler: { $0.checkpoint(2) }) {
                $0.initialize()
                $0.gate(0x20, TinyGuest.high + TinyGuest.handler)
                $0.call(9, 50_000_000)
                $0.call(9, 0)
                $0.call(9, 70_000_000)
                $0.call(10)
            }
            #expect(guest.run() == .checkpoint(2))
            #expect(sleeps.lengths == [70])
        }
    }

    @Test("a halted guest ends run() when a watched descriptor is readable, and sleeps on after")
    func watched() throws {
        let guest = try TinyGuest {
            $0.initialize()
            $0.checkpoint(1)
            $0.call(10)
        }
        #expect(guest.run() == .checkpoint(1))
        guest.host.watch([7])
        let seen = Sleeps()
        SystemCall.hooked({ call in
            guard call.number == .poll else { return nil }
            let record = UnsafeMutablePointer<Int32>(bitPattern: call.arguments.0)!
            #expect(record[0] == 7 && call.arguments.1 == 1)
            // On a busy machine it is looked at in passing, too.
            guard Self.milliseconds(call) != 0 else { return 0 }
            seen.lengths.append(Self.milliseconds(call))
            record[1] = 1 << 16 | 1
            return 1
        }) {
            #expect(guest.run() == .failed(.again))
            #expect(guest.run() == .failed(.again))
        }
        #expect(seen.lengths == [-1, -1])
    }

    @Test("while the guest runs, watched descriptors are looked at once a millisecond")
    func watchedWhileRunning() throws {
        let guest = try TinyGuest { $0.initialize() }
        guest.host.watch([7])
        let seen = Sleeps()
        let start = Clock.monotonic()
        SystemCall.hooked({ call in
            guard call.number == .poll else { return nil }
            seen.lengths.append(Self.milliseconds(call))
            guard seen.lengths.count == 20 else { return 0 }
            UnsafeMutablePointer<Int32>(bitPattern: call.arguments.0)![1] = 1 << 16 | 1
            return 1
        }) { #expect(guest.run() == .failed(.again)) }
        #expect(seen.lengths == [Int](repeating: 0, count: 20))
        #expect(Clock.monotonic() - start >= .milliseconds(19))
    }

    @Test("when waiting fails, run() fails with that errno and the guest can go on")
    func pollFails() throws {
        let guest = try TinyGuest {
            $0.initialize()
            $0.call(10)
        }
        SystemCall.hooked({ $0.number == .poll ? -12 : nil }) {
            #expect(guest.run() == .failed(.noMemory))
            #expect(guest.run() == .failed(.noMemory))
        }
    }

    @Test("a guest asleep for a fifth of a second costs next to no processor time")
    func idle() throws {
        let guest = try TinyGuest(handler: { $0.checkpoint(2) }) {
            $0.initialize()
            $0.gate(0x20, TinyGuest.high + TinyGuest.handler)
            $0.checkpoint(1)
            $0.call(9, 200_000_000)
            $0.call(10)
        }
        #expect(guest.run() == .checkpoint(1))
        let start = threadTime()
        #expect(guest.run() == .checkpoint(2))
        #expect(threadTime() - start < .milliseconds(10))
    }

    /// Processor time of this thread.
    private func threadTime() -> Nanoseconds {
        var time: (Int, Int) = (0, 0)
        withUnsafeMutableBytes(of: &time) {
            _ = try? SystemCall.make(.clockTime, 3, Int(bitPattern: $0.baseAddress))
        }
        return Nanoseconds(count: UInt64(time.0) * 1_000_000_000 + UInt64(time.1))
    }
}
