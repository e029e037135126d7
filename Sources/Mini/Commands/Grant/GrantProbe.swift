// `mini-grant probe`: whether this is Xen, which of its devices are here, what limits they have,
// and what brings those that are missing. A line for each, or one JSON object.

enum GrantProbe {
    private struct Settings {
        var isJSON = false
        var wantsHelp = false
    }

    private static var table: [Option<Settings>] {
        [
            Option(
                name: "--json", argument: nil, help: "one JSON object in place of lines",
                apply: { (settings, _) throws(CommandError) in settings.isJSON = true }),
            Option(
                name: "--help", shortName: "-h", argument: nil, help: "print this",
                apply: { (settings, _) throws(CommandError) in settings.wantsHelp = true }),
        ]
    }

    static func run(_ words: ArraySlice<Text>) throws(CommandError) -> Int32 {
        var settings = Settings()
        try GrantCommand.read(words, table, into: &settings)
        if settings.wantsHelp {
            return Message.print(
                GrantCommand.name,
                GrantCommand.help(
                    """
                    probe [--json]
                    Says what this machine has of Xen. Code 0 if it has everything, 3 if not.

                    """, table))
        }
        var report = Report()
        describeXen(&report)
        for device in XenDevice.all { describe(device, &report) }
        let text = settings.isJSON ? report.json : report.lines
        try GrantCommand.onXen { () throws(GrantError) in try GrantFiles.say(text) }
        return report.code
    }

    static func check(_ words: ArraySlice<Text>) throws(CommandError) {
        var settings = Settings()
        try GrantCommand.read(words, table, into: &settings)
    }

    // MARK: What is looked at

    private static func describeXen(_ report: inout Report) {
        switch XenPresence.find() {
        case .xen: report.add("xen", Self.version ?? "yes", json: "true")
        case .notXen: report.add("xen", "no: this machine does not run on Xen", json: "false")
        case .unknown:
            report.add("xen", "cannot be told: mount /sys or load a module", json: "null")
        }
        if let version { report.addHidden("version", json: Report.string(version)) }
        if let type = SmallFile.line("/sys/hypervisor/guest_type") {
            report.add("guest", type, json: Report.string(type))
        }
    }

    /// As "4.17.5".
    private static var version: Text? {
        guard let major = SmallFile.line("/sys/hypervisor/version/major"),
            let minor = SmallFile.line("/sys/hypervisor/version/minor")
        else { return nil }
        return "\(major).\(minor)\(SmallFile.line("/sys/hypervisor/version/extra") ?? "")"
    }

    private static func describe(_ device: XenDevice, _ report: inout Report) {
        do throws(GrantError) {
            let opened = try device.open()
            var words = device.path
            if let limit = device.limit { words += ", at most \(limit) \(device.limited)" }
            report.add(
                "\(device.name)", words,
                json: device.limit.map { "{\"usable\":true,\"limit\":\($0)}" }
                    ?? "{\"usable\":true}")
            if device == .gntdev { describeCalls(GntDev(owning: opened), &report) }
        } catch {
            var json: Text = "{\"usable\":false,\"error\":\(Report.string(error.text))"
            if let module = device.module { json += ",\"module\":\"\(module)\"" }
            report.add("\(device.name)", error.text, json: "\(json)}")
            // What is missing altogether says more than what could not be opened.
            if report.code != 3 { report.code = error.exitCode }
        }
    }

    private static func describeCalls(_ device: GntDev, _ report: inout Report) {
        guard device.knows(.mapping) else {
            let unknown = XenDevice.gntdev.unknown("MAP_GRANT_REF")
            report.add("map", "no: the device does not know \(unknown)", json: "false")
            report.code = 3
            return
        }
        let copies = device.knows(.copying)
        let buffers = device.knows(.sharedBuffers)
        report.add("copy", copies ? "yes" : "no: an old kernel", json: copies ? "true" : "false")
        report.add(
            "dmabuf", buffers ? "yes" : "no: CONFIG_XEN_GNTDEV_DMABUF is off",
            json: buffers ? "true" : "false")
    }

    // MARK: How it is told

    private struct Report {
        private(set) var lines = Text()
        private var object = Text()
        var code = ExitCode.success

        var json: Text { "{\(object)}\n" }

        mutating func add(_ name: Text, _ words: Text, json: Text) {
            lines += Help.columns(name, words, 10)
            addHidden(name, json: json)
        }

        mutating func addHidden(_ name: Text, json: Text) {
            if !object.bytes.isEmpty { object += "," }
            object += "\"\(name)\":\(json)"
        }

        /// A text as JSON has it.
        static func string(_ text: Text) -> Text {
            var result: Text = "\""
            for byte in text.bytes {
                if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
                    result.append(UInt8(ascii: "\\"))
                }
                if byte < 0x20 {
                    result += "\\u00\(bareHex: byte, width: 2)"
                } else {
                    result.append(byte)
                }
            }
            result.append(UInt8(ascii: "\""))
            return result
        }
    }
}
