// `mini-grant map`: maps granted pages and does with them what the options say.

enum GrantMap {
    private static var table: [GrantSettings.Choice] {
        [
            GrantSettings.forDomain, GrantSettings.forReferences, GrantSettings.forWriting,
            GrantSettings.forOutput, GrantSettings.forInput, GrantSettings.forOffset,
            GrantSettings.forLength, GrantSettings.forHexdump, GrantSettings.forHolding,
            GrantSettings.forNotifiedByte, GrantSettings.forNotifiedPort,
            GrantSettings.forExecution, GrantSettings.forPatience, GrantSettings.forHelp,
        ] + GrantSettings.forSandbox
    }

    static func run(_ words: ArraySlice<Text>) throws(CommandError) -> Int32 {
        let (settings, program) = try read(words)
        if settings.wantsHelp { return Message.print(GrantCommand.name, help) }
        if !settings.executes && settings.input == nil && !settings.isHexdump && !settings.isHolding
        {
            try GrantCommand.onXen { () throws(GrantError) in
                try GrantFiles.checkOutput(settings.output)
            }
        }
        let grants = try settings.grants()
        let range = try settings.range(of: grants.pages)
        let notification = try settings.notification(in: grants.pages)
        return try GrantCommand.onXen { () throws(GrantError) in
            // Opened before the channel for --notify-port: a process that is killed closes its files
            // in this order, and the event is sent through the channel.
            let device = try GntDev()
            if settings.executes {
                try GrantExecution.run(program, grants, device, settings)
                return ExitCode.success
            }
            let sandbox = settings.isHolding ? settings.sandboxChoice : .off
            let hold = settings.isHolding ? try Hold() : nil
            return try Hold.during(hold) { () throws(GrantError) in
                try map(grants, range, notification, device, settings, sandbox, hold)
            }
        }
    }

    static func check(_ words: ArraySlice<Text>) throws(CommandError) {
        let settings = try read(words).settings
        if !settings.wantsHelp { try settings.checkGrants() }
    }

    /// - Returns: the program as well that --exec is for.
    private static func read(
        _ words: ArraySlice<Text>
    ) throws(CommandError) -> (settings: GrantSettings, program: ArraySlice<Text>) {
        var settings = GrantSettings()
        let program = try Options.read(words, table, into: &settings)
        if !settings.wantsHelp { try check(settings, program) }
        return (settings, program)
    }

    private static func check(
        _ settings: GrantSettings, _ program: ArraySlice<Text>
    ) throws(CommandError) {
        guard settings.executes else {
            if let word = program.first { throw .unwantedWord(word) }
            if !settings.isHolding {
                if settings.notifiedByte != nil { throw .missingOption("--hold") }
                if settings.notifiedPort != nil { throw .missingOption("--hold") }
                if settings.sandbox != nil { throw .missingOption("--hold") }
            }
            return
        }
        if program.isEmpty { throw .missingArgument(option: "--exec") }
        if settings.sandbox != nil { throw .missingOption("--hold") }
    }

    private static func map(
        _ grants: GrantList, _ range: Range<Int>, _ notification: UnmapNotification,
        _ device: GntDev, _ settings: GrantSettings, _ sandbox: SandboxChoice, _ hold: Hold?
    ) throws(GrantError) {
        let deadline = hold?.deadline ?? .never
        let channel = try settings.channel(to: grants.domain)
        var plan = MappingPlan(deadline: deadline.within(settings.patience))
        plan.isWritable =
            settings.isWritable || settings.input != nil || settings.notifiedByte != nil
        plan.notification = notification
        plan.notification.port = channel?.port
        let mapping = try GrantMapping(grants, on: device, plan)
        let bytes = unsafe UnsafeMutableRawBufferPointer(rebasing: mapping.bytes[range])
        if let input = settings.input {
            let source = try GrantFiles.Source(
                input, filling: bytes.count, isPart: settings.length != nil, deadline)
            try unsafe source.fill(bytes, deadline)
        }
        if hold == nil && settings.input != nil && !settings.isHexdump && settings.output == nil {
            try mapping.unmap()
            return
        }
        let sink = try GrantFiles.Sink(settings.output ?? "-", deadline)
        if let hold {
            var have = GrantDescriptors()
            have.gntdev = device.number
            have.evtchn = channel?.descriptor ?? -1
            have.assistants = channel?.assistants ?? []
            try hold.enterSandbox(
                sandbox, channel == nil ? [.mapping] : [.mapping, .port], have, sink)
        }
        if settings.isHexdump {
            try unsafe GrantFiles.dump(
                UnsafeRawBufferPointer(bytes), at: range.lowerBound, to: sink)
        } else if settings.output != nil || hold == nil {
            let progress = Progress(of: bytes.count, hold?.messages)
            try unsafe GrantFiles.write(UnsafeRawBufferPointer(bytes), to: sink, progress)
        } else {
            try sink.write("\(grants.name) mapped\n")
        }
        try hold?.wait()
        try mapping.unmap()
        try channel?.unbind()
    }

    private static var help: Text {
        GrantCommand.help(
            """
            map --domain D --ref R[,R...] [OPTIONS]
                   mini-grant map --domain D --ref R[,R...] --exec PROGRAM [ARGUMENTS...]
            Maps pages that domain D granted to this one, all of them or none, and writes
            them to standard output if the options say nothing else.

            """, table)
    }
}
