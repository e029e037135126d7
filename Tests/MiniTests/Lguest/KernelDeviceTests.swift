// The client of a kernel's /dev/lguest against a kernel that the test plays.

import CShim
import Testing

@testable import Mini

@Suite struct KernelDeviceTests {
    /// A kernel with a device: answers reads and writes from a script.
    private final class Kernel: @unchecked Sendable {
        var writes: [[UInt32]] = []
        /// Results of the writes, in order; then 0.
        var answers: [Int] = []
        /// What each read gives: a record or text, or an errno.
        var reads: [Result<[UInt8], Errno>] = []
        var closed = 0
        /// The waker's record, where its thread is played.
        var waker: UnsafeMutablePointer<mini_waker>?
        var playsWaker = false
        /// How often it was told to go on.
        var wakes = 0
        static let number = 1_000_040
        var opening = number

        func answer(_ call: SystemCall) -> Int? {
            let arguments = call.arguments
            switch call.number {
            case .open: return opening
            case .close where arguments.0 == Self.number:
                closed += 1
                return 0
            case .write where arguments.0 == Self.number:
                let words = UnsafeRawBufferPointer(
                    start: UnsafeRawPointer(bitPattern: arguments.1), count: arguments.2)
                writes.append(
                    stride(from: 0, to: arguments.2, by: 4).map {
                        words.load(fromByteOffset: $0, as: UInt32.self)
                    })
                return answers.isEmpty ? 0 : answers.removeFirst()
            case .read where arguments.0 == Self.number:
                guard arguments.2 >= 1024 else { return -22 }
                switch reads.removeFirst() {
                case .failure(let errno): return -Int(errno.rawValue)
                case .success(let bytes):
                    UnsafeMutableRawBufferPointer(
                        start: UnsafeMutableRawPointer(bitPattern: arguments.1),
                        count: arguments.2
                    ).copyBytes(from: bytes)
                    return bytes.count
                }
            case .clone where playsWaker:
                waker = UnsafeMutablePointer(bitPattern: arguments.2)
                waker?.pointee.identity = 4242
                return 4242
            case .futex where playsWaker && arguments.1 == 1:
                wakes += 1
                return 1
            case .killThread where playsWaker:
                waker?.pointee.identity = 0
                return 0
            default: return nil
            }
        }
    }

    private func with(
        _ kernel: Kernel, _ era: GuestABI.Era = .era1, _ body: (KernelDevice) throws -> Void
    ) throws {
        try SystemCall.hooked({ kernel.answer($0) }) {
            let memory = try GuestMemory(count: 4096)
            let device = try KernelDevice(memory: memory, abi: GuestABI(era: era))
            try body(device)
            device.close()
        }
    }

    @Test("requests are written as words, answers come back")
    func requests() throws {
        let kernel = Kernel()
        kernel.answers = [20, 0x70064, 0, 0]
        try with(kernel) { device throws in
            let count = try device.initialize(
                .init(pageLimit: 1, pageDirectory: 2, start: 3, pageOffset: 4))
            #expect(count == 20)
            #expect(try device.dmaBuffer(0x40) == 0x70064)
            try device.interrupt(3)
            try device.breakOut(false)
        }
        #expect(kernel.writes.count == 4)
        #expect(kernel.writes[0].count == 6)
        #expect(Array(kernel.writes[0][2...]) == [1, 2, 3, 4])
        #expect(Array(kernel.writes[1...]) == [[1, 0x40], [2, 3], [3, 0]])
        #expect(kernel.closed == 1)
    }

    @Test("eight bytes are a record as long as the guest lives, and text after ENOENT")
    func records() throws {
        let kernel = Kernel()
        kernel.reads = [
            .success([0x78, 0x56, 0x34, 0x12, 4, 0, 0, 0]), .failure(.noSuchFile),
            .success(Array("CRASH: \0".utf8)), .success(Array("CRASH: \0".utf8)),
        ]
        try with(kernel) { device throws in
            #expect(try device.run() == .dma(DMANotification(0x1234_5678, 4)))
            #expect(throws: Errno.noSuchFile) { try device.run() }
            #expect(try device.run() == .reason("CRASH: "))
            #expect(try device.run() == .reason("CRASH: "))
        }
    }

