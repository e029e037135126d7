// A bare machine for the exact tests of the processor: 4 MiB, all of it mapped where it
// is (va = pa, user, writable) by a page directory at 0x1000 and a table at 0x2000, flat segments as
// a Linux guest has them, code at 0x10000, stacks below 0x9000 (ring 1) and 0xB000 (ring 3).

@testable import Mini

struct ProcessorMachine {
    static let code: UInt32 = 0x10000
    static let data: UInt32 = 0x20000
    static let kernelStack: UInt32 = 0x9000
    static let userStack: UInt32 = 0xB000
    static let kernelCode: UInt16 = 0x61
    static let kernelData: UInt16 = 0x69
    static let userCode: UInt16 = 0x73
    static let userData: UInt16 = 0x7B

    let memory: GuestMemory
    let processor: SoftwareProcessor

    init(profile: ProcessorProfile = .lguest) throws {
        memory = try GuestMemory(count: 4 << 20)
        processor = try SoftwareProcessor(memory: memory, profile: profile)
        processor.pageRules = .lguest(GuestABI(era: .era1), limit: memory.count / Page.size)
        processor.pageRules.reservedTop = 0
        memory.store32(0x1000, 0x2000 | 7)
        for page in 0..<1024 as Range<UInt32> { memory.store32(0x2000 + page * 4, page << 12 | 7) }
        processor.setDescriptor(12, descriptor(0xBB))
        processor.setDescriptor(13, descriptor(0xB3))
        processor.setDescriptor(14, descriptor(0xFB))
        processor.setDescriptor(15, descriptor(0xF3))
        processor.setGate(3, .exit(privilege: 3))
        processor.pageDirectory = 0x1000
        enterKernel()
        processor.setRingStack(selector: Self.kernelData, pointer: Self.kernelStack)
        processor.eip = Self.code
        processor.eflags = 0x202
    }

    func enterKernel() {
        set(code: Self.kernelCode, data: Self.kernelData)
        processor[.esp] = Self.kernelStack
    }

    func enterUser() {
        set(code: Self.userCode, data: Self.userData)
        processor[.esp] = Self.userStack
    }

    private func set(code: UInt16, data: UInt16) {
        precondition(processor.setSegment(.cs, code))
        for segment in [ProcessorSegment.ss, .ds, .es] {
            precondition(processor.setSegment(segment, data))
        }
        precondition(processor.setSegment(.fs, 0) && processor.setSegment(.gs, 0))
    }

    /// A flat 4 GiB descriptor with this access byte.
    func descriptor(
        _ access: UInt64, base: UInt32 = 0, limit: UInt32 = 0xFFFFF, flags: UInt64 = 0xC
    ) -> UInt64 {
        let base = UInt64(base)
        let limit = UInt64(limit)
        return (limit & 0xFFFF) | (base & 0xFF_FFFF) << 16 | access << 40 | (limit >> 16) << 48
            | flags << 52 | (base >> 24) << 56
    }

    func put(_ bytes: [UInt8], at address: UInt32 = code) {
        let range = memory.range(address, UInt32(bytes.count))!
        unsafe memory.writable(range).copyBytes(from: bytes)
    }

    func bytes(_ address: UInt32, _ count: UInt32) -> [UInt8] {
        unsafe Array(memory.readable(memory.range(address, count)!))
    }

    func word(_ address: UInt32) -> UInt32 { memory.load32(address)! }
    func read32(linear: UInt32) -> UInt32? { MiniTests.read32(processor, memory, linear: linear) }

    /// The page table entry of a linear address; setting it forgets the translation.
    func entry(_ linear: UInt32) -> UInt32 { word(0x2000 + (linear >> 12) * 4) }
    func setEntry(_ linear: UInt32, _ value: UInt32) {
        memory.store32(0x2000 + (linear >> 12) * 4, value)
        processor.flushTLB(of: linear)
    }
    func setFlags(_ linear: UInt32, _ flags: UInt32) {
        setEntry(linear, (linear & ~4095) | flags)
    }

    /// Puts the code, runs it from the start to a trap (an `int3` if nothing else comes).
    @discardableResult
    func run(_ bytes: [UInt8], limit: Int = 1000) -> Seen {
        put(bytes)
        processor.eip = Self.code
        return proceed(limit: limit)
    }

    @discardableResult
    func proceed(limit: Int = 1000) -> Seen {
        switch processor.run(instructions: limit) {
        case .stretchEnded: .slice
        case .portInput(let access): .input(access)
        case .portOutput(let access, let value): .output(access, value)
        case .refusedDirectoryEntry: .badDirectoryEntry
        case .refusedTableEntry: .badTableEntry
        case .trap(let vector, let errorCode, let address):
            vector == 14
                ? .pageFault(errorCode, at: UInt32(address)) : .trap(Int(vector), Int(errorCode))
        default: .other
        }
    }

    enum Seen: Equatable {
        case slice
        case trap(Int, Int)
        case pageFault(UInt32, at: UInt32)
        case input(PortAccess)
        case output(PortAccess, UInt32)
        case other
        case badDirectoryEntry
        case badTableEntry
        static let breakpoint = Seen.trap(3, 0)
    }
}

/// The word at a linear address, with supervisor rights; nil if not all of it is mapped.
func read32(_ processor: SoftwareProcessor, _ memory: GuestMemory, linear: UInt32) -> UInt32? {
    var value: UInt32 = 0
    for index in 0..<UInt32(4) {
        guard
            let address = processor.translate(linear &+ index, write: false, user: false),
            let range = memory.range(address, 1)
        else { return nil }
        value |= UInt32(unsafe memory.readable(range)[0]) << (8 * index)
    }
    return value
}

/// `mov $value, %register` and other pieces of code that many tests want.
enum Assemble {
    static func little(_ value: UInt32) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
    static func mov(_ register: ProcessorRegister, _ value: UInt32) -> [UInt8] {
        [0xB8 + register.rawValue] + little(value)
    }
    /// mov address, %eax
    static func load(_ address: UInt32) -> [UInt8] { [0xA1] + little(address) }
    /// mov %eax, address
    static func store(_ address: UInt32) -> [UInt8] { [0xA3] + little(address) }
    static let breakpoint: [UInt8] = [0xCC]
}
