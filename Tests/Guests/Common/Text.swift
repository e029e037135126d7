// What the guests of every era write, and what the launcher has told them. Nothing here allocates: text is
// `StaticString`, numbers are printed digit by digit. `send` is the era's own.

import GuestShim

let pageOffset: UInt32 = 0xC000_0000

/// Guest-physical address of something in our image.
func physical(_ address: UInt32) -> UInt32 { address &- pageOffset }
func physical(_ pointer: UnsafeRawPointer) -> UInt32 {
    UInt32(UInt(bitPattern: pointer)) &- pageOffset
}

// --- output ---------------------------------------------------------------------------

nonisolated(unsafe) private var outputBuffer:
    (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) =
        (0, 0, 0, 0, 0, 0, 0, 0)

func put(_ text: StaticString) {
    send(text.utf8Start, UInt32(text.utf8CodeUnitCount))
}

func put(byte: UInt8) {
    withUnsafeMutableBytes(of: &outputBuffer) { buffer in
        buffer[0] = byte
        send(buffer.baseAddress!, 1)
    }
}

/// In decimal, right-aligned in `width` columns.
func put(_ number: UInt64, width: Int = 0) {
    withUnsafeMutableBytes(of: &outputBuffer) { buffer in
        var index = 64
        var rest = number
        repeat {
            index -= 1
            buffer[index] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        } while rest > 0
        while 64 - index < width {
            index -= 1
            buffer[index] = UInt8(ascii: " ")
        }
        send(buffer.baseAddress! + index, UInt32(64 - index))
    }
}

func put(_ number: UInt32, width: Int = 0) { put(UInt64(number), width: width) }

/// In hexadecimal, eight digits.
func put(hex number: UInt32) {
    withUnsafeMutableBytes(of: &outputBuffer) { buffer in
        buffer[0] = UInt8(ascii: "0")
        buffer[1] = UInt8(ascii: "x")
        for digit in 0..<8 {
            let value = UInt8(truncatingIfNeeded: number >> UInt32(28 - 4 * digit)) & 15
            buffer[2 + digit] =
                value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
        }
        send(buffer.baseAddress!, 10)
    }
}

func line(_ text: StaticString) {
    put(text)
    put("\n")
}

// --- boot parameters ------------------------------------------------------------------

/// Bytes of memory, from the memory map that the launcher left: §2.2.
func memorySize() -> UInt32 { guest_load(pageOffset + 0x2d8) }

/// True if the kernel's command line contains this word.
func commandLine(has word: StaticString) -> Bool {
    let line = UnsafePointer<UInt8>(bitPattern: UInt(pageOffset + 0x1000))!
    let count = word.utf8CodeUnitCount
    var start = 0
    while line[start] != 0 {
        var end = start
        while line[end] != 0 && line[end] != UInt8(ascii: " ") { end += 1 }
        if end - start == count {
            var same = true
            for index in 0..<count where line[start + index] != word.utf8Start[index] {
                same = false
            }
            if same { return true }
        }
        start = line[end] == 0 ? end : end + 1
    }
    return false
}

func putCommandLine() {
    let line = UnsafePointer<UInt8>(bitPattern: UInt(pageOffset + 0x1000))!
    var count: UInt32 = 0
    while line[Int(count)] != 0 { count += 1 }
    if count > 0 { send(line, count) }
}
