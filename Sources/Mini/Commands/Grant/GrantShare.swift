// `mini-grant share`: grants pages of this domain to another one and keeps them until a signal, or until that
// domain has ended.

enum GrantShare {
    private static var table: [GrantSettings.Choice] {
        [
            GrantSettings.forDomain, GrantSettings.forPages, GrantSettings.forInput,
            GrantSettings.forWritableShare, GrantSettings.forPublication,
            GrantSettings.forHolding, GrantSettings.forNotifiedByte,
            GrantSettings.forNotifiedPort, GrantSettings.forHelp,
        ] + GrantSettings.forSandbox
    }

    static func run(_ words: ArraySlice<Text>) throws(CommandError) -> Int32 {
        let settings = try read(words)
        if settings.wantsHelp { return Message.print(GrantCommand.name, help) }
        let domain = try settings.namedDomain()
        let input = try settings.input.map { (name) throws(CommandError) in
            try GrantCommand.onXen { () throws(GrantError) in try GrantFiles.Source(name) }
        }
        var size = input?.size
        if let input, size == nil, settings.pages == nil {
            size = try GrantCommand.onXen { () throws(GrantError) in
                try input.measure(most: GrantList.most.bytes)
            }
        }
        let pages = settings.pages ?? size.map { PageCount(bytes: $0) } ?? PageCount(1)
        if let size, size > pages.bytes || size == 0 {
            throw .grant(
                .use(
                    "\(quoted: settings.input ?? "") has \(size) bytes, the pages \(pages.bytes)"))
        }
        var plan = SharingPlan(domain: domain, pages: pages)
        plan.isWritable = settings.isWritable
        plan.notification = try settings.notification(in: pages)
        let publication = try settings.published()
        return try GrantCommand.onXen { () throws(GrantError) in
            let sandbox = settings.sandboxChoice
            let hold = try Hold()
            return try Hold.during(hold) { () throws(GrantError) in
                try share(plan, input, size, settings, sandbox, publication, hold)
            }
        }
    }

    static func check(_ words: ArraySlice<Text>) throws(CommandError) {
        let settings = try read(words)
        if settings.wantsHelp { return }
        try settings.checkDomain()
        if let pages = settings.pages { _ = try settings.notification(in: pages) }
        _ = try settings.published()
    }

    private static func read(_ words: ArraySlice<Text>) throws(CommandError) -> GrantSettings {
        var settings = GrantSettings()
        try GrantCommand.read(words, table, into: &settings)
        guard settings.isHolding || settings.wantsHelp else { throw .missingOption("--hold") }
        return settings
    }

    private static func share(
        _ plan: SharingPlan, _ input: GrantFiles.Source?, _ size: Int?,
        _ settings: GrantSettings, _ sandbox: SandboxChoice, _ publication: StorePath?,
        _ hold: Hold
    ) throws(GrantError) {
        let channel = try settings.channel(to: plan.domain)
        var plan = plan
        plan.notification.port = channel?.port
        let pages = try SharedPages(plan)
        if let input {
            input.progress = Progress(of: size, hold.messages)
            try unsafe input.fillStart(of: pages.bytes, measured: size, hold.deadline)
        }
        var list = Text()
        for reference in pages.references {
            if !list.bytes.isEmpty { list += "," }
            list += "\(reference.rawValue)"
        }
        let peer = PeerDomain(plan.domain, awaitsSuspension: true, hold.deadline)
        let published = try publication.map { (path) throws(GrantError) in
            try PublishedEntry(
                GrantList.parts(pages.references, most: PublishedEntry.mostBytes), at: path,
                for: plan.domain, hold.deadline)
        }
        let sink = try GrantFiles.Sink("-", hold.deadline)
        var have = GrantDescriptors()
        have.gntalloc = pages.device
        have.evtchn = channel?.descriptor ?? -1
        have.assistants = peer.assistants + (channel?.assistants ?? [])
        have.stores = [peer.confine(), published?.descriptor].compactMap { $0 }
        try hold.enterSandbox(
            sandbox, channel == nil ? [.sharing] : [.sharing, .port], have, sink)
        try sink.write("\(list)\n")
        var breach: PeerDomain.Breach?
        while breach == nil {
            let wakening = try hold.wait(for: peer.descriptor, atMost: PeerDomain.pause)
            if case .signal = wakening { break }
            breach = peer.look()
        }
        try published?.withdraw()
        try pages.unmap()
        try channel?.unbind()
        // A domain that has come to its end needs them no more.
        if let breach, breach != .ended(plan.domain) { throw .refused(breach.words) }
    }

    private static var help: Text {
        GrantCommand.help(
            """
            share --domain D --hold [OPTIONS]
            Grants pages of this domain to domain D, prints their references in one line
            and keeps them until a signal, or until domain D has ended.

            """, table)
    }
}
