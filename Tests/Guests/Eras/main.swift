// Property: a kernel of this era finds what its era's host and launcher had. It says what it finds, and speaks through each
// device. A word of the command line lets it do another thing instead: `restart`, `panic`, `answer` (frames of another guest,
// for ever), `through` (uses a page that is written through).

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
    setGate(0x20, .interrupt)
    unmask(0)
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

/// Types of our frames: IEEE 802's local experimental ones.
enum Frame {
    static let question: UInt32 = 0xB588
    static let answer: UInt32 = 0xB688
    static let length: UInt32 = 60
}

/// A network card with a buffer that it may fill.
struct Card {
    var device: Device
    let outgoing = pageOffset + Place.buffers + 2 * pageSize
    let incoming = pageOffset + Place.buffers + 3 * pageSize

    init(_ device: Device) {
        self.device = device
        lend()
    }

    mutating func lend() {
        device.first.add(incoming, Device.frameHeader, toFill: true)
        device.first.add(incoming + 16, 1514, toFill: true)
        device.first.send()
    }

    /// Sends what stands in `outgoing` behind the header's room.
    mutating func send(_ type: UInt32) -> Bool {
        for index in 0..<6 as Range<UInt32> {
            putByte(outgoing + 16 + 6 + index, device.register(index))
        }
        putHalf(outgoing + 16 + 12, type)
        clear(outgoing, 16)
        device.second.add(outgoing, Device.frameHeader)
        device.second.add(outgoing + 16, Frame.length)
        device.second.send()
        return device.second.wait() != nil
    }

    /// The next frame's type, and lends its buffer again; nil if there is none.
    mutating func take() -> UInt32? {
        guard device.first.isDone else { return nil }
        let type =
            device.first.filled >= Device.frameHeader + Frame.length ? half(incoming + 16 + 12) : 0
        // Back to its sender, should that be wanted.
        for index in 0..<6 as Range<UInt32> {
            putByte(outgoing + 16 + index, byte(incoming + 16 + 6 + index))
        }
        lend()
        return type
    }
}

func ask(_ page: UInt32) {
    guard let device = Device.find(.network, page) else { return line("network: none") }
    var card = Card(device)
    put("network: ")
    while true {
        for index in 0..<6 as Range<UInt32> { putByte(card.outgoing + 16 + index, 0xFF) }
        guard card.send(Frame.question) else { return line("frames do not leave") }
        arrived = 0
        call(.setClockEvent, 20_000_000)
        sleep(until: 1 | 1 << card.device.first.line)
        while let type = card.take() {
            if type == Frame.answer { return line("answered") }
        }
    }
}

/// Never ends by itself.
func answer(_ page: UInt32) -> Never {
    guard let device = Device.find(.network, page) else { crash("no network") }
    var card = Card(device)
    line("network: answering")
    while true {
        card.device.sleep(card.device.first)
        while let type = card.take() {
            if type == Frame.question { _ = card.send(Frame.answer) }
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
if commandLine(has: "answer") { answer(page) }
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
