import Testing

@testable import Mini

@Suite struct DefaultWordsTests {
    @Test(
        "a kernel that ends without a word, for want of an instruction, has died; one that told a code has not"
    )
    func deaths() throws {
        let code: [UInt8] = [0xC4, 0xE2, 0x71, 0xF7, 0xD2, 0, 0, 0]
        func died(_ end: PC.End, isKernel: Bool = true, hasSent: Bool = false) throws -> Bool {
            let missing = try code.withUnsafeBytes { bytes in
                let start = UnsafeMutableRawPointer(mutating: bytes.baseAddress!)
                return try #require(
                    MissingInstruction(at: 0, isKernel: isKernel, start, 0))
            }
            return PCLauncher.isDeath(end, missing, hasSent: hasSent)
        }
        for end in [PC.End.poweredOff, .reset] {
            #expect(try died(end))
            #expect(try !died(end, isKernel: false) && !died(end, hasSent: true))
        }
        for end in [PC.End.exit(0), .exit(3), .failed(1)] { #expect(try !died(end)) }
    }

    @Test(
        "a panic ends the guest: at once from 3.1 on, before that after a second, as it would wait for ever",
        arguments: [
            ("2.4.3 (root@rescue-cd) #6", "panic=1"), ("2.6.32-642.el6.i686 (x) #1", "panic=1"),
            ("3.0.101 (x)", "panic=1"), ("3.1.0 (x)", "\"panic=-1\""),
            ("7.2.1-amd64 (x)", "\"panic=-1\""), ("Memtest86+ v6.10", "\"panic=-1\""),
        ] as [(Text, Text)])
    func panic(_ version: Text, _ word: Text) {
        for console in [PCConsole.serial, .virtio, .screen] {
            let words = PCLauncher.defaultWords(for: LinuxVersion(version), on: console)
            let panics = words.filter { $0.bytes.starts(with: Array("panic=".utf8)) }
            // In quotes it is the kernel's alone.
            let quoted = words.filter { $0.bytes.starts(with: Array("\"panic=".utf8)) }
            #expect(panics + quoted == [word])
            let first: [Text] =
                switch console {
                case .serial: ["console=ttyS0"]
                case .virtio: ["console=hvc0", "earlyprintk=ttyS0"]
                case .screen: ["console=tty0"]
                }
            #expect(words.starts(with: first))
        }
    }

    @Test("the manual page has the words that a kernel of today gets")
    func manualPage() throws {
        let page = try projectText("docs/mini-launch.1").replacing("\\-", with: "-")
            .replacing("\\(dq", with: "\"").replacing("\n.B ", with: " ")
        let words = PCLauncher.defaultWords(for: nil, on: .serial)
        #expect(page.contains(string(CommandLine.joined(words))))
    }

    @Test("where a kernel has no room for all words, ours go from the end, the user's never")
    func room() {
        let words: [Text] = ["console=ttyS0", "acpi=off", "reboot=t"]
        func fitting(_ arguments: [Text], _ room: Int) -> [Text] {
            PCLauncher.fitting(words, before: arguments, room: room)
        }
        #expect(fitting([], 31) == words)
        #expect(fitting([], 30) == ["console=ttyS0", "acpi=off"])
        #expect(fitting([], 13) == ["console=ttyS0"])
        #expect(fitting([], 12) == [] && fitting([], 0) == [])
        #expect(fitting(["quiet"], 37) == words)
        #expect(fitting(["quiet"], 36) == ["console=ttyS0", "acpi=off"])
        #expect(fitting(["quiet"], 18) == [])
        // They alone are too long: that is said of them.
        #expect(fitting(["quiet"], 4) == [])
        let usual = PCLauncher.defaultWords(for: nil, on: .virtio)
        for room in 0..<120 {
            let fitting = PCLauncher.fitting(usual, before: ["root=/dev/vda"], room: room)
            #expect(usual.starts(with: fitting))
        }
    }

    @Test("a kernel's version is what its header says, or behind \"Linux version\" in an ELF file")
    func version() throws {
        let packed = try ByteView.of(StockSpec(.zstd).bytes()) { try StockKernel($0) }
        #expect(packed?.version?.isAtLeast(6, 1) == true)
        let plain = try ByteView.of(VmlinuxSpec().bytes()) { try StockKernel($0) }
        #expect(plain?.version?.name == "6.1.0")
    }
}
