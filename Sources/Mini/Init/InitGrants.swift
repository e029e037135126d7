// The table's grants and events. What is held is mapped by process 1 itself, so that holding takes no
// process; bytes go to files and come from files in a child, as mini-grant map does it.
// Source: docs/abi/xen-grants.md §4, §6.

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
    /// Maps the pages, all of them or none.
    static func map(_ request: GrantRequest) throws(GrantError) -> HeldGrant {
        let domain = try domain(request.domain)
        let list = try word(request.references)
        guard let references = GrantList.references(list) else {
            throw .refused("\(quoted: list) of \(request.references) is no list of grants")
        }
        // Opened before the channel: a process that ends closes its files in this order, and the
        // event is sent through the channel.
        let device = try GntDev()
        var channel: EventChannel?
        if let port = request.notifiedPort {
            channel = try EventChannel(.interdomain(domain, port))
        }
        var plan = MappingPlan(deadline: .after(request.patience))
        plan.isWritable = request.isWritable || request.notifiedByte != nil
        plan.notification = UnmapNotification(
            clearedByte: request.notifiedByte, port: channel?.port)
        return HeldGrant(
            try GrantMapping(try GrantList(references, of: domain), on: device, plan), channel)
    }

    /// A word as it stands, or from the store if it is `@PATH`.
    private static func word(_ word: Text) throws(GrantError) -> Text {
        guard word.bytes.first == UInt8(ascii: "@") else { return word }
        return try XenStore.read(Text(bytes: Array(word.bytes.dropFirst())))
    }

    private static func domain(_ name: Text) throws(GrantError) -> DomainID {
        let number = try word(name)
        guard let domain = number.number.flatMap({ DomainID($0) }) else {
            throw .refused("\(quoted: number) of \(name) is no domain")
        }
        return domain
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

    // MARK: Events

    /// Binds the other domain's port.
    static func channel(domain: Text, port: Text) throws(GrantError) -> EventChannel {
        let number = try word(port)
        guard let end = number.number.flatMap({ EventPort($0) }) else {
            throw .refused("\(quoted: number) of \(port) is no event port")
        }
        return try EventChannel(.interdomain(try Self.domain(domain), end))
    }

    /// Sends an event.
    static func notify(domain: Text, port: Text) throws(GrantError) {
        let channel = try channel(domain: domain, port: port)
        try channel.notify()
        try channel.unbind()
    }
}
