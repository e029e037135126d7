// Requests of a driver's to a disk on a real file.

import Foundation
import Testing

@testable import Mini

private final class BlockGuest {
    let driver: VirtioDriver
    let path: String
    private let collected: Collected
    private final class Collected { var troubles: [Disk.Trouble] = [] }

    static let header: UInt32 = 0x40000
    static let data: UInt32 = 0x41000
    static let status: UInt32 = 0x40800

    init(sectors: Int = 16, isReadOnly: Bool = false, contents: [UInt8]? = nil) throws {
        path =
            FileManager.default.temporaryDirectory.path
            + "/mini-virtio-\(UInt64.random(in: 0...(.max)))"
        let bytes =
            contents ?? (0..<sectors * 512).map { UInt8(truncatingIfNeeded: $0 / 512 + 1) }
        try Data(bytes).write(to: URL(filePath: path))
        let file = try Descriptor.open(
            Text(stringLiteral: path), isReadOnly ? .readOnly : .readWrite)
        let collected = Collected()
        self.collected = collected
        driver = VirtioDriver(
            VirtioBlock(
                Disk(
                    file, name: "some/where/root.img", sectorCount: UInt32(sectors),
                    isReadOnly: isReadOnly, isFile: true)
            ) { collected.troubles.append($0) })
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    var told: [Disk.Trouble] { collected.troubles }

    func add(_ type: UInt32, _ sector: UInt64, _ data: [VirtioDriver.Buffer]) {
        driver.memory.store32(Self.header, type)
        driver.memory.store32(Self.header + 4, 0)
        driver.memory.store32(Self.header + 8, UInt32(truncatingIfNeeded: sector))
        driver.memory.store32(Self.header + 12, UInt32(sector >> 32))
        driver.put([0xFF], at: Self.status)
        driver.add(
            0,
            [.init(address: UInt64(Self.header), count: 16)] + data + [
                .init(address: UInt64(Self.status), count: 1, isWritable: true)
            ])
    }

    /// One request.
    /// - Returns: its answer, and how many bytes were written.
    func request(_ type: UInt32, _ sector: UInt64, _ data: [VirtioDriver.Buffer] = []) -> (
        UInt8, UInt32
    ) {
        add(type, sector, data)
        driver.ring(0)
        let used = driver.takeUsed(0)
        guard used.count == 1, driver.takeInterrupt() == 1 else { return (0xEE, 0) }
        return (driver.bytes(Self.status, 1)[0], used[0].written)
    }

    func read(_ sector: UInt64, _ count: UInt32) -> (UInt8, UInt32) {
        request(0, sector, [.init(address: UInt64(Self.data), count: count, isWritable: true)])
    }
    func write(_ sector: UInt64, _ count: UInt32) -> (UInt8, UInt32) {
        request(1, sector, [.init(address: UInt64(Self.data), count: count)])
    }
    var file: [UInt8] { Array(try! Data(contentsOf: URL(filePath: path))) }
}

@Suite struct VirtioBlockTests {
    @Test("the driver is told the capacity, the sector size, the most buffers and the longest")
    func configuration() throws {
        let driver = try BlockGuest(sectors: 300).driver
        #expect(driver.read(0x14, size: 4) == 300 && driver.read(0x18, size: 4) == 0)
        #expect(driver.read(0x14 + 20, size: 4) == 512 && driver.read(0x14 + 12, size: 4) == 126)
        // As many of the longest buffers as a request can have are not too long.
        let longest = driver.read(0x14 + 8, size: 4)
        #expect(longest == 256 << 10 && 126 * longest <= 32 << 20)
        #expect(driver.read(0, size: 4) == 0x247)
        #expect(try BlockGuest(isReadOnly: true).driver.read(0, size: 4) == 0x267)
    }

