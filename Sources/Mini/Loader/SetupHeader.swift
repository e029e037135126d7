// The setup header that a bzImage begins with: what the kernel's build tells its loader. Fields came with versions of the
// boot protocol; a field that an image is too old for is nil here, or what the protocol says it is then.
// Source: docs/abi/pc.md §1.1; the kernel's boot protocol for x86.

/// Offsets in the boot parameters that a kernel reads. An image's first sectors have its setup header at the same ones.
/// Source: linux/Documentation/arch/x86/boot.rst and zero-page.rst; asm/bootparam.h.
enum BootField {
    /// KiB after the first MiB, in 16 and in 32 bits: of the BIOS's calls that came before the map.
    static let shortMemory: UInt32 = 0x02
    static let videoMode: UInt32 = 0x06
    static let columns: UInt32 = 0x07
    static let rows: UInt32 = 0x0E
    static let isVGA: UInt32 = 0x0F
    /// Of a row.
    static let lines: UInt32 = 0x10
    static let memory: UInt32 = 0x1E0
    static let mapEntries: UInt32 = 0x1E8
    /// Here the setup header begins, and with it the count of its sectors.
    static let setupSectors: UInt32 = 0x1F1
    /// Of the protected-mode part, in pieces of 16 bytes.
    static let bodySize: UInt32 = 0x1F4
    static let bootFlag: UInt32 = 0x1FE
    /// The displacement of a jump over the rest of the header.
    static let headerLength: UInt32 = 0x201
    static let magic: UInt32 = 0x202
    static let version: UInt32 = 0x206
    static let banner: UInt32 = 0x20E
    static let typeOfLoader: UInt32 = 0x210
    static let loadFlags: UInt32 = 0x211
    static let codeStart: UInt32 = 0x214
    static let ramdiskAddress: UInt32 = 0x218
    static let ramdiskSize: UInt32 = 0x21C
    static let commandLine: UInt32 = 0x228
    static let initrdLimit: UInt32 = 0x22C
    static let alignment: UInt32 = 0x230
    static let isRelocatable: UInt32 = 0x234
    static let longFlags: UInt32 = 0x236
    static let commandLineLimit: UInt32 = 0x238
    static let subarchitecture: UInt32 = 0x23C
    static let payload: UInt32 = 0x248
    static let payloadSize: UInt32 = 0x24C
    static let preferredAddress: UInt32 = 0x258
    static let initSize: UInt32 = 0x260
    static let map: UInt32 = 0x2D0

    // What stands there.
    static let bootSign: UInt16 = 0xAA55
    static let headerSign: UInt32 = 0x5372_6448  // "HdrS"
    static let unknownLoader: UInt8 = 0xFF
    /// Flags of loading: the protected-mode part is at 1 MiB; the kernel is to leave its segments alone.
    static let loadedHigh: UInt8 = 1
    static let keepsSegments: UInt8 = 0x40
    /// Kinds of the map's entries.
    static let usable: UInt32 = 1
    static let reserved: UInt32 = 2
    static let mapEntrySize: UInt32 = 20
}

struct SetupHeader: Equatable {
    /// Of the boot protocol, 0x0206 for 2.06.
    let protocolVersion: UInt16
    /// Where the protected-mode part begins in the file.
    let body: Int
    /// Size that the file should have; a few bytes of padding may be missing.
    let expectedSize: UInt64
    /// False for a zImage.
    let isLoadedHigh: Bool
    /// From the header's own text, "6.1.0-50-amd64 (builder) #1 SMP …".
    let banner: Text?
    /// Where the protected-mode part goes if it cannot choose.
    let codeStart: UInt32
    /// The last byte that an initrd may have.
    let initrdLimit: UInt32
    /// Bytes of a command line, without its end.
    let commandLineLimit: UInt32
    let isRelocatable: Bool
    /// Of the place where it is loaded, in bytes; 2.05.
    let alignment: UInt32?
    /// Where it would like to be; 2.10.
    let preferredAddress: UInt64?
    /// Bytes from there on that it needs until it runs; 2.10.
    let initSize: UInt32?
    /// Bit 0 for an entry in 64-bit mode, 0x200 bytes into the protected-mode part; 2.12.
    let longFlags: UInt16
    /// Where the compressed kernel lies in the file, and how long it is; 2.08.
    let payload: Payload?

