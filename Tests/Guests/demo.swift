// The guest that `./build.sh run` starts: shows where it lives and how fast, then offers a
// prompt if its command line has the word `prompt`, and powers off.

import GuestShim

func rule(_ title: StaticString) {
    put("\n  ")
    put(title)
    line("")
}

func item(_ name: StaticString) {
    put("    ")
    put(name)
    for _ in 0..<max(1, 14 - name.utf8CodeUnitCount) { put(" ") }
}

func putMemory(_ bytes: UInt32) {
    if bytes >= 1 << 20 {
        put(bytes >> 20)
        put(" MiB")
    } else {
        put(bytes >> 10)
        put(" KiB")
    }
}

// --- where --------------------------------------------------------------------------------

func showPlace() {
    rule("Where")
    item("ring")
    put(guest_code_selector() & 3)
    line(" (a kernel, but not the machine's own)")
    item("code")
    put(hex: pageOffset + 0x100000)
    put(" to ")
    put(hex: guest_end_address())
    put(", selector ")
    put(hex: guest_code_selector())
    put("\n")
    item("stack")
    put(hex: guest_stack_pointer())
    put(", selector ")
    put(hex: guest_data_selector())
    put("\n")
    item("processor")
    showProcessor()
}

func showProcessor() {
    var register: UInt32 = 0
    let order: (UInt32, UInt32, UInt32) = (1, 3, 2)
    while register < 3 {
        let which = register == 0 ? order.0 : register == 1 ? order.1 : order.2
        let word = guest_cpuid(0, which)
        for shift in 0..<4 { put(byte: UInt8(truncatingIfNeeded: word >> UInt32(8 * shift))) }
        register += 1
    }
    put(", family ")
    put((guest_cpuid(1, 0) >> 8) & 15)
    let features = guest_cpuid(1, 3)
    if features & 1 != 0 { put(", fpu") }
    if features & 0x10 != 0 { put(", tsc") }
    if features & 0x100 != 0 { put(", cx8") }
    if features & 0x8000 != 0 { put(", cmov") }
    put("\n")
}

// --- memory -------------------------------------------------------------------------------

func region(_ start: UInt32, _ end: UInt32, _ name: StaticString) {
    put("    ")
    put(hex: start)
    put(" - ")
    put(hex: end &- 1)
    put("  ")
    put(name)
    put("\n")
}

func showMemory() {
    rule("Memory")
    let size = memorySize()
    let directory = bootPageDirectory()
    let tables = (size + (4 << 20) - 1) >> 22
    item("size")
    putMemory(size)
    put("\n")
    region(0, 0x1000, "boot parameters")
    region(0x1000, 0x2000, "kernel command line")
    region(0x100000, physical(guest_end_address()), "this kernel")
    region(directory - tables * 4096, directory + 4096, "page tables that the launcher made")
    if directory + 4096 < size { region(directory + 4096, size, "initrd") }
    region(size, size + 4096, "device page")
    showDevices(map(size, slot: 0))
}

func showDevices(_ page: UInt32) {
    rule("Devices")
    var slot: UInt32 = 0
    while slot < 16 {
        let kind = guest_load(page + slot * 12) & 0xFFFF
        if kind != 0 {
            item(kind == 1 ? "console" : kind == 2 ? "network" : kind == 3 ? "disk" : "unknown")
            put("slot ")
            put(slot)
            put(", interrupt ")
            put(slot + 1)
            put("\n")
        }
        slot += 1
    }
}

// --- time -----------------------------------------------------------------------------------

func putTwo(_ number: UInt64) {
    if number < 10 { put("0") }
    put(number)
}

/// The civil date of a day since 1970: counts eras of 400 years from 1 March of year 0.
func putDate(_ days: UInt64) {
    let shifted = days + 719_468
    let era = shifted / 146_097
    let dayOfEra = shifted % 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let month = (5 * dayOfYear + 2) / 153
    let civilMonth = month < 10 ? month + 3 : month - 9
    put(yearOfEra + era * 400 + (civilMonth <= 2 ? 1 : 0))
    put("-")
    putTwo(civilMonth)
    put("-")
    putTwo(dayOfYear - (153 * month + 2) / 5 + 1)
}

