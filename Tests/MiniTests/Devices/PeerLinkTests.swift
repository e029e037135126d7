import Testing

@testable import Mini

private func eventName(_ event: PeerLink.Event) -> String {
    switch event {
    case .frame: "frame"
    case .connected: "connected"
    case .refused: "refused"
    case .sent: "sent"
    case .full: "full"
    case .gone: "gone"
    case .room: "room"
    case .timeOut: "time out"
    }
}

/// A machine in each state that can be reached, with what is in the state.
private func reachable() -> Walk<PeerLink> {
    let events = PeerLink.Event.allCases.map { (name: eventName($0), event: $0) }
    return Walk(
        from: [PeerLink()], events, name: { "\($0.stateName)" }, key: { "\($0)" }
    ) { machine, event in
        var next = machine
        return next.handle(event) == .none ? [] : [next]
    }
}

private func run(_ events: [PeerLink.Event]) -> [PeerLink.Action] {
    var link = PeerLink()
    return events.map { link.handle($0) }
}

@Suite struct PeerLinkTests {
    @Test("the page shows the transitions that the machine takes, and no others")
    func page() throws {
        #expect(try transitionsOfPage("peer-link-machine.md") == reachable().transitions)
    }

    @Test("an event that does not belong to a state changes nothing")
    func strangers() {
        let machines = reachable().machines
        #expect(machines.count == 8)
        for machine in machines.values {
            for event in PeerLink.Event.allCases {
                var next = machine
                if next.handle(event) == .none { #expect("\(next)" == "\(machine)") }
            }
        }
    }

    @Test("a frame ends every way: it arrives, or it is lost; none is forgotten")
    func ends() {
        // From each state, whatever happens, a frame is finished after a few events.
        for machine in reachable().machines.values {
            var link = machine
            var action = link.handle(.frame)
            var steps = 0
            while action != .none {
                steps += 1
                switch action {
                case .connect: action = link.handle(.connected)
                case .send: action = link.handle(.gone)
                case .waitForRoom: action = link.handle(.room)
                case .finish: action = .none
                case .none: break
                }
            }
            #expect(steps <= 5)
        }
    }

    @Test("a receiver that was restarted is found again with the same frame")
    func restarted() {
        #expect(
            run([.frame, .connected, .sent, .frame, .gone, .connected, .sent]) == [
                .connect, .send, .finish(delivered: true), .send, .connect, .send,
                .finish(delivered: true),
            ])
    }

    @Test("a receiver that refuses twice in a row loses the frame")
    func gone() {
        #expect(
            run([.frame, .connected, .gone, .frame, .refused]) == [
                .connect, .send, .finish(delivered: false), .connect, .finish(delivered: false),
            ])
    }

    @Test("a receiver that hangs is waited for once, and again after it has read")
    func hanging() {
        #expect(
            run([
                .frame, .connected, .full, .timeOut, .frame, .full, .frame, .full, .frame, .sent,
                .frame, .full, .room, .sent,
            ]) == [
                .connect, .send, .waitForRoom, .finish(delivered: false), .send,
                .finish(delivered: false), .send, .finish(delivered: false), .send,
                .finish(delivered: true), .send, .waitForRoom, .send, .finish(delivered: true),
            ])
    }
}
