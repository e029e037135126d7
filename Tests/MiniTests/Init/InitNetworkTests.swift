// The boot table's words for the network, and the kernel's messages about it. With real devices: Tests/system/init.sh.

import Testing

@testable import Mini

private func read(_ file: String) -> BootTableReader {
    var reader = BootTableReader(InnerPrograms(run: { _ in nil }, complaint: { _ in nil }))
    reader.read(file: Text(stringLiteral: file), name: "t")
    reader.finish()
    return reader
}

@Suite struct InitNetworkTests {
    @Test("devices, bridges and routes with all that they can have")
    func written() throws {
        let reader = read(
            "bridge br0\nlink eth0 mac=fe:ff:ff:ff:ff:fe bridge=br0 flush address=10.0.0.1/24 address=fd00::1/64 up keep deadline=3s\nroute default via=10.0.0.254\nroute fd00::/8 dev=eth0\nlink lo down"
        )
        #expect(reader.errors == [])
        let eth0 = try #require(InterfaceName("eth0"))
        let br0 = try #require(InterfaceName("br0"))
        #expect(
            reader.table.statements.map { $0.request } == [
                .bridge(br0),
                .link(
                    LinkRequest(
                        name: eth0, hardware: HardwareAddress([0xFE, 255, 255, 255, 255, 0xFE]),
                        bridge: br0, isFlushed: true,
                        addresses: [
                            try #require(InternetNetwork("10.0.0.1/24")),
                            try #require(InternetNetwork("fd00::1/64")),
                        ], state: .up, stays: true, patience: .milliseconds(3000))),
                .route(RouteRequest(gateway: InternetNetwork("10.0.0.254"))),
                .route(RouteRequest(destination: InternetNetwork("fd00::/8"), device: eth0)),
                .link(LinkRequest(name: try #require(InterfaceName("lo")), state: .down)),
            ])
    }

    @Test(
        "what is wrong is told where it stands",
        arguments: [
            ("bridge", "t:1:1: the device is missing; usage: bridge NAME"),
            (
                "link toolongforthekernel up",
                "t:1:6: \"toolongforthekernel\" is not a network device's name: 1 to 15 bytes"
            ),
            (
                "link e mac=1:2:3:4:5:6",
                "t:1:8: \"1:2:3:4:5:6\" is not an Ethernet address as 02:00:00:00:00:01"
            ),
            (
                "link e address=10.0.0/8",
                "t:1:8: \"10.0.0/8\" is not an address as 10.0.0.1/24 or fd00::1/64"
            ),
            (
                "link e address=10.0.0.1/33",
                "t:1:8: \"10.0.0.1/33\" is not an address as 10.0.0.1/24 or fd00::1/64"
            ),
            ("link e wake", "t:1:8: unknown option \"wake\""),
            (
                "route 10.0.0.256 dev=e",
                "t:1:7: \"10.0.0.256\" is not default or a network as 10.0.0.0/24"
            ),
            (
                "route default",
                "t:1:1: via or dev is missing; usage: route default | NETWORK [via=ADDRESS] [dev=NAME]"
            ),
        ])
    func wrong(line: String, wanted: String) {
        #expect(read(line).errors.map { string($0.text) } == [wanted])
    }

    @Test("addresses of both versions")
    func addresses() {
        #expect(InternetNetwork("10.0.0.1/8")?.bytes == [10, 0, 0, 1])
        #expect(InternetNetwork("10.0.0.1")?.prefix == 32)
        let six: [(Text, [UInt8])] = [
            ("::", [UInt8](repeating: 0, count: 16)),
            ("::1/64", [UInt8](repeating: 0, count: 15) + [1]),
            (
                "fe80::abcd:1",
                [0xFE, 0x80] + [UInt8](repeating: 0, count: 10) + [0xAB, 0xCD, 0, 1]
            ),
            ("1:2:3:4:5:6:7:8", [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8]),
            ("1::", [0, 1] + [UInt8](repeating: 0, count: 14)),
        ]
        for (word, bytes) in six {
            #expect(InternetNetwork(word)?.bytes == bytes, "\(string(word))")
        }
        for word: Text in [
            "", "/", "1.2.3", "1.2.3.4.5", "1.2.3.x", "1.2.3.4/", "1.2.3.4/x", "1.2.3.0004", ":",
            ":::",
            "1::2::3", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7", "12345::", "1:", "::1/129", "x::",
            "1:2:3:4:5:6:7::8:9",
        ] { #expect(InternetNetwork(word) == nil, "\(string(word))") }
    }

    @Test("a message has its length, its record and its attributes in whole words")
    func message() {
        var message = RouteMessage(.newLink, [.acknowledge, .create], record: [1, 2, 3, 4])
        message.append(3, [65, 0])
        #expect(
            message.bytes == [
                28, 0, 0, 0, 16, 0, 5, 4, 1, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 6, 0, 3, 0, 65, 0, 0,
                0,
            ])
        let replies = RouteReply.all(in: message.bytes + message.bytes + [1, 2])
        #expect(replies.count == 2 && replies[0].kind == 16)
        #expect(replies[1].attribute(3, behind: 4) == [65, 0])
        #expect(replies[1].attribute(4, behind: 4) == nil && replies[1].number(at: 40, 4) == 0)
        let refusal = RouteReply(kind: 2, record: [0xED, 0xFF, 0xFF, 0xFF])
        #expect(refusal.errno == 19)
    }

    @Test("an address of version 6 does not wait for others to claim it")
    func setAddresses() throws {
        for (word, start) in [
            ("10.0.0.1/24", [2, 24, 0, 0, 7, 0, 0, 0]), ("fd00::1/64", [10, 64, 2, 0, 7, 0, 0, 0]),
        ] as [(Text, [UInt8])] {
            let address = try #require(InternetNetwork(word))
            let message = InitNetwork.setting(address, 7)
            let record = message.bytes.dropFirst(RouteMessage.headerSize)
            #expect(Array(record.prefix(8)) == start, "\(string(word))")
            let reply = RouteReply(kind: 20, record: Array(record))
            #expect(reply.attribute(1, behind: 8) == address.bytes)
            #expect(reply.attribute(2, behind: 8) == address.bytes)
        }
    }

    @Test("the kernel's numbers are told as what they mean for devices")
    func failures() {
        for (errno, why) in [
            (.tooManyLinks, "a bridge does not go into another"),
            (.accessDenied, "IPv6 is switched off there (disable_ipv6)"),
            (.notPermitted, "operation not permitted (EPERM)"),
        ] as [(Errno, String)] {
            #expect(
                string(InitNetwork.failure("set the address of", "lo", errno).text)
                    == "cannot set the address of \"lo\": \(why)")
        }
    }

