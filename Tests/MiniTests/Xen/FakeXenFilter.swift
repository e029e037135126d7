// The sandbox on the played Xen: the filter that a command sets is run before each of its calls, and what it
// makes of them is noted, in the words of docs/sandbox.md. Nothing is given up in earnest.

import CShim

@testable import Mini

/// Runs a program of the kind that seccomp takes. Source: linux/filter.h.
/// - Returns: nil for an instruction that the filter does not use, or a jump out of it.
func runFilter(
    _ words: [UInt64], number: UInt32, architecture: UInt32, _ arguments: [UInt64]
) -> UInt32? {
    var data = [UInt32](repeating: 0, count: 16)
    data[0] = number
    data[1] = architecture
    for (index, argument) in arguments.enumerated() {
        data[4 + 2 * index] = UInt32(truncatingIfNeeded: argument)
        data[5 + 2 * index] = UInt32(argument >> 32)
    }
    var (place, accumulator) = (0, UInt32(0))
    while place < words.count {
        let word = words[place]
        let (yes, no) = (Int(word >> 16 & 0xFF), Int(word >> 24 & 0xFF))
        let constant = UInt32(word >> 32)
        place += 1
        switch word & 0xFFFF {
        case 0x20: accumulator = data[Int(constant) / 4]
        case 0x15: place += accumulator == constant ? yes : no
        case 0x35: place += accumulator >= constant ? yes : no
        case 0x45: place += accumulator & constant != 0 ? yes : no
        case 0x06: return constant
        default: return nil
        }
    }
    return nil
}

/// What the model knows of a sandbox.
struct FakeSandbox {
    /// A kernel without filters.
    var isMissing = false
    var filter: [UInt64]?
    /// Calls since there is a filter, as the page calls them.
    var seen: Set<String> = []
    /// Those that would have ended the process.
    var killed: [String] = []
    /// Descriptors that were closed all at once, and must not be used any more.
    var closed: [ClosedRange<Int>] = []
    /// The number that a descriptor would have if this process had no other threads with files of their own.
    var numbers: [Int: Int] = [:]
    var kept: Set<Int> = []
    var roles: [Int: String] = [:]
}

private let socketNumbers: [Int: String] = [
    41: "socket(AF_UNIX, SOCK_STREAM)", 42: "connect()", 43: "accept(listener)",
    48: "shutdown(socket)",
]

private let plainNumbers: [(SystemCall.Number, String)] = [
    (.poll, "ppoll()"), (.unmap, "munmap()"), (.close, "close()"),
    (.signalMask, "rt_sigprocmask()"),
    (.exitGroup, "exit_group()"), (.clockTime, "clock_gettime()"),
    (.signalReturn, "rt_sigreturn()"),
    (.intervalTimer, "setitimer(ITIMER_REAL)"), (.duplicate, "dup2(nothing, output)"),
]

private let fileNumbers: [(SystemCall.Number, String)] = [
    (.read, "read"), (.write, "write"), (.readVector, "readv"), (.writeVector, "writev"),
]

private let requests: [String: [Int: String]] = [
    "gntdev": [
        GntDev.Request.map.rawValue: "MAP_GRANT_REF",
        GntDev.Request.unmap.rawValue: "UNMAP_GRANT_REF",
        GntDev.Request.notify.rawValue: "SET_UNMAP_NOTIFY",
        GntDev.Request.copy.rawValue: "GRANT_COPY",
    ],
    "gntalloc": [
        GntAlloc.Request.allocate.rawValue: "ALLOC_GREF",
        GntAlloc.Request.free.rawValue: "DEALLOC_GREF",
        GntAlloc.Request.notify.rawValue: "SET_UNMAP_NOTIFY",
    ],
    "evtchn": [
        EventChannel.Request.bindInterdomain.rawValue: "BIND_INTERDOMAIN",
        EventChannel.Request.bindUnbound.rawValue: "BIND_UNBOUND_PORT",
        EventChannel.Request.unbind.rawValue: "UNBIND",
        EventChannel.Request.notify.rawValue: "NOTIFY",
        EventChannel.Request.reset.rawValue: "RESET",
    ],
    "output": [0x540F: "TIOCGPGRP"],
]

