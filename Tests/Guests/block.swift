// Property: a disk keeps what is written to it, and refuses everything else without harm.
// The words of the command line choose what is done: `write` fills the disk with a pattern,
// `check` reads it and compares, `hostile` asks for what no driver would ask for, `speed`
// measures. Without a disk it says so.
// Source: docs/abi/lguest.md §5.2 (block).

import GuestShim

// --- a driver ---------------------------------------------------------------------------

nonisolated(unsafe) private var sent = lguest_dma()
nonisolated(unsafe) private var bound = lguest_dma()
nonisolated(unsafe) private var interrupts: UInt32 = 0
/// 16 pages and one to begin at a page's start.
nonisolated(unsafe) private var buffer: (Page, Page, Page, Page, Page, Page, Page, Page, Page) = (
    Page(), Page(), Page(), Page(), Page(), Page(), Page(), Page(), Page()
)

let pageSize: UInt32 = 4096

/// The guest-virtual address of 8 pages.
let data: UInt32 = withUnsafeMutablePointer(to: &buffer) {
    (UInt32(UInt(bitPattern: $0)) + 4095) & ~4095
}
let boundRecord: UInt32 = withUnsafeMutablePointer(to: &bound) { UInt32(UInt(bitPattern: $0)) }
let sentRecord: UInt32 = withUnsafeMutablePointer(to: &sent) { UInt32(UInt(bitPattern: $0)) }

struct BlockDisk {
    /// Guest-physical address of the device's page, and where it is mapped.
    let key: UInt32
    let page: UInt32
    let line: UInt32
    var sectors: UInt32 { guest_load(page + 16) }

    /// The disk in a slot of the device page; nil if there is another device or none.
    init?(slot: UInt32) {
        let descriptor = map(memorySize(), slot: 0) + slot * 12
        guard guest_load(descriptor) & 0xFFFF == 3 else { return nil }
        key = guest_load(descriptor + 8) * pageSize
        page = map(key, slot: 1 + slot)
        line = slot + 1
        call(.bindDMA, key, physical(boundRecord), 1 << 8 | line)
        setGate(0x20 + line, .interrupt)
        unmask(line)
    }

    /// One request of `count` bytes from the start of the data pages on.
    /// - Returns: the result: 1 done, 2 failed, 0 unanswered.
    func request(type: UInt32, sector: UInt32, count: UInt32) -> UInt32 {
        let record = type == 0 ? boundRecord : sentRecord
        for index in 0..<16 { putSection(record, UInt32(index), 0, 0) }
        var rest = count
        var index: UInt32 = 0
        while rest > 0 && index < 16 {
            putSection(record, index, physical(data) + index * pageSize, min(rest, pageSize))
            rest -= min(rest, pageSize)
            index += 1
        }
        return raw(type: type, sector: sector, count: count)
    }

    /// The request with the records as they are.
    func raw(type: UInt32, sector: UInt32, count: UInt32) -> UInt32 {
        if type == 0 { putSection(sentRecord, 0, 0, 0) }
        guest_store(sentRecord, 0)
        guest_store(boundRecord, 0)
        guest_store(page, type)
        guest_store(page + 4, sector)
        guest_store(page + 8, count)
        guest_store(page + 12, 0)
        call(.sendDMA, key, physical(sentRecord))
        return guest_load(page + 12)
    }
}

/// A section of a record: 16-bit lengths from byte 4 on, addresses from byte 36.
func putSection(_ record: UInt32, _ index: UInt32, _ address: UInt32, _ count: UInt32) {
    let word = record + 4 + (index & ~1) * 2
    let shift = (index & 1) * 16
    guest_store(word, guest_load(word) & ~(0xFFFF << shift) | count << shift)
    guest_store(record + 36 + index * 4, address)
}

// --- what is done with it -----------------------------------------------------------------

let most: UInt32 = 8 * pageSize

func pattern(_ position: UInt32) -> UInt32 { position &* 2_654_435_761 ^ 0x5A5A_5A5A }

