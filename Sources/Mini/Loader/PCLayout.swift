// Where everything lies in the memory of a PC's kernel before it starts.
//
//     0x500      GDT
//     0x6000     start_info, 0x6040 its module, 0x7000 on: for a PVH entry
//     0x7000     boot parameters, or the memory map of a PVH entry
//     0x8ff0     the first stack
//     0x9000     page tables of a 64-bit entry, up to 0xf000
//     0x20000    command line
//     0x9fc00    reserved, up to 1 MiB
//     0x100000   free; the kernel where its segments or its header say
//       …        free
//     initrd     its pages, up to the end of memory or of what the kernel can reach, or is told to take
//     0xc0000000 nothing, up to 4 GiB; from there on what memory there is beyond 3 GiB
//
// Source: docs/abi/pc.md §2.2.

/// The addresses (guest-physical, in bytes) of one PC guest.
struct PCLayout: Equatable {
    static let globalTable: UInt32 = 0x500
    static let startInfo: UInt32 = 0x6000
    static let module: UInt32 = 0x6040
    static let bootParameters: UInt32 = 0x7000
    static let pvhMap: UInt32 = 0x7000
    static let stack: UInt32 = 0x8FF0
    static let pageTables: UInt32 = 0x9000
    static let commandLine: UInt32 = 0x2_0000
    /// Bytes of the longest command line, its NUL included, whatever a header says.
    static let commandLineLimit: UInt32 = 0x1_0000
    static let lowEnd: UInt32 = 0x9_FC00
    static let highStart: UInt32 = 0x10_0000

    static let leastMebibytes: UInt32 = 8
    /// Below the addresses that a PC keeps for devices; a 32-bit process of ours can map less in one piece.
    static var mostLowMebibytes: UInt32 {
        #if arch(i386)
        2046
        #else
        3072
        #endif
    }
    /// What a kernel can be given. One that starts in 64-bit mode, or goes there, finds the rest from 4 GiB on, up to where
    /// the software processor's physical addresses end.
    static func mostMebibytes(isWide: Bool) -> UInt32 {
        #if arch(i386)
        mostLowMebibytes
        #else
        isWide ? mostLowMebibytes + 60 * 1024 : mostLowMebibytes
        #endif
    }
    /// What a kernel is given by itself, at least.
    static let usualMebibytes: UInt32 = 64
    /// Beside the kernel, so that it gets somewhere; small ones do with less.
    static let workingMebibytes: UInt64 = 16

    /// RAM, a whole number of MiB.
    let extent: MemoryExtent
    /// Bytes of it from address 0 on.
    var memory: UInt32 { extent.low }
    let initrd: UInt32
    let initrdSize: UInt32

    /// - Parameters:
    ///   - extent: RAM.
    ///   - name: the kernel's, for messages.
    ///   - kernelEnd: the first byte that the kernel does not need while it starts.
    ///   - initrdLimit: the last byte that an initrd may have.
    ///   - wordsEnd: where memory ends by the kernel's own words: old kernels do not look for an initrd above that.
    init(
        _ extent: MemoryExtent, name: Text, kernelEnd: UInt64, initrdLimit: UInt32,
        wordsEnd: UInt64 = .max, initrd file: (name: Text, size: UInt64)?
    ) throws(LoaderError) {
        self.extent = extent
        let memory = extent.low
        let mebibytes = extent.mebibytes
        if mebibytes < Self.leastMebibytes {
            throw .memoryTooSmall(mebibytes: mebibytes, least: Self.leastMebibytes)
        }
        guard kernelEnd <= UInt64(memory) else {
            throw .image(
                name: name,
                .needsMemory(
                    needed: UInt32(clamping: Self.least(kernelEnd, file?.size ?? 0)),
                    working: UInt32(clamping: Self.working(file?.size ?? 0)),
                    available: mebibytes))
        }
        guard let file else {
            (initrd, initrdSize) = (memory, 0)
            return
        }
        if file.size == 0 { throw .initrdEmpty(name: file.name) }
        var end = initrdLimit < memory ? (initrdLimit &+ 1) & Page.number : memory
        // Where it does not fit there it may be of use nevertheless.
        let told = UInt32(clamping: wordsEnd) & Page.number
        if told < end, UInt64(told) >= kernelEnd + file.size + UInt64(Page.offset) { end = told }
        let room = UInt64(end) > kernelEnd ? UInt64(end) - kernelEnd : 0
        guard file.size + UInt64(Page.offset) <= room else {
            throw .initrdTooLarge(
                name: file.name, size: file.size, room: UInt32(clamping: room),
                mebibytes: mebibytes)
        }
        initrdSize = UInt32(file.size)
        initrd = (end - initrdSize) & Page.number
    }

    /// Where so much memory is.
    /// - Parameter isWide: whether the kernel can find memory from 4 GiB on.
    /// - Throws: an error of use if no such guest can have that much or that little.
    static func extent(mebibytes: UInt32, isWide: Bool) throws(LoaderError) -> MemoryExtent {
        if mebibytes < leastMebibytes {
            throw .memoryTooSmall(mebibytes: mebibytes, least: leastMebibytes)
        }
        let most = mostMebibytes(isWide: isWide)
        if mebibytes > most { throw .memoryTooLarge(mebibytes: mebibytes, most: most) }
        let low = min(mebibytes, mostLowMebibytes)
        return MemoryExtent(low: low << 20, high: UInt64(mebibytes - low) << 20)
    }

    /// The least memory in MiB into which a kernel that ends there is loaded, with an initrd of so many bytes.
    static func least(_ kernelEnd: UInt64, _ initrd: UInt64) -> UInt64 {
        let pages = initrd == 0 ? 0 : initrd + UInt64(Page.offset)
        let end = kernelEnd.addingReportingOverflow(pages)
        return max(mebibytes(end.overflow ? .max : end.partialValue), UInt64(leastMebibytes))
    }

    /// What it should have beside that, in MiB: the initrd is unpacked beside itself.
    static func working(_ initrd: UInt64) -> UInt64 { workingMebibytes + mebibytes(initrd) }

    /// What it is given without --memory: an initrd of today unpacks to several times its size.
    static func usual(_ kernelEnd: UInt64, _ initrd: UInt64) -> UInt32 {
        let wanted = mebibytes(kernelEnd) + 2 * workingMebibytes + 6 * mebibytes(initrd)
        return min(max(UInt32(clamping: wanted), usualMebibytes), mostLowMebibytes)
    }

    private static func mebibytes(_ count: UInt64) -> UInt64 {
        count >> 20 + (count & 0xF_FFFF == 0 ? 0 : 1)
    }
}
