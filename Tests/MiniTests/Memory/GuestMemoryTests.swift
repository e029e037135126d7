import Foundation
import Synchronization
import Testing

@testable import Mini

@Suite struct GuestMemoryTests {
    @Test("a range exists exactly when it lies inside memory")
    func ranges() throws {
        let memory = try GuestMemory(count: 0x2000)
        #expect(memory.range(0, 0x2000) != nil)
        #expect(memory.range(0x2000, 0) != nil)
        #expect(memory.range(0x1FFF, 1) != nil)
        #expect(memory.range(0x1FFF, 2) == nil)
        #expect(memory.range(0x2000, 1) == nil)
        #expect(memory.range(0x2001, 0) == nil)
        #expect(memory.range(0xFFFF_FFFF, 2) == nil)
        #expect(memory.range(1, 0xFFFF_FFFF) == nil)
    }

    @Test("memory that is excluded from forks is marked so")
    func excluded() throws {
        let memory = try GuestMemory(count: 0x3000)
        func isMarked() throws -> Bool {
            // Foundation's strings of files of /proc end after the first page.
            let file = try #require(FileHandle(forReadingAtPath: "/proc/self/smaps"))
            let report = String(decoding: file.readDataToEndOfFile(), as: UTF8.self)
            let lines = report.split(separator: "\n")
            // Mappings beside each other that are alike are one there.
            let first = try #require(
                lines.firstIndex {
                    let ends = $0.prefix { $0 != " " }.split(separator: "-")
                        .compactMap { UInt64($0, radix: 16) }
                    return ends.count == 2
                        && (ends[0]..<ends[1]).contains(UInt64(memory.address))
                })
            let flags = try #require(lines[first...].first { $0.hasPrefix("VmFlags:") })
            // "Do not copy."
            return flags.split(separator: " ").contains("dc")
        }
        #expect(try !isMarked())
        try memory.excludeFromFork()
        #expect(try isMarked())
    }

    @Test("memory of two parts has nothing between them, and ranges lie in one of them")
    func parts() throws {
        let memory = try GuestMemory(MemoryExtent(low: 0x2000, high: 0x3000))
        let start = MemoryExtent.highStart
        #expect(memory.count == 0x2000 && memory.extent.end == start + 0x3000)
        let ranges: [(UInt64, UInt32, Bool)] = [
            (0, 0x2000, true), (0x1FFF, 2, false), (0x2000, 0, true), (0x2000, 1, false),
            (0x2001, 0, false), (start - 1, 1, false), (start - 1, 2, false), (start, 0x3000, true),
            (start, 0x3001, false), (start + 0x2FFF, 1, true), (start + 0x3000, 0, true),
            (start + 0x3000, 1, false), (start + 0x3001, 0, false), (1 << 40, 0, false),
            (.max, 1, false), (.max, .max, false), (0, .max, false),
        ]
        for (address, count, isThere) in ranges {
            let range = memory.range(far: address, count)
            #expect((range != nil) == isThere, "\(address) \(count)")
            #expect(memory.extent.contains(address, UInt64(count)) == isThere)
            if count == 1 { #expect(memory.extent.contains(address) == isThere) }
        }
        #expect(memory.range(0x1000, 0x1001) == nil)
        // Each part's last bytes are memory, and are told apart.
        for (address, byte) in [(0x1FFF, 1), (start, 2), (start + 0x2FFF, 3)] as [(UInt64, UInt8)] {
            memory.writable(memory.range(far: address, 1)!)[0] = byte
        }
        #expect(
            memory.readable(memory.range(far: start, 0x3000)!).map { $0 } == [2]
                + [UInt8](repeating: 0, count: 0x2FFE) + [3])
        #expect(memory.readable(memory.range(0x1FFF, 1)!)[0] == 1)
        let last = memory.range(far: start + 0x1000, 0x2000)!.dropping(0x1FFF)
        #expect(last.count == 1 && memory.readable(last)[0] == 3)
    }

    @Test("who watches a page of the second part hears of writes there, by its address")
    func watched() throws {
        let memory = try GuestMemory(MemoryExtent(low: 0x1000, high: 0x3000))
        let start = UInt(MemoryExtent.highStart)
        memory.watchedLines[Int(start >> 12) + 1] = 1
        var heard: [(UInt, UInt32)] = []
        memory.watchedWillChange = { heard.append(($0, $1)) }
        _ = memory.writable(memory.range(far: UInt64(start) + 0xFF0, 0x1020)!)
        #expect(heard.map { $0.0 } == [start + 0x1000] && heard.map { $0.1 } == [0x1000])
        memory.watchedWillChange = nil
    }

    @Test("a second part that the machine does not have is an error, and nothing is kept")
    func noSecondPart() {
        // 1: all of it, untouchable; 2: the first part; 3: the second one.
        for failing in 1...3 {
            let calls = Mutex((maps: 0, unmaps: 0))
            SystemCall.hooked({ call in
                calls.withLock { calls in
                    if call.number == .unmap { calls.unmaps += 1 }
                    guard call.number == .map else { return nil }
                    calls.maps += 1
                    return calls.maps == failing ? -12 : nil
                }
            }) {
                #expect(throws: Errno.noMemory) {
                    try GuestMemory(MemoryExtent(low: 0x1000, high: 0x1000))
                }
            }
            #expect(calls.withLock { $0.unmaps } == (failing == 1 ? 0 : 1))
        }
    }

    @Test("words are little-endian, unaligned and never cross the end")
    func words() throws {
        let memory = try GuestMemory(count: 0x1000)
        #expect(memory.store32(0xFFC, 0x1122_3344))
        #expect(memory.load32(0xFFC) == 0x1122_3344)
        #expect(memory.readable(memory.range(0xFFC, 1)!)[0] == 0x44)
        #expect(memory.store32(1, 5) && memory.load32(1) == 5)
        #expect(!memory.store32(0xFFD, 1) && memory.load32(0xFFD) == nil)
        #expect(memory.load32(0xFFFF_FFFE) == nil)
    }

    @Test("memory that the machine does not have is an error")
    func noMemory() {
        SystemCall.hooked({ $0.number == .map ? -12 : nil }) {
            #expect(throws: Errno.noMemory) { try GuestMemory(count: 4096) }
        }
    }

    @Test("a mapping of no bytes is an error, as the kernel has it")
    func noBytes() {
        #expect(throws: Errno.invalid) { _ = try Mapping.guarded(count: 0) }
        #expect(throws: Errno.invalid) { _ = try Mapping.anonymous(count: 0) }
    }

    @Test("a file's pages laid over guest memory are private")
    func overlay() throws {
        let memory = try GuestMemory(count: 0x4000)
        let file = try Descriptor.open("/proc/self/exe", .readOnly)
        try memory.map(memory.range(0x1000, 0x1000)!, file: file.number, fileOffset: 0)
        #expect(memory.load32(0x1000) == 0x464C_457F)
        #expect(memory.store32(0x1000, 0))
        #expect(memory.load32(0) == 0 && memory.load32(0x2000) == 0)
        let again = try GuestMemory(count: 0x1000)
        try again.map(again.range(0, 0x1000)!, file: file.number, fileOffset: 0)
        #expect(again.load32(0) == 0x464C_457F)
    }
}

