// What others answer that is no store: the kernel about network devices, block devices about what they hold, files about
// why they are no programs and no modules (packed ones as well), children of process 1 about what they have found out, a real /dev/lguest about
// traps and its kernel about its release; and what a timeline is told of a guest. A case is one entry point and the bytes that it gets.

import CShim

#if !hasFeature(Embedded)
@testable import Mini
#endif

enum FuzzAnswers {
    private enum EntryPoint: UInt8, CaseIterable {
        case routes, routeSocket, blocks, program, module, result, grants, timeline, domain, trap,
            release
    }

    // MARK: Making

    static func make(_ random: inout FuzzRandom, _ input: FuzzInput) {
        let entryPoint = EntryPoint.allCases[random.below(EntryPoint.allCases.count)]
        input.append(entryPoint.rawValue)
        switch entryPoint {
        case .routes, .routeSocket: makeRoutes(&random, input)
        case .blocks: makeBlocks(&random, input)
        case .program: makeProgram(&random, input)
        case .module: makeModule(&random, input)
        case .result, .grants: makeResult(&random, input)
        case .trap: makeTraps(&random, input)
        case .release:
            for _ in 0..<1 + random.below(24) {
                let digits: InlineArray<4, UInt8> = [0x2E, 0x32, 0x36, 0x39]
                input.append(random.once(in: 6) ? random.byte() : digits[random.below(4)])
            }
        case .timeline, .domain: for _ in 0..<random.below(400) { input.append(random.byte()) }
        }
        if random.once(in: 2) {
            input.mutate(&random, span: 80)
            input[0] = entryPoint.rawValue
        }
    }

    /// Netlink messages: header, a record, attributes, each with a length of its own.
    private static func makeRoutes(_ random: inout FuzzRandom, _ input: FuzzInput) {
        for _ in 0..<1 + random.below(6) {
            let size = 16 + 4 * random.below(20)
            input.append(random.once(in: 6) ? random.hurtful() : UInt32(size + random.below(4)))
            let kinds: InlineArray<4, UInt32> = [16, 20, 2, 3]
            input.append(random.once(in: 4) ? random.word() : kinds[random.below(4)])
            input.append(1 as UInt32)
            input.append(0 as UInt32)
            var left = size - 16
            while left >= 4 {
                if random.once(in: 3) {
                    input.append(random.hurtful())
                    left -= 4
                    continue
                }
                let room = min(left, 4 + 4 * random.below(4))
                input.append(UInt32(room) | UInt32(random.below(12)) << 16)
                for _ in 4..<room { input.append(random.byte()) }
                left -= room
            }
        }
    }

    /// Pieces of a device, each with its place.
    private static func makeBlocks(_ random: inout FuzzRandom, _ input: FuzzInput) {
        let marks: [(place: UInt32, bytes: [UInt8])] = [
            (1024 + 56, [0x53, 0xEF]), (0, Array(string("XFSB"))),
            (0x52, Array(string("FAT32   "))),
            (0x36, Array(string("FAT16"))), (0x8000, [1] + string("CD001")),
            (0x1_0000 + 64, string("_BHRfS_M")),
        ]
        // How much of the device there is.
        input.append(random.once(in: 4) ? UInt32(random.below(0x1_2000)) : 0x2_0000)
        let mark = marks[random.below(marks.count)]
        input.append(mark.place)
        input.append(UInt8(mark.bytes.count))
        input.append(mark.bytes)
        for _ in 0..<random.below(6) {
            input.append(mark.place & ~0xFFF | UInt32(random.below(4096)))
            let size = random.below(32)
            input.append(UInt8(size))
            for _ in 0..<size { input.append(random.once(in: 4) ? 0x20 : random.byte()) }
        }
    }

    /// Records of a device of 4.0 and later.
    private static func makeTraps(_ random: inout FuzzRandom, _ input: FuzzInput) {
        for _ in 0..<1 + random.below(6) {
            input.append(random.once(in: 4) ? random.byte() : 13)
            let isShort = random.once(in: 3)
            if isShort { input.append(0x66 as UInt8) }
            input.append(random.once(in: 4) ? random.byte() : 0xE0 | random.byte() & 15)
            for _ in (isShort ? 3 : 2)..<8 { input.append(random.byte()) }
        }
    }