    @Test("sectors are read into the buffers, in order")
    func read() throws {
        let guest = try BlockGuest()
        #expect(guest.read(3, 1024) == (0, 1025))
        #expect(
            guest.driver.bytes(BlockGuest.data, 1024) == [UInt8](repeating: 4, count: 512)
                + [UInt8](repeating: 5, count: 512))
        let parts = (0..<8).map {
            VirtioDriver.Buffer(
                address: 0x50000 + 0x1000 * UInt64($0), count: 128, isWritable: true)
        }
        #expect(guest.request(0, 15, parts.dropLast(4).map { $0 }) == (0, 513))
        #expect(guest.driver.bytes(0x53000, 128) == [UInt8](repeating: 16, count: 128))
    }

    @Test("sectors are written, and are in the file")
    func write() throws {
        let guest = try BlockGuest()
        guest.driver.put([UInt8](repeating: 0xAB, count: 1024), at: BlockGuest.data)
        #expect(guest.write(14, 1024) == (0, 1))
        #expect(Array(guest.file[14 * 512..<16 * 512]) == [UInt8](repeating: 0xAB, count: 1024))
        #expect(guest.file[14 * 512 - 1] == 14 && guest.file.count == 16 * 512)
    }

    @Test("a request of 126 buffers is done, as one of a header that is cut")
    func segments() throws {
        let guest = try BlockGuest(sectors: 126)
        let parts = (0..<126).map {
            VirtioDriver.Buffer(address: 0x50000 + 0x400 * UInt64($0), count: 512, isWritable: true)
        }
        #expect(guest.request(0, 0, parts) == (0, 126 * 512 + 1))
        #expect(
            guest.driver.bytes(0x50000 + 0x400 * 125, 512) == [UInt8](repeating: 126, count: 512))
        guest.driver.add(
            0,
            [
                .init(address: UInt64(BlockGuest.header), count: 3),
                .init(address: UInt64(BlockGuest.header) + 3, count: 13),
                .init(address: UInt64(BlockGuest.data), count: 513, isWritable: true),
            ])
        guest.driver.ring(0)
        #expect(guest.driver.takeUsed(0).map { $0.written } == [513])
        #expect(guest.driver.bytes(BlockGuest.data + 511, 2) == [1, 0])
    }

    @Test(
        "beyond the end, no whole sectors, or far too much: an error of the guest's, and nothing is moved"
    )
    func bounds() throws {
        let guest = try BlockGuest()
        for (sector, count) in [
            (16, 512), (15, 1024), (1 << 32, 512), (UInt64.max, 512), (0, 511), (0, 1),
            (0xFFFF_FFFF, 512),
        ] as [(UInt64, UInt32)] {
            #expect(guest.read(sector, count) == (1, 1), "\(sector)")
            #expect(guest.write(sector, count) == (1, 1), "\(sector)")
        }
        #expect(guest.file.count == 16 * 512 && guest.told.allSatisfy { $0.failure == .beyondEnd })
        #expect(guest.read(0, 0) == (0, 1))
    }

    @Test("a request of more than 32 MiB is refused, and that is what is told")
    func tooLong() throws {
        let guest = try BlockGuest()
        for (count, failure) in [(512, Disk.Failure.tooLong), (0, .beyondEnd)]
            as [(UInt32, Disk.Failure)]
        {
            var parts = (0..<64).map { _ in
                VirtioDriver.Buffer(address: 0x80000, count: 512 << 10, isWritable: true)
            }
            parts.append(.init(address: 0x80000, count: count, isWritable: true))
            #expect(guest.request(0, 0, parts) == (1, 1))
            #expect(guest.told.last == Disk.Trouble(action: .read, failure: failure))
        }
    }

    @Test("a read-only disk refuses writes")
    func readOnly() throws {
        let guest = try BlockGuest(isReadOnly: true)
        #expect(guest.write(0, 512) == (1, 1))
        #expect(guest.told == [.init(action: .write, failure: .readOnly)])
        #expect(guest.read(0, 512) == (0, 513))
    }

    @Test("a flush puts what was written on the disk, and a failing one is told")
    func flush() throws {
        let guest = try BlockGuest()
        var flushed = 0
        let count = UnsafeMutablePointer<Int>.allocate(capacity: 1)
        count.initialize(to: 0)
        defer { count.deallocate() }
        nonisolated(unsafe) let counter = count
        func flush(_ answer: Int) -> (UInt8, UInt32) {
            SystemCall.hooked({ call in
                guard call.number == .synchronizeData else { return nil }
                counter.pointee += 1
                return answer
            }) { guest.request(4, 0) }
        }
        #expect(flush(0) == (0, 1))
        flushed = counter.pointee
        #expect(flushed == 0)
        _ = guest.write(0, 512)
        #expect(flush(0) == (0, 1) && counter.pointee == 1)
        _ = guest.write(0, 512)
        #expect(flush(-5) == (1, 1))
        #expect(guest.told == [.init(action: .flush, failure: .host(.inputOutput))])
    }

    @Test("a write behind a barrier is on the disk when it is answered, and behind all before it")
    func barrier() throws {
        let guest = try BlockGuest()
        let calls = UnsafeMutablePointer<[Bool]>.allocate(capacity: 1)
        calls.initialize(to: [])
        defer {
            calls.deinitialize(count: 1)
            calls.deallocate()
        }
        nonisolated(unsafe) let log = calls
        nonisolated(unsafe) var answer = 0
        func hooked(_ body: () -> (UInt8, UInt32)) -> (UInt8, UInt32) {
            SystemCall.hooked({ call in
                if call.number == .synchronizeData {
                    log.pointee.append(true)
                    return answer
                }
                // Writes are done, and noted.
                if call.number == .writeVector { log.pointee.append(false) }
                return nil
            }) { body() }
        }
        let barrier: UInt32 = 1 << 31
        func write(_ type: UInt32, _ count: UInt32) -> (UInt8, UInt32) {
            guest.request(
                type, 0, count == 0 ? [] : [.init(address: UInt64(BlockGuest.data), count: count)])
        }
        #expect(hooked { write(1 | barrier, 512) } == (0, 1))
        #expect(log.pointee == [false, true])
        #expect(hooked { write(1, 512) } == (0, 1))
        #expect(hooked { write(1 | barrier, 512) } == (0, 1))
        #expect(log.pointee == [false, true, false, true, false, true])
        // One without data is a flush.
        #expect(hooked { write(1, 512) } == (0, 1))
        #expect(hooked { write(1 | barrier, 0) } == (0, 1))
        #expect(log.pointee[6] == false && log.pointee[7] == true)
        answer = -5
        #expect(hooked { write(1 | barrier, 512) } == (1, 1))
        #expect(guest.told == [.init(action: .write, failure: .host(.inputOutput))])
    }

    @Test("barriers are offered where virtio is legacy")
    func offersBarriers() throws {
        let guest = try BlockGuest()
        let disk = try #require(guest.driver.function.device as? VirtioBlock)
        #expect(disk.features & 1 == 1)
        let modern = VirtioModernFunction(disk, line: 1, memory: guest.driver.memory)
        modern.writePort(0, 4, 0)
        #expect(modern.readPort(4, 4) == disk.features & ~1)
    }

    @Test("the disk's name is the end of its file's")
    func name() throws {
        let guest = try BlockGuest()
        #expect(
            guest.request(
                8, 0, [.init(address: UInt64(BlockGuest.data), count: 20, isWritable: true)]) == (
                    0, 21
                ))
        #expect(
            guest.driver.bytes(BlockGuest.data, 20) == Array("root.img".utf8)
                + [UInt8](repeating: 0, count: 12))
        #expect(
            guest.request(
                8, 0, [.init(address: UInt64(BlockGuest.data), count: 4, isWritable: true)]) == (
                    0, 5
                ))
    }

    @Test("an unknown request is told so; one without a header or an answer's byte harms nobody")
    func malformed() throws {
        let guest = try BlockGuest()
        #expect(guest.request(99, 0) == (2, 1))
        let driver = guest.driver
        driver.add(
            0,
            [
                .init(address: 0x40000, count: 15),
                .init(address: 0x40800, count: 1, isWritable: true),
            ])
        driver.add(0, [.init(address: 0x40000, count: 16)])
        driver.add(
            0,
            [
                .init(address: 0x40000, count: 16),
                .init(address: 0x40800, count: 0, isWritable: true),
            ])
        driver.ring(0)
        #expect(
            driver.takeUsed(0).map { $0.written } == [1, 0, 0] && driver.bytes(0x40800, 1) == [1])
        #expect(guest.read(0, 512) == (0, 513))
    }

    @Test("data that lie over the ring, the header and the answer are the guest's own misfortune")
    func overlap() throws {
        let guest = try BlockGuest()
        guest.add(0, 0, [.init(address: 0x10000, count: 4096, isWritable: true)])
        guest.driver.ring(0)
        #expect(guest.driver.bytes(BlockGuest.status, 1) == [0])
        guest.driver.start()
        #expect(guest.read(1, 512) == (0, 513))
    }

    @Test("reads that make one another available end with the ring's entries, until the next ring")
    func endless() throws {
        // Each sector has the index behind its own request, and the header of a request for the next sector.
        let sectors = 300
        var contents = [UInt8](repeating: 0, count: sectors * 512)
        for sector in 0..<sectors {
            let isLast = sector == sectors - 1
            contents.put(UInt16(isLast ? sector + 1 : sector + 2), at: sector * 512)
            contents.put(UInt64(sector + 1), at: sector * 512 + 10)
        }
        let guest = try BlockGuest(sectors: sectors, contents: contents)
        let driver = guest.driver
        let index = UInt64(driver.available(0) + 2)
        // All entries of the ring are the same chain, number 0.
        guest.add(
            0, 0,
            [
                .init(address: index, count: 2, isWritable: true),
                .init(address: UInt64(BlockGuest.header), count: 16, isWritable: true),
                .init(address: UInt64(BlockGuest.data), count: 494, isWritable: true),
            ])
        var counts: [Int] = []
        for _ in 0..<3 {
            driver.ring(0)
            let used = driver.load16(driver.used(0) + 2)
            counts.append(Int(used))
        }
        #expect(counts == [128, 256, 300])
    }

    @Test("after so many bytes signals are heard, and nothing more is served when the launch ends")
    func heard() throws {
        let guest = try BlockGuest()
        let disk = try #require(guest.driver.function.device as? VirtioBlock).disk
        #expect(disk.mostMoved == 64 << 20)
        disk.mostMoved = 1024
        var asked = 0
        var goesOn = true
        disk.wait = { _ in
            asked += 1
            return goesOn
        }
        let sector = VirtioDriver.Buffer(address: 0x50000, count: 512, isWritable: true)
        #expect(guest.request(0, 0, [sector]) == (0, 513))
        #expect(asked == 0)
        // Behind the second of three.
        for _ in 0..<3 { guest.add(0, 0, [sector]) }
        guest.driver.ring(0)
        #expect(guest.driver.takeUsed(0).count == 3)
        #expect(asked == 2)
        goesOn = false
        for _ in 0..<3 { guest.add(0, 0, [sector]) }
        guest.driver.ring(0)
        #expect(guest.driver.takeUsed(0).count == 2)
        #expect(asked == 3)
    }

    @Test("a file that has become shorter is told once a request, and grows by none")
    func shrunk() throws {
        let guest = try BlockGuest()
        #expect(truncate(guest.path, 512) == 0)
        #expect(guest.write(8, 512) == (1, 1) && guest.read(8, 512).0 == 1)
        #expect(
            guest.told == [
                .init(action: .write, failure: .shrunk), .init(action: .read, failure: .shrunk),
            ])
        #expect(guest.file.count == 512)
    }
}
