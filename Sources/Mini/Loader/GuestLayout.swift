// Where everything lies in a guest's physical memory before it starts.
//
//     0          boot parameters                         BootParameters.swift
//     0x1000     command line
//     0x100000   kernel (where its segments say)         ElfImage.swift, BzImage.swift
//       …        free
//     tables     page-table pages, then                  BootPageTables.swift
//     directory  the page directory
//     initrd     its pages, up to the end of memory
//     memory     device descriptors, device pages: 256 pages that are no RAM
//
// Source: docs/abi/lguest.md §2.1, §2.5.

/// The addresses (guest-physical, in bytes) of one guest. Every range in it lies inside
/// guest memory and overlaps no other.
struct GuestLayout: Equatable {
    static let mebibyte: UInt32 = 1 << 20
    static let bootParameters: UInt32 = 0
    static let commandLine: UInt32 = 0x1000
    /// The command line's room, its NUL included: what the kernels of eras 0 and 1 copy.
    static let commandLineLimit = 2048
    static let lowestKernelAddress: UInt32 = 0x2000
    /// Pages above memory for the devices.
    static let devicePages: UInt32 = 256
    static let defaultMebibytes: UInt32 = 64
    /// Room for a kernel at 1 MiB, at the least.
    static let leastMebibytes: UInt32 = 2
    /// What a 32-bit process can map in one piece, device pages included.
    static let mostMebibytes: UInt32 = 2046
    /// What the kernel keeps of its addresses for vmalloc, and the host at the top.
    private static let reservedMebibytes: UInt32 = 128 + 4
    /// From 2.6.24 on the vmalloc area ends below what the kernel maps for itself, up to 5 MiB further down. A kernel
    /// without high memory looks for its devices where its own memory ends.
    private static let laterReservedMebibytes = reservedMebibytes + 5

    /// Bytes of RAM, a multiple of 1 MiB: what the guest is told.
    let memory: UInt32
    /// What was asked for, in MiB, if the kernel could not have used all of it.
    let reducedFrom: UInt32?
    let initrd: UInt32
    /// Whole pages; 0 for no initrd.
    let initrdSize: UInt32
    let pageDirectory: UInt32
    let pageTables: UInt32
    let pageTableCount: UInt32

    /// The page with the device descriptors.
    var descriptorPage: UInt32 { memory }

    /// Size that guest memory must have for this much RAM.
    /// - Throws: an error of use if no guest can have that much or that little.
    static func memorySize(mebibytes: UInt32) throws(LoaderError) -> UInt32 {
        if mebibytes < leastMebibytes {
            throw .memoryTooSmall(mebibytes: mebibytes, least: leastMebibytes)
        }
        if mebibytes > mostMebibytes {
            throw .memoryTooLarge(mebibytes: mebibytes, most: mostMebibytes)
        }
        return mebibytes * mebibyte + devicePages * Page.size
    }

    /// What of so much is made for a kernel before it is known: one that is not for lguest may have more.
    static func possible(_ mebibytes: UInt32) -> UInt32 { min(mebibytes, mostMebibytes) }

    /// Fresh memory for a guest with this much RAM.
    static func makeMemory(mebibytes: UInt32) throws(LoaderError) -> GuestMemory {
        let size = try memorySize(mebibytes: mebibytes)
        do throws(Errno) { return try GuestMemory(count: size) } catch {
            throw .guestMemory(mebibytes: mebibytes, error)
        }
    }

    /// - Parameters:
    ///   - mebibytes: RAM, as given to `makeMemory`.
    ///   - initrd: its name and its size in bytes.
    init(
        mebibytes: UInt32, kernel: LoadedKernel, initrd file: (name: Text, size: UInt64)? = nil
    ) throws(LoaderError) {
        _ = try Self.memorySize(mebibytes: mebibytes)
        let usable = Self.usable(mebibytes, kernel)
        reducedFrom = usable < mebibytes ? mebibytes : nil
        memory = usable * Self.mebibyte

        pageTableCount = BootPageTables.count(memory: memory, isWide: kernel.abi.hasWideTables)
        let tables = (pageTableCount + 1) * Page.size
        let kernelEnd = Page.rounded(kernel.end)
        guard kernelEnd <= memory, memory - kernelEnd >= tables else {
            throw .image(
                name: kernel.name,
                .needsMemory(
                    needed: Self.mebibytes(UInt64(kernelEnd) + UInt64(tables)), available: usable)
            )
        }
        let room = memory - kernelEnd - tables
        if let file {
            if file.size == 0 { throw .initrdEmpty(name: file.name) }
            guard file.size <= UInt64(room) else {
                throw .initrdTooLarge(
                    name: file.name, size: file.size, room: room, mebibytes: usable)
            }
            initrdSize = Page.rounded(UInt32(file.size))
        } else {
            initrdSize = 0
        }
        initrd = memory - initrdSize
        pageDirectory = initrd - Page.size
        pageTables = pageDirectory - pageTableCount * Page.size
    }

    /// A kernel of lguest's keeps initrd, tables and devices in the memory that it maps for
    /// good, which ends where its vmalloc area begins. More is cut, as the kernel itself would cut it.
    private static func usable(_ mebibytes: UInt32, _ kernel: LoadedKernel) -> UInt32 {
        // At least 256 MiB: `isPageOffset`.
        let addressable = (0 &- kernel.pageOffset) >> 20
        let reserved = kernel.abi.reservesMore ? laterReservedMebibytes : reservedMebibytes
        return min(mebibytes, max(addressable, reserved + leastMebibytes) - reserved)
    }

    /// True for what can be a kernel's page offset: with at least 256 MiB of addresses for the
    /// kernel and 1 GiB for its programs, at the border of a page directory entry.
    static func isPageOffset(_ address: UInt32) -> Bool {
        address >= 0x4000_0000 && address <= 0xF000_0000 && address & 0x3F_FFFF == 0
    }

    /// Bytes as MiB, rounded up.
    static func mebibytes(_ count: UInt64) -> UInt32 {
        UInt32(truncatingIfNeeded: (count + UInt64(mebibyte) - 1) >> 20)
    }
}
