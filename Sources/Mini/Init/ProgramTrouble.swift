// Why a program's file cannot be run: the kernel says "no such file" of a script whose interpreter is
// missing and of a program whose loader is, and nothing of what is wrong with the others. Asked
// after a failure, and before the root is switched. Source: execve(2), elf(5), the kernel's
// fs/binfmt_script.c.

enum ProgramTrouble {
    /// An interpreter may be a script itself; the kernel follows five.
    private static let deepest = 5
    /// What the kernel reads of a file to see what it is.
    private static let beginning = 256

    /// - Returns: what is wrong, as a part of a sentence; nil if nothing is seen to be wrong.
    static func reason(_ path: Text, _ errno: Errno? = nil, depth: Int = 0) -> Text? {
        guard depth < deepest, let status = try? FileStatus.of(path, followsLink: true) else {
            return nil
        }
        if status.kind == .directory { return "it is a directory" }
        if status.kind != .regular { return "it is no regular file" }
        if status.mode & 0o111 == 0 { return "it is not executable" }
        if Files.isForbidden(path) { return "it is on a file system without programs (noexec)" }
        guard let file = try? Descriptor.open(path, .readOnlyNow),
            let start = read(file, from: 0, beginning)
        else { return nil }
        if start.dropping(prefix: "#!") != nil {
            if let why = script(start, depth) { return why }
            // Nothing is wrong with any of them.
            return errno == .tooManyLinks
                ? "its interpreters are scripts of scripts, more than the kernel follows" : nil
        }
        return unsafe start.bytes.withUnsafeBytes { bytes in
            unsafe elf(ByteView(bytes), file, errno, depth)
        }
    }

    // MARK: Scripts

    private static func script(_ start: Text, _ depth: Int) -> Text? {
        let line = start.bytes.dropFirst(2).prefix { $0 != 10 && $0 != 0 }
        let name = Text(
            bytes: Array(line.drop { isBlank($0) }.prefix { !isBlank($0) }))
        if name.bytes.isEmpty { return "no interpreter stands behind its #!" }
        guard let text = missing(name, "interpreter", depth) else { return nil }
        return name.bytes.last == 13 ? "\(text) (its lines end in CR LF)" : text
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == 9 }

    /// What is wrong with the file that a program needs to be run.
    private static func missing(_ name: Text, _ role: StaticString, _ depth: Int) -> Text? {
        do throws(Errno) { _ = try FileStatus.of(name, followsLink: true) } catch {
            return error == .noSuchFile
                ? "its \(role) \(quoted: name) is not there"
                : "its \(role) \(quoted: name) cannot be opened: \(error)"
        }
        return reason(name, depth: depth + 1).map {
            "its \(role) \(quoted: name) cannot be run: \($0)" as Text
        }
    }

    // MARK: ELF

    private static func elf(
        _ start: ByteView, _ file: borrowing Descriptor, _ errno: Errno?, _ depth: Int
    ) -> Text? {
        guard ElfImage.isElf(start), let machine = start.half(18) else {
            return start.count == 0
                ? "it is empty" : "it is neither an ELF program nor a script that begins with #!"
        }
        guard machine == Elf.machine386 || machine == Elf.machineX86, start.byte(5) == 1 else {
            return "it is a program for another machine (\(ImageError.machine(machine)))"
        }
        let kind = start.half(16)
        if kind == Elf.objectFile {
            return "it is an object file or a kernel module, not a program"
        }
        if kind == Elf.coreDump { return "it is a core dump, not a program" }
        let is64Bit = ElfImage.isElf64(start)
        if isCutOff(start, file, is64Bit) { return "it is cut off" }
        if errno == .notAProgram {
            return "it is \(is64Bit ? "a 64" : "a 32")-bit program that this kernel cannot run"
        }
        return loader(start, file, is64Bit).flatMap { missing($0, "loader", depth) }
    }

    /// True if the file ends before what its headers say.
    private static func isCutOff(
        _ start: ByteView, _ file: borrowing Descriptor, _ is64Bit: Bool
    ) -> Bool {
        guard let headers = programHeaders(start, is64Bit), let status = try? file.status() else {
            return true
        }
        let (end, isFar) = headers.place.addingReportingOverflow(
            UInt64(headers.size) * UInt64(headers.count))
        return isFar || end > status.size
    }

    /// Where in the file they are, how long each is, and how many there are.
    private static func programHeaders(
        _ start: ByteView, _ is64Bit: Bool
    ) -> (place: UInt64, size: UInt16, count: UInt16)? {
        let place = is64Bit ? start.double(32) : start.word(28).map { UInt64($0) }
        guard let place, let size = start.half(is64Bit ? 54 : 42),
            let count = start.half(is64Bit ? 56 : 44)
        else { return nil }
        return (place, size, count)
    }

    /// The name of the program that is to load this one.
    private static func loader(
        _ start: ByteView, _ file: borrowing Descriptor, _ is64Bit: Bool
    ) -> Text? {
        guard let (place, size, count) = programHeaders(start, is64Bit),
            size >= (is64Bit ? 56 : 32),
            let headers = read(
                file, from: place, Int(min(UInt64(size) * UInt64(count), 1 << 16)))
        else { return nil }
        let range = unsafe headers.bytes.withUnsafeBytes { bytes in
            unsafe interpreter(ByteView(bytes), size: Int(size), is64Bit)
        }
        guard let range, range.count > 1, range.count <= UInt64(Files.longestPath),
            let name = read(file, from: range.offset, Int(range.count))
        else { return nil }
        return Text(bytes: Array(name.bytes.prefix { $0 != 0 }))
    }

    private static func interpreter(
        _ headers: ByteView, size: Int, _ is64Bit: Bool
    ) -> (offset: UInt64, count: UInt64)? {
        var at = 0
        while at + size <= headers.count {
            if headers.word(at) == Elf.interpreter {
                if is64Bit {
                    guard let offset = headers.double(at + 8), let count = headers.double(at + 32)
                    else { return nil }
                    return (offset, count)
                }
                guard let offset = headers.word(at + 4), let count = headers.word(at + 16) else {
                    return nil
                }
                return (UInt64(offset), UInt64(count))
            }
            at += size
        }
        return nil
    }

    private static func read(
        _ file: borrowing Descriptor, from offset: UInt64, _ count: Int
    ) -> Text? {
        var bytes = [UInt8](repeating: 0, count: count)
        guard offset <= UInt64(Int32.max), (try? file.seek(to: offset)) != nil,
            let count = try? Transfer.read(file.number, into: &bytes)
        else { return nil }
        return Text(bytes: Array(bytes[..<count]))
    }
}
