// A keyboard and its controller (an 8042), at 60 and 64 and interrupt line 1, for a guest whose console is its screen: bytes
// that are typed become the presses and releases, of an American keyboard, that give a kernel the same bytes. There is no
// mouse.
//
//     byte ── typed ──> scan codes (set 1, as the controller translates them) ──┐
//     command for the keyboard (60) ── FA, and what it asks for ────────────────┼── waiting ──> 60, one at a time, line 1
//     command for the controller (64), its parameter (60) ── answer ────────────┴── before all that waits
//
// Source: docs/abi/pc.md §3.4; IBM's Personal System/2 technical reference (keyboard and auxiliary device controller).

struct Keyboard {
    private static let depth = 32
    /// What a byte comes to at most: control or shift, the key, and their ends.
    private static let most = 4

    private var waiting: [UInt8] = []
    /// The controller's own.
    private var answer: UInt8?
    /// The controller command whose parameter comes next.
    private var command: UInt8?
    /// The command byte: interrupt on, translation, no mouse.
    private var mode: UInt8 = Mode.interrupt | Mode.translation | 0x24

    /// A driver has switched it on, or set its lights; what is typed before that, drivers throw away.
    private var isUsed = false

    private enum Mode {
        static let interrupt: UInt8 = 1
        static let isOff: UInt8 = 0x10
        static let translation: UInt8 = 0x40
    }

    init() { waiting.reserveCapacity(Self.depth) }

    /// Something is there to read.
    private var isFull: Bool { answer != nil || !waiting.isEmpty && mode & Mode.isOff == 0 }

    var isInterruptRequested: Bool { isFull && mode & Mode.interrupt != 0 }

    // MARK: Typing

    var hasRoom: Bool {
        isUsed && waiting.count <= Self.depth - Self.most && mode & Mode.isOff == 0
    }

    /// Types a byte; one that no key gives is left out.
    mutating func type(_ byte: UInt8) {
        guard hasRoom, let key = Self.key(byte) else { return }
        if let modifier = key.modifier { waiting.append(modifier) }
        waiting.append(key.code)
        waiting.append(key.code | 0x80)
        if let modifier = key.modifier { waiting.append(modifier | 0x80) }
    }

    private static let shift: UInt8 = 0x2A
    private static let control: UInt8 = 0x1D

    /// Keys by their scan codes, 2 to 53 (35 hex); then the same with shift. A zero is none of them.
    private static let plain: StaticString =
        "1234567890-=\u{7F}\tqwertyuiop[]\r\u{0}asdfghjkl;'`\u{0}\\zxcvbnm,./"
    private static let shifted: StaticString =
        "!@#$%^&*()_+\u{0}\u{0}QWERTYUIOP{}\u{0}\u{0}ASDFGHJKL:\"~\u{0}|ZXCVBNM<>?"

    private static func key(_ byte: UInt8) -> (code: UInt8, modifier: UInt8?)? {
        switch byte {
        case 0: return nil
        case 0x1B: return (1, nil)
        case 0x20: return (0x39, nil)
        default: break
        }
        if let code = place(byte, plain) { return (code, nil) }
        if let code = place(byte, shifted) { return (code, shift) }
        // ^A to ^Z, ^\, ^].
        guard byte < 0x20, let code = place(byte | (byte < 0x1B ? 0x60 : 0x40), plain) else {
            return nil
        }
        return (code, control)
    }

    private static func place(_ byte: UInt8, _ keys: StaticString) -> UInt8? {
        for index in 0..<keys.utf8CodeUnitCount where unsafe keys.utf8Start[index] == byte {
            return UInt8(index + 2)
        }
        return nil
    }

    // MARK: Ports

    /// Status: full, self-tested, not locked.
    var status: UInt8 { (isFull ? 1 : 0) | 0x14 }

    mutating func read() -> UInt8 {
        if let byte = answer {
            answer = nil
            return byte
        }
        return waiting.isEmpty || mode & Mode.isOff != 0 ? 0 : waiting.removeFirst()
    }

    /// A byte to port 64.
    mutating func writeCommand(_ byte: UInt8) {
        command = nil
        switch byte {
        case 0x20: answer = mode
        case 0xA9: answer = 1  // The mouse's clock is stuck.
        case 0xAA: answer = 0x55
        case 0xAB: answer = 0
        case 0xAD: mode |= Mode.isOff
        case 0xAE: mode &= ~Mode.isOff
        case 0xD0: answer = 3
        case 0x60, 0xD1, 0xD2, 0xD3, 0xD4: command = byte
        default: break
        }
    }

    /// A byte to port 60: a parameter, or for the keyboard.
    mutating func write(_ byte: UInt8) {
        switch command {
        case 0x60: mode = byte
        case 0xD2: answer = byte
        // From a mouse's port it would come back as it was.
        case 0xD3: answer = ~byte
        case nil: take(byte)
        default: break
        }
        command = nil
    }

    private mutating func take(_ byte: UInt8) {
        guard waiting.count <= Self.depth - Self.most else { return }
        switch byte {
        case 0xEE: waiting.append(byte)
        case 0xF2: waiting += [0xFA, 0xAB, 0x41]
        case 0xFF: waiting += [0xFA, 0xAA]
        case 0xED, 0xF4:
            isUsed = true
            waiting.append(0xFA)
        default: waiting.append(0xFA)
        }
    }
}
