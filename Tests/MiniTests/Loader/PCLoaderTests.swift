import Foundation
import Testing

@testable import Mini

@Suite struct PCLoaderTests {
    /// Loads a kernel's file.
    private func load(
        _ file: [UInt8], mebibytes: UInt32 = 24, initrd: [UInt8]? = nil, screen: Bool = false,
        words: Text = "quiet"
    ) throws -> LoadedPC {
        let memory = try GuestMemory(count: mebibytes << 20)
        let initrdFile = try memoryFile(initrd ?? [])
        let named = initrd.map { _ in NamedFile(name: "initrd", descriptor: initrdFile.number) }
        return try ByteView.of(file) { view in
            let kernel = try #require(try StockKernel(view))
            return try PCLoader.load(
                kernel, name: "vmlinuz", view, into: memory,
                demand: PCLoader.demand(kernel, initrd: named), initrd: named, screen: screen,
                commandLine: words)
        }
    }

    private func error(_ body: () throws -> LoadedPC) -> String? {
        do {
            _ = try body()
            return nil
        } catch let error as LoaderError {
            return String(decoding: error.text.bytes, as: UTF8.self)
        } catch { return "\(error)" }
    }

    private func word(_ loaded: LoadedPC, _ address: UInt32) -> UInt32 {
        loaded.memory.load32(address) ?? 0
    }

