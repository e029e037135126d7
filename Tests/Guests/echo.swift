// Property: input reaches the guest in order and without loss. Sends back what it reads and
// powers off after a byte 4 (^D) or the line "off".

nonisolated(unsafe) var matched = 0
nonisolated(unsafe) var atStart = true

func isEnd(_ byte: UInt8) -> Bool {
    if byte == 4 { return true }
    let word: StaticString = "off"
    if atStart && matched < 3 && byte == word.utf8Start[matched] {
        matched += 1
        return false
    }
    if atStart && matched == 3 && (byte == 10 || byte == 13) { return true }
    atStart = byte == 10 || byte == 13
    matched = 0
    return false
}

introduce()
onTrap = { _ in }
setGate(0x21, .interrupt)
bindInput(interrupt: 1)
unmask(1)
line("echo")
while true {
    call(.halt)
    disableInterrupts()
    let count = inputCount()
    if count == 0 { continue }
    var end = false
    var index: UInt32 = 0
    while index < count {
        if isEnd(inputByte(index)) { end = true }
        index += 1
    }
    sendInput()
    if end { powerOff() }
    releaseInput()
}
