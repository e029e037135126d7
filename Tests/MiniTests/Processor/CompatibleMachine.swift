// The 64-bit processor in the situation of a 32-bit process under a 64-bit kernel: compatibility mode, with the linear
// addresses, privilege and selectors that the oracle's has, below page tables, gates and descriptors of long mode.

@testable import Mini

final class CompatibleMachine: DifferentialMachine {
    // CPUID says AuthenticAMD.
    let hasIntelsWays = false
    private let machine: LongMachine
    private var image: CaseImage

    init(image: [UInt8]) throws {
        machine = try LongMachine()
        self.image = CaseImage(image, in: machine.memory, at: LongPlace.dataPhysical)
        self.image.eachPage { page, entry in
            let table: UInt32 = page >= CaseMemory.code ? 0x5000 : 0x4000
            machine.store(table + 8 * (page >> 12 & 0x1FF), UInt64(entry))
        }
        // The machine's task has another place here.
        machine.store(LongPlace.global + 0x40, 0x0000_8B00_9800_0067)
        for (number, value) in CaseImage.descriptors {
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

    private func install(_ segment: Int, _ selector: UInt16) {
        let value = CaseImage.descriptors.first { $0.index == Int(selector >> 3) }?.value
        machine.processor.core.install(
            segment, selector, selector < 4 ? nil : value.map { SegmentDescriptor($0) })
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
        image.place(code, at: test.eip)
        begin(test.registers, at: test.eip, flags: test.eflags, fs: test.fs, gs: test.gs)
        var ending = finish(machine.processor.run(instructions: 200_000))
        image.remove(code.count, at: test.eip)
        if test.usesX87 { ending.x87 = x87Image() }
        return ending
    }

    private func finish(_ exit: ProcessorExit) -> CaseEnding {
        let core = machine.processor.core
        let long = machine.finish(exit)
        var ending = CaseEnding()
        ending.changes = image.collectChanges()
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

    func bytes(at linear: UInt32, count: Int) -> [UInt8] { image.bytes(at: linear, count: count) }

    private func x87Image() -> [UInt8] {
        image.x87 { eip in
            begin([UInt32](repeating: 0, count: 8), at: eip, flags: 0x202, fs: 0, gs: 0)
            _ = machine.processor.run(instructions: 10)
            precondition(machine.vector == 3)
        }
    }
}
