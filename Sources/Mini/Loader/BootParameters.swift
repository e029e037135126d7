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
    private static let lguest: UInt32 = 1
    /// The first version that has a subarchitecture.
    private static let withSubarchitecture: UInt32 = 0x207

    /// Writes both.
    /// - Precondition: the first two pages of memory are zero.
    static func write(
        _ layout: GuestLayout, _ abi: GuestABI, _ commandLine: CommandLine, to memory: GuestMemory
    ) {
        let start = GuestLayout.bootParameters
        memory.store32(start + BootField.mapEntries, 1)
        memory.store32(start + BootField.map, 0)
        memory.store32(start + BootField.map + 8, layout.memory)
        memory.store32(start + BootField.map + 16, BootField.usable)
        memory.store32(start + BootField.commandLine, GuestLayout.commandLine)
        memory.store32(start + BootField.subarchitecture, lguest)
        // The flags are the byte after the loader's type.
        let flags = abi.bootsByHeader ? UInt32(BootField.keepsSegments) << 8 : 0
        if abi.bootsByHeader {
            memory.store32(start + BootField.magic, BootField.headerSign)
            memory.store32(start + BootField.version, withSubarchitecture)
            memory.store32(start + BootField.typeOfLoader, flags)
        }
        if layout.initrdSize > 0 {
            // The kernel looks at an initrd only if a loader says who it is.
            memory.store32(start + BootField.typeOfLoader, UInt32(BootField.unknownLoader) | flags)
            memory.store32(start + BootField.ramdiskAddress, layout.initrd)
            memory.store32(start + BootField.ramdiskSize, layout.initrdSize)
        }
        let bytes = commandLine.text.bytes
        guard let range = memory.range(GuestLayout.commandLine, UInt32(bytes.count)) else { return }
        let target = unsafe memory.writable(range)
        for index in bytes.indices { unsafe target[index] = bytes[index] }
    }
}
