// A bare machine for the exact tests of the processor with ring 0: 8 MiB, paging off, flat segments for rings 0 and 3,
// code at 0x10000. Every vector has an interrupt gate to a handler that halts; which one halted is the event seen.

@testable import Mini

final class SystemMachine {
    static let globalTable: UInt32 = 0x800
    static let task: UInt32 = 0xA00
    static let interruptTable: UInt32 = 0x1000
    static let directory: UInt32 = 0x2000
    static let table: UInt32 = 0x3000
    static let code: UInt32 = 0x10000
    static let data: UInt32 = 0x20000
    static let handlers: UInt32 = 0x30000
    static let stack: UInt32 = 0x9000
    static let ringStack: UInt32 = 0xA000
    static let userStack: UInt32 = 0xB000
    static let kernelCode: UInt16 = 0x10
    static let kernelData: UInt16 = 0x18
    static let taskSelector: UInt16 = 0x20
    static let userCode: UInt16 = 0x2B
    static let userData: UInt16 = 0x33

    let memory: GuestMemory
    let processor: SystemProcessor

    init(mode: ProcessorStart.Mode = .protected32) throws {
        memory = try GuestMemory(count: 8 << 20)
        for (index, access) in [(2, 0x9B), (3, 0x93), (5, 0xFB), (6, 0xF3)] as [(UInt32, UInt64)] {
            Self.store(memory, Self.globalTable + index * 8, 0x00CF_0000_0000_FFFF | access << 40)
        }
        Self.store(
            memory, Self.globalTable + 0x20, 0x0000_8900_0000_0067 | UInt64(Self.task) << 16)
        processor = try SystemProcessor(
            memory: memory,
            start: ProcessorStart(
                mode: mode, entry: UInt64(Self.code), stack: UInt64(Self.stack),
                parameters: 0x7000, globalTable: UInt64(Self.globalTable), globalTableLimit: 0x7F))
        for vector in 0..<256 as Range<UInt32> {
            setGate(vector, Self.handlers + vector * 16)
            put([0xF4], at: Self.handlers + vector * 16)
        }
        memory.store32(Self.task + 4, Self.ringStack)
        memory.store32(Self.task + 8, UInt32(Self.kernelData))
        memory.store32(Self.task + 0x64, 0x68 << 16)
        // The IDT, and the task.
        run(lidt(Self.interruptTable, 0x7FF) + [0x66, 0xB8, 0x20, 0, 0x0F, 0x00, 0xD8])
    }

    private static func store(_ memory: GuestMemory, _ address: UInt32, _ value: UInt64) {
        memory.store32(address, UInt32(truncatingIfNeeded: value))
        memory.store32(address + 4, UInt32(value >> 32))
    }

    func store64(_ address: UInt32, _ value: UInt64) { Self.store(memory, address, value) }
    func word(_ address: UInt32) -> UInt32 { memory.load32(address)! }
    func bytes(_ address: UInt32, _ count: UInt32) -> [UInt8] {
        unsafe Array(memory.readable(memory.range(address, count)!))
    }

    /// - Parameter access: 8E is an interrupt gate, 8F a trap gate, of ring 0.
    func setGate(
        _ vector: UInt32, _ offset: UInt32, access: UInt32 = 0x8E00, selector: UInt16 = kernelCode
    ) {
        memory.store32(
            Self.interruptTable + vector * 8, UInt32(selector) << 16 | offset & 0xFFFF)
        memory.store32(Self.interruptTable + vector * 8 + 4, offset & 0xFFFF_0000 | access)
    }

    func put(_ bytes: [UInt8], at address: UInt32 = code) {
        let range = memory.range(address, UInt32(bytes.count))!
        unsafe memory.writable(range).copyBytes(from: bytes)
    }

    // MARK: Running

    enum Seen: Equatable {
        /// The handler of a vector halted.
        case event(Int)
        /// Something else did.
        case halt(Bool)
        case shutdown
        case exit(ProcessorExit)
    }

    /// Puts code at a place, and a HLT behind it, and runs it from its start at ring 0.
    @discardableResult
    func run(_ bytes: [UInt8], at address: UInt32 = code) -> Seen {
        put(bytes + [0xF4], at: address)
        processor.eip = address
        return proceed()
    }

    @discardableResult
    func proceed() -> Seen {
        switch processor.run(instructions: 10_000) {
        case .halt(let isEnabled):
            let place = processor.eip &- Self.handlers
            return place < 0x1000 && place & 15 == 1 ? .event(Int(place >> 4)) : .halt(isEnabled)
        case .shutdown: return .shutdown
        case let exit: return .exit(exit)
        }
    }

    /// A word above the stack pointer.
    func stacked(_ index: UInt32) -> UInt32 { word(processor[.esp] &+ index * 4) }

    // MARK: Paging

    /// A directory and a table that map the first 4 MiB where they are, for all rings, by pages.
    func makeTables() {
        memory.store32(Self.directory, Self.table | 7)
        for page in 0..<1024 as Range<UInt32> {
            memory.store32(Self.table + page * 4, page << 12 | 7)
        }
    }

