// Devices as they are asked for, opened and plugged into a PC, with a played driver.

import Foundation
import Synchronization
import Testing

@testable import Mini

/// A guest with one device of the command line's, and what people were told.
private final class PluggedGuest {
    let device: VirtioPlug
    let driver: VirtioDriver
    private let told: Told
    private final class Told { var remarks: [String] = []; var reports: [String] = [] }
    var remarks: [String] { told.remarks }
    var reports: [String] { told.reports }

    init(_ open: any OpenDevice, index: Int = 3, kernel: LinuxVersion? = nil) throws {
        let told = Told()
        self.told = told
        let notes = LaunchNotes(
            report: { told.reports.append(string($0)) },
            remarks: Remarks { told.remarks.append(string($0)) })
        let memory = try GuestMemory(count: 1 << 20)
        device = try open.plug(index, into: PCSlots(memory: memory, kernel: kernel), notes)
        driver = VirtioDriver(try #require(device.transport as? VirtioLegacyFunction), in: memory)
    }
}

private func withDisk(_ body: (String) throws -> Void) throws {
    let path =
        FileManager.default.temporaryDirectory.path + "/mini-plug-\(UInt64.random(in: 0...(.max)))"
    try Data([UInt8](repeating: 7, count: 4096)).write(to: URL(filePath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }
    try body(path)
}

/// Asks for a sector.
private func readSector(_ driver: VirtioDriver, _ sector: UInt32) -> UInt8 {
    driver.put([UInt8](repeating: 0, count: 16), at: 0x40000)
    driver.memory.store32(0x40008, sector)
    driver.add(
        0,
        [
            .init(address: 0x40000, count: 16),
            .init(address: 0x41000, count: 512, isWritable: true),
            .init(address: 0x40100, count: 1, isWritable: true),
        ])
    driver.ring(0)
    return driver.bytes(0x40100, 1)[0]
}

@Suite struct VirtioPlugTests {
    @Test("a disk of the command line is read by a PC's driver, and counts as used from then on")
    func disk() throws {
        try withDisk { path in
            let open = try DiskSetup(DiskRequest(Text(stringLiteral: path + ",ro"))).open(beside: []
            ) { _ in }
            let guest = try PluggedGuest(open)
            #expect(guest.device.uses.isEmpty)
            #expect(readSector(guest.driver, 7) == 0 && guest.driver.bytes(0x41000, 1) == [7])
            #expect(guest.device.uses == [.device(3)])
            #expect(guest.remarks.isEmpty)
        }
    }

    @Test("what is wrong with a disk is said once, whichever guest meets it")
    func trouble() throws {
        try withDisk { path in
            let open = try DiskSetup(DiskRequest(Text(stringLiteral: path + ",ro"))).open(beside: []
            ) { _ in }
            let guest = try PluggedGuest(open)
            for _ in 0..<3 { #expect(readSector(guest.driver, 8) == 1) }
            #expect(
                guest.remarks == [
                    "the guest cannot read disk \"\(path)\": it asked for sectors beyond the end"
                ])
            let next = try PluggedGuest(open)
            #expect(readSector(next.driver, 8) == 1 && next.remarks.isEmpty)
        }
    }

    @Test("a driver that broke its queue is told once to whoever wants to know everything")
    func violation() throws {
        try withDisk { path in
            let open = try DiskSetup(DiskRequest(Text(stringLiteral: path + ",ro"))).open(beside: []
            ) { _ in }
            let guest = try PluggedGuest(open)
            guest.driver.makeAvailable(0, 9999)
            guest.driver.ring(0)
            for _ in 0..<3 { _ = try guest.device.serve(PollSet()) }
            #expect(
                guest.reports == [
                    "the guest's driver of disk \(path) is wrong and is not heard: it names a descriptor that its queue has not"
                ])
        }
    }

    @Test("a tap is left with nothing of what the guest's driver took, and that costs one call")
    func left() throws {
        let told = Mutex<[Int]>([])
        try SystemCall.hooked({ call in
            if call.number == .open { return Int(dup(0)) }
            guard call.number == .ioctl else { return nil }
            if call.arguments.1 == Tap.Request.setOffloads {
                told.withLock { $0.append(call.arguments.2) }
            }
            return 0
        }) {
            let setup = NetworkSetup(.tap(InterfaceName("tap7")!))
            setup.prepareForPC()
            let open = try setup.open(beside: []) { _ in }
            let guest = try PluggedGuest(open)
            guest.driver.ring(0)
            #expect(told.withLock { $0 } == [0, 7])
            for _ in 0..<2 { open.leave() }
            #expect(told.withLock { $0 } == [0, 7, 0])
        }
    }

    @Test(
        "segments are not offered to kernels whose driver would drop all frames with them",
        arguments: [
            (nil, 7), ("2.6.38-rc5", 7), ("3.1.10", 7), ("3.2.0-4-686", 1), ("3.10.108", 1),
            ("3.11.10.5", 1), ("3.12.9", 1), ("3.13.0-24-generic", 7), ("4.12.0", 7), ("6.1.0", 7),
        ] as [(String?, Int)])
    func segments(release: String?, offloads: Int) throws {
        let told = Mutex<[Int]>([])
        try SystemCall.hooked({ call in
            if call.number == .open { return Int(dup(0)) }
            guard call.number == .ioctl else { return nil }
            if call.arguments.1 == Tap.Request.setOffloads {
                told.withLock { $0.append(call.arguments.2) }
            }
            return 0
        }) {
            let setup = NetworkSetup(.tap(InterfaceName("tap7")!))
            setup.prepareForPC()
            let open = try setup.open(beside: []) { _ in }
            let kernel = release.flatMap { LinuxVersion(Text(stringLiteral: $0)) }
            let guest = try PluggedGuest(open, kernel: kernel)
            let offered = guest.driver.read(0, size: 4)
            #expect(offered == (offloads == 7 ? 0x1_19A3 : 0x1_1823))
            // Nor is the tap told of what was not offered.
            guest.driver.write(0x04, .max, size: 4)
            guest.driver.ring(0)
            #expect(told.withLock { $0 } == [0, offloads])
        }
    }

    @Test("the guest's end of a tap has an address of its own, the same each time")
    func address() {
        let tap = HardwareAddress([0xFE, 0x12, 0x34, 0x56, 0x78, 0x9A])
        #expect(tap.neighbour.bytes == [0x52, 0x54, 0x00, 0x56, 0x78, 0x9A])
        #expect(tap.neighbour.neighbour != tap.neighbour && tap.neighbour.bytes[0] & 3 == 2)
    }

    @Test("a card on a shared network has its place and its slot in its address")
    func sharedAddress() throws {
        try withDisk { path in
            let open = try NetworkSetup(.shared(Text(stringLiteral: path))).open(beside: []) { _ in
            }
            let guest = try PluggedGuest(open)
            let address = (0..<6).map { UInt8(guest.driver.read(0x14 + $0, size: 1)) }
            #expect(Array(address[..<3]) == [0x52, 0x54, 0] && Array(address[4...]) == [0x30, 0])
        }
    }

    @Test("the address of a card's slot is never anybody else's, from the file's opening on")
    func ownAddress() throws {
        try withDisk { path in
            let identity = try FileStatus.of(
                Text(stringLiteral: path), followsLink: true
            ).identity
            let page = SharedPage(start: 0, file: identity, descriptor: -1, slot: 0)
            let setup = NetworkSetup(.shared(Text(stringLiteral: path)))
            setup.prepareForPC()
            let open = try setup.open(beside: []) { _ in }
            #expect(throws: Errno.addressInUse) { _ = try page.makeListener() }
            let guest = try PluggedGuest(open)
            #expect(throws: Errno.addressInUse) { _ = try page.makeListener() }
            #expect(guest.driver.read(0x19, size: 1) == 0)
        }
    }

    @Test("random numbers are the kernel's; while it has none they are waited for")
    func random() throws {
        let notes = LaunchNotes(report: nil, remarks: Remarks { _ in })
        let memory = try GuestMemory(count: 1 << 20)
        let plug = try RandomPlug(RandomBytes(), into: PCSlots(memory: memory), notes)
        let driver = VirtioDriver(try #require(plug.transport as? VirtioLegacyFunction), in: memory)
        driver.add(0, [.init(address: 0x40000, count: 64, isWritable: true)])
        driver.ring(0)
        #expect(driver.takeUsed(0).map { $0.written } == [64])
        #expect(Set(driver.bytes(0x40000, 64)).count > 8)
        driver.add(0, [.init(address: 0x40000, count: 64, isWritable: true)])
        #expect(!plug.isDue)
        // EAGAIN.
        try SystemCall.hooked({ $0.number == .randomBytes ? -11 : nil }) {
            driver.ring(0)
            #expect(plug.isDue)
            // Whoever has looked looks again, each time; what is asked meanwhile is due at once.
            for _ in 0..<2 {
                let wait = try plug.serve(PollSet())
                #expect(wait == .milliseconds(100) && !plug.isDue)
            }
            driver.ring(0)
            #expect(plug.isDue)
            let wait = try plug.serve(PollSet())
            #expect(wait == .milliseconds(100) && !plug.isDue)
        }
        #expect(driver.takeUsed(0).isEmpty)
        #expect(try plug.serve(PollSet()) == nil)
        #expect(driver.takeUsed(0).map { $0.written } == [64])
    }

    @Test("a kernel without a call for random numbers has a device, opened before the sandbox")
    func randomDevice() throws {
        let numbers = SystemCall.hooked({ $0.number == .randomBytes ? -38 : nil }) { RandomBytes() }
        let descriptor = try #require(numbers.descriptor)
        // Behind the sandbox nothing is opened, and the call would end the process.
        let bytes = SystemCall.hooked({ call in
            #expect(call.number == .read && call.arguments.0 == Int(descriptor))
            return nil
        }) { numbers.make(300) }
        #expect(Set(try #require(bytes)).count > 8)
        var have = LaunchDescriptors()
        have.numbers = descriptor
        #expect(have.all.contains(descriptor))
        #expect(LaunchFeature.randomNumbers.rules(have, process: 1).map { $0.number } == [.read])
        #expect(
            LaunchFeature.randomNumbers.rules(LaunchDescriptors(), process: 1).map { $0.number }
                == [.randomBytes])
        #expect(RandomBytes().descriptor == nil)
    }

    @Test("a kernel that has no random numbers yet is told from one that has, by call or device")
    func randomNumbersReady() {
        #expect(RandomBytes().isReady)
        for (errno, isReady) in [(-11, false), (-38, true)] {
            let numbers = SystemCall.hooked({ $0.number == .randomBytes ? errno : nil }) {
                RandomBytes()
            }
            #expect(numbers.isReady == isReady)
        }
    }

    @Test("where there is neither call nor device, there are no random numbers")
    func noRandomNumbers() {
        let numbers = SystemCall.hooked({
            $0.number == .randomBytes ? -38 : $0.number == .open ? -2 : nil
        }) { RandomBytes() }
        #expect(numbers.descriptor == nil)
        SystemCall.hooked({ $0.number == .randomBytes ? -38 : nil }) {
            #expect(numbers.make(16) == [])
        }
    }
}
