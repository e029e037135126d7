// Property: guests that share a file are on one Ethernet. What each does is on its command line:
// `echo` sends back what comes until somebody says the end; `ask` sends numbered frames to
// everybody and compares what returns, then says the end; `flood` sends without listening;
// `deaf` binds buffers and never gives one back; `hostile` sends what no driver would send,
// a hundred thousand records. Source: docs/abi/lguest.md §5.1, §5.2 (shared net).

import GuestShim

private let ask: UInt32 = 0x88B5
private let answerType: UInt32 = 0x88B6
private let endType: UInt32 = 0x88B7

/// Everybody is meant.
private func header(_ frame: UInt32, _ type: UInt32, _ network: Network) {
    for index in 0..<6 as Range<UInt32> {
        putByte(frame + index, 0xFF)
        putByte(frame + 6 + index, byte(network.page + 6 * network.me + index))
    }
    putShort(frame + 12, type)
}

private func pattern(_ number: UInt32, _ index: UInt32) -> UInt32 {
    (number &* 2_654_435_761) ^ (index &* 40503)
}

/// A frame with its number and words that follow from it.
private func fill(_ frame: UInt32, _ count: UInt32, _ number: UInt32) {
    guest_store(frame + 16, number)
    var index: UInt32 = 20
    while index + 4 <= count {
        guest_store(frame + index, pattern(number, index))
        index += 4
    }
}

private func isWhole(_ frame: UInt32, _ count: UInt32) -> Bool {
    let number = guest_load(frame + 16)
    var index: UInt32 = 20
    while index + 4 <= count {
        if guest_load(frame + index) != pattern(number, index) { return false }
        index += 4
    }
    return true
}

private func echo(_ network: Network) {
    var isDone = false
    var count: UInt32 = 0
    while !isDone {
        call(.halt)
        disableInterrupts()
        var index: UInt32 = 0
        while index < Network.buffers {
            let length = network.count(index)
            let frame = network.buffer(index)
            if length > 0 {
                switch short(frame + 12) {
                case ask:
                    count += 1
                    exchange(frame, frame + 6, 6)
                    putShort(frame + 12, answerType)
                    network.send(frame, length)
                case endType: isDone = true
                default: break
                }
                network.release(index)
            }
            index += 1
        }
    }
    put("echoed ")
    put(count)
    line(" frames")
}

/// Sends the frame until somebody has taken it, two minutes at most. The clock runs.
private func insist(_ network: Network) {
    var patience: UInt32 = 60_000
    while network.send(network.frame, 60) == 0 && patience > 0 {
        call(.halt)
        disableInterrupts()
        patience -= 1
    }
}

private func askAll(_ network: Network) {
    let rounds: UInt32 = 2000
    var (back, damaged, lost): (UInt32, UInt32, UInt32) = (0, 0, 0)
    // The other may not be there yet.
    header(network.frame, ask, network)
    fill(network.frame, 60, 0)
    startClock(period: 2_000_000)
    insist(network)
    var number: UInt32 = 1
    while number <= rounds {
        let count = 60 + number % 1455
        header(network.frame, ask, network)
        fill(network.frame, count, number)
        network.send(network.frame, count)
        var isBack = false
        let deadline = ticks + 10_000
        while !isBack && ticks < deadline {
            call(.halt)
            disableInterrupts()
            for index in 0..<Network.buffers where network.count(index) > 0 {
                let frame = network.buffer(index)
                if short(frame + 12) == answerType && guest_load(frame + 16) == number {
                    isBack = true
                    back += 1
                    if network.count(index) != count || !isWhole(frame, count) { damaged += 1 }
                }
                network.release(index)
            }
        }
        if !isBack { lost += 1 }
        number += 1
    }
    // Without it the other would wait for ever.
    header(network.frame, endType, network)
    insist(network)
    stopClock()
    put(back)
    put(" back, ")
    put(damaged)
    put(" damaged, ")
    put(lost)
    line(" lost")
}

