// A kernel that plays /dev/lguest of any era: its checks in the order in which the kernel
// makes them, its counts and errnos (docs/abi/lguest.md §1), and a guest that follows a
// script. The waker's thread is played as well, by what arrives in its pipe.

import CShim
import Foundation
import Synchronization

@testable import Mini

/// A /dev/lguest for the calls of one task; see `FakeTerminal.device`.
final class PlayedLguest: Sendable {
    enum Step {
        /// Sends this text from guest memory to the console.
        case send(String)
        /// Binds the console's input buffer, or reads what is in it.
        case listen
        /// Something that the waker watches is readable.
        case attention
        /// Kills the guest, as a run finds out.
        case die(String)
        /// Kills the guest behind the launcher's back, as a bad DMA key does.
        case dieUnseen(String)
        case fail(Errno)
        /// Runs for so many milliseconds, of which it computes so many, until an alarm goes off.
        case pass(UInt64, busy: UInt64)
        /// Whoever runs the guest is not who made it.
        case forget
    }

    struct State {
        var era: DeviceEra
        var steps: [Step]
        /// What opening it gives instead of a descriptor.
        var opening: Errno?
        /// What INITIALIZE fails with.
        var refusal: Errno?

        /// The guest's memory in the launcher, known by its size.
        var memory: Int?
        var memorySize = 0
        var guests: [Int: Guest] = [:]
        var nextDescriptor = 1_000_500
        /// Words of each request that was accepted.
        var requests: [[UInt32]] = []
        var refusals: [(request: UInt32, errno: Errno)] = []
        var received = ""
        var address: Int { memory ?? 0 }
        var isVirtio: Bool { era != .era0 && era != .era1 && era != .era1c }

        /// Milliseconds on the clocks for time and for what the thread has taken, once it plays these.
        var clocks: (time: UInt64, busy: UInt64)?
        var isAlarmDue = false
        /// What the kernel says of its memory; nil without such a file.
        var memoryReport: String? = "MemTotal: 1 kB\nDirectMap4k: 1 kB\nDirectMap4M: 1 kB\n"

        // The waker's record, 0 without one, and what it was told to watch.
        var waker = 0
        var watches: [[Int32]] = []
        var starts = 0
        /// How often it was told that the launcher has looked.
        var wakes = 0
    }

    struct Guest {
        /// The thread that made it; 0 before that.
        var owner: UInt
        var death: String?
        var isReasonDue = false
        var isBroken = false
        var isListening = false
    }

    private let state: Mutex<State>

    init(_ era: DeviceEra, _ steps: [Step] = [], _ change: (inout State) -> Void = { _ in }) {
        var state = State(era: era, steps: steps)
        change(&state)
        self.state = Mutex(state)
    }

    var now: State { state.withLock { $0 } }

    // Where the played guest has its things.
    private static let output = 0x8000
    private static let input = 0x8100
    private static let text = 0x9000
    private static let keys = 0xA000

    @Sendable func answer(_ call: SystemCall) -> Int? {
        state.withLock { state in
            let (first, second, third, _, _, _) = call.arguments
            switch call.number {
            case .open: return Self.open(first, &state)
            case .fileStatus where state.guests[first] != nil:
                // A character device: struct stat of x86_64, st_mode.
                UnsafeMutableRawPointer(bitPattern: second)!.storeBytes(
                    of: 0o020600, toByteOffset: 24, as: UInt32.self)
                return 0
            case .close where state.guests[first] != nil:
                state.guests[first] = nil
                return 0
            case .write where state.guests[first] != nil:
                let words = UnsafeBufferPointer(
                    start: UnsafePointer<UInt32>(bitPattern: second), count: third / 4)
                let result = Self.request(Array(words), first, &state)
                if result >= 0 {
                    state.requests.append(Array(words))
                } else {
                    state.refusals.append((words[0], Errno(rawValue: Int32(-result))))
                }
                return result
            case .read where state.guests[first] != nil:
                return Self.run(first, UnsafeMutableRawPointer(bitPattern: second)!, third, &state)
            case .read where first == FakeTerminal.signalDescriptor && state.isAlarmDue:
                state.isAlarmDue = false
                let record = UnsafeMutableRawPointer(bitPattern: second)!
                record.storeBytes(of: 14, as: UInt32.self)
                // SI_KERNEL
                record.storeBytes(of: 0x80, toByteOffset: 8, as: Int32.self)
                return third
            case .poll where state.isAlarmDue:
                let records = UnsafeMutablePointer<mini_pollfd>(bitPattern: first)!
                for index in 0..<second {
                    let isSignals = records[index].descriptor == FakeTerminal.signalDescriptor
                    records[index].returned = isSignals ? records[index].events : 0
                }
                return 1
            case .clockTime where first == 1 || first == 3:
                guard let clocks = state.clocks else { return nil }
                let count = first == 1 ? clocks.time : clocks.busy
                UnsafeMutablePointer<mini_timespec>(bitPattern: second)!.pointee = mini_timespec(
                    seconds: Int(count / 1000), nanoseconds: Int(count % 1000 * 1_000_000))
                return 0
            default: return Self.wakerCall(call, &state)
            }
        }
    }

