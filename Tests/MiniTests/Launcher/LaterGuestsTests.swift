// Guests of eras 2 to 5 from their file to their end, on the built-in host: kernels of some hundred instructions that
// do what a real one does first. They make the first call, say something before they have a console, find their console,
// say something there and end.

import CShim
import Synchronization
import Testing

@testable import Mini

private let later = GuestABI.Era.allCases.filter { $0 >= .era2 }

/// Where things are in these guests, which have 4 MiB.
private enum Place {
    static let origin: UInt32 = 0x10_0000
    static let texts: UInt32 = 0x10_0700
    static let memory: UInt32 = 0x40_0000
    /// The console's queue of texts, on the pages behind its queue of keys.
    static let ring: UInt32 = memory + 0x3000
    /// Of era 5: where the guest likes to have it.
    static let ownRing: UInt32 = 0x20_0000
    /// The queue of random numbers, and what is to be filled with some.
    static let numbersRing: UInt32 = memory + 0x5000
    static let ownNumbersRing: UInt32 = 0x21_0000
    static let numbers: UInt32 = 0x22_0000
    static let table: UInt32 = 0x3F_0000
    static let directory: UInt32 = memory - 0x1000
}

extension Assembler {
    /// Bytes of a table's entry.
    private var entry: UInt32 { abi.hasWideTables ? 8 : 4 }

    /// OUT of so many bytes.
    fileprivate mutating func output(_ port: UInt32, _ size: Int, _ value: UInt32) {
        move(.edx, port)
        move(.eax, value)
        switch size {
        case 1: emit(0xEE)
        case 2: emit(0x66, 0xEF)
        default: emit(0xEF)
        }
    }

    /// Writes into the configuration space of the bus's first device.
    fileprivate mutating func configure(_ place: UInt32, _ size: Int, _ value: UInt32) {
        output(0xCF8, 4, 0x8000_0800 | place & 0xFC)
        output(0xCFC + (place & 3), size, value)
    }

    /// Maps the pages above memory as a kernel does that looks for its devices there.
    fileprivate mutating func mapDevices() {
        for page in 0..<8 as Range<UInt32> {
            store(Place.table + entry * page, Place.memory + page << 12 | 7)
        }
        if abi.hasWideTables {
            // The directory lies behind the tables, and before the pointers.
            store(Place.directory - 0x1000 + 16, Place.table | 7)
        } else {
            store(Place.directory + 4, Place.table | 7)
        }
        call(5, 1)
    }

    /// Offers a text in the first descriptor of a ring of 64.
    fileprivate mutating func offer(_ text: UInt32, _ count: UInt32, in ring: UInt32) {
        store(ring, text)
        store(ring + 8, count)
        // Its driver wants no interrupt.
        store(ring + 16 * 64, 1 << 16 | 1)
    }

    /// Lends 64 bytes in the first descriptor of the ring of 8 for random numbers.
    fileprivate mutating func askForNumbers() {
        let isOnBus = abi.devices == .bus
        let ring = isOnBus ? Place.ownNumbersRing : Place.numbersRing
        store(ring, Place.numbers)
        store(ring + 8, 64)
        store(ring + 12, 2)
        store(ring + 16 * 8, 1 << 16)
        guard isOnBus else { return call(17, ring) }
        for (port, size, value) in [
            (0x1114, 1, 3), (0x1108, 4, 1), (0x110C, 4, 1), (0x1114, 1, 0xB), (0x1116, 2, 0),
            (0x1120, 4, ring), (0x1128, 4, ring + 16 * 8), (0x1130, 4, ring + 0x1000),
            (0x111C, 2, 1), (0x1114, 1, 0xF), (0x1138, 2, 0),
        ] as [(UInt32, Int, UInt32)] { output(port, size, value) }
    }
}

