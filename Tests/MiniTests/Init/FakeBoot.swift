// A kernel as process 1 finds it: files, mounts, children that end as they are told, signals and a
// clock. Nothing reaches the real kernel but memory: process 1 signals everybody and ends the machine.

import CShim
import Synchronization

@testable import Mini

/// Stands in the system calls of a task; see `SystemCall.hook`.
final class FakeBoot: Sendable {
    /// How a child behaves.
    enum Life {
        /// Ends by itself with this wait status, when everybody sleeps.
        case ends(Int32)
        case untilTerminated
        /// Only SIGKILL helps.
        case deaf
        /// Not even that.
        case immortal
        /// Lives until the script says so.
        case idle
    }

    /// What happens while everybody sleeps.
    enum Happening {
        case signal(Int32)
        /// The n-th child, from 0, ends with a status.
        case end(Int, Int32)
        /// Children of others that were left to process 1 have ended.
        case orphans(Int)
        /// Nothing, for so many seconds.
        case pause(UInt64)
    }

    struct State {
        var files: [String: String] = [:]
        /// What is on a file system of its own.
        var mounted: Set<String> = []
        /// Names that are folders for whoever asks what they are.
        var folders: Set<String> = []
        var isInitramfs = true
        /// What statfs(2) says of how file systems are mounted: ST_VALID, and restrictions.
        var mountedAs = 0x20
        var consoleNode: UInt64 = 0x501
        /// True if there is another /dev/console than the one that the kernel had opened.
        var hidesConsole = false
        /// How each child that is made behaves; those beyond end well.
        var lives: [Life] = []
        var happenings: [Happening] = []
        /// So many orphans end, the next one as soon as one is reaped; in front of which comes SIGINT.
        var crowd: (orphans: Int, signalAt: Int)?
        /// A signal that comes when so many children were made and nothing else happens.
        var signalAfter: (children: Int, signal: Int32)?
        var failing: (call: Int, errno: Errno)?
        /// There is no memory for the next child behind so many, once.
        var forkFailsBehind: Int?
        /// What mounts for writing end with.
        var writeProtection: Errno?
        var disksAnswer = true
        /// True if it can be asked what is in a folder.
        var listsFolders = false
        /// Calls that always fail.
        var refused: [Int: Errno] = [:]

        var console: [UInt8] = []
        /// What was done, in words.
        var deeds: [String] = []
        var calls: [Int] = []
        /// The symbolic links that were made.
        var links: [String] = []
        var open: [Int: (path: String, at: Int)] = [:]
        var nextDescriptor = 1_000_500
        var children: [Int: Life] = [:]
        var made: [Int] = []
        var zombies: [(id: Int, status: Int32)] = []
        var signals: [Int32] = []
        var clock: UInt64 = 1_000_000_000
        var forks: [UInt64] = []
        var sleeps = 0
        /// How many ends of pipes process 1 had whenever everybody slept.
        var ends: [Int] = []
        /// What each program would have found that was to be executed.
        var environments: [[String]] = []
        /// What process 1 wants its machine's launcher to end with.
        var exitCode: UInt8?
    }
    let state: Mutex<State>

    init(
        _ table: String = "", _ commandLine: String = "", _ change: (inout State) -> Void = { _ in }
    ) {
        var state = State()
        state.files["/etc/mini.table"] = table
        state.files["/proc/cmdline"] = commandLine + "\n"
        state.files["/proc/self/mounts"] =
            "rootfs / rootfs rw 0 0\nproc /proc proc rw 0 0\n/dev/vda /mnt\\040t ext4 rw 0 0\n"
        change(&state)
        self.state = Mutex(state)
    }

    var now: State { state.withLock { $0 } }
    var console: String { string(now.console) }

    static let firstChild = 100
    private static let signalDescriptor = 1_000_400

    /// Process 1 from its start to its end, or until it has taken very many steps.
    @discardableResult
    func boot(limit: Int = 200) -> [BootMachine.Action] {
        var actions: [BootMachine.Action] = []
        SystemCall.hooked({ self.answer($0) }) {
            let first = Init(InnerPrograms(run: { _ in nil }, complaint: { _ in nil }))
            let disksAnswer = now.disksAnswer
            first.leave = {
                InitMounts.unmountAll()
                return disksAnswer
            }
            var action = first.begin()
            while action != .sleepForever && actions.count < limit {
                actions.append(action)
                action = first.step(action)
            }
            state.withLock { $0.exitCode = first.exitCode }
        }
        return actions
    }

