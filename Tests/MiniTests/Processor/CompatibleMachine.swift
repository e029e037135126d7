// The 64-bit processor in the situation of a 32-bit process under a 64-bit kernel: compatibility mode, with the linear
// addresses, privilege and selectors that the oracle's has, below page tables, gates and descriptors of long mode.

@testable import Mini

final class CompatibleMachine: DifferentialMachine {
    private let machine: LongMachine
    private var image: [UInt8]
    private static let imageAt = LongPlace.dataPhysical

    init(image: [UInt8]) throws {
        machine = try LongMachine()
        self.image = image
        var physical = Self.imageAt
        for (start, size) in CaseMemory.parts {
            let table: UInt32 = start == CaseMemory.code ? 0x5000 : 0x4000
            for page in stride(from: start, to: start + size, by: 4096) {
                let readOnly = page == CaseMemory.data + CaseMemory.dataWritable
                machine.store(
                    table + 8 * (page >> 12 & 0x1FF), UInt64(physical | (readOnly ? 5 : 7)))
                physical += 4096
            }
        }
        machine.write(Self.imageAt, image)
        for (number, value) in Self.descriptors {
            machine.store(LongPlace.global + UInt32(number) * 8, value)
        }
        let core = machine.processor.core
        core.state.globalTable.limit = 0x7F
        core.state.task.selector = 0x40
        for vector in 0..<256 as Range<UInt32> {
            let handler = UInt64(LongPlace.handlers + vector * 16)
            // INT3, INTO and INT1 may be raised by anyone.
            let type: UInt64 = [1, 3, 4].contains(vector) ? 0xEE : 0x8E
            machine.store(
                LongPlace.interrupts + vector * 16,
                handler & 0xFFFF | 0x10 << 16 | 1 << 32 | type << 40)
        }
    }

    /// The GDT of Linux for x86_64, as far as cases refer to it, and the three segments that the oracle asks for.
    static let descriptors: [(Int, UInt64)] = [
        (1, 0x00CF_9B00_0000_FFFF), (2, 0x00AF_9B00_0000_FFFF), (3, 0x00CF_9300_0000_FFFF),
        (4, 0x00CF_FB00_0000_FFFF), (5, 0x00CF_F300_0000_FFFF), (6, 0x00AF_FB00_0000_FFFF),
        (8, 0x0000_8B00_9800_0067), (12, 0x1050_F300_0100_07FF), (13, 0x1050_F700_0100_07FF),
        (14, 0x1050_F100_1000_0FFF),
    ]

    private func install(_ segment: Int, _ selector: UInt16) {
        let value = Self.descriptors.first { $0.0 == Int(selector >> 3) }
        machine.processor.core.install(
            segment, selector, selector < 4 ? nil : value.map { SegmentDescriptor($0.1) })
    }

    private func begin(_ registers: [UInt32], at eip: UInt32, flags: UInt32, fs: UInt16, gs: UInt16)
    {
        let core = machine.processor.core
        for index in 0..<8 { core.set(UInt8(index * 8), UInt64(registers[index])) }
        // What 32-bit code cannot see.
        for index in 8..<16 { core.set(UInt8(index * 8), ~UInt64(index)) }
        for (segment, selector) in [0x2B, 0x23, 0x2B, 0x2B, fs, gs].enumerated() {
            install(segment, selector)
        }
        core.state.privilege = 3
        core.state.isLong = false
        core.state.rip = UInt64(eip)
        core.flags = UInt64(flags)
        core.updateMode()
    }

    func run(_ test: DifferentialCase) -> CaseEnding {
        let code = test.code
        place(code, at: test.eip)
        begin(test.registers, at: test.eip, flags: test.eflags, fs: test.fs, gs: test.gs)
        let ending = finish(machine.processor.run(instructions: 200_000))
        place([UInt8](repeating: 0xCC, count: code.count), at: test.eip)
        guard test.usesX87 else { return ending }
        var saved = ending
        saved.x87 = x87Image()
        return saved
    }

    private func finish(_ exit: ProcessorExit) -> CaseEnding {
        let core = machine.processor.core
        let long = machine.finish(exit)
        var ending = CaseEnding()
        ending.changes = collectChanges()
        for index in 0..<8 { ending.registers[index] = UInt32(long.registers[index]) }
        for index in 8..<16 { precondition(long.registers[index] == ~UInt64(index)) }
        for segment in 0..<6 { ending.selectors[segment] = core.state.segments[segment].selector }
        ending.eip = UInt32(truncatingIfNeeded: long.rip)
        ending.eflags = UInt32(truncatingIfNeeded: long.flags)
        ending.trap = long.trap
        ending.error = UInt32(long.error)
        ending.address = UInt32(long.address)
        // Where the machine has its own tables, and the oracle nothing.
        if long.trap == 14 && long.address < 0x20_0000 { ending.error &= ~1 }
        if long.trap != nil {
            let frame = [8, 10, 11, 12, 13, 14, 17].contains(long.trap) ? 1 as UInt32 : 0
            ending.selectors[1] = UInt16(truncatingIfNeeded: machine.frame(frame + 1))
            ending.selectors[2] = UInt16(truncatingIfNeeded: machine.frame(frame + 4))
        }
        return ending
    }

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
        machine.write(Self.imageAt + UInt32(offset), code)
    }

    /// What an FNSAVE stores now. Memory is as in the image before and after.
    private func x87Image() -> [UInt8] {
        let at = CaseMemory.code + 0x800
        place([0xDD, 0x35, 0, 0, 0, UInt8(CaseMemory.data >> 24), 0xCC], at: at)
        begin([UInt32](repeating: 0, count: 8), at: at, flags: 0x202, fs: 0, gs: 0)
        _ = machine.processor.run(instructions: 10)
        precondition(machine.vector == 3)
        let stored = machine.bytes(Self.imageAt, 108)
        machine.write(Self.imageAt, Array(image[0..<108]))
        place([UInt8](repeating: 0xCC, count: 7), at: at)
        return stored
    }

    private func collectChanges() -> [CaseEnding.Change] {
        var changes: [CaseEnding.Change] = []
        let live = machine.bytes(Self.imageAt, image.count)
        guard live != image else { return [] }
        func word(_ bytes: [UInt8], _ at: Int) -> UInt32 {
            (0..<4).reduce(0) { $0 | UInt32(bytes[at + $1]) << UInt32(8 * $1) }
        }
        for at in stride(from: 0, to: image.count, by: 4) {
            let value = word(live, at)
            if value == word(image, at) { continue }
            changes.append(CaseEnding.Change(index: UInt32(at / 4), value: value))
            machine.write(Self.imageAt + UInt32(at), Array(image[at..<at + 4]))
        }
        return changes
    }
}