/// Not where vm.mmap_min_addr keeps us from it.
private let hasLowest = (try? Mapping.lowest(count: 0x2_0000)) != nil

@Suite struct MemoryAtZeroTests {
    @Test(
        "memory at address 0 holds all but its first byte, and is given back",
        .enabled(if: hasLowest, "no memory can be had at address 0 here"))
    func lowest() throws {
        do {
            let memory = try GuestMemory(count: 0x4_0000, at: .zero)
            #expect(memory.address == 0)
            #expect(memory.range(0, 1) == nil && memory.range(0, 0) == nil)
            #expect(memory.range(1, 0x3_FFFF) != nil && memory.range(1, 0x4_0000) == nil)
            #expect(memory.store32(1, 0x1122_3344) && memory.load32(1) == 0x1122_3344)
            let range = try #require(memory.range(0x1000, 4))
            memory.writable(range).copyBytes(from: [1, 2, 3, 4])
            #expect(Array(memory.readable(range)) == [1, 2, 3, 4])
            #expect(memory.load32(0x1000) == 0x0403_0201)
            // A view tells nothing from a null pointer.
            let view = ByteView(memory.readable(try #require(memory.range(0x1000, 16))))
            #expect(view.word(0) == 0x0403_0201 && view.find("\u{1}\u{2}\u{3}\u{4}") == 0)
            let file = try Descriptor.open("/proc/self/exe", .readOnly)
            try memory.map(memory.range(0x2000, 0x1000)!, file: file.number, fileOffset: 0)
            #expect(memory.load32(0x2000) == 0x464C_457F)
        }
        _ = try GuestMemory(count: 0x4_0000, at: .zero)
    }

    @Test("what is in the way of it stays, and is told")
    func inTheWay() throws {
        let calls = Mutex<[Int]>([])
        SystemCall.hooked({ call in
            calls.withLock { $0.append(call.number.rawValue) }
            // The kernel had to choose another address.
            return call.number == .map && call.arguments.0 == 0x1_0000 ? 0x7000_0000 : 0
        }) {
            #expect(throws: Errno.exists) { try GuestMemory(count: 0x4_0000, at: .zero) }
        }
        #expect(calls.withLock { $0 } == [SystemCall.Number.map, .unmap].map(\.rawValue))
    }

    @Test("a machine that keeps address 0 to itself says so, with nothing left")
    func forbidden() throws {
        let calls = Mutex<[Int]>([])
        SystemCall.hooked({ call in
            calls.withLock { $0.append(call.number.rawValue) }
            guard call.number == .map else { return 0 }
            return call.arguments.0 == 0 ? -1 : call.arguments.0
        }) {
            #expect(throws: LauncherError.engine(.addressZero(.notPermitted))) {
                try LguestEngine.makeMemoryAtZero(mebibytes: 4)
            }
            #expect(throws: LauncherError.engine(.tooMuchMemory(mebibytes: 1792, most: 1791))) {
                try LguestEngine.makeMemoryAtZero(mebibytes: 1792)
            }
        }
        #expect(calls.withLock { $0 } == [SystemCall.Number.map, .map, .unmap].map(\.rawValue))
    }
}
