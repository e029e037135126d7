// A machine for tests of the 64-bit processor: page tables, GDT, IDT and TSS in its memory, a page of code and two of data
// for ring 3, and for every vector a handler that halts. All handlers run on a stack of their own, so that an exception
// changes nothing of what ring 3 has.

import Glibc

@testable import Mini

/// Where what is, linear and physical.
enum LongPlace {
    static let data: UInt64 = 0x1000_0000
    static let dataSize = 0x2000
    static let dataPhysical: UInt32 = 0x10_0000
    static let code: UInt64 = 0x2000_0000
    static let codeSize = 0x1000
    static let codePhysical: UInt32 = 0x11_0000
    static let tables: UInt32 = 0x1000
    static let global: UInt32 = 0x6000
    static let interrupts: UInt32 = 0x7000
    static let handlers: UInt32 = 0x8000
    static let task: UInt32 = 0x9800
    static let stack: UInt32 = 0xB000
    static let kernelStack: UInt32 = 0xC000
}

/// How a run in ring 3 ended.
struct LongEnding: Equatable {
    /// rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 to r15.
    var registers = [UInt64](repeating: 0, count: 16)
    var rip: UInt64 = 0
    var flags: UInt64 = 0
    var vectors = [UInt64](repeating: 0, count: 32)
    var control: UInt32 = 0
    /// nil if it did not end.
    var trap: UInt32?
    var error: UInt64 = 0
    var address: UInt64 = 0
    var data: [UInt8] = []
}

final class LongMachine {
    let memory: GuestMemory
    let processor: LongProcessor

    init(arenaCount: UInt32 = LongProcessor.usualArenaCount, high: UInt64 = 0) throws {
        memory = try GuestMemory(MemoryExtent(low: 0x20_0000, high: high))
        processor = try LongProcessor(
            memory: memory,
            start: ProcessorStart(
                mode: .long64(pageTable: UInt64(LongPlace.tables)), entry: 0, stack: 0,
                parameters: 0,
                globalTable: UInt64(LongPlace.global), globalTableLimit: 0x37),
            arenaCount: arenaCount)
        writeTables()
        let core = processor.core
        core.state.interruptTable = LongTable(base: UInt64(LongPlace.interrupts), limit: 0xFFF)
        core.state.task = LongSystemSegment(
            selector: 0x28, base: UInt64(LongPlace.task), limit: 0x67)
        core.state.control4 |= 0x600
    }

    func store(_ address: UInt32, _ value: UInt64) {
        let range = memory.range(address, 8)!
        memory.writable(range).storeBytes(of: value, as: UInt64.self)
    }

    func write(_ address: UInt32, _ bytes: [UInt8]) {
        guard !bytes.isEmpty else { return }
        memory.writable(memory.range(address, UInt32(bytes.count))!).copyBytes(from: bytes)
    }

    func bytes(_ address: UInt32, _ count: Int) -> [UInt8] {
        Array(memory.readable(memory.range(address, UInt32(count))!))
    }

    private func writeTables() {
        store(0x1000, 0x2007)
        store(0x2000, 0x3007)
        // The first 2 MiB for ring 0 alone; the code's and the data's page tables.
        store(0x3000, 0x83)
        store(0x3000 + 128 * 8, 0x4007)
        store(0x3000 + 256 * 8, 0x5007)
        store(0x4000, UInt64(LongPlace.dataPhysical) | 7)
        store(0x4008, UInt64(LongPlace.dataPhysical) + 0x1000 | 7)
        store(0x5000, UInt64(LongPlace.codePhysical) | 7)
        let segments: [UInt64] = [
            0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF, 0x00CF_F300_0000_FFFF,
            0x00AF_FB00_0000_FFFF, 0x0000_8B00_9800_0067, 0,
        ]
        for (index, value) in segments.enumerated() {
            store(LongPlace.global + UInt32(index) * 8, value)
        }
        for vector in 0..<256 as Range<UInt32> {
            let handler = UInt64(LongPlace.handlers + vector * 16)
            let type: UInt64 = vector == 3 || vector == 4 ? 0xEE : 0x8E
            store(
                LongPlace.interrupts + vector * 16,
                handler & 0xFFFF | 8 << 16 | 1 << 32 | type << 40)
            write(LongPlace.handlers + vector * 16, [0xF4])
        }
        // No map of ports; the first stack of seven.
        write(LongPlace.task + 0x66, [0x68, 0])
        store(LongPlace.task + 0x24, UInt64(LongPlace.stack))
    }

