// Why a kernel module cannot be loaded, from what the module says of itself: the kernel has one number
// for every symbol that is missing, and names them only in its log. Source: the kernel's
// kernel/module/main.c, modinfo(8) (.modinfo: strings NAME=VALUE, each ended by 0).

enum ModuleTrouble {
    private static let largest = 128 << 20

    /// - Returns: what is wrong, as a part of a sentence; nil if the module does not tell.
    static func reason(_ module: borrowing Descriptor, _ errno: Errno) -> Text? {
        guard errno == .noSuchFile || errno == .notAProgram else { return nil }
        var why: Text?
        withImage(module) { (image, _) in why = reason(image, errno) }
        return why
    }

    /// Hands out what is in a module's file, unpacked, and whether it was packed; nothing where that cannot be had.
    static func withImage(_ module: borrowing Descriptor, _ body: (ByteView, Bool) -> Void) {
        // Read, not mapped: one that becomes shorter meanwhile must not end process 1.
        guard let text = try? SmallFile.read("/proc/self/fd/\(module.number)", limit: largest),
            text.bytes.count > 0
        else { return }
        unsafe text.bytes.withUnsafeBytes { bytes in
            let file = unsafe ByteView(bytes)
            guard let compression = Compression(file, at: 0) else { return body(file, false) }
            guard let room = try? Mapping.anonymous(count: largest) else { return }
            let outcome = unsafe compression.unpack(
                file, at: 0, end: file.count, to: room.bytes)
            guard outcome.failure == nil else { return }
            let image = unsafe UnsafeRawBufferPointer(
                start: room.start, count: outcome.produced)
            unsafe body(ByteView(image), true)
        }
    }

    private static func reason(_ file: ByteView, _ errno: Errno) -> Text? {
        if errno == .notAProgram { return version(file) }
        return missing(file) ?? "it uses symbols that this kernel does not have; its log names them"
    }

    /// Modules that are to be loaded before it, as far as they are not.
    private static func missing(_ file: ByteView) -> Text? {
        guard let value = value(of: "depends=", file) else { return nil }
        var names: Text?
        for name in value.bytes[...].split(separator: UInt8(ascii: ",")) {
            // The kernel's own names have no dashes.
            let known = Text(bytes: name.map { $0 == UInt8(ascii: "-") ? UInt8(ascii: "_") : $0 })
            let folder: Text = "/sys/module/\(known)"
            if (try? FileStatus.of(folder, followsLink: true)) != nil { continue }
            names = names.map { "\($0), \(visible: known)" as Text } ?? "\(visible: known)"
        }
        return names.map { "it needs modules that are not loaded yet: \($0)" as Text }
    }

    /// For which kernel it was built, if that is another one.
    private static func version(_ file: ByteView) -> Text? {
        guard let value = value(of: "vermagic=", file) else {
            return ElfImage.isElf(file) ? nil : "it is no module"
        }
        let built = Text(bytes: Array(value.bytes.prefix { $0 != UInt8(ascii: " ") }))
        guard let running = Kernel.release, !(built == running) else { return nil }
        return "it is a module for Linux \(visible: built), and this is Linux \(visible: running)"
    }

    private static func value(of name: StaticString, _ file: ByteView) -> Text? {
        guard ElfImage.isElf(file) else { return nil }
        var from = 0
        while let at = file.find(name, from: from) {
            from = at + 1
            guard at > 0, file.byte(at - 1) == 0 else { continue }
            var value = Text()
            var next = at + name.utf8CodeUnitCount
            while let byte = file.byte(next), byte != 0, value.bytes.count < 1024 {
                value.append(byte)
                next += 1
            }
            return value.bytes.isEmpty ? nil : value
        }
        return nil
    }
}
