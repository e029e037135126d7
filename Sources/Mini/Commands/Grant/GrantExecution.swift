// `mini-grant map --exec`: hands the device and an index in it to a program, which maps the pages itself
// with mmap. A mapping cannot be handed over: it ends with this program.

enum GrantExecution {
    /// Returns only by throwing.
    static func run(
        _ program: ArraySlice<Text>, _ grants: GrantList, _ device: GntDev,
        _ settings: GrantSettings
    ) throws(GrantError) {
        // Xen is asked now: the program would hear no more than EINVAL.
        var plan = MappingPlan(deadline: .after(settings.patience))
        plan.isWritable = settings.isWritable
        try GrantMapping(grants, on: device, plan).unmap()
        let index: GrantIndex
        do throws(Errno) {
            index = try device.reference(grants)
            try Ioctl.handOver(device.number)
        } catch { throw device.failure("hand over", grants, error) }
        let name = program[program.startIndex]
        var environment = Process.environment()
        environment += [
            "GNTDEV_FD=\(device.number)", "GNTDEV_INDEX=\(index.offset)",
            "GNTDEV_COUNT=\(index.pages.count)",
        ]
        var failure = Errno.noSuchFile
        for place in places(of: name) {
            do throws(Errno) {
                try Process.execute(place, Array(program), environment: environment)
            } catch {
                // A program further on is no comfort for one that may not be run.
                if failure == .noSuchFile { failure = error }
            }
        }
        throw .host("run", name: name, failure)
    }

    /// Where a program can be: a name without a slash in the folders of PATH.
    private static func places(of name: Text) -> [Text] {
        if name.bytes.contains(UInt8(ascii: "/")) { return [name] }
        let path = Process.environment("PATH") ?? ""
        return path.bytes[...].split(separator: UInt8(ascii: ":")).map {
            "\(Text(bytes: Array($0)))/\(name)"
        }
    }
}
