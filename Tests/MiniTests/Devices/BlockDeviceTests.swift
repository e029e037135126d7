// The block device on a guest that is nothing but memory, with a real file behind it.

import Testing

@testable import Mini

/// Finds one bound buffer, and counts interrupts.
private final class BoundDevice: LguestDevice {
    let memory: GuestMemory
    var bound: UInt32?
    var interrupts: [UInt32] = []
    init(_ memory: GuestMemory) { self.memory = memory }
    func initialize(_ request: InitializeRequest) throws(Errno) -> Int { 20 }
    func run() throws(Errno) -> RunResult { throw .again }
    func interrupt(_ line: InterruptLine) throws(Errno) { interrupts.append(line.rawValue) }
    func dmaBuffer(_ key: DMAKey) throws(Errno) -> GuestAddress {
        guard let bound, key.rawValue == BlockGuest.page else { throw .noSuchFile }
        memory.store32(bound, 9)
        return GuestAddress(rawValue: bound)
    }
    func breakOut(_ on: Bool) throws(Errno) {}
    func watch(_ descriptors: [Int32]) {}
    func close() {}
}

/// A driver's side: sent record at 0x100, bound record at 0x200, data from 0x4000 on.
private final class BlockGuest {
    static let page: UInt32 = 0x1_1000
    let memory: GuestMemory
    let device: BoundDevice
    let block: BlockDevice
    let layout: GuestABI.DMALayout
    /// The disk's descriptor, which the disk owns.
    let file: Int32

    init(
        _ bytes: [UInt8], isReadOnly: Bool = false, layout: GuestABI.DMALayout = .lengthsFirst
    ) throws {
        memory = try GuestMemory(count: 0x1_3000)
        device = BoundDevice(memory)
        device.bound = 0x200
        self.layout = layout
        let opened = try memoryFile(bytes)
        file = opened.number
        let disk = Disk(
            opened, name: "d", sectorCount: UInt32(bytes.count / 512),
            isReadOnly: isReadOnly, isFile: true)
        var page = DevicePage(at: 0x1_0000)
        block = try #require(BlockDevice(disk, on: &page, in: memory, layout: layout))
        #expect(block.key.rawValue == Self.page)
    }

    func put(_ sections: [(start: UInt32, count: UInt16)], at record: UInt32) {
        MiniTests.put(sections + [(0, 0)], at: record, layout, to: memory)
    }

    /// - Returns: the result word, and what there is to tell.
    func request(
        _ type: UInt32, _ sector: UInt32, _ count: UInt32, sent: UInt32 = 0x100
    ) -> (result: UInt32?, trouble: Disk.Trouble?) {
        for (offset, word) in [(0, type), (4, sector), (8, count), (12, 0)] as [(UInt32, UInt32)] {
            memory.store32(Self.page + offset, word)
        }
        memory.store32(0x100, 0x77)
        let trouble = block.serve(GuestAddress(rawValue: sent), on: device)
        return (memory.load32(Self.page + 12), trouble)
    }

    func bytes(_ start: UInt32, _ count: UInt32) -> [UInt8] {
        Array(memory.readable(memory.range(start, count)!))
    }

    func fill(_ start: UInt32, _ bytes: [UInt8]) {
        memory.writable(memory.range(start, UInt32(bytes.count))!).copyBytes(from: bytes)
    }
}

/// Four sectors, each full of its number.
private let fourSectors: [UInt8] = (0..<2048).map { UInt8($0 / 512 + 1) }

@Suite struct BlockDeviceTests {
    @Test("the guest finds the disk's size in its page")
    func size() throws {
        #expect(try BlockGuest(fourSectors).memory.load32(BlockGuest.page + 16) == 4)
    }