    struct Payload: Equatable {
        let offset: Int
        let length: Int
    }

    /// Behind what the header's text is in front of: a version's name.
    var version: LinuxVersion? { banner.flatMap { LinuxVersion($0) } }
    /// False for what is packed as a kernel is but holds none that could be unpacked here, like a memory test.
    var holdsLinux: Bool { payload != nil || protocolVersion < Self.payloadVersion }
    private static let payloadVersion: UInt16 = 0x208
    var is64Bit: Bool { longFlags & 1 == 1 }
    /// Where it runs: one that can be moved, where it is put.
    var place: UInt64 { preferredAddress ?? UInt64(codeStart) }

    /// Where the protected-mode part goes if the image unpacks itself.
    var imageStart: UInt32 {
        guard isRelocatable, let place = preferredAddress, place < 1 << 31 else {
            return codeStart
        }
        return UInt32(place)
    }

    /// What is said of an image of so many bytes in which no compressed kernel is found.
    func lack(_ size: Int) -> ImageError {
        if isCutOff(size) { return .bzImageCutOff(size: UInt64(size), expected: expectedSize) }
        // A loader like iPXE, which has a header in front of code for the BIOS.
        if isLoadedHigh && imageStart < PCLayout.highStart { return .realModeOnly }
        return .noCompressedKernel(version: version?.name)
    }

    /// True for a file of fewer bytes than the header says.
    func isCutOff(_ size: Int) -> Bool { UInt64(size) + 16 < expectedSize }

    private static let mostBanner = 256
    /// What 32-bit kernels map of memory for good.
    static let oldInitrdLimit: UInt32 = 0x37FF_FFFF
    static let oldCommandLineLimit: UInt32 = 255
    /// Those of later kernels.
    static let usualInitrdLimit: UInt32 = 0x7FFF_FFFF
    static let usualCommandLineLimit: UInt32 = 2047

    /// nil if the file does not begin with boot code and a setup header.
    init?(_ file: ByteView) {
        func byte(_ field: UInt32) -> UInt8? { file.byte(Int(field)) }
        func half(_ field: UInt32) -> UInt16? { file.half(Int(field)) }
        guard half(BootField.bootFlag) == BootField.bootSign,
            file.word(Int(BootField.magic)) == BootField.headerSign,
            let version = half(BootField.version), let setupSectors = byte(BootField.setupSectors)
        else { return nil }
        // What lies beyond the header's end is something else.
        func word(_ field: UInt32, since: UInt16 = 0) -> UInt32? {
            version >= since ? file.word(Int(field)) : nil
        }
        protocolVersion = version
        isLoadedHigh = (byte(BootField.loadFlags) ?? 0) & BootField.loadedHigh != 0
        // The protocol: a count of 0 means 4.
        let body = (Int(setupSectors == 0 ? 4 : setupSectors) + 1) * 512
        self.body = body
        expectedSize = UInt64(body) + UInt64(word(BootField.bodySize) ?? 0) * 16
        let text = Int(half(BootField.banner) ?? 0) + 0x200
        // Of a file that is cut off there is none.
        let line = text > 0x200 && text < body ? file.line(at: text, limit: Self.mostBanner) : ""
        banner = line.bytes.isEmpty ? nil : line
        codeStart = word(BootField.codeStart) ?? 0
        initrdLimit = word(BootField.initrdLimit, since: 0x203) ?? Self.oldInitrdLimit
        commandLineLimit =
            word(BootField.commandLineLimit, since: 0x206) ?? Self.oldCommandLineLimit
        isRelocatable = version >= 0x205 && byte(BootField.isRelocatable) ?? 0 != 0
        alignment = word(BootField.alignment, since: 0x205)
        preferredAddress = version >= 0x20A ? file.double(Int(BootField.preferredAddress)) : nil
        initSize = word(BootField.initSize, since: 0x20A)
        longFlags = version >= 0x20C ? half(BootField.longFlags) ?? 0 : 0
        if let offset = word(BootField.payload, since: Self.payloadVersion), offset > 0,
            let length = word(BootField.payloadSize, since: Self.payloadVersion)
        {
            // No file is as long: what leads out of it leads nowhere.
            let place = body + Int(min(offset, 1 << 30))
            payload = Payload(offset: place, length: Int(min(length, 1 << 30)))
        } else {
            payload = nil
        }
    }
}