/// Goes through the disk in requests of up to 8 pages.
func sweep(_ disk: BlockDisk, write: Bool) -> UInt32 {
    var wrong: UInt32 = 0
    var sector: UInt32 = 0
    while sector < disk.sectors {
        let count = min(most, (disk.sectors - sector) * 512)
        if write {
            for offset in stride(from: UInt32(0), to: count, by: 4) {
                guest_store(data + offset, pattern(sector * 512 + offset))
            }
        }
        if disk.request(type: write ? 1 : 0, sector: sector, count: count) != 1 {
            wrong += 1
        } else if !write {
            if guest_load(boundRecord) != count { wrong += 1 }
            for offset in stride(from: UInt32(0), to: count, by: 4)
            where guest_load(data + offset) != pattern(sector * 512 + offset) { wrong += 1 }
        }
        sector += count / 512
    }
    return wrong
}

func tell(_ what: StaticString, _ number: UInt32) {
    put(what)
    put(number)
    put("\n")
}

func hostile(_ disk: BlockDisk) {
    tell("the last sector: ", disk.request(type: 0, sector: disk.sectors - 1, count: 512))
    tell("across the end: ", disk.request(type: 0, sector: disk.sectors - 1, count: 1024))
    tell("behind the end: ", disk.request(type: 1, sector: disk.sectors, count: 512))
    tell("far behind it: ", disk.request(type: 1, sector: 0xFFFF_FFFF, count: 4096))
    tell("of type 7: ", disk.request(type: 7, sector: 0, count: 512))
    putSection(sentRecord, 0, 0xFFFF_F000, 512)
    putSection(sentRecord, 1, 0, 0)
    tell("from outside memory: ", disk.raw(type: 1, sector: 0, count: 512))
    putSection(boundRecord, 0, memorySize() + 0x0100_0000, 512)
    putSection(boundRecord, 1, 0, 0)
    tell("to outside memory: ", disk.raw(type: 0, sector: 0, count: 512))
    putSection(boundRecord, 0, physical(data), 512)
    tell("more than its sections: ", disk.raw(type: 0, sector: 0, count: 1024))
    tell("less than its sections: ", disk.raw(type: 0, sector: 0, count: 100))
    guest_store(disk.page + 12, 0)
    call(.sendDMA, disk.key, 0xFFFF_FFF0)
    tell("with a record outside memory: ", guest_load(disk.page + 12))
    call(.bindDMA, disk.key, physical(boundRecord), 0)
    tell("with nothing bound: ", disk.raw(type: 0, sector: 0, count: 512))
}

func speed(_ disk: BlockDisk, _ what: StaticString, type: UInt32) {
    let start = now()
    var sector: UInt32 = 0
    while sector + most / 512 <= disk.sectors {
        _ = disk.request(type: type, sector: sector, count: most)
        sector += most / 512
    }
    put(what)
    put(UInt64(sector) * 512 * 1000 / (now() - start + 1))
    line(" MB/s")
}

introduce()
onTrap = { _ in interrupts += 1 }
enableInterrupts()
nonisolated(unsafe) var slot: UInt32 = 0
while let disk = BlockDisk(slot: slot) {
    put("disk ")
    put(slot)
    put(" of ")
    put(disk.sectors)
    line(" sectors")
    interrupts = 0
    if commandLine(has: "write") { tell("  writes that failed: ", sweep(disk, write: true)) }
    if commandLine(has: "check") { tell("  words that differ: ", sweep(disk, write: false)) }
    if commandLine(has: "hostile") { hostile(disk) }
    if commandLine(has: "speed") {
        speed(disk, "  write ", type: 1)
        speed(disk, "  read ", type: 0)
    }
    if interrupts == 0 && commandLine(has: "check") { line("  and no interrupt") }
    slot += 1
}
if slot == 0 { line("no disk") }
if commandLine(has: "die") { crash("Kernel panic - as asked for") }
powerOff()
