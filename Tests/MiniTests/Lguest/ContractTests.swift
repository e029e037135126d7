import Testing

@testable import Mini

@Suite struct ContractTests {
    private let request = InitializeRequest(
        pageLimit: 0x2001, pageDirectory: 0x1FF_F000, start: 0xC029_90CC, pageOffset: 0xC000_0000)

    @Test("INITIALIZE has the words of its era")
    func words() {
        func words(_ era: GuestABI.Era) -> [UInt32] {
            request.words(GuestABI(era: era), base: 0x2000_0000)
        }
        let common: [UInt32] = [0x2001, 0x1FF_F000, 0xC029_90CC]
        #expect(words(.era0) == [0] + common + [0xC000_0000])
        #expect(words(.era0b) == [0] + common + [0xC000_0000])
        for era in [GuestABI.Era.era1a, .era1, .era1b] {
            #expect(words(era) == [0, 0x2000_0000] + common + [0xC000_0000])
        }
        #expect(words(.era1c) == [0, 0x2000_0000] + common)
    }

    /// Written against the contract alone, as the launcher is.
    private func lastWords<Device: LguestDevice>(_ device: Device) -> RunResult? {
        do throws(Errno) {
            _ = try device.run()
            return nil
        } catch {
            return error == .noSuchFile ? try? device.run() : nil
        }
    }

    @Test("the built-in host speaks the contract")
    func builtIn() throws {
        let memory = try GuestMemory(count: 0x10_0000)
        let device = try Host(memory: memory, abi: GuestABI(era: .era1))
        #expect(throws: Errno.invalid) { try device.run() }
        let count = try device.initialize(
            .init(pageLimit: 256, pageDirectory: 0, start: 0, pageOffset: 0xC000_0000))
        #expect(count == 20)
        try device.interrupt(3)
        #expect(throws: Errno.noSuchFile) { try device.dmaBuffer(0) }
        try device.breakOut(true)
        #expect(throws: Errno.again) { try device.run() }
        try device.breakOut(false)
        #expect(lastWords(device) == .reason("unhandled trap 14 at 0x0 (0x0)"))
        device.close()
        #expect(throws: Errno.badDescriptor) { try device.run() }
    }
}