/// A kernel of an era, as an ELF file.
/// - Parameter end: its last calls.
private func kernel(
    _ era: GuestABI.Era, isWide: Bool = false, end: (inout Assembler) -> Void
) -> [UInt8] {
    var abi = GuestABI(era: era)
    abi.hasWideTables = isWide
    var spec = KernelSpec()
    spec.era = era
    spec.banner = nil
    if isWide { spec.size = 0x4000 }
    var bytes = spec.bytes()
    if let banner = later.firstIndex(of: era) {
        let releases = [
            "2.6.24", "2.6.25", "2.6.29", "2.6.30", "2.6.31", "2.6.34", "3.1", "3.10", "4.0",
        ]
        bytes.put("Linux version \(releases[banner]) (a@b)\n", at: 0x2C00)
    }
    if isWide {
        // Its first tables, which tell that they are PAE's.
        bytes.put([UInt8](repeating: 0, count: 0x1000), at: 0x3000)
        for index in [0, 3] { bytes.put(UInt32(0x10_2001), at: 0x3000 + 8 * index) }
    }
    bytes.put("early\n\0", at: 0x700)
    bytes.put("console\n\0", at: 0x710)
    bytes.put("Power down\0", at: 0x720)
    var code = Assembler(at: Place.origin, abi)
    code.call(1, spec.dataAddress)
    if abi.devices == .bus {
        for byte in "early\n".utf8 {
            code.configure(0x84 + 12, 4, 4)
            code.configure(0x84 + 8, 4, 68)
            code.configure(0x84 + 16, 4, UInt32(byte))
        }
        for (port, size, value) in [
            (0x1014, 1, 3), (0x1008, 4, 1), (0x100C, 4, 1), (0x1014, 1, 0xB), (0x1016, 2, 1),
            (0x1020, 4, Place.ownRing), (0x1028, 4, Place.ownRing + 16 * 64),
            (0x1030, 4, Place.ownRing + 0x1000), (0x101C, 2, 1), (0x1014, 1, 0xF),
        ] as [(UInt32, Int, UInt32)] { code.output(port, size, value) }
        code.offer(Place.texts + 0x10, 8, in: Place.ownRing)
        code.output(0x1038, 2, 1)
    } else {
        code.call(17, Place.texts)
        code.mapDevices()
        code.offer(Place.texts + 0x10, 8, in: Place.ring)
        code.call(17, Place.ring)
    }
    end(&code)
    code.spin()
    precondition(code.bytes.count < 0x700)
    bytes.put(code.bytes, at: 0)
    var elf = ElfSpec(spec)
    elf.contents = [(0x1000, bytes)]
    return elf.bytes()
}

/// A kernel that has no random numbers until an alarm has gone off twice, which it does as soon as a guest does nothing.
private final class PlayedNumbers: Sendable {
    struct State {
        /// Whether there were some, each time that somebody asked.
        var answers: [Bool] = []
        /// Alarms since somebody asked in vain.
        var rings = 0
        fileprivate var isSet = false
        fileprivate var isDue = false
        fileprivate var polls = 0
        /// A guest that nobody wakes is ended.
        fileprivate var isOver: Bool { polls > 100_000 }
    }
    private let state = Mutex(State())
    var now: State { state.withLock { $0 } }

    @Sendable func answer(_ call: SystemCall) -> Int? {
        state.withLock { state in
            let (first, second, third, _, _, _) = call.arguments
            switch call.number {
            case .randomBytes:
                state.answers.append(state.rings > 1)
                return state.rings > 1 ? nil : -11
            case .intervalTimer:
                // struct itimerval: what is left of it is in the second half.
                let words = UnsafePointer<Int>(bitPattern: second)!
                state.isSet = words[2] != 0 || words[3] != 0
                return 0
            case .poll:
                state.polls += 1
                // Without a limit it waits for ever.
                if third == 0 && state.isSet {
                    state.isSet = false
                    state.isDue = true
                    if state.answers.last == false { state.rings += 1 }
                }
                guard state.isDue || state.isOver else { return nil }
                let records = UnsafeMutablePointer<mini_pollfd>(bitPattern: first)!
                for index in 0..<second {
                    let isSignals = records[index].descriptor == FakeTerminal.signalDescriptor
                    records[index].returned = isSignals ? records[index].events : 0
                }
                return 1
            case .read where first == FakeTerminal.signalDescriptor:
                guard state.isDue || state.isOver else { return nil }
                let record = UnsafeMutableRawPointer(bitPattern: second)!
                record.storeBytes(of: state.isDue ? 14 : 15, as: UInt32.self)
                // SI_KERNEL
                record.storeBytes(of: 0x80, toByteOffset: 8, as: Int32.self)
                state.isDue = false
                return third
            default: return nil
            }
        }
    }
}

/// Launches it on the built-in host.
private func launch(
    _ image: [UInt8], restarts: Bool = false, at terminal: FakeTerminal = FakeTerminal(),
    hasNumbers: Bool = true, wantsNumbers: Bool = false
) throws -> (LaunchOutcome, String) {
    let file = try memoryFile(image)
    var plan = LaunchPlan()
    plan.kernel = "/proc/self/fd/\(file.number)"
    plan.mebibytes = 4
    plan.wantsNumbers = wantsNumbers
    // EAGAIN: there will be some, but there are none yet.
    let launcher = SystemCall.hooked({
        $0.number == .randomBytes && !hasNumbers ? -11 : nil
    }) {
        LguestLauncher(plan, LaunchSurroundings(report: nil, notice: { _ in })) {
            (memory, abi) throws(LauncherError) -> any LguestDevice in
            do throws(Errno) { return try Host(memory: memory, abi: abi) } catch {
                throw .system("make the guest", error)
            }
        }
    }
    let outcome = terminal.play { launcher.run(restarts: restarts) }
    _ = file.number
    return (outcome, string(terminal.now.output))
}

