// Property: frames reach the guest and leave it. It is every host of its network: it answers
// whoever asks for an address, echoes pings and datagrams to port 7, sends back frames of type
// 0x88B5, counts those of type 0x88B6, and powers off after a datagram to port 9.
// Source: RFC 826 (ARP), RFC 792 (ICMP echo), RFC 768 (UDP), IEEE 802 (local experimental types).

import GuestShim

nonisolated(unsafe) private var frames: UInt32 = 0
nonisolated(unsafe) private var bytes: UInt32 = 0
nonisolated(unsafe) private var isDone = false

/// The frame's sender becomes its receiver.
private func turn(_ frame: UInt32) { exchange(frame, frame + 6, 6) }

private func answer(_ network: Network, _ frame: UInt32, _ count: UInt32) {
    switch short(frame + 12) {
    case 0x0806 where count >= 42 && short(frame + 20) == 1: resolve(network, frame)
    case 0x0800 where count >= 42: datagram(network, frame, count)
    case 0x88B5:
        turn(frame)
        network.send(frame, count)
    case 0x88B6:
        frames += 1
        bytes += count
    default: break
    }
}

/// ARP: the address that is asked for is ours.
private func resolve(_ network: Network, _ frame: UInt32) {
    let own = network.page + 6 * network.me
    for index in 0..<6 as Range<UInt32> {
        putByte(frame + index, byte(frame + 6 + index))
        putByte(frame + 6 + index, byte(own + index) & (index == 0 ? 0xFE : 0xFF))
    }
    putShort(frame + 20, 2)
    // Sender and target, each hardware address and address.
    exchange(frame + 22, frame + 32, 10)
    for index in 0..<6 as Range<UInt32> { putByte(frame + 22 + index, byte(frame + 6 + index)) }
    network.send(frame, 42)
}

private func datagram(_ network: Network, _ frame: UInt32, _ count: UInt32) {
    let header = UInt32(byte(frame + 14) & 15) * 4
    let inner = frame + 14 + header
    guard 14 + header + 8 <= count else { return }
    switch byte(frame + 23) {
    case 1 where byte(inner) == 8:
        putByte(inner, 0)
        // The checksum grows by what the type lost.
        let sum = short(inner + 2) + 0x0800
        putShort(inner + 2, (sum & 0xFFFF) + sum >> 16)
    case 17 where short(inner + 2) == 7: exchange(inner, inner + 2, 2)
    case 17 where short(inner + 2) == 9:
        isDone = true
        return
    default: return
    }
    exchange(frame + 26, frame + 30, 4)
    turn(frame)
    network.send(frame, count)
}

introduce()
onTrap = { _ in }
guard let network = Network.first() else { crash("no network") }
setGate(0x20 + network.line, .interrupt)
unmask(network.line)
guard network.open(number: 1) == 1 else { crash("no buffers") }
put("slot ")
put(network.me)
line(commandLine(has: "closed") ? ", closed" : ", open")
if commandLine(has: "closed") { network.close() }
while !isDone {
    call(.halt)
    disableInterrupts()
    var index: UInt32 = 0
    while index < Network.buffers {
        let count = network.count(index)
        if count > 0 {
            answer(network, network.buffer(index), count)
            network.release(index)
        }
        index += 1
    }
}
put(frames)
put(" frames, ")
put(bytes)
line(" bytes")
network.close()
powerOff()
