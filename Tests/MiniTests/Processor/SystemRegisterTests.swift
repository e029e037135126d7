// Exact tests of the processor with ring 0: control and debug registers, FXSAVE, model-specific registers.

import Testing

@testable import Mini

@Suite struct SystemRegisterTests {
    typealias M = SystemMachine

    // MARK: Control registers

    @Test(
        "combinations of CR0 and bits of CR4 that do not exist are protection faults, and change nothing"
    )
    func controlRegisters() throws {
        let machine = try M()
        // Without PE; NW without CD.
        for value in [0x10, 0x2000_0011] as [UInt32] {
            #expect(machine.run(setControl(0, value)) == .event(13))
            #expect(machine.stacked(0) == 0)
        }
        #expect(machine.run(setControl(4, 1)) == .event(13))
        machine.run([0x0F, 0x20, 0xE3, 0x0F, 0x20, 0xC0])
        #expect(machine.processor[.ebx] == 0 as UInt32)
        #expect(machine.processor[.eax] == 0x11 as UInt32)
        // MCE: kernels set it unasked.
        #expect(machine.run(setControl(4, 0x40)) == .halt(false))
        // CR1, CR5 and the rest are no instructions.
        #expect(machine.run([0x0F, 0x20, 0xC8]) == .event(6))
        #expect(machine.run([0x0F, 0x22, 0xE8]) == .event(6))
    }

    @Test("SMSW and LMSW see CR0, and LMSW does not leave protected mode")
    func machineStatus() throws {
        let machine = try M()
        machine.run(load(0, 0xE) + [0x0F, 0x01, 0xF0, 0x0F, 0x01, 0xE3])
        #expect(machine.processor[.ebx] == 0x1F as UInt32)
        machine.run(load(0, 0) + [0x0F, 0x01, 0xF0, 0x0F, 0x01, 0xE3])
        #expect(machine.processor[.ebx] == 0x11 as UInt32)
    }

    @Test("CR0.TS and EM make x87 instructions #NM, MP and TS a wait; CLTS ends it")
    func taskSwitched() throws {
        let machine = try M()
        #expect(machine.run(setControl(0, 0x19) + [0xD9, 0xE8]) == .event(7))
        #expect(machine.run([0x9B]) == .halt(false))
        #expect(machine.run(setControl(0, 0x1B) + [0x9B]) == .event(7))
        #expect(machine.run([0x0F, 0x06, 0x9B, 0xD9, 0xE8]) == .halt(false))
        #expect(machine.run(setControl(0, 0x15) + [0xD9, 0xE8]) == .event(7))
    }

    @Test("debug registers are stored; DR4 and DR5 are others' names until CR4.DE")
    func debugRegisters() throws {
        let machine = try M()
        machine.run(load(0, 0x1234) + [0x0F, 0x23, 0xC0, 0x0F, 0x21, 0xC3])
        #expect(machine.processor[.ebx] == 0x1234 as UInt32)
        machine.run(load(0, 0) + [0x0F, 0x23, 0xE0, 0x0F, 0x21, 0xF3])
        #expect(machine.processor[.ebx] == 0xFFFF_0FF0 as UInt32)
        #expect(machine.run(setControl(4, 8) + [0x0F, 0x21, 0xE3]) == .event(6))
    }

    @Test("CR4.TSD keeps RDTSC from ring 3")
    func timeStampDisable() throws {
        let machine = try M()
        machine.processor.timeStamp = { 0x1_0000_0002 }
        #expect(machine.runUser([0x0F, 0x31, 0x0F, 0x0B]) == .event(6))
        #expect(machine.processor[.edx] == 1 as UInt32)
        #expect(machine.processor[.eax] == 2 as UInt32)
        machine.run(setControl(4, 4))
        #expect(machine.runUser([0x0F, 0x31]) == .event(13))
        #expect(machine.run([0x0F, 0x31]) == .halt(false))
    }

    // MARK: FXSAVE

