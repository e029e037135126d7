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
    case .givenUp: "given up"
    case .heard: "heard"
    }
}

private let start = Nanoseconds.milliseconds(1000)

/// A machine in each state that can be reached, with what is in the state.
private func reachable() -> Walk<PeerLink> {
    let events = PeerLink.Event.allCases.map { (name: eventName($0), event: $0) }
    return Walk(
        from: [PeerLink()], events, name: { "\($0.stateName)" }, key: { "\($0)" }
    ) { machine, event in
        // A frame comes at once, and when nobody rests any more.
        let moments = event == .frame ? [start, start + PeerLink.pause] : [start]
        return moments.compactMap { moment in
            var next = machine
            return next.handle(event, at: moment) == nil ? nil : next
        }
    }
}

/// A second lies between each two.
private func run(_ events: [PeerLink.Event]) -> [PeerLink.Action?] {
    var link = PeerLink()
    var now = start
    return events.map { event in
        now = now + .milliseconds(1000)
        let moment = now
        return link.handle(event, at: moment)
    }
}

/// One that a frame has found nobody by.
private func resting() -> PeerLink {
    var link = PeerLink()
    for event in [.frame, .refused] as [PeerLink.Event] { _ = link.handle(event, at: start) }
    return link
}

@Suite struct PeerLinkTests {
    @Test("the page shows the transitions that the machine takes, and no others")
    func page() throws {
        #expect(try transitionsOfPage("peer-link-machine.md") == reachable().transitions)
    }

    @Test("an event that does not belong to a state changes nothing")
    func strangers() {
        let machines = reachable().machines
        #expect(machines.count == 11)
        for machine in machines.values {
            for event in PeerLink.Event.allCases {
                var next = machine
                if next.handle(event, at: start) == nil { #expect("\(next)" == "\(machine)") }
            }
        }
    }

    @Test("a frame ends every way: it arrives, or it is lost; none is forgotten")
    func ends() {
        // From each state, whatever happens, a frame is finished after a few events.
        for machine in reachable().machines.values {
            var link = machine
            var action = link.handle(.frame, at: start)
            var steps = 0
            while let step = action {
                steps += 1
                switch step {
                case .connect: action = link.handle(.connected, at: start)
                case .send: action = link.handle(.gone, at: start)
                case .waitForRoom: action = link.handle(.room, at: start)
                case .finish, .skip, .forget: action = nil
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

    @Test("where nobody was found, frames are skipped for 50 milliseconds from then on")
    func rest() {
        var link = resting()
        #expect("\(link.stateName)" == "resting")
        let end = start + .milliseconds(50)
        for moment in [start, Nanoseconds(count: end.count - 1)] {
            let action = link.handle(.frame, at: moment)
            #expect(action == .skip)
        }
        let action = link.handle(.frame, at: end)
        #expect(action == .connect)
    }

    @Test("a receiver whose queue of connections is full is looked for again with the next frame")
    func crowd() {
        #expect(
            run([.frame, .full, .frame, .connected, .sent]) == [
                .connect, .finish(delivered: false), .connect, .send, .finish(delivered: true),
            ])
    }

    @Test("whoever is heard is looked for at once; whom nobody looked for does not rest")
    func heard() {
        var link = resting()
        let heard = link.handle(.heard, at: start)
        let next = link.handle(.frame, at: start)
        #expect(heard == .forget && next == .connect)
        // The connection is older than the frame, which has waited: the next one looks anew, at once.
        #expect(
            run([.frame, .connected, .full, .timeOut, .frame, .gone]).last
                == .finish(delivered: false))
        var clogged = PeerLink()
        for event in [.frame, .connected, .full, .timeOut, .frame, .gone] as [PeerLink.Event] {
            _ = clogged.handle(event, at: start)
        }
        #expect("\(clogged.stateName)" == "apart")
    }

    @Test("the clock is read where a rest begins or is asked for, and nowhere else")
    func clock() {
        var reads = 0
        func now() -> Nanoseconds {
            reads += 1
            return start
        }
        var link = PeerLink()
        for event in [.frame, .connected, .sent, .frame, .sent, .heard] as [PeerLink.Event] {
            _ = link.handle(event, at: now())
        }
        #expect(reads == 0)
        for event in [.frame, .gone, .refused, .frame] as [PeerLink.Event] {
            _ = link.handle(event, at: now())
        }
        #expect(reads == 2 && "\(link.stateName)" == "resting")
    }

    @Test("a frame that its guest's death ends leaves the connection as it was")
    func givenUp() {
        #expect(
            run([.frame, .connected, .givenUp, .frame, .sent]) == [
                .connect, .send, .finish(delivered: false), .send, .finish(delivered: true),
            ])
        #expect(
            run([.frame, .connected, .full, .room, .givenUp, .frame]) == [
                .connect, .send, .waitForRoom, .send, .finish(delivered: false), .send,
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
