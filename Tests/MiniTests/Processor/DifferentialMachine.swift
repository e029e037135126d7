// The software processor in the situation of a 32-bit process under a 64-bit kernel: the same
// linear addresses, CPL 3, the same selectors.

@testable import Mini

final class SoftwareMachine: DifferentialMachine {
    let hasIntelsWays = true
    private let memory: GuestMemory
    private let processor: SoftwareProcessor
    private var image: CaseImage
    private static let directory: UInt32 = 0x1000
    private static let dataTable: UInt32 = 0x2000
    private static let codeTable: UInt32 = 0x3000

    init(image: [UInt8]) throws {
        memory = try GuestMemory(count: 0x2_0000)
        processor = try SoftwareProcessor(memory: memory, profile: .lguest)
        self.image = CaseImage(image, in: memory, at: 0x8000)
        prepareMemory()
        for (index, value) in CaseImage.descriptors { processor.setDescriptor(index, value) }
        // INT3, INTO and INT1 may be raised by anyone; so may be what the host does not use.
        processor.setGate(3, .exit(privilege: 3))
        processor.setGate(4, .exit(privilege: 3))
    }

    private func prepareMemory() {
        processor.pageDirectory = Self.directory
        memory.store32(Self.directory + 4 * (CaseMemory.data >> 22), Self.dataTable | 7)
        memory.store32(Self.directory + 4 * (CaseMemory.code >> 22), Self.codeTable | 7)
        image.eachPage { page, entry in
            let table = page >= CaseMemory.code ? Self.codeTable : Self.dataTable
            memory.store32(table + 4 * (page >> 12 & 0x3FF), entry)
        }
    }

    /// Runs a case from the image to its end, and puts the image back.
    func run(_ test: DifferentialCase) -> CaseEnding {
        let code = test.code
        image.place(code, at: test.eip)
        let registers: [ProcessorRegister] = [
            .eax, .ecx, .edx, .ebx, .esp, .ebp, .esi, .edi,
        ]
        for (register, value) in zip(registers, test.registers) { processor[register] = value }
        let segments: [ProcessorSegment] = [.es, .cs, .ss, .ds, .fs, .gs]
        let selectors: [UInt16] = [0x2B, 0x23, 0x2B, 0x2B, test.fs, test.gs]
        for (segment, selector) in zip(segments, selectors) {
            precondition(processor.setSegment(segment, selector))
        }
        processor.eip = test.eip
        processor.eflags = test.eflags
        var ending = CaseEnding()
        switch processor.run(instructions: 200_000) {
        case .trap(let vector, let errorCode, let address):
            ending.trap = UInt32(vector)
            ending.error = errorCode
            ending.address = UInt32(address)
        default: break
        }
        for (index, register) in registers.enumerated() {
            ending.registers[index] = processor[register]
        }
        for (index, segment) in segments.enumerated() {
            ending.selectors[index] = processor.selector(segment)
        }
        ending.eip = processor.eip
        ending.eflags = processor.eflags
        ending.changes = image.collectChanges()
        image.remove(code.count, at: test.eip)
        if test.usesX87 { ending.x87 = x87Image() }
        return ending
    }

    func bytes(at linear: UInt32, count: Int) -> [UInt8] { image.bytes(at: linear, count: count) }

    private func x87Image() -> [UInt8] {
        image.x87 { eip in
            precondition(processor.setSegment(.cs, 0x23) && processor.setSegment(.ds, 0x2B))
            processor.eip = eip
            processor.eflags = 0x202
            let exit = processor.run(instructions: 2)
            precondition(exit == .trap(vector: 3, errorCode: 0, address: 0))
        }
    }
}
