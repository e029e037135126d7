// The launcher on a device that follows a script, at a pretended terminal.

import Synchronization
import Testing

@testable import Mini

@Suite struct LauncherTests {
    @Test("the guest finds its console in the device page, and INITIALIZE says where all is")
    func initialize() throws {
        let played = try playLaunch([[]])
        #expect(played.outcome == .poweredOff)
        let request = try #require(played.device.request)
        #expect(request.pageLimit == 1025)
        #expect(request.pageOffset == 0xC000_0000)
        #expect(request.pageDirectory == 0x40_0000 - 0x1000)
        #expect(request.start == 0xC010_0000 + UInt32(KernelSpec().entryOffset))
        #expect(played.device.memory.load32(0x40_0000) == 1)
        #expect(played.device.memory.load32(0x228) == 0x1000)
        #expect(played.device.isClosed)
    }

    @Test("what a host says of a defect of its own ends the launch with code 1")
    func defect() throws {
        let played = try playLaunch([[.send("Linux\n"), .defect("stopped")]])
        #expect(played.outcome == .failed(.defect(state: "stopped")))
        #expect(LauncherError.defect(state: "stopped").exitCode == 1)
        #expect(string(played.terminal.output) == "Linux\n" && played.device.isClosed)
    }

    @Test("each DMA record is one write, at once, and its length is given back")
    func output() throws {
        var lengths: [UInt32?] = []
        let played = try playLaunch([
            [
                .send("Linux version\n"), .look { lengths.append($0.memory.load32(0x8000)) },
                .send("#"), .look { lengths.append($0.memory.load32(0x8000)) },
            ]
        ])
        #expect(string(played.terminal.output) == "Linux version\n#")
        #expect(played.terminal.writes == [14, 1])
        #expect(lengths == [14, 1])
    }

    @Test("output that takes several writes arrives whole")
    func partialWrites() throws {
        let text = String(repeating: "0123456789", count: 100)
        let played = try playLaunch([[.send(text)]], on: FakeTerminal { $0.outputRoom = 7 })
        #expect(string(played.terminal.output) == text)
    }

    @Test("a record that points outside guest memory is refused, does no harm, and is told once")
    func hostileOutput() throws {
        let played = try playLaunch([
            [
                .sections([(0xFFFF_0000, 16)]), .record(0xFFFF_FFF0), .sections([(0x50_0000, 1)]),
                .send("x", key: 0x1234), .send("still here"),
            ]
        ])
        #expect(played.outcome == .poweredOff)
        #expect(string(played.terminal.output) == "still here")
        #expect(
            played.reports.filter { $0.hasPrefix("the guest sent") } == [
                "the guest sent a DMA record that points outside its memory"
            ])
    }

    @Test("a death is told with its reason, a power-off by its text")
    func reasons() throws {
        let died = try playLaunch([[.fail(.noSuchFile), .reason("bad stack segment 24")]])
        #expect(died.outcome == .died("bad stack segment 24"))
        #expect(try playLaunch([[.reason("CRASH: Power down")]]).outcome == .poweredOff)
        #expect(
            try playLaunch([[.reason("CRASH: Power downer")]]).outcome
                == .died("CRASH: Power downer"))
    }

    @Test("a restart begins again with fresh memory and the image")
    func restart() throws {
        let first: [ScriptedDevice.Step] = [
            .send("one"), .look { $0.memory.store32(0x20_0000, 0xDEAD) }, .fail(.restart),
        ]
        let played = try playLaunch([first, [.send("two")]])
        #expect(played.outcome == .poweredOff)
        #expect(played.devices.count == 2)
        #expect(played.devices[0].isClosed)
        #expect(played.devices[1].memory !== played.devices[0].memory)
        #expect(played.devices[1].memory.load32(0x20_0000) == 0)
        #expect(string(played.terminal.output) == "onetwo")
        #expect(played.terminal.terminal == FakeTerminal.cooked)
        // The sandbox lets no such call through.
        let advice = played.terminal.calls.filter {
            $0 == SystemCall.Number.memoryAdvice.rawValue
        }
        #expect(advice.count == 1)
    }

    @Test("without restarts a reboot is the end")
    func noRestart() throws {
        #expect(try playLaunch([[.fail(.restart)]], restarts: false).outcome == .restart)
    }

    @Test("a device that answers for another era is not used")
    func otherDevice() throws {
        let played = try playLaunch([[]]) { $0.answer = 16 }
        #expect(played.outcome == .failed(.otherDevice(era: .era1)))
    }

    @Test("an errno of the host that belongs to nothing ends the launch, with no word of a device")
    func deviceFailure() throws {
        let played = try playLaunch([[.fail(.badAddress)]])
        #expect(played.outcome == .failed(.system("run the guest", .badAddress)))
    }
}
