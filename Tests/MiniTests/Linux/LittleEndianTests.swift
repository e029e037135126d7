import Testing

@testable import Mini

@Suite struct LittleEndianTests {
    private let bytes: [UInt8] = [9, 0x78, 0x56, 0x34, 0x12, 0xEF, 0xCD, 0xAB, 0xFF]

    @Test("a number is read from where it is, in an array and in a part of one")
    func read() {
        #expect(LittleEndian.number(bytes[...], at: 1, 4) == 0x1234_5678)
        #expect(LittleEndian.number(bytes[...], at: 1, 8) == 0xFFAB_CDEF_1234_5678)
        #expect(LittleEndian.number(bytes[2...], at: 1, 2) == 0x1234)
        #expect(LittleEndian.number(bytes[...], at: 9, 0) == 0)
        #expect(LittleEndian.word(bytes, at: 5) == 0xFFAB_CDEF)
    }

    @Test("a number's lowest bytes are written, the lowest first")
    func write() {
        #expect(LittleEndian.bytes(0x1234_5678, 4) == [0x78, 0x56, 0x34, 0x12])
        #expect(LittleEndian.bytes(0x1234_5678, 2) == [0x78, 0x56])
        #expect(LittleEndian.bytes(1, 6) == [1, 0, 0, 0, 0, 0])
    }
}
