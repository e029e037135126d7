import Testing

@testable import Mini

@Suite struct MissingInstructionTests {
    /// shlx %ecx, %edx, %edx: of Haswell's.
    private static let newer: [UInt8] = [0xC4, 0xE2, 0x71, 0xF7, 0xD2]

    @Test("a 64-bit guest's last instruction that is not there is known, with who wanted it")
    func long() throws {
        let machine = try LongMachine()
        machine.kernel([0x90])
        #expect(machine.processor.missing == nil)
        machine.kernel(Self.newer + [0x11, 0x22])
        #expect(machine.vector == 6)
        let missing = try #require(machine.processor.missing)
        #expect(missing.address == LongPlace.code)
        #expect(missing.bytes == 0xF422_11D2_F771_E2C4)
        #expect(missing.isKernel)
        #expect(
            missing.text
                == "an instruction that its processor does not offer: c4e271f7d21122f4, at 0x20000000"
        )
        var test = LongCase(
            registers: [UInt64](repeating: 0, count: 16),
            vectors: [UInt64](repeating: 0, count: 32), control: 0x1F80,
            rip: LongPlace.code + UInt64(LongPlace.codeSize) - 5, flags: 2)
        test.code = Self.newer
        #expect(machine.run(test, image: [0]).trap == 6)
        // To its page's end, and no farther.
        #expect(machine.processor.missing?.bytes == 0xD2_F771_E2C4)
        #expect(machine.processor.missing?.isKernel == false)
    }

    @Test("an instruction of a 32-bit guest that is not offered is told, by its linear address")
    func short() throws {
        let machine = try SystemMachine()
        #expect(machine.run(Self.newer) == .event(6))
        #expect(machine.processor.missing?.address == UInt64(SystemMachine.code))
        let bytes = try #require(machine.processor.missing).bytes
        #expect(bytes & 0xFFFF_FFFF_FFFF == 0xF4D2_F771_E2C4)
        #expect(machine.processor.missing?.isKernel == true)
    }

    @Test("to look at it changes nothing that the guest can see, where its page has gone by now")
    func unseen() throws {
        let machine = try LongMachine()
        machine.kernel(Self.newer)
        #expect(machine.vector == 6)
        // What was decoded runs on without its page, until the guest says that this has changed.
        machine.store(0x5000, 0)
        let core = machine.processor.core
        core.clearCurrentTLB()
        core.state.faultAddress = 0x1234
        core.state.missing = nil
        machine.kernel()
        #expect(machine.vector == 6 && machine.processor.missing == nil)
        #expect(core.state.faultAddress == 0x1234)
    }

    @Test("UD0, UD1 and UD2 are there to be undefined; nothing is known of them")
    func bugs() throws {
        for opcode in [0x0B, 0xB9, 0xFF] as [UInt8] {
            let machine = try LongMachine()
            machine.kernel([0x0F, opcode, 0xC0])
            #expect(machine.vector == 6)
            #expect(machine.processor.missing == nil)
            let narrow = try SystemMachine()
            #expect(narrow.run([0x0F, opcode, 0xC0]) == .event(6))
            #expect(narrow.processor.missing == nil)
        }
    }
}