    private static func makeProgram(_ random: inout FuzzRandom, _ input: FuzzInput) {
        // Which errno, and how long the file is.
        input.append(random.byte())
        input.append(random.hurtful())
        if random.once(in: 4) {
            input.append("#!")
            for _ in 0..<random.below(20) {
                input.append(random.once(in: 4) ? 0x20 : 0x2F + random.byte() & 31)
            }
            return
        }
        let isWide = random.once(in: 2)
        input.append([0x7F, 0x45, 0x4C, 0x46, isWide ? 2 : 1, 1, 1])
        while input.count < 6 + 16 { input.append(0 as UInt8) }
        input.append(2 | UInt32(isWide ? 62 : 3) << 16)
        input.append(1 as UInt32)
        let size = isWide ? 56 : 32
        let header = isWide ? 64 : 52
        for word in isWide ? [0, 0, UInt32(header), 0] : [0, UInt32(header)] as [UInt32] {
            input.append(random.once(in: 8) ? random.hurtful() : word)
        }
        while input.count < 6 + (isWide ? 52 : 40) { input.append(0 as UInt8) }
        let count = 1 + random.below(3)
        let sizes = [header, size, count].map {
            random.once(in: 12) ? 0xFFFF : random.once(in: 12) ? random.below(0x1_0000) : $0
        }
        for value in sizes {
            input.append(UInt8(truncatingIfNeeded: value))
            input.append(UInt8(truncatingIfNeeded: value >> 8))
        }
        while input.count < 6 + header { input.append(0 as UInt8) }
        for _ in 0..<count {
            input.append(random.once(in: 2) ? 3 : UInt32(random.below(7)))
            let name = UInt32(header + count * size)
            for place in 1..<size / 4 {
                let isOffset = place == (isWide ? 2 : 1)
                let isCount = place == (isWide ? 8 : 4)
                let word: UInt32 = isOffset ? name : isCount ? 12 : 0
                input.append(random.once(in: 12) ? random.hurtful() : word)
            }
        }
        input.append("/lib/loader")
        input.append(0 as UInt8)
    }

    private static func makeModule(_ random: inout FuzzRandom, _ input: FuzzInput) {
        input.append(random.byte())
        if !random.once(in: 12) { input.append([0x7F, 0x45, 0x4C, 0x46]) }
        for _ in 0..<random.below(5) {
            input.append(0 as UInt8)
            input.append(random.once(in: 2) ? "depends=" : "vermagic=")
            for _ in 0..<random.below(60) {
                input.append(random.once(in: 5) ? 0x2C : random.once(in: 20) ? 0 : random.byte())
            }
            if !random.once(in: 6) { input.append(0 as UInt8) }
        }
        if random.once(in: 2) { pack(&random, input) }
    }

    /// In the place of a module what packs it: a member of gzip or a frame of zstd, as a block that is stored; or what the
    /// tools have made of something else.
    private static func pack(_ random: inout FuzzRandom, _ input: FuzzInput) {
        let module = unsafe Array(input.bytes.dropFirst(2))
        let size = UInt32(module.count)
        let checksum = unsafe CRC32.of(UnsafeRawBufferPointer(rebasing: input.bytes.dropFirst(2)))
        input.count = 2
        switch random.below(8) {
        case 0: input.append(FuzzPacked.seeds[random.below(FuzzPacked.seeds.count)])
        case 1..<5:
            input.append([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 1])
            input.append(size | ~size << 16)
            input.append(module)
            input.append(checksum)
            input.append(size)
        default:
            // A window of 1 KiB; its last block.
            input.append(UInt32(Zstd.signature))
            input.append([0, 0] + LittleEndian.bytes(size << 3 | 1, 3))
            input.append(module)
        }
    }

    private static func makeResult(_ random: inout FuzzRandom, _ input: FuzzInput) {
        for index in 0..<random.below(9) {
            if random.once(in: 5) {
                for _ in 0..<random.below(9) { input.append(random.byte()) }
            } else if index & 1 == 0 {
                input.append(("\(random.below(90))" as Text).bytes)
            } else {
                input.append(random.once(in: 2) ? "8-9" : "40")
            }
            if !random.once(in: 8) { input.append(random.once(in: 3) ? 0x20 as UInt8 : 0) }
        }
    }

    private static func string(_ text: StaticString) -> [UInt8] { ("\(text)" as Text).bytes }

    // MARK: Taking

    static func take(_ input: FuzzInput) {
        var reader = FuzzReader(input)
        let entryPoint = EntryPoint.allCases[Int(reader.byte()) % EntryPoint.allCases.count]
        switch entryPoint {
        case .routes: takeReplies(RouteReply.all(in: reader.rest()))
        case .routeSocket: takeSocket(reader)
        case .blocks: takeBlocks(&reader)
        case .program: takeProgram(&reader)
        case .module: takeModule(&reader)
        case .result: takeResult(&reader)
        case .grants: takeGrants(&reader)
        case .trap: takeTraps(&reader)
        case .release: takeRelease(&reader)
        case .timeline: takeTimeline(&reader)
        case .domain:
            while !reader.isAtEnd {
                let code = reader.byte()
                guard let state = DomainState(code: code) else { continue }
                Fuzz.require(state.code == code, "an answer that means another one")
            }
        }
    }

