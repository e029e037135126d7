// Moves and stores of many elements at once, beside the same one after the other.

import Testing

@testable import Mini

@Suite struct StringRunTests {
    private static let start = (0..<64).map { UInt8($0) &* 7 &+ 1 }

    @Test(
        "a copy onto itself a little further is as that of one element after the other",
        arguments: [1, 2, 4, 8])
    func overlap(element: Int) {
        for distance in -8...40 {
            for count in stride(from: 0, through: 16, by: element) {
                var (found, wanted) = (Self.start, Self.start)
                let isDone = found.withUnsafeMutableBytes { bytes in
                    let source = bytes.baseAddress! + 8
                    return StringRun.copy(
                        source + distance, source, UInt(count), element: UInt(element))
                }
                // Left to the slow way where an element would be read behind its own write.
                #expect(isDone == !(1..<element ~= distance))
                guard isDone else {
                    #expect(found == wanted)
                    continue
                }
                for place in stride(from: 8, to: 8 + count, by: element) {
                    let value = Array(wanted[place..<place + element])
                    wanted.replaceSubrange(
                        place + distance..<place + distance + element, with: value)
                }
                #expect(found == wanted, "distance \(distance), count \(count)")
            }
        }
    }

    @Test("a value fills whole elements and nothing beside them", arguments: [0, 1, 2, 3])
    func fill(size: UInt8) {
        let value: UInt = UInt(truncatingIfNeeded: 0x8877_6655_4433_2211 as UInt64)
        let element = 1 << Int(size)
        for count in stride(from: 0, through: 40, by: element) {
            var (found, wanted) = (Self.start, Self.start)
            found.withUnsafeMutableBytes { bytes in
                StringRun.fill(bytes.baseAddress! + 3, UInt(count), value, size: size)
            }
            for index in 0..<count {
                wanted[3 + index] = UInt8(truncatingIfNeeded: value >> UInt(8 * (index % element)))
            }
            #expect(found == wanted, "\(count) bytes")
        }
    }
}
