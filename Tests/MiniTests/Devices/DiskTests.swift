// Disks on real files, and what becomes of them when the host fails.

import CShim
import Foundation
import Testing

@testable import Mini

private func sectors(_ count: Int) -> [UInt8] { (0..<count * 512).map { UInt8($0 / 512 + 1) } }

/// Opens as a launcher does, and keeps what was said.
private func open(_ word: Text) throws(LauncherError) -> (disk: Disk, notices: [String]) {
    var notices: [String] = []
    let disk = try DiskRequest(word).open { notices.append(string($0)) }
    return (disk, notices)
}

private func withFile(_ count: Int, _ body: (String) throws -> Void) throws {
    let path =
        FileManager.default.temporaryDirectory.path + "/mini-disk-\(UInt64.random(in: 0...(.max)))"
    try Data((0..<count).map { UInt8(truncatingIfNeeded: $0 / 512 + 1) }).write(
        to: URL(filePath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }
    try body(path)
}

/// - Returns: what went wrong.
private func failureOfSynchronizing(_ disk: Disk, failing: Bool) -> Errno? {
    let failure: Errno? = SystemCall.hooked({ call in
        failing && call.number == .synchronizeData ? -5 : nil
    }) {
        do throws(Errno) { try disk.synchronize() } catch { return error }
        return nil
    }
    return failure
}

/// A kernel for which a file of this machine's is a block device.
private struct PlayedDevice: Sendable {
    let path: String
    let identity: FileIdentity
    /// A file system has it.
    var isMounted = false
    /// It can be opened for writing, and takes none.
    var isReadOnly = false
    /// A loop device shows this.
    var loop: (device: UInt64, inode: UInt64, ofDevice: UInt64, offset: UInt64)?
    /// So many bytes of it; 0 for all.
    var loopSize: UInt64 = 0
    /// The loop device that answers; ours is the first one.
    var loopNumber: UInt32 = 0

    init(_ path: String) throws {
        self.path = path
        identity = try FileStatus.of(Text(stringLiteral: path), followsLink: true).identity
    }

    func play<Value>(_ body: () throws(LauncherError) -> Value) throws(LauncherError) -> Value {
        try SystemCall.hooked({ answer($0) }, body)
    }

    private func answer(_ call: SystemCall) -> Int? {
        let (first, second, third, fourth, _, _) = call.arguments
        switch call.number {
        case .open:
            let isAlone = second & 0o200 != 0
            guard isAlone, isMounted, name(at: first) == path else { return nil }
            return -16
        case .fileStatus: return status(call, at: second, isAsked: true)
        case .fileStatusAt where fourth & 0x100 == 0:
            return status(call, at: third, isAsked: name(at: second) == path)
        case .ioctl: return control(second, third)
        default: return nil
        }
    }

    private func name(at address: Int) -> String {
        String(cString: UnsafePointer<CChar>(bitPattern: address)!)
    }

    private func status(_ call: SystemCall, at address: Int, isAsked: Bool) -> Int? {
        let (first, second, third, fourth, _, _) = call.arguments
        guard isAsked,
            mini_syscall(call.number.rawValue, first, second, third, fourth, 0, 0) == 0
        else { return nil }
        let status = UnsafeMutablePointer<mini_stat>(bitPattern: address)!
        guard UInt64(status.pointee.device) == identity.device,
            UInt64(status.pointee.inode) == identity.inode
        else { return 0 }
        status.pointee.mode = 0o060600
        status.pointee.special = 0x700
        return 0
    }

    private func control(_ request: Int, _ address: Int) -> Int? {
        let place = UnsafeMutableRawPointer(bitPattern: address)!
        switch request {
        case 0x8008_1272: place.storeBytes(of: 2048, as: UInt64.self)
        case 0x4C05:
            guard let loop else { return -6 }
            place.storeBytes(of: loop.device, as: UInt64.self)
            place.storeBytes(of: loop.inode, toByteOffset: 8, as: UInt64.self)
            place.storeBytes(of: loop.ofDevice, toByteOffset: 16, as: UInt64.self)
            place.storeBytes(of: loop.offset, toByteOffset: 24, as: UInt64.self)
            place.storeBytes(of: loopSize, toByteOffset: 32, as: UInt64.self)
            place.storeBytes(of: loopNumber, toByteOffset: 40, as: UInt32.self)
        case 0x125E: place.storeBytes(of: isReadOnly ? 1 : 0, as: Int32.self)
        default: return -25
        }
        return 0
    }
}

@Suite struct DiskTests {
    @Test("`,ro` behind the name is read-only, and can be a part of the name all the same")
    func request() {
        #expect(DiskRequest("root.img") == DiskRequest(name: "root.img"))
        #expect(DiskRequest("root.img,ro") == DiskRequest(name: "root.img", isReadOnly: true))
        #expect(DiskRequest("a,ro,ro") == DiskRequest(name: "a,ro", isReadOnly: true))
        #expect(DiskRequest("a,ro,rw") == DiskRequest(name: "a,ro"))
        #expect(DiskRequest("a,raw") == DiskRequest(name: "a", isRaw: true))
        #expect(DiskRequest("a,ro,raw") == DiskRequest(name: "a", isReadOnly: true, isRaw: true))
        #expect(DiskRequest("a,raw,ro") == DiskRequest(name: "a", isReadOnly: true, isRaw: true))
        #expect(DiskRequest("a,raw,rw") == DiskRequest(name: "a,raw"))
    }

    @Test("a file is a disk of its whole sectors, and of the rest a person is told")
    func file() throws {
        try withFile(5 * 512 + 100) { path in
            let (disk, notices) = try open(Text(stringLiteral: path))
            #expect(disk.sectorCount == 5)
            #expect(!disk.isReadOnly)
            #expect(
                notices == [
                    "disk \"\(path)\": the guest cannot see its last 100 bytes, which are no whole sector of 512"
                ])
        }
        try withFile(5 * 512) { path in
            let (_, notices) = try open(Text(stringLiteral: path))
            #expect(notices.isEmpty)
        }
    }

    @Test(
        "an image in a format of its own is refused, unless its bytes are meant",
        arguments: [
            ("a qcow2", 0, [0x51, 0x46, 0x49, 0xFB, 0, 0, 0, 3]),
            ("a qcow", 0, [0x51, 0x46, 0x49, 0xFB, 0, 0, 0, 1]),
            ("a VMDK", 0, Array("KDMV".utf8)), ("a VDI", 0x40, [0x7F, 0x10, 0xDA, 0xBE]),
            ("a VHDX", 0, Array("vhdxfile".utf8)), ("a VHD", 0, Array("conectix".utf8)),
            ("a VHD", 1536, Array("conectix".utf8)), ("a QED", 0, [0x51, 0x45, 0x44, 0]),
        ] as [(Text, UInt64, [UInt8])])
    func formats(format: Text, at offset: UInt64, signature: [UInt8]) throws {
        try withFile(2048) { path in
            let name = Text(stringLiteral: path)
            let file = try FileHandle(forWritingTo: URL(filePath: path))
            try file.seek(toOffset: offset)
            try file.write(contentsOf: Data(signature))
            try file.close()
            #expect(throws: LauncherError.disk(name: name, .format(format))) { try open(name) }
            #expect(try open("\(name),raw").disk.sectorCount == 4)
        }
    }

    @Test("what a file is, is told before that it is too short")
    func short() throws {
        try withFile(0) { path in
            let name = Text(stringLiteral: path)
            try Data("# Disk DescriptorFile\nversion=1\n".utf8).write(to: URL(filePath: path))
            #expect(throws: LauncherError.disk(name: name, .format("a VMDK"))) { try open(name) }
            #expect(throws: LauncherError.disk(name: name, .tooSmall(size: 32))) {
                try open("\(name),raw")
            }
            try Data([0x28, 0xB5, 0x2F, 0xFD]).write(to: URL(filePath: path))
            var notices: [String] = []
            #expect(throws: LauncherError.disk(name: name, .tooSmall(size: 4))) { try open(name) }
            _ = try? DiskRequest(name).open { notices.append(string($0)) }
            #expect(notices.isEmpty)
        }
    }

    @Test("of a disk that is refused nothing else is said")
    func oneLine() throws {
        try withFile(700) { path in
            let name = Text(stringLiteral: path)
            try Data([0x1F, 0x8B, 8] + [UInt8](repeating: 0, count: 697)).write(
                to: URL(filePath: path))
            let (first, _) = try open("\(name),ro")
            var notices: [String] = []
            func refusal(beside others: [DeviceClaim]) -> LauncherError? {
                do throws(LauncherError) {
                    _ = try DiskRequest(name).open(beside: others) { notices.append(string($0)) }
                    return nil
                } catch { return error }
            }
            #expect(refusal(beside: []) == .diskInUse(name: name))
            #expect(refusal(beside: [first.claim]) == .disk(name: name, .twice(other: name)))
            #expect(notices.isEmpty && first.isReadOnly)
        }
    }

    @Test("of a compressed image a person is told that the guest sees it so")
    func compressed() throws {
        try withFile(512) { path in
            try Data([0x1F, 0x8B, 8] + [UInt8](repeating: 0, count: 509)).write(
                to: URL(filePath: path))
            #expect(
                try open(Text(stringLiteral: path)).notices == [
                    "disk \"\(path)\" holds a gzip file, which the guest sees as it is"
                ])
        }
    }

    @Test("one disk cannot be there twice, by whatever name, but for reading")
    func twice() throws {
        try withFile(512) { path in
            let name = Text(stringLiteral: path)
            let (link, other) = (path + "-link", path + "-other")
            try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: path)
            try FileManager.default.linkItem(atPath: path, toPath: other)
            defer {
                for name in [link, other] { try? FileManager.default.removeItem(atPath: name) }
            }
            let (first, _) = try open(name)
            for word in [path, link, other, link + ",ro"] {
                let request = DiskRequest(Text(stringLiteral: word))
                #expect(throws: LauncherError.disk(name: request.name, .twice(other: name))) {
                    try request.open(beside: [first.claim]) { _ in }
                }
            }
            #expect(LauncherError.disk(name: name, .twice(other: name)).exitCode == 2)
        }
        try withFile(512) { path in
            let name = Text(stringLiteral: path)
            let (first, _) = try open("\(name),ro")
            let second = try DiskRequest("\(name),ro").open(beside: [first.claim]) { _ in }
            #expect(second.sectorCount == first.sectorCount)
        }
    }

    @Test("a pipe is no disk, and nobody waits for its other end")
    func pipe() throws {
        let path = FileManager.default.temporaryDirectory.path + "/mini-fifo-\(UUID().uuidString)"
        try #require(mkfifo(path, 0o600) == 0)
        defer { unlink(path) }
        let name = Text(stringLiteral: path)
        for word in [name, "\(name),ro"] as [Text] {
            #expect(throws: LauncherError.disk(name: name, .notAFile)) { try open(word) }
        }
        let kernel = try FileSource.open(name, .readOnly, "open")
        #expect(throws: LoaderError.image(name: name, .notAFile)) {
            _ = try KernelImage.examine(kernel.number, name: name)
        }
        // A table in a pipe that nobody writes to is empty.
        #expect(try SmallFile.read(name) == Text())
    }

    @Test("what is no disk is refused")
    func refused() throws {
        for word in ["/tmp", "/tmp,ro"] as [Text] {
            #expect(throws: LauncherError.disk(name: "/tmp", .directory)) { try open(word) }
        }
        #expect(throws: LauncherError.disk(name: "/dev/null", .notAFile)) { try open("/dev/null") }
        #expect(throws: LauncherError.host("open disk", name: "/nowhere", .noSuchFile)) {
            try open("/nowhere")
        }
        try withFile(511) { path in
            let name = Text(stringLiteral: path)
            #expect(throws: LauncherError.disk(name: name, .tooSmall(size: 511))) {
                try open(name)
            }
        }
    }

    @Test("a disk has less than two terabytes, and its last sector can be had")
    func large() throws {
        try withFile(0) { path in
            let name = Text(stringLiteral: path)
            let most = UInt64(UInt32.max) * 512
            try #require(truncate(path, Int(most)) == 0)
            let memory = try GuestMemory(count: 0x1000)
            try {
                let (disk, _) = try open(name)
                #expect(disk.sectorCount == .max)
                memory.store32(0, 0xFEED)
                try disk.write(.max - 1, from: [memory.range(0, 512)!], of: memory)
                try disk.read(.max - 1, into: [memory.range(512, 512)!], of: memory)
                #expect(memory.load32(512) == 0xFEED)
            }()
            try #require(truncate(path, Int(most) + 512) == 0)
            let error = LauncherError.disk(name: name, .tooLarge(size: most + 512))
            #expect(throws: error) { try open(name) }
            #expect(
                string(error.text)
                    == "disk \"\(path)\" has 2199023255552 bytes: a guest's disk has less than 2 TiB"
            )
        }
    }

    @Test("who writes has the disk alone, readers share it")
    func locks() throws {
        try withFile(512) { path in
            let name = Text(stringLiteral: path)
            try {
                let (first, _) = try open(name)
                #expect(throws: LauncherError.diskInUse(name: name)) { try open(name) }
                #expect(throws: LauncherError.diskInUse(name: name)) { try open("\(name),ro") }
                _ = first.name
            }()
            let (reader, _) = try open("\(name),ro")
            let (other, _) = try open("\(name),ro")
            #expect(throws: LauncherError.diskInUse(name: name)) { try open(name) }
            #expect(reader.isReadOnly && other.isReadOnly)
        }
    }

    @Test("a file that cannot be written is read-only, and a person is told")
    func unwritable() throws {
        try withFile(512) { path in
            let name = Text(stringLiteral: path)
            let (disk, notices) = try SystemCall.hooked({ call in
                call.number == .open && call.arguments.1 & 3 == 2 ? -30 : nil
            }) { () throws(LauncherError) in try open(name) }
            #expect(disk.isReadOnly)
            #expect(
                notices == ["disk \"\(path)\" cannot be written: the guest's writes will fail"])
        }
    }

    @Test("a block device that a file system has is no disk, but for reading")
    func mounted() throws {
        try withFile(2048) { path in
            let name = Text(stringLiteral: path)
            var device = try PlayedDevice(path)
            try {
                let (disk, notices) = try device.play { () throws(LauncherError) in try open(name) }
                #expect(disk.sectorCount == 4 && !disk.isReadOnly && !disk.isFile)
                #expect(notices.isEmpty)
            }()
            device.isMounted = true
            let error = LauncherError.disk(name: name, .claimed)
            #expect(throws: error) {
                try device.play { () throws(LauncherError) in try open(name) }
            }
            #expect(
                string(error.text)
                    == "disk \"\(path)\" is in use: it is mounted, or a part of another device, or another process has it"
            )
            #expect(error.exitCode == 1)
            let (disk, _) = try device.play { () throws(LauncherError) in try open("\(name),ro") }
            #expect(disk.isReadOnly)
            // That one has it, and it is no other's.
            let other = LauncherError.disk(name: name, .twice(other: name))
            #expect(throws: other) {
                try device.play { () throws(LauncherError) in
                    try DiskRequest(name).open(beside: [disk.claim]) { _ in }
                }
            }
        }
    }

    @Test("a block device that takes no writes is read-only, and a person is told")
    func readOnlyDevice() throws {
        try withFile(2048) { path in
            let name = Text(stringLiteral: path)
            var device = try PlayedDevice(path)
            device.isReadOnly = true
            let (disk, notices) = try device.play { () throws(LauncherError) in try open(name) }
            #expect(disk.isReadOnly)
            #expect(
                notices == ["disk \"\(path)\" cannot be written: the guest's writes will fail"])
            // F_GETFL: O_RDONLY.
            #expect(try SystemCall.make(.fileControl, Int(disk.descriptor), 3) & 3 == 0)
            let second = try device.play { () throws(LauncherError) in try open("\(name),ro") }
            #expect(second.notices.isEmpty)
            // As a CD that is mounted.
            device.isMounted = true
            let mounted = try device.play { () throws(LauncherError) in try open(name) }
            #expect(mounted.disk.isReadOnly && mounted.notices == notices)
        }
    }

    @Test("a loop device and its file are one disk, and so are two that show the same of it")
    func loopDevice() throws {
        try withFile(2048) { path in
            try withFile(2048) { other in
                let (file, loop) = (Text(stringLiteral: path), Text(stringLiteral: other))
                let status = try FileStatus.of(file, followsLink: true)
                var device = try PlayedDevice(other)
                let behind = (status.identity.device, status.identity.inode)
                device.loop = (behind.0, behind.1, 0, 0)
                let (disk, _) = try open(file)
                let error = LauncherError.disk(name: loop, .twice(other: file))
                #expect(throws: error) {
                    try device.play { () throws(LauncherError) in
                        try DiskRequest(loop).open(beside: [disk.claim]) { _ in }
                    }
                }
                // Nor is it somebody else's where it cannot be had alone.
                device.isMounted = true
                #expect(throws: error) {
                    try device.play { () throws(LauncherError) in
                        try DiskRequest(loop).open(beside: [disk.claim]) { _ in }
                    }
                }
                device.isMounted = false
                for number in [0, 1] as [UInt32] {
                    // A partition gets the whole device's answer, and is not the whole.
                    device.loopNumber = number
                    let isSame = number == 0
                    let (second, _) = try device.play { () throws(LauncherError) in try open(loop) }
                    #expect((second.medium == disk.medium) == isSame)
                    #expect((disk.medium == second.medium) == isSame)
                    #expect(second.medium != Medium(.file(FileIdentity(device: 1, inode: 1))))
                    // By its name it is known for the same.
                    let named = try device.play { () throws(LauncherError) in Medium.of(loop) }
                    #expect(named == second.medium && (named == disk.medium) == isSame)
                }
                device.loopNumber = 0
                for (size, end) in [(0, .max), (1024, 1536), (.max, .max)] as [(UInt64, UInt64)] {
                    device.loop = (behind.0, behind.1, 0, 512)
                    device.loopSize = size
                    let named = try device.play { () throws(LauncherError) in Medium.of(loop) }
                    let bytes = named?.shown?.bytes
                    #expect(bytes?.start == 512 && bytes?.end == end)
                }
            }
        }
    }

    @Test("loop devices of one file that have no byte of it in common are two disks")
    func loopOffsets() {
        let (one, other) = (DeviceNumber(major: 7, minor: 1), DeviceNumber(major: 7, minor: 2))
        func loop(
            _ number: DeviceNumber, _ inode: UInt64, _ device: DeviceNumber?, from start: UInt64,
            to end: UInt64 = .max
        ) -> Medium {
            let file = Medium.Node.file(FileIdentity(device: 1, inode: inode))
            return Medium(
                .device(number),
                shown: Medium.Shown(
                    node: device.map { .device($0) } ?? file,
                    bytes: Medium.Extent(start: start, end: end)))
        }
        #expect(loop(one, 2, nil, from: 512) == loop(other, 2, nil, from: 512))
        // The first one goes on behind where the other begins.
        #expect(loop(one, 2, nil, from: 512) == loop(other, 2, nil, from: 1024))
        for end in [1024, 1025, .max] as [UInt64] {
            let (first, second) = (
                loop(one, 2, nil, from: 512, to: end), loop(other, 2, nil, from: 1024, to: 1536)
            )
            #expect((first == second) == (end > 1024) && (second == first) == (end > 1024))
        }
        #expect(loop(one, 2, nil, from: 512) != loop(other, 3, nil, from: 512))
        // Of a device's node the device counts.
        let device = DeviceNumber(major: 8, minor: 1)
        #expect(loop(one, 2, device, from: 0) == loop(other, 3, device, from: 0))
        #expect(loop(one, 2, device, from: 0) != loop(other, 2, nil, from: 0))
        #expect(loop(one, 2, nil, from: 0) == loop(one, 3, nil, from: 512))
        #expect(loop(one, 2, device, from: 0) == Medium(.device(device)))
    }

    @Test("a file that has become shorter fails reads and writes, and does not grow again")
    func shrinking() throws {
        try withFile(4 * 512) { path in
            let (disk, _) = try open(Text(stringLiteral: path))
            let memory = try GuestMemory(count: 0x1000)
            try #require(truncate(path, 1000) == 0)
            try disk.read(0, into: [memory.range(0, 512)!], of: memory)
            #expect(throws: Disk.Failure.shrunk) {
                try disk.read(1, into: [memory.range(0, 512)!], of: memory)
            }
            #expect(throws: Disk.Failure.shrunk) {
                try disk.write(1, from: [memory.range(0, 512)!], of: memory)
            }
            try disk.write(0, from: [memory.range(0, 512)!], of: memory)
            #expect(try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int == 1000)
        }
    }

    @Test("a write right behind the last one is refused when the file was cut there in between")
    func cutBetweenWrites() throws {
        try withFile(8 * 512) { path in
            let (disk, _) = try open(Text(stringLiteral: path))
            let memory = try GuestMemory(count: 0x1000)
            let sector = [memory.range(0, 512)!]
            try disk.write(3, from: sector, of: memory)
            try #require(truncate(path, 4 * 512) == 0)
            for place in [4, 5, 7, 4] as [UInt32] {
                #expect(throws: Disk.Failure.shrunk) {
                    try disk.write(place, from: sector, of: memory)
                }
            }
            try disk.read(3, into: sector, of: memory)
            #expect(throws: Disk.Failure.shrunk) { try disk.read(4, into: sector, of: memory) }
            #expect(throws: Disk.Failure.shrunk) { try disk.write(4, from: sector, of: memory) }
            #expect(try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int == 2048)
        }
    }

    @Test("transfers that the host does in parts arrive whole")
    func parts() throws {
        try withFile(4 * 512) { path in
            let (disk, _) = try open(Text(stringLiteral: path))
            let memory = try GuestMemory(count: 0x3000)
            let sections = [memory.range(0x10, 700)!, memory.range(0x1000, 324)!]
            try SystemCall.hooked({ call in
                guard call.number == .readVector else { return nil }
                // The first piece alone, and no more than 100 bytes of it.
                let first = UnsafePointer<Int>(bitPattern: call.arguments.1)!
                return try? SystemCall.hooked({ _ in nil }) {
                    try SystemCall.make(.read, call.arguments.0, first[0], min(first[1], 100))
                }
            }) { try disk.read(1, into: sections, of: memory) }
            let bytes = sections.flatMap { Array(memory.readable($0)) }
            #expect(bytes == Array(sectors(4)[512..<1536]))
        }
    }

    @Test(
        "a full or broken host disk is an error of that transfer, and the next one finds its place")
    func hostErrors() throws {
        try withFile(4 * 512) { path in
            let (disk, _) = try open(Text(stringLiteral: path))
            let memory = try GuestMemory(count: 0x1000)
            let range = memory.range(0, 512)!
            for (errno, value) in [(Errno.noSpace, -28), (.inputOutput, -5)] as [(Errno, Int)] {
                #expect(throws: Disk.Failure.host(errno)) {
                    try SystemCall.hooked({ $0.number == .writeVector ? value : nil }) {
                        try disk.write(1, from: [range], of: memory)
                    }
                }
            }
            #expect(throws: Disk.Failure.host(.noSpace)) {
                try SystemCall.hooked({ $0.number == .writeVector ? 0 : nil }) {
                    try disk.write(1, from: [range], of: memory)
                }
            }
            try disk.read(2, into: [range], of: memory)
            #expect(Array(memory.readable(range)) == Array(repeating: 3, count: 512))
        }
    }

    @Test(
        "what was written is put on the disk once, by an assistant; its failure is told, and what ends the launch ends the wait"
    )
    func assisted() throws {
        try withFile(512) { path in
            let (disk, _) = try open(Text(stringLiteral: path))
            let memory = try GuestMemory(count: 0x1000)
            let played = PlayedAssistant()
            try played.play {
                disk.assistant = try Assistant(synchronizing: [disk.descriptor])
                disk.question = 3
                // Nothing was written: nobody is asked.
                #expect(failureOfSynchronizing(disk, failing: true) == nil)
                #expect(played.now.asked == 0)
                try disk.write(0, from: [memory.range(0, 512)!], of: memory)
                for (answer, errno) in [(5, .inputOutput), (28, .noSpace)] as [(UInt8, Errno)] {
                    played.change { $0.answer = answer }
                    #expect(throws: errno) { try disk.synchronize() }
                }
                played.change { $0.answer = nil }
                #expect(throws: Errno.inputOutput) { try disk.synchronize() }
                #expect(played.now.asked == 2 && played.now.question == 3)
                played.change { $0.answer = 0 }
                disk.wait = { _ in false }
                try disk.synchronize()
                disk.wait = { _ in true }
                try disk.synchronize()
                #expect(played.now.asked == 4)
                // All of it is there.
                try disk.synchronize()
                #expect(played.now.asked == 4)
                disk.assistant = nil
            }
            #expect(played.now.open == [])
        }
    }

    @Test(
        "where assistants can be started at any time there is one for each question, and none in between; without, the disk is synchronized all the same"
    )
    func assistedLater() throws {
        try withFile(512) { path in
            let (disk, _) = try open(Text(stringLiteral: path))
            let memory = try GuestMemory(count: 0x1000)
            let played = PlayedAssistant()
            disk.startsAssistants = true
            try played.play {
                try disk.synchronize()
                #expect(played.now.forks == 0)
                for turn in 1...2 {
                    try disk.write(0, from: [memory.range(0, 512)!], of: memory)
                    try disk.synchronize()
                    try disk.synchronize()
                    #expect(played.now.forks == turn && played.now.asked == turn)
                    #expect(played.now.open == [])
                }
                played.change { $0.answer = 5 }
                try disk.write(0, from: [memory.range(0, 512)!], of: memory)
                #expect(throws: Errno.inputOutput) { try disk.synchronize() }
                #expect(played.now.forks == 3 && played.now.open == [])
                played.change { $0.isFull = true }
                try disk.synchronize()
                try disk.synchronize()
                #expect(played.now.forks == 3 && played.now.asked == 3 && played.now.open == [])
            }
        }
    }

    @Test("what was written is synchronized once, and a failure of that is told")
    func synchronize() throws {
        try withFile(512) { path in
            let (disk, _) = try open(Text(stringLiteral: path))
            let memory = try GuestMemory(count: 0x1000)
            // Nothing was written: no call is made.
            #expect(failureOfSynchronizing(disk, failing: true) == nil)
            try disk.write(0, from: [memory.range(0, 512)!], of: memory)
            #expect(failureOfSynchronizing(disk, failing: true) == .inputOutput)
            #expect(failureOfSynchronizing(disk, failing: false) == nil)
            #expect(failureOfSynchronizing(disk, failing: true) == nil)
        }
    }
}