    private static func open(_ path: Int, _ state: inout State) -> Int? {
        let name = String(cString: UnsafePointer<CChar>(bitPattern: path)!)
        if name == "/proc/meminfo" {
            guard let text = state.memoryReport else { return -2 }
            // memfd_create
            let file = mini_syscall(319, path, 0, 0, 0, 0, 0)
            var bytes = Array(text.utf8)
            _ = bytes.withUnsafeMutableBytes {
                // pwrite64
                mini_syscall(18, file, Int(bitPattern: $0.baseAddress), $0.count, 0, 0, 0)
            }
            return file
        }
        guard name == "/dev/lguest" else { return nil }
        if let errno = state.opening { return -Int(errno.rawValue) }
        state.nextDescriptor += 1
        state.guests[state.nextDescriptor] = Guest(owner: 0)
        return state.nextDescriptor
    }

    // MARK: Requests

    private static func request(
        _ words: [UInt32], _ descriptor: Int, _ state: inout State
    ) -> Int {
        guard var guest = state.guests[descriptor] else { return -9 }
        defer { state.guests[descriptor] = guest }
        let isNew = guest.owner == 0
        if words[0] != 0 && isNew { return -22 }
        if !isNew && guest.death != nil { return -2 }
        if !isNew && guest.owner != thisThread && words[0] != 3 { return -1 }
        switch (words[0], state.era) {
        case (0, _):
            if let errno = state.refusal { return -Int(errno.rawValue) }
            if !isNew { return -16 }
            guest.owner = thisThread
            switch state.era {
            case .era1: return 20
            case .hostTables, .eventDescriptors: return 12
            default: return 16
            }
        case (1, .era0), (1, .era1), (1, .era1c):
            if words[1] == 4 && state.era == .era0 {
                guest.death = "bad registered DMA buffer"
                return -2
            }
            guard words[1] == 0, guest.isListening else { return -2 }
            store(1, state.address + input)
            return input
        case (2, _): return words[1] < 32 ? 0 : -22
        case (3, .eventDescriptors), (3, .pci): return -22
        case (3, _):
            guest.isBroken = words[1] != 0
            return 0
        case (5, .pci): return 8
        default: return -22
        }
    }

    private static var thisThread: UInt { UInt(pthread_self()) }

    // MARK: Running

