// A unified kernel image: a program for EFI firmware with a kernel in it, and mostly an initrd and a command line, each a section
// of its own. systemd-boot starts such files, and distributions install them. The program is not run here: what it would
// hand to the kernel is taken out of it.
//
// Of an image with profiles the first one counts, as it does for who boots it and chooses nothing: its sections go before those
// that all profiles have.
//
// Sources: docs/abi/pc.md §1.4; Microsoft's PE format; UAPI.5, Unified Kernel Image; systemd-stub(7).

final class UnifiedImage {
    /// A section's bytes, which are in the file.
    struct Part: Equatable {
        /// In bytes.
        let offset: Int
        let count: Int

        func bytes(of file: ByteView) -> ByteView? { file.slice(offset, count) }
        fileprivate var end: Int { offset + count }
    }

    /// The file's, in bytes.
    let size: Int
    let kernel: Part
    /// Nil for none, and for one without a byte.
    let initrd: Part?
    /// What the kernel is to get to read: what blanks and control characters are between, which is nothing between two of them.
    let commandLine: [Text]
    /// The system's name for people, by its os-release.
    let system: Text?
    /// The kernel's release.
    let release: Text?
    /// The kind of processor, "x86-64" or "i386".
    let machine: Text

    private enum Section: Int, CaseIterable {
        case kernel, initrd, commandLine, system, release

        var name: StaticString {
            switch self {
            case .kernel: ".linux"
            case .initrd: ".initrd"
            case .commandLine: ".cmdline"
            case .system: ".osrel"
            case .release: ".uname"
            }
        }
    }

    private static let profile: StaticString = ".profile"
    private static let headerSize = 40
    private static let nameSize = 8
    /// More than any kernel reads: it is refused then as any that is too long.
    private static let mostWords = 1 << 16
    private static let mostText = 4096

    /// Looks at a file; nil for one that is no such image.
    /// - Throws: what is wrong with an image, or which machine it is for.
    init?(_ file: ByteView) throws(ImageError) {
        // Kernels are such programs themselves.
        guard let header = Self.header(file), SetupHeader(file) == nil else { return nil }
        let first = header + 24 + Int(file.half(header + 20) ?? 0)
        let count = Int(file.half(header + 6) ?? 0)
        var parts = [Part?](repeating: nil, count: Section.allCases.count)
        var isOfProfile = [Bool](repeating: false, count: parts.count)
        var profiles = 0
        var isCut = false
        for index in 0..<count {
            let at = first + index * Self.headerSize
            guard file.contains(at, Self.headerSize) else {
                isCut = true
                break
            }
            if Self.isNamed(Self.profile, file, at) { profiles += 1 }
            guard profiles < 2 else { break }
            for section in Section.allCases where Self.isNamed(section.name, file, at) {
                let place = section.rawValue
                guard parts[place] == nil || profiles == 1 && !isOfProfile[place] else {
                    throw .damagedUnified("it has \(section.name) twice")
                }
                parts[place] = try Self.part(file, at, section, behind: first)
                isOfProfile[place] = profiles == 1
            }
        }
        guard let kernel = parts[Section.kernel.rawValue] else {
            let isAddon = parts.contains { $0 != nil && $0?.count != 0 }
            if isAddon && !isCut { throw .notAKernel("an EFI program without .linux") }
            return nil
        }
        machine = try Self.machine(file, header)
        if isCut { throw .damagedUnified("its section headers lie beyond the end of the file") }
        if kernel.count == 0 { throw .damagedUnified("its .linux is empty") }
        try Self.checkOverlap(parts)
        func bytes(_ section: Section) -> ByteView? {
            parts[section.rawValue].flatMap { $0.bytes(of: file) }
        }
        size = file.count
        self.kernel = kernel
        initrd = parts[Section.initrd.rawValue].flatMap { $0.count == 0 ? nil : $0 }
        commandLine = bytes(.commandLine).map { Self.words($0) } ?? []
        system = bytes(.system).flatMap { Self.name($0) }
        release = bytes(.release).flatMap { Self.line($0) }
    }

    /// Where a PE header begins.
    static func header(_ file: ByteView) -> Int? {
        guard file.has("MZ"), let header = file.word(0x3C), header < 1 << 20,
            file.has("PE\0\0", at: Int(header))
        else { return nil }
        return Int(header)
    }

    private static func isNamed(_ name: StaticString, _ file: ByteView, _ at: Int) -> Bool {
        let count = name.utf8CodeUnitCount
        return file.has(name, at: at) && (count == nameSize || file.byte(at + count) == 0)
    }

    /// - Parameter start: where the headers of all sections begin.
    private static func part(
        _ file: ByteView, _ header: Int, _ section: Section, behind start: Int
    ) throws(ImageError) -> Part {
        // A section fills whole blocks of the file, and may have more bytes in memory than there.
        let size = min(file.word(header + 8) ?? 0, file.word(header + 16) ?? 0)
        guard size > 0 else { return Part(offset: 0, count: 0) }
        let offset = file.word(header + 20) ?? 0
        let end = UInt64(offset) + UInt64(size)
        guard end <= UInt64(file.count) else {
            throw .unifiedCutOff(
                section: "\(section.name)", end: end, size: UInt64(file.count))
        }
        guard Int(offset) >= start else {
            throw .damagedUnified("its \(section.name) lies on its headers")
        }
        return Part(offset: Int(offset), count: Int(size))
    }

    private static func checkOverlap(_ parts: [Part?]) throws(ImageError) {
        for section in Section.allCases {
            for other in Section.allCases where other.rawValue < section.rawValue {
                guard let one = parts[section.rawValue], let two = parts[other.rawValue],
                    one.offset < two.end, two.offset < one.end
                else { continue }
                throw .damagedUnified("\(other.name) and \(section.name) overlap")
            }
        }
    }

    private static func machine(
        _ file: ByteView, _ header: Int
    ) throws(ImageError) -> Text {
        let machine = file.half(header + 4) ?? 0
        let name = FileKind.machine(machine)
        let width: UInt16
        switch machine {
        case 0x8664: width = 0x20B
        case 0x014C: width = 0x10B
        default: throw .foreignKernel("a unified kernel image for \(name)")
        }
        let kind = file.half(header + 24) ?? 0
        guard kind == width else {
            throw .damagedUnified("its optional header is of kind \(hex: kind), not \(hex: width)")
        }
        return name
    }

    // MARK: Texts

    private static func words(_ part: ByteView) -> [Text] {
        var words: [Text] = []
        var word = Text()
        // Words without a byte that another one has to follow.
        var empty = 0
        for at in 0...min(part.count, mostWords) {
            let byte = part.byte(at) ?? 0
            if byte > 0x20 { word.append(byte) }
            guard byte <= 0x20 else { continue }
            if word.bytes.isEmpty {
                if !words.isEmpty { empty += 1 }
            } else {
                words += [Text](repeating: Text(), count: empty)
                words.append(word)
                word = Text()
                empty = 0
            }
            if byte == 0 { break }
        }
        return words
    }

    private static func line(_ part: ByteView) -> Text? {
        let line = part.line(at: 0, limit: 256)
        return line.bytes.isEmpty ? nil : line
    }

    private static func name(_ part: ByteView) -> Text? {
        var at = 0
        while at < min(part.count, mostText) {
            let line = part.line(at: at, limit: 256)
            if let value = line.dropping(prefix: "PRETTY_NAME=") {
                let name = value.bytes.filter { $0 != UInt8(ascii: "\"") }
                return name.isEmpty ? nil : Text(bytes: name)
            }
            at += line.bytes.count + 1
        }
        return nil
    }
}
