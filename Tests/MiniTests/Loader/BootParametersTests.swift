import Testing

@testable import Mini

@Suite struct BootParametersTests {
    @Test("the parameters are those of the original launcher, and nothing more")
    func parameters() throws {
        let memory = try GuestLayout.makeMemory(mebibytes: 32)
        let layout = try GuestLayout(mebibytes: 32, kernel: kernelForLayout(), initrd: ("i", 5000))
        BootParameters.write(
            layout, GuestABI(era: .era1), try CommandLine(["root=/dev/lgba", "quiet"]), to: memory)
        var expected = [UInt8](repeating: 0, count: 0x2000)
        expected[0x1E8] = 1
        expected[0x210] = 0xFF
        expected.put(UInt32(0x1FF_E000), at: 0x218)
        expected.put(UInt32(0x2000), at: 0x21C)
        expected.put(UInt32(0x1000), at: 0x228)
        expected.put(UInt32(1), at: 0x23C)
        expected.put(UInt64(0x200_0000), at: 0x2D8)
        expected.put(UInt32(1), at: 0x2E0)
        expected.put("root=/dev/lgba quiet", at: 0x1000)
        #expect(bytes(of: memory, 0, 0x2000) == expected)
    }

    @Test(
        "from 2.6.24 on a kernel finds a boot protocol that has subarchitectures, and leaves its segments alone"
    )
    func withProtocol() throws {
        let memory = try GuestLayout.makeMemory(mebibytes: 32)
        let layout = try GuestLayout(mebibytes: 32, kernel: kernelForLayout(), initrd: ("i", 5000))
        BootParameters.write(layout, GuestABI(era: .era2), try CommandLine([]), to: memory)
        #expect(bytes(of: memory, 0x202, 4) == Array("HdrS".utf8))
        #expect(memory.load32(0x206).map { $0 & 0xFFFF } == 0x207)
        #expect(bytes(of: memory, 0x210, 2) == [0xFF, 0x40])
        #expect(memory.load32(0x23C) == 1)
    }

    @Test("without an initrd no loader is named")
    func noInitrd() throws {
        let memory = try GuestLayout.makeMemory(mebibytes: 32)
        let layout = try GuestLayout(mebibytes: 32, kernel: kernelForLayout())
        BootParameters.write(layout, GuestABI(era: .era1), try CommandLine([]), to: memory)
        #expect(bytes(of: memory, 0x210, 16).allSatisfy { $0 == 0 })
        #expect(memory.load32(0x1000) == 0)
    }

    @Test("a command line of 2047 bytes fits, one more is an error of use")
    func limit() throws {
        let longest = Text(bytes: [UInt8](repeating: 0x61, count: 2045))
        #expect(try CommandLine(["b", longest]).text.bytes.count == 2047)
        let error = LoaderError.commandLineTooLong(length: 2049, limit: 2048)
        #expect(throws: error) { try CommandLine(["bc", longest]) }
        #expect(error.exitCode == 2)
        #expect(error.text == "the kernel's command line is too long: 2048 bytes, at most 2047 fit")
    }
}