extension FakeXen.State {
    /// The calls by which a process gives something up; nil for all others.
    mutating func giveUp(_ call: SystemCall) -> Int? {
        let arguments = call.arguments
        switch call.number {
        case .closeRange:
            sandbox.closed.append(arguments.0...arguments.1)
            return 0
        case .setGroups, .setGroup, .setUser, .setCapabilities, .limit, .oldLimit, .effectiveUser:
            return 0
        case .processControl where arguments.0 == 22:
            return sandbox.isMissing ? -22 : filter(arguments.2)
        case .processControl: return arguments.0 == 24 && arguments.1 > 40 ? -22 : 0
        case .seccomp: return sandbox.isMissing ? -38 : filter(arguments.2)
        default: return nil
        }
    }

    private mutating func filter(_ program: Int) -> Int {
        let words = UnsafePointer<(Int, Int)>(bitPattern: program)!.pointee
        let buffer = UnsafeBufferPointer(
            start: UnsafePointer<UInt64>(bitPattern: words.1), count: words.0 & 0xFFFF)
        sandbox.filter = Array(buffer)
        sandbox.kept = Set(descriptors.keys).union(realDescriptors).union([0, 1, 2])
            .filter { number in !sandbox.closed.contains { $0.contains(number) } }
        return 0
    }

    /// A descriptor that was opened behind the filter.
    mutating func opened(_ descriptor: Int) {
        guard sandbox.filter != nil else { return }
        let used = sandbox.kept.union(sandbox.numbers.values)
        sandbox.numbers[descriptor] = (3...).first { !used.contains($0) }
    }

    /// Runs the filter, if there is one.
    mutating func watch(_ call: SystemCall) {
        guard let filter = sandbox.filter else { return }
        let (first, second, third, fourth, fifth, sixth) = call.arguments
        var arguments = [first, second, third, fourth, fifth, sixth]
        if let number = sandbox.numbers[first] { arguments[0] = number }
        let line = describe(call)
        let answer = runFilter(
            filter, number: UInt32(call.number.rawValue),
            architecture: SystemCallFilter.architecture,
            arguments.map { UInt64(UInt(bitPattern: $0)) })
        let isClosed =
            call.number != .close && sandbox.numbers[first] == nil && line.contains("(")
            && !line.hasSuffix("()") && device(of: first) != nil
            && sandbox.closed.contains { $0.contains(first) }
        if answer == SystemCallFilter.allow && !isClosed {
            sandbox.seen.insert(line)
        } else {
            sandbox.killed.append(isClosed ? "\(line), which is closed" : line)
        }
        if call.number == .close { sandbox.numbers[first] = nil }
    }

    private func role(_ descriptor: Int) -> String {
        if descriptor == -1 { return "no file" }
        if descriptor <= 2 { return ["input", "output", "errors"][descriptor] }
        if let role = sandbox.roles[descriptor] { return role }
        return device(of: descriptor).map { "\($0)" } ?? "unknown"
    }

    private func describe(_ call: SystemCall) -> String {
        let (first, second, third, _, fifth, _) = call.arguments
        if let plain = plainNumbers.first(where: { $0.0 == call.number }) { return plain.1 }
        if let name = socketNumbers[call.number.rawValue] { return name }
        if let file = fileNumbers.first(where: { $0.0 == call.number }) {
            return "\(file.1)(\(role(first)))"
        }
        switch call.number {
        case .map: return "mmap(\(third & ~3 == 0 ? "no PROT_EXEC" : "PROT_EXEC"), \(role(fifth)))"
        case .memoryAdvice: return "madvise(\(third == 10 ? "MADV_DONTFORK" : "other"))"
        case .ioctl where second == 0x5421: return "ioctl(FIONBIO)"
        case .ioctl:
            let role = first == 2 ? "output" : role(first)
            return "ioctl(\(role), \(requests[role]?[second] ?? "other \(second)"))"
        case .fileControl:
            let name = second == 1031 ? "F_SETPIPE_SZ" : second == 1032 ? "F_GETPIPE_SZ" : "other"
            return "fcntl(\(role(first)), \(name))"
        default: return "call \(call.number.rawValue)"
        }
    }
}
