// Where a kernel, an initrd or a disk comes from: a file, or pages that another domain of Xen has
// granted, named right there (`grant:DOMAIN:REFERENCES[:LENGTH]`) or in the store (`@PATH`). Granted
// pages are copied into a file that is only memory, and that is what the launcher looks at: their
// owner could change them between the look and the use. Source: docs/abi/xen-grants.md §4.

enum FileSource: Equatable {
    case file(Text)
    case grants(GrantSource)
    /// Where in the store it stands.
    case store(Text)

    /// Pages of another domain that hold a file.
    struct GrantSource: Equatable {
        var domain: DomainID
        var references: [GrantReference]
        /// In bytes; nil for whole pages.
        var length: Int?
    }

    private static let prefix: StaticString = "grant:"
    private static let patience = Nanoseconds.milliseconds(10_000)
    /// Pages that are mapped at once.
    private static let portion = 256

    /// - Throws: what is wrong with the word.
    init(_ name: Text) throws(GrantError) {
        if name.bytes.first == UInt8(ascii: "@") {
            self = .store(Text(bytes: Array(name.bytes.dropFirst())))
        } else if let rest = name.dropping(prefix: Self.prefix) {
            self = .grants(try Self.grants(rest))
        } else {
            self = .file(name)
        }
    }

    private static func grants(_ word: Text) throws(GrantError) -> GrantSource {
        let parts = word.bytes.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
            .map { Text(bytes: Array($0)) }
        guard parts.count == 2 || parts.count == 3,
            let domain = parts[0].number.flatMap({ DomainID($0) }),
            let references = GrantList.references(parts[1])
        else {
            throw .use("\(quoted: word) is not DOMAIN:REFERENCES or DOMAIN:REFERENCES:LENGTH")
        }
        var source = GrantSource(domain: domain, references: references)
        if parts.count == 3 {
            guard let length = parts[2].number, length > 0,
                length <= UInt64(references.count * PageCount.pageSize)
            else {
                throw .use("\(quoted: parts[2]) is no length in bytes that these grants have")
            }
            source.length = Int(length)
        }
        return source
    }

    // MARK: Opening

    /// Opens what a name stands for.
    /// - Parameter action: for messages, as "open disk".
    /// - Throws: for a file the kernel's errno as `host`.
    static func open(
        _ name: Text, _ mode: Descriptor.OpenMode, _ action: Text
    ) throws(LauncherError) -> Descriptor {
        let source: FileSource
        do throws(GrantError) { source = try FileSource(name) } catch {
            throw .source(action, name: name, error)
        }
        guard case .file(let path) = source else {
            do throws(GrantError) { return try source.copy(name) } catch {
                throw .source(action, name: name, error)
            }
        }
        do throws(Errno) { return try Descriptor.open(path, mode) } catch {
            throw .host(action, name: name, error)
        }
    }

    /// A file with what the pages hold.
    private func copy(_ name: Text) throws(GrantError) -> Descriptor {
        switch self {
        case .file(let path): throw .use("\(quoted: path) is a file")
        case .grants(let source): return try Self.copy(source, name)
        case .store(let path):
            let value = try XenStore.read(path)
            return try Self.copy(
                try Self.grants(value.dropping(prefix: Self.prefix) ?? value), name)
        }
    }

    private static func copy(_ source: GrantSource, _ name: Text) throws(GrantError) -> Descriptor {
        let device = try GntDev()
        let file: Descriptor
        do throws(Errno) { file = try FileSystem.memoryFile("mini-grants") } catch {
            throw .system("make a file in memory", error)
        }
        var rest = source.references[...]
        var count = source.length ?? rest.count * PageCount.pageSize
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
