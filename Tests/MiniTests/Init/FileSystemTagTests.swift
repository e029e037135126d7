import Testing

@testable import Mini

@Suite struct FileSystemTagTests {
    private func found(_ bytes: [UInt8]) -> FoundFileSystem? {
        FoundFileSystem { (offset, count) in
            Array(bytes.dropFirst(Int(offset)).prefix(count))
        }
    }

    @Test("file systems are told by their marks, with identifier and label")
    func marks() throws {
        let identifier = (0..<16).map { UInt8($0 * 16 + 1) }
        let digits: Text = "0111213141516171 8191a1b1c1d1e1f1"
        let table: [(Text, [(Int, [UInt8])], Text, Text)] = [
            (
                "ext4",
                [(1080, [0x53, 0xEF]), (1128, identifier), (1144, Array("root".utf8))],
                digits, "root"
            ),
            (
                "xfs",
                [(0, Array("XFSB".utf8)), (32, identifier), (108, Array("twelve bytes".utf8))],
                digits, "twelve bytes"
            ),
            (
                "vfat",
                [
                    (0x52, Array("FAT32   ".utf8)), (0x43, [0xCD, 0xAB, 0x34, 0x12]),
                    (0x47, Array("BOOT       ".utf8)),
                ], "1234abcd", "BOOT"
            ),
            (
                "vfat",
                [
                    (0x36, Array("FAT16   ".utf8)), (0x27, [1, 2, 3, 4]),
                    (0x2B, Array("A B        ".utf8)),
                ],
                "04030201", "A B"
            ),
            (
                "iso9660", [(0x8000, Array("\u{1}CD001".utf8)), (0x8028, Array("DISC ".utf8))], "",
                "DISC"
            ),
            (
                "btrfs",
                [(0x10040, Array("_BHRfS_M".utf8)), (0x10020, identifier), (0x1012B, [0x78])],
                digits, "x"
            ),
        ]
        for (type, marks, identifier, label) in table {
            var bytes = [UInt8](repeating: 0, count: 0x12000)
            for (offset, mark) in marks { bytes.put(mark, at: offset) }
            let result = try #require(found(bytes))
            #expect(Text("\(result.type.text)") == type)
            #expect(result.identifier.bytes == identifier.bytes.filter { $0 != 32 })
            #expect(result.label == label)
        }
        for count in [0, 100, 4095, 4096, 0x12000] {
            #expect(found([UInt8](repeating: 0, count: count)) == nil)
        }
    }

    @Test("a FAT's label is the one in its root folder, before that of its start")
    func labelsOfFAT() {
        func label(_ marks: [(Int, [UInt8])]) -> Text? {
            var bytes = [UInt8](repeating: 0, count: 0x12000)
            for (offset, mark) in marks { bytes.put(mark, at: offset) }
            return found(bytes)?.label
        }
        func entry(_ name: String, _ attributes: UInt8) -> [UInt8] {
            var entry = [UInt8](repeating: 0, count: 32)
            entry.put(Array(name.utf8), at: 0)
            entry[11] = attributes
            return entry
        }
        var removed = entry("OLD        ", 8)
        removed[0] = 0xE5
        let others = removed + entry("Along name ", 0x0F) + entry("FOLDER     ", 0x10)
        // Sectors of 512 bytes, one in front of two FATs of four each; a root folder of 512 entries.
        let small: [(Int, [UInt8])] = [
            (11, [0, 2, 1, 1, 0, 2, 0, 2]), (22, [4, 0]), (0x2B, Array("NO NAME    ".utf8)),
            (0x36, Array("FAT16   ".utf8)),
        ]
        #expect(label(small) == "")
        #expect(label(small + [(9 * 512, others)]) == "")
        #expect(label(small + [(9 * 512, others + entry("STICK      ", 8))]) == "STICK")
        // 32 sectors in front of two FATs of 16; the root folder is the second cluster of eight sectors.
        let large: [(Int, [UInt8])] = [
            (11, [0, 2, 8, 32, 0, 2]), (36, [16, 0, 0, 0]), (44, [3, 0, 0, 0]),
            (0x47, Array("BEFORE     ".utf8)), (0x52, Array("FAT32   ".utf8)),
        ]
        // As blkid has it, the root folder has the last word, also where it has none.
        #expect(label(large) == "")
        #expect(label(large + [(0x9000, others + entry("NOW        ", 0x28))]) == "NOW")
        // Places that no device has.
        #expect(label(large + [(44, [0xFF, 0xFF, 0xFF, 0xFF])]) == "BEFORE")
    }

    @Test("UUID=, LABEL=, PARTUUID= and PARTLABEL= are names; ID= is known not to be looked for")
    func tags() {
        #expect(FileSystemTag("UUID=12AB-cd") == .identifier("12abcd"))
        #expect(FileSystemTag("LABEL=a b") == .label("a b"))
        #expect(FileSystemTag("PARTLABEL=x") == .partitionLabel("x"))
        #expect(FileSystemTag("PARTUUID=0AB1-0c") == .partitionIdentifier("0ab1-0c"))
        #expect(FileSystemTag("ID=x") == .foreign)
        #expect(FileSystemTag("/dev/sda1") == nil && FileSystemTag("tmpfs") == nil)
        #expect(FileSystemTag.label("mini-no-such-label").device() == nil)
    }

    @Test("what was to be mounted is named when it is not there")
    func message() {
        for (source, why) in [
            ("UUID=0000-0000", "no block device has it"),
            ("PARTUUID=00000000-00", "no block device has it"),
            ("ID=1", "UUID=, LABEL=, PARTUUID= and PARTLABEL= are looked for, this is not"),
        ] {
            let boot = FakeBoot()
            let line = boot.play { () -> String in
                do throws(InitError) {
                    try InitMounts.mount(
                        MountRequest(
                            source: Text(stringLiteral: source), target: "/m", type: "ext4"))
                    return ""
                } catch { return string(error.text) }
            }
            #expect(line == "cannot mount \"\(source)\" on \"/m\": \(why)")
        }
    }

    @Test("fstab's words are the kernel's flags, the file system's, or nobody's here")
    func options() {
        func request(_ options: Text) -> MountRequest {
            var request = MountRequest(source: "a", target: "b", type: "c")
            request.take(options)
            return request
        }
        let usual = request(
            "defaults,noatime,nofail,x-systemd.automount,_netdev,errors=remount-ro,auto")
        #expect(usual.flags == [.noAccessTimes] && usual.data == "errors=remount-ro")
        #expect(usual.mayFail && !usual.isLeftOut)
        #expect(request("noauto,ro,relatime").isLeftOut)
        #expect(request("ro,rw,user,exec").flags == [.noSetUserID, .noDevices])
        #expect(request("ro,size=1,mode=7").data == "size=1,mode=7")
        let spread = request("rslave,shared,rprivate,unbindable,rw,rshare,rrshared")
        #expect(
            spread.propagation == [
                [.slave, .recursive], .shared, [.own, .recursive], .unbindable,
            ])
        #expect(spread.data == "rshare,rrshared" && spread.flags.isEmpty)
    }
}
