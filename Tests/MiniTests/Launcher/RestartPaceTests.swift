import Testing

@testable import Mini

@Suite struct RestartPaceTests {
    @Test("a guest that runs for a while begins again at once, however often")
    func healthy() {
        var pace = RestartPace()
        for _ in 0..<100 {
            #expect(pace.restart(after: .milliseconds(1500)) == Nanoseconds(count: 0))
        }
    }

    @Test("one that restarts at once waits ever longer, up to a second; running makes good for it")
    func hurried() {
        var pace = RestartPace()
        let waits = (0..<12).map { _ in pace.restart(after: .milliseconds(3)).count / 1_000_000 }
        #expect(waits == [0, 0, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000])
        #expect(pace.restart(after: .milliseconds(2000)) == Nanoseconds(count: 0))
        #expect(pace.restart(after: .milliseconds(3)) == Nanoseconds(count: 0))
    }

    @Test("restarts are told ever more seldom")
    func told() {
        var pace = RestartPace()
        var told = 0
        for _ in 0..<100_000 {
            _ = pace.restart(after: .milliseconds(3))
            if pace.isTold { told += 1 }
        }
        #expect(told == 8 + 13)
    }
}
