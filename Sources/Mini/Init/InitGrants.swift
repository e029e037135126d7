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

    /// What is done about an entry of the store that is not there.
    private enum Absence {
        case isWaitedOut, fails
    }

    // MARK: In a child

    /// What the words of a request stand for. What the store has to say is waited for until the deadline.
    static func terms(
        _ request: GrantRequest, _ deadline: Deadline
    ) throws(GrantError) -> GrantTerms {
        let domain = try domain(request.domain, deadline, absence: .isWaitedOut)
        let references = try meaning(
            request.references, deadline, absence: .isWaitedOut, "list of grants",
            GrantList.references)
        let port = try request.notifiedPort.map { (port) throws(GrantError) in
            try Self.port(port, deadline, absence: .isWaitedOut)
        }
        return GrantTerms(grants: try GrantList(references, of: domain), port: port)
    }

    private static func domain(
        _ word: ValueOrEntry<DomainID>, _ deadline: Deadline, absence: Absence
    ) throws(GrantError) -> DomainID {
        try meaning(word, deadline, absence: absence, "domain", DomainID.init(word:))
    }

    private static func port(
        _ word: ValueOrEntry<EventPort>, _ deadline: Deadline, absence: Absence
    ) throws(GrantError) -> EventPort {
        try meaning(word, deadline, absence: absence, "event port", EventPort.init(word:))
    }

    private static func meaning<Value>(
        _ word: ValueOrEntry<Value>, _ deadline: Deadline, absence: Absence, _ what: StaticString,
        _ read: (Text) -> Value?
    ) throws(GrantError) -> Value {
        switch word {
        case .value(let value): return value
        case .entry(let path):
            let text = try entry(path, deadline, absence: absence)
            guard let value = read(text) else { throw .refused("\(quoted: text) is no \(what)") }
            return value
        }
    }

    /// What an entry has: a number, or several. (A long list stands in parts, which reading puts together.)
    private static func entry(
        _ path: Text, _ deadline: Deadline, absence: Absence
    ) throws(GrantError) -> Text {
        if absence == .isWaitedOut {
            _ = try XenStore(deadline: deadline).waitForEntry(try StorePath(named: path))
        }
        let value = try XenStore.read(path, deadline: deadline)
        if GrantList.references(value) != nil { return value }
        throw .refused("\(quoted: value), which the store has at \(quoted: path), is no number")
    }

    /// Maps the pages, moves their bytes as the request says, and unmaps them. Before anything of the pages is
    /// read, the process gives up all that it does not need for that.
    /// - Parameters:
    ///   - terms: what the request's words stand for.
    ///   - note: told, in one line, of a kernel that cannot filter calls.
    static func map(
        _ request: GrantRequest, _ terms: GrantTerms, _ deadline: Deadline, note: (Text) -> Void
    ) throws(GrantError) {
        let range = try range(of: request, in: terms.grants.pages)
        var plan = MappingPlan(deadline: deadline)
        plan.isWritable =
            request.isWritable || request.input != nil || request.notifiedByte != nil
        let device = try GntDev()
        let mapping = try GrantMapping(terms.grants, on: device, plan)
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

    /// What is wrong with a request whatever the other domain does, as far as its words tell it.
    static func complaint(_ request: GrantRequest) -> Text? {
        guard case .value(let references) = request.references else { return nil }
        do throws(GrantError) {
            try GrantList.check(references)
            let pages = PageCount(references.count)
            _ = try range(of: request, in: pages)
            if let byte = request.notifiedByte, byte >= pages.bytes {
                throw .use("the pages have \(pages.bytes) bytes: there is no notify-byte \(byte)")
            }
            return nil
        } catch { return error.text }
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
    static func notify(
        domain: ValueOrEntry<DomainID>, port: ValueOrEntry<EventPort>
    ) throws(GrantError) {
        let channel = try channel(domain, port, .after(XenStore.patience))
        try channel.notify()
        try channel.unbind()
    }

    /// Binds the other domain's port.
    static func channel(
        _ domain: ValueOrEntry<DomainID>, _ port: ValueOrEntry<EventPort>, _ deadline: Deadline
    ) throws(GrantError) -> EventChannel {
        try EventChannel(
            .interdomain(
                try Self.domain(domain, deadline, absence: .fails),
                try Self.port(port, deadline, absence: .fails)))
    }

    // MARK: In process 1

    /// Maps pages that stay mapped, all of them or none.
    static func hold(
        _ request: GrantRequest, _ terms: GrantTerms
    ) throws(GrantError) -> HeldGrant {
        // Opened before the channel: a process that ends closes its files in this order, and the
        // event is sent through the channel.
        let device = try GntDev()
        var channel: EventChannel?
        if let port = terms.port {
            channel = try EventChannel(.interdomain(terms.grants.domain, port))
        }
        var plan = MappingPlan(deadline: .after(patience))
        plan.isWritable = request.isWritable || request.notifiedByte != nil
        plan.notification = UnmapNotification(
            clearedByte: request.notifiedByte, port: channel?.port)
        return HeldGrant(try GrantMapping(terms.grants, on: device, plan), channel)
    }
}

/// What the words of a grant stand for.
struct GrantTerms {
    let grants: GrantList
    /// Rung when the pages are unmapped.
    let port: EventPort?
}

extension GrantTerms {
    /// The domain, the port or 0, and the references: words of 32 bits, the lowest byte first.
    var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(8 + 4 * grants.references.count)
        func append(_ word: UInt32) { bytes += LittleEndian.bytes(word, 4) }
        append(UInt32(grants.domain.rawValue))
        append(port?.rawValue ?? 0)
        for reference in grants.references { append(reference.rawValue) }
        return bytes
    }

    /// How many bytes there can be.
    static let mostBytes = 8 + 4 * GrantList.most.count

    /// - Returns: nil for bytes that are no such words.
    init?(_ bytes: [UInt8]) {
        guard bytes.count % 4 == 0, bytes.count >= 8 else { return nil }
        let words = stride(from: 0, to: bytes.count, by: 4).map { LittleEndian.word(bytes, at: $0) }
        let references = words[2...].map { GrantReference(rawValue: $0) }
        guard let domain = DomainID(UInt64(words[0])),
            let grants = try? GrantList(references, of: domain)
        else { return nil }
        self.grants = grants
        port = EventPort(UInt64(words[1]))
    }
}

