// `mini-grant copy` as a whole.

import Foundation
import Testing

@testable import Mini

@Suite struct GrantCopyCommandTests {
    @Test("pages are copied out without being mapped")
    func out() throws {
        let file = try TemporaryFile()
        let xen = try threePages()
        #expect(
            grant("copy --domain 3 --ref 18,17 --offset 4095 --length 3", on: xen)
                == Ended(code: 0, output: "baa", errors: ""))
        #expect(
            grant("copy --domain 3 --ref 17,18,19 --out \(file.path)", on: xen).code == 0)
        #expect(file.content == pages("abc"))
        #expect(xen.now.maps.isEmpty && xen.now.nextMap == 1)
        #expect(xen.now.left == [])
    }

    @Test("pages are copied in without being mapped")
    func input() throws {
        let file = try TemporaryFile(pages("xyz"))
        let xen = try threePages { $0.input = Array("hello".utf8) }
        #expect(
            grant("copy --domain 3 --ref 17,18 --in - --offset 4093 --length 5", on: xen)
                == Ended(code: 0, output: "", errors: ""))
        #expect(xen.page(17, of: 3)[4092...].elementsEqual("ahel".utf8))
        #expect(xen.page(18, of: 3)[..<3].elementsEqual("lob".utf8))
        #expect(grant("copy --domain 3 --ref 17,18,19 --in \(file.path)", on: xen).code == 0)
        #expect(xen.page(19, of: 3).allSatisfy { $0 == UInt8(ascii: "z") })
    }

    @Test(
        "a file that is longer than what it is to fill is refused before anything is written",
        arguments: ["map", "copy"])
    func tooLong(command: String) throws {
        let file = try TemporaryFile(pages("xy") + "z")
        let xen = try threePages()
        let ended = grant("\(command) --domain 3 --ref 17,18 --in \(file.path)", on: xen)
        #expect(
            ended
                == Ended(
                    code: 2, output: "",
                    errors:
                        "mini-grant: \"\(file.path)\" has more than the 8192 bytes that are to be filled\n"
                ))
        // Whoever wants a part gets a part.
        let part = "\(command) --domain 3 --ref 17 --in \(file.path) --length 16"
        #expect(try grant(part, on: threePages()).code == 0)
        let piped = try threePages { $0.input = Array(pages("xy").utf8) + [1] }
        let other = grant("\(command) --domain 3 --ref 17,18 --in -", on: piped)
        #expect(
            other.errors
                == "mini-grant: \"-\" has more than the 8192 bytes that are to be filled\n")
        for xen in [xen, piped] {
            #expect(xen.page(17, of: 3).allSatisfy { $0 == UInt8(ascii: "a") })
            #expect(xen.now.left == [])
        }
    }

    @Test("what comes from a pipe fills the pages when all of it is there, and not before")
    func fromPipe() throws {
        for command in ["map", "copy"] {
            let xen = try threePages { $0.input = Array(pages("xy").utf8) }
            #expect(grant("\(command) --domain 3 --ref 17,18 --in -", on: xen).code == 0)
            #expect(xen.page(18, of: 3).allSatisfy { $0 == UInt8(ascii: "y") })
            let short = try threePages { $0.input = Array(pages("x").utf8) }
            #expect(grant("\(command) --domain 3 --ref 17,18 --in -", on: short).code == 2)
            #expect(short.page(17, of: 3).allSatisfy { $0 == UInt8(ascii: "a") })
        }
    }

    @Test("a large share goes in parts")
    func large() throws {
        let xen = try FakeXen()
        xen.grant(Array(100..<400), of: 3) { UInt8(truncatingIfNeeded: $0 % 251) }
        let references = (100..<400).map { "\($0)" }.joined(separator: ",")
        #expect(grant("copy --domain 3 --ref \(references) --offset 1", on: xen).code == 0)
        let output = xen.now.output
        #expect(output.count == 300 * 4096 - 1)
        #expect(
            output.indices.allSatisfy { output[$0] == UInt8(($0 + 1) / 4096 % 251) })
        #expect(xen.now.left == [])
    }

    @Test(
        "bad input gets a line and a code",
        arguments: [
            ("--domain 3 --ref 17 --in a --out b", 2, "--out does not go with --in"),
            ("--domain 3 --ref 17,20", 4, "grant 20 of domain 3: no such grant"),
            ("--domain 7 --ref 17", 4, "grant 17 of domain 7: no such domain"),
            (
                "--domain 3 --ref 17,18 --in /dev/null", 2,
                "\"/dev/null\" has only 0 of the 8192 bytes that are to be filled"
            ),
            (
                "--domain 3 --ref 17 --out /dev/full", 1,
                "cannot write \"/dev/full\": no space left on device (ENOSPC)"
            ),
        ])
    func badInput(words: String, code: Int32, line: String) throws {
        let xen = try threePages()
        #expect(
            grant("copy \(words)", on: xen)
                == Ended(code: code, output: "", errors: "mini-grant: \(line)\n"))
        #expect(xen.now.left == [])
    }

    @Test("a page for reading only is not written")
    func readOnly() throws {
        let xen = try FakeXen { $0.input = [1, 2, 3] }
        xen.grant([5], of: 3, isReadOnly: true)
        let ended = grant("copy --domain 3 --ref 5 --length 3 --in -", on: xen)
        #expect(ended.code == 4)
        #expect(
            ended.errors
                == "mini-grant: grant 5 of domain 3: not granted to this domain, or not for this\n")
    }

    @Test("a kernel that cannot copy says so")
    func tooOld() throws {
        let xen = try threePages { $0.hasCopy = false }
        #expect(
            grant("copy --domain 3 --ref 17", on: xen)
                == Ended(
                    code: 3, output: "",
                    errors:
                        "mini-grant: \"/dev/xen/gntdev\" of this kernel does not know GRANT_COPY\n"
                ))
    }

    @Test("whichever call fails, there is one line, and nothing is left")
    func everyCallFails() throws {
        let file = try TemporaryFile()
        failEveryCall("copy --domain 3 --ref 17,18,19 --out \(file.path)") { try threePages() }
    }
}