    @Test(
        "a 64-bit kernel inside a bzImage is entered in 64-bit mode, with boot parameters and an identity map"
    )
    func long() throws {
        var file = StockSpec(.zstd).bytes()
        file[0x201] = 0x6A
        let loaded = try load(file)
        #expect(loaded.start.mode == .long64(pageTable: 0x9000))
        #expect(loaded.start.entry == 0x100_0000)
        #expect(loaded.start.parameters == 0x7000)
        // The segments' bytes, and the header as it stands in the file.
        #expect(
            bytes(of: loaded.memory, 0x100_0000, 0x800)
                == Array(VmlinuxSpec().bytes()[0x1000..<0x1800]))
        #expect(bytes(of: loaded.memory, 0x71F1, 1) == [file[0x1F1]])
        #expect(bytes(of: loaded.memory, 0x7202, 4) == Array("HdrS".utf8))
        #expect(bytes(of: loaded.memory, 0x7210, 1) == [0xFF])
        #expect(word(loaded, 0x7228) == 0x2_0000)
        #expect(bytes(of: loaded.memory, 0x2_0000, 6) == Array("quiet\0".utf8))
        // KiB behind the first MiB.
        #expect(word(loaded, 0x71E0) == 23 << 10)
        #expect(bytes(of: loaded.memory, 0x7002, 2) == [0, 0x5C])
        // The last large page of the first 4 GiB.
        #expect(word(loaded, 0x9000) == 0xA003)
        #expect(word(loaded, 0xA018) == 0xE003)
        #expect(word(loaded, 0xEFF8) == 0xFFE0_0083)
        #expect(word(loaded, 0xEFFC) == 0)
        // A GDT whose second descriptor is 64-bit code.
        #expect(word(loaded, 0x514) == 0x00AF_9B00)
    }

    @Test("a 32-bit kernel is entered in protected mode")
    func protected() throws {
        let loaded = try load(StockSpec(.lz4, VmlinuxSpec(isWide: false).bytes()).bytes())
        #expect(loaded.start.mode == .protected32)
        #expect(word(loaded, 0x514) == 0x00CF_9B00)
        #expect(word(loaded, 0x9000) == 0)
    }

    @Test("what is packed as a kernel is and holds none runs by its own entry, a BIOS's apart")
    func notLinux() throws {
        var file = StockSpec(.zstd).bytes()
        let body = (Int(file[0x1F1]) + 1) * 512
        // No compressed kernel inside, no 64-bit entry, at a place of its own.
        file.put(UInt32(0), at: 0x248)
        file.put(UInt16(0), at: 0x236)
        file.put(UInt64(0x10_0000), at: 0x258)
        file[0x234] = 0
        for place in [0x10_0000, 0x20_0000] as [UInt32] {
            file.put(place, at: 0x214)
            let loaded = try load(file)
            #expect(loaded.start.mode == .protected32)
            #expect(loaded.start.entry == UInt64(place))
            #expect(bytes(of: loaded.memory, place, 64) == Array(file[body..<(body + 64)]))
        }
        file.put(UInt32(0xF_FFFF), at: 0x214)
        #expect(
            error { try load(file) }
                == "cannot start \"vmlinuz\": a bzImage that starts in real mode alone, on a BIOS")
        // The engines of lguest have nothing to do with it.
        let image = try #require(ByteView.of(file) { BzImage($0) })
        ByteView.of(file) { view in
            #expect(throws: ImageError.notLinux(version: SetupHeader(view)?.banner)) {
                try image.check(view)
            }
        }
    }

    @Test("the map of memory has a hole below 1 MiB, and ends where memory ends")
    func map() throws {
        let loaded = try load(StockSpec(.zstd).bytes())
        #expect(bytes(of: loaded.memory, 0x71E8, 1) == [3])
        let words = (0..<15).map { word(loaded, 0x72D0 + 4 * UInt32($0)) }
        #expect(
            words == [
                0, 0, 0x9_FC00, 0, 1, 0x9_FC00, 0, 0x6_0400, 0, 2, 0x10_0000, 0,
                23 << 20, 0, 1,
            ])
        // The sentinel: a kernel that finds something there forgets half of what it was told.
        #expect(bytes(of: loaded.memory, 0x71EF, 1) == [0])
    }

    @Test("what memory there is beyond 3 GiB lies from 4 GiB on, and the map says so")
    func highMemory() throws {
        let extent = try PCLayout.extent(mebibytes: 4096, isWide: true)
        #expect(extent == MemoryExtent(low: 3 << 30, high: 1 << 30))
        let memory = try GuestMemory(extent)
        let loaded = try ByteView.of(StockSpec(.zstd).bytes()) { view in
            let kernel = try #require(try StockKernel(view))
            return try PCLoader.load(
                kernel, name: "vmlinuz", view, into: memory,
                demand: PCLoader.demand(kernel, initrd: nil), initrd: nil, commandLine: "")
        }
        #expect(bytes(of: memory, 0x71E8, 1) == [4])
        let words = (10..<20).map { word(loaded, 0x72D0 + 4 * UInt32($0)) }
        let low: UInt32 = (3 << 30) - 0x10_0000
        let high: UInt32 = 1 << 30
        #expect(words == [0x10_0000, 0, low, 0, 1, 0, 1, high, 0, 1])
        // The unpackers of 2.4 count what they can reach.
        #expect(word(loaded, 0x71E0) == (3 << 20) - 1024)
        #expect(
            loaded.description.contains {
                $0.bytes.reversed().starts(with: "BiM 6904 fo yromem".utf8)
            })
    }

    @Test("a 32-bit kernel gets no more than what lies below a PC's devices, a 64-bit one 63 GiB")
    func most() throws {
        #expect(
            try PCLayout.extent(mebibytes: 3072, isWide: false) == MemoryExtent(low: 3072 << 20))
        #expect(throws: LoaderError.memoryTooLarge(mebibytes: 3073, most: 3072)) {
            try PCLayout.extent(mebibytes: 3073, isWide: false)
        }
        #expect(try PCLayout.extent(mebibytes: 64512, isWide: true).end == 1 << 36)
        #expect(throws: LoaderError.memoryTooLarge(mebibytes: 64513, most: 64512)) {
            try PCLayout.extent(mebibytes: 64513, isWide: true)
        }
        #expect(throws: LoaderError.memoryTooSmall(mebibytes: 7, least: 8)) {
            try PCLayout.extent(mebibytes: 7, isWide: true)
        }
    }

    @Test("a kernel that is to have a screen finds one of 80 columns and 25 rows, another none")
    func screen() throws {
        func parameters(_ hasScreen: Bool) throws -> [UInt8] {
            let memory = try GuestMemory(count: 24 << 20)
            return try ByteView.of(StockSpec(.zstd).bytes()) { view in
                let kernel = try #require(try StockKernel(view))
                let loaded = try PCLoader.load(
                    kernel, name: "vmlinuz", view, into: memory,
                    demand: try PCLoader.demand(kernel, initrd: nil), initrd: nil,
                    screen: hasScreen, commandLine: "")
                return bytes(of: loaded.memory, 0x7006, 12)
            }
        }
        #expect(try parameters(true) == [3, 80, 0, 0, 0, 0, 0, 0, 25, 1, 16, 0])
        #expect(try parameters(false) == [UInt8](repeating: 0, count: 12))
    }

    @Test("an initrd lies at the end of memory, or below what the kernel can reach")
    func initrd() throws {
        let content = [UInt8](repeating: 0x5A, count: 5000)
        let loaded = try load(StockSpec(.zstd).bytes(), initrd: content)
        #expect(loaded.layout.initrd == (24 << 20) - 0x2000)
        #expect(bytes(of: loaded.memory, loaded.layout.initrd, 5000) == content)
        #expect(word(loaded, 0x7218) == loaded.layout.initrd)
        #expect(word(loaded, 0x721C) == 5000)
        var file = StockSpec(.zstd).bytes()
        file.put(UInt32(0x157_FFFF), at: 0x22C)
        #expect(try load(file, initrd: content).layout.initrd == 0x157_E000)
    }

    @Test(
        "an initrd lies below the end of memory that the kernel's words say, where it fits there",
        arguments: [
            ("mem=32M", 32), ("quiet mem=32m ro", 32), ("mem=0x2000000", 32), ("mem=32768K", 32),
            ("mem=40M mem=32M", 32), ("mem=32M mem=40M", 32), ("mem=33558527", 32),
            ("mem=22M", 22), ("mem=21M", 21), ("mem=20M", 64), ("mem=16M", 64), ("mem=1G", 64),
            ("mem=32M@16M", 64), ("mem=nopentium", 64), ("xmem=32M", 64), ("mem=", 64),
            ("mem=M", 64), ("mem=0", 64), ("mem=99999999999999999999", 64),
            ("mem=0x8000000000000001G", 64), ("mem=17179869185G", 64),
        ] as [(String, UInt32)])
    func initrdBelow(words: String, mebibytes: UInt32) throws {
        let content = [UInt8](repeating: 0x5A, count: 5000)
        let loaded = try load(
            StockSpec(.zstd).bytes(), mebibytes: 64, initrd: content,
            words: Text(stringLiteral: words))
        #expect(loaded.layout.initrd == (mebibytes << 20) - 0x2000)
        #expect(bytes(of: loaded.memory, loaded.layout.initrd, 5000) == content)
        #expect(word(loaded, 0x7218) == loaded.layout.initrd)
    }

    @Test("without a header an initrd lies where the oldest kernels of that width find it")
    func initrdWithoutHeader() throws {
        for (isWide, end) in [(false, 0x3800_0000), (true, 0x4000_0000)] as [(Bool, UInt32)] {
            let file = VmlinuxSpec(isWide: isWide).bytes()
            let loaded = try load(file, mebibytes: 1024, initrd: [1, 2, 3])
            #expect(loaded.layout.initrd == end - 0x1000)
            #expect(word(loaded, 0x7218) == end - 0x1000)
            // With less memory that is no matter.
            #expect(try load(file, initrd: [1, 2, 3]).layout.initrd == (24 << 20) - 0x1000)
        }
    }

    @Test("too little memory is told with the least that would do")
    func tooLittle() throws {
        let file = StockSpec(.zstd).bytes()
        #expect(
            error { try load(file, mebibytes: 19) }
                == "cannot start \"vmlinuz\": it needs 20 MiB of memory to be loaded, and some 16 MiB more to work in; the guest has 19 MiB"
        )
        #expect(
            error { try load(file, mebibytes: 7) }
                == "memory of 7 MiB is too small: a guest needs at least 8 MiB")
        #expect(
            error { try load(file, mebibytes: 20, initrd: [UInt8](repeating: 1, count: 9)) }
                == "initrd \"initrd\" of 9 bytes is too large: 20 MiB of memory leave 0 bytes for it"
        )
        #expect(error { try load(file, initrd: []) } == "initrd \"initrd\" is an empty file")
    }

    @Test(
        "the least memory that is told is taken, and a MiB less is not",
        arguments: [0, 1, 0x10_0000 - 4095, 0x10_0000 - 4094, 3 << 20])
    func least(_ size: Int) throws {
        let file = StockSpec(.zstd).bytes()
        let initrd = size == 0 ? nil : [UInt8](repeating: 1, count: size)
        let least = UInt32(PCLayout.least(20 << 20, UInt64(size)))
        #expect(error { try load(file, mebibytes: least, initrd: initrd) } == nil)
        #expect(error { try load(file, mebibytes: least - 1, initrd: initrd) } != nil)
        // The refusal names it.
        let told = try #require(error { try load(file, mebibytes: 10, initrd: initrd) })
        #expect(told.contains("it needs \(least) MiB of memory to be loaded"))
        // No kernel is too small for the least of all, or makes the sum run over.
        #expect(PCLayout.least(2 << 20, UInt64(size)) == 8)
        #expect(PCLayout.least(.max, UInt64(size)) == 1 << 44)
    }

    @Test("a command line is as long as the kernel's header says, and no longer")
    func commandLine() throws {
        let file = StockSpec(.zstd).bytes()
        let fits = Text(bytes: [UInt8](repeating: 0x61, count: 2047))
        #expect(error { try load(file, words: fits) } == nil)
        let long = Text(bytes: [UInt8](repeating: 0x61, count: 2048))
        #expect(
            error { try load(file, words: long) }
                == "the kernel's command line is too long: 2048 bytes, at most 2047 fit")
    }

    @Test("how long a command line may be the header says, as far as there is room")
    func commandLineRoom() throws {
        func room(_ file: [UInt8]) throws -> Int {
            PCLoader.commandLineLimit(
                try #require(try ByteView.of(file) { try StockKernel($0) }))
        }
        var file = StockSpec(.zstd).bytes()
        #expect(try room(file) == 2047)
        for (header, wanted) in [(0, 0), (60, 60), (65535, 65535), (.max, 65535)]
            as [(UInt32, Int)]
        {
            file.put(header, at: 0x238)
            #expect(try room(file) == wanted)
            let fits = Text(bytes: [UInt8](repeating: 0x61, count: wanted))
            #expect(error { try load(file, words: fits) } == nil)
            let long = Text(bytes: [UInt8](repeating: 0x61, count: wanted + 1))
            #expect(error { try load(file, words: long) } != nil)
        }
        // Without a header the release says it.
        #expect(try room(VmlinuxSpec().bytes()) == 2047)
        for (release, wanted) in [("2.6.18-6-686", 255), ("2.6.21", 2047)] {
            for isWide in [true, false] {
                var spec = VmlinuxSpec(isWide: isWide)
                spec.banner = "Linux version \(release) (somebody@somewhere)"
                #expect(try room(spec.bytes()) == wanted)
            }
        }
    }

    @Test(
        "an image that is not unpacked here unpacks itself: it goes where its header wants it",
        arguments: [true, false])
    func ownUnpacker(_ isWide: Bool) throws {
        var spec = StockSpec(.lzma)
        spec.longFlags = isWide ? 0x7F : 4
        let file = spec.bytes()
        let loaded = try load(file)
        #expect(loaded.start.mode == (isWide ? .long64(pageTable: 0x9000) : .protected32))
        #expect(loaded.start.entry == (isWide ? 0x100_0200 : 0x100_0000))
        #expect(word(loaded, 0x7214) == 0x100_0000)
        let body = (Int(spec.setupSectors) + 1) * 512
        #expect(
            bytes(of: loaded.memory, 0x100_0000, UInt32(file.count - body))
                == Array(file[body...]))
        var fixed = file
        fixed[0x234] = 0
        #expect(try load(fixed).start.entry == (isWide ? 0x10_0200 : 0x10_0000))
    }

    /// mov $EFER, %ecx; rdmsr; bts $number, %eax
    private func enables(_ number: UInt8) -> [UInt8] {
        [0xB9, 0x80, 0, 0, 0xC0, 0x0F, 0x32, 0x0F, 0xBA, 0xE8, number]
    }

    @Test(
        "a 64-bit kernel older than the header's bit for that is known by its unpacker, and enters protected mode",
        arguments: [(8, 0x1F5), (8, 0xC5), (11, 0xC5), (8, 0x200)] as [(UInt8, Int)])
    func oldLong(number: UInt8, place: Int) throws {
        var spec = StockSpec(.lzma)
        spec.longFlags = 0
        var file = spec.bytes()
        let body = (Int(spec.setupSectors) + 1) * 512
        file.replaceSubrange(body + place..<body + place + 11, with: enables(number))
        let loaded = try load(file)
        let isLong = number == 8 && place < 0x200
        #expect(loaded.start.mode == (isLong ? .protectedToLong : .protected32))
        #expect(loaded.start.entry == 0x100_0000)
        #expect(word(loaded, 0x514) == 0x00CF_9B00)
    }

    @Test("a 64-bit kernel from before ELF files inside is known by its own first code")
    func oldestLong() throws {
        for number in [8, 11] as [UInt8] {
            var inside = [UInt8](repeating: 0x90, count: 4096)
            inside.replaceSubrange(64..<75, with: enables(number))
            var file = StockSpec(.gzip, inside).bytes()
            file.put(UInt16(0x203), at: 0x206)
            file.put(UInt32(0x10_0000), at: 0x214)
            let loaded = try load(file)
            #expect(loaded.start.mode == (number == 8 ? .protectedToLong : .protected32))
            #expect(loaded.start.entry == 0x10_0000)
        }
    }

    @Test("a vmlinux without a header gets one that says what kernels ask for")
    func vmlinux() throws {
        let loaded = try load(VmlinuxSpec().bytes())
        #expect(loaded.start.mode == .long64(pageTable: 0x9000))
        #expect(bytes(of: loaded.memory, 0x7202, 4) == Array("HdrS".utf8))
        #expect(bytes(of: loaded.memory, 0x7206, 2) == [0x0F, 2])
        #expect(word(loaded, 0x7238) == 2047)
    }

    @Test("a guest that is entered where it is linked is none for a PC, and not called damaged")
    func virtualEntry() {
        var spec = VmlinuxSpec(isWide: false)
        for (entry, reason) in [
            (0xC100_000D, "a guest of lguest alone: its entry is a virtual address"),
            (0xC300_000D, "a damaged kernel: its entry 0xc300000d is in no segment"),
        ] as [(UInt64, String)] {
            spec.entry = entry
            #expect(error { try load(spec.bytes()) } == "cannot start \"vmlinuz\": \(reason)")
        }
    }

    @Test("what is no Linux and has a PVH note is entered there, with a start_info")
    func pvh() throws {
        var spec = VmlinuxSpec()
        spec.banner = "some other kernel"
        spec.addNotes(VmlinuxSpec.note(18, [0x50, 0, 0, 1]))
        let loaded = try load(spec.bytes(), initrd: [1, 2, 3])
        #expect(loaded.start.mode == .protectedToLong)
        #expect(word(loaded, 0x514) == 0x00CF_9B00)
        #expect(loaded.start.entry == 0x100_0050)
        #expect(loaded.start.startInfo == 0x6000)
        #expect(word(loaded, 0x6000) == 0x336E_C578)
        #expect(word(loaded, 0x6004) == 1)
        #expect(word(loaded, 0x600C) == 1)
        let module = word(loaded, 0x6010)
        #expect(word(loaded, module) == loaded.layout.initrd)
        #expect(word(loaded, module + 8) == 3)
        #expect(word(loaded, 0x6018) == 0x2_0000)
        let map = word(loaded, 0x6028)
        #expect(word(loaded, 0x6030) == 3)
        #expect(word(loaded, map + 8) == 0x9_FC00)
        #expect(word(loaded, map + 16) == 1)
        // The map lies where other kernels read what screen there is.
        let seen = try load(spec.bytes(), initrd: [1, 2, 3], screen: true)
        #expect(bytes(of: seen.memory, map, 72) == bytes(of: loaded.memory, map, 72))
    }

    @Test(
        "a 64-bit file's PVH entry may go on to 64-bit mode, a 32-bit file's not where nothing says so"
    )
    func wideNote() throws {
        for isWide in [true, false] {
            var spec = VmlinuxSpec(isWide: isWide)
            spec.banner = "some other kernel"
            spec.addNotes(VmlinuxSpec.note(18, [0x50, 0, 0, 1]))
            let kernel = try #require(try ByteView.of(spec.bytes()) { try StockKernel($0) })
            #expect(kernel.mode == (isWide ? .protectedToLong : .protected32))
            #expect(kernel.pvhEntry == 0x100_0050)
            let loaded = try load(spec.bytes())
            #expect(loaded.start.mode == kernel.mode)
            #expect(loaded.start.entry == 0x100_0050 && loaded.start.startInfo == 0x6000)
            // Linux is entered at its own entry, note or not.
            spec.banner = VmlinuxSpec().banner
            let linux = try #require(try ByteView.of(spec.bytes()) { try StockKernel($0) })
            #expect(linux.mode == (isWide ? .long64(pageTable: 0) : .protected32))
            #expect(linux.pvhEntry == nil)
        }
    }

    @Test(
        "a 64-bit kernel in a 32-bit file with a PVH note is known by its code, wherever that turns long mode on",
        arguments: [
            // bts $8, %eax; or $0x101, %eax; or $1, %ah; or (0x230), %eax, as Xen's.
            (true, [0x0F, 0xBA, 0xE8, 8]), (true, [0x0D, 1, 1, 0, 0]), (true, [0x80, 0xCC, 1]),
            (true, [0x0B, 0x05, 0x30, 2, 0, 0]),
            // Bit 11, and what is for another register.
            (false, [0x0F, 0xBA, 0xE8, 11]), (false, [0x0D, 0, 8, 0, 0]), (false, [0x80, 0xCC, 8]),
            (false, [0x0F, 0x30, 0x0D, 0, 1, 0, 0]), (false, [0x0D, 0x33, 1, 5, 0x80]),
        ] as [(Bool, [UInt8])])
    func hiddenLong(isLong: Bool, sets: [UInt8]) throws {
        var spec = VmlinuxSpec(isWide: false)
        spec.addNotes(VmlinuxSpec.note(18, [0x50, 0, 0, 1]))
        // In a segment, and behind all of them.
        for (place, counts) in [(0x1400, true), (0x1980, false)] {
            for isLinux in [false, true] {
                spec.banner = isLinux ? VmlinuxSpec().banner : "some other kernel"
                var file = spec.bytes()
                // mov $EFER, %ecx; rdmsr
                file.put([0xB9, 0x80, 0, 0, 0xC0, 0x0F, 0x32] + sets, at: place)
                let isSeen = isLong && counts && !isLinux
                let loaded = try load(file)
                #expect(loaded.start.mode == (isSeen ? .protectedToLong : .protected32))
                #expect(loaded.start.entry == (isLinux ? 0x100_0000 : 0x100_0050))
                let lines = try #require(try ByteView.of(file) { try StockKernel($0) }).description
                #expect(
                    lines.contains("kernel       32-bit ELF, which goes on to 64-bit mode")
                        == isSeen)
            }
        }
    }

    @Test("an entry outside of what is loaded is refused")
    func entry() throws {
        var spec = VmlinuxSpec()
        spec.entry = 0x200_0000
        #expect(
            error { try load(spec.bytes()) }
                == "cannot start \"vmlinuz\": a damaged kernel: its entry 0x2000000 is in no segment"
        )
    }

    @Test("a segment below 1 MiB, where what the kernel reads lies, is refused")
    func low() throws {
        var spec = VmlinuxSpec()
        spec.parts[0].address = 0x7000
        spec.entry = 0x7000
        #expect(
            error { try load(spec.bytes()) }
                == "cannot start \"vmlinuz\": a damaged ELF file: a segment lies below 1 MiB, at 0x7000"
        )
    }

    @Test("what a kernel is given by itself grows with it and with its initrd")
    func usual() {
        #expect(PCLayout.usual(20 << 20, 0) == 64)
        #expect(PCLayout.usual(70 << 20, 0) == 102)
        #expect(PCLayout.usual(70 << 20, 17 << 20) == 204)
        #expect(PCLayout.usual(.max, .max / 2) == PCLayout.mostLowMebibytes)
    }
}