    @Test("a bridge is known by the kind that the kernel says of it")
    func bridges() {
        func isBridge(_ kind: [UInt8], as attribute: UInt16 = 18) -> Bool {
            var message = RouteMessage(.newLink, [], record: [UInt8](repeating: 0, count: 16))
            message.append(3, [65, 0])
            message.append(attribute, RouteMessage.attribute(1, kind))
            return RouteReply.all(in: message.bytes).contains { InitNetwork.isBridge($0) }
        }
        #expect(isBridge(Array("bridge\0".utf8)) && isBridge(Array("bridge".utf8)))
        #expect(!isBridge(Array("bridge2\0".utf8)) && !isBridge(Array("dummy\0".utf8)))
        #expect(!isBridge([]) && !isBridge(Array("bridge\0".utf8), as: 17))
        #expect(!InitNetwork.isBridge(RouteReply(kind: 16, record: [])))
    }

    @Test("whatever bytes come as an answer, nothing outside them is looked at")
    func random() {
        var generator = SplitMix(seed: 11)
        for _ in 0..<20000 {
            var bytes = (0..<Int.random(in: 0..<80, using: &generator)).map { _ in
                UInt8.random(in: 0...255, using: &generator)
            }
            // Lengths that could be.
            if bytes.count > 20 && Bool.random(using: &generator) {
                bytes[0] = UInt8.random(in: 0...80, using: &generator)
                (bytes[1], bytes[2], bytes[3]) = (0, 0, 0)
                bytes[16] = UInt8.random(in: 0...40, using: &generator)
                bytes[17] = 0
            }
            for reply in RouteReply.all(in: bytes) {
                _ = reply.errno
                for number: UInt16 in 0..<4 {
                    #expect((reply.attribute(number, behind: 0)?.count ?? 0) <= bytes.count)
                }
                _ = reply.attribute(1, behind: 100)
            }
        }
    }
}
