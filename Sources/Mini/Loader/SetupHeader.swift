// The setup header that a bzImage begins with: what the kernel's build tells its loader. Fields came with versions of the
// boot protocol; a field that an image is too old for is nil here, or what the protocol says it is then.
// Source: docs/abi/pc.md §1.1; the kernel's boot protocol for x86.

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

    /// nil if the file does not begin with boot code and a setup header.
    init?(_ file: ByteView) {
        guard file.half(0x1FE) == 0xAA55, file.has("HdrS", at: 0x202),
            let version = file.half(0x206), let setupSectors = file.byte(0x1F1)
        else { return nil }
        // What lies beyond the header's end is something else.
        func word(_ offset: Int, since: UInt16) -> UInt32? {
            version >= since ? file.word(offset) : nil
        }
        protocolVersion = version
        isLoadedHigh = (file.byte(0x211) ?? 0) & 1 == 1
        // The protocol: a count of 0 means 4.
        let body = (Int(setupSectors == 0 ? 4 : setupSectors) + 1) * 512
        self.body = body
        expectedSize = UInt64(body) + UInt64(file.word(0x1F4) ?? 0) * 16
        let text = Int(file.half(0x20E) ?? 0) + 0x200
        // Of a file that is cut off there is none.
        let line = text > 0x200 && text < body ? file.line(at: text, limit: Self.mostBanner) : ""
        banner = line.bytes.isEmpty ? nil : line
        codeStart = file.word(0x214) ?? 0
        initrdLimit = word(0x22C, since: 0x203) ?? Self.oldInitrdLimit
        commandLineLimit = word(0x238, since: 0x206) ?? Self.oldCommandLineLimit
        isRelocatable = version >= 0x205 && file.byte(0x234) ?? 0 != 0
        alignment = word(0x230, since: 0x205)
        preferredAddress = version >= 0x20A ? file.double(0x258) : nil
        initSize = word(0x260, since: 0x20A)
        longFlags = version >= 0x20C ? file.half(0x236) ?? 0 : 0
        if let offset = word(0x248, since: Self.payloadVersion), offset > 0,
            let length = word(0x24C, since: Self.payloadVersion)
        {
            // No file is as long: what leads out of it leads nowhere.
            let place = body + Int(min(offset, 1 << 30))
            payload = Payload(offset: place, length: Int(min(length, 1 << 30)))
        } else {
            payload = nil
        }
    }
}