    /// Ring 3 begins: with these registers, vectors and code.
    func enter(_ test: LongCase, image: [UInt8]) {
        let core = processor.core
        write(LongPlace.dataPhysical, image)
        var code = [UInt8](repeating: 0xCC, count: LongPlace.codeSize)
        let offset = Int(test.rip - LongPlace.code)
        code.replaceSubrange(offset..<offset + test.code.count, with: test.code)
        write(LongPlace.codePhysical, code)
        for (index, value) in test.registers.enumerated() { core.set(UInt8(index * 8), value) }
        for (index, value) in test.vectors.enumerated() { core.state.vectors[index] = value }
        core.state.vectorControl = test.control
        core.state.segments[1].selector = 0x23
        core.state.segments[2].selector = 0x1B
        core.state.privilege = 3
        core.state.isLong = true
        core.state.rip = test.rip
        core.flags = test.flags
        core.updateMode()
    }

    /// Ring 0 runs code on the page of code, with a stack of its own, to its HLT or an exception.
    @discardableResult
    func kernel(_ code: [UInt8], atMost: Int = 10_000) -> ProcessorExit {
        write(LongPlace.codePhysical, code + [0xF4])
        return kernel(atMost: atMost)
    }

    /// The same with the code that is there.
    @discardableResult
    func kernel(atMost: Int = 10_000) -> ProcessorExit {
        let core = processor.core
        core.state.segments[1].selector = 8
        core.state.segments[2].selector = 0x10
        core.state.privilege = 0
        core.state.isLong = true
        core.state.rip = LongPlace.code
        core.rsp = UInt64(LongPlace.kernelStack)
        core.flags = 2
        core.updateMode()
        return processor.run(instructions: atMost)
    }

    /// The vector whose handler has halted; nil if that was other code.
    var vector: UInt32? {
        let place = UInt32(truncatingIfNeeded: processor.core.state.rip) &- 1 &- LongPlace.handlers
        return place < 0x1000 && place & 15 == 0 ? place / 16 : nil
    }

    /// A word of the frame that the last exception has pushed.
    func frame(_ index: UInt32) -> UInt64 {
        let place = UInt32(truncatingIfNeeded: processor.core.rsp) + index * 8
        return memory.readable(memory.range(place, 8)!).load(as: UInt64.self)
    }

    func run(_ test: LongCase, image: [UInt8], atMost: Int = 20_000) -> LongEnding {
        enter(test, image: image)
        return finish(processor.run(instructions: atMost))
    }

    func finish(_ exit: ProcessorExit) -> LongEnding {
        let core = processor.core
        var ending = LongEnding()
        for index in 0..<16 { ending.registers[index] = core.get(UInt8(index * 8)) }
        for index in 0..<32 { ending.vectors[index] = core.state.vectors[index] }
        ending.control = core.state.vectorControl
        ending.address = core.state.faultAddress
        ending.data = bytes(LongPlace.dataPhysical, LongPlace.dataSize)
        ending.rip = core.state.rip
        ending.flags = core.flags
        guard case .halt = exit else { return ending }
        let vector = (UInt32(truncatingIfNeeded: core.state.rip) - 1 - LongPlace.handlers) / 16
        ending.trap = vector
        var frame = UInt32(truncatingIfNeeded: core.rsp)
        func word(_ index: UInt32) -> UInt64 {
            memory.readable(memory.range(frame + index * 8, 8)!).load(as: UInt64.self)
        }
        if [8, 10, 11, 12, 13, 14, 17].contains(vector) {
            ending.error = word(0)
            frame += 8
        }
        ending.rip = word(0)
        ending.flags = word(2)
        ending.registers[4] = word(3)
        return ending
    }
}
