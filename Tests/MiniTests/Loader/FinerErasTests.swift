import Testing

@testable import Mini

private func era(_ bytes: [UInt8]) -> GuestABI.Era? {
    ByteView.of(bytes) { image in
        guard case .dma(let era, _, _) = Recognition(image: image, origin: 0x10_0000).dialect else {
            return nil
        }
        return era
    }
}

/// A kernel with the console's input record in its data.
private func withRecord(_ layout: GuestABI.DMALayout, at offset: Int, spoilt: Int? = nil) -> [UInt8]
{
    var spec = KernelSpec()
    spec.era = .era0
    var bytes = spec.bytes()
    bytes.put([UInt8](repeating: 0, count: 100), at: offset)
    bytes.put(UInt32(0x12_3456), at: offset + Int(layout.addresses))
    bytes.put(UInt16(256), at: offset + Int(layout.lengths))
    if let spoilt { bytes[offset + spoilt] = 1 }
    return bytes
}

/// A kernel with code that stores registers into the first record of its ring.
private func withStores(_ stores: [(register: UInt8, word: UInt32)], indexed: Bool) -> [UInt8] {
    let spec = KernelSpec()
    var bytes = spec.bytes()
    var at = 0x900
    for store in stores {
        var code: [UInt8] = [0x89, 0x80 | store.register << 3 | (indexed ? 4 : 0)]
        if indexed { code.append(0x08) }
        bytes.put(code, at: at)
        at += code.count
        bytes.put(spec.pageOffset + spec.dataAddress + 84 + 4 * store.word, at: at)
        at += 4
    }
    return bytes
}

@Suite struct FinerErasTests {
    @Test(
        "the console's record tells 1a from 0, before and behind lguest_data",
        arguments: [
            0x900, 0x2400,
        ])
    func records(_ offset: Int) {
        #expect(era(withRecord(.addressesFirst, at: offset)) == .era0)
        #expect(era(withRecord(.lengthsFirst, at: offset)) == .era1a)
    }

    @Test("what is not exactly such a record tells nothing: era 0 stays")
    func noRecord() {
        for spoilt in [0, 8, 34, 40, 99] {
            #expect(era(withRecord(.lengthsFirst, at: 0x2400, spoilt: spoilt)) == .era0)
        }
    }

    @Test(
        "where the arguments' registers go in the ring tells 1b from 1", arguments: [false, true])
    func stores(_ indexed: Bool) {
        let straight = withStores([(0, 0), (2, 1), (3, 2), (1, 3)], indexed: indexed)
        let turned = withStores([(0, 0), (2, 3), (3, 1), (1, 2)], indexed: indexed)
        #expect(era(straight) == .era1)
        #expect(era(turned) == .era1b)
        #expect(era(withStores([], indexed: indexed)) == .era1)
    }

    @Test("no beginning of an image is too short to look at")
    func short() {
        let bytes = withRecord(.lengthsFirst, at: 0x900)
        for length in stride(from: 0, to: bytes.count, by: 61) {
            ByteView.of(Array(bytes[..<length])) { image in
                _ = FinerEras.dmaLayout(image, near: length / 2)
                _ = FinerEras.ringOrder(image, data: .max, of: GuestABI.all)
            }
        }
    }
}
