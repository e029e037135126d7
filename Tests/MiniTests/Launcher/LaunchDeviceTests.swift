// A device that nobody but this file knows: what a new one has to bring along.

import Foundation
import Testing

@testable import Mini

/// Answers what the guest sends to its page with the word that was sent, plus one, and rings with an alarm.
private final class Echo: DeviceSetup, OpenDevice {
    private(set) var heard: [UInt32] = []
    private(set) var renewals = 0
    private(set) var isFinished = false
    private(set) var leaves = 0
    private(set) var rings = 0
    private(set) var serves = 0
    var hearsAll = true

    // What is asked for.
    var file: (name: Text, use: Text)? { nil }
    func open(
        beside others: [DeviceClaim], notice: (Text) -> Void
    ) throws(LauncherError) -> any OpenDevice { self }

    // What is open.
    var name: Text { "echo" }
    var description: Text? { "an echo" }
    var claim: DeviceClaim { DeviceClaim(use: "an echo", name: "echo") }
    func renew() throws(LauncherError) { renewals += 1 }
    func leave() { leaves += 1 }
    func finish() throws(LauncherError) { isFinished = true }
    func describe(to have: inout LaunchDescriptors) {}
    func plug(
        _ index: Int, into page: inout DevicePage, of memory: GuestMemory,
        _ layout: GuestABI.DMALayout
    ) throws(LauncherError) -> (any GuestDevice)? {
        page.add(.block, pages: 1, in: memory).map { Plugged(self, $0) }
    }

    private final class Plugged: GuestDevice {
        let echo: Echo
        let slot: DeviceSlot
        init(_ echo: Echo, _ slot: DeviceSlot) {
            self.echo = echo
            self.slot = slot
        }

        var hearsAll: Bool { echo.hearsAll }

        func notified(
            _ notification: DMANotification, by guest: RunningGuest
        ) throws(LauncherError) -> Bool {
            guard notification.key.rawValue == slot.page else { return false }
            let word = guest.memory.load32(notification.record.rawValue) ?? 0
            echo.heard.append(word)
            guest.memory.store32(notification.record.rawValue, word + 1)
            try? guest.device.interrupt(slot.line)
            try guest.loop.setAlarm(.milliseconds(1))
            return true
        }

        func serve(
            _ occasion: Occasion, for guest: RunningGuest
        ) throws(LauncherError) -> Nanoseconds? {
            echo.rings = Int(guest.loop.rings)
            echo.serves += 1
            return nil
        }
    }
}

@Suite struct LaunchDeviceTests {
    @Test(
        "a device of a new kind is a file of its own: it is plugged, notified, rung, renewed, finished"
    )
    func echo() throws {
        let echo = Echo()
        let terminal = FakeTerminal()
        // The first page behind the page of devices.
        let page: UInt32 = 0x40_1000
        let send = ScriptedDevice.Step.look { $0.memory.store32(0x9000, 41) }
        var answer: UInt32?
        let steps: [ScriptedDevice.Step] = [
            send, .notify(0x9000, key: page),
            .look {
                answer = $0.memory.load32(0x9000)
                terminal.add(signal: 14)
            }, .fail(.again), .notify(0x9000, key: page + 4), .fail(.restart),
        ]
        let played = try playLaunch([steps, []], on: terminal, with: [echo])
        #expect(played.outcome == .poweredOff)
        #expect(echo.heard == [41] && answer == 42 && echo.rings == 1)
        #expect(played.device.interrupts == [1])
        #expect(echo.renewals == 1 && echo.isFinished && echo.leaves == 2)
        #expect(played.reports.contains("an echo"))
        #expect(played.reports.contains("the guest sent to DMA key 0x401004, where no device is"))
    }

    @Test("after a notification its own device is served, and those that hear all; else every one")
    func served() throws {
        let echoes = [Echo(), Echo(), Echo()]
        echoes[0].hearsAll = false
        echoes[1].hearsAll = false
        let pages: [UInt32] = [0x40_1000, 0x40_2000, 0x40_3000]
        _ = try playLaunch(
            [[.notify(0x9000, key: pages[0]), .send("x"), .notify(0x9000, key: pages[0])]],
            with: echoes)
        // (Text for the console is nobody's here.)
        #expect(echoes.map { $0.serves } == [2, 0, 3])
        _ = try playLaunch([[.notify(0x9000, key: pages[2]), .fail(.again)]], with: echoes)
        #expect(echoes.map { $0.serves } == [3, 1, 5])
    }

