// Tiny guests, assembled by hand in the tests of the host: 1 MiB, one page table that maps all
// of it at PAGE_OFFSET (or at 0 for era 1c), code that makes hypercalls.

import Testing

@testable import Mini

/// Bytes of i386 code under construction.
struct Assembler {
    enum Register: UInt8 { case eax, ecx, edx, ebx, esp, ebp, esi, edi }

    private(set) var bytes: [UInt8] = []
    /// Virtual address of the first byte.
    let origin: UInt32
    var here: UInt32 { origin + UInt32(bytes.count) }

    /// Whose calls it makes.
    let abi: GuestABI

    init(at origin: UInt32, _ abi: GuestABI = GuestABI(era: .era1)) {
        self.origin = origin
        self.abi = abi
    }

    mutating func emit(_ bytes: UInt8...) { self.bytes += bytes }
    mutating func word(_ value: UInt32) {
        for shift in stride(from: 0, to: 32, by: 8) {
            bytes.append(UInt8(truncatingIfNeeded: value >> UInt32(shift)))
        }
    }

    mutating func move(_ register: Register, _ value: UInt32) {
        emit(0xB8 + register.rawValue)
        word(value)
    }
    /// eax to or from memory; a constant to memory.
    mutating func store(_ address: UInt32) {
        emit(0xA3)
        word(address)
    }
    mutating func load(_ address: UInt32) {
        emit(0xA1)
        word(address)
    }
    mutating func store(_ address: UInt32, _ value: UInt32) {
        emit(0xC7, 0x05)
        word(address)
        word(value)
    }
    mutating func push(_ value: UInt32) {
        emit(0x68)
        word(value)
    }
    mutating func interrupt(_ vector: UInt8) { emit(0xCD, vector) }
    mutating func undefined() { emit(0x0F, 0x0B) }
    mutating func spin() { emit(0xEB, 0xFE) }
    mutating func returnFromInterrupt() { emit(0xCF) }

    /// A hypercall.
    mutating func call(
        _ number: UInt32, _ first: UInt32 = 0, _ second: UInt32 = 0, _ third: UInt32 = 0
    ) {
        for (place, value) in [
            (abi.callRegisters.first, first), (abi.callRegisters.second, second),
            (abi.callRegisters.third, third),
        ] {
            emit(0xB8 + place.rawValue)
            word(value)
        }
        move(.eax, number)
        if abi.callsByVmcall { emit(0x0F, 0x01, 0xC1) } else { interrupt(0x1F) }
    }

    /// Hands control to the test: SEND_DMA with this number as its buffer, or NOTIFY with it, or a port that it is written to.
    mutating func checkpoint(_ number: UInt32) {
        if abi.dma != nil { return call(13, 0, number) }
        if abi.notifies { return call(17, number) }
        move(.eax, number)
        emit(0xE7, 0x80)
    }

    /// INIT with the data area of `TinyGuest`.
    mutating func initialize() { call(1, TinyGuest.data) }

    /// LOAD_IDT_ENTRY.
    mutating func gate(_ vector: UInt32, _ handler: UInt32, type: UInt32 = 0xE, level: UInt32 = 0) {
        call(
            6, vector, handler & 0xFFFF | 0x61_0000,
            handler & 0xFFFF_0000 | 0x8000 | level << 13 | type << 8)
    }
}

/// The one port of a guest that has no other way to its launcher.
final class CheckpointPorts: GuestPorts {
    private var number: UInt32?
    var isDue: Bool { number != nil }
    func read(_ access: PortAccess) -> UInt32 { UInt32(access.port) << 16 | UInt32(access.size) }
    func write(_ access: PortAccess, _ value: UInt32) {
        if access == PortAccess(port: 0x80, size: 4) { number = value }
    }
    func take() -> UInt32? {
        defer { number = nil }
        return number
    }
}

/// A guest and its host.
final class TinyGuest {
    static let count: UInt32 = 1 << 20
    static let pages = count >> 12
    /// Guest-physical addresses.
    static let directory: UInt32 = 0x1000
    static let table: UInt32 = 0x2000
    static let userTable: UInt32 = 0x3000
    static let data: UInt32 = 0x8000
    static let gdt: UInt32 = 0xA000
    static let code: UInt32 = 0x10000
    static let handler: UInt32 = 0x11000
    static let userCode: UInt32 = 0x12000
    static let stackTop: UInt32 = 0x20000
    static let ringStackTop: UInt32 = 0x30000
    static let userStackTop: UInt32 = 0x40000
    static let high: UInt32 = 0xC000_0000

    /// What run() came to.
    enum End: Equatable {
        case checkpoint(UInt32)
        case dma(buffer: UInt32, key: UInt32)
        case reason(String)
        case failed(Errno)
    }

    let memory: GuestMemory
    let host: Host
    let fields: GuestABI.Data
    /// Where the guest's kernel sees guest-physical 0.
    let base: UInt32

    let cpu: SoftwareProcessor
    private let ports = CheckpointPorts()