    @Test(
        "from 2.6.24 on a record is one address, which the guest notified",
        arguments: [.era2, .era3a, .era3b, .era3c, .era4a, .era4b, .era4c, .era4d]
            as [GuestABI.Era])
    func notifications(_ era: GuestABI.Era) throws {
        let kernel = Kernel()
        kernel.reads = [
            .success([0, 0x10, 0, 4]), .failure(.restart), .failure(.noSuchFile),
            .success(Array("CRA\0".utf8)),
        ]
        try with(kernel, era) { device throws in
            #expect(try device.run() == .dma(DMANotification(0, 0x0400_1000)))
            #expect(throws: Errno.restart) { try device.run() }
            #expect(throws: Errno.noSuchFile) { try device.run() }
            #expect(try device.run() == .reason("CRA"))
        }
    }

    @Test(
        "what is ready while the guest does not run needs no read of the device: the launcher looks, or the waker if the launcher may have served it",
        arguments: [.era3a, .era4b] as [GuestABI.Era])
    func looksBefore(_ era: GuestABI.Era) throws {
        let kernel = Kernel()
        kernel.playsWaker = true
        let record: [UInt8] = [0, 0x10, 0, 4]
        kernel.reads = [
            .success(record), .success(record), .failure(.interrupted), .success(record),
        ]
        try with(kernel, era) { device throws in
            let notified = RunResult.dma(DMANotification(0, 0x0400_1000))
            _ = try device.initialize(
                .init(pageLimit: 1, pageDirectory: 2, start: 3, pageOffset: 4))
            let waker = try #require(kernel.waker)
            waker.pointee.waits = 1
            #expect(throws: Errno.interrupted) { try device.run() }
            #expect(kernel.reads.count == 4 && kernel.wakes == 0 && waker.pointee.runs == 0)
            // The launcher has looked.
            #expect(try device.run() == notified)
            #expect(kernel.wakes == 1 && waker.pointee.waits == 0 && waker.pointee.runs == 0)
            waker.pointee.waits = 1
            try device.interrupt(3)
            #expect(try device.run() == notified)
            #expect(kernel.wakes == 2 && waker.pointee.waits == 0)
            // What was interrupted before the guest ran says nothing of what is ready since.
            waker.pointee.waits = 1
            #expect(throws: Errno.interrupted) { try device.run() }
            waker.pointee.waits = 0
            #expect(throws: Errno.interrupted) { try device.run() }
            #expect(kernel.reads.count == 1 && kernel.wakes == 2)
        }
    }

    // MARK: Ports, which the device of 4.0 leaves to its launcher

    private final class Ports: GuestPorts {
        var written: [(PortAccess, UInt32)] = []
        var isDue = false
        func read(_ access: PortAccess) -> UInt32 { 0x8765_4321 }
        func write(_ access: PortAccess, _ value: UInt32) {
            written.append((access, value))
            isDue = wantsLauncher
        }
        var wantsLauncher = true
    }

