// `mini-grant probe`: whether this is Xen, which of its devices are here, what limits they have,
// and what brings those that are missing.

enum GrantProbe {
    static func run(_ words: ArraySlice<Text>) throws(CommandError) -> Int32 {
        var code = ExitCode.success
        for device in XenDevice.all {
            do throws(GrantError) {
                _ = try device.open()
                _ = Message.print("\(device.name) \(device.path)\n")
            } catch {
                _ = Message.print("\(device.name) \(error.text)\n")
                code = error.exitCode
            }
        }
        return code
    }
}