/// Frames to and fro, one at a time, for a second.
private func measure(_ network: Network) {
    startClock(period: 1_000_000_000)
    var trips: UInt32 = 0
    while ticks == 0 {
        header(network.frame, ask, network)
        network.send(network.frame, 1514)
        var isBack = false
        while !isBack && ticks == 0 {
            call(.halt)
            disableInterrupts()
            for index in 0..<Network.buffers where network.count(index) > 0 {
                if short(network.buffer(index) + 12) == answerType { isBack = true }
                network.release(index)
            }
        }
        trips += 1
    }
    stopClock()
    header(network.frame, endType, network)
    network.send(network.frame, 60)
    put(trips)
    line(" trips")
}

private func flood(_ network: Network) {
    var (sent, taken): (UInt32, UInt32) = (0, 0)
    let start = now()
    while now() - start < 2_000_000_000 {
        header(network.frame, ask, network)
        fill(network.frame, 1514, sent)
        sent += 1
        taken += network.send(network.frame, 1514) > 0 ? 1 : 0
    }
    put(taken > 0 ? "some" : "none")
    put(" of ")
    put(sent > 10 ? "many" : "few")
    line(" taken")
}

/// Numbers without a pattern, the same each time.
nonisolated(unsafe) private var seed: UInt32 = 0x2545_F491
private func random() -> UInt32 {
    seed ^= seed << 13
    seed ^= seed >> 17
    seed ^= seed << 5
    return seed
}

/// Records and keys of all kinds that the rules allow; one that they do not allow ends us.
private func hostile(_ network: Network) {
    let record = network.frame + 0x2000
    var number: UInt32 = 0
    while number < 100_000 {
        for index in 0..<25 as Range<UInt32> { guest_store(record + 4 * index, 0) }
        var section: UInt32 = 0
        let sections = random() % 17
        while section < sections {
            let start = random() % (memorySize() - 0x2000)
            let count = min(random() % 2048, 4096 - (start & 4095))
            let word = record + 4 + (section & ~1) * 2
            guest_store(word, guest_load(word) | count << ((section & 1) * 16))
            guest_store(record + 36 + 4 * section, start)
            section += 1
        }
        // Any word of the page, bound or not, in use or not.
        call(.sendDMA, network.key + 4 * (random() % 1024), physical(record))
        if random() % 64 == 0 {
            let key = network.key + 4 * (random() % 1024)
            call(.bindDMA, key, random(), random() % 32)
        }
        if random() % 64 == 0 { guest_store(network.page + 4 * (random() % 1024), random()) }
        number += 1
    }
    line("a hundred thousand records")
}

introduce()
onTrap = { frame in if frame.pointee.vector == 0x20 { countTick() } }
guard let network = Network.first() else { crash("no network") }
setGate(0x20, .interrupt)
setGate(0x20 + network.line, .interrupt)
unmask(0)
unmask(network.line)
put("slot ")
put(network.me)
line("")
if commandLine(has: "foreign") {
    // Another's key: nobody may listen there.
    put("another's key: ")
    put(call(.bindDMA, network.key + 4 * (network.me + 1), physical(network.frame), 1 << 8 | 2))
    line("")
}
guard network.open(number: UInt8(truncatingIfNeeded: network.me + 1)) == 1 else {
    crash("no buffers")
}
if commandLine(has: "echo") { echo(network) }
if commandLine(has: "ask") { askAll(network) }
if commandLine(has: "measure") { measure(network) }
if commandLine(has: "flood") { flood(network) }
if commandLine(has: "hostile") { hostile(network) }
if commandLine(has: "crossing") {
    // A section that leaves its page.
    _ = network.send(network.frame - 8, 60, to: network.me == 0 ? 1 : 0)
    line("still here")
}
if commandLine(has: "deaf") { while true { call(.halt) } }
network.close()
powerOff()
