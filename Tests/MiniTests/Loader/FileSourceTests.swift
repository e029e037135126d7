// Files made of granted pages, on the model of a kernel that runs on Xen.

import Testing

@testable import Mini

private func source(_ name: Text) -> FileSource? { try? FileSource(name) }

private func complaint(_ name: Text) -> String {
    do throws(GrantError) { _ = try FileSource(name) } catch { return string(error.text) }
    return "none"
}

/// Opens a name on the model.
/// - Returns: what is in the file, or what went wrong.
private func open(
    _ name: Text, on xen: FakeXen
) -> (bytes: [UInt8], error: LoaderError?) {
    xen.play {
        do throws(LoaderError) {
            let file = try FileSource.open(name, .readWrite, "open disk")
            let size = (try? file.status())?.size ?? 0
            var bytes = [UInt8](repeating: 0, count: Int(size) + 1)
            let count = (try? Transfer.read(file.number, into: &bytes)) ?? 0
            return (Array(bytes[..<count]), nil)
        } catch { return ([], error) }
    }
}

@Suite struct FileSourceTests {
    @Test("a name is a file, pages right there, or a place in the store")
    func names() {
        #expect(source("vmlinux") == .file("vmlinux"))
        #expect(source("./@x") == .file("./@x"))
        #expect(source("grant") == .file("grant"))
        #expect(source("@data/kernel") == .store("data/kernel"))
        var grants = FileSource.GrantSource(domain: "3", references: "8,12-13")
        #expect(source("grant:3:8,12-13") == .grants(grants))
        grants.length = "5000"
        #expect(source("grant:3:8,12-13:5000") == .grants(grants))
        #expect(
            source("grant:@a/domain:@b")
                == .grants(FileSource.GrantSource(domain: "@a/domain", references: "@b")))
    }

    @Test(
        "what is no list of pages is refused",
        arguments: [
            "grant:", "grant:3", "grant:3:", "grant:32752:8", "grant:3:9-8", "grant:3:8,",
            "grant:x:8",
            "grant:3:8:5:6", "grant:3:0-65536",
        ])
    func refused(name: String) {
        #expect(
            complaint(Text(stringLiteral: name)).hasSuffix(
                " is not DOMAIN:REFERENCES or DOMAIN:REFERENCES:LENGTH"))
    }

    @Test("a length is one that the pages have", arguments: ["0", "4097", "x", ""])
    func lengths(length: String) {
        #expect(
            complaint(Text(stringLiteral: "grant:3:8:\(length)"))
                == "\"\(length)\" is no length in bytes that these grants have")
        #expect(source("grant:3:8:4096") != nil)
    }

    @Test("the file has the pages in their order, as they were")
    func content() throws {
        let xen = try FakeXen()
        xen.grant([8, 9, 4], of: 3)
        let (bytes, error) = open("grant:3:9,8,4", on: xen)
        #expect(error == nil)
        #expect(bytes.count == 3 * 4096)
        #expect([0, 4095, 4096, 8192, 12287].map { bytes[$0] } == [2, 2, 1, 3, 3])
        #expect(xen.now.left == [])
    }

    @Test("a length cuts the last page, or leaves whole pages unmapped")
    func cut() throws {
        let xen = try FakeXen()
        xen.grant([8, 9, 4], of: 3)
        let (bytes, error) = open("grant:3:8-9:4100", on: xen)
        #expect(error == nil && bytes.count == 4100 && bytes[4099] == 2)
        #expect(open("grant:3:8-9:10", on: xen).bytes == [UInt8](repeating: 1, count: 10))
        #expect(xen.now.left == [])
    }

    @Test("many pages are mapped by portions")
    func portions() throws {
        let xen = try FakeXen()
        xen.grant(Array(100..<400), of: 3)
        let (bytes, error) = open("grant:3:100-399", on: xen)
        #expect(error == nil && bytes.count == 300 * 4096)
        #expect((0..<300).allSatisfy { bytes[$0 * 4096] == UInt8(truncatingIfNeeded: $0 + 1) })
        #expect(xen.now.left == [])
    }

    @Test(
        "the store may have the whole name, or each of its words, or domain 0's references alone",
        arguments: [
            ("@whole", 3), ("@bare", 3), ("grant:3:@list", 3), ("grant:@domain:@list", 3),
            ("grant:@domain:9,8", 3), ("@list", 0), ("@nested", 3),
        ])
    func fromStore(name: String, domain: UInt32) throws {
        let xen = try FakeXen {
            $0.store = FakeStore.with([
                "/whole": "grant:3:9,8:4097", "/bare": "3:9,8", "/list": "9,8", "/domain": "3",
                "/nested": "3:@/list",
            ])
        }
        xen.grant([8, 9], of: domain)
        let absolute = name.split(separator: "@", omittingEmptySubsequences: false)
            .joined(separator: "@/")
        let (bytes, error) = open(Text(stringLiteral: absolute), on: xen)
        #expect(error == nil, "\(error.map { string($0.text) } ?? "")")
        #expect(bytes.count == (name == "@whole" ? 4097 : 8192))
        #expect(bytes.first == 2 && bytes.last == 1)
        #expect(xen.now.left == [])
    }

    @Test("an entry of the store that is no name of pages says what it is")
    func wrongEntry() throws {
        let xen = try FakeXen { $0.store = FakeStore.with(["/k": "vmlinux", "/d": "x"]) }
        #expect(
            open("@/k", on: xen).error?.text
                == "cannot open disk \"@/k\": \"0:vmlinux\" is not DOMAIN:REFERENCES or DOMAIN:REFERENCES:LENGTH"
        )
        #expect(
            open("grant:@/d:8", on: xen).error?.text
                == "cannot open disk \"grant:@/d:8\": \"x:8\" is not DOMAIN:REFERENCES or DOMAIN:REFERENCES:LENGTH"
        )
        #expect(
            open("grant:3:@/none", on: xen).error?.text
                == "cannot open disk \"grant:3:@/none\": cannot read \"/none\": no such entry (ENOENT)"
        )
        #expect(xen.now.left == [])
    }

    @Test("a copy does not change when the pages do")
    func copied() throws {
        let xen = try FakeXen()
        xen.grant([8], of: 3)
        xen.play {
            let file = try? FileSource.open("grant:3:8", .readOnly, "open")
            xen.page(8, of: 3)[0] = 99
            var bytes: [UInt8] = [0]
            if let file { _ = try? Transfer.read(file.number, into: &bytes) }
            #expect(bytes == [1])
        }
    }

    @Test("an absent grant is named, and nothing stays")
    func absent() throws {
        let xen = try FakeXen()
        xen.grant([8], of: 3)
        let (_, error) = open("grant:3:8-9", on: xen)
        #expect(
            error?.text
                == "cannot open disk \"grant:3:8-9\": grant 9 of domain 3: no such grant")
        #expect(error?.exitCode == 1)
        #expect(open("grant:3:x", on: xen).error?.exitCode == 2)
        #expect(xen.now.left == [])
    }

    @Test("whatever call fails, nothing stays and one line says why")
    func everyFailure() throws {
        func xen() throws -> FakeXen {
            let xen = try FakeXen()
            xen.grant([8, 9], of: 3)
            return xen
        }
        let whole = try xen()
        #expect(open("grant:3:8-9", on: whole).error == nil)
        for call in 1...whole.now.calls.count {
            let xen = try xen()
            xen.change { $0.failing = (call, .noMemory) }
            let (bytes, error) = open("grant:3:8-9", on: xen)
            #expect(error != nil || bytes.count <= 2 * 4096, "call \(call)")
            let failed = whole.now.calls[call - 1]
            // A close or an unmapping that fails leaves what it was about.
            let isEnd = [SystemCall.Number.close, .unmap].contains { $0.rawValue == failed }
            if !isEnd { #expect(xen.now.left == [], "call \(call), number \(failed)") }
        }
    }
}
