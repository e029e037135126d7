import Testing

@testable import Mini

@Suite struct ProcessorSegmentTests {
    typealias M = ProcessorMachine
    /// mov %ax, %ds with the selector.
    func load(_ modrm: UInt8, _ selector: UInt16) -> [UInt8] {
        Assemble.mov(.eax, UInt32(selector)) + [0x8E, modrm]
    }
    let ds: UInt8 = 0xD8
    let ss: UInt8 = 0xD0
    let es: UInt8 = 0xC0
    let cs: UInt8 = 0xC8

    @Test("a null selector loads into data segments and faults when used")
    func null() throws {
        let machine = try M()
        #expect(machine.run(load(ds, 0) + Assemble.load(M.data)) == .trap(13, 0))
        #expect(machine.processor.eip == M.code + 7, "the load is fine, the use is not")
        #expect(machine.processor.selector(.ds) == 0)
    }

    struct Refusal: CustomTestStringConvertible {
        let testDescription: String
        let target: UInt8
        let selector: UInt16
        let access: UInt64?
        let seen: ProcessorMachine.Seen
    }

    static let refusals: [Refusal] = [
        .init(
            testDescription: "null into ss", target: 0xD0, selector: 0, access: nil,
            seen: .trap(13, 0)),
        .init(
            testDescription: "null with RPL 1 into ss", target: 0xD0, selector: 1, access: nil,
            seen: .trap(13, 0)),
        .init(
            testDescription: "beyond the table", target: 0xD8, selector: 0x101, access: nil,
            seen: .trap(13, 0x100)),
        .init(
            testDescription: "the local table, of which there is none", target: 0xD8,
            selector: 0xD5, access: 0xF3, seen: .trap(13, 0xD4)),
        .init(
            testDescription: "data not present", target: 0xD8, selector: 0xD1, access: 0x33,
            seen: .trap(11, 0xD0)),
        .init(
            testDescription: "stack not present", target: 0xD0, selector: 0xD1, access: 0x33,
            seen: .trap(12, 0xD0)),
        .init(
            testDescription: "execute-only code as data", target: 0xD8, selector: 0xD1,
            access: 0xB9, seen: .trap(13, 0xD0)),
        .init(
            testDescription: "read-only data as a stack", target: 0xD0, selector: 0xD1,
            access: 0xB1, seen: .trap(13, 0xD0)),
        .init(
            testDescription: "code as a stack", target: 0xD0, selector: 0xD1, access: 0xBB,
            seen: .trap(13, 0xD0)),
        .init(
            testDescription: "a stack of another ring", target: 0xD0, selector: 0xD3, access: 0xF3,
            seen: .trap(13, 0xD0)),
        .init(
            testDescription: "a stack with another DPL", target: 0xD0, selector: 0xD1, access: 0xF3,
            seen: .trap(13, 0xD0)),
        .init(
            testDescription: "data with RPL above its DPL", target: 0xD8, selector: 0xD3,
            access: 0xB3, seen: .trap(13, 0xD0)),
        .init(
            testDescription: "a system descriptor as data", target: 0xD8, selector: 0xD1,
            access: 0xAB, seen: .trap(13, 0xD0)),
    ]

    @Test("a load that the rules refuse faults with the selector", arguments: refusals)
    func refused(_ refusal: Refusal) throws {
        let machine = try M()
        if let access = refusal.access {
            machine.processor.setDescriptor(26, machine.descriptor(access))
        }
        #expect(machine.run(load(refusal.target, refusal.selector)) == refusal.seen)
        #expect(machine.processor.eip == M.code + 5)
        #expect(machine.processor.selector(.ds) == M.kernelData)
        #expect(machine.processor.selector(.ss) == M.kernelData)
    }

    @Test("loading cs with mov is no instruction")
    func codeSegment() throws {
        let machine = try M()
        #expect(machine.run(load(cs, 0x61)) == .trap(6, 0))
    }

    @Test("ring 3 cannot load the kernel's data segment")
    func userLoadsKernelData() throws {
        let machine = try M()
        machine.enterUser()
        #expect(machine.run(load(ds, 0x68)) == .trap(13, 0x68))
        #expect(machine.run(load(ds, 0x6B)) == .trap(13, 0x68))
    }

    @Test("a selector with RPL 0 is fine in ring 1 when the descriptor's DPL is 1")
    func lowRequest() throws {
        let machine = try M()
        #expect(machine.run(load(ds, 0x68) + Assemble.load(M.data) + [0xCC]) == .breakpoint)
        #expect(machine.processor.selector(.ds) == 0x68)
    }

    @Test("a load sets the accessed bit")
    func accessed() throws {
        let machine = try M()
        machine.processor.setDescriptor(26, machine.descriptor(0xB2))
        #expect(machine.run(load(ds, 0xD1) + [0xCC]) == .breakpoint)
        #expect(machine.processor.descriptor(26) >> 40 & 0xFF == 0xB3)
    }

