// Process 1 on a kernel of the tests' own. Real namespaces: Tests/system/init.sh; real machines:
// Tests/initramfs.

import Synchronization
import Testing

@testable import Mini

private let powerOff = "end 4321fedc"
private let reboot = "end 1234567"
private let halt = "end cdef0123"

/// What was done without the usual mounts and the end.
private func deeds(_ boot: FakeBoot) -> [String] {
    boot.now.deeds.filter { !$0.hasPrefix("mount ") && !$0.hasPrefix("unmount") }
}

@Suite struct InitTests {
    @Test("the usual file systems are mounted where they are missing")
    func mounts() {
        let boot = FakeBoot("at-end halt\nrun x") { $0.mounted = ["/sys"] }
        boot.boot()
        #expect(
            boot.now.deeds.prefix(3) == [
                "mount devtmpfs /dev devtmpfs flags=2 mode=0755", "mount proc /proc proc flags=14",
                "mount tmpfs /run tmpfs flags=6 mode=0755",
            ])
        #expect(
            boot.now.deeds.suffix(4) == [
                "unmount /mnt t", "unmount /proc", "mount  /  flags=33", halt,
            ])
        #expect(boot.console == "mini-init: halting\n")
    }

    @Test("a /dev that process 1 has mounted itself gets the links that programs count on")
    func links() {
        let boot = FakeBoot("run x")
        boot.boot()
        #expect(
            boot.now.links == [
                "/dev/fd to /proc/self/fd", "/dev/stdin to /proc/self/fd/0",
                "/dev/stdout to /proc/self/fd/1", "/dev/stderr to /proc/self/fd/2",
            ])
        let other = FakeBoot("run x") { $0.mounted = ["/dev"] }
        other.boot()
        #expect(other.now.links == [])
    }

    @Test("disks that stand still are told and not waited for; those that go on are")
    func disks() throws {
        let boot = FakeBoot("at-end halt\nrun x") { $0.disksAnswer = false }
        boot.boot()
        #expect(
            boot.console
                == "mini-init: the disks stand still: they are not waited for\nmini-init: halting\n"
        )
        #expect(boot.now.deeds.last == halt)

        let played = PlayedAssistant()
        /// How often the disks were looked at, and whether they were done.
        func leave(ready: Int?, _ counts: [UInt64?]) -> (looks: Int, isDone: Bool) {
            var looks = 0
            played.change { $0.isReady = ready == 0 }
            let isDone = played.play {
                InitMounts.leave {
                    looks += 1
                    if looks == ready { played.change { $0.isReady = true } }
                    return counts[min(looks, counts.count) - 1]
                }
            }
            return (looks, isDone)
        }
        #expect(leave(ready: 0, [nil]) == (0, true))
        #expect(leave(ready: 3, [900, 800, 1]) == (3, true))
        #expect(leave(ready: nil, [900, 900]) == (2, false))
        #expect(leave(ready: nil, [nil]) == (1, false))
        #expect(played.now.open == [])
        #expect(
            InitMounts.unwritten("MemFree:  5 kB\nDirty:             12 kB\nWriteback:   30 kB\n")
                == 42)
        #expect(InitMounts.unwritten("MemFree: 5 kB\n") == nil)
    }

    @Test("statements in order, each with its calls")
    func statements() {
        let boot = FakeBoot(
            "load /a.ko\nset /proc/x a b\nmount s /run/m tmpfs\nset /proc/x c\nrun y"
        )
        boot.boot()
        #expect(deeds(boot) == (100...104).map { "reap \($0)" } + [powerOff])
    }

    @Test("what no child carries out is a defect there and no success")
    func strangers() {
        let position = TablePosition(source: .commandLine, line: 1, column: 1)
        let requests: [BootRequest] = [
            .exit(nil), .program(["a"], .run), .replace(["a"], root: nil),
            .condition(.file("/x")), .waitLine(LineRequest(pipe: "p", text: "t")),
        ]
        for request in requests {
            let statement = BootStatement(
                position: position, words: [TableWord(text: "name", column: 1)], request: request)
            let first = Init(InnerPrograms(run: { _ in nil }, complaint: { _ in nil }))
            #expect(throws: InitError.defect(state: "name")) { try first.child(statement, nil) }
        }
        #expect(
            string(InitError.defect(state: "name").text)
                == "a defect of mini, please report it: in the state \"name\" came what cannot come there"
        )
    }

    @Test("an event that cannot come is told, and ends the machine as the table has it for errors")
    func defects() {
        for (table, ending) in [("run a", .halt), ("on-error reboot\nrun a", .reboot)]
            as [(String, Ending)]
        {
            let boot = FakeBoot(table)
            let end = boot.play { () -> BootMachine.Action in
                let first = Init(InnerPrograms(run: { _ in nil }, complaint: { _ in nil }))
                first.leave = { true }
                _ = first.begin()
                // No table is read before the file systems are mounted.
                let stop = first.step(.readTable)
                let leave = first.step(stop)
                return first.step(leave)
            }
            #expect(end == .end(ending))
            #expect(
                boot.console
                    == "mini-init: a defect of mini, please report it: in the state \"mounting\" came what cannot come there\n"
            )
        }
    }

    @Test("modules, values and mounts, as a child calls for them")
    func childStatements() {
        let boot = FakeBoot {
            $0.files["/a.ko"] = ""
            $0.files["/b.ko.xz"] = ""
            $0.files["/proc/x"] = ""
        }
        var complaints: [String] = []
        func note(_ body: () throws(InitError) -> Void) {
            do throws(InitError) { try body() } catch { complaints.append(string(error.text)) }
        }
        boot.play {
            note { () throws(InitError) in try InitStatements.load("/a.ko", "p=1 q=2") }
            note { () throws(InitError) in try InitStatements.load("/b.ko.xz", "") }
            note { () throws(InitError) in try InitStatements.load("/none", "") }
            note { () throws(InitError) in try InitStatements.set("/proc/x", "a b") }
            note { () throws(InitError) in try InitStatements.set("/none", "x") }
            var request = MountRequest(source: "s", target: "/run/m", type: "tmpfs")
            request.take("ro,size=1")
            note { () throws(InitError) in try InitMounts.mount(request) }
        }
        #expect(
            boot.now.deeds == [
                "load /a.ko p=1 q=2 0", "load /b.ko.xz  4", "write /proc/x a b",
                "mount s /run/m tmpfs flags=1 size=1",
            ])
        #expect(
            complaints == [
                "cannot open module \"/none\": no such file (ENOENT)",
                "cannot set \"/none\": no such file (ENOENT)",
            ])
    }

    @Test("set puts its value in place of what an ordinary file holds, and makes none")
    func setFile() throws {
        let file = try TemporaryFile("nameserver 192.168.100.200\nsearch a.b\n")
        try InitStatements.set(Text(stringLiteral: file.path), "nameserver 10.0.0.1")
        #expect(file.content == "nameserver 10.0.0.1\n")
        let absent = try TemporaryFile()
        let name = Text(stringLiteral: absent.path)
        #expect(throws: InitError.host("set", name: name, .noSuchFile)) {
            try InitStatements.set(name, "x")
        }
        #expect(absent.content == nil)
    }

    @Test("a bound folder gets its options by a second call, and is not left without them")
    func boundFolder() {
        let bound = "mount /s /t none flags=4101"
        for isRefused in [false, true] {
            let boot = FakeBoot {
                guard isRefused else { return }
                $0.refused[SystemCall.Number.fileSystemStatus.rawValue] = .notPermitted
            }
            var complaint = ""
            boot.play {
                do throws(InitError) {
                    var request = MountRequest(source: "/s", target: "/t", type: "none")
                    request.take("bind,ro,nodev")
                    try InitMounts.mount(request)
                } catch { complaint = string(error.text) }
            }
            #expect(
                boot.now.deeds == [bound, isRefused ? "unmount /t" : "mount  /t  flags=4133"])
            let line = "cannot mount \"/s\" as none on \"/t\": operation not permitted (EPERM)"
            #expect(complaint == (isRefused ? line : ""))
        }
    }

    @Test(
        "a remount keeps what programs are kept from there, but for what it takes back by name",
        arguments: [
            ("remount,size=2m", 32 + 14 + 16), ("remount,ro", 33 + 14 + 16),
            ("remount,exec,async", 32 + 6), ("remount,bind,ro,suid", 4096 + 33 + 12 + 16),
            ("remount,dev,nodev", 32 + 14 + 16), ("remount,rw,defaults", 32 + 14 + 16),
        ] as [(String, Int)])
    func remount(options: String, flags: Int) {
        // nosuid, nodev, noexec and sync.
        let boot = FakeBoot { $0.mountedAs = 0x20 + 14 + 16 }
        boot.play {
            var request = MountRequest(source: "none", target: "/m", type: "none")
            request.take(Text(stringLiteral: options))
            _ = try? InitMounts.mount(request)
        }
        let data = options.contains("size") ? " size=2m" : ""
        #expect(boot.now.deeds == ["mount none /m none flags=\(flags)\(data)"])
        let writable = FakeBoot { $0.mountedAs = 0x21 }
        writable.play {
            var request = MountRequest(source: "none", target: "/", type: "none")
            request.take("remount,rw")
            _ = try? InitMounts.mount(request)
        }
        #expect(writable.now.deeds == ["mount none / none flags=32"])
    }

    /// What a mount says, of whatever came out.
    private static func mounted(
        _ source: Text, _ type: Text, _ options: Text = "", on boot: FakeBoot
    ) -> String {
        boot.play { () -> String in
            var request = MountRequest(source: source, target: "/m", type: type)
            request.take(options)
            do throws(InitError) {
                return try InitMounts.mount(request).map { string($0) } ?? ""
            } catch { return string(error.text) }
        }
    }

    @Test(
        "a disk that takes no writes is mounted for reading, with a line, unless that was asked for"
    )
    func writeProtected() {
        for errno in [Errno.accessDenied, .readOnlySystem] {
            let boot = FakeBoot { $0.writeProtection = errno }
            #expect(
                Self.mounted("/dev/sr0", "iso9660", "nosuid", on: boot)
                    == "\"/dev/sr0\" is write-protected: it is mounted read-only")
            #expect(Self.mounted("/dev/sr0", "iso9660", "ro", on: boot) == "")
            #expect(
                Self.mounted("none", "none", "remount,size=1", on: boot).hasPrefix("cannot mount"))
            #expect(
                boot.now.deeds == [
                    "mount /dev/sr0 /m iso9660 flags=3", "mount /dev/sr0 /m iso9660 flags=1",
                ])
        }
        // Not for another reason, and told as it was where that does not help.
        let other = FakeBoot { $0.writeProtection = .noMemory }
        #expect(Self.mounted("/dev/sr0", "iso9660", on: other).hasSuffix("(ENOMEM)"))
        let denied = FakeBoot { $0.refused[SystemCall.Number.mount.rawValue] = .accessDenied }
        #expect(Self.mounted("/dev/sr0", "iso9660", on: denied).hasSuffix("(EACCES)"))
        #expect(other.now.deeds == [] && denied.now.deeds == [])
    }

    @Test("what becomes of mounts below is said behind the mount, or alone, in calls of its own")
    func propagation() {
        let boot = FakeBoot()
        #expect(Self.mounted("none", "none", "defaults,rshared", on: boot) == "")
        #expect(Self.mounted("a", "tmpfs", "size=1,private", on: boot) == "")
        #expect(Self.mounted("/a", "none", "bind,rslave,shared", on: boot) == "")
        #expect(Self.mounted("a", "none", "runbindable,ro", on: boot) == "")
        #expect(
            boot.now.deeds == [
                "mount  /m  flags=\(1 << 20 | 16384)", "mount a /m tmpfs size=1",
                "mount  /m  flags=\(1 << 18)", "mount /a /m none flags=4096",
                "mount  /m  flags=\(1 << 19 | 16384)", "mount  /m  flags=\(1 << 20)",
                "mount a /m none flags=1", "mount  /m  flags=\(1 << 17 | 16384)",
            ])
    }

    @Test("the kernel's number for a mount that fails is told as what it means there")
    func mountReasons() {
        func said(_ errno: Errno, _ source: Text, _ type: Text, _ options: Text = "") -> String {
            let boot = FakeBoot {
                $0.refused[SystemCall.Number.mount.rawValue] = errno
                $0.files["/dev/vda"] = "nothing known"
            }
            return Self.mounted(source, type, options, on: boot)
        }
        for type: Text in ["devtmpfs", "sysfs", "proc"] {
            #expect(said(.busy, "none", type) == "" && said(.busy, type, type) == "")
            #expect(said(.busy, "none", type, "remount,ro").hasSuffix("(EBUSY)"))
            // Nor is what is said of it behind that left out.
            #expect(said(.busy, "none", type, "private").hasSuffix("(EBUSY)"))
        }
        #expect(said(.busy, "none", "tmpfs").hasSuffix("device or resource busy (EBUSY)"))
        for (errno, source, type, options, why) in [
            (
                .notBlockDevice, "/x.img", "ext4", "ro",
                "the source is no block device, and mini-init sets up no loop devices (ENOTBLK)"
            ),
            (.invalid, "none", "none", "remount,ro", "the folder is no mount point (EINVAL)"),
            (
                .invalid, "none", "none", "remount,size=x",
                "the folder is no mount point, or it does not take \"size=x\" (EINVAL)"
            ),
            (.invalid, "none", "none", "rshared", "the folder is no mount point (EINVAL)"),
            (
                .invalid, "/a", "none", "move",
                "the source is no mount point, or below a shared one (EINVAL)"
            ),
            (.invalid, "/dev/vda", "ext4", "", "the source is no such file system (EINVAL)"),
            (
                .invalid, "10.0.0.1:/x", "nfs", "clientaddr=10.0.0.2",
                "the options have no addr= with the server's address (EINVAL)"
            ),
            (
                .invalid, "10.0.0.1:/x", "nfs4", "nolock,addr=10.0.0.1",
                "the source is no such file system, or it does not take \"nolock,addr=10.0.0.1\" (EINVAL)"
            ),
            (
                .invalid, "/dev/vda", "auto", "",
                "none of ext2 to ext4, xfs, btrfs, vfat and iso9660 is seen there"
            ),
            (.invalid, "/dev/nosuch", "auto", "", "no such file (ENOENT)"),
        ] as [(Errno, String, String, String, String)] {
            let text = said(
                errno, Text(stringLiteral: source), Text(stringLiteral: type),
                Text(stringLiteral: options))
            #expect(text == "cannot mount \"\(source)\" as \(type) on \"/m\": \(why)")
        }
    }

    @Test(
        "what fails says where it stands and why, and the table ends there",
        arguments: [
            ("exec /x", "cannot run \"/x\": no such file (ENOENT)"),
            ("switch-root /root /x", "\"/root\" is no file system of its own to switch to"),
        ])
    func failures(statement: String, wanted: String) {
        let boot = FakeBoot("on-error reboot\n\(statement)") {
            $0.files["/sys/hypervisor/type"] = "none"
        }
        boot.boot()
        #expect(boot.console.contains("mini-init: /etc/mini.table:2:1: "), "\(boot.console)")
        #expect(boot.console.contains(wanted), "\(boot.console)")
        #expect(deeds(boot) == ["kill -1 15", "kill -1 18", reboot])
        let tried = FakeBoot("on-error reboot\ntry \(statement)\nrun x")
        tried.boot()
        #expect(deeds(tried) == ["reap 100", powerOff])
    }

    @Test("a program's end is told unless it is a success")
    func ends() {
        for (status, words) in [(3 << 8, "ended with code 3"), (9, "was ended by signal 9")] {
            let boot = FakeBoot("on-error halt\nrun /p a") { $0.lives = [.ends(Int32(status))] }
            boot.boot()
            #expect(
                boot.console
                    == "mini-init: /etc/mini.table:2:1: \"/p\" \(words)\nmini-init: halting\n")
        }
    }

    @Test(
        "exit ends the machine with its code, or with that of the last program that was awaited",
        arguments: [
            ("exit 7", 0, 7), ("try run /p\nexit", 3 << 8, 3), ("try run /p\nexit", 9, 137),
            ("run /p\nexit", 0, 0), ("exit", 0, 0), ("try run /p\nload /m\nexit", 126 << 8, 126),
            ("try run /p\nexit 0", 3 << 8, 0),
            // A lookup that fails, and words that do not come back.
            ("try run /p @{a}\nexit", 1 << 8, 126), ("try launch @{a}\nexit", 0, 126),
            ("try set /x @{a}\nexit", 1 << 8, 0), ("shell /p\nexit", 3 << 8, 0),
            ("try run /p\nshell /s\ntry load @{a}\nexit", 3 << 8, 3),
        ] as [(String, Int32, UInt8)])
    func exitCode(table: String, status: Int32, code: UInt8) {
        let boot = FakeBoot("on-error halt\n\(table)") {
            $0.lives = [.ends(status)]
            $0.files["/m"] = ""
        }
        boot.boot()
        #expect(boot.now.exitCode == code)
        // The port is asked for when nothing is left to be done, and the machine ends where there is none.
        #expect(boot.now.deeds.suffix(2) == ["ports 501 1", powerOff])
    }

    @Test("a table without exit touches no port of a guest's exit")
    func noExit() {
        let boot = FakeBoot("try run /p") { $0.lives = [.ends(3 << 8)] }
        boot.boot()
        #expect(!boot.now.deeds.contains { $0.hasPrefix("ports") })
    }

    @Test("what may take its time is a child's, which says itself what is wrong")
    func beside() {
        let waits =
            "load /x\nset /x y\nmount a /b c\nwait store x\nwait file /x\nwait event 3 8\nnotify 3 8\ngrant n 3 8\ngrant n 3 8 to=/x"
        let boot = FakeBoot("on-error halt\n" + waits) {
            $0.happenings = [.orphans(3)]
        }
        boot.boot()
        #expect(boot.now.made.count == 9)
        #expect(deeds(boot).filter { $0.hasPrefix("reap") }.count == 12)
        #expect(boot.console == "mini-init: powering off\n")
        let failing = FakeBoot("on-error halt\nwait store x\nrun y") { $0.lives = [.ends(1 << 8)] }
        failing.boot()
        #expect(failing.console == "mini-init: halting\n" && failing.now.made.count == 1)
        let killed = FakeBoot("on-error halt\ngrant n 3 8 hold\nrun y") { $0.lives = [.ends(9)] }
        killed.boot()
        #expect(
            killed.console == """
                mini-init: /etc/mini.table:2:1: "grant" was ended by signal 9
                mini-init: halting

                """)
    }

    @Test("a socket at which too many wait is tried again, until the deadline")
    func busySocket() {
        for (patience, tries) in [(60_000, 3), (0, 1)] as [(UInt64, Int)] {
            let calls = Mutex(0)
            let hook: @Sendable (SystemCall) -> Int? = { call in
                if call.number == .poll { return 0 }
                guard call.number.rawValue == SocketCall.connect.direct else { return nil }
                let count = calls.withLock {
                    $0 += 1
                    return $0
                }
                // At the third time nobody listens any more.
                return count < 3 ? -11 : -111
            }
            var request = SendRequest(socket: "/s", message: "m")
            request.patience = .milliseconds(patience)
            let sent = request
            let said = SystemCall.hooked(hook) { () -> String in
                do throws(InitError) { try InitSockets.send(sent) } catch {
                    return string(error.text)
                }
                return ""
            }
            #expect(said.hasPrefix("cannot connect to \"/s\": "))
            #expect(said.hasSuffix(tries == 1 ? "(EAGAIN)" : "(ECONNREFUSED)"), "\(said)")
            #expect(calls.withLock { $0 } == tries)
        }
    }

    @Test("a socket of another kind, or without room for one more, has somebody who listens")
    func otherSockets() {
        let late = "nobody has listened on \"/s\" in time"
        for (answers, tried, wanted) in [
            ([0], [1], ""), ([-11], [1], ""), ([-91, -11], [1, 5], ""),
            ([-91, -91, 0], [1, 5, 2], ""), ([-2], [1], late), ([-91, -111], [1, 5], late),
            (
                [-91, -91, -13], [1, 5, 2],
                "cannot connect to \"/s\": permission denied (EACCES)"
            ),
        ] as [([Int], [Int], String)] {
            let kinds = Mutex<[Int]>([])
            let hook: @Sendable (SystemCall) -> Int? = { call in
                if call.number.rawValue == SocketCall.socket.direct {
                    kinds.withLock { $0.append(call.arguments.1) }
                }
                guard call.number.rawValue == SocketCall.connect.direct else { return nil }
                return answers[kinds.withLock { $0.count } - 1]
            }
            let said = SystemCall.hooked(hook) { () -> String in
                do throws(InitError) {
                    try InitSockets.wait(for: "/s", .after(.milliseconds(0)))
                } catch { return string(error.text) }
                return ""
            }
            #expect(said == wanted)
            #expect(kinds.withLock { $0 } == tried)
        }
    }

    @Test("what a child could map and process 1 cannot is told, and nothing is held")
    func notHeld() {
        for (statement, end) in [("grant", halt), ("try grant", powerOff)] {
            let boot = FakeBoot("on-error halt\n\(statement) n 3 8 hold") {
                $0.files["/sys/hypervisor/type"] = "none"
            }
            boot.boot()
            #expect(
                boot.console.hasPrefix(
                    "mini-init: /etc/mini.table:2:\(statement.count - 4): cannot open \"/dev/xen/gntdev\": this machine does not run on Xen\n"
                ),
                "\(boot.console)")
            #expect(deeds(boot).last == end)
        }
    }

    @Test("a signal is answered while a child waits for others")
    func signalWhileWaiting() {
        let boot = FakeBoot("grant n 3 @a/b hold deadline=3600") {
            $0.lives = [.untilTerminated]
            $0.happenings = [.orphans(2), .signal(2)]
            $0.refused[SystemCall.Number.memoryFile.rawValue] = nil
        }
        boot.boot()
        #expect(deeds(boot).last == reboot)
        #expect(deeds(boot).filter { $0.hasPrefix("reap") }.count == 3)
    }

    @Test("children that end without an end do not keep it from a signal")
    func crowd() {
        let boot = FakeBoot("grant n 3 @a/b hold deadline=3600") {
            $0.lives = [.untilTerminated]
            $0.happenings = [.orphans(1)]
            $0.crowd = (orphans: 5000, signalAt: 4000)
            $0.refused[SystemCall.Number.memoryFile.rawValue] = nil
        }
        boot.boot()
        let deeds = deeds(boot)
        #expect(deeds.last == reboot)
        let reaped = deeds.prefix { !$0.hasPrefix("kill") }.filter { $0.hasPrefix("reap") }.count
        #expect(reaped > 1000 && reaped < 1200, "signalled after \(reaped)")
    }

    @Test("without a shell an error halts; with one its end is the machine's")
    func shell() {
        let without = FakeBoot("run /p") { $0.lives = [.ends(1)] }
        without.boot()
        #expect(without.console.contains("there is no shell"))
        #expect(deeds(without).last == halt)
        let with = FakeBoot("run /p\nat-end reboot") {
            $0.lives = [.ends(1), .ends(77 << 8)]
            $0.files["/bin/sh"] = ""
        }
        #expect(with.boot().contains(.startShell))
        #expect(deeds(with).filter { $0.hasPrefix("reap") } == ["reap 100", "reap 101"])
        #expect(deeds(with).last == reboot)
    }

    @Test("a shell that cannot be run is told and left for the next one, or the machine halts")
    func brokenShell() {
        let other = FakeBoot("run /p\nat-end reboot") {
            $0.lives = [.ends(1), .ends(3 << 8)]
            $0.files["/bin/sh"] = ""
            $0.files["/bin/busybox"] = ""
            $0.folders = ["/bin/sh"]
        }
        other.boot()
        #expect(
            other.console.hasSuffix(
                """
                mini-init: cannot run "/bin/sh": it is a directory
                mini-init: a shell; its end is the machine's
                mini-init: "/bin/busybox" ended with code 3
                mini-init: rebooting

                """), "\(other.console)")
        // Its loader misses a library.
        for (pause, end) in [(0, halt), (2, reboot)] as [(UInt64, String)] {
            let broken = FakeBoot("run /p\nat-end reboot") {
                $0.lives = [.idle, .idle]
                $0.files["/bin/sh"] = ""
                $0.happenings = [.end(0, 1), .pause(pause), .end(1, 127 << 8)]
            }
            broken.boot()
            #expect(deeds(broken).last == end && broken.now.happenings.isEmpty)
        }
    }

    @Test("what is wrong with the table is told in full, and nothing is carried out")
    func wrongTable() {
        let boot = FakeBoot("run a\nrnu b", "mini.on-error=poweroff mini.c")
        boot.boot()
        #expect(
            boot.console == """
                mini-init: /etc/mini.table:2:1: there is no statement "rnu"
                mini-init: /proc/cmdline:1:24: there is no statement "c"
                mini-init: powering off

                """)
        #expect(boot.now.made.isEmpty)
        let absent = FakeBoot("run a", "mini.on-error=poweroff mini.table=/none")
        absent.boot()
        #expect(absent.console.contains("cannot read the table \"/none\": no such file (ENOENT)"))
        #expect(absent.now.made.isEmpty && deeds(absent).last == powerOff)
        let usual = FakeBoot("", "mini.run=a") { $0.files["/etc/mini.table"] = nil }
        usual.boot()
        #expect(usual.console == "mini-init: powering off\n" && usual.now.made.count == 1)
    }

    @Test("verbose says each statement")
    func verbose() {
        let boot = FakeBoot("verbose\nrun 'a b' c")
        boot.boot()
        #expect(boot.console.hasPrefix("mini-init: /etc/mini.table:2:1: run a b c\n"))
    }

    // MARK: Children and signals

    @Test("the end waits for whoever was started, and for orphans of theirs")
    func started() {
        let boot = FakeBoot("start a\nrun b") {
            $0.lives = [.idle, .ends(0)]
            $0.happenings = [.end(1, 0), .orphans(300), .end(0, 1 << 8)]
        }
        boot.boot()
        #expect(deeds(boot).filter { $0.hasPrefix("reap") }.count == 302)
        #expect(
            boot.console == """
                mini-init: /etc/mini.table:1:1: "a" ended with code 1
                mini-init: powering off

                """)
    }

    @Test(
        "signals that ask for an end, while a program runs",
        arguments: [(2, reboot), (15, reboot), (10, halt), (12, powerOff), (30, powerOff)]
            as [(Int32, String)])
    func signals(number: Int32, end: String) {
        let boot = FakeBoot("run a") {
            $0.lives = [.untilTerminated]
            $0.happenings = [.signal(1), .signal(number)]
        }
        boot.boot()
        #expect(deeds(boot) == ["kill -1 15", "kill -1 18", "reap 100", end])
    }

    @Test(
        "Ctrl-Alt-Del does what the table says",
        arguments: [("halt", halt), ("poweroff", powerOff), ("reboot", reboot)])
    func keys(action: String, end: String) {
        let boot = FakeBoot("ctrl-alt-del \(action)\nrun a") {
            $0.lives = [.untilTerminated]
            $0.happenings = [.signal(2)]
        }
        boot.boot()
        #expect(deeds(boot).last == end)
        let ignoring = FakeBoot("ctrl-alt-del ignore\nrun a\nat-end halt") {
            $0.happenings = [.signal(2), .signal(2)]
        }
        ignoring.boot()
        #expect(deeds(ignoring) == ["reap 100", halt])
    }

    @Test("a root is switched to when a child has found its program; otherwise nothing is touched")
    func switchRoot() {
        for (end, isThere) in [(0, true), (1 << 8, false)] as [(Int32, Bool)] {
            let boot = FakeBoot("on-error halt\nswitch-root /root /sbin/init") {
                $0.mounted = ["/root"]
                $0.lives = [.ends(end)]
            }
            boot.boot()
            #expect(boot.now.deeds.contains { $0.hasPrefix("mount / .") } == isThere)
            // There is no file to become.
            #expect(boot.console.contains("cannot run \"/sbin/init\"") == isThere)
            #expect(deeds(boot).last == halt)
        }
        let absent = FakeBoot()
        let complaint = absent.play { () -> String in
            do throws(InitError) { try SwitchRoot.check("/root", has: "/sbin/init") } catch {
                return string(error.text)
            }
            return ""
        }
        #expect(
            complaint
                == "nothing is switched: cannot run \"/sbin/init\": no such file (ENOENT), behind the new root"
        )
    }

    @Test(
        "a folder that is no mount is bound, and nothing is moved or removed before it is the root",
        arguments: 0...2)
    func switchedFolder(refusals: Int) {
        let state = Mutex((deeds: [String](), moves: 0))
        let hook: @Sendable (SystemCall) -> Int? = { call in
            let (first, second, _, flags, _, _) = call.arguments
            func text(_ address: Int) -> String {
                String(cString: UnsafePointer<CChar>(bitPattern: address)!)
            }
            return state.withLock { state -> Int? in
                switch call.number {
                case .mount:
                    state.deeds.append("\(text(first)) on \(text(second)) \(flags)")
                    guard text(first) == "/" else { return 0 }
                    state.moves += 1
                    return state.moves > refusals ? 0 : -22
                case .unmount: state.deeds.append("unmount \(text(first))")
                case .changeRoot: state.deeds.append("root \(text(first))")
                case .open:
                    state.deeds.append("look at \(text(first))")
                    return -2
                default: break
                }
                return 0
            }
        }
        let isDone = SystemCall.hooked(hook) { () -> Bool in
            (try? SwitchRoot.change(to: "/m/d")) != nil
        }
        #expect(isDone == (refusals < 2))
        let move = ["root /m/d", "/ on . 8192"]
        let bind = ["root .", "/m/d on /m/d 20480"] + move
        let end = ["dev", "proc", "sys", "run"].map { "./\($0) on /\($0) 8192" } + ["look at ."]
        #expect(
            state.withLock { $0.deeds }
                == [" on / 278528"] + move + (refusals > 0 ? bind : [])
                + (refusals < 2 ? end : ["root .", "unmount /m/d"]))
    }

    @Test("a deaf child is killed after the grace, an immortal one is left behind")
    func deaf() {
        for (life, count) in [(FakeBoot.Life.deaf, 1), (.immortal, 0)] {
            let boot = FakeBoot("grace 700ms\nrun a") {
                $0.lives = [life]
                $0.happenings = [.signal(12)]
            }
            let start = boot.now.clock
            boot.boot()
            #expect(
                deeds(boot) == ["kill -1 15", "kill -1 18", "kill -1 9"]
                    + (count == 1 ? ["reap 100"] : []) + [powerOff])
            let passed = (boot.now.clock - start) / 1_000_000
            #expect(passed >= (count == 1 ? 700 : 2700) && passed < (count == 1 ? 800 : 2800))
        }
    }

    @Test("a service is started again after its pauses, and not any more at the end")
    func respawn() {
        let boot = FakeBoot("respawn a\nrun b") {
            // The service ends at once three times, then only when it is told to.
            $0.lives = [.ends(0), .idle, .ends(0), .ends(0), .untilTerminated]
            $0.signalAfter = (5, 12)
        }
        boot.boot()
        let moments = boot.now.forks.map { ($0 - boot.now.forks[0]) / 1_000_000 }
        #expect(moments.map { $0 / 10 } == [0, 0, 10, 30, 70])
        #expect(deeds(boot).suffix(5).first == "kill -1 15")
        #expect(deeds(boot).filter { $0.hasPrefix("reap") }.count == 5)
    }

    // MARK: Faults

    /// A boot with most of what there is.
    private static func everything() -> FakeBoot {
        FakeBoot(
            "on-error reboot\nload /a.ko\nset /proc/x y\nmount s /run/m tmpfs\nstart a\nrun b\ntry exec c",
            "quiet mini.verbose"
        ) {
            $0.files["/a.ko"] = ""
            $0.files["/proc/x"] = ""
            $0.files["/bin/sh"] = ""
        }
    }

    @Test("whatever call fails, once, the machine comes to its end and no child is left")
    func everyFailure() {
        let whole = Self.everything()
        whole.boot()
        #expect(deeds(whole).last == powerOff)
        let count = whole.now.calls.count
        #expect(count > 50)
        for call in 1...count {
            for errno in [Errno.inputOutput, .noMemory] {
                let boot = Self.everything()
                boot.state.withLock { $0.failing = (call, errno) }
                let actions = boot.boot()
                #expect(actions.count < 200, "call \(call)")
                let failed = boot.now.calls[call - 1]
                let ends = deeds(boot).filter { $0.hasPrefix("end ") }
                if failed == SystemCall.Number.reboot.rawValue && ends.isEmpty {
                    #expect(boot.console.contains("mini-init: cannot power off: "), "call \(call)")
                } else {
                    #expect(ends.count == 1, "call \(call), number \(failed): \(boot.console)")
                }
                #expect(boot.now.zombies.isEmpty && boot.now.children.isEmpty, "call \(call)")
                #expect(!boot.console.contains("defect"), "call \(call): \(boot.console)")
            }
        }
    }

    @Test("a kernel without any of the calls still gets to hear of the end")
    func bare() {
        for number: SystemCall.Number in [
            .signalDescriptor, .fork, .mount, .open, .read, .fileStatus, .signalAction, .signalMask,
        ] {
            let boot = Self.everything()
            boot.state.withLock { $0.refused[number.rawValue] = .notImplemented }
            boot.boot()
            #expect(deeds(boot).contains { $0.hasPrefix("end ") }, "\(number): \(boot.console)")
        }
    }

    @Test("an end that the kernel refuses is told, and process 1 stays")
    func refusedEnd() {
        let boot = FakeBoot("run a")
        boot.state.withLock { $0.refused[SystemCall.Number.reboot.rawValue] = .notPermitted }
        #expect(boot.boot().last == .end(.powerOff))
        #expect(boot.console.hasSuffix("cannot power off: operation not permitted (EPERM)\n"))
    }

    @Test("the console is opened where there is none, and may be missing")
    func console() {
        let boot = FakeBoot("run a") {
            $0.consoleNode = 0x103
            $0.files["/dev/console"] = ""
        }
        boot.boot()
        let duplicates = boot.now.calls.filter { $0 == SystemCall.Number.duplicate.rawValue }
        #expect(duplicates.count >= 1)
        let without = FakeBoot("run a") { $0.consoleNode = 0x103 }
        without.boot()
        #expect(deeds(without).last == powerOff)
    }

    @Test("without a console programs have /dev/null, and a shell one that comes late")
    func lateConsole() {
        let boot = FakeBoot {
            $0.consoleNode = 0x103
            $0.hidesConsole = true
            $0.files["/dev/null"] = ""
            $0.files["/bin/sh"] = ""
        }
        boot.play {
            let first = Init(InnerPrograms(run: { _ in nil }, complaint: { _ in nil }))
            _ = first.step(first.begin())
            #expect(
                boot.now.deeds.filter { $0.contains(" as ") }
                    == (0...2).map { "/dev/null as \($0)" })
            boot.state.withLock {
                $0.deeds = []
                $0.files["/dev/console"] = ""
            }
            _ = first.startShell()
        }
        #expect(
            boot.now.deeds.filter { $0.contains(" as ") }
                == (0...2).map { "/dev/console as \($0)" })
    }

    @Test("numbers that are closed at the start are filled, before there is a /dev/null as well")
    func closedNumbers() {
        for hasNull in [true, false] {
            let opened = Mutex<[String]>([])
            let hook: @Sendable (SystemCall) -> Int? = { call in
                switch call.number {
                case .fileStatus: return opened.withLock { $0.count > call.arguments.0 ? 0 : -9 }
                case .open:
                    let path = String(
                        cString: UnsafePointer<CChar>(bitPattern: call.arguments.0)!)
                    if path == "/dev/null" && !hasNull { return -2 }
                    return opened.withLock {
                        $0.append("\(path) \(String(call.arguments.1, radix: 8))")
                        return $0.count - 1
                    }
                default: return -38
                }
            }
            SystemCall.hooked(hook) { Process.fillStandardDescriptors() }
            // O_PATH
            let wanted = hasNull ? "/dev/null 0" : "/ 10000000"
            #expect(opened.withLock { $0 } == [wanted, wanted, wanted])
        }
    }

    // MARK: Small things

    @Test("a console that devtmpfs hides is opened again, so that it has a name")
    func hiddenConsole() {
        for isHidden in [true, false] {
            let boot = FakeBoot("run a") {
                $0.files["/dev/console"] = ""
                $0.hidesConsole = isHidden
            }
            boot.boot()
            let opened = deeds(boot).filter { $0.hasPrefix("/dev/console as ") }
            #expect(opened == (isHidden ? (0...2).map { "/dev/console as \($0)" } : []))
        }
    }

    @Test("places of mounts, with what stands for blanks")
    func targets() {
        #expect(
            InitMounts.targets("a /b c\nd /e\\040f\\134 g\nbroken\n\n").map { string($0) }
                == ["/b", "/e f\\"])
    }

    @Test("however many mounts there are, all are unmounted, and swap is turned off before")
    func everyMount() {
        let count = 3000
        let boot = FakeBoot {
            $0.files["/proc/swaps"] =
                "Filename\tType\tSize\tUsed\tPriority\n/m/a\\040b    file\t1\t0\t-2\n/dev/c  partition\t1\t0\t-3\n"
            $0.files["/proc/self/mounts"] =
                (0..<count).map { "none /mounted/below/\($0) tmpfs rw 0 0\n" }.joined()
        }
        boot.play { InitMounts.unmountAll() }
        let deeds = boot.now.deeds
        // The first line's is no file's name.
        #expect(deeds.prefix(3).dropFirst() == ["swapoff /m/a b", "swapoff /dev/c"])
        #expect(
            deeds.dropFirst(3)
                == (0..<count).reversed().map { "unmount /mounted/below/\($0)" }[...])
    }

    @Test("a wait status in words")
    func processEnd() {
        #expect(ProcessEnd(status: 0).isSuccess)
        #expect(ProcessEnd(status: 0x300) == .exited(code: 3))
        #expect(ProcessEnd(status: 0x8B) == .killed(Signal(rawValue: 11)))
    }
}
