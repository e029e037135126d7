import Testing

@testable import Mini

/// A guest's console and the looks at it, a second apart unless told otherwise.
private struct Watched {
    var words = LastWords()
    private var time: UInt64 = 5000
    private var spent: UInt64 = 900

    mutating func says(_ text: String) { for byte in text.utf8 { words.hear(byte) } }

    /// - Parameter busy: for how long of the time it computed, both in milliseconds.
    mutating func look(after pause: UInt64 = 1000, busy: UInt64) {
        time += pause
        spent += busy
        words.look(CPUSample(time: .milliseconds(time), spent: .milliseconds(spent)))
    }
}

@Suite struct LastWordsTests {
    @Test(
        "a guest that says its last words and computes for two seconds waits for its restart",
        arguments: [
            "Restarting system.\r\n", "\nRestarting system.\n", "[   12.5] Restarting system.\n\r",
            "Restarting system with command 'now'.\n", "ResRestarting system.\n",
        ])
    func restarting(_ text: String) {
        var watched = Watched()
        watched.says("Linux version 2.6.23\r\nStarting system.\r\n")
        #expect(!watched.words.isWaiting)
        watched.says(text)
        #expect(watched.words.isNew && watched.words.isWaiting)
        for _ in 0..<2 { watched.look(busy: 1000) }
        #expect(!watched.words.isNew && watched.words.isWaiting && !watched.words.isRestarting)
        watched.look(busy: 1000)
        #expect(watched.words.isRestarting && !watched.words.isWaiting)
        // For good.
        watched.says("Linux")
        watched.words.use()
        watched.look(busy: 0)
        #expect(watched.words.isRestarting)
    }

    @Test("on a busy host it takes longer, and one that waits for somebody never gets there")
    func shares() {
        var busy = Watched()
        busy.says("Restarting system.\n")
        for _ in 0..<13 { busy.look(busy: 160) }
        #expect(!busy.words.isRestarting)
        busy.look(busy: 160)
        #expect(busy.words.isRestarting)

        var idle = Watched()
        idle.says("Restarting system.\n")
        for _ in 0..<1000 { idle.look(busy: 100) }
        #expect(!idle.words.isRestarting && idle.words.isWaiting)
        // The count begins again with every pause.
        for _ in 0..<100 {
            idle.look(busy: 1900)
            idle.look(busy: 0)
        }
        #expect(!idle.words.isRestarting)
    }

    @Test("who says more, or uses a device, lives")
    func alive() {
        for text in ["# ", "\r\nlogin: ", "Restarting syslog\n"] {
            var watched = Watched()
            watched.says("Restarting system.\r\n")
            watched.look(busy: 1000)
            watched.look(busy: 1000)
            watched.says(text)
            for _ in 0..<9 { watched.look(busy: 1000) }
            #expect(!watched.words.isRestarting && !watched.words.isWaiting)
        }
        var watched = Watched()
        watched.says("Restarting system.\r\n")
        watched.look(busy: 1000)
        watched.words.use()
        for _ in 0..<9 { watched.look(busy: 1000) }
        #expect(!watched.words.isRestarting)
        // And may say them once more.
        watched.says("Restarting system.\r\n")
        for _ in 0..<3 { watched.look(busy: 1000) }
        #expect(watched.words.isRestarting)
    }

    @Test("words that are not all there, or not the end of their line, are none")
    func others() {
        for text in [
            "Restarting syste\n", "restarting system.\n", "Restarting\nsystem.\n",
            "Restarting system", "Restarting system.",
        ] {
            var watched = Watched()
            watched.says(text)
            for _ in 0..<9 { watched.look(busy: 1000) }
            #expect(!watched.words.isRestarting, "\(text)")
        }
    }

    @Test("clocks that stand still or go backwards trap nowhere")
    func clocks() {
        var words = LastWords()
        for byte in "Restarting system.\n".utf8 { words.hear(byte) }
        for (time, spent) in [(5, 9), (5, 9), (4, 8), (.max, .max), (0, 0), (1, .max)]
            as [(UInt64, UInt64)]
        {
            words.look(
                CPUSample(time: Nanoseconds(count: time), spent: Nanoseconds(count: spent)))
        }
    }

    @Test("the page shows the transitions between states that the machine takes")
    func page() throws {
        let busy = LastWords.patience.count / 1_000_000
        let events: [(name: String, event: (inout LastWords, inout UInt64) -> Void)] = [
            (
                "its last words",
                { words, _ in for byte in "Restarting system.\n".utf8 { words.hear(byte) } }
            ),
            ("other words", { words, _ in words.hear(UInt8(ascii: "x")) }),
            ("a device", { words, _ in words.use() }),
            (
                "looked",
                { words, time in
                    words.look(
                        CPUSample(time: .milliseconds(time), spent: .milliseconds(0)))
                }
            ),
            (
                "looked, it computes for long",
                { words, time in
                    time += busy
                    words.look(
                        CPUSample(time: .milliseconds(time), spent: .milliseconds(time)))
                }
            ),
        ]
        var taken: Set<String> = []
        func walk(_ words: LastWords, _ time: UInt64, _ depth: Int) {
            guard depth > 0 else { return }
            for (name, event) in events {
                var (next, now) = (words, time)
                event(&next, &now)
                let (from, to) = ("\(words.stateName)", "\(next.stateName)")
                // The last words are other words as well, and the first look is one, however long it took.
                let isOther = name == "its last words" && from == "computing"
                let isFirst = name == "looked, it computes for long" && from == "said"
                if from != to && !isOther {
                    taken.insert("\(from) --> \(to): \(isFirst ? "looked" : name)")
                }
                walk(next, now, depth - 1)
            }
        }
        walk(LastWords(), 0, 5)
        #expect(try transitionsOfPage("last-words-machine.md") == taken)
    }
}
