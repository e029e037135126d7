// `mini-grant share`: grants pages of this domain to another one and keeps them until a signal.

enum GrantShare {
    private static var table: [GrantSettings.Choice] {
        [
            GrantSettings.forDomain, GrantSettings.forPages, GrantSettings.forInput,
            GrantSettings.forWritableShare, GrantSettings.forPublication,
            GrantSettings.forHolding, GrantSettings.forNotifiedByte,
            GrantSettings.forNotifiedPort, GrantSettings.forHelp,
        ]
    }

    static func run(_ words: ArraySlice<Text>) throws(CommandError) -> Int32 {
        var settings = GrantSettings()
        try GrantCommand.read(words, table, into: &settings)
        if settings.wantsHelp { return Message.print(help) }
        guard settings.isHolding else { throw .missingOption("--hold") }
        let domain = try settings.namedDomain()
        let input = try settings.input.map { (name) throws(CommandError) in
            try GrantCommand.onXen { () throws(GrantError) in try GrantFiles.Source(name) }
        }
        let pages = settings.pages ?? input?.size.map { PageCount(bytes: $0) } ?? PageCount(1)
        if let size = input?.size, size > pages.bytes || size == 0 {
            throw .grant(
                .use(
                    "\(quoted: settings.input ?? "") has \(size) bytes, the pages \(pages.bytes)"))
        }
        var plan = SharingPlan(domain: domain, pages: pages)
        plan.isWritable = settings.isWritable
        plan.notification = try settings.notification(in: pages)
        try GrantCommand.onXen { () throws(GrantError) in try share(plan, input, settings) }
        return ExitCode.success
    }

    private static func share(
        _ plan: SharingPlan, _ input: GrantFiles.Source?, _ settings: GrantSettings
    ) throws(GrantError) {
        let hold = try Hold()
        let channel = try settings.channel(to: plan.domain)
        var plan = plan
        plan.notification.port = channel?.port
        let pages = try SharedPages(plan)
        if let input { try unsafe input.pour(into: pages.bytes) }
        var list = Text()
        for reference in pages.references {
            if !list.bytes.isEmpty { list += "," }
            list += "\(reference.rawValue)"
        }
        let publication = try settings.publication.map { (path) throws(GrantError) in
            try Publication(list, at: path, for: plan.domain)
        }
        try GrantFiles.say("\(list)\n")
        try hold.wait()
        try publication?.withdraw()
        try pages.unmap()
        try channel?.unbind()
    }

    private static var help: Text {
        GrantCommand.help(
            """
            share --domain D --hold [OPTIONS]
            Grants pages of this domain to domain D, prints their references in one line
            and keeps them until a signal.

            """, table)
    }
}

/// An entry of the store that is there as long as this is, for one domain to read.
private final class Publication {
    private let store: XenStore
    private let path: StorePath
    private var isThere = false

    init(_ value: Text, at path: Text, for domain: DomainID) throws(GrantError) {
        self.path = try StorePath(named: path)
        let room = StoreMessage.largestRequest - path.bytes.count - 1
        guard value.bytes.count <= room else {
            throw .limit(
                "the references need \(value.bytes.count) bytes, and the store has room for \(room) at \(quoted: path)"
            )
        }
        store = try XenStore(deadline: .after(XenStore.patience))
        isThere = true
        try store.publish(value, at: self.path, for: domain)
    }

    /// Removes the entry: the references mean nothing any more.
    func withdraw() throws(GrantError) {
        guard isThere else { return }
        isThere = false
        store.deadline = .after(XenStore.patience)
        try store.remove(path)
    }

    deinit { try? withdraw() }
}
