// The client of a kernel's /dev/lguest against a kernel that the test plays, and the contract.

import Testing

@testable import Mini

@Suite struct ContractTests {
    private let request = InitializeRequest(
        pageLimit: 0x2001, pageDirectory: 0x1FF_F000, start: 0xC029_90CC, pageOffset: 0xC000_0000)

    @Test("INITIALIZE has the words of its era")
    func words() {
        func words(_ era: GuestABI.Era) -> [UInt32] {
            request.words(GuestABI(era: era), base: 0x2000_0000)
        }
        let common: [UInt32] = [0x2001, 0x1FF_F000, 0xC029_90CC]
        #expect(words(.era0) == [0] + common + [0xC000_0000])
        #expect(words(.era0b) == [0] + common + [0xC000_0000])
        for era in [GuestABI.Era.era1a, .era1, .era1b] {
            #expect(words(era) == [0, 0x2000_0000] + common + [0xC000_0000])
        }
        #expect(words(.era1c) == [0, 0x2000_0000] + common)
    }

    /// Written against the contract alone, as the launcher is.
    private func lastWords<Device: LguestDevice>(_ device: Device) -> RunResult? {
        do throws(Errno) {
            _ = try device.run()
            return nil
        } catch {
            return error == .noSuchFile ? try? device.run() : nil
        }
    }

    @Test("the built-in host speaks the contract")
    func builtIn() throws {
        let memory = try GuestMemory(count: 0x10_0000)
        let device = try Host(memory: memory, abi: GuestABI(era: .era1))
        #expect(throws: Errno.invalid) { try device.run() }
        let count = try device.initialize(
            .init(pageLimit: 256, pageDirectory: 0, start: 0, pageOffset: 0xC000_0000))
        #expect(count == 20)
        try device.interrupt(3)
        #expect(throws: Errno.noSuchFile) { try device.dmaBuffer(0) }
        try device.breakOut(true)
        #expect(throws: Errno.again) { try device.run() }
        try device.breakOut(false)
        #expect(lastWords(device) == .reason("unhandled trap 14 at 0x0 (0x0)"))
        device.close()
        #expect(throws: Errno.badDescriptor) { try device.run() }
    }
}

@Suite struct KernelDeviceTests {
    /// A kernel with a device: answers reads and writes from a script.
    private final class Kernel: @unchecked Sendable {
        var writes: [[UInt32]] = []
        /// Results of the writes, in order; then 0.
        var answers: [Int] = []
        /// What each read gives: a record or text, or an errno.
        var reads: [Result<[UInt8], Errno>] = []
        var closed = 0
        var opening = 40

        func answer(_ call: SystemCall) -> Int? {
            let arguments = call.arguments
            switch call.number {
            case .open: return opening
            case .close where arguments.0 == 40:
                closed += 1
                return 0
            case .write where arguments.0 == 40:
                let words = UnsafeRawBufferPointer(
                    start: UnsafeRawPointer(bitPattern: arguments.1), count: arguments.2)
                writes.append(
                    stride(from: 0, to: arguments.2, by: 4).map {
                        words.load(fromByteOffset: $0, as: UInt32.self)
                    })
                return answers.isEmpty ? 0 : answers.removeFirst()
            case .read where arguments.0 == 40:
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
            default: return nil
            }
        }
    }

    private func with(_ kernel: Kernel, _ body: (KernelDevice) throws -> Void) throws {
        try SystemCall.hooked({ kernel.answer($0) }) {
            let memory = try GuestMemory(count: 4096)
            let device = try KernelDevice(memory: memory, abi: GuestABI(era: .era1))
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
        kernel.opening = 40
        try with(kernel) { device throws in
            device.close()
            #expect(throws: Errno.badDescriptor) { try device.run() }
            #expect(throws: Errno.badDescriptor) { try device.interrupt(1) }
        }
    }
}