    init(
        _ era: GuestABI.Era = .era1, isWide: Bool = false, pageLimit: UInt32 = TinyGuest.pages,
        prepare: (GuestMemory) throws -> Void = { _ in },
        handler: (inout Assembler) -> Void = { $0.spin() },
        user: (inout Assembler) -> Void = { $0.spin() },
        code: (inout Assembler) -> Void
    ) throws {
        memory = try GuestMemory(count: Self.count)
        try prepare(memory)
        var abi = GuestABI(era: era)
        abi.hasWideTables = isWide
        cpu = try SoftwareProcessor(memory: memory, profile: .lguest)
        host = Host(memory: memory, abi: abi, on: cpu)
        fields = abi.data
        base = abi.startsLow ? 0 : Self.high
        let base = self.base

        if isWide {
            // Four pointers, a directory where others have a user's table.
            memory.store32(Self.directory + (base >> 30) * 8, Self.userTable | 1)
            memory.store32(Self.userTable, Self.table | 7)
        } else {
            memory.store32(Self.directory + (base >> 22) * 4, Self.table | 7)
        }
        for page in 0..<Self.pages {
            memory.store32(Self.table + page * (isWide ? 8 : 4), page << 12 | 7)
        }
        for slot in 0..<64 as Range<UInt32> { store8(Self.data + fields.ringStatus + slot, 0xFF) }
        if let field = fields.kernelAddress { memory.store32(Self.data + field, Self.high) }
        if let field = fields.systemCallVector { memory.store32(Self.data + field, 0x80) }
        // Kernel and user segments where Linux has them.
        let segments: [(UInt32, UInt64)] = [
            (12, 0x00CF_9A00_0000_FFFF), (13, 0x00CF_9200_0000_FFFF),
            (14, 0x00CF_FA00_0000_FFFF), (15, 0x00CF_F200_0000_FFFF),
        ]
        for (index, value) in segments {
            memory.store32(Self.gdt + index * 8, UInt32(truncatingIfNeeded: value))
            memory.store32(Self.gdt + index * 8 + 4, UInt32(value >> 32))
        }

        func place(_ address: UInt32, _ build: (inout Assembler) -> Void) {
            var assembler = Assembler(at: base + address, abi)
            build(&assembler)
            for (offset, byte) in assembler.bytes.enumerated() {
                store8(address + UInt32(offset), byte)
            }
        }
        place(Self.code) {
            $0.move(.esp, base + Self.stackTop)
            code(&$0)
            $0.spin()
        }
        if !abi.notifies && abi.dma == nil { host.connect(ports) }
        place(Self.handler, handler)
        place(Self.userCode, user)
        _ = try host.initialize(
            pageLimit: pageLimit, pageDirectory: Self.directory, start: base + Self.code,
            pageOffset: abi.startsLow ? 0 : Self.high)
    }

    func store8(_ address: UInt32, _ value: UInt8) {
        guard let range = memory.range(address, 1) else { return }
        memory.writable(range)[0] = value
    }

    func word(_ address: UInt32) -> UInt32 { memory.load32(address) ?? 0xDEAD_DEAD }

    /// A word of `lguest_data`.
    func field(_ offset: UInt32) -> UInt32 { word(Self.data + offset) }
    func setField(_ offset: UInt32, _ value: UInt32) { memory.store32(Self.data + offset, value) }

    /// Files a record in the ring, words in memory order.
    func file(_ slot: UInt32, _ words: [UInt32]) {
        for (index, word) in words.enumerated() {
            memory.store32(
                Self.data + fields.ringRecords + slot * fields.ringRecordSize + UInt32(index) * 4,
                word)
        }
        store8(Self.data + fields.ringStatus + slot, 0)
    }

    func status(_ slot: UInt32) -> UInt8 {
        memory.readable(memory.range(Self.data + fields.ringStatus + slot, 1)!)[0]
    }

    /// One call of run().
    func run() -> End {
        do throws(Errno) {
            switch try host.run() {
            case .dma(let sent) where host.abi.dma == nil: return .checkpoint(sent.key.rawValue)
            case .dma(let sent) where sent.key == 0: return .checkpoint(sent.record.rawValue)
            case .dma(let sent):
                return .dma(buffer: sent.record.rawValue, key: sent.key.rawValue)
            case .reason(let text): return .reason(String(decoding: text.bytes, as: UTF8.self))
            case .defect(let state): return .reason("a defect: \(string(state))")
            }
        } catch {
            if error == .again, let number = ports.take() { return .checkpoint(number) }
            return .failed(error)
        }
    }

    /// Runs to the guest's death.
    /// - Returns: the reason, or what went wrong.
    func lastWords() -> String {
        let end = run()
        guard end == .failed(.noSuchFile), case .reason(let text) = run() else { return "\(end)" }
        return text
    }
}

/// What a guest dies of.
func lastWords(
    _ era: GuestABI.Era = .era1, pageLimit: UInt32 = TinyGuest.pages,
    _ code: (inout Assembler) -> Void
) throws -> String {
    try TinyGuest(era, pageLimit: pageLimit, code: code).lastWords()
}
