import Testing

@testable import Mini

private func words(_ line: String) -> ArraySlice<Text> {
    line.split(separator: " ").map { Text(stringLiteral: String($0)) }[...]
}

private func settings(_ line: String) throws(CommandError) -> LaunchSettings {
    try LaunchSettings(words(line))
}

private func error(_ line: String) -> String {
    do throws(CommandError) {
        _ = try settings(line)
        return "no error"
    } catch { return string(error.text) }
}

@Suite struct OptionsTests {
    @Test("a kernel alone gets 64 MiB, the automatic engine and restarts")
    func defaults() throws {
        let settings = try settings("vmlinux")
        #expect(settings.plan.kernel == "vmlinux")
        #expect(settings.plan.mebibytes == 64)
        #expect(settings.plan.initrd == nil)
        #expect(settings.plan.arguments.isEmpty)
        #expect(settings.engine == .automatic)
        #expect(settings.restarts)
        #expect(!settings.isVerbose && !settings.isCheck)
    }

    @Test("the argument of an option is the next word, or stands behind an equals sign")
    func argumentForms() throws {
        for line in ["--initrd a --memory 32 k", "--initrd=a --memory=32 k"] {
            let settings = try settings(line)
            #expect(settings.plan.initrd == "a")
            #expect(settings.plan.mebibytes == 32)
            #expect(settings.plan.kernel == "k")
        }
        #expect(try settings("--initrd=a=b k").plan.initrd == "a=b")
        #expect(try settings("--initrd --help k").plan.initrd == "--help")
    }

    @Test("every flag of the table sets what it says")
    func flags() throws {
        #expect(try settings("--verbose k").isVerbose)
        #expect(try settings("--check k").isCheck)
        #expect(try !settings("--no-reboot k").restarts)
        #expect(try settings("--engine builtin k").engine == .builtIn)
        #expect(try settings("--engine=lguest k").engine == .lguest)
        #expect(try settings("--engine auto k").engine == .automatic)
        #expect(try settings("--engine software k").engine == .software)
        #expect(try settings("--engine kvm k").engine == .kvm)
        #expect(try settings("k").hasDefaults && !settings("--no-defaults k").hasDefaults)
        #expect(try settings("--guest-exit k").isGuestExit && !settings("k").isGuestExit)
        #expect(try settings("--rng k").plan.wantsNumbers && !settings("k").plan.wantsNumbers)
        #expect(try settings("--timeline t.json k").timeline == "t.json")
        #expect(try settings("k").timeline == nil && settings("k").sandbox == .on)
        #expect(try settings("--sandbox on k").sandbox == .on)
        #expect(try settings("--sandbox require k").sandbox == .required)
        #expect(try settings("--no-sandbox k").sandbox == .off)
        #expect(try settings("--console virtio k").plan.console == .virtio)
        #expect(try settings("--console serial k").plan.console == .serial)
        #expect(try settings("--console screen k").plan.console == .screen)
        #expect(try settings("k").plan.console == .serial)
        #expect(try settings("--help").wantsHelp)
        #expect(try settings("--version").wantsVersion)
    }