func showTime() {
    let seconds = hostTime() / 1_000_000_000
    putDate(seconds / 86_400)
    put(" ")
    putTwo(seconds / 3600 % 24)
    put(":")
    putTwo(seconds / 60 % 60)
    put(":")
    putTwo(seconds % 60)
    line(" UTC, from the host's clock")
}

// --- rates ----------------------------------------------------------------------------------

func measureHypercalls() -> UInt64 {
    let start = now()
    var calls: UInt64 = 0
    while now() - start < 200_000_000 {
        for _ in 0..<100 { call(.flushAsync) }
        calls += 100
    }
    return calls * 1_000_000_000 / (now() - start)
}

func measureInterrupts() -> UInt64 {
    ticks = 0
    let start = now()
    enableInterrupts()
    startClock(period: 1000)
    while now() - start < 200_000_000 {}
    stopClock()
    disableInterrupts()
    return UInt64(ticks) * 1_000_000_000 / (now() - start)
}

func measureInstructions() -> UInt64 {
    var rounds: UInt32 = 1 << 18
    while true {
        let start = now()
        _ = guest_loop_integer(rounds)
        let elapsed = now() - start
        if elapsed > 200_000_000 { return UInt64(rounds) * 10_000 / (elapsed + 1) }
        rounds *= 2
    }
}

func showRates() {
    rule("Speed, measured now")
    item("instructions")
    put(measureInstructions(), width: 9)
    line(" million a second")
    item("hypercalls")
    put(measureHypercalls(), width: 9)
    line(" a second")
    item("interrupts")
    put(measureInterrupts(), width: 9)
    line(" a second, asked for one by one")
}

// --- prompt ---------------------------------------------------------------------------------

nonisolated(unsafe) var typed: (UInt64, UInt64) = (0, 0)
nonisolated(unsafe) var typedCount = 0

func typedIs(_ word: StaticString) -> Bool {
    guard typedCount == word.utf8CodeUnitCount else { return false }
    return withUnsafeBytes(of: &typed) { bytes in
        for index in 0..<typedCount where bytes[index] != word.utf8Start[index] { return false }
        return true
    }
}

func obey() {
    if typedIs("") {
    } else if typedIs("help") {
        line("where  memory  time  speed  panic  trap  off")
    } else if typedIs("where") {
        showPlace()
    } else if typedIs("memory") {
        showMemory()
    } else if typedIs("time") {
        showTime()
    } else if typedIs("speed") {
        showRates()
    } else if typedIs("panic") {
        crash("Kernel panic - as you wished")
    } else if typedIs("trap") {
        guest_undefined()
    } else if typedIs("off") {
        line("Good-bye.")
        powerOff()
    } else {
        line("Not a command here; try help.")
    }
}

func type(_ byte: UInt8) {
    switch byte {
    case 4:
        put("\n")
        powerOff()
    case 10, 13:
        put("\n")
        obey()
        typedCount = 0
        put("demo> ")
    case 8, 127:
        if typedCount > 0 {
            typedCount -= 1
            put("\u{8} \u{8}")
        }
    default:
        if byte >= 32 && byte < 127 && typedCount < 16 {
            withUnsafeMutableBytes(of: &typed) { $0[typedCount] = byte }
            typedCount += 1
            put(byte: byte)
        }
    }
}

func prompt() -> Never {
    line("\n  Type help for what there is, off to power off; three ^C within a second leave.\n")
    put("demo> ")
    bindInput(interrupt: 1)
    unmask(1)
    // A tick a second keeps the host's clock in our page fresh.
    startClock(period: 1_000_000_000)
    while true {
        call(.halt)
        disableInterrupts()
        let count = inputCount()
        guard count > 0 else { continue }
        var index: UInt32 = 0
        while index < count {
            type(inputByte(index))
            index += 1
        }
        releaseInput()
    }
}

introduce()
onTrap = { frame in
    if frame.pointee.vector == 0x20 {
        countTick()
    } else if frame.pointee.vector != 0x21 {
        unexpected(frame)
    }
}
setGate(0x20, .interrupt)
setGate(0x21, .interrupt)
unmask(0)
line("\nThis is a guest kernel of mini's own, running under mini-launch.")
showPlace()
showMemory()
rule("Time")
item("now")
showTime()
showRates()
if commandLine(has: "prompt") { prompt() }
line("\nPowering off.")
powerOff()
