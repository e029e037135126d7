import Testing

@testable import Mini

/// A guest that is looked at, milliseconds after its start.
private struct Watched {
    var hearing = KeyHearing()
    private func at(_ time: UInt64, _ spent: UInt64) -> CPUSample {
        CPUSample(time: .milliseconds(time), spent: .milliseconds(spent))
    }
    mutating func hear(_ time: UInt64, spent: UInt64) { hearing.hear(at(time, spent)) }
    mutating func look(_ time: UInt64, spent: UInt64, isIdle: Bool = true) -> Bool {
        hearing.look(at(time, spent), isIdle: isIdle)
        return hearing.isHearing
    }
}

@Suite struct KeyHearingTests {
    @Test("a guest that says nothing for a second and rests in it hears its keys, for good")
    func rests() {
        var watched = Watched()
        watched.hear(5000, spent: 900)
        var isHearing = watched.look(6000, spent: 950)
        #expect(!isHearing)
        isHearing = watched.look(6001, spent: 999)
        #expect(isHearing)
        watched.hear(6002, spent: 2000)
        isHearing = watched.look(6003, spent: 3000, isIdle: false)
        #expect(isHearing)
    }

    @Test("one that computes, or says something, is given another second")
    func works() {
        var watched = Watched()
        watched.hear(5000, spent: 900)
        var isHearing = watched.look(6001, spent: 1000)
        #expect(!isHearing)
        isHearing = watched.look(7001, spent: 1001)
        #expect(!isHearing)
        watched.hear(7500, spent: 1002)
        isHearing = watched.look(8002, spent: 1003)
        #expect(!isHearing)
        isHearing = watched.look(8501, spent: 1004, isIdle: false)
        #expect(!isHearing)
        isHearing = watched.look(9502, spent: 1005)
        #expect(isHearing)
    }

    @Test("one that runs a program hears them at once")
    func program() {
        var hearing = KeyHearing()
        hearing.run()
        #expect(hearing.isHearing)
    }

    @Test("its page shows the transitions that it takes")
    func page() throws {
        let walk = Walk(
            from: [KeyHearing()],
            [("a program runs", 0), ("it rests for a second", 1), ("it says something", 2)],
            name: { "\($0.stateName)" },
            step: { (hearing: KeyHearing, event: Int) in
                var next = hearing
                let now = CPUSample(time: .milliseconds(5000), spent: .milliseconds(10))
                switch event {
                case 0: next.run()
                case 1: next.look(now, isIdle: true)
                default: next.hear(now)
                }
                return next.stateName.description == hearing.stateName.description ? [] : [next]
            })
        #expect(try transitionsOfPage("key-hearing-machine.md") == walk.transitions)
    }
}