    /// Runs `body` on this kernel.
    func play<Value>(_ body: () -> Value) -> Value {
        SystemCall.hooked({ self.answer($0) }, body)
    }

    private func answer(_ call: SystemCall) -> Int? {
        state.withLock { state in
            state.calls.append(call.number.rawValue)
            if let failing = state.failing, failing.call == state.calls.count {
                return -Int(failing.errno.rawValue)
            }
            if let errno = state.refused[call.number.rawValue] { return -Int(errno.rawValue) }
            return Self.answer(call, &state)
        }
    }

    private static func text(_ address: Int) -> String {
        String(cString: UnsafePointer<CChar>(bitPattern: address)!)
    }

    private static func answer(_ call: SystemCall, _ state: inout State) -> Int? {
        let (first, second, third, fourth, fifth, _) = call.arguments
        switch call.number {
        // Only memory is the real kernel's.
        case .map, .unmap: return nil
        case .open: return state.openFile(text(first))
        case .close:
            state.open[first] = nil
            return 0
        case .read: return state.read(first, second, third)
        case .write: return state.write(first, second, third)
        case .seek:
            state.open[first]?.at = second
            return 0
        case .fileStatus: return state.status(first, second)
        case .fileStatusAt where state.hidesConsole && text(second) == "/dev/console":
            var status = mini_stat()
            status.mode = 0o020600
            status.special = 0x501
            status.inode = 9
            UnsafeMutableRawPointer(bitPattern: third)!.storeBytes(of: status, as: mini_stat.self)
            return 0
        case .fileStatusAt where state.folders.contains(text(second)):
            var status = mini_stat()
            status.mode = 0o040755
            UnsafeMutableRawPointer(bitPattern: third)!.storeBytes(of: status, as: mini_stat.self)
            return 0
        case .duplicate where state.hidesConsole:
            state.deeds.append("\(state.open[first]?.path ?? "?") as \(second)")
            return second
        case .fileSystemStatus:
            UnsafeMutableRawPointer(bitPattern: second)!.storeBytes(
                of: state.isInitramfs ? 0x8584_58F6 : 0xEF53, as: Int.self)
            // Behind ten words of a 64-bit struct statfs.
            UnsafeMutableRawPointer(bitPattern: second)!.storeBytes(
                of: state.mountedAs, toByteOffset: 80, as: Int.self)
            return 0
        case .mount:
            if let errno = state.writeProtection, fourth & 1 == 0 { return -Int(errno.rawValue) }
            let flags = fourth == 0 ? "" : " flags=\(fourth)"
            let data = text(fifth)
            state.deeds.append(
                "mount \(text(first)) \(text(second)) \(text(third))\(flags)"
                    + (data.isEmpty ? "" : " \(data)"))
            state.mounted.insert(text(second))
            return 0
        case .unmount:
            state.deeds.append("unmount \(text(first))")
            return 0
        case .endSwap:
            state.deeds.append("swapoff \(text(first))")
            return 0
        case .makeDirectory, .changeDirectory, .changeRoot, .synchronizeAll: return 0
        case .makeNode: return -17
        case .makeLink:
            state.links.append("\(text(second)) to \(text(first))")
            return 0
        case .loadModule:
            state.deeds.append("load \(state.open[first]?.path ?? "?") \(text(second)) \(third)")
            return 0
        case .fork: return state.fork()
        case .waitForChild: return state.reap(second)
        case .kill:
            state.kill(first, Int32(second))
            return 0
        case .execute:
            var environment: [String] = []
            var entry = third
            while let word = UnsafePointer<Int>(bitPattern: entry)?.pointee, word != 0 {
                environment.append(text(word))
                entry += MemoryLayout<Int>.size
            }
            state.environments.append(environment)
            return -2
        case .reboot:
            let command = UInt32(truncatingIfNeeded: third)
            if command != 0 { state.deeds.append("end \(String(command, radix: 16))") }
            return 0
        case .allowPorts:
            // Not granted: what would follow is an instruction and no call.
            state.deeds.append("ports \(String(first, radix: 16)) \(second)")
            return -1
        case .signalDescriptor: return signalDescriptor
        case .signalMask, .signalAction, .signalStack: return 0
        case .poll: return state.poll(first, second, third)
        case .clockTime:
            state.clock += 1000
            UnsafeMutableRawPointer(bitPattern: second)!.storeBytes(
                of: mini_timespec(
                    seconds: Int(state.clock / 1_000_000_000),
                    nanoseconds: Int(state.clock % 1_000_000_000)), as: mini_timespec.self)
            return 0
        case .ioctl: return -25
        case .pipeWithFlags:
            UnsafeMutableRawPointer(bitPattern: first)!.storeBytes(
                of: (state.openEnd(), state.openEnd()), as: (Int32, Int32).self)
            return 0
        // socketpair(2)
        case SystemCall.Number(rawValue: SocketCall.pair.direct):
            UnsafeMutableRawPointer(bitPattern: fourth)!.storeBytes(
                of: (state.openEnd(), state.openEnd()), as: (Int32, Int32).self)
            return 0
        case .memoryFile: return state.openFile("/")
        case .directoryEntries where state.listsFolders: return state.list(first, second)
        default: return -38
        }
    }
}