    @Test("a segment's base is added to an address")
    func base() throws {
        let machine = try M()
        machine.processor.setDescriptor(26, machine.descriptor(0xB3, base: M.data))
        machine.put([1, 2, 3, 4], at: M.data + 0x10)
        // mov %fs:0x10, %eax
        #expect(
            machine.run(load(0xE0, 0xD1) + [0x64] + Assemble.load(0x10) + [0xCC]) == .breakpoint)
        #expect(machine.processor[.eax] == 0x0403_0201)
    }

    @Test("an access past the limit faults: data 13, stack 12")
    func limits() throws {
        let machine = try M()
        machine.processor.setDescriptor(26, machine.descriptor(0xB3, limit: 0x20FFF, flags: 4))
        #expect(machine.run(load(ds, 0xD1) + Assemble.load(0x20FFC) + [0xCC]) == .breakpoint)
        #expect(machine.run(load(ds, 0xD1) + Assemble.load(0x20FFD)) == .trap(13, 0))
        #expect(machine.run(load(ds, 0xD1) + Assemble.load(0xFFFF_FFFE)) == .trap(13, 0))
        machine.processor.setDescriptor(27, machine.descriptor(0xB3, limit: 0x7FFF, flags: 4))
        #expect(machine.run(load(ss, 0xD9) + [0x50]) == .trap(12, 0))
        #expect(machine.processor[.esp] == M.kernelStack)
    }

    @Test("an expand-down segment begins above its limit")
    func expandDown() throws {
        let machine = try M()
        machine.processor.setDescriptor(26, machine.descriptor(0xB7, limit: 0x1FFFF, flags: 4))
        #expect(machine.run(load(ds, 0xD1) + Assemble.load(0x20000) + [0xCC]) == .breakpoint)
        #expect(machine.run(load(ds, 0xD1) + Assemble.load(0x1FFFF)) == .trap(13, 0))
    }

    @Test("data cannot be written through code or read-only segments")
    func readOnly() throws {
        for access in [0xB1, 0xBB] as [UInt64] {
            let machine = try M()
            machine.processor.setDescriptor(26, machine.descriptor(access))
            #expect(machine.run(load(ds, 0xD1) + Assemble.load(M.data) + [0xCC]) == .breakpoint)
            #expect(machine.run(load(ds, 0xD1) + Assemble.store(M.data)) == .trap(13, 0))
        }
        let machine = try M()
        // mov %eax, %cs:data
        #expect(machine.run([0x2E] + Assemble.store(M.data)) == .trap(13, 0))
    }

    @Test("code cannot run past the limit of its segment")
    func codeLimit() throws {
        let machine = try M()
        machine.processor.setDescriptor(26, machine.descriptor(0xBB, limit: M.code + 1, flags: 4))
        machine.put([0x90, 0x90, 0x90])
        #expect(machine.processor.setSegment(.cs, 0xD1))
        machine.processor.eip = M.code
        #expect(machine.proceed() == .trap(13, 0))
        #expect(machine.processor.eip == M.code + 2)
    }

    @Test("a 16-bit code segment has 16-bit operands and addresses")
    func sixteenBit() throws {
        let machine = try M()
        machine.processor.setDescriptor(26, machine.descriptor(0xBB, base: M.code, flags: 0))
        machine.processor[.eax] = 0x1234_5678
        machine.put([0xB8, 0x11, 0x22, 0xCC])
        #expect(machine.processor.setSegment(.cs, 0xD1))
        machine.processor.eip = 0
        #expect(machine.proceed() == .breakpoint)
        #expect(machine.processor[.eax] == 0x1234_2211)
        #expect(machine.processor.eip == 4)
    }

    @Test("the host's reload notices a descriptor that went bad, and takes a changed base")
    func reload() throws {
        let machine = try M()
        machine.processor.setDescriptor(26, machine.descriptor(0xB3, base: 0x100))
        machine.run(load(0xE8, 0xD1) + [0xCC])
        #expect(machine.processor.reloadSegments())
        machine.processor.setDescriptor(26, machine.descriptor(0xB3, base: M.data))
        #expect(machine.processor.reloadSegments())
        machine.put([7, 0, 0, 0], at: M.data)
        machine.run([0x65] + Assemble.load(0) + [0xCC])
        #expect(machine.processor[.eax] == 7)
        machine.processor.setDescriptor(26, 0)
        #expect(!machine.processor.reloadSegments())
    }

    @Test("verr, verw, lar and lsl look without touching")
    func looking() throws {
        let machine = try M()
        machine.processor.setDescriptor(26, machine.descriptor(0xB1, limit: 0x1234, flags: 4))
        // verr %ax ; setz %bl ; verw %ax ; setz %bh ; lsl %eax, %ecx ; lar %eax, %edx
        let code: [UInt8] =
            Assemble.mov(.eax, 0xD1) + [0x0F, 0x00, 0xE0, 0x0F, 0x94, 0xC3]
            + [0x0F, 0x00, 0xE8, 0x0F, 0x94, 0xC7, 0x0F, 0x03, 0xC8, 0x0F, 0x02, 0xD0, 0xCC]
        #expect(machine.run(code) == .breakpoint)
        #expect(machine.processor[.ebx] & 0xFFFF == 0x0001)
        #expect(machine.processor[.ecx] == 0x1234)
        #expect(machine.processor[.edx] & 0xFFFF00 == 0x40B100)
    }

    @Test(
        "an instruction whose segment check faults counts, so that a guest of nothing else comes back"
    )
    func faultsOfChecksCount() throws {
        let machine = try ProcessorMachine()
        // mov eax, fs:[0], with nothing in fs.
        let before = machine.processor.instructionCount
        #expect(machine.run([0x64, 0xA1, 0, 0, 0, 0]) == .trap(13, 0))
        #expect(machine.processor.instructionCount - before == 1)
        // A handler that only faults the same way, on a stack that has no end.
        let handler: UInt32 = 0x18000
        machine.processor.setGate(
            13,
            .direct(
                selector: ProcessorMachine.kernelCode, offset: handler, privilege: 0, isTrap: true))
        machine.put([0x64, 0xA1, 0, 0, 0, 0], at: handler)
        #expect(machine.run([0x64, 0xA1, 0, 0, 0, 0], limit: 100) == .slice)
    }
}
