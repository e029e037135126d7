import Testing

@testable import Mini

#if DEBUG
private let mutants = 3_000
#else
private let mutants = 100_000
#endif

/// Changes a few places of an image: bits, bytes, words that tend to hurt, its length.
private func mutate(_ image: [UInt8], _ random: inout SeededGenerator) -> [UInt8] {
    var bytes = image
    let hurtful: [UInt32] = [0, 1, 0xFFF, 0x1000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_F000, .max]
    for _ in 0..<Int.random(in: 1...4, using: &random) where bytes.count > 8 {
        // Headers are where it hurts most.
        let span = Bool.random(using: &random) ? min(bytes.count, 0x280) : bytes.count
        let at = Int.random(in: 0..<(span - 4), using: &random)
        switch Int.random(in: 0..<8, using: &random) {
        case 0, 1: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 2: bytes[at] = UInt8.random(in: 0...255, using: &random)
        case 3: bytes.put(hurtful.randomElement(using: &random)!, at: at & ~3)
        case 4: bytes.put(UInt32.random(in: 0...(.max), using: &random), at: at & ~3)
        case 5: bytes.put(UInt32.random(in: 0...0x50_0000, using: &random), at: at & ~3)
        case 6: bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random))
        default:
            let from = Int.random(in: 0..<(bytes.count - 4), using: &random)
            bytes.put(Array(bytes[from..<(from + 4)]), at: at)
        }
    }
    return bytes
}

/// Which pages of guest memory anybody has touched.
private func touched(_ memory: GuestMemory) -> [UInt8] {
    var pages = [UInt8](repeating: 0, count: Int(memory.count / 4096))
    pages.withUnsafeMutableBytes { buffer in
        // mincore
        _ = try? SystemCall.make(
            SystemCall.Number(rawValue: 27), Int(bitPattern: memory.base), Int(memory.count),
            Int(bitPattern: buffer.baseAddress))
    }
    return pages
}

@Suite struct KernelMutationTests {
    @Test(
        "every mutant of a kernel is refused or lies wholly inside guest memory", arguments: 0..<4)
    func kernels(_ seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        var spec = KernelSpec()
        spec.era = [.era0, .era1, .era1b, .era1c][seed]
        let originals = [ElfSpec.kernel(spec), BzImageSpec(spec.bytes()).bytes()]
        let mebibytes: UInt32 = 3
        var loaded = 0
        for round in 0..<(mutants / 4) {
            let bytes = mutate(originals[round % 2], &random)
            let memory = try GuestLayout.makeMemory(mebibytes: mebibytes)
            do {
                let file = try memoryFile(bytes)
                let image = try KernelImage.examine(file.number, name: "k")
                let kernel = try image.load(into: memory, mebibytes: mebibytes)
                loaded += 1
                for segment in kernel.segments {
                    #expect(UInt64(segment.address) + UInt64(segment.memorySize) <= 3 << 20)
                    #expect(segment.address >= 0x2000)
                }
                let physical =
                    kernel.abi.startsLow ? kernel.entry : kernel.entry &- kernel.pageOffset
                #expect(kernel.segments.contains { physical >= $0.address && physical < $0.end })
                if let layout = try? GuestLayout(mebibytes: mebibytes, kernel: kernel) {
                    #expect(layout.pageTables >= kernel.end)
                }
            } catch let error as LoaderError {
                #expect(error.exitCode == 3 && !error.text.bytes.contains(0x0A))
            }
            let pages = touched(memory)
            #expect(pages[0] & 1 == 0 && pages[1] & 1 == 0)
            #expect(pages[Int(mebibytes * 256)...].allSatisfy { $0 & 1 == 0 })
        }
        // Some of each: a test in which all were refused would show nothing.
        #expect(loaded > mutants / 100 && loaded < mutants / 4)
    }

    @Test("every mutant of gzip data stays between its canaries")
    func gzip() throws {
        var random = SeededGenerator(seed: 5)
        let data = KernelSpec().bytes()
        let originals = [
            Packer.gzip(data), Packer.gzip(data, deflated: Packer.stored(data)),
            InflateVectors.dynamic,
        ]
        let room = data.count
        var arena = [UInt8](repeating: 0xC5, count: room + 1024)
        var whole = 0
        for round in 0..<mutants {
            let bytes = mutate(originals[round % 3], &random)
            let size = Int.random(in: 0...room, using: &random)
            let outcome = ByteView.of(bytes) { view in
                arena.withUnsafeMutableBytes { arena in
                    Gzip.unpack(view, at: 0, to: .init(rebasing: arena[512..<(512 + size)]))
                }
            }
            if outcome.failure == nil { whole += 1 }
            #expect(outcome.produced <= size && outcome.position <= bytes.count)
            let isIntact =
                arena[..<512].allSatisfy { $0 == 0xC5 }
                && arena[(512 + size)..<(1024 + size)].allSatisfy { $0 == 0xC5 }
            #expect(isIntact)
            for index in 512..<(512 + size) { arena[index] = 0xC5 }
        }
        #expect(whole < mutants)
    }
}
