import Testing

@testable import Mini

@Suite struct RemarksTests {
    @Test("each thing is said once, and not without end")
    func remarks() {
        var lines: [String] = []
        let remarks = Remarks { lines.append(string($0)) }
        for _ in 0..<3 { for name in ["one", "two"] as [Text] { remarks.note(name) } }
        #expect(lines == ["one", "two"])
        for number in 0..<1000 { remarks.note("number \(number)") }
        #expect(lines.count == 33)
        #expect(lines.last == "more of the kind is not told")
    }
}
