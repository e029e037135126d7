// What the guest's kernel reads before anything else: the boot parameters at guest-physical 0
// and the command line after them. Source: docs/abi/lguest.md §2.2.

/// The command line of a guest.
struct CommandLine: Equatable {
    /// Without its NUL.
    let text: Text

    /// Joins arguments with blanks.
    /// - Throws: an error of use if the kernel would not read all of it.
    init(_ arguments: [Text]) throws(LoaderError) {
        let text = Self.joined(arguments)
        guard text.bytes.count < GuestLayout.commandLineLimit else {
            throw .commandLineTooLong(
                length: text.bytes.count + 1, limit: GuestLayout.commandLineLimit)
        }
        self.text = text
    }

    /// Words with blanks between them.
    static func joined(_ words: [Text]) -> Text {
        var text = Text()
        for word in words {
            if !text.bytes.isEmpty { text.append(0x20) }
            text += word
        }
        return text
    }
}

enum BootParameters {
    private static let mapEntries: UInt32 = 0x1E8
    private static let signature: UInt32 = 0x202
    private static let protocolVersion: UInt32 = 0x206
    private static let typeOfLoader: UInt32 = 0x210
    private static let ramdiskAddress: UInt32 = 0x218
    private static let ramdiskSize: UInt32 = 0x21C
    private static let commandLinePointer: UInt32 = 0x228
    private static let hardwareSubarchitecture: UInt32 = 0x23C
    private static let map: UInt32 = 0x2D0
    private static let usableMemory: UInt32 = 1
    private static let lguest: UInt32 = 1
    private static let unknownLoader: UInt32 = 0xFF
    /// In the byte after the loader's type: the kernel is to leave its segments alone.
    private static let keepsSegments: UInt32 = 0x4000
    /// "HdrS", and the first version that has a subarchitecture.
    private static let header: UInt32 = 0x5372_6448
    private static let withSubarchitecture: UInt32 = 0x207

    /// Writes both.
    /// - Precondition: the first two pages of memory are zero.
    static func write(
        _ layout: GuestLayout, _ abi: GuestABI, _ commandLine: CommandLine, to memory: GuestMemory
    ) {
        let start = GuestLayout.bootParameters
        memory.store32(start + mapEntries, 1)
        memory.store32(start + map, 0)
        memory.store32(start + map + 8, layout.memory)
        memory.store32(start + map + 16, usableMemory)
        memory.store32(start + commandLinePointer, GuestLayout.commandLine)
        memory.store32(start + hardwareSubarchitecture, lguest)
        let flags = abi.bootsByHeader ? keepsSegments : 0
        if abi.bootsByHeader {
            memory.store32(start + signature, header)
            memory.store32(start + protocolVersion, withSubarchitecture)
            memory.store32(start + typeOfLoader, flags)
        }
        if layout.initrdSize > 0 {
            // The kernel looks at an initrd only if a loader says who it is.
            memory.store32(start + typeOfLoader, unknownLoader | flags)
            memory.store32(start + ramdiskAddress, layout.initrd)
            memory.store32(start + ramdiskSize, layout.initrdSize)
        }
        let bytes = commandLine.text.bytes
        guard let range = memory.range(GuestLayout.commandLine, UInt32(bytes.count)) else { return }
        let target = unsafe memory.writable(range)
        for index in bytes.indices { unsafe target[index] = bytes[index] }
    }
}
