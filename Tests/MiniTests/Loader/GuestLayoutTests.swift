import Testing

@testable import Mini

/// A kernel of which only what the layout asks for is true.
func kernelForLayout(
    end: UInt32 = 0x30_0000, pageOffset: UInt32 = 0xC000_0000, era: GuestABI.Era = .era1,
    isWide: Bool = false
) -> LoadedKernel {
    var abi = GuestABI(era: era)
    abi.hasWideTables = isWide
    return LoadedKernel(
        name: "k", size: 1, format: .elf, banner: nil, abi: abi, entry: 0,
        pageOffset: pageOffset, segments: [], data: nil, end: end)
}

@Suite struct GuestLayoutTests {
    @Test("everything lies where the original launcher puts it")
    func original() throws {
        // 32 MiB and an initrd of 5000 bytes: two pages.
        let layout = try GuestLayout(
            mebibytes: 32, kernel: kernelForLayout(), initrd: ("i", 5000))
        #expect(layout.memory == 0x200_0000)
        #expect(layout.initrd == 0x1FF_E000)
        #expect(layout.initrdSize == 0x2000)
        #expect(layout.pageDirectory == 0x1FF_D000)
        #expect(layout.pageTableCount == 8)
        #expect(layout.pageTables == 0x1FF_5000)
        #expect(layout.descriptorPage == 0x200_0000)
        #expect(layout.reducedFrom == nil)
    }

    @Test("memory that is not whole page tables gets one more")
    func oddMemory() throws {
        let layout = try GuestLayout(mebibytes: 33, kernel: kernelForLayout())
        #expect(layout.pageTableCount == 9)
        #expect(layout.initrdSize == 0 && layout.initrd == layout.memory)
    }

    @Test("no memory, hardly any, and more than a guest can have are errors of use")
    func size() {
        #expect(throws: LoaderError.memoryTooSmall(mebibytes: 0, least: 2)) {
            try GuestLayout.makeMemory(mebibytes: 0)
        }
        #expect(throws: LoaderError.memoryTooSmall(mebibytes: 1, least: 2)) {
            try GuestLayout.makeMemory(mebibytes: 1)
        }
        #expect(throws: LoaderError.memoryTooLarge(mebibytes: 3072, most: 2046)) {
            try GuestLayout.makeMemory(mebibytes: 3072)
        }
        #expect(throws: LoaderError.memoryTooLarge(mebibytes: .max, most: 2046)) {
            try GuestLayout(mebibytes: .max, kernel: kernelForLayout())
        }
        #expect(LoaderError.memoryTooLarge(mebibytes: 3072, most: 2046).exitCode == 2)
    }

    @Test("the largest memory is one mapping, devices included")
    func largest() throws {
        #expect(try GuestLayout.memorySize(mebibytes: 2046) == 0x7FF0_0000)
        #expect(try GuestLayout.makeMemory(mebibytes: 2046).count == 0x7FF0_0000)
    }

    @Test("more than the kernel maps for good is cut, however much it is")
    func lowMemory() throws {
        for asked in [893, 1024, 1025, 1500, 2046] as [UInt32] {
            let layout = try GuestLayout(mebibytes: asked, kernel: kernelForLayout())
            #expect(layout.memory == 892 << 20)
            #expect(layout.reducedFrom == asked)
        }
        let split = try GuestLayout(
            mebibytes: 1025, kernel: kernelForLayout(pageOffset: 0x8000_0000))
        #expect(split.memory == 1025 << 20)
    }

    @Test(
        "from 2.6.24 on memory ends where the kernel's own does, or it would look for its devices elsewhere",
        arguments: GuestABI.Era.allCases.filter { $0 >= .era2 })
    func laterMemory(_ era: GuestABI.Era) throws {
        for (asked, given) in [(887, 887), (888, 887), (1024, 887), (1025, 887), (2046, 887)]
            as [(UInt32, UInt32)]
        {
            let layout = try GuestLayout(mebibytes: asked, kernel: kernelForLayout(era: era))
            #expect(layout.memory == given << 20)
            #expect(layout.reducedFrom == (asked == given ? nil : asked))
        }
    }

    @Test(
        "kernel, tables and initrd must all have room",
        arguments: [
            (0x3F_E000, nil), (0x3F_F000, 4 as UInt32), (0x40_0000, 5), (0x40_0001, 5),
            (0x7FF_FFFF, 129),
        ] as [(UInt32, UInt32?)])
    func room(_ end: UInt32, _ needed: UInt32?) throws {
        let kernel = kernelForLayout(end: end)
        if let needed {
            let error = LoaderError.image(
                name: "k", .needsMemory(needed: max(needed, 5), available: 4))
            #expect(throws: error) { try GuestLayout(mebibytes: 4, kernel: kernel) }
            #expect(error.exitCode == 3)
        } else {
            let layout = try GuestLayout(mebibytes: 4, kernel: kernel)
            #expect(layout.pageTables == end)
        }
    }

    @Test("an initrd fits to the last byte or is refused with its size and the room")
    func initrd() throws {
        // 4 MiB: kernel to 3 MiB, a table and the directory.
        let room: UInt32 = 0x10_0000 - 0x2000
        let layout = try GuestLayout(
            mebibytes: 4, kernel: kernelForLayout(), initrd: ("i", UInt64(room)))
        #expect(layout.pageTables == 0x30_0000)
        for size in [UInt64(room) + 1, 1 << 32, .max] {
            #expect(
                throws: LoaderError.initrdTooLarge(
                    name: "i", size: size, room: room, mebibytes: 4)
            ) {
                try GuestLayout(mebibytes: 4, kernel: kernelForLayout(), initrd: ("i", size))
            }
        }
        #expect(throws: LoaderError.initrdEmpty(name: "i")) {
            try GuestLayout(mebibytes: 4, kernel: kernelForLayout(), initrd: ("i", 0))
        }
    }

    @Test("a machine without the memory is named as the reason, with its errno")
    func hostMemory() {
        let error = LoaderError.guestMemory(mebibytes: 64, .noMemory)
        #expect(throws: error) {
            try SystemCall.hooked({ $0.number == .map ? -12 : nil }) {
                _ = try GuestLayout.makeMemory(mebibytes: 64)
            }
        }
        #expect(error.exitCode == 1)
        #expect(error.text == "cannot get 64 MiB of memory for the guest: out of memory (ENOMEM)")
    }
}