extension DomainID {
    init?(word: Text) {
        guard let domain = word.number.flatMap({ DomainID($0) }) else { return nil }
        self = domain
    }
}

extension EventPort {
    init?(word: Text) {
        guard let port = word.number.flatMap({ EventPort($0) }) else { return nil }
        self = port
    }
}

/// A grant that is held as soon as a child has found that it can be mapped. What only the store knows
/// comes from the child, in a file that is only memory.
final class GrantPromise {
    let request: GrantRequest
    private let result: ChildResult?

    init(_ request: GrantRequest) throws(InitError) {
        self.request = request
        result = request.asksTheStore ? try ChildResult() : nil
    }

    /// In the child: hands over what the words stand for.
    func tell(_ terms: GrantTerms) throws(GrantError) {
        guard let result else { return }
        do throws(Errno) { try result.write(Text(bytes: terms.bytes)) } catch {
            throw .system("hand the grants over", error)
        }
    }

    /// In process 1: what the words stand for.
    func terms() throws(GrantError) -> GrantTerms {
        guard let result else { return try InitGrants.terms(request, .never) }
        let bytes: [UInt8]
        do throws(Errno) { bytes = try result.read(atMost: GrantTerms.mostBytes + 1) } catch {
            throw .system("take the grants over", error)
        }
        guard let terms = GrantTerms(bytes) else {
            throw .system("take the grants over", .inputOutput)
        }
        return terms
    }
}

extension GrantRequest {
    /// Whether what it says is known to the store alone.
    fileprivate var asksTheStore: Bool {
        if case .entry = domain { return true }
        if case .entry = references { return true }
        if case .entry? = notifiedPort { return true }
        return false
    }
}
