// The table's grants and events. What may take its time (the store, a granter whose pages are not there,
// the bytes' way to files and from files) runs in a child, which maps the pages once; what is held is then
// mapped by process 1 itself, so that holding takes no process. Source: docs/abi/xen-grants.md §4, §6.

/// Pages that stay mapped until the machine ends, and what the other side gets to see then.
final class HeldGrant {
    private let mapping: GrantMapping
    private let channel: EventChannel?

    fileprivate init(_ mapping: GrantMapping, _ channel: EventChannel?) {
        self.mapping = mapping
        self.channel = channel
    }

    /// Unmaps them. The event goes through the channel, which is closed last.
    func release() {
        try? mapping.unmap()
        try? channel?.unbind()
    }
}

enum InitGrants {
    /// How long process 1 itself waits for pages that its child has just mapped.
    private static let patience = Nanoseconds.milliseconds(100)

    // MARK: In a child

    /// The same request with numbers for what the store has.
    static func resolve(_ request: GrantRequest) throws(GrantError) -> GrantRequest {
        let deadline = Deadline.after(request.patience)
        var request = request
        request.domain = try word(request.domain, deadline)
        request.references = try word(request.references, deadline)
        request.notifiedPort = try request.notifiedPort.map { (port) throws(GrantError) in
            try word(port, deadline)
        }
        return request
    }

    /// A word as it stands, or from the store if it is `@PATH`: then it is a number, or several.
    private static func word(_ word: Text, _ deadline: Deadline) throws(GrantError) -> Text {
        let value = try word.fromStore(deadline: deadline)
        guard let path = word.storePath, GrantList.references(value) == nil else { return value }
        throw .refused("\(quoted: value), which the store has at \(quoted: path), is no number")
    }

    /// Maps the pages and unmaps them, as a check.
    static func check(_ request: GrantRequest) throws(GrantError) {
        var plan = MappingPlan(deadline: .after(request.patience))
        plan.isWritable = request.isWritable || request.notifiedByte != nil
        try GrantMapping(try grants(request), on: try GntDev(), plan).unmap()
    }

    /// The command line of mini-grant that moves the bytes; nil if none are to be moved.
    static func words(_ request: GrantRequest) -> [Text]? {
        if request.output == nil && request.input == nil { return nil }
        var words: [Text] = [
            "mini-grant", "map", "--domain", request.domain, "--ref", request.references,
            "--deadline", "\((request.patience.count + 999_999_999) / 1_000_000_000)",
        ]
        if request.isWritable { words.append("--write") }
        if let file = request.output { words += ["--out", file] }
        if let file = request.input { words += ["--in", file] }
        if request.offset > 0 { words += ["--offset", "\(request.offset)"] }
        if let length = request.length { words += ["--length", "\(length)"] }
        return words
    }

    /// Sends an event.
    static func notify(domain: Text, port: Text) throws(GrantError) {
        let channel = try channel(domain, port, .after(XenStore.patience))
        try channel.notify()
        try channel.unbind()
    }

    /// Binds the other domain's port.
    static func channel(
        _ domain: Text, _ port: Text, _ deadline: Deadline
    ) throws(GrantError) -> EventChannel {
        try EventChannel(
            .interdomain(
                try Self.domain(try word(domain, deadline)),
                try Self.port(try word(port, deadline))))
    }

    // MARK: In process 1

    /// Maps pages that stay mapped, all of them or none.
    /// - Parameter request: with numbers.
    static func hold(_ request: GrantRequest) throws(GrantError) -> HeldGrant {
        let grants = try grants(request)
        // Opened before the channel: a process that ends closes its files in this order, and the
        // event is sent through the channel.
        let device = try GntDev()
        var channel: EventChannel?
        if let word = request.notifiedPort {
            channel = try EventChannel(.interdomain(grants.domain, try port(word)))
        }
        var plan = MappingPlan(deadline: .after(patience))
        plan.isWritable = request.isWritable || request.notifiedByte != nil
        plan.notification = UnmapNotification(
            clearedByte: request.notifiedByte, port: channel?.port)
        return HeldGrant(try GrantMapping(grants, on: device, plan), channel)
    }

    // MARK: Words

    private static func grants(_ request: GrantRequest) throws(GrantError) -> GrantList {
        guard let references = GrantList.references(request.references) else {
            throw .refused("\(quoted: request.references) is no list of grants")
        }
        return try GrantList(references, of: try domain(request.domain))
    }

    private static func domain(_ word: Text) throws(GrantError) -> DomainID {
        guard let domain = word.number.flatMap({ DomainID($0) }) else {
            throw .refused("\(quoted: word) is no domain")
        }
        return domain
    }

    private static func port(_ word: Text) throws(GrantError) -> EventPort {
        guard let port = word.number.flatMap({ EventPort($0) }) else {
            throw .refused("\(quoted: word) is no event port")
        }
        return port
    }
}

/// A grant that is held as soon as a child has found that it can be mapped. What only the store knows
/// comes from the child, in a file that is only memory.
final class GrantPromise {
    let request: GrantRequest
    private let letter: Letter?

    private final class Letter {
        let file: Descriptor
        init() throws(Errno) { file = try FileSystem.memoryFile("mini-init") }
    }

    init(_ request: GrantRequest) throws(Errno) {
        self.request = request
        letter = Self.words(request).contains { $0.isStorePath } ? try Letter() : nil
    }

    private static func words(_ request: GrantRequest) -> [Text] {
        [request.domain, request.references, request.notifiedPort ?? "-"]
    }

    /// In the child: hands over what the words stand for.
    func tell(_ request: GrantRequest) throws(GrantError) {
        guard let letter else { return }
        let words = Self.words(request)
        do throws(Errno) {
            try Transfer.write(letter.file.number, "\(words[0]) \(words[1]) \(words[2])")
        } catch { throw .system("hand the grants over", error) }
    }

    /// In process 1: the request with numbers.
    func resolved() throws(GrantError) -> GrantRequest {
        guard let letter else { return request }
        var bytes: [UInt8]
        do throws(Errno) {
            bytes = [UInt8](repeating: 0, count: Int(try letter.file.status().size))
            try letter.file.seek(to: 0)
            _ = try Transfer.read(letter.file.number, into: &bytes)
        } catch { throw .system("take the grants over", error) }
        guard let words = try? TableWords.cut(line: bytes[...]), words.count == 3 else {
            throw .system("take the grants over", .inputOutput)
        }
        var request = request
        request.domain = words[0].text
        request.references = words[1].text
        if request.notifiedPort != nil { request.notifiedPort = words[2].text }
        return request
    }
}
