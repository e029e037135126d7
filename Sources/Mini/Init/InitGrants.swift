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

    /// The same request with numbers for what the store has, or will have before the deadline.
    static func resolve(
        _ request: GrantRequest, _ deadline: Deadline
    ) throws(GrantError) -> GrantRequest {
        var request = request
        request.domain = try awaited(request.domain, deadline)
        request.references = try awaited(request.references, deadline)
        request.notifiedPort = try request.notifiedPort.map { (port) throws(GrantError) in
            try awaited(port, deadline)
        }
        return request
    }

    /// A word as it stands, or from the store as soon as the entry is there.
    private static func awaited(_ word: Text, _ deadline: Deadline) throws(GrantError) -> Text {
        guard let path = word.storePath else { return word }
        _ = try XenStore(deadline: deadline).waitForEntry(try StorePath(named: path))
        // A long list stands in parts, which reading puts together.
        return try self.word(word, deadline)
    }

    /// A word as it stands, or from the store: then it is a number, or several.
    private static func word(_ word: Text, _ deadline: Deadline) throws(GrantError) -> Text {
        guard let path = word.storePath else { return word }
        return try number(try word.fromStore(deadline: deadline), from: path)
    }

    private static func number(_ value: Text, from path: Text) throws(GrantError) -> Text {
        if GrantList.references(value) != nil { return value }
        throw .refused("\(quoted: value), which the store has at \(quoted: path), is no number")
    }

    /// Maps the pages, moves their bytes as the request says, and unmaps them. Before anything of the pages is
    /// read, the process gives up all that it does not need for that.
    /// - Parameters:
    ///   - request: with numbers.
    ///   - note: told, in one line, of a kernel that cannot filter calls.
    static func map(
        _ request: GrantRequest, _ deadline: Deadline, note: (Text) -> Void
    ) throws(GrantError) {
        let grants = try grants(request)
        let range = try range(of: request, in: grants.pages)
        var plan = MappingPlan(deadline: deadline)
        plan.isWritable =
            request.isWritable || request.input != nil || request.notifiedByte != nil
        let device = try GntDev()
        let mapping = try GrantMapping(grants, on: device, plan)
        let bytes = unsafe UnsafeMutableRawBufferPointer(rebasing: mapping.bytes[range])
        if let file = request.input {
            try unsafe GrantFiles.Source(
                file, filling: bytes.count, isPart: request.length != nil
            ).fill(bytes)
        }
        let sink = try request.output.map { (name) throws(GrantError) in
            try GrantFiles.Sink(name)
        }
        let progress = Progress(of: bytes.count)
        var have = GrantDescriptors()
        have.gntdev = device.number
        have.file = sink?.number ?? -1
        try GrantSandbox.enter(
            .on, sink == nil ? [.statement] : [.statement, .file], have, note: note)
        if let sink {
            try unsafe GrantFiles.write(UnsafeRawBufferPointer(bytes), to: sink, progress)
        }
        try mapping.unmap()
    }

    /// The bytes that the request means.
    private static func range(
        of request: GrantRequest, in pages: PageCount
    ) throws(GrantError) -> Range<Int> {
        let count = pages.bytes
        guard request.offset < count,
            request.length ?? 0 <= count - request.offset, request.length != 0
        else {
            throw .use(
                "the pages have \(count) bytes: there are not \(request.length ?? 1) at offset \(request.offset)"
            )
        }
        return request.offset..<request.offset + (request.length ?? count - request.offset)
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
    private let letter: InitLetter?

    init(_ request: GrantRequest) throws(InitError) {
        self.request = request
        letter = Self.words(request).contains { $0.isStorePath } ? try InitLetter() : nil
    }

    private static func words(_ request: GrantRequest) -> [Text] {
        [request.domain, request.references, request.notifiedPort ?? "-"]
    }

    /// In the child: hands over what the words stand for.
    func tell(_ request: GrantRequest) throws(GrantError) {
        guard let letter else { return }
        let words = Self.words(request)
        do throws(Errno) {
            try letter.write("\(words[0]) \(words[1]) \(words[2])")
        } catch { throw .system("hand the grants over", error) }
    }

    /// In process 1: the request with numbers.
    func resolved() throws(GrantError) -> GrantRequest {
        guard let letter else { return request }
        let bytes: [UInt8]
        do throws(Errno) { bytes = try letter.read() } catch {
            throw .system("take the grants over", error)
        }
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
