import Testing

@testable import Mini

/// A guest that is looked at, milliseconds after its start.
private struct Watched {
    var delivery = KeyDelivery()
    private func at(_ time: UInt64, _ spent: UInt64) -> CPUSample {
        CPUSample(time: .milliseconds(time), spent: .milliseconds(spent))
    }
    mutating func wrote(_ time: UInt64, spent: UInt64) { delivery.wrote(at(time, spent)) }
    mutating func look(_ time: UInt64, spent: UInt64, isIdle: Bool = true) -> Bool {
        delivery.look(at(time, spent), isIdle: isIdle)
        return delivery.isDelivering
    }
}

@Suite struct KeyDeliveryTests {
    @Test("a guest that says nothing for a second and rests in it is given its keys, for good")
    func rests() {
        var watched = Watched()
        watched.wrote(5000, spent: 900)
        var isDelivering = watched.look(6000, spent: 950)
        #expect(!isDelivering)
        isDelivering = watched.look(6001, spent: 999)
        #expect(isDelivering)
        watched.wrote(6002, spent: 2000)
        isDelivering = watched.look(6003, spent: 3000, isIdle: false)
        #expect(isDelivering)
    }

    @Test("one that computes, or says something, is given another second")
    func works() {
        var watched = Watched()
        watched.wrote(5000, spent: 900)
        var isDelivering = watched.look(6001, spent: 1000)
        #expect(!isDelivering)
        isDelivering = watched.look(7001, spent: 1001)
        #expect(!isDelivering)
        watched.wrote(7500, spent: 1002)
        isDelivering = watched.look(8002, spent: 1003)
        #expect(!isDelivering)
        isDelivering = watched.look(8501, spent: 1004, isIdle: false)
        #expect(!isDelivering)
        isDelivering = watched.look(9502, spent: 1005)
        #expect(isDelivering)
    }

    @Test("one that runs a program is given them at once")
    func program() {
        var delivery = KeyDelivery()
        delivery.run()
        #expect(delivery.isDelivering)
    }

    @Test("its page shows the transitions that it takes")
    func page() throws {
        let walk = Walk(
            from: [KeyDelivery()],
            [("a program runs", 0), ("it rests for a second", 1), ("it says something", 2)],
            name: { "\($0.stateName)" },
            step: { (delivery: KeyDelivery, event: Int) in
                var next = delivery
                let now = CPUSample(time: .milliseconds(5000), spent: .milliseconds(10))
                switch event {
                case 0: next.run()
                case 1: next.look(now, isIdle: true)
                default: next.wrote(now)
                }
                return next.stateName.description == delivery.stateName.description ? [] : [next]
            })
        #expect(try transitionsOfPage("key-delivery-machine.md") == walk.transitions)
    }
}