    @Test(
        "a read fills the bound record's sections, says how much, and interrupts",
        arguments: [.lengthsFirst, .addressesFirst] as [GuestABI.DMALayout])
    func read(layout: GuestABI.DMALayout) throws {
        let guest = try BlockGuest(fourSectors, layout: layout)
        guest.put([(0x4000, 512), (0x6000, 512)], at: 0x200)
        let (result, trouble) = guest.request(0, 1, 1024)
        #expect(result == 1 && trouble == nil)
        #expect(guest.bytes(0x4000, 512) == Array(repeating: 2, count: 512))
        #expect(guest.bytes(0x6000, 512) == Array(repeating: 3, count: 512))
        #expect(
            guest.bytes(0x3FFF, 1) + guest.bytes(0x4200, 1) + guest.bytes(0x6200, 1) == [0, 0, 0])
        #expect(guest.memory.load32(0x200) == 1024)
        #expect(guest.memory.load32(0x100) == 0)
        #expect(guest.device.interrupts == [9])
    }

    @Test("a request that nobody can be told of does not have the result of the one before")
    func unanswered() throws {
        let guest = try BlockGuest(fourSectors)
        guest.put([(0x4000, 512)], at: 0x100)
        #expect(guest.request(1, 2, 512).result == 1)
        guest.device.bound = nil
        // The guest does not clear the word.
        guest.memory.store32(BlockGuest.page + 4, 3)
        #expect(guest.block.serve(0x100, on: guest.device) == nil)
        #expect(guest.memory.load32(BlockGuest.page + 12) == 0)
    }

    @Test("a write puts the sent record's sections on the disk, and nothing else")
    func write() throws {
        let guest = try BlockGuest(fourSectors)
        guest.fill(0x4000, Array(repeating: 0xA1, count: 512))
        guest.fill(0x4800, Array(repeating: 0xA2, count: 512))
        guest.put([(0x4000, 512), (0x4800, 512)], at: 0x100)
        #expect(guest.request(1, 2, 1024).result == 1)
        #expect(guest.memory.load32(0x200) == 0)
        #expect(guest.device.interrupts == [9])
        guest.put([(0x8000, 2048)], at: 0x200)
        #expect(guest.request(0, 0, 2048).result == 1)
        #expect(
            guest.bytes(0x8000, 2048)
                == fourSectors[..<1024] + Array(repeating: 0xA1, count: 512)
                + Array(repeating: 0xA2, count: 512))
    }

    @Test(
        "what leaves the disk is an I/O error and moves nothing",
        arguments: [(3, 1024), (4, 512), (0x7F_FFFF, 512), (0xFFFF_FFFF, 1024)]
            as [(UInt32, UInt32)])
    func beyond(sector: UInt32, count: UInt32) throws {
        let guest = try BlockGuest(fourSectors)
        guest.put([(0x4000, UInt16(count))], at: 0x200)
        guest.put([(0x4000, UInt16(count))], at: 0x100)
        for type in [0, 1] as [UInt32] {
            let (result, trouble) = guest.request(type, sector, count)
            #expect(result == 2)
            #expect(trouble?.failure == .beyondEnd)
        }
        #expect(guest.bytes(0x4000, count) == Array(repeating: 0, count: Int(count)))
        #expect(guest.device.interrupts == [9, 9])
        guest.put([(0x8000, 2048)], at: 0x200)
        _ = guest.request(0, 0, 2048)
        #expect(guest.bytes(0x8000, 2048) == fourSectors)
    }

    @Test("a record that points outside memory is an I/O error, whichever record it is")
    func outside() throws {
        let guest = try BlockGuest(fourSectors)
        guest.put([(0x4000, 512), (0x1_3000 - 511, 512)], at: 0x100)
        guest.put([(0x4000, 512), (0xFFFF_FF00, 512)], at: 0x200)
        #expect(guest.request(0, 0, 1024).result == 2)
        #expect(guest.request(1, 0, 1024).result == 2)
        #expect(guest.request(1, 0, 512, sent: 0xFFFF_FFF0).result == 2)
        #expect(guest.bytes(0x4000, 512) == Array(repeating: 0, count: 512))
    }

    @Test("sections that do not add up to the request are an I/O error")
    func uneven() throws {
        let guest = try BlockGuest(fourSectors)
        guest.put([(0x4000, 512)], at: 0x200)
        guest.put([(0x4000, 512)], at: 0x100)
        for type in [0, 1] as [UInt32] {
            #expect(guest.request(type, 0, 511).result == 2)
            #expect(guest.request(type, 0, 1024).result == 2)
        }
    }

    @Test("an unknown request is an I/O error")
    func unknown() throws {
        let guest = try BlockGuest(fourSectors)
        guest.put([(0x4000, 512)], at: 0x100)
        guest.put([(0x4000, 512)], at: 0x200)
        #expect(guest.request(2, 0, 512).result == 2)
    }

    @Test("without a bound record nobody is answered and nothing is touched")
    func unbound() throws {
        let guest = try BlockGuest(fourSectors)
        guest.device.bound = nil
        guest.put([(0x4000, 512)], at: 0x100)
        #expect(guest.request(1, 0, 512).result == 0)
        #expect(guest.device.interrupts.isEmpty)
    }

    @Test("a read-only disk refuses writes, and says so")
    func readOnly() throws {
        let guest = try BlockGuest(fourSectors, isReadOnly: true)
        guest.put([(0x4000, 512)], at: 0x100)
        let (result, trouble) = guest.request(1, 0, 512)
        #expect(result == 2)
        #expect(trouble == Disk.Trouble(action: .write, failure: .readOnly))
        #expect(trouble?.failure.text == "the disk is read-only")
    }

    @Test(
        "a hundred thousand malicious requests are answered and touch nothing outside the guest")
    func malicious() throws {
        let guest = try BlockGuest(Array(repeating: 7, count: 64 * 512))
        let canary = guest.memory.count
        var random = SplitMix(seed: 31)
        let addresses: [UInt32] = [
            0, 0x100, 0x200, 0x4000, 0x1_0000, 0x1_1000, canary - 1, canary, ~0,
        ]
        func address() -> UInt32 {
            Bool.random(using: &random)
                ? addresses.randomElement(using: &random)!
                : UInt32.random(in: 0..<canary + 0x2000, using: &random)
        }
        for _ in 0..<100_000 {
            for record in [0x100, 0x200] as [UInt32] {
                guest.put(
                    (0..<Int.random(in: 0...16, using: &random)).map { _ in
                        (address(), UInt16.random(in: 0...0x1200, using: &random))
                    }, at: record)
            }
            guest.device.bound =
                Int.random(in: 0..<8, using: &random) == 0 ? address() & 0x1_2F00 : 0x200
            let before = guest.device.interrupts.count
            let type = UInt32.random(in: 0...2, using: &random)
            let sector =
                Bool.random(using: &random) ? UInt32.random(in: 0..<70, using: &random) : address()
            let count =
                Bool.random(using: &random)
                ? UInt32.random(in: 0..<0x2000, using: &random) : address()
            let sent = address()
            SystemCall.hooked(Self.checked(guest.memory)) {
                _ = guest.request(type, sector, count, sent: sent)
            }
            #expect(guest.device.interrupts.count == before + 1)
        }
        #expect(try FileStatus.of(guest.file).size == 64 * 512)
    }

    /// Looks at every piece of memory that is handed to the kernel.
    private static func checked(_ memory: GuestMemory) -> @Sendable (SystemCall) -> Int? {
        let start = Int(bitPattern: memory.base)
        let end = start + Int(memory.count)
        return { call in
            guard [.readVector, .writeVector].contains(call.number) else { return nil }
            let words = UnsafeBufferPointer(
                start: UnsafePointer<Int>(bitPattern: call.arguments.1),
                count: call.arguments.2 * 2)
            for index in stride(from: 0, to: words.count, by: 2) {
                #expect(words[index] >= start && words[index] + words[index + 1] <= end)
            }
            return nil
        }
    }
}
