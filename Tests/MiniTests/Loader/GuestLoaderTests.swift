import Testing

@testable import Mini

extension GuestLoader {
    /// Into memory of its own, which is given back if that fails.
    static func load(
        _ kernel: borrowing KernelImage, mebibytes: UInt32, initrd: NamedFile? = nil,
        commandLine: CommandLine
    ) throws(LoaderError) -> LoadedGuest {
        try load(
            kernel, into: try GuestLayout.makeMemory(mebibytes: mebibytes),
            mebibytes: mebibytes, initrd: initrd, commandLine: commandLine)
    }
}

@Suite struct GuestLoaderTests {
    private static func load(
        initrd: [UInt8]? = nil, mebibytes: UInt32 = 4
    ) throws -> LoadedGuest {
        let file = try memoryFile(ElfSpec.kernel())
        let image = try KernelImage.examine(file.number, name: "kernel")
        let commandLine = try CommandLine(["a", "b"])
        guard let initrd else {
            return try GuestLoader.load(image, mebibytes: mebibytes, commandLine: commandLine)
        }
        let second = try memoryFile(initrd)
        return try GuestLoader.load(
            image, mebibytes: mebibytes,
            initrd: NamedFile(name: "initrd", descriptor: second.number),
            commandLine: commandLine)
    }

    @Test("kernel, initrd, tables, parameters and command line are all in memory")
    func whole() throws {
        let initrd = (0..<5000).map { UInt8(truncatingIfNeeded: $0 * 3) }
        let guest = try Self.load(initrd: initrd)
        let layout = guest.layout
        #expect(bytes(of: guest.memory, 0x10_0000, 0x3000) == KernelSpec().bytes())
        #expect(bytes(of: guest.memory, layout.initrd, 5000) == initrd)
        #expect(bytes(of: guest.memory, layout.initrd + 5000, 3192).allSatisfy { $0 == 0 })
        #expect(guest.memory.load32(0x21C) == 0x2000)
        #expect(bytes(of: guest.memory, 0x1000, 4) == Array("a b\0".utf8))
        #expect(guest.memory.load32(layout.pageDirectory + 4 * 768) == layout.pageTables | 7)
        #expect(guest.memory.count == 5 << 20)
    }

    @Test("an initrd that is empty, a directory or too large is refused by name")
    func initrds() throws {
        #expect(throws: LoaderError.initrdEmpty(name: "initrd")) { try Self.load(initrd: []) }
        #expect(throws: LoaderError.self) {
            try Self.load(initrd: [UInt8](repeating: 1, count: 3 << 20))
        }
        let file = try memoryFile(ElfSpec.kernel())
        let image = try KernelImage.examine(file.number, name: "kernel")
        let directory = try Descriptor.open("/", .readOnly)
        #expect(throws: LoaderError.initrdNotAFile(name: "/", .directory)) {
            _ = try GuestLoader.load(
                image, mebibytes: 4, initrd: NamedFile(name: "/", descriptor: directory.number),
                commandLine: try CommandLine([]))
        }
    }

    @Test(
        "more memory than a guest of lguest can have is refused once the kernel is known to be one")
    func tooMuch() throws {
        func load(_ change: (inout KernelSpec) -> Void) throws {
            var spec = KernelSpec()
            change(&spec)
            let file = try memoryFile(ElfSpec.kernel(spec))
            let image = try KernelImage.examine(file.number, name: "kernel")
            let memory = try GuestLayout.makeMemory(mebibytes: GuestLayout.possible(3000))
            _ = try GuestLoader.load(
                image, into: memory, mebibytes: 3000, commandLine: try CommandLine([]))
        }
        #expect(throws: LoaderError.memoryTooLarge(mebibytes: 3000, most: 2046)) {
            try load { _ in }
        }
        #expect(throws: LoaderError.image(name: "kernel", .withoutLguest(version: "6.1.0"))) {
            try load { $0.banner = "Linux version 6.1.0 (a@b)" }
        }
    }

    @Test("the failure of each system call ends it with the host's errno and leaves nothing mapped")
    func faults() throws {
        let file = try memoryFile(ElfSpec.kernel())
        let initrd = try memoryFile([1, 2, 3])
        let kernelNumber = file.number
        let initrdNumber = initrd.number
        func run() throws {
            let image = try KernelImage.examine(kernelNumber, name: "kernel")
            _ = try GuestLoader.load(
                image, mebibytes: 4, initrd: NamedFile(name: "initrd", descriptor: initrdNumber),
                commandLine: try CommandLine([]))
        }
        final class Ledger: @unchecked Sendable {
            var calls = 0
            var failing = -1
            var mapped = 0
        }
        let ledger = Ledger()
        let hook: @Sendable (SystemCall) -> Int? = { call in
            // Only what can fail; giving memory back cannot.
            if call.number == .unmap {
                ledger.mapped -= 1
                return nil
            }
            defer { ledger.calls += 1 }
            if ledger.calls == ledger.failing { return -12 }
            // A fixed mapping replaces part of another one.
            if call.number == .map && call.arguments.3 & 0x10 == 0 { ledger.mapped += 1 }
            return nil
        }
        try SystemCall.hooked(hook) { try run() }
        let total = ledger.calls
        #expect(total >= 6 && ledger.mapped == 0)
        for failing in 0..<total {
            ledger.calls = 0
            ledger.failing = failing
            do {
                try SystemCall.hooked(hook) { try run() }
                Issue.record("call \(failing) failed and nobody minded")
            } catch let error as LoaderError {
                #expect(error.exitCode == 1)
            }
            #expect(ledger.mapped == 0)
        }
    }
}
