// Guests out of chance, run by the built-in host in this process: the host's own turn (calls,
// interrupts, a stretch of guest code), the launcher's answers to DMA, and nothing of the outside. What
// a guest may do it may do; what it must never do is end the process, or hold it.
//
// A case is a header, the words that are put into memory over the usual tables, and code.

#if !hasFeature(Embedded)
@testable import Mini
#endif

/// Where things are in a guest of this fuzzer: 32 pages, mapped at the guest's base in order and
/// behind that once more in an order of their own.
enum FuzzGuestLayout {
    static let pages: UInt32 = 32
    static let size = pages << 12
    static let directory: UInt32 = 0x1000
    static let table: UInt32 = 0x2000
    static let otherTable: UInt32 = 0x3000
    static let lastTable: UInt32 = 0x4000
    static let data: UInt32 = 0x5000
    static let descriptors: UInt32 = 0x6000
    static let records: UInt32 = 0x6400
    static let code: UInt32 = 0x8000
    static let codeSize: UInt32 = 0x8000
    static let stack: UInt32 = 0x1_2000
    static let scratch: UInt32 = 0x1_4000
    static let devices: UInt32 = 0x1_C000
    static let high: UInt32 = 0xC000_0000

    /// Bytes of a case before its words.
    static let header = 16
}

/// What a case's header says.
private struct Header {
    let abi: GuestABI
    let arenaCount: UInt32
    let generation: UInt32
    /// Guest instructions until the case ends.
    let budget: Int
    /// The longest stretch of guest code.
    let stretch: Int
    let hasDisk: Bool
    let words: Int
    /// Where in the code handlers are, if there are any: behind this.
    let handlers: UInt32
    let hasHandlers: Bool
    var base: UInt32 { abi.startsLow ? 0 : FuzzGuestLayout.high }

    init(_ reader: inout FuzzReader) {
        let eras: InlineArray<8, GuestABI.Era> = [
            .era0, .era0b, .era1a, .era1, .era1b, .era1c, .era4d, .era4d,
        ]
        let kind = Int(reader.byte() % 8)
        var abi = GuestABI(era: eras[kind])
        // The last one has tables of PAE's.
        abi.hasWideTables = kind == 7
        self.abi = abi
        // From room for one block to some hundreds.
        arenaCount = Core.leastArenaCount + UInt32(reader.byte() & 7) * 0x2000
        let distance = UInt32(reader.byte())
        generation = distance == 255 ? 1 : Generation.last - distance
        let life = reader.byte()
        budget = life == 0 ? 40_000 : life < 8 ? 4_000 : 40 + Int(life)
        stretch = 1 + Int(reader.byte())
        hasDisk = reader.byte() & 7 == 0
        words = Int(reader.byte()) | Int(reader.byte()) << 8
        handlers = UInt32(reader.byte()) | UInt32(reader.byte()) << 8
        hasHandlers = reader.byte() & 7 != 0
        for _ in 11..<FuzzGuestLayout.header { _ = reader.byte() }
    }
}

enum FuzzGuests {
    private typealias Layout = FuzzGuestLayout

    // What is the same for all cases, made by the first.
    nonisolated(unsafe) private static var memory: GuestMemory?
    nonisolated(unsafe) private static var disk: Disk?
    /// Guest instructions so far, of all cases in this process.
    nonisolated(unsafe) private(set) static var instructions: UInt64 = 0

    static func make(_ random: inout FuzzRandom, _ input: FuzzInput) {
        FuzzGuestCode.make(&random, input)
    }

    static func take(_ input: FuzzInput) {
        var reader = FuzzReader(input)
        let header = Header(&reader)
        guard let memory = usualMemory() else { return }
        lay(header, &reader, input, memory)
        guard
            let processor = try? SoftwareProcessor(
                memory: memory, profile: .lguest, arenaCount: header.arenaCount)
        else { return Fuzz.require(false, "no processor") }
        let host = Host(memory: memory, abi: header.abi, on: processor)
        processor.generation = header.generation
        _ = try? host.initialize(
            InitializeRequest(
                pageLimit: Layout.pages, pageDirectory: Layout.directory,
                start: header.base + Layout.code,
                pageOffset: header.abi.startsLow ? 0 : Layout.high))
        var time: UInt64 = 0
        processor.timeStamp = {
            time &+= 77
            return time
        }
        var guest = FuzzedGuest(host, processor, header.abi, header.hasDisk ? usualDisk() : nil)
        guest.run(
            budget: header.budget, stretch: header.stretch,
            isNearEnd: header.generation > 1)
        unsafe instructions &+= processor.instructionCount
        host.close()
    }

