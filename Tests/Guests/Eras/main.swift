// Property: a kernel of this era finds what its era's host and launcher had. It says what it finds, and speaks through each
// device. A word of the command line lets it do another thing instead: `restart`, `panic`, `ask` (for somebody on its network),
// `answer` (is who is asked for, and never ends), `through` (uses a page that is written through).

import EraShim
import GuestShim

// --- console ----------------------------------------------------------------------------------

nonisolated(unsafe) var console: Device?

/// Text goes to the console, and before there is one the era's own way.
func send(_ start: UnsafeRawPointer, _ count: UInt32) {
    let address = UInt32(UInt(bitPattern: start))
    if var device = console {
        device.second.add(address, count)
        device.second.send()
        if device.second.wait() == nil { crash("the console does not take text") }
        console = device
    } else if era_row.devices == 2 {
        for index in 0..<count { Device.emergency(byte(address + index)) }
    } else {
        // A text that ends with its terminator, as all before the console are.
        call(.notify, physical(address))
    }
}

func listen() {
    guard var device = console else { return }
    let room = pageOffset + Place.buffers
    device.first.add(room, 64, toFill: true)
    device.first.send()
    // A look at what nobody may have written to yet.
    _ = device.first.isDone
    device.sleep(device.first)
    let count = device.first.filled
    console = device
    put("heard: ")
    send(UnsafeRawPointer(bitPattern: UInt(room))!, count)
}

// --- the host ---------------------------------------------------------------------------------

func checkData() {
    let reserved = shared(era_row.reserved)
    var idle = true
    for offset in stride(from: era_row.status, to: era_row.records, by: 4) {
        idle = idle && shared(offset) == .max
    }
    for offset in stride(from: era_row.records, to: era_row.reserved, by: 4) {
        idle = idle && shared(offset) == 0
    }
    put("data: ")
    if reserved == 0 || reserved & 0xFFF != 0 {
        line("nothing reserved")
    } else if !idle {
        line("the ring is not idle")
    } else if shared(12) < 1_000_000_000 {
        line("no time")
    } else {
        line("as they should be")
    }
}

func tellTrap(
    _ name: StaticString, _ size: UInt32, orElse other: StaticString, _ body: () -> Void
) {
    let before = traps
    skip = size
    body()
    put(name)
    if traps == before {
        line(other)
    } else {
        put("trap ")
        put(trap)
        put("\n")
    }
}

/// Gates that are filed in the ring, each with three words.
func checkRing() {
    for vector in 3..<5 as Range<UInt32> {
        let words = Gate.trap.words(vector)
        file(vector - 3, .loadIDTEntry, vector, words.low, words.high)
    }
    call(.flushAsync)
    skip = 0
    era_trap_3()
    let first = trap
    era_trap_4()
    put("ring: ")
    line(first == 3 && trap == 4 && shared(era_row.status) == .max ? "done" : "not done")
}

nonisolated(unsafe) var segments: InlineArray<32, UInt64> = InlineArray(repeating: 0)

func checkSegments() {
    segments[12] = 0x00CF_9B00_0000_FFFF
    segments[13] = 0x00CF_9300_0000_FFFF
    segments[20] = 0x00CF_9300_0000_FFFF
    if era_row.loads_entries != 0 {
        for index in segments.indices {
            let entry = segments[index]
            call(
                .loadGDTEntry, UInt32(index), UInt32(truncatingIfNeeded: entry),
                UInt32(truncatingIfNeeded: entry >> 32))
        }
    } else {
        withUnsafePointer(to: &segments) { _ = call(.loadGDT, physical($0), 32) }
    }
    tellTrap("segment: ", 0, orElse: "loaded") { era_load_fs(20 << 3 | 1) }
    era_load_fs(0)
}

func checkClock() {
    put("clock: ")
    // A trap that came without the host says in its frame that interrupts were open.
    closeInterrupts()
    // The kernel's host never takes that word back.
    if hasPending { setShared(era_row.pending, 0) }
    call(.setClockEvent, 50_000)
    if hasPending {
        guard comes({ shared(era_row.pending) == 0x200 }) else { crash("no sign of the clock") }
        openInterrupts()
        call(.sendInterrupts)
        closeInterrupts()
        line(arrived & 1 != 0 ? "waited, and came" : "waited, and did not come")
    } else {
        openInterrupts()
        let came = comes { arrived & 1 != 0 }
        closeInterrupts()
        line(came ? "came" : "did not come")
    }
    arrived = 0
    call(.setClockEvent, 1_000_000)
    era_count_quietly(5_000_000)
    openInterrupts()
    let came = comes { arrived & 1 != 0 }
    closeInterrupts()
    put("quiet: ")
    line(disturbances == 0 && came ? "afterwards" : "disturbed")
    arrived = 0
}

