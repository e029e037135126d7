// `mini-grant copy`: copies to or from granted pages without mapping them; Xen copies.

enum GrantCopyCommand {
    private static var table: [GrantSettings.Choice] {
        [
            GrantSettings.forDomain, GrantSettings.forReferences, forOutput,
            GrantSettings.forInput, GrantSettings.forOffset, GrantSettings.forLength,
            GrantSettings.forHelp,
        ]
    }

    private static var forOutput: GrantSettings.Choice {
        var option = GrantSettings.forOutput
        option.excludes = "--in"
        return option
    }

    /// What is copied at a time.
    private static let most = GntDev.mostAtOnce * PageCount.pageSize

    static func run(_ words: ArraySlice<Text>) throws(CommandError) -> Int32 {
        let settings = try read(words)
        if settings.wantsHelp { return Message.print(GrantCommand.name, help) }
        if settings.input == nil {
            try GrantCommand.onXen { () throws(GrantError) in
                try GrantFiles.checkOutput(settings.output)
            }
        }
        let grants = try settings.grants()
        let range = try settings.range(of: grants.pages)
        try GrantCommand.onXen { () throws(GrantError) in
            let device = try GntDev()
            if let input = settings.input {
                try fill(
                    grants, range, device, from: input, isPart: settings.length != nil)
            } else {
                try write(grants, range, device, to: settings.output ?? "-")
            }
        }
        return ExitCode.success
    }

    static func check(_ words: ArraySlice<Text>) throws(CommandError) {
        let settings = try read(words)
        if !settings.wantsHelp { try settings.checkGrants() }
    }

    private static func read(_ words: ArraySlice<Text>) throws(CommandError) -> GrantSettings {
        var settings = GrantSettings()
        try GrantCommand.read(words, table, into: &settings)
        return settings
    }

    static func write(
        _ grants: GrantList, _ range: Range<Int>, _ device: GntDev, to name: Text
    ) throws(GrantError) {
        let buffer = try room(range.count)
        var file: GrantFiles.Sink?
        try parts(range) { (offset, count) throws(GrantError) in
            let part = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<count])
            try unsafe device.copy(.fromGrants, grants, at: offset, part)
            // Not before there is something for it.
            if file == nil { file = try GrantFiles.Sink(name) }
            try unsafe file?.write(UnsafeRawBufferPointer(part))
        }
    }

    private static func fill(
        _ grants: GrantList, _ range: Range<Int>, _ device: GntDev, from name: Text,
        isPart: Bool
    ) throws(GrantError) {
        let buffer = try room(range.count)
        let file = try GrantFiles.Source(name, filling: range.count, isPart: isPart)
        try parts(range) { (offset, count) throws(GrantError) in
            let part = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<count])
            try unsafe file.fill(part)
            try unsafe device.copy(.toGrants, grants, at: offset, part)
        }
    }

    private static func room(_ count: Int) throws(GrantError) -> Mapping {
        do throws(Errno) { return try Mapping.anonymous(count: min(count, most)) } catch {
            throw .system("get memory for a copy", error)
        }
    }

    /// Takes a range apart at the pages' borders.
    private static func parts(
        _ range: Range<Int>, _ body: (Int, Int) throws(GrantError) -> Void
    ) throws(GrantError) {
        let progress = Progress(of: range.count)
        var offset = range.lowerBound
        while offset < range.upperBound {
            let inPage = offset % PageCount.pageSize
            let count = min(most - inPage, range.upperBound - offset)
            try body(offset, count)
            offset += count
            progress.update(UInt64(offset - range.lowerBound))
        }
    }

    private static var help: Text {
        GrantCommand.help(
            """
            copy --domain D --ref R[,R...] [OPTIONS]
            Copies pages that domain D granted to this one to standard output or a file,
            or fills them from one, without mapping them.

            """, table)
    }
}