    @Test(
        "FXSAVE stores the x87 without ending it, and FXRSTOR takes it back, pending exceptions included"
    )
    func fastSave() throws {
        let machine = try M()
        let place: UInt32 = 0x5000
        let save = [0x0F, 0xAE, 0x05] + immediate(place)
        let restore = [0x0F, 0xAE, 0x0D] + immediate(place)
        machine.memory.store32(place + 288, 0x1234_5678)
        // fninit, fld1, fldpi; fxsave; and what fnstsw says after it.
        machine.run([0xDB, 0xE3, 0xD9, 0xE8, 0xD9, 0xEB] + save + [0xDF, 0xE0])
        #expect(machine.word(place) == 0x3000_037F)
        #expect(machine.word(place + 4) & 0xFF == 0xC0)
        #expect(
            machine.bytes(place + 32, 10) == [
                0x35, 0xC2, 0x68, 0x21, 0xA2, 0xDA, 0x0F, 0xC9, 0, 0x40,
            ])
        #expect(machine.bytes(place + 48, 10) == [0, 0, 0, 0, 0, 0, 0, 0x80, 0xFF, 0x3F])
        #expect(machine.word(place + 288) == 0x1234_5678)
        #expect((machine.processor[.eax] as UInt32) & 0x3800 == 0x3000)
        // fninit; fxrstor; fistp
        machine.run([0xDB, 0xE3] + restore + [0xDB, 0x1D] + immediate(M.data))
        #expect(machine.word(M.data) == 3)
        // An exception that is pending and unmasked comes with the next waiting instruction.
        machine.memory.store32(place, 0x0001_037E)
        #expect(machine.run(setControl(0, 0x31) + restore) == .halt(false))
        #expect(machine.run([0x9B]) == .event(16))
        #expect(machine.run(save + restore) == .halt(false))
        #expect(machine.run([0xDB, 0xE3]) == .halt(false))
    }

    @Test("FXSAVE wants 16-byte places that can be written, and an x87 that is there")
    func fastSaveRefused() throws {
        let machine = try M()
        #expect(machine.run([0x0F, 0xAE, 0x05] + immediate(0x5008)) == .event(13))
        #expect(
            machine.run(setControl(0, 0x19) + [0x0F, 0xAE, 0x05] + immediate(0x5008)) == .event(7))
        machine.makeTables()
        machine.setEntry(0x6000, 0)
        machine.enablePaging()
        machine.memory.store32(0x5F00, 0)
        #expect(
            machine.run([0x0F, 0x06, 0xDB, 0xE3, 0x0F, 0xAE, 0x05] + immediate(0x5F00))
                == .event(14))
        #expect(machine.word(0x5F00) == 0)
    }

    // MARK: Model-specific registers

    @Test("unknown model-specific registers are protection faults")
    func unknownModelRegisters() throws {
        let machine = try M()
        for number in [0, 0x1A0, 0x2FE, 0xC000_0081, 0x4B56_4D02] as [UInt32] {
            #expect(machine.run(readModel(number)) == .event(13))
            #expect(machine.run(writeModel(number, 0)) == .event(13))
        }
        // SCE and LME are bits of 64-bit processors.
        #expect(machine.run(writeModel(0xC000_0080, 0x100)) == .event(13))
        #expect(machine.run(writeModel(0x277, 0x0007_0406_0007_0402)) == .event(13))
    }

    @Test("known ones read as they were written")
    func modelRegisters() throws {
        let machine = try M()
        for number in [0x174, 0x175, 0x176, 0x277] as [UInt32] {
            #expect(machine.run(writeModel(number, 0x0706)) == .halt(false))
            #expect(machine.run(readModel(number)) == .halt(false))
            #expect(machine.processor[.eax] == 0x0706 as UInt32)
        }
        machine.run(writeModel(0xC000_0080, 0x800) + readModel(0xC000_0080))
        #expect(machine.processor[.eax] == 0x800 as UInt32)
        machine.run(readModel(0x1B))
        #expect(machine.processor[.eax] == 0xFEE0_0100 as UInt32)
    }

    @Test("the time stamp goes on from what was written")
    func writtenTimeStamp() throws {
        let machine = try M()
        var now: UInt64 = 1000
        machine.processor.timeStamp = { now }
        machine.run(writeModel(0x10, 5_000_000_000))
        now += 7
        machine.run([0x0F, 0x31])
        #expect(machine.processor[.eax] == UInt32(5_000_000_007 & 0xFFFF_FFFF))
        #expect(machine.processor[.edx] == 1 as UInt32)
    }

    @Test(
        "KVM's clock says how to get from the stamp to nanoseconds: they are the same",
        arguments: [0x4B56_4D01, 0x12] as [UInt32])
    func clock(number: UInt32) throws {
        let machine = try M()
        machine.processor.timeStamp = { 0x2_0000_1234 }
        machine.run(writeModel(number, 0x5001))
        machine.run(readModel(0x4B56_4D01))
        #expect(machine.processor[.eax] == 0x5001 as UInt32)
        let page = (0..<8 as Range<UInt32>).map { machine.word(0x5000 + $0 * 4) }
        #expect(page[0] & 1 == 0 && page[0] != 0)
        #expect(page[2] == 0x1234 && page[3] == 2)
        #expect(page[4] == 0x1234 && page[5] == 2)
        // (stamp << 1) * 2^31 >> 32 is the stamp; and it is stable.
        #expect(page[6] == 0x8000_0000)
        #expect(page[7] & 0xFFFF == 0x101)
        // The guest was stopped, and the rest stays.
        machine.processor.tellStop()
        #expect(machine.word(0x501C) & 0xFFFF == 0x301)
        #expect((0..<7 as Range<UInt32>).map { machine.word(0x5000 + $0 * 4) } == Array(page[..<7]))
        // Off: nothing is written. Outside memory: likewise.
        machine.memory.store32(0x5000, 0)
        machine.memory.store32(0x501C, 0)
        #expect(machine.run(writeModel(0x4B56_4D01, 0x5000)) == .halt(false))
        machine.processor.tellStop()
        #expect(machine.word(0x5000) == 0 && machine.word(0x501C) == 0)
        #expect(machine.run(writeModel(0x4B56_4D01, 0xFFFF_FFFF_FFFF_FFF1)) == .halt(false))
        #expect(machine.run(writeModel(0x4B56_4D01, (8 << 20) - 31)) == .halt(false))
    }

    @Test("KVM's wall clock says when the guest began", arguments: [0x4B56_4D00, 0x11] as [UInt32])
    func wallClock(number: UInt32) throws {
        let machine = try M()
        machine.processor.timeStamp = { 3_000_000_000 }
        let before = Clock.realTime().count / 1_000_000_000 - 3
        machine.run(writeModel(number, 0x5000))
        let seconds = UInt64(machine.word(0x5004))
        #expect(seconds >= before && seconds <= before + 60)
        #expect(machine.word(0x5008) < 1_000_000_000)
        #expect(machine.word(0x5000) & 1 == 0)
    }
}