    private static func run(
        _ descriptor: Int, _ buffer: UnsafeMutableRawPointer, _ size: Int, _ state: inout State
    ) -> Int {
        guard var guest = state.guests[descriptor] else { return -9 }
        defer { state.guests[descriptor] = guest }
        if guest.owner == 0 { return -22 }
        if guest.owner != thisThread { return -1 }
        while true {
            if let death = guest.death {
                if !guest.isReasonDue {
                    guest.isReasonDue = true
                    return -2
                }
                let bytes = (Array(death.utf8) + [0]).prefix(size)
                buffer.copyMemory(from: Array(bytes), byteCount: bytes.count)
                return bytes.count
            }
            if guest.isBroken { return -11 }
            guard !state.steps.isEmpty else {
                guest.death = "CRASH: Power down"
                continue
            }
            switch state.steps.removeFirst() {
            case .send(let words):
                if state.isVirtio {
                    // NOTIFY of a text.
                    let bytes = Array(words.utf8) + [0]
                    UnsafeMutableRawPointer(bitPattern: state.address + text)!.copyMemory(
                        from: bytes, byteCount: bytes.count)
                    buffer.storeBytes(of: UInt32(text), as: UInt32.self)
                    return 4
                }
                send(words, state)
                buffer.storeBytes(of: UInt32(output), as: UInt32.self)
                buffer.storeBytes(of: 0, toByteOffset: 4, as: UInt32.self)
                return 8
            case .listen: listen(&guest, &state)
            case .attention:
                // Nobody wakes the launcher for what is not watched.
                guard state.watches.last?.isEmpty == false else { return -5 }
                if state.era == .eventDescriptors || state.era == .pci {
                    UnsafeMutablePointer<mini_waker>(bitPattern: state.waker)?.pointee.waits = 1
                    return -4
                }
                guest.isBroken = true
            case .die(let reason): guest.death = reason
            case .dieUnseen(let reason):
                guest.death = reason
                guest.isReasonDue = true
            case .pass(let time, let busy):
                let clocks = state.clocks ?? (1000, 0)
                state.clocks = (clocks.time + time, clocks.busy + busy)
                state.isAlarmDue = true
                guest.isBroken = true
            case .fail(let errno): return -Int(errno.rawValue)
            case .forget:
                guest.owner ^= 1
                return -1
            }
        }
    }

    private static func send(_ words: String, _ state: State) {
        let bytes = Array(words.utf8)
        UnsafeMutableRawPointer(bitPattern: state.address + text)!.copyMemory(
            from: bytes, byteCount: bytes.count)
        record(output, text, bytes.count, state)
    }

    /// An `lguest_dma` with one section.
    private static func record(_ at: Int, _ section: Int, _ count: Int, _ state: State) {
        let start = state.address + at
        for word in 0..<25 { store(0, start + 4 * word) }
        store(UInt32(section), start + (state.era == .era0 ? 4 : 36))
        store(UInt32(count), start + (state.era == .era0 ? 68 : 4))
    }

    private static func listen(_ guest: inout Guest, _ state: inout State) {
        if guest.isListening {
            let count = Int(UnsafePointer<UInt32>(bitPattern: state.address + input)!.pointee)
            state.received += String(
                decoding: UnsafeRawBufferPointer(
                    start: UnsafeRawPointer(bitPattern: state.address + keys), count: count),
                as: UTF8.self)
        }
        guest.isListening = true
        record(input, keys, 16, state)
    }

    private static func store(_ word: UInt32, _ address: Int) {
        UnsafeMutableRawPointer(bitPattern: address)!.storeBytes(of: word, as: UInt32.self)
    }

    // MARK: Memory and the waker

    private static func wakerCall(_ call: SystemCall, _ state: inout State) -> Int? {
        let (first, second, third, fourth, fifth, sixth) = call.arguments
        switch call.number {
        case .map where second == state.memorySize:
            let result = mini_syscall(
                call.number.rawValue, first, second, third, fourth, fifth, sixth)
            if result >= 0 { state.memory = result }
            return result
        case .unmap where state.memory.map { first <= $0 && $0 - first < second } ?? false:
            // The terminal's books have what it lies in.
            state.memory = nil
            return nil
        // struct mini_watch
        case .write where third == 4 * (1 + WakerThread.mostWatched):
            let words = UnsafeBufferPointer(
                start: UnsafePointer<Int32>(bitPattern: second), count: third / 4)
            state.watches.append(Array(words[1..<(1 + Int(words[0]))]))
            return third
        case .clone:
            state.waker = third
            state.starts += 1
            let record = UnsafeMutablePointer<mini_waker>(bitPattern: third)!
            record.pointee.identity = 4242
            return 4242
        // FUTEX_WAKE
        case .futex where second == 1:
            state.wakes += 1
            return 1
        case .killThread where state.waker != 0:
            UnsafeMutablePointer<mini_waker>(bitPattern: state.waker)!.pointee.identity = 0
            state.waker = 0
            return 0
        default: return nil
        }
    }
}