func writeThrough() {
    let address = map(Place.buffers, slot: 300, flags: 0xF)
    put("written through: ")
    guest_store(address, 1)
    line(guest_load(pageOffset + Place.buffers) == 1 ? "yes" : "no")
}

// --- devices ------------------------------------------------------------------------------------

/// A request of one sector; nil if it does not come back.
func request(_ disk: inout Device, _ type: UInt32, _ sector: UInt32, _ data: UInt32) -> UInt8? {
    let header = pageOffset + Place.buffers
    let status = header + 64
    clear(header, 64)
    guest_store(header, type)
    guest_store(header + 8, sector)
    putByte(status, 0xFF)
    disk.first.add(header, Device.requestHeader)
    if type & 0xFF < 4 { disk.first.add(data, 512, toFill: type == 0) }
    disk.first.add(status, 1, toFill: true)
    disk.first.send()
    return disk.first.wait() == nil ? nil : byte(status)
}

func put(_ status: UInt8?) {
    if let status { put(UInt32(status)) } else { put("nothing") }
}

func tryDisk(_ page: UInt32) {
    guard var disk = Device.find(.block, page) else { return line("disk: none") }
    let data = pageOffset + Place.buffers + pageSize
    put("disk: ")
    put(UInt32(disk.register(0)) | UInt32(disk.register(1)) << 8)
    put(" sectors, read ")
    put(request(&disk, 0, 0, data))
    put(disk.interrupts(disk.first) ? ", interrupt" : ", no interrupt")
    put(", begins with ")
    send(UnsafeRawPointer(bitPattern: UInt(data))!, 8)
    // What was read, backwards.
    for offset in 0..<256 as Range<UInt32> {
        let other = byte(data + offset)
        putByte(data + offset, byte(data + 511 - offset))
        putByte(data + 511 - offset, other)
    }
    put(", written ")
    put(request(&disk, 1, 3, data))
    clear(data, 512)
    put(", read again ")
    put(request(&disk, 0, 3, data))
    put(", ends with ")
    for offset in (504..<512 as Range<UInt32>).reversed() { put(byte: byte(data + offset)) }
    if disk.offered & 1 != 0 {
        put(", behind a barrier ")
        put(request(&disk, 0x8000_0001, 5, data))
    }
    put(", beyond the end ")
    put(request(&disk, 0, 1000, data))
    put(", no request ")
    put(request(&disk, 77, 0, data))
    put("\n")
}

func tryRandom(_ page: UInt32) {
    guard var source = Device.find(.random, page) else { return line("random: none") }
    let room = pageOffset + Place.buffers
    clear(room, 32)
    source.first.add(room, 32, toFill: true)
    source.first.send()
    guard let count = source.first.wait() else { return line("random: nothing") }
    var all: UInt32 = 0
    for offset in stride(from: 0, to: 32 as UInt32, by: 4) { all |= guest_load(room + offset) }
    put("random: ")
    put(count)
    line(all != 0 ? " bytes" : " zeros")
}

// --- frames -------------------------------------------------------------------------------------

/// ARP's, which a host's kernel answers as well as one of us: RFC 826.
enum Frame {
    static let type: UInt32 = 0x0608
    static let length: UInt32 = 60
    /// From a frame's start on: what it is, who sends it, and whom it is about; a hardware address and an address each.
    static let operation: UInt32 = 20
    static let sender: UInt32 = 22
    static let target: UInt32 = 32

    /// What the operation is, of a frame of so many bytes; nil if it is none of ARP's.
    static func operation(_ frame: UInt32, _ count: UInt32) -> UInt32? {
        count >= 42 && half(frame + 12) == type ? half(frame + operation) >> 8 : nil
    }
}

func copy(_ from: UInt32, to place: UInt32, _ count: UInt32) {
    for offset in 0..<count { putByte(place + offset, byte(from + offset)) }
}

/// A network card with a buffer that it may fill.
struct Card {
    var device: Device
    /// Frames, each behind 16 bytes of which the last ones are its header.
    let outgoing = pageOffset + Place.buffers + 2 * pageSize + 16
    let incoming = pageOffset + Place.buffers + 3 * pageSize + 16

    init?(_ page: UInt32) {
        guard let device = Device.find(.network, page) else { return nil }
        self.device = device
        lend()
    }

    mutating func lend() {
        device.first.add(incoming - 16, Device.frameHeader, toFill: true)
        device.first.add(incoming, 1514, toFill: true)
        device.first.send()
    }