@Suite struct LaterGuestsTests {
    @Test(
        "a guest speaks before it has a console, and on its console, and powers off",
        arguments: later)
    func powerOff(_ era: GuestABI.Era) throws {
        let (outcome, output) = try launch(
            kernel(era) { $0.call(2, Place.texts + 0x20, 1) })
        #expect(output == "early\nconsole\n")
        #expect(outcome == .poweredOff)
    }

    @Test("in a bzImage compressed by gzip or zstd it starts", arguments: ["gzip", "zstd"])
    func compressed(_ method: String) throws { try start(by: method) }

    @Test(
        "in a bzImage compressed by xz it starts",
        .enabled(if: toolPath("xz") != nil, "there is no xz"))
    func compressedByXz() throws { try start(by: "xz") }

    private func start(by method: String) throws {
        let elf = kernel(.era4d) { $0.call(2, Place.texts + 0x20, 1) }
        var image = BzImageSpec()
        image.protocolVersion = 0x20F
        image.version = "3.12.9 (a@b)"
        let size = [UInt8].little(UInt64(elf.count), 4)
        switch method {
        case "gzip": image.payload = Packer.gzip(elf)
        case "zstd":
            let blocks = stride(from: 0, to: elf.count, by: 1024).map {
                ZstdSpec.Block.stored(Array(elf[$0..<min($0 + 1024, elf.count)]))
            }
            image.payload = ZstdSpec(blocks: blocks).bytes() + size
        default:
            image.payload = try runTool(["xz", "--check=crc32", "-c"], elf) + size
        }
        let (outcome, output) = try launch(image.bytes())
        #expect(output == "early\nconsole\n")
        #expect(outcome == .poweredOff)
    }

    @Test(
        "a guest with PAE speaks before it has a console, and on it, and powers off",
        arguments: later.filter { $0 >= .era4a })
    func wide(_ era: GuestABI.Era) throws {
        let (outcome, output) = try launch(
            kernel(era, isWide: true) { $0.call(2, Place.texts + 0x20, 1) })
        #expect(output == "early\nconsole\n")
        #expect(outcome == .poweredOff)
    }

    @Test("from 3a on a guest asks for a new beginning", arguments: later.dropFirst())
    func restart(_ era: GuestABI.Era) throws {
        let (outcome, output) = try launch(kernel(era) { $0.call(2, 0x4000_0000, 2) })
        #expect(output == "early\nconsole\n")
        #expect(outcome == .restart)
    }

    @Test(
        "a request for random numbers waits until the host has some, which wakes a guest that does nothing",
        arguments: later.dropFirst())
    func randomNumbers(_ era: GuestABI.Era) throws {
        let image = kernel(era) {
            $0.askForNumbers()
            $0.call(10)
            $0.call(2, Place.texts + 0x20, 1)
        }
        let numbers = PlayedNumbers()
        let (outcome, output) = try launch(image, at: FakeTerminal(device: numbers.answer))
        #expect(output == "early\nconsole\n")
        #expect(outcome == .poweredOff)
        #expect(numbers.now.rings == 2)
        // At each look, of which a busy machine makes more.
        #expect(numbers.now.answers.count >= 2 && numbers.now.answers.last == true)
        #expect(!numbers.now.answers.dropLast().contains(true))
    }

    @Test(
        "where the host has no random numbers yet, a guest has them only if that is asked for",
        arguments: later.dropFirst())
    func noRandomNumbersYet(_ era: GuestABI.Era) throws {
        let image = kernel(era) {
            $0.askForNumbers()
            $0.call(2, Place.texts + 0x20, 1)
        }
        for isWanted in [false, true] {
            let numbers = PlayedNumbers()
            _ = try launch(
                image, at: FakeTerminal(device: numbers.answer), hasNumbers: false,
                wantsNumbers: isWanted)
            #expect(numbers.now.answers.isEmpty == !isWanted)
        }
    }

    @Test("what a guest dies of is told", arguments: later)
    func death(_ era: GuestABI.Era) throws {
        let (outcome, output) = try launch(kernel(era) { $0.call(2, Place.texts + 0x10, 1) })
        #expect(output == "early\nconsole\n")
        #expect(outcome == .died("CRASH: console\n"))
    }
}
