import Testing

@testable import Mini

@Suite struct XenStoreWireTests {
    @Test("a request is a header of four little-endian words and its payload")
    func request() throws {
        let path = try StorePath("/local/domain/1")
        let message = StoreMessage(
            type: StoreRequest.write(path, value: [1, 0, 2]).type.rawValue, request: 0x0102_0304,
            transaction: 7, payload: StoreRequest.write(path, value: [1, 0, 2]).payload)
        #expect(
            message.bytes == [11, 0, 0, 0, 4, 3, 2, 1, 7, 0, 0, 0, 19, 0, 0, 0]
                + Array("/local/domain/1".utf8) + [0, 1, 0, 2])
    }

    @Test("every request has the kind and the payload of docs/abi/xen-grants.md §7")
    func requests() throws {
        let path = try StorePath("a/b")
        let table: [(StoreRequest, UInt32, String)] = [
            (.list(path), 1, "a/b\0"), (.read(path), 2, "a/b\0"),
            (.getPermissions(path), 3, "a/b\0"), (.watch(path, token: "t"), 4, "a/b\0t\0"),
            (.unwatch(path, token: "t"), 5, "a/b\0t\0"), (.startTransaction, 6, "\0"),
            (.endTransaction(commit: true), 7, "T\0"), (.endTransaction(commit: false), 7, "F\0"),
            (.write(path, value: Array("v".utf8)), 11, "a/b\0v"),
            (.makeDirectory(path), 12, "a/b\0"), (.remove(path), 13, "a/b\0"),
            (.isIntroduced(DomainID(3)!), 17, "3\0"),
            (.setPermissions(path, StorePermissions(["n0", "r3"])!), 14, "a/b\0n0\0r3\0"),
            (.listPart(path, offset: 4000), 22, "a/b\04000\0"),
        ]
        for (request, type, payload) in table {
            #expect(request.type.rawValue == type)
            #expect(string(request.payload) == payload)
        }
    }

    @Test("messages are the same however the pieces are cut", arguments: 0..<200 as Range<UInt64>)
    func pieces(seed: UInt64) throws {
        var random = SplitMix(seed: seed)
        let messages = (0..<5).map { _ in
            StoreMessage(
                type: .random(in: 0...30, using: &random),
                request: .random(in: 0 ... .max, using: &random),
                transaction: .random(in: 0 ... .max, using: &random),
                payload: (0..<[0, 1, 17, 4096].randomElement(using: &random)!).map { _ in
                    .random(in: 0...255, using: &random)
                })
        }
        let bytes = messages.flatMap(\.bytes)
        var assembler = StoreAssembler()
        var received: [StoreMessage] = []
        var position = 0
        while position < bytes.count {
            let end = min(bytes.count, position + .random(in: 1...5000, using: &random))
            assembler.append(bytes[position..<end])
            position = end
            while let message = try assembler.next() { received.append(message) }
        }
        #expect(received == messages)
    }

    @Test("a length above 4096 is refused as soon as the header is there")
    func tooLong() throws {
        var assembler = StoreAssembler()
        var bytes = StoreMessage(type: 2).bytes
        bytes[12...13] = [0x01, 0x10]
        assembler.append(bytes[..<15])
        #expect(try assembler.next() == nil)
        assembler.append(bytes[15...])
        #expect(throws: StoreAssembler.Violation.tooLong(4097)) { try assembler.next() }
    }

    @Test("strings end with NUL, the last one perhaps without")
    func strings() {
        func strings(_ payload: String) -> [Text] {
            StoreMessage(type: 1, payload: Array(payload.utf8)).strings
        }
        #expect(strings("") == [])
        #expect(strings("a\0b\0") == ["a", "b"])
        #expect(strings("a\0b") == ["a", "b"])
        #expect(strings("\0") == [""])
        #expect(strings("a\0\0") == ["a", ""])
    }
}
