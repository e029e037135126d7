import Testing

@testable import Mini

@Suite struct BzImageTests {
    @Test("the setup header tells protocol, version, body and size")
    func header() {
        let bytes = BzImageSpec().bytes()
        ByteView.of(bytes) { file in
            let image = BzImage(file)
            #expect(image?.protocolVersion == 0x206)
            #expect(image?.version?.name == "2.6.23")
            #expect(image?.body == 2560)
            #expect(image?.payload == nil)
            #expect((image?.expectedSize ?? 0) / 16 == UInt64(bytes.count + 15) / 16)
        }
    }

    @Test("a header that says 0 setup sectors has four")
    func noSectors() {
        var bytes = BzImageSpec().bytes()
        bytes[0x1F1] = 0
        ByteView.of(bytes) { #expect(BzImage($0)?.body == 2560) }
    }

    @Test("what lacks the signature is no bzImage, at any length")
    func signature() {
        var bytes = BzImageSpec().bytes()
        bytes[0x202] = 0
        ByteView.of(bytes) { #expect(BzImage($0) == nil) }
        let whole = BzImageSpec().bytes()
        for count in 0..<0x208 {
            ByteView.of(Array(whole[..<count])) { #expect(BzImage($0) == nil) }
        }
    }

    @Test(
        "a version pointer that leads nowhere gives no version", arguments: [0, 0xFFFF] as [UInt16])
    func wildVersion(_ pointer: UInt16) {
        var bytes = BzImageSpec().bytes()
        bytes.put(pointer, at: 0x20E)
        ByteView.of(bytes) { #expect(BzImage($0).map { $0.version == nil } == true) }
    }

    @Test("a thousand false candidates are passed over, and then it ends")
    func manyCandidates() throws {
        var spec = BzImageSpec()
        let falseOne: [UInt8] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 2, 3, 7]
        spec.unpacker = Array(repeating: falseOne, count: 1000).flatMap { $0 }
        #expect(try loadKernel(spec.bytes()).kernel.format == .bzImage(member: spec.memberOffset))
        spec.unpacker = Array(repeating: falseOne, count: 2000).flatMap { $0 }
        let bytes = spec.bytes()
        #expect(throws: LoaderError.self) { try loadKernel(bytes) }
    }

    @Test(
        "a kernel that is not packed is not called corrupt for bytes that look like a gzip header")
    func notPacked() throws {
        /// - Parameter system: the tenth byte of what looks like a header; 3 is Unix.
        func refusal(_ system: UInt8, count: Int = 4, start: UInt32 = 0x10_0000) throws
            -> ImageError?
        {
            var spec = BzImageSpec()
            spec.unpacker = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 2, system]
            // Stored blocks, and a length that is not theirs.
            for left in stride(from: count, to: 0, by: -0x8000) {
                let size = UInt16(min(left, 0x8000))
                spec.unpacker.append(left > 0x8000 ? 0 : 1)
                spec.unpacker += [UInt8].little(UInt64(size), 2)
                spec.unpacker += [UInt8].little(UInt64(~size), 2)
                spec.unpacker += [UInt8](repeating: 0x90, count: Int(size))
            }
            spec.payload = Array("code as it runs".utf8)
            var bytes = spec.bytes()
            bytes.put(start, at: 0x214)
            let image = bytes
            let error = #expect(throws: LoaderError.self) { _ = try loadKernel(image) }
            guard case .image(_, let why)? = error else { return nil }
            return why
        }
        let lack = ImageError.noCompressedKernel(version: "2.6.23")
        #expect(try refusal(0xB6) == lack && lack.mayBePC)
        #expect(try refusal(0xB6, start: 0) == .realModeOnly)
        #expect(try refusal(0xB6, count: 0xFFFF) == lack)
        // Of one that a kernel's build may have written, or that gives much, it is worth knowing what is wrong.
        for damaged in [try refusal(3), try refusal(0xB6, count: 0x1_0000)] {
            guard case .damaged(.gzip, at: _, .wrongLength)? = damaged else {
                Issue.record("\(String(describing: damaged))")
                continue
            }
        }
    }

    @Test("the page offset is the first top byte that four loads have in common")
    func pageOffset() {
        func load(_ top: UInt8) -> [UInt8] { [0xA1, 0, 0, 0, top] }
        let three = load(0xB0) + load(0xB0) + load(0xB0)
        let code = three + load(0xC0) + load(0xC0) + load(0xC0) + load(0xC0) + load(0xB0)
        ByteView.of(code) { #expect(BzImage.pageOffset($0) == 0xC000_0000) }
        ByteView.of(three) { #expect(BzImage.pageOffset($0) == nil) }
        ByteView.of([]) { #expect(BzImage.pageOffset($0) == nil) }
    }
}
