import Testing

@testable import Mini

@Suite struct ByteViewTests {
    @Test("nothing is read outside, nor at offsets that no pointer could hold")
    func bounds() {
        ByteView.of([1, 2, 3, 4, 5]) { view in
            #expect(view.word(1) == 0x0504_0302)
            #expect(view.word(2) == nil && view.word(-1) == nil && view.word(.max) == nil)
            #expect(view.byte(4) == 5 && view.byte(5) == nil)
            #expect(view.slice(2, 3)?.half(1) == 0x0504)
            #expect(
                view.slice(2, 4) == nil && view.slice(6, 0) == nil && view.slice(1, .max) == nil)
        }
        ByteView.of([]) { view in
            #expect(view.byte(0) == nil && view.find("abcd") == nil)
        }
    }

    @Test("a text is found where it first is, as a plain search finds it")
    func find() {
        var random = SeededGenerator(seed: 3)
        for _ in 0..<500 {
            let bytes = (0..<60).map { _ in UInt8.random(in: 0x61...0x62, using: &random) }
            let plain = (0...56).first { Array(bytes[$0..<($0 + 4)]) == Array("abba".utf8) }
            ByteView.of(bytes) { #expect($0.find("abba") == plain) }
        }
    }
}
