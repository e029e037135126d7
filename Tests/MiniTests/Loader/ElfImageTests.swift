import Testing

@testable import Mini

@Suite struct ElfImageTests {
    /// What memory must be after loading, by copying byte for byte.
    private static func model(_ spec: ElfSpec, size: Int) -> [UInt8] {
        let file = spec.bytes()
        var memory = [UInt8](repeating: 0, count: size)
        for header in spec.headers where header.type == 1 {
            let from = Int(header.offset)
            memory.put(Array(file[from..<(from + Int(header.fileSize))]), at: Int(header.physical))
        }
        return memory
    }

    @Test("whole pages at congruent offsets are mapped, the rest is copied")
    func mapped() throws {
        var spec = ElfSpec()
        spec.headers[1].fileSize -= 0x123
        let (kernel, _) = try loadKernel(spec.bytes())
        #expect(kernel.segments.map(\.mapped) == [0x2000, 0])
        for index in 0..<2 {
            spec.headers[index].physical += 0x10
            spec.headers[index].virtual += 0x10
        }
        let (moved, _) = try loadKernel(spec.bytes())
        #expect(moved.segments.map(\.mapped) == [0, 0])
    }

    @Test("memory is what copying the segments gives, however they lie to pages and each other")
    func layouts() throws {
        var random = SeededGenerator(seed: 11)
        for _ in 0..<200 {
            var spec = ElfSpec()
            // The first segment keeps the kernel; more follow it, at times on the same page.
            let kernel = spec.contents[0].bytes
            spec.headers = [spec.headers[0]]
            spec.headers[0].fileSize = UInt32(kernel.count)
            spec.headers[0].memorySize = UInt32(kernel.count)
            spec.fileSize += 0x9000
            spec.contents.append(
                (0x4000, (0..<0x9000).map { _ in UInt8.random(in: 1...255, using: &random) }))
            var at = UInt32(0x10_3000)
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                at += UInt32.random(in: 0...0x1800, using: &random)
                let size = UInt32.random(in: 0...0x3000, using: &random)
                var offset = UInt32.random(in: 0...0x9000, using: &random) + 0x1000
                if Bool.random(using: &random) { offset = offset & ~4095 | at & 4095 }
                spec.headers.append(
                    .init(
                        offset: offset, virtual: at + 0xC000_0000, physical: at, fileSize: size,
                        memorySize: size))
                at += size
            }
            let (_, memory) = try loadKernel(spec.bytes())
            let loaded = bytes(of: memory, 0, 4 << 20)
            #expect(loaded == Self.model(spec, size: loaded.count))
        }
    }

    @Test("what the guest writes into a mapped page does not reach the file")
    func privatePages() throws {
        let original = ElfSpec.kernel()
        let file = try memoryFile(original)
        let image = try KernelImage.examine(file.number, name: "k")
        let first = try GuestLayout.makeMemory(mebibytes: 4)
        _ = try image.load(into: first, mebibytes: 4)
        first.store32(0x10_0000, 0xDEAD_BEEF)
        let second = try GuestLayout.makeMemory(mebibytes: 4)
        _ = try image.load(into: second, mebibytes: 4)
        #expect(second.load32(0x10_0000) != 0xDEAD_BEEF)
    }

    @Test("segments that hold nothing and headers of other kinds do not count")
    func empties() throws {
        var spec = ElfSpec()
        spec.headers.append(
            .init(type: 1, offset: 0, virtual: 1, physical: 0, fileSize: 0, memorySize: 0))
        spec.headers.append(
            .init(type: 4, offset: .max, virtual: 1, physical: 0, fileSize: .max, memorySize: 0))
        #expect(try loadKernel(spec.bytes()).kernel.segments.count == 2)
    }

    @Test("where a segment of zeros alone would lie in the file does not matter")
    func zeroFilled() throws {
        for offset in [0, 0x7777, 0xFFFF_F000, .max] as [UInt32] {
            var spec = ElfSpec()
            spec.headers.append(
                .init(
                    type: 1, offset: offset, virtual: 0xC020_0000, physical: 0x20_0000,
                    fileSize: 0, memorySize: 0x4000))
            let (kernel, _) = try loadKernel(spec.bytes())
            #expect(kernel.segments.count == 3 && kernel.end == 0x20_4000)
        }
    }
}
