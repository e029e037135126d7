// Files that are networks: what they must be, and who is in which slot.

import CShim
import Foundation
import Synchronization
import Testing

@testable import Mini

private func withFile(_ bytes: [UInt8]?, _ body: (String) throws -> Void) throws {
    let path =
        FileManager.default.temporaryDirectory.path + "/mini-net-\(UInt64.random(in: 0...(.max)))"
    if let bytes { try Data(bytes).write(to: URL(filePath: path)) }
    defer { try? FileManager.default.removeItem(atPath: path) }
    try body(path)
}

private func contents(_ path: String) -> Data {
    (try? Data(contentsOf: URL(filePath: path))) ?? Data()
}

private func open(_ path: String, beside others: [DeviceClaim] = []) throws(LauncherError)
    -> NetworkFile
{
    try NetworkFile(Text(stringLiteral: path), beside: others)
}

private func line(_ path: String, beside others: [DeviceClaim] = []) -> String {
    do throws(LauncherError) {
        return "slot \(try open(path, beside: others).slot)"
    } catch { return "\(error.exitCode) " + string(error.text).replacing(path, with: "FILE") }
}

@Suite struct NetworkFileTests {
    @Test("a file that is not there is made, its owner's alone, with a page of zeros")
    func created() throws {
        try withFile(nil) { path in
            #expect(line(path) == "slot 0")
            #expect(contents(path) == Data(count: 4096))
            let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions]
            #expect(mode as? Int == 0o600)
        }
    }

    @Test("an empty file gets its page; one with a page keeps what is in it")
    func filled() throws {
        try withFile([]) { path in
            #expect(line(path) == "slot 0")
            #expect(contents(path) == Data(count: 4096))
        }
        let page = [UInt8](repeating: 7, count: 4096)
        try withFile(page) { path in
            #expect(line(path) == "slot 0")
            #expect(contents(path) == Data(page))
        }
        try withFile(page + page) { path in #expect(line(path) == "slot 0") }
    }

    @Test("what is no network file is refused, and left as it is")
    func refused() throws {
        for count in [1, 4095, 4097, 65536] {
            try withFile([UInt8](repeating: 7, count: count)) { path in
                #expect(
                    line(path)
                        == "3 network file \"FILE\" has \(count) bytes: it should be empty or have 4096"
                )
                #expect(contents(path).count == count)
            }
        }
        #expect(line("/dev/null") == "3 network file \"FILE\" is not a regular file")
        #expect(line("/tmp") == "3 network file \"FILE\" is not a regular file")
        #expect(
            line("/nowhere/net") == "1 cannot open network file \"FILE\": no such file (ENOENT)")
    }

    @Test("a guest is on a network once")
    func twice() throws {
        try withFile([]) { path in
            let first = try open(path)
            #expect(
                line(path, beside: [NetworkLink.shared(first).claim])
                    == "2 network file \"FILE\" was given twice")
            #expect(first.slot == 0)
        }
    }

    @Test("the first slot that nobody else has is taken; without one there is no network")
    func slots() throws {
        let taken = Mutex(3)
        func play(_ path: String) -> String {
            SystemCall.hooked({ call in
                guard call.number == .fileControl, call.arguments.1 == 6 else { return nil }
                let lock = UnsafePointer<mini_flock>(bitPattern: call.arguments.2)!.pointee
                #expect(lock.type == 1 && lock.length == 1 && lock.whence == 0)
                return lock.start < taken.withLock { $0 } ? -11 : 0
            }) { line(path) }
        }
        try withFile([]) { path in
            #expect(play(path) == "slot 3")
            taken.withLock { $0 = 681 }
            #expect(play(path) == "slot 681")
            taken.withLock { $0 = 682 }
            #expect(
                play(path) == "1 network file \"FILE\" has no free slot: 682 guests are on it")
        }
    }

    @Test("a slot whose address a stranger holds is passed over, and left to others")
    func held() throws {
        try withFile([]) { path in
            let identity = try FileStatus.of(
                Text(stringLiteral: path), followsLink: true
            ).identity
            let page = SharedPage(start: 0, file: identity, descriptor: -1, slot: 0)
            let stranger = try page.makeListener()
            let locks = Mutex<[String]>([])
            let result = SystemCall.hooked({ call in
                if call.number == .fileControl, call.arguments.1 == 6 {
                    let lock = UnsafePointer<mini_flock>(bitPattern: call.arguments.2)!.pointee
                    locks.withLock { $0.append("\(lock.type) \(lock.start)") }
                }
                return nil
            }) { line(path) }
            #expect(result == "slot 1" && locks.withLock { $0 } == ["1 0", "2 0", "1 1"])
            _ = stranger.number
            let none = SystemCall.hooked({
                $0.number.rawValue == SocketCall.bind.direct ? -98 : nil
            }) { line(path) }
            #expect(
                none
                    == "1 network file \"FILE\" has no free slot: other programs hold the addresses of its sockets"
            )
        }
    }

    @Test("a guest finds its slot empty, keeps it through a restart, and leaves nothing behind")
    func launch() throws {
        try withFile([UInt8](repeating: 7, count: 4096)) { path in
            let kernel = try memoryFile(ElfSpec.kernel())
            var plan = LaunchPlan()
            plan.kernel = "/proc/self/fd/\(kernel.number)"
            plan.mebibytes = 4
            plan.devices = [NetworkSetup(.shared(Text(stringLiteral: path)))]
            var seen: [[UInt32?]] = []
            let look = ScriptedDevice.Step.look { device in
                let memory = device.memory
                seen.append(
                    [0x40_0000, 0x40_0008, 0x40_1000, 0x40_1004].map { memory.load32($0) })
                // Its address, as a driver writes it.
                memory.store32(0x40_1000, 2)
            }
            var scripts: [[ScriptedDevice.Step]] = [[look, .fail(.restart)], [look]]
            let launcher = LguestLauncher(plan, LaunchSurroundings(report: nil, notice: { _ in })) {
                (memory, abi) throws(LauncherError) -> any LguestDevice in
                ScriptedDevice(memory, abi, scripts.removeFirst())
            }
            let outcome = FakeTerminal().play { launcher.run(restarts: true) }
            #expect(outcome == .poweredOff)
            let wanted: [UInt32?] = [0x4000_0002, 0x401, 0, 0x0707_0000]
            #expect(seen == [wanted, wanted])
            #expect(
                Array(contents(path)) == [UInt8](repeating: 0, count: 6)
                    + [UInt8](repeating: 7, count: 4090))
            _ = kernel.number
        }
    }

    @Test("whichever call fails, there is one line, and nothing stays open")
    func everyCallFails() throws {
        for failing in 1...8 {
            try withFile([]) { path in
                let calls = Mutex((count: 0, open: 0))
                let result = SystemCall.hooked({ call in
                    calls.withLock { calls in
                        if call.number == .close {
                            calls.open -= 1
                            return nil
                        }
                        calls.count += 1
                        if calls.count == failing { return -5 }
                        let isSocket = call.number.rawValue == SocketCall.socket.direct
                        if isSocket || call.number == .open { calls.open += 1 }
                        return nil
                    }
                }) { line(path) }
                #expect(
                    result.hasPrefix("1 cannot ") || result == "slot 0",
                    "call \(failing): \(result)")
                #expect(calls.withLock { $0.open } == 0)
            }
        }
    }
}
