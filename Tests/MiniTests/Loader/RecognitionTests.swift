import Testing

@testable import Mini

private func recognise(_ bytes: [UInt8]) -> Recognition {
    ByteView.of(bytes) { Recognition(image: $0, origin: 0x10_0000) }
}

@Suite struct RecognitionTests {
    @Test(
        "the words of lguest_data tell eras 0, 1, 1b and 1c apart",
        arguments: [
            GuestABI.Era.era0, .era1, .era1b, .era1c,
        ])
    func eras(_ era: GuestABI.Era) {
        var spec = KernelSpec()
        spec.era = era
        #expect(
            recognise(spec.bytes()).dialect
                == .dma(era: era, entry: spec.entryOffset, data: KernelSpec.dataOffset))
    }

    @Test(
        "the first call, its structure and the release tell the eras that have no mark",
        arguments: [
            (GuestABI.Era.era2, "2.6.24.7"), (.era3a, "2.6.25"), (.era3a, "2.6.28.9"),
            (.era3b, "2.6.29"), (.era3c, "2.6.30"), (.era4a, "2.6.31"), (.era4a, "2.6.33"),
            (.era4b, "2.6.34"), (.era4b, "3.0.1"), (.era4c, "3.1"), (.era4c, "3.4.113"),
            (.era4d, "3.12.9-gnu"), (.era4d, "3.19"), (.era5, "4.0"), (.era5, "4.13.16"),
        ])
    func laterEras(_ era: GuestABI.Era, _ release: String) {
        var spec = KernelSpec()
        spec.era = era
        spec.banner = "Linux version \(release) (a@b)"
        #expect(
            recognise(spec.bytes()).dialect == .virtio(era: era, data: KernelSpec.dataOffset))
    }

    @Test("the first call is found whatever byte it begins at", arguments: 0..<8)
    func firstCallAnywhere(_ shift: Int) {
        var spec = KernelSpec()
        spec.era = .era4d
        spec.banner = "Linux version 3.12 (a@b)"
        var bytes = spec.bytes()
        let offset = KernelSpec.firstCallOffset
        let call = Array(bytes[offset..<(offset + 13)])
        bytes.put([UInt8](repeating: 0x40, count: 13), at: offset)
        bytes.put(call, at: offset + shift)
        #expect(recognise(bytes).dialect == .virtio(era: .era4d, data: KernelSpec.dataOffset))
    }

    @Test(
        "what begins as the first call does, right in front of it, does not hide it",
        arguments: [
            [0xB8], [0xB8, 1], [0xB8, 1, 0], [0xB8, 1, 0, 0, 0], [1], [0], [0, 0, 0], [0xBA],
            [0xBB],
            [0xBB, 0], [0xB8, 1, 0, 0, 1, 0xBB], [0xB8, 1, 0, 0, 0, 0xBB],
            [0xB8, 1, 0, 0, 0, 0xBA, 0],
        ] as [[UInt8]])
    func firstCallBehind(_ beginning: [UInt8]) {
        var spec = KernelSpec()
        spec.era = .era4d
        spec.banner = "Linux version 3.12 (a@b)"
        var bytes = spec.bytes()
        bytes.put(beginning, at: KernelSpec.firstCallOffset - beginning.count)
        #expect(recognise(bytes).dialect == .virtio(era: .era4d, data: KernelSpec.dataOffset))
    }

    @Test("where the structure and the release do not agree, the structure is believed")
    func structureFirst() {
        var spec = KernelSpec()
        spec.era = .era4d
        spec.banner = "Linux version 4.1.0 (a@b)"
        #expect(
            recognise(spec.bytes()).dialect == .virtio(era: .era4d, data: KernelSpec.dataOffset))
        spec.banner = nil
        #expect(
            recognise(spec.bytes()).dialect == .virtio(era: .era4d, data: KernelSpec.dataOffset))
    }

    @Test("a kernel with page tables of PAE's is told, and near it none")
    func pae() {
        var spec = KernelSpec()
        spec.era = .era4d
        spec.banner = "Linux version 3.12 (a@b)"
        var bytes = spec.bytes() + [UInt8](repeating: 0, count: 4096)
        bytes.put(UInt32(0x123_4001), at: 0x3000)
        let plain = Recognition.Dialect.virtio(era: .era4d, data: KernelSpec.dataOffset)
        #expect(recognise(bytes).dialect == plain)
        bytes.put(UInt32(0x123_4001), at: 0x3018)
        let wide = Recognition.Dialect.virtio(
            era: .era4d, data: KernelSpec.dataOffset, hasWideTables: true)
        #expect(recognise(bytes).dialect == wide)
        bytes.put(UInt32(1), at: 0x3FFC)
        #expect(recognise(bytes).dialect == plain)
    }

    @Test("wide tables are told with each split of the address space", arguments: 1..<4)
    func splits(_ kernel: Int) {
        var spec = KernelSpec()
        spec.era = .era4b
        spec.banner = "Linux version 2.6.38 (a@b)"
        var bytes = spec.bytes() + [UInt8](repeating: 0, count: 4096)
        bytes.put(UInt32(0x123_4001), at: 0x3000)
        for index in kernel..<4 {
            bytes.put(UInt32(0x123_4001 + 0x1000 * (index - kernel)), at: 0x3000 + 8 * index)
        }
        let wide = Recognition.Dialect.virtio(
            era: .era4b, data: KernelSpec.dataOffset, hasWideTables: true)
        #expect(recognise(bytes).dialect == wide)
    }

    @Test("the structure is found at every word, also when its neighbours are all ones")
    func everyPlace() {
        let spec = KernelSpec()
        let bytes = spec.bytes()
        let structure = Array(bytes[0x1000..<(0x1000 + 1124)])
        for shift in stride(from: 0, to: 128, by: 4) {
            var moved = bytes
            moved.put([UInt8](repeating: 0xFF, count: 1400), at: 0x1000)
            moved.put(structure, at: 0x1040 + shift)
            #expect(
                recognise(moved).dialect
                    == .dma(era: .era1, entry: spec.entryOffset, data: 0x1040 + shift))
        }
    }

    @Test("a structure that is cut off by the end of the image is none")
    func cutOff() {
        var bytes = [UInt8](repeating: 0, count: 200)
        bytes.put("GenuineLguest", at: 0)
        bytes.put(UInt32(1), at: 104)
        for index in 120..<184 { bytes[index] = 0xFF }
        #expect(recognise(bytes).dialect == .dma(era: .era1, entry: 13, data: nil))
    }

    @Test("an era 1c call that names memory outside the image is still era 1c")
    func wildData() {
        var spec = KernelSpec()
        spec.era = .era1c
        var bytes = spec.bytes()
        bytes.put(UInt32(0xFFFF_FFF0), at: spec.entryOffset + 6)
        #expect(recognise(bytes).dialect == .dma(era: .era1c, entry: spec.entryOffset, data: nil))
    }

    @Test("the first mark wins")
    func firstMark() {
        var bytes = KernelSpec().bytes()
        bytes.put("GenuineLguest", at: 0x700)
        guard case .dma(_, let entry, _) = recognise(bytes).dialect else {
            Issue.record("no mark found")
            return
        }
        #expect(entry == 0x70D)
    }

    @Test(
        "a kernel of today with a program in it that knows lguest does not speak lguest",
        arguments: ["4.14.0", "4.19.0-21-686", "6.1.0"], [GuestABI.Era.era1, .era1c, .era5])
    func program(_ release: String, _ era: GuestABI.Era) {
        var spec = KernelSpec()
        spec.era = era
        spec.banner = "Linux version \(release) (a@b)"
        var bytes = spec.bytes()
        bytes.put("GenuineLguest", at: 0x2C00)
        #expect(recognise(bytes).dialect == .none)
    }

    @Test(
        "a later kernel of lguest with a program in it that knows lguest keeps its era",
        arguments: [
            (GuestABI.Era.era2, "2.6.24-rc1"), (.era3a, "2.6.28.9"), (.era3c, "2.6.30"),
            (.era4c, "3.4.113"), (.era5, "4.13.16"),
        ])
    func laterProgram(_ era: GuestABI.Era, _ release: String) {
        var spec = KernelSpec()
        spec.era = era
        spec.banner = "Linux version \(release) (a@b)"
        var bytes = spec.bytes()
        // In front of the kernel's own first call, and behind it.
        for place in [0x700, 0x2C00] {
            bytes.put("GenuineLguest", at: place)
            #expect(
                recognise(bytes).dialect == .virtio(era: era, data: KernelSpec.dataOffset))
        }
    }

    @Test("a kernel between the eras with such a program and no lguest of its own has none")
    func offProgram() {
        var spec = KernelSpec()
        spec.banner = "Linux version 3.16.0-4-686-pae (a@b)"
        #expect(recognise(spec.bytes()).dialect == .none)
        spec.banner = "Linux version 2.6.23.17 (a@b)"
        #expect(
            recognise(spec.bytes()).dialect
                == .dma(era: .era1, entry: spec.entryOffset, data: KernelSpec.dataOffset))
    }

    @Test("the banner is the one with a release number, up to its end of line")
    func banner() {
        var bytes = KernelSpec().bytes()
        bytes.put("Linux version %s (x)\n", at: 0x700)
        #expect(
            recognise(bytes).banner == "Linux version 2.6.23 (user@host) (gcc version 4.1.2) #1 Mon"
        )
    }

    @Test(
        "release numbers are read as far as they are numbers",
        arguments: [
            ("2.6.23", 2, 6, 23), ("2.6.23-rc4 (x", 2, 6, 23), ("4.19.0-21-amd64", 4, 19, 0),
            ("6.1", 6, 1, 0), ("3.0-rc1", 3, 0, 0), ("2.6.28.4", 2, 6, 28),
            ("99999999999999999999.6", 0, 0, 0), ("x.y", 0, 0, 0), ("", 0, 0, 0), ("5", 0, 0, 0),
        ])
    func versions(_ text: String, _ major: Int, _ minor: Int, _ patch: Int) {
        let version = LinuxVersion(Text(stringLiteral: text))
        #expect(
            (version?.major ?? 0, version?.minor ?? 0, version?.patch ?? 0) == (major, minor, patch)
        )
    }

    @Test("releases compare by their numbers")
    func comparison() throws {
        let version = try #require(LinuxVersion("2.6.30"))
        #expect(
            version.isAtLeast(2, 6, 30) && version.isAtLeast(2, 6, 9) && version.isAtLeast(2, 4, 99)
        )
        #expect(
            !version.isAtLeast(2, 6, 31) && !version.isAtLeast(3, 0) && !version.isAtLeast(2, 7))
    }
}
