// What is gathered for an archive, from real folders.

import Foundation
import Synchronization
import Testing

@testable import Mini

@Suite struct GatheringTests {
    @Test("what is in a folder is gathered in the archive's order, whatever order the folder has")
    func order() throws {
        let root = FileManager.default.temporaryDirectory.path + "/mini-gather-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: root) }
        var generator = SplitMix(seed: 8)
        let names = (0..<60).map { "\($0 % 3)/\($0)" }
        for name in names.shuffled(using: &generator) {
            let file = URL(filePath: "\(root)/\(name)")
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data().write(to: file)
        }
        let asked = Mutex<[String]>([])
        let hook: @Sendable (SystemCall) -> Int? = { call in
            if call.number == .fileStatusAt {
                let name = String(cString: UnsafePointer<CChar>(bitPattern: call.arguments.1)!)
                asked.withLock { $0.append(name) }
            }
            return nil
        }
        var gathering = Gathering(ArchiveContents(), archive: nil)
        let place = try ArchivePath("/")
        let failure = SystemCall.hooked(hook) { () -> ArchiveError? in
            do throws(ArchiveError) {
                try gathering.add(Text(stringLiteral: root), at: place, isNamed: true)
            } catch { return error }
            return nil
        }
        #expect(failure == nil)
        let sorted = (["0", "1", "2"] + names).sorted()
        #expect(asked.withLock { $0 } == [root] + sorted.map { "\(root)/\($0)" })
        #expect(gathering.contents.members.map { string($0.path.text) } == sorted)
    }

    @Test("numbers are sorted, however they lie")
    func numbers() {
        var generator = SplitMix(seed: 9)
        for count in 0..<40 {
            var numbers = (0..<count).map { _ in Int.random(in: 0..<20, using: &generator) }
            let sorted = numbers.sorted()
            HeapSort.sort(&numbers) { $0 < $1 }
            #expect(numbers == sorted)
        }
    }
}
