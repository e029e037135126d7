// mini-launch as a whole, with a guest of a few instructions, at a pretended terminal.

import Testing

@testable import Mini

/// A kernel that prints "hello\n" and powers itself off.
func hello() -> [UInt8] {
    let spec = KernelSpec()
    var elf = ElfSpec(spec)
    let record = 0x2D00
    let text = 0x2E00
    let powerOff = 0x2E80
    let physical = { (offset: Int) in spec.origin + UInt32(offset) }
    var code = Assembler(at: spec.pageOffset + physical(spec.entryOffset + 5))
    code.call(1, spec.dataAddress)
    code.call(13, 0, physical(record))
    code.call(2, physical(powerOff))
    var bytes = elf.contents[0].bytes
    bytes.put(code.bytes, at: spec.entryOffset + 5)
    bytes.put([UInt8](repeating: 0, count: 0x300), at: 0x2D00)
    bytes.put(UInt16(6), at: record + 4)
    bytes.put(physical(text), at: record + 36)
    bytes.put("hello\n", at: text)
    bytes.put("Power down", at: powerOff)
    elf.contents[0].bytes = bytes
    return elf.bytes()
}

/// Runs mini-launch with these words and the kernel behind them.
private func launch(_ words: [Text], _ file: borrowing Descriptor, on terminal: FakeTerminal)
    -> Int32
{
    let kernel: Text = "/proc/self/fd/\(file.number)"
    return terminal.play { LaunchCommand.run((words + [kernel])[...]) }
}

@Suite struct LaunchCommandTests {
    @Test("a guest prints and powers off: code 0, nothing on standard error")
    func powerOff() throws {
        let file = try memoryFile(hello())
        let terminal = FakeTerminal()
        #expect(launch(["--memory", "4"], file, on: terminal) == 0)
        #expect(string(terminal.now.output) == "hello\n")
        #expect(terminal.now.errors.isEmpty)
    }

    @Test("a console that the guest cannot have is not dropped without a word")
    func console() throws {
        let file = try memoryFile(hello())
        for (console, line) in [
            ("serial", ""),
            (
                "screen",
                "mini-launch: --console is for a kernel of today: \"/proc/self/fd/\(file.number)\" speaks lguest, which has one of its own\n"
            ),
        ] {
            let terminal = FakeTerminal()
            let words: [Text] = ["--memory", "4", "--console", Text(stringLiteral: console)]
            #expect(launch(words, file, on: terminal) == 0)
            #expect(string(terminal.now.output) == "hello\n")
            #expect(string(terminal.now.errors) == line)
        }
    }

    @Test("--check prints what the image is, and starts nothing")
    func check() throws {
        let file = try memoryFile(hello())
        let terminal = FakeTerminal { $0.isTerminal = false }
        #expect(launch(["--check"], file, on: terminal) == 0)
        let output = string(terminal.now.output)
        for line in [
            "format       ELF vmlinux, 16384 bytes\n",
            "version      Linux version 2.6.23 (user@host) (gcc version 4.1.2) #1 Mon\n",
            "lguest era   1\n", "entry        0xc0102811\n", "page offset  0xc0000000\n",
            "segment 0    0x00100000-0x00102000 r-x 8192 bytes",
        ] {
            #expect(output.contains(line), "\(output)")
        }
        #expect(!output.contains("hello\n"))
    }

    @Test(
        "with --guest-exit no failure of ours has a code that a guest could have told",
        arguments: [
            (["--guest-exit", "--memory", "0x"], 125), (["--memory", "0x"], 2),
            (["--console", "foo", "--guest-exit"], 125), (["--console", "foo"], 2),
            (["--console", "foo", "--", "k", "--guest-exit"], 2),
            (["--guest-exit", "--timeline", "/dev/null"], 125), (["--timeline", "/dev/null"], 1),
            (["--guest-exit", "--memory", "0"], 125), (["--memory", "0"], 2),
        ] as [([Text], Int32)])
    func guestExit(words: [Text], code: Int32) throws {
        let file = try memoryFile(hello())
        let terminal = FakeTerminal()
        #expect(launch(words, file, on: terminal) == code)
        #expect(terminal.now.errors.filter { $0 == 10 }.count == 1)
        #expect(terminal.now.output.isEmpty)
    }

    @Test("--verbose tells on standard error what is done, each line with the name in front")
    func verbose() throws {
        let file = try memoryFile(hello())
        let terminal = FakeTerminal()
        #expect(launch(["--verbose", "--memory=4"], file, on: terminal) == 0)
        let lines = string(terminal.now.errors).split(separator: "\n")
        try #require(lines.count >= 4)
        #expect(lines.allSatisfy { $0.hasPrefix("mini-launch: ") })
        #expect(lines[0].hasPrefix("mini-launch: engine: the built-in host (/dev/lguest: "))
        #expect(string(terminal.now.output) == "hello\n")
    }

    @Test("whichever call fails, there is at most one line, the code fits, and nothing is left")
    func everyCallFails() throws {
        let file = try memoryFile(hello())
        let words: [Text] = ["--memory", "4", "--initrd", "/proc/self/fd/\(file.number)"]
        func terminal(failing: Int?) -> FakeTerminal {
            FakeTerminal {
                if let failing { $0.failing = (failing, .noMemory) }
            }
        }
        let whole = terminal(failing: nil)
        #expect(launch(words, file, on: whole) == 0)
        let calls = whole.now.calls
        #expect(calls.count > 40)
        #expect(whole.now.descriptors.isEmpty && whole.now.mappings.isEmpty)
        for call in 1...calls.count {
            let terminal = terminal(failing: call)
            let code = launch(words, file, on: terminal)
            let end = terminal.now
            // The clock is read more or less often: what failed is what this run asked for.
            guard call <= end.calls.count else { continue }
            let number = SystemCall.Number(rawValue: end.calls[call - 1])
            let lines = string(end.errors).split(separator: "\n")
            if code == 0 {
                #expect(lines.isEmpty && string(end.output) == "hello\n", "call \(call)")
            } else {
                #expect(code == 1, "call \(call)")
                #expect(lines.count == 1, "call \(call)")
                #expect(lines.first?.hasPrefix("mini-launch: ") == true, "call \(call)")
                #expect(lines.first?.hasSuffix(" out of memory (ENOMEM)") == true, "call \(call)")
            }
            if number != .close && number != .unmap {
                #expect(end.descriptors.isEmpty, "call \(call)")
                #expect(end.mappings.isEmpty, "call \(call)")
            }
            if number != .ioctl { #expect(end.terminal == FakeTerminal.cooked, "call \(call)") }
            if number != .signalMask { #expect(end.held == 0, "call \(call)") }
        }
    }
}
