// The table's grants. What is held is mapped by process 1 itself, so that holding takes no process;
// bytes go to files and come from files in a child, as mini-grant map does it.
// Source: docs/abi/xen-grants.md §4.

enum InitGrants {
    /// Maps the pages, all of them or none.
    static func map(_ request: GrantRequest) throws(InitError) -> GrantMapping {
        do throws(GrantError) {
            let number = try word(request.domain)
            guard let domain = number.number.flatMap({ DomainID($0) }) else {
                throw .refused("\(quoted: number) of \(request.domain) is no domain")
            }
            let list = try word(request.references)
            guard let references = GrantList.references(list) else {
                throw .refused("\(quoted: list) of \(request.references) is no list of grants")
            }
            var plan = MappingPlan(deadline: .after(request.patience))
            plan.isWritable = request.isWritable
            plan.notification = UnmapNotification(
                clearedByte: request.notifiedByte, port: request.notifiedPort)
            return try GrantMapping(
                try GrantList(references, of: domain), on: try GntDev(), plan)
        } catch { throw .grant(error) }
    }

    /// A word as it stands, or from the store if it is `@PATH`.
    static func word(_ word: Text) throws(GrantError) -> Text {
        guard word.bytes.first == UInt8(ascii: "@") else { return word }
        return try XenStore.read(Text(bytes: Array(word.bytes.dropFirst())))
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
        if !request.isHeld {
            if let byte = request.notifiedByte { words += ["--notify-byte", "\(byte)"] }
            if let port = request.notifiedPort { words += ["--notify-port", "\(port.rawValue)"] }
        }
        return words
    }
}