    @Test("disks that can be written have one assistant, which lasts through restarts")
    func assistant() throws {
        let sectors = [UInt8](repeating: 0, count: 1024)
        let first = try memoryFile(sectors)
        let second = try memoryFile(sectors)
        let third = try memoryFile(sectors)
        func launched(_ disks: [(number: Int32, isReadOnly: Bool)]) throws -> PlayedAssistant.State
        {
            let played = PlayedAssistant()
            let setups = disks.map {
                DiskSetup(
                    DiskRequest(name: "/proc/self/fd/\($0.number)", isReadOnly: $0.isReadOnly))
            }
            let launch = try playLaunch(
                [[.fail(.restart)], []], on: FakeTerminal(device: { played.answer($0) }),
                with: setups)
            #expect(launch.outcome == .poweredOff && launch.devices.count == 2)
            // The second guest's memory is made behind the sandbox.
            let advice = SystemCall.Number.memoryAdvice.rawValue
            #expect(launch.terminal.calls.filter { $0 == advice }.count == 1)
            return played.now
        }
        let some = try launched([
            (first.number, false), (second.number, true), (third.number, false),
        ])
        #expect(some.forks == 1 && some.pipes == 2 && some.open == [])
        #expect(try launched([(first.number, true), (second.number, true)]).forks == 0)
        _ = (first.number, second.number, third.number)
    }

    @Test("a disk that can be written does without an assistant where no process can be started")
    func noAssistant() throws {
        let file = try memoryFile([UInt8](repeating: 0, count: 1024))
        let played = PlayedAssistant()
        played.change { $0.isFull = true }
        let setup = DiskSetup(
            DiskRequest(name: "/proc/self/fd/\(file.number)", isReadOnly: false))
        let launch = try playLaunch([[]], on: FakeTerminal(device: played.answer), with: [setup])
        #expect(launch.outcome == .poweredOff)
        #expect(played.now.pipes == 2 && played.now.open == [])
        // It makes the assistant's call.
        func calls(_ assistants: [Int32]) -> [SystemCall.Number] {
            let have = LaunchDescriptors(writableDisks: [7], assistants: assistants)
            return LaunchFeature.writableDisk.rules(have, process: 1).map { $0.number }
        }
        #expect(calls([]) == [.writeVector, .synchronizeData])
        #expect(calls([8, 9]) == [.writeVector, .write, .read])
        _ = file.number
    }

    @Test("what a guest has set is taken back in whatever way it ends, also where nobody waits")
    func left() throws {
        for (steps, outcome, isFinished) in [
            ([.fail(.again)], .signal(.terminate), false), ([], .poweredOff, true),
            ([.reason("oh")], .died("oh"), true),
        ] as [([ScriptedDevice.Step], LaunchOutcome, Bool)] {
            let echo = Echo()
            let terminal = FakeTerminal { if !isFinished { $0.signals = [15] } }
            let played = try playLaunch([steps], on: terminal, with: [echo])
            #expect(played.outcome == outcome)
            #expect(echo.leaves == 1 && echo.isFinished == isFinished)
        }
    }

    @Test("the launcher itself names no kind of device")
    func kinds() throws {
        // The sandbox has a row for each; errors of a network's file are taken up.
        let others = ["LaunchSandbox.swift", "LauncherError.swift"]
        let files = try FileManager.default.contentsOfDirectory(
            atPath: project("Sources/Mini/Launcher").path
        ).filter { $0.hasSuffix(".swift") && !others.contains($0) }
        #expect(files.contains("Launcher.swift") && files.contains("RunningPC.swift"))
        for file in files {
            let text = try projectText("Sources/Mini/Launcher/\(file)")
            for word in [
                "BlockDevice", "Disk(", "Tap(", "OpenDisk", "OpenTap", "NetworkFile", "NetworkLink",
                "have.disks", "have.writableDisks", "have.taps", "have.networks", "have.listeners",
            ] {
                #expect(!text.contains(word), "\(file): \(word)")
            }
        }
    }

    @Test("a device says itself what it needs behind the sandbox; two of a kind need it once")
    func needs() throws {
        let path =
            FileManager.default.temporaryDirectory.path
            + "/mini-needs-\(UInt64.random(in: 0...(.max)))"
        try Data(count: 4096).write(to: URL(filePath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        let name = Text(stringLiteral: path)
        let disk = DiskSetup(DiskRequest(name: name, isReadOnly: true))
        var have = LaunchDescriptors()
        for _ in 0..<2 { try disk.open(beside: [], notice: { _ in }).describe(to: &have) }
        #expect(Set(have.features) == [.disk] && have.disks.count == 2 && have.more == 0)
        let once = SandboxPlan([.disk], have)
        #expect(SandboxPlan(have.features, have).rules?.count == once.rules?.count)
        let network = NetworkSetup(.shared(name))
        try network.open(beside: [], notice: { _ in }).describe(to: &have)
        #expect(Set(have.features) == [.disk, .sharedNetwork])
        #expect(SandboxPlan(have.features, have).moreDescriptors == 2 * SharedPage.slots)
    }
}