    private static func little(_ value: UInt32) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * UInt32($0))) }
    }

    /// A trap's record, and what the device then says of the registers that are asked for.
    private static func trap(
        _ vector: UInt8, _ code: [UInt8], _ registers: UInt32...
    ) -> [Result<[UInt8], Errno>] {
        let record = [vector] + (code + [0, 0, 0, 0, 0, 0, 0]).prefix(7) + [0, 0, 0, 0]
        return [.success(record)] + values(registers)
    }

    private static func values(_ registers: [UInt32]) -> [Result<[UInt8], Errno>] {
        registers.map { .success(little($0)) }
    }
    private static let interrupted: [Result<[UInt8], Errno>] = [.failure(.interrupted)]

    @Test("an output is carried out, in its width, and the guest goes on behind it")
    func outputs() throws {
        let forms: [(code: [UInt8], length: UInt32, port: UInt16, size: UInt8, value: UInt32)] = [
            ([0xE6, 0x70], 2, 0x70, 1, 0x78), ([0xE7, 0x70], 2, 0x70, 4, 0x1234_5678),
            ([0x66, 0xE7, 0x70], 3, 0x70, 2, 0x5678), ([0xEE], 1, 0x1038, 1, 0x78),
            ([0xEF], 1, 0x1038, 4, 0x1234_5678), ([0x66, 0xEF], 2, 0x1038, 2, 0x5678),
        ]
        for form in forms {
            let kernel = Kernel()
            let ports = Ports()
            let hasNumber = form.code.contains(0x70)
            kernel.reads =
                Self.trap(13, form.code, 0xC000_1000, 0x61)
                + (hasNumber ? [] : [.success(Self.little(0xFFFF_1038))])
                + [.success(Self.little(0x1234_5678))]
            try with(kernel, .era5) { device throws in
                device.connect(ports)
                // The launcher is to look what that came to.
                #expect(throws: Errno.again) { try device.run() }
            }
            #expect(kernel.reads.isEmpty)
            #expect(ports.written.count == 1)
            #expect(ports.written.first?.0 == PortAccess(port: form.port, size: form.size))
            #expect(ports.written.first?.1 == form.value)
            #expect(kernel.writes.last == [6, 48, 0xC000_1000 + form.length])
            #expect(kernel.writes.first == [5, 48])
        }
    }

    @Test("an input changes as much of eax as it has bytes, and the guest goes on at once")
    func inputs() throws {
        let forms: [(code: [UInt8], eax: UInt32)] = [
            ([0xEC], 0x1234_5621), ([0x66, 0xED], 0x1234_4321), ([0xED], 0x8765_4321),
        ]
        for form in forms {
            let kernel = Kernel()
            // All of it is changed: nobody asks what it was.
            let before = Self.values(form.code == [0xED] ? [] : [0x1234_5678])
            kernel.reads = Self.trap(13, form.code, 0xC000_1000, 0x61, 0x71) + before
            kernel.reads += Self.interrupted
            try with(kernel, .era5) { device throws in
                device.connect(Ports())
                #expect(throws: Errno.interrupted) { try device.run() }
            }
            #expect(kernel.reads.isEmpty)
            #expect(kernel.writes.contains([6, 24, form.eax]))
            #expect(
                kernel.writes.last
                    == [6, 48, 0xC000_1000 + UInt32(form.code.count)])
        }
    }

    @Test(
        "where no program can run, cs is not asked for: an output takes eight calls of the device's, an input of a word seven"
    )
    func calls() throws {
        let forms: [(code: [UInt8], registers: [UInt32], calls: Int)] = [
            ([0xEF], [0x71, 0x1234_5678], 8), ([0xED], [0x71], 7),
            ([0xE6, 0x70], [0x1234_5678], 6), ([0xFA], [], 4),
        ]
        for eip in [0xC000_0000, 0xC123_4567, 0xC1FF_FFFF, 0xBFFF_FFFF, 0xC200_0000, 0x10_0000]
            as [UInt32]
        {
            for form in forms {
                let isInside = eip >= 0xC000_0000 && eip < 0xC200_0000
                let kernel = Kernel()
                let asked = isInside ? [] : [0x61 as UInt32]
                kernel.reads = Self.trap(13, form.code, eip)
                kernel.reads += Self.values(asked + form.registers) + Self.interrupted
                try with(kernel, .era5) { device throws in
                    _ = try device.initialize(
                        .init(
                            pageLimit: 0x2000, pageDirectory: 0, start: 0, pageOffset: 0xC000_0000))
                    let ports = Ports()
                    ports.wantsLauncher = false
                    device.connect(ports)
                    kernel.writes = []
                    #expect(throws: Errno.interrupted) { try device.run() }
                }
                #expect(kernel.reads.isEmpty)
                // The record, and a write and a read for each register that is asked for.
                let reads = 2 + asked.count + form.registers.count
                #expect(reads + kernel.writes.count == form.calls + (isInside ? 0 : 2))
                #expect(kernel.writes.last?.prefix(2) == [6, 48])
            }
        }
    }

    @Test("no size of memory and no address of a kernel's traps")
    func odd() throws {
        for (limit, offset) in [
            (UInt32.max, UInt32.max), (.max, 0), (0, .max), (0x4_0000, 0xC000_0000),
        ] {
            for eip in [0, 0xBFFF_FFFF, 0xC000_0000, UInt32.max] {
                let kernel = Kernel()
                kernel.reads = Self.trap(13, [0xFA], eip) + Self.values([0x61])
                kernel.reads += Self.interrupted + Self.interrupted
                try with(kernel, .era5) { device throws in
                    _ = try device.initialize(
                        .init(pageLimit: limit, pageDirectory: 0, start: 0, pageOffset: offset))
                    _ = try? device.run()
                }
            }
        }
    }

    @Test(
        "CLI is left out; what is none of these, and what a program does, is the guest's to handle")
    func otherTraps() throws {
        let cases: [(vector: UInt8, code: [UInt8], cs: UInt32, write: [UInt32])] = [
            (13, [0xFA], 0x61, [6, 48, 0xC000_1001]), (13, [0xFA], 0x73, [7, 13]),
            (13, [0xEF], 0x73, [7, 13]), (13, [0x0F, 0x30], 0x61, [7, 13]),
            (13, [0x66, 0x66], 0x61, [7, 13]), (14, [0x89, 0x08], 0x61, [7, 14]),
        ]
        for (vector, code, cs, write) in cases {
            let kernel = Kernel()
            // Whose it was matters only for what is done here.
            let isOurs = vector == 13 && (code == [0xFA] || code == [0xEF])
            kernel.reads = Self.trap(vector, code, 0xC000_1000)
            kernel.reads += Self.values(isOurs ? [cs] : []) + Self.interrupted
            try with(kernel, .era5) { device throws in
                #expect(throws: Errno.interrupted) { try device.run() }
            }
            #expect(kernel.reads.isEmpty && kernel.writes.last == write)
        }
    }

    @Test("a guest without a handler dies of its trap")
    func withoutHandler() throws {
        let kernel = Kernel()
        kernel.reads = Self.trap(13, [0x0F, 0x30], 0xC000_1000)
        kernel.answers = [8, -22]
        try with(kernel, .era5) { device throws in
            #expect(try device.run() == .reason("unhandled trap 13 at 0xc0001000 (0x0)"))
        }
    }

    @Test("a reason that comes without ENOENT is known by its length")
    func reasonAtOnce() throws {
        let kernel = Kernel()
        kernel.reads = [.success(Array("bad registered DMA buffer\0".utf8))]
        try with(kernel) { device throws in
            #expect(try device.run() == .reason("bad registered DMA buffer"))
        }
    }

    @Test("every errno of the device comes through", arguments: [1, 4, 11, 14, 16, 22, 28])
    func errnos(_ number: Int32) throws {
        let kernel = Kernel()
        let errno = Errno(rawValue: number)
        kernel.answers = [-Int(number), -Int(number)]
        kernel.reads = [.failure(errno)]
        try with(kernel) { device throws in
            #expect(throws: errno) { try device.interrupt(0) }
            #expect(throws: errno) { try device.breakOut(true) }
            #expect(throws: errno) { try device.run() }
        }
    }

    @Test("a missing device is a clear errno, and nothing works after close")
    func missing() throws {
        let kernel = Kernel()
        kernel.opening = -2
        #expect(throws: Errno.noSuchFile) { try with(kernel) { _ in } }
        kernel.opening = Kernel.number
        try with(kernel) { device throws in
            device.close()
            #expect(throws: Errno.badDescriptor) { try device.run() }
            #expect(throws: Errno.badDescriptor) { try device.interrupt(1) }
        }
    }
}
