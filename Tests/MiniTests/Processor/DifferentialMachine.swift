// The software processor in the situation of a 32-bit process under a 64-bit kernel: the same
// linear addresses, CPL 3, the same selectors.

@testable import Mini

final class SoftwareMachine: DifferentialMachine {
    private let memory: GuestMemory
    private let processor: SoftwareProcessor
    private var image: [UInt8]
    /// Guest-physical address of the image.
    private static let imageAt: UInt32 = 0x8000
    private static let directory: UInt32 = 0x1000
    private static let dataTable: UInt32 = 0x2000
    private static let codeTable: UInt32 = 0x3000

    init(image: [UInt8]) throws {
        memory = try GuestMemory(count: 0x2_0000)
        processor = try SoftwareProcessor(memory: memory, profile: .lguest)
        self.image = image
        prepareMemory()
        prepareDescriptors()
        // INT3, INTO and INT1 may be raised by anyone; so may be what the host does not use.
        processor.setGate(3, .exit(privilege: 3))
        processor.setGate(4, .exit(privilege: 3))
    }

    private func prepareMemory() {
        processor.pageDirectory = Self.directory
        memory.store32(Self.directory + 4 * (CaseMemory.data >> 22), Self.dataTable | 7)
        memory.store32(Self.directory + 4 * (CaseMemory.code >> 22), Self.codeTable | 7)
        var physical = Self.imageAt
        for (start, size) in CaseMemory.parts {
            let table = start == CaseMemory.code ? Self.codeTable : Self.dataTable
            for page in stride(from: start, to: start + size, by: 4096) {
                let readOnly = page == CaseMemory.data + CaseMemory.dataWritable
                memory.store32(table + 4 * (page >> 12 & 0x3FF), physical | (readOnly ? 5 : 7))
                physical += 4096
            }
        }
        memory.writable(memory.range(Self.imageAt, UInt32(image.count))!).copyBytes(from: image)
    }

    /// The GDT of Linux for x86_64, as far as cases refer to it, and the three segments that
    /// the oracle asks for.
    private func prepareDescriptors() {
        processor.setDescriptor(1, 0x00CF_9B00_0000_FFFF)
        processor.setDescriptor(2, 0x00AF_9B00_0000_FFFF)
        processor.setDescriptor(3, 0x00CF_9300_0000_FFFF)
        processor.setDescriptor(4, 0x00CF_FB00_0000_FFFF)
        processor.setDescriptor(5, 0x00CF_F300_0000_FFFF)
        processor.setDescriptor(6, 0x00AF_FB00_0000_FFFF)
        processor.setDescriptor(12, 0x1050_F300_0100_07FF)
        processor.setDescriptor(13, 0x1050_F700_0100_07FF)
        processor.setDescriptor(14, 0x1050_F100_1000_0FFF)
    }

    /// Runs a case from the image to its end, and puts the image back.
    func run(_ test: DifferentialCase) -> CaseEnding {
        let code = test.code
        place(code, at: test.eip)
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
        ending.changes = collectChanges()
        place([UInt8](repeating: 0xCC, count: code.count), at: test.eip)
        if test.usesX87 { ending.x87 = x87Image() }
        return ending
    }

    /// The image's bytes at a linear address, to show.
    func bytes(at linear: UInt32, count: Int) -> [UInt8] {
        var offset = 0
        for (start, size) in CaseMemory.parts {
            if linear >= start && linear < start + size {
                let first = offset + Int(linear - start)
                return Array(image[first..<min(first + count, image.count)])
            }
            offset += Int(size)
        }
        return []
    }

    private func place(_ code: [UInt8], at eip: UInt32) {
        let offset = Int(CaseMemory.dataSize + CaseMemory.stackSize + (eip - CaseMemory.code))
        image.replaceSubrange(offset..<offset + code.count, with: code)
        let range = memory.range(Self.imageAt + UInt32(offset), UInt32(code.count))!
        memory.writable(range).copyBytes(from: code)
    }

    /// What an FNSAVE stores now. Memory is as in the image before and after.
    private func x87Image() -> [UInt8] {
        let at = CaseMemory.code + 0x800
        place([0xDD, 0x35, 0, 0, 0, UInt8(CaseMemory.data >> 24), 0xCC], at: at)
        precondition(processor.setSegment(.cs, 0x23) && processor.setSegment(.ds, 0x2B))
        processor.eip = at
        processor.eflags = 0x202
        let exit = processor.run(instructions: 2)
        precondition(exit == .trap(vector: 3, errorCode: 0, address: 0))
        let range = memory.range(Self.imageAt, 108)!
        let stored = Array(memory.readable(range))
        memory.writable(range).copyBytes(from: image[0..<108])
        place([UInt8](repeating: 0xCC, count: 7), at: at)
        return stored
    }

    private func collectChanges() -> [CaseEnding.Change] {
        var changes: [CaseEnding.Change] = []
        let live = memory.base + Int(Self.imageAt)
        image.withUnsafeBytes { image in
            for offset in stride(from: 0, to: image.count, by: 8)
            where live.load(fromByteOffset: offset, as: UInt64.self)
                != image.load(fromByteOffset: offset, as: UInt64.self)
            {
                for at in [offset, offset + 4] {
                    let value = live.load(fromByteOffset: at, as: UInt32.self)
                    let original = image.load(fromByteOffset: at, as: UInt32.self)
                    if value == original { continue }
                    changes.append(CaseEnding.Change(index: UInt32(at / 4), value: value))
                    memory.store32(Self.imageAt + UInt32(at), original)
                }
            }
        }
        return changes
    }
}