    private static func takeReplies(_ replies: [RouteReply]) {
        for reply in replies {
            _ = reply.errno
            for offset in [0, 4, 12, 16] { _ = reply.number(at: offset, 4) }
            for behind in [0, 8, 16] {
                for wanted in 0..<12 as Range<UInt16> {
                    guard let value = reply.attribute(wanted, behind: behind) else { continue }
                    Fuzz.require(value.count <= reply.record.count, "more than there is")
                }
            }
        }
    }

    nonisolated(unsafe) private static var script: FuzzReader?
    nonisolated(unsafe) private static var calls = 0

    /// The kernel's socket: each read brings some of the case.
    private static func takeSocket(_ reader: FuzzReader) {
        unsafe script = reader
        unsafe calls = 0
        Fuzz.playing({ (call) in answer(call) }) {
            guard let socket = try? RouteSocket() else { return }
            let message = RouteMessage(.getLink, .dump, record: [UInt8](repeating: 0, count: 16))
            if let replies = try? socket.ask(message) { takeReplies(replies) }
        }
    }

    private static func answer(_ call: SystemCall) -> Int? {
        unsafe calls += 1
        Fuzz.require(unsafe calls < 1000, "asking the kernel does not end")
        let (first, second, third, _, _, _) = call.arguments
        switch call.number {
        case .read where first == 900:
            guard var reader = unsafe script, !reader.isAtEnd else { return -11 }
            let bytes = reader.bytes(min(third, 24 + 8 * Int(reader.byte())))
            unsafe script = reader
            for (index, byte) in bytes.enumerated() {
                unsafe UnsafeMutablePointer<UInt8>(bitPattern: second)?[index] = byte
            }
            return bytes.count
        case .write where first == 900: return third
        case .close where first == 900: return 0
        default: break
        }
        #if arch(i386)
        if call.number.rawValue == 102 { return first == 1 ? 900 : 0 }
        #else
        if call.number.rawValue == 41 { return 900 }
        if call.number.rawValue == 49 { return 0 }
        #endif
        return nil
    }

    private static func takeBlocks(_ reader: inout FuzzReader) {
        let size = UInt64(reader.word())
        var device = [UInt8](repeating: 0, count: 0x1_2000)
        while !reader.isAtEnd {
            let place = Int(reader.word() % 0x1_2000)
            for (index, byte) in reader.bytes(Int(reader.byte())).enumerated()
            where place + index < device.count { device[place + index] = byte }
        }
        let found = FoundFileSystem { (offset, count) in
            guard offset < size else { return [] }
            let start = Int(offset)
            let end = min(device.count, start + count, Int(min(size, 0x2_0000)))
            return start < end ? Array(device[start..<end]) : []
        }
        guard let found else { return }
        Fuzz.require(
            found.identifier.bytes.count <= 32 && found.label.bytes.count <= 256,
            "a name of more bytes than there are")
    }

    /// A file of the case's bytes, as long as it says.
    private static func withFile(
        _ bytes: [UInt8], size: UInt64, _ body: (borrowing Descriptor) -> Void
    ) {
        guard let file = try? FileSystem.memoryFile("fuzz"),
            (try? Transfer.write(file.number, Text(bytes: bytes))) != nil
        else { return }
        if size > UInt64(bytes.count) {
            guard (try? file.seek(to: size - 1)) != nil,
                (try? Transfer.write(file.number, Text(bytes: [0]))) != nil
            else { return }
        }
        body(file)
    }

    private static func takeProgram(_ reader: inout FuzzReader) {
        let errno: Errno? = [nil, .notAProgram, .noSuchFile, .accessDenied][Int(reader.byte() & 3)]
        // Up to 8 GiB, with a hole.
        let size = UInt64(reader.word()) << 1
        withFile(reader.rest(), size: size) { (file) in
            guard let reason = ProgramTrouble.reason("/proc/self/fd/\(file.number)", errno) else {
                return
            }
            Fuzz.require(!reason.bytes.contains(10), "a reason of two lines")
        }
    }

    /// - Returns: true for a module that tells what is wrong with it.
    @discardableResult
    private static func takeModule(_ reader: inout FuzzReader) -> Bool {
        let errno: Errno = reader.byte() & 1 == 0 ? .noSuchFile : .notAProgram
        var isTold = false
        withFile(reader.rest(), size: 0) { (file) in
            if let reason = ModuleTrouble.reason(file, errno) {
                Fuzz.require(!reason.bytes.contains(10), "a reason of two lines")
                isTold = true
            }
        }
        return isTold
    }

