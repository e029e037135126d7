import Testing

@testable import Mini

@Suite struct DriverStatusTests {
    private let bytes: [(name: String, event: UInt8)] = [("a status", 3), ("0x80", 0x83), ("0", 0)]

    @Test("the page shows the transitions that a driver's words lead to, and no others")
    func page() throws {
        let walk = Walk(from: [DriverStatus()], bytes, name: { "\($0.stateName)" }) {
            status, byte in
            var next = status
            _ = next.write(byte)
            return "\(next.stateName)" == "\(status.stateName)" ? [] : [next]
        }
        #expect(walk.machines.count == 3)
        #expect(try transitionsOfPage("driver-status-machine.md") == walk.transitions)
    }

    @Test("a driver reads what it wrote, and only 0 makes the device forget")
    func written() {
        var status = DriverStatus()
        for byte in [1, 3, 7, 0, 0, 11, 0x8B, 0] as [UInt8] {
            let forgets = status.write(byte)
            #expect(forgets == (byte == 0) && status.byte == byte)
            #expect(status.isDriven == (byte != 0 && byte < 0x80))
            #expect(status.hasFailed == DriverStatus.isFailed(byte))
        }
    }

    @Test("one that has given up has said its last")
    func failed() {
        var status = DriverStatus()
        _ = status.write(0x83)
        for (byte, shown) in [(1, 0x83), (7, 0x83), (0x80, 0x80), (0xFF, 0xFF), (3, 0xFF)]
            as [(UInt8, UInt8)]
        {
            let forgets = status.write(byte)
            #expect(!forgets && status.byte == shown && !status.isDriven)
        }
    }
}
