// A guest for the processor's tests: 4 MiB of memory with page tables that map all of it at
// its own address for every ring, flat segments, and code as bytes.

@testable import Mini

final class ProcessorGuest {
    static let directory: UInt32 = 0x1000
    static let table: UInt32 = 0x2000
    static let code: UInt32 = 0x1_0000
    static let stack: UInt32 = 0x8_0000
    static let ringStack: UInt32 = 0x9_0000
    static let handlers: UInt32 = 0x3_0000
    static let data: UInt32 = 0x20_0000

    static let kernelCode: UInt16 = 0x61
    static let kernelData: UInt16 = 0x69
    static let userCode: UInt16 = 0x73
    static let userData: UInt16 = 0x7B

    let memory: GuestMemory
    let processor: SoftwareProcessor

    /// - Parameters:
    ///   - ring: 1 or 3.
    ///   - arenaCount: bytes for decoded blocks.
    init(
        ring: Int = 1, arenaCount: UInt32 = Core.usualArenaCount,
        profile: ProcessorProfile = .lguest
    ) throws {
        memory = try GuestMemory(count: 4 << 20)
        processor = try SoftwareProcessor(memory: memory, profile: profile, arenaCount: arenaCount)
        processor.pageRules = .lguest(GuestABI(era: .era1), limit: memory.count / Page.size)
        processor.pageRules.reservedTop = 0
        memory.store32(Self.directory, Self.table | 7)
        for page in 0..<UInt32(1024) { mapPage(page << 12, to: page << 12, flags: 7) }
        processor.pageDirectory = Self.directory
        processor.setDescriptor(12, 0x00CF_BA00_0000_FFFF)
        processor.setDescriptor(13, 0x00CF_B200_0000_FFFF)
        processor.setDescriptor(14, 0x00CF_FA00_0000_FFFF)
        processor.setDescriptor(15, 0x00CF_F200_0000_FFFF)
        let user = ring == 3
        _ = processor.setSegment(.cs, user ? Self.userCode : Self.kernelCode)
        for segment in [ProcessorSegment.ss, .ds, .es] {
            _ = processor.setSegment(segment, user ? Self.userData : Self.kernelData)
        }
        processor.setRingStack(selector: Self.kernelData, pointer: Self.ringStack)
        processor[.esp] = Self.stack
        processor.eip = Self.code
    }

    func mapPage(_ linear: UInt32, to physical: UInt32, flags: UInt32) {
        memory.store32(Self.table + (linear >> 12) * 4, physical | flags)
    }

    func entry(_ linear: UInt32) -> UInt32 { word(Self.table + (linear >> 12) * 4) }

    func word(_ address: UInt32) -> UInt32 { memory.load32(address)! }
    func read32(linear: UInt32) -> UInt32? {
        MiniTests.read32(processor, memory, linear: linear)
    }

    func put(_ bytes: [UInt8], at address: UInt32) {
        memory.writable(memory.range(address, UInt32(bytes.count))!).copyBytes(from: bytes)
    }

    func bytes(_ address: UInt32, _ count: UInt32) -> [UInt8] {
        Array(memory.readable(memory.range(address, count)!))
    }

    /// Lays code down and runs it until something happens.
    @discardableResult
    func run(_ bytes: [UInt8], instructions: Int = 1_000_000) -> ProcessorExit {
        put(bytes, at: Self.code)
        processor.eip = Self.code
        return processor.run(instructions: instructions)
    }

    /// A word as the bytes of an immediate.
    static func immediate(_ value: UInt32) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
}

extension ProcessorExit {
    /// A trap without a page fault's address.
    static func trap(_ vector: UInt8, _ code: UInt32 = 0) -> Self {
        .trap(vector: vector, errorCode: code, address: 0)
    }
}
