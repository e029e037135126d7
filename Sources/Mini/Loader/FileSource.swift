// Where a kernel, an initrd or a disk comes from: a file, or pages that another domain of Xen has
// granted, named right there (`grant:DOMAIN:REFERENCES[:LENGTH]`) or in the store (`@PATH`). Granted
// pages are copied into a file that is only memory, and that is what the launcher looks at: their
// owner could change them between the look and the use. Source: docs/abi/xen-grants.md §4, §7.

enum FileSource: Equatable {
    case file(Text)
    case grants(GrantSource)
    /// Where in the store it stands.
    case store(Text)

    /// Pages of another domain that hold a file, as they are written: a domain and a list of
    /// references, each of which may be `@PATH`.
    struct GrantSource: Equatable {
        var domain: Text
        var references: Text
        /// In bytes; nil for whole pages.
        var length: Text?
    }

    /// The same with everything known.
    private struct GrantedFile {
        var domain: DomainID
        var references: [GrantReference]
        var length: Int
    }

    private static let prefix: StaticString = "grant:"
    private static let colon = UInt8(ascii: ":")
    private static let patience = Nanoseconds.milliseconds(10_000)
    /// Pages that are mapped at once.
    private static let portion = 256

    /// - Throws: what is wrong with the word.
    init(_ name: Text) throws(GrantError) {
        if name.isStorePath {
            let path = Text(bytes: Array(name.bytes.dropFirst()))
            _ = try StorePath(named: path)
            self = .store(path)
        } else if let rest = name.dropping(prefix: Self.prefix) {
            let source = try Self.grants(rest)
            for path in [source.domain.storePath, source.references.storePath] {
                if let path { _ = try StorePath(named: path) }
            }
            // What is in the store is looked at when it is read.
            if !source.domain.isStorePath && !source.references.isStorePath {
                _ = try Self.file(source)
            }
            self = .grants(source)
        } else {
            self = .file(name)
        }
    }

    /// Parts a word. No path of the store has a colon.
    private static func grants(_ word: Text) throws(GrantError) -> GrantSource {
        let parts = word.bytes[...].split(separator: colon, omittingEmptySubsequences: false)
            .map { Text(bytes: Array($0)) }
        guard parts.count == 2 || parts.count == 3 else { throw misshaped(word) }
        return GrantSource(
            domain: parts[0], references: parts[1], length: parts.count == 3 ? parts[2] : nil)
    }

    private static func misshaped(_ word: Text) -> GrantError {
        .use("\(quoted: word) is not DOMAIN:REFERENCES or DOMAIN:REFERENCES:LENGTH")
    }

    /// Makes numbers of words.
    private static func file(_ source: GrantSource) throws(GrantError) -> GrantedFile {
        guard let domain = source.domain.number.flatMap({ DomainID($0) }),
            let references = GrantList.references(source.references)
        else { throw misshaped("\(source.domain):\(source.references)") }
        let most = references.count * PageCount.pageSize
        guard let word = source.length else {
            return GrantedFile(domain: domain, references: references, length: most)
        }
        guard let length = word.number, length > 0, length <= UInt64(most) else {
            throw .use("\(quoted: word) is no length in bytes that these grants have")
        }
        return GrantedFile(domain: domain, references: references, length: Int(length))
    }

    // MARK: The store

    /// What an entry stands for: DOMAIN:REFERENCES[:LENGTH], with or without `grant:`; or references
    /// alone, as `mini-grant share --publish` writes them, which are domain 0's.
    private static func entry(_ path: Text) throws(GrantError) -> GrantSource {
        let value = try XenStore.read(path)
        let word = value.dropping(prefix: prefix) ?? value
        return word.bytes.contains(colon)
            ? try grants(word) : GrantSource(domain: "0", references: word)
    }

    // MARK: Opening

    /// Opens what a name stands for.
    /// - Parameter action: for messages, as "open disk".
    /// - Throws: for a file the kernel's errno as `host`.
    static func open(
        _ name: Text, _ mode: Descriptor.OpenMode, _ action: Text
    ) throws(LoaderError) -> Descriptor {
        let source: FileSource
        do throws(GrantError) { source = try FileSource(name) } catch {
            throw .source(action, name: name, error)
        }
        guard case .file(let path) = source else {
            do throws(GrantError) { return try source.copy(name) } catch {
                throw .source(action, name: name, error)
            }
        }
        do throws(Errno) { return try open(path, mode) } catch {
            throw .host(action, name: name, error)
        }
    }

    /// Opens a file or a block device. Anything else is not opened for its bytes, but so that its
    /// kind can be seen: a pipe would keep us waiting for its other end, a directory is refused to who
    /// would write, and there are devices that do something when they are opened.
    private static func open(
        _ path: Text, _ mode: Descriptor.OpenMode
    ) throws(Errno) -> Descriptor {
        switch try FileStatus.of(path, followsLink: true).kind {
        case .regular: try Descriptor.open(path, mode.withoutWaiting)
        case .block: try Descriptor.open(path, mode.withoutWaiting.ofDevice)
        case .directory, .pipe, .socket, .other: try Descriptor.open(path, .path)
        }
    }

    /// A file with what the pages hold.
    private func copy(_ name: Text) throws(GrantError) -> Descriptor {
        var source: GrantSource
        switch self {
        case .file(let path): throw .use("\(quoted: path) is a file")
        case .grants(let words): source = words
        case .store(let path): source = try Self.entry(path)
        }
        source.domain = try source.domain.fromStore()
        source.references = try source.references.fromStore()
        return try Self.copy(try Self.file(source))
    }

    private static func copy(_ source: GrantedFile) throws(GrantError) -> Descriptor {
        let device = try GntDev()
        let file: Descriptor
        do throws(Errno) { file = try FileSystem.memoryFile("mini-grants") } catch {
            throw .system("make a file in memory", error)
        }
        var rest = source.references[...]
        var count = source.length
        while !rest.isEmpty && count > 0 {
            let grants = try GrantList(Array(rest.prefix(portion)), of: source.domain)
            rest = rest.dropFirst(portion)
            let mapping = try GrantMapping(
                grants, on: device, MappingPlan(deadline: .after(patience)))
            let bytes = unsafe UnsafeRawBufferPointer(
                rebasing: mapping.bytes[..<min(count, grants.pages.bytes)])
            do throws(Errno) { try unsafe Transfer.writeAll(file.number, bytes) } catch {
                throw .system("copy \(grants.name)", error)
            }
            count -= bytes.count
            try mapping.unmap()
        }
        do throws(Errno) { try file.seek(to: 0) } catch { throw .system("copy grants", error) }
        return file
    }
}
