import Testing

@testable import Mini

/// Looks at a guest every five seconds.
private func told(
    initrd: UInt32 = 0, words: [Text] = [], says: [(second: Int, text: String)] = [],
    seconds: Int = 60
) -> [String] {
    var silence = Silence(
        mebibytes: 8, kernelEnd: 4 << 20, initrd: initrd, words: words, console: "no driver")
    var lines: [String] = []
    for second in 0...seconds {
        for (when, text) in says where when == second {
            var bytes = Array(text.utf8)
            bytes.withUnsafeMutableBytes { silence.hear(UnsafeRawBufferPointer($0)) }
        }
        guard second % 5 == 0 else { continue }
        if let line = silence.look(.milliseconds(UInt64(second) * 1000 + 1)) {
            lines.append("\(second): \(string(line))")
            break
        }
    }
    return lines
}

@Suite struct SilenceTests {
    private static let start = "nothing has been heard from the guest for 10 s: "

    @Test("a guest that never says anything has no driver, or was told to be quiet")
    func never() {
        #expect(told() == ["15: \(Self.start)no driver"])
        #expect(
            told(words: ["ro", "quiet"]) == ["15: \(Self.start)its kernel was told to be quiet"])
        #expect(told(seconds: 10).isEmpty)
    }

    @Test(
        "an initrd that is large for the memory may not fit when it is unpacked, whatever was said before"
    )
    func tight() {
        let line =
            "\(Self.start)its initrd may not fit into 8 MiB of memory once it is unpacked"
        #expect(told(initrd: 1 << 20 + 1, words: ["quiet"]) == ["15: \(line)"])
        #expect(
            told(initrd: 2 << 20, says: [(3, "Linux\r\n"), (14, "unpacking\r\n")]) == [
                "30: \(line)"
            ])
        // Up to a quarter of what the kernel leaves is enough.
        #expect(told(initrd: 1 << 20) == ["15: \(Self.start)no driver"])
    }

    @Test("behind a prompt, and behind words where nothing is likely, nothing is told")
    func prompt() {
        #expect(
            told(initrd: 2 << 20, says: [(3, "Linux\r\n"), (4, "# ")]).allSatisfy {
                !$0.contains("nothing")
            })
        #expect(told(says: [(3, "Linux\r\n")]) == [])
        // A guest that speaks all the time is not silent.
        #expect(told(initrd: 2 << 20, says: (0...60).map { ($0, "x\n") }).isEmpty)
    }
}