    /// Sends the outgoing frame, as ours.
    mutating func send(_ operation: UInt32) -> Bool {
        for index in 0..<6 as Range<UInt32> {
            putByte(outgoing + 6 + index, device.register(index))
            putByte(outgoing + Frame.sender + index, device.register(index))
        }
        putHalf(outgoing + 12, Frame.type)
        // Ethernet and IP: addresses of six bytes, and of four.
        putHalf(outgoing + 14, 0x0100)
        putHalf(outgoing + 16, 0x0008)
        putHalf(outgoing + 18, 0x0406)
        putHalf(outgoing + Frame.operation, operation << 8)
        clear(outgoing - 16, 16)
        device.second.add(outgoing - 16, Device.frameHeader)
        device.second.add(outgoing, Frame.length)
        device.second.send()
        return device.second.wait() != nil
    }

    /// What came in.
    var operation: UInt32? {
        let header = Device.frameHeader
        return Frame.operation(incoming, max(device.first.filled, header) - header)
    }
}

/// 10.7.0.1, whom we ask for, and 10.7.0.2, who we are.
let asked: UInt32 = 0x0100_070A
let asking: UInt32 = 0x0200_070A

func ask(_ page: UInt32) {
    guard var card = Card(page) else { return line("network: none") }
    put("network: ")
    // A look at what nobody may have written to yet.
    _ = card.device.first.isDone
    var answers = 0
    // Whom we ask is not there yet, perhaps. Two questions at a time, so that an answer has to wait for the only buffer; and
    // again, since who waits for a buffer must look for frames again afterwards.
    while answers < 4 {
        for _ in 0..<2 {
            clear(card.outgoing, Frame.length)
            for index in 0..<6 as Range<UInt32> { putByte(card.outgoing + index, 0xFF) }
            guest_store(card.outgoing + Frame.sender + 6, asking)
            guest_store(card.outgoing + Frame.target + 6, asked)
            guard card.send(1) else { return line("frames do not leave") }
        }
        arrived = 0
        call(.setClockEvent, 20_000_000)
        while arrived & 1 == 0 && answers < 4 {
            sleep(until: 1 | 1 << card.device.first.line, keeping: 1)
            while card.device.first.isDone {
                if card.operation == 2, guest_load(card.incoming + Frame.sender + 6) == asked {
                    answers += 1
                }
                card.lend()
            }
        }
    }
    line("answered")
}

/// Is whoever is asked for. Never ends by itself.
func answer(_ page: UInt32) -> Never {
    guard var card = Card(page) else { crash("no network") }
    line("network: answering")
    while true {
        card.device.sleep(card.device.first)
        while card.device.first.isDone {
            if card.operation == 1 {
                clear(card.outgoing, Frame.length)
                copy(card.incoming + 6, to: card.outgoing, 6)
                copy(card.incoming + Frame.sender, to: card.outgoing + Frame.target, 10)
                copy(card.incoming + Frame.target + 6, to: card.outgoing + Frame.sender + 6, 4)
                _ = card.send(2)
            }
            card.lend()
        }
    }
}

// ----------------------------------------------------------------------------------------------

let early: StaticString = "early text\n"
put(early)
openWindow()
setGate(6, .interrupt)
setGate(13, .interrupt)
let page = era_row.devices == 2 ? 0 : mapDevices()
console = Device.find(.console, page)
if console == nil { crash("no console") }
put("console: ")
line(console!.interrupts(console!.second) ? "interrupt" : "no interrupt")
if commandLine(has: "panic") { end("Kernel panic - as it was asked for", reason: 1) }
if commandLine(has: "restart") {
    line("Restarting system.")
    if era_row.has_shutdown != 0 { end("Restarting", reason: 2) }
    // Before there was a call, kernels pulled the reset line.
    while true { guest_reset() }
}
if commandLine(has: "through") {
    writeThrough()
    end("Power down", reason: 1)
}
// The clock, too, wakes who waits for a frame.
setGate(0x20, .interrupt)
unmask(0)
if commandLine(has: "answer") { answer(page) }
if commandLine(has: "ask") {
    ask(page)
    end("Power down", reason: 1)
}
checkData()
checkRing()
checkSegments()
tellTrap("cli: ", 1, orElse: "skipped") { era_cli() }
tellTrap("vmcall: ", 3, orElse: "a call") { era_vmcall() }
setGate(0x80, .interrupt)
tellTrap("system call: ", 2, orElse: "nothing") { era_system_call() }
checkClock()
tryDisk(page)
tryRandom(page)
ask(page)
listen()
end("Power down", reason: 1)