    private static func usualMemory() -> GuestMemory? {
        if let known = unsafe memory { return known }
        let made = try? GuestMemory(count: Layout.size)
        unsafe memory = made
        return made
    }

    private static func usualDisk() -> Disk? {
        if let known = unsafe disk { return known }
        guard let file = try? FileSystem.memoryFile("disk") else { return nil }
        try? Transfer.write(file.number, Text(bytes: [UInt8](repeating: 0x55, count: 16 * 512)))
        let made = Disk(
            file, name: "disk", sectorCount: 16, isReadOnly: false, isFile: true)
        unsafe disk = made
        return made
    }

    /// Zeros, the usual tables, the case's words, its code.
    private static func lay(
        _ header: Header, _ reader: inout FuzzReader, _ input: FuzzInput, _ memory: GuestMemory
    ) {
        unsafe memory.base.initializeMemory(as: UInt8.self, repeating: 0, count: Int(Layout.size))
        for page in 0..<Int(Layout.pages) { unsafe memory.watchedLines[page] = 0 }
        if header.abi.hasWideTables {
            // Two pointers to one directory, and two of its entries.
            for pointer in [0, 3] as [UInt32] {
                memory.store32(Layout.directory + pointer * 8, Layout.lastTable | 1)
            }
            memory.store32(Layout.lastTable, Layout.table | 7)
            memory.store32(Layout.lastTable + 511 * 8, Layout.otherTable | 0x67)
            for page in 0..<Layout.pages {
                memory.store32(Layout.table + page * 8, page << 12 | 0x67)
                memory.store32(Layout.otherTable + (480 + page) * 8, (page * 5 & 31) << 12 | 7)
            }
        } else {
            memory.store32(Layout.directory + header.base >> 22 * 4, Layout.table | 7)
            memory.store32(Layout.directory + 767 * 4, Layout.otherTable | 7)
            memory.store32(Layout.directory + 769 * 4, Layout.lastTable | 0x67)
        }
        for page in 0..<Layout.pages where !header.abi.hasWideTables {
            memory.store32(Layout.table + page * 4, page << 12 | 0x67)
            memory.store32(Layout.table + (Layout.pages + page) * 4, (page * 5 & 31) << 12 | 7)
            // The last of one table runs over into the first of the next.
            memory.store32(Layout.otherTable + (992 + page) * 4, (31 - page) << 12 | 7)
            memory.store32(Layout.lastTable + page * 4, (page ^ 8) << 12 | 7)
        }
        for slot in 0..<16 as Range<UInt32> {
            memory.store32(Layout.data + header.abi.data.ringStatus + slot * 4, 0xFFFF_FFFF)
        }
        memory.store32(Layout.data, 0x200)
        if let field = header.abi.data.kernelAddress {
            memory.store32(Layout.data + field, Layout.high)
        }
        if let field = header.abi.data.systemCallVector {
            memory.store32(Layout.data + field, 0x80)
        }
        let flat: InlineArray<4, UInt32> = [
            0x00CF_9A00, 0x00CF_9200, 0x00CF_FA00, 0x00CF_F200,
        ]
        for index in 0..<4 {
            memory.store32(Layout.descriptors + UInt32(12 + index) * 8, 0xFFFF)
            memory.store32(Layout.descriptors + UInt32(12 + index) * 8 + 4, flat[index])
        }
        for _ in 0..<header.words {
            let address = reader.word()
            memory.store32(address % (Layout.size - 3), reader.word())
        }
        if header.hasHandlers { layCalls(header, memory) }
        let rest = unsafe UnsafeRawBufferPointer(
            rebasing: input.bytes[min(reader.position, input.count)...])
        let count = min(UInt32(rest.count), Layout.codeSize)
        guard let range = memory.range(Layout.code, count) else { return }
        unsafe memory.writable(range).copyMemory(
            from: UnsafeRawBufferPointer(rebasing: rest.prefix(Int(count))))
    }
}