extension FakeBoot.State {
    fileprivate mutating func openFile(_ path: String) -> Int {
        let isThere =
            files[path] != nil || ["/", "/dev", "/proc", "/sys", "/run", "/root"].contains(path)
        guard isThere else { return -2 }
        open[nextDescriptor] = (path, 0)
        nextDescriptor += 1
        return nextDescriptor - 1
    }

    /// What is in a folder, in one piece: records of getdents64.
    fileprivate mutating func list(_ descriptor: Int, _ address: Int) -> Int {
        guard let folder = open[descriptor] else { return -9 }
        if folder.at > 0 { return 0 }
        open[descriptor]?.at = 1
        let names = Set(
            files.keys.filter { $0.hasPrefix(folder.path + "/") }.map {
                $0.dropFirst(folder.path.count + 1).prefix { $0 != "/" }
            })
        var records: [UInt8] = []
        for name in names.sorted() {
            let size = (19 + name.utf8.count + 8) / 8 * 8
            let head = [UInt8](repeating: 0, count: 16) + [UInt8(size), 0, 0] + Array(name.utf8)
            records += head + [UInt8](repeating: 0, count: size - head.count)
        }
        UnsafeMutableRawPointer(bitPattern: address)!.copyMemory(
            from: records, byteCount: records.count)
        return records.count
    }

    fileprivate mutating func openEnd() -> Int32 {
        open[nextDescriptor] = ("a pipe", 0)
        nextDescriptor += 1
        return Int32(nextDescriptor - 1)
    }

    fileprivate mutating func read(_ descriptor: Int, _ address: Int, _ count: Int) -> Int {
        let target = UnsafeMutableRawPointer(bitPattern: address)!
        if descriptor == FakeBoot.signalDescriptor {
            guard !signals.isEmpty else { return -11 }
            target.storeBytes(of: UInt32(signals.removeFirst()), as: UInt32.self)
            return count
        }
        guard let file = open[descriptor], let content = files[file.path] else { return -9 }
        let rest = Array(content.utf8).dropFirst(file.at).prefix(count)
        target.copyMemory(from: Array(rest), byteCount: rest.count)
        open[descriptor]?.at += rest.count
        return rest.count
    }

    fileprivate mutating func write(_ descriptor: Int, _ address: Int, _ count: Int) -> Int {
        let bytes = UnsafeRawBufferPointer(
            start: UnsafeRawPointer(bitPattern: address), count: count)
        if descriptor < 3 {
            console += bytes
        } else {
            deeds.append(
                "write \(open[descriptor]?.path ?? "?") "
                    + String(decoding: bytes, as: UTF8.self).trimmingLineEnd)
        }
        return count
    }