    /// True for a case of a packed module that tells what is wrong with it.
    static func isPackedModule(_ input: FuzzInput) -> Bool {
        var reader = FuzzReader(input)
        guard reader.byte() == EntryPoint.module.rawValue, input.count > 2,
            unsafe Compression(
                ByteView(UnsafeRawBufferPointer(rebasing: input.bytes.dropFirst(2))), at: 0) != nil
        else { return false }
        return takeModule(&reader)
    }

    private static func takeResult(_ reader: inout FuzzReader) {
        guard let result = try? ChildResult(),
            (try? result.write(Text(bytes: reader.rest()))) != nil
        else { return }
        do throws(InitError) {
            Fuzz.require(try !result.words().isEmpty, "a result without a word")
        } catch {}
    }

    private static func takeGrants(_ reader: inout FuzzReader) {
        let request = GrantRequest(name: "n", domain: .entry("d"), references: .entry("r"))
        // A domain, so that the rest is looked at.
        let domain = [reader.byte(), reader.byte() & 0x7F, 0, 0]
        guard let terms = GrantTerms(domain + reader.rest()),
            let promise = try? GrantPromise(request)
        else { return }
        do throws(GrantError) {
            try promise.tell(terms)
            Fuzz.require(try promise.terms().bytes == terms.bytes, "other terms arrive")
        } catch { Fuzz.require(false, "terms do not arrive") }
    }

    private static func takeTraps(_ reader: inout FuzzReader) {
        while !reader.isAtEnd {
            let first = UInt64(reader.word())
            let record = TrapRecord(first | UInt64(reader.word()) << 32)
            guard let instruction = record.instruction else { continue }
            Fuzz.require(record.vector == 13, "an instruction of another trap")
            Fuzz.require(
                instruction.length >= 1 && instruction.length <= 3, "an instruction of no length")
            guard case .port(_, let size, _) = instruction.kind else { continue }
            Fuzz.require(size == 1 || size == 2 || size == 4, "a port of no width")
        }
    }

    /// What a kernel says of its release tells which guests its device runs: its own era's, or what the device may.
    private static func takeRelease(_ reader: inout FuzzReader) {
        let version = LinuxVersion(Text(bytes: reader.rest()))
        let host = version.flatMap { LaterEra.of($0.isAtLeast, among: LaterEra.all)?.era }
        for device in DeviceEra.allCases {
            var count = 0
            for guest in GuestABI.Era.allCases where device.runs(guest, on: host) { count += 1 }
            Fuzz.require(count > 0, "a device that runs nobody")
        }
    }

    private static func takeTimeline(_ reader: inout FuzzReader) {
        let timeline = Timeline(start: Nanoseconds(count: 1000))
        var time: UInt64 = 1000
        while !reader.isAtEnd {
            let what = reader.byte()
            time &+= UInt64(reader.byte()) << (UInt64(what >> 3) & 31)
            let now = Nanoseconds(count: time)
            let use = Timeline.Use.device(Int(reader.byte()))
            switch what & 7 {
            case 0: timeline.note(.image, at: now)
            case 1: timeline.name(use, Text(bytes: reader.bytes(Int(reader.byte()))))
            case 2: timeline.begin(at: now)
            case 3: timeline.note(use, at: now)
            case 4: timeline.note(.output, at: now)
            default: timeline.end(Text(bytes: reader.bytes(Int(reader.byte()))), at: now)
            }
        }
        for line in timeline.lines {
            Fuzz.require(!line.bytes.contains { $0 < 0x20 }, "a line with a control character")
        }
        check(timeline.trace)
    }

    /// Of JSON as much as goes wrong: quotation marks, control characters, brackets, the size.
    private static func check(_ trace: Text) {
        Fuzz.require(trace.bytes.count <= Timeline.most, "a trace that is too long")
        var isInString = false
        var isEscaped = false
        var depth = 0
        for byte in trace.bytes {
            Fuzz.require(byte >= 0x20 || byte == 10 && !isInString, "a control character")
            if isEscaped {
                isEscaped = false
            } else if byte == UInt8(ascii: "\\") {
                isEscaped = isInString
            } else if byte == UInt8(ascii: "\"") {
                isInString = !isInString
            } else if !isInString {
                if byte == UInt8(ascii: "{") || byte == UInt8(ascii: "[") { depth += 1 }
                if byte == UInt8(ascii: "}") || byte == UInt8(ascii: "]") { depth -= 1 }
                Fuzz.require(depth >= 0, "more is closed than was opened")
            }
        }
        Fuzz.require(!isInString && depth == 0, "a trace that does not end")
    }
}
