// `mini-grant map`: maps granted pages and does with them what the options say.

enum GrantMap {
    private static var table: [GrantSettings.Choice] {
        [
            GrantSettings.forDomain, GrantSettings.forReferences, GrantSettings.forWriting,
            GrantSettings.forOutput, GrantSettings.forInput, GrantSettings.forOffset,
            GrantSettings.forLength, GrantSettings.forHexdump,
            GrantSettings.forPatience,
            GrantSettings.forHelp,
        ]
    }

    static func run(_ words: ArraySlice<Text>) throws(CommandError) -> Int32 {
        var settings = GrantSettings()
        try GrantCommand.read(words, table, into: &settings)
        if settings.wantsHelp { return Message.print(help) }
        let grants = try settings.grants()
        let range = try settings.range(of: grants.pages)
        try GrantCommand.onXen { () throws(GrantError) in try map(grants, range, settings) }
        return ExitCode.success
    }

    private static func map(
        _ grants: GrantList, _ range: Range<Int>, _ settings: GrantSettings
    ) throws(GrantError) {
        let device = try GntDev()
        var plan = MappingPlan(deadline: .after(settings.patience))
        plan.isWritable = settings.isWritable || settings.input != nil
        let mapping = try GrantMapping(grants, on: device, plan)
        let bytes = unsafe UnsafeMutableRawBufferPointer(rebasing: mapping.bytes[range])
        if let input = settings.input { try unsafe GrantFiles.fill(bytes, from: input) }
        if settings.isHexdump {
            try unsafe GrantFiles.dump(
                UnsafeRawBufferPointer(bytes), at: range.lowerBound, to: settings.output ?? "-")
        } else if let output = settings.output
            ?? (settings.input == nil && !settings.isHolding ? "-" : nil)
        {
            try unsafe GrantFiles.write(UnsafeRawBufferPointer(bytes), to: output)
        }
        try mapping.unmap()
    }

    private static var help: Text {
        GrantCommand.help(
            """
            map --domain D --ref R[,R...] [OPTIONS]
            Maps pages that domain D granted to this one, all of them or none, and writes
            them to standard output if the options say nothing else.

            """, table)
    }
}