extension FuzzGuests {
    /// Calls in the ring that are served as soon as the guest has said where it is: a stack for traps
    /// from ring 3, handlers that the host enters or the processor.
    private static func layCalls(_ header: Header, _ memory: GuestMemory) {
        let vectors: InlineArray<14, UInt32> = [
            0, 1, 3, 4, 5, 6, 10, 11, 12, 13, 14, 16, 32, 0x80,
        ]
        let abi = header.abi
        func file(_ slot: UInt32, _ number: UInt32, _ a: UInt32, _ b: UInt32, _ c: UInt32) {
            let record =
                FuzzGuestLayout.data + abi.data.ringRecords + slot * abi.data.ringRecordSize
            memory.store32(record + 4 * abi.ringOrder.number, number)
            memory.store32(record + 4 * abi.ringOrder.first, a)
            memory.store32(record + 4 * abi.ringOrder.second, b)
            memory.store32(record + 4 * abi.ringOrder.third, c)
        }
        for index in 0..<vectors.count {
            let handler =
                header.base &+ FuzzGuestLayout.code
                &+ (header.handlers &* UInt32(index + 1) & 0x1FF)
            // Interrupt and trap gates in turn; of some, programs may raise them.
            let kind: UInt32 = 0x8E00 | UInt32(index & 1) << 8 | (index & 2 == 0 ? 0 : 0x6000)
            file(
                UInt32(index), 6, vectors[index], handler & 0xFFFF | 0x61_0000,
                handler & 0xFFFF_0000 | kind)
        }
        file(14, 7, 0x69, header.base &+ FuzzGuestLayout.stack &- 0x800, 1)
        let ready = FuzzGuestLayout.data + abi.data.ringStatus
        for word in 0..<UInt32(3) { memory.store32(ready + word * 4, 0) }
        memory.store32(ready + 12, 0xFF00_0000)
    }
}

/// A guest at work, and a launcher that serves it.
private struct FuzzedGuest {
    private let host: Host
    private let processor: SoftwareProcessor
    private var console: Console
    private let block: BlockDevice?
    private let layout: GuestABI.DMALayout
    /// Turns so far; what the outside does goes by them.
    private var turns = 0

    init(
        _ host: Host, _ processor: SoftwareProcessor, _ abi: GuestABI, _ disk: Disk?
    ) {
        self.host = host
        self.processor = processor
        layout = abi.dma ?? .lengthsFirst
        console = Console(memory: host.memory, layout: layout)
        if let disk {
            var page = DevicePage(at: FuzzGuestLayout.devices)
            block = BlockDevice(disk, on: &page, in: host.memory, layout: layout)
        } else {
            block = nil
        }
    }

    /// - Parameter isNearEnd: the generations come round all the time.
    mutating func run(budget: Int, stretch: Int, isNearEnd: Bool) {
        defer { Fuzz.require(host.machine.defect == nil, "an event that its state cannot have") }
        var left = budget
        guard host.machine.enter() == .proceed else { return }
        while left > 0 {
            turns += 1
            // A guest that only exits must end, too.
            left -= 4
            host.serveCalls()
            host.data?.setTime(Nanoseconds(count: 0))
            switch host.machine.afterCalls() {
            case .deliver(let record):
                serve(record)
                guard host.machine.enter() == .proceed else { return }
                continue
            case .fail: return
            default: break
            }
            // Round and round: what was left by the first time comes true the second.
            if isNearEnd && turns & 7 == 0 {
                processor.generation = Generation.last - UInt32(turns >> 3 & 7)
            }
            if turns & 31 == 0 {
                host.lines.raise(InterruptLine(rawValue: UInt32(turns >> 5) & 31))
            }
            // So many instructions stand for a look that is due soon.
            let patience = host.deliverInterrupt() == nil ? Int.max : 1_000
            switch host.machine.beforeEntry() {
            case .execute:
                let before = processor.instructionCount
                if host.isReadyToEnter() {
                    let most = min(patience, min(stretch, left) + 1)
                    host.handle(processor.run(instructions: most))
                }
                left -= Int(truncatingIfNeeded: processor.instructionCount &- before)
            case .sleep:
                let line = InterruptLine(rawValue: 3)
                if host.lines.isPending(line) { return }
                host.lines.raise(line)
            default: return
            }
        }
        _ = host.machine.enter()
    }

    /// What a launcher does with a record: text, a disk's request, and sometimes keys in return.
    private mutating func serve(_ sent: DMANotification) {
        if let block, sent.key == block.key {
            _ = block.serve(sent.record, on: host)
        } else if let output = console.output(at: sent.record) {
            console.wrote(output.count, of: output)
        }
        guard console.canTakeInput, let address = try? host.dmaBuffer(sent.key),
            let loan = console.borrow(address)
        else { return }
        let keys: [UInt8] = [0x41, 0x42, 0x43]
        let (count, line) = console.fill(loan, with: keys[...])
        if count > 0 { try? host.interrupt(line) }
    }
}