    fileprivate func status(_ descriptor: Int, _ address: Int) -> Int {
        var status = mini_stat()
        if descriptor < 3 {
            // A device of characters.
            status.mode = 0o020600
            status.special = consoleNode
        } else {
            guard let path = open[descriptor]?.path else { return -9 }
            status.device = mounted.contains(path) ? 7 : 1
        }
        UnsafeMutableRawPointer(bitPattern: address)!.storeBytes(of: status, as: mini_stat.self)
        return 0
    }

    fileprivate mutating func fork() -> Int {
        if forkFailsBehind == made.count {
            forkFailsBehind = nil
            return -12
        }
        let id = FakeBoot.firstChild + made.count
        let life = made.count < lives.count ? lives[made.count] : .ends(0)
        made.append(id)
        forks.append(clock)
        children[id] = life
        return id
    }

    fileprivate mutating func reap(_ status: Int) -> Int {
        guard !zombies.isEmpty else { return children.isEmpty ? -10 : 0 }
        let (id, end) = zombies.removeFirst()
        UnsafeMutableRawPointer(bitPattern: status)!.storeBytes(of: end, as: Int32.self)
        deeds.append("reap \(id)")
        if var next = crowd, next.orphans > 0 {
            if next.orphans == next.signalAt { signals.append(2) }
            next.orphans -= 1
            crowd = next
            finish(1000 + next.orphans, 0)
        }
        return id
    }

    fileprivate mutating func kill(_ target: Int, _ signal: Int32) {
        deeds.append("kill \(target) \(signal)")
        for (id, life) in children where target == -1 || target == id {
            switch (life, signal) {
            case (.immortal, _), (.deaf, 15), (_, 18): continue
            default: finish(id, signal)
            }
        }
    }

    fileprivate mutating func finish(_ id: Int, _ status: Int32) {
        children[id] = nil
        zombies.append((id, status))
        if !signals.contains(17) { signals.append(17) }
    }

    fileprivate mutating func poll(_ address: Int, _ count: Int, _ limit: Int) -> Int {
        let records = UnsafeMutableBufferPointer(
            start: UnsafeMutablePointer<mini_pollfd>(bitPattern: address), count: count)
        if records.first.map({ $0.descriptor < 3 }) ?? false {
            records[0].returned = records[0].events
            return 1
        }
        // What pipes hold stands among the files.
        if let pipe = records.first.flatMap({ open[Int($0.descriptor)] }), pipe.path == "a pipe" {
            let isFull = pipe.at < (files[pipe.path]?.utf8.count ?? 0)
            records[0].returned = isFull ? 1 : 0
            return isFull ? 1 : 0
        }
        let length =
            limit == 0 ? nil : UnsafePointer<mini_timespec>(bitPattern: limit)!.pointee
        let isLooking = length.map { $0.seconds == 0 && $0.nanoseconds == 0 } ?? false
        if count == 0 || (!isLooking && signals.isEmpty) { sleep(length) }
        guard count > 0 else { return 0 }
        records[0].returned = signals.isEmpty ? 0 : 1
        return signals.isEmpty ? 0 : 1
    }

    /// Everybody sleeps: what happens next?
    private mutating func sleep(_ length: mini_timespec?) {
        sleeps += 1
        ends.append(open.values.filter { $0.path == "a pipe" }.count)
        precondition(sleeps < 10_000, "process 1 never comes to its end")
        if !happenings.isEmpty {
            switch happenings.removeFirst() {
            case .signal(let signal): signals.append(signal)
            case .end(let child, let status): finish(FakeBoot.firstChild + child, status)
            case .orphans(let count): for id in 0..<count { finish(1000 + id, 0) }
            case .pause(let seconds): clock += seconds * 1_000_000_000
            }
            return
        }
        for (id, life) in children.sorted(by: { $0.key < $1.key }) {
            if case .ends(let status) = life { return finish(id, status) }
        }
        if let after = signalAfter, made.count == after.children {
            signalAfter = nil
            signals.append(after.signal)
            return
        }
        if let length {
            clock += UInt64(length.seconds) * 1_000_000_000 + UInt64(length.nanoseconds)
        }
    }
}

extension String {
    fileprivate var trimmingLineEnd: String { hasSuffix("\n") ? String(dropLast()) : self }
}