    @Test("options count wherever they stand, up to two dashes; what is no option is the kernel's")
    func kernelArguments() throws {
        let settings = try settings(
            "--verbose k --no-reboot --unknown 64 --memory=8 -- --check init=/bin/sh")
        #expect(!settings.isCheck && !settings.restarts && settings.plan.mebibytes == 8)
        #expect(
            settings.plan.arguments.map(string) == [
                "--unknown", "64", "--", "--check", "init=/bin/sh",
            ])
        #expect(settings.handedOver == ["--unknown"])
        #expect(try Self.of("k quiet - 1").handedOver.isEmpty)
        #expect(try Self.of("k --check").isCheck)
    }

    @Test("--memory behind a first word that is a size is one memory too many")
    func memoryBehind() throws {
        #expect(error("64 k --memory 0x80") == "MEMORY of \"64\" does not go with --memory")
        #expect(error("64 k --memory 64") == "MEMORY of \"64\" does not go with --memory")
        #expect(try settings("0x20 k").plan.mebibytes == 32)
        #expect(try settings("k --memory 0x80").plan.mebibytes == 128)
        #expect(try settings("64 --memory 8").plan.kernel == "64")
    }

    @Test(
        "what has an argument is given once: none is dropped unseen",
        arguments: [
            "--memory 8 --memory 9 k", "--memory=8 k --memory=8", "--engine kvm --engine builtin k",
            "k --initrd a --initrd b", "--console serial k --console=screen",
            "--sandbox on --sandbox require k", "--timeline a k quiet --timeline b",
        ])
    func twice(line: String) {
        let name = line.split(separator: " ").first { $0.hasPrefix("--") }!
            .prefix { $0 != "=" }
        #expect(error(line) == "option \(name) is given twice", "\(line)")
    }

    @Test("what contradicts another option is refused, whichever is first")
    func contradictions() {
        for line in ["--sandbox=require --no-sandbox k", "--no-sandbox k --sandbox require"] {
            #expect(error(line) == "--sandbox does not go with --no-sandbox")
        }
    }

    @Test("each device is one of its own, and what has no argument may be said again")
    func again() throws {
        let settings = try settings(
            "--block a --tap t --block a --sharenet n --tunnet 10.0.0.1 k -v --rng --sharenet n --tap t"
                + " --tunnet 10.0.0.2 --verbose --rng --no-reboot --no-reboot")
        #expect(settings.plan.devices.count == 8)
        #expect(settings.isVerbose && settings.plan.wantsNumbers && !settings.restarts)
    }

    private static func of(_ line: String) throws(CommandError) -> LaunchSettings {
        try settings(line)
    }

    @Test("the original's options count wherever they stand, as they did for it")
    func original() throws {
        let line = "32 vmlinux --initrd=i root=/dev/lgba -v --block disk --other"
        let whole = try settings(line)
        #expect(whole.plan.mebibytes == 32 && whole.plan.kernel == "vmlinux")
        #expect(whole.plan.initrd == "i" && whole.isVerbose)
        #expect(whole.plan.devices.count == 1)
        #expect(whole.plan.arguments.map(string) == ["root=/dev/lgba", "--other"])
        #expect(try settings("-v 64 --initrd i k").plan.initrd == "i")
        #expect(try !settings("k -- --verbose").isVerbose)
        #expect(try settings("-- --verbose -v").plan.kernel == "--verbose")
        #expect(error("64 k --initrd") == "option --initrd needs an argument")
        #expect(error("64 k --verbose=yes") == "option --verbose takes no argument")
    }

    @Test("two dashes end the options, so that a kernel's name may begin with one")
    func dashes() throws {
        #expect(try settings("-- --help").plan.kernel == "--help")
        #expect(try settings("-- 32 -k").plan.mebibytes == 32)
        for line in ["32 -- -k -- -v", "32 --check -- -k -- -v"] {
            let behind = try settings(line)
            #expect(behind.plan.mebibytes == 32 && behind.plan.kernel == "-k")
            #expect(behind.plan.arguments.map(string) == ["--", "-v"])
        }
        #expect(error("32 --") == "no kernel is named; --help tells how to use this")
        #expect(try settings("-- 32 -- x").plan.kernel == "--")
    }

    @Test("a lone dash is a file name")
    func dash() throws { #expect(try settings("-").plan.kernel == "-") }

    @Test("the first word is the memory if it looks like that and a kernel follows")
    func memory() throws {
        #expect(try settings("32 vmlinux").plan.mebibytes == 32)
        #expect(try settings("1G vmlinux").plan.mebibytes == 1024)
        #expect(try settings("32 64").plan.kernel == "64")
        #expect(try settings("32 64").plan.mebibytes == 32)
        #expect(try settings("64").plan.kernel == "64")
        #expect(try settings("64").plan.mebibytes == 64)
        #expect(try settings("2.6.23 quiet").plan.kernel == "2.6.23")
        #expect(try settings("./64 quiet").plan.kernel == "./64")
    }

    @Test("with --memory the first word is the kernel, whatever it looks like")
    func memoryTwice() throws {
        let settings = try settings("--memory 48 64 quiet")
        #expect(settings.plan.kernel == "64")
        #expect(settings.plan.mebibytes == 48)
        #expect(settings.plan.arguments.map(string) == ["quiet"])
    }

    @Test("what is wrong is told in one line")
    func errors() {
        #expect(error("") == "no kernel is named; --help tells how to use this")
        #expect(error("--verbose") == "no kernel is named; --help tells how to use this")
        #expect(error("--memory") == "option --memory needs an argument")
        #expect(error("--verbose=1 k") == "option --verbose takes no argument")
        #expect(
            error("--engine xen k")
                == "unknown engine \"xen\": it is auto, kvm, lguest, builtin or software")
        #expect(
            error("--console vga k") == "unknown console \"vga\": it is serial, virtio or screen")
        #expect(
            error("12x k") == "memory of \"12x\" is not a size: digits, then nothing, K, M or G")
    }

    @Test(
        "options of other releases and misspelt ones are refused",
        arguments: [
            "--disk", "--net", "-m", "-X", "--foo", "--ram", "--smp", "--bad", "--run", "--rom",
        ])
    func unknown(option: String) {
        #expect(error("\(option)=x k") == "unknown option \"\(option)\"; --help lists them")
    }

    @Test(
        "of a misspelt option the line says what may be meant",
        arguments: [
            ("--memroy", "--memory"), ("--mem", "--memory"), ("--share", "--sharenet"),
            ("--Help", "--help"), ("--noreboot", "--no-reboot"), ("--initrds", "--initrd"),
            ("--tpa", "--tap"), ("--bl", "--block"),
        ])
    func misspelt(option: String, meant: String) {
        #expect(
            error("\(option)=x k")
                == "unknown option \"\(option)\"; \(meant) may be meant, --help lists them")
    }

    @Test("help lists every option and every exit code, at most 80 columns wide")
    func help() {
        let help = string(LaunchCommand.help)
        for option in LaunchSettings.table { #expect(help.contains(" \(option.name)")) }
        for entry in ExitCode.table { #expect(help.contains("\(entry.meaning)\n")) }
        for line in help.split(separator: "\n") { #expect(line.utf8.count <= 80, "\(line)") }
    }
}

@Suite struct MemoryArgumentTests {
    @Test(
        "sizes are MiB unless a letter says otherwise",
        arguments: [
            ("64", 64), ("64M", 64), ("64m", 64), ("1G", 1024), ("2g", 2048), ("65536K", 64),
            ("1024k", 1), ("0", 0), ("0K", 0), ("3072", 3072), ("007", 7), ("0x40", 64),
        ] as [(String, UInt32)])
    func sizes(word: String, mebibytes: UInt32) throws {
        #expect(try MemoryArgument(Text(stringLiteral: word)).mebibytes == mebibytes)
    }

    @Test(
        "what is no size is refused",
        arguments: [
            "", "M", "12x", "64MB", "64 ", "-1", "+1", "1.5G", "0x", "0xg", "0x40M", "12M4",
        ])
    func noSize(word: String) {
        #expect(throws: CommandError.self) {
            try MemoryArgument(Text(stringLiteral: word))
        }
    }

    @Test("KiB that make no whole MiB are refused")
    func kibibytes() {
        #expect(throws: CommandError.badMemory("512K", why: "is not a whole number of MiB")) {
            try MemoryArgument("512K")
        }
    }

    @Test(
        "numbers too large to count with are refused, not cut off",
        arguments: ["4294967296", "18446744073709551616", "99999999999999999999999", "4194304G"])
    func overflow(word: String) {
        let text = Text(stringLiteral: word)
        #expect(throws: CommandError.badMemory(text, why: "is more than any guest can have")) {
            try MemoryArgument(text)
        }
    }

    @Test("networks have a place among the devices, and say what they lead to")
    func networks() throws {
        let settings = try settings(
            "--tunnet 192.168.19.1 --block d --tunnet=bridge:br0 --tap guest7 --tunnet bridge:b,x,2:0:0:0:a:FF k"
        )
        #expect(
            settings.plan.devices.map { ($0 as? NetworkSetup)?.request } == [
                .address(InternetAddress(bytes: (192, 168, 19, 1))), nil,
                .bridge(InterfaceName("br0")!, nil), .tap(InterfaceName("guest7")!),
                .bridge(InterfaceName("b,x")!, HardwareAddress([2, 0, 0, 0, 10, 255])),
            ])
        #expect((settings.plan.devices[1] as? DiskSetup)?.request == DiskRequest("d"))
    }

    @Test(
        "what is no address, interface or hardware address is told",
        arguments: [
            "", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1..2.3", "a.b.c.d", "0.0.0.0", "1.2.3.4 ",
            "224.0.0.1", "255.255.255.255", "bridge", "br0", "1.2.3.-4",
            "99999999999999999999.1.1.1",
        ])
    func badAddress(word: String) {
        #expect(throws: CommandError.badAddress(Text(stringLiteral: word))) {
            try LaunchSettings(["--tunnet", Text(stringLiteral: word), "k"])
        }
    }

    @Test("two networks have two addresses, and a bridge has many ports")
    func addressTwice() throws {
        #expect(
            error("--tunnet 10.0.0.1 --tunnet 10.0.0.2 --tunnet 010.0.0.1 k")
                == "--tunnet of \"010.0.0.1\" is given twice")
        #expect(try settings("--tunnet bridge:b --tunnet=bridge:b k").plan.devices.count == 2)
    }

    @Test("interfaces have names of 1 to 15 bytes, and hardware addresses are no group's")
    func badInterface() {
        for line in ["--tunnet bridge: k", "--tunnet bridge:,2:0:0:0:0:1 k"] {
            #expect(
                error(line) == "\"\" is not the name of an interface: 1 to 15 bytes")
        }
        for line in ["--tap abcdefghijklmnop k", "--tunnet bridge:abcdefghijklmnop k"] {
            #expect(error(line).hasPrefix("\"abcdefghijklmnop\" is not the name"))
        }
        for word in [
            "", "2:0:0:0:0", "2:0:0:0:0:0:0", "3:0:0:0:0:0", "0:0:0:0:0:0", "2:0:0:0:0:100",
        ] {
            #expect(
                error("--tunnet bridge:b,\(word) k")
                    == "\"\(word)\" is not the hardware address of an interface: six bytes, as 52:54:0:1:2:3"
            )
        }
    }
}