    func entry(_ linear: UInt32) -> UInt32 { word(Self.table + (linear >> 12) * 4) }
    func setEntry(_ linear: UInt32, _ value: UInt32) {
        memory.store32(Self.table + (linear >> 12) * 4, value)
    }

    /// Turns paging on, with these bits of CR4.
    func enablePaging(_ control4: UInt32 = 0, directory: UInt32 = directory) {
        run(setControl(4, control4) + setControl(3, directory) + setControl(0, 0x8001_0011))
    }

    /// The same tables with entries of 64 bits: one directory at 0x5000, its first table at 0x6000.
    static let pointers: UInt32 = 0x4000
    static let wideDirectory: UInt32 = 0x5000
    static let wideTable: UInt32 = 0x6000
    func enableExtension(noExecute: Bool) {
        store64(Self.pointers, UInt64(Self.wideDirectory) | 1)
        store64(Self.wideDirectory, UInt64(Self.wideTable) | 7)
        for page in 0..<512 as Range<UInt32> {
            store64(Self.wideTable + page * 8, UInt64(page << 12) | 7)
        }
        run(writeModel(0xC000_0080, noExecute ? 0x800 : 0))
        enablePaging(0x20, directory: Self.pointers)
    }

    func wideEntry(_ linear: UInt32) -> UInt32 { Self.wideTable + (linear >> 12) * 8 }

    // MARK: Tasks

    /// A free task of 32 bits with flat segments of ring 0 and a stack, and its descriptor.
    func makeTask(
        at place: UInt32, selector: UInt32, eip: UInt32, directory: UInt32 = 0, ds: UInt32 = 0x18
    ) {
        for offset in stride(from: 0, to: 0x68, by: 4) as StrideTo<UInt32> {
            memory.store32(place + offset, 0)
        }
        for (offset, value) in [
            (0x1C, directory), (0x20, eip), (0x24, 2), (0x38, 0xD000), (0x48, 0x18), (0x4C, 0x10),
            (0x50, 0x18), (0x54, ds), (0x64, 0x68 << 16),
        ] as [(UInt32, UInt32)] {
            memory.store32(place + offset, value)
        }
        store64(Self.globalTable + selector, 0x0000_8900_0000_0067 | UInt64(place) << 16)
    }

    /// A gate in the IDT to the task of a selector.
    func setTaskGate(_ vector: UInt32, _ selector: UInt32) {
        memory.store32(Self.interruptTable + vector * 8, selector << 16)
        memory.store32(Self.interruptTable + vector * 8 + 4, 0x8500)
    }

    // MARK: Rings

    /// Code that goes to ring 3 at an address.
    func enterUser(_ address: UInt32, flags: UInt32 = 2) -> [UInt8] {
        push(UInt32(Self.userData)) + push(Self.userStack) + push(flags)
            + push(UInt32(Self.userCode)) + push(address) + [0xCF]
    }

    /// Runs code at ring 3, at `Self.data`.
    @discardableResult
    func runUser(_ bytes: [UInt8], flags: UInt32 = 2) -> Seen {
        put(bytes + [0xF4], at: Self.data)
        return run(
            [0xB8, 0x33, 0, 0, 0, 0x8E, 0xD8, 0x8E, 0xC0] + enterUser(Self.data, flags: flags))
    }
}

// MARK: Instructions

func immediate(_ value: UInt32) -> [UInt8] {
    (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
}
func push(_ value: UInt32) -> [UInt8] { [0x68] + immediate(value) }
/// mov r32, imm32
func load(_ register: UInt8, _ value: UInt32) -> [UInt8] { [0xB8 + register] + immediate(value) }
/// mov crN, eax
func setControl(_ number: UInt8, _ value: UInt32) -> [UInt8] {
    load(0, value) + [0x0F, 0x22, 0xC0 | number << 3]
}
/// mov eax, [address] and mov [address], eax
func loadAccumulator(_ address: UInt32) -> [UInt8] { [0xA1] + immediate(address) }
func storeAccumulator(_ address: UInt32) -> [UInt8] { [0xA3] + immediate(address) }
func writeModel(_ number: UInt32, _ value: UInt64) -> [UInt8] {
    load(1, number) + load(0, UInt32(truncatingIfNeeded: value)) + load(2, UInt32(value >> 32))
        + [0x0F, 0x30]
}
func readModel(_ number: UInt32) -> [UInt8] { load(1, number) + [0x0F, 0x32] }
func forget(_ address: UInt32) -> [UInt8] { [0x0F, 0x01, 0x3D] + immediate(address) }
/// Pushes a table's base and limit, and loads it.
func lidt(_ base: UInt32, _ limit: UInt32) -> [UInt8] { table(base, limit, 0x1C) }
func lgdt(_ base: UInt32, _ limit: UInt32) -> [UInt8] { table(base, limit, 0x14) }
private func table(_ base: UInt32, _ limit: UInt32, _ modrm: UInt8) -> [UInt8] {
    push(base >> 16) + push(base << 16 | limit) + [0x0F, 0x01, modrm, 0x24, 0x83, 0xC4, 8]
}
