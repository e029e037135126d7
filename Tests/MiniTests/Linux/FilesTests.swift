import Foundation
import Synchronization
import Testing

@testable import Mini

@Suite struct FilesTests {
    private let folder = NSTemporaryDirectory() + "mini-files-" + UUID().uuidString
    private var path: Text { Text(stringLiteral: folder) }

    init() throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    @Test("a directory's names, however many reads they take")
    func names() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let long = String(repeating: "n", count: 200)
        let names = (0..<700).map { "\(long)\($0)" }
        for name in names { try Data().write(to: URL(filePath: folder + "/" + name)) }
        #expect(try Files.names(in: path).map { string($0) }.sorted() == names.sorted())
        #expect(throws: Errno(rawValue: 20)) {
            try Files.names(in: "\(path)/\(Text(stringLiteral: names[0]))")
        }
    }

    @Test("a link's target, the longest too")
    func targets() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let long = String(repeating: "t", count: 4095)
        #expect(symlink(long, folder + "/link") == 0)
        #expect(string(try Files.target(ofLink: "\(path)/link")) == long)
        #expect(throws: Errno.invalid) { try Files.target(ofLink: path) }
    }

    @Test("a file gets another name, and loses it")
    func namesChange() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try Data("a".utf8).write(to: URL(filePath: folder + "/a"))
        try Data("b".utf8).write(to: URL(filePath: folder + "/b"))
        try Files.rename("\(path)/a", to: "\(path)/b")
        #expect(try Files.names(in: path) == ["b"])
        #expect(try FileStatus.of("\(path)/b", followsLink: true).size == 1)
        try Files.remove("\(path)/b")
        #expect(throws: Errno.noSuchFile) { try Files.remove("\(path)/b") }
        #expect(try Files.names(in: path).isEmpty)
    }

    @Test("a device's number comes apart as the kernel packs it")
    func deviceNumbers() throws {
        #expect(DeviceNumber(packed: 0x0501) == DeviceNumber(major: 5, minor: 1))
        #expect(DeviceNumber(packed: 0xFFFF_FFFF) == DeviceNumber(major: 0xFFF, minor: 0xFFFFF))
        let null = try FileStatus.of("/dev/null", followsLink: true)
        #expect(null.number == DeviceNumber(major: 1, minor: 3))
        #expect(null.mode & FileMode.type == FileMode.characters)
    }

    @Test("without files in memory one of /run takes their place, and has no name either")
    func filesOfOldKernels() {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let deeds = Mutex<[String]>([])
        let hook: @Sendable (SystemCall) -> Int? = { call in
            let (first, second, _, _, _, _) = call.arguments
            func text() -> String { String(cString: UnsafePointer<CChar>(bitPattern: first)!) }
            switch call.number {
            case .memoryFile: return -38
            case .processID: return 7
            case .open:
                deeds.withLock { $0.append("open \(text()) \(String(second, radix: 8))") }
                return 1_000_000
            case .removeName: deeds.withLock { $0.append("remove \(text())") }
            case .close: deeds.withLock { $0.append("close \(first)") }
            default: break
            }
            return 0
        }
        let isMade = SystemCall.hooked(hook) { (try? FileSystem.memoryFile("x").number) != nil }
        #expect(isMade)
        // O_RDWR, O_CREAT, O_EXCL, O_CLOEXEC
        #expect(
            deeds.withLock { $0 }
                == ["open /run/x.7 2100302", "remove /run/x.7", "close 1000000"])
    }
}
