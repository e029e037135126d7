// A serial port with FIFOs (16550A), at 3F8 and interrupt line 4. What the guest sends is sent at once: its bytes
// wait in `output` until they are taken, and while too many wait there the transmitter is not empty. What comes
// in waits in the receiver's FIFO; there is no timing, so a FIFO below its trigger level has "timed out" at once. Nothing
// comes in before the guest listens: drivers throw away what the FIFO has when they start; nor while it holds RTS down (crtscts).
//
//   causes of an interrupt, by priority        IIR   goes by
//   received bytes up to the trigger level     04    reading them
//   received bytes, fewer                      0C    reading them
//   the transmitter is empty                   02    reading that, or writing a byte (it is empty again then)
//   modem lines have changed (loop back only)  00    reading MSR
//
// Source: docs/abi/pc.md §3.3; the data sheet of National's PC16550D.

struct SerialPort {
    /// What the guest sent and the launcher has not taken yet.
    private(set) var output: [UInt8] = []
    /// What was taken last was sent with the port's interrupts off, as a kernel's own console does it: what programs say goes
    /// through a driver that has them on.
    private(set) var isTakenFromKernel = true
    private var isFromKernel = true
    /// While so many bytes wait, the transmitter has no room; a guest that does not look loses what it sends.
    static let outputRoom = 4096
    private static let depth = 16

    /// The receiver's FIFO: a ring.
    private var received = [UInt8](repeating: 0, count: depth)
    private var first = 0
    private var count = 0

    private var interruptEnable: UInt8 = 0
    private var lineControl: UInt8 = 0
    private var modemControl: UInt8 = 0
    /// The guest has raised RTS since it opened the port: it holds us back when it lowers it.
    private var hasRaised = false
    private var scratch: UInt8 = 0
    /// Times that LSR was read since the last access to anything but it and RBR, up to `polling`.
    private var looks = 0
    /// So many are a guest that waits for bytes; one that sends looks once before each.
    private static let polling = 3
    private var divisor: UInt16 = 12
    private var hasFifo = false
    /// Bytes at which the receiver interrupts.
    private var trigger = 1
    private var hasOverrun = false
    private var isEmptyTold = true
    /// The low half of MSR.
    private var modemChanges: UInt8 = 0

    private enum Enable {
        static let received: UInt8 = 1
        static let transmitted: UInt8 = 2
        static let line: UInt8 = 4
        static let modem: UInt8 = 8
    }
    private enum Modem {
        static let requestToSend: UInt8 = 2
        static let interrupts: UInt8 = 8  // OUT2
        static let loop: UInt8 = 16
    }

    init() { output.reserveCapacity(Self.outputRoom) }

    private var isLooped: Bool { modemControl & Modem.loop != 0 }
    private var canSend: Bool { output.count < Self.outputRoom }

    // MARK: The outside

    /// The bytes that the guest sent since the last time; the array that is given up gets used for the next ones.
    mutating func takeOutput(into bytes: inout [UInt8]) {
        bytes.removeAll(keepingCapacity: true)
        swap(&bytes, &output)
        isTakenFromKernel = isFromKernel
        isFromKernel = true
        if bytes.count >= Self.outputRoom { isEmptyTold = false }
    }

    /// The guest waits for bytes, by interrupt or by looking.
    private var isListening: Bool {
        interruptEnable & Enable.received != 0 || looks == Self.polling
    }

    /// Nobody sends to a guest that has lowered RTS, but for one that never raised it: that knows nothing of it.
    private var isHeldBack: Bool { hasRaised && modemControl & Modem.requestToSend == 0 }

    var hasRoom: Bool {
        isListening && count < (hasFifo ? Self.depth : 1) && !isLooped && !isHeldBack
    }

    /// A byte comes in.
    /// - Returns: false, with nothing taken, if there is no room.
    mutating func feed(_ byte: UInt8) -> Bool {
        guard hasRoom else { return false }
        receive(byte)
        return true
    }

    private mutating func receive(_ byte: UInt8) {
        guard count < (hasFifo ? Self.depth : 1) else {
            hasOverrun = true
            return
        }
        received[(first + count) % Self.depth] = byte
        count += 1
    }

    // MARK: Interrupts

    /// What is to be told first, as IIR has it; nil for nothing.
    private var cause: UInt8? {
        if hasOverrun && interruptEnable & Enable.line != 0 { return 0x06 }
        if count > 0 && interruptEnable & Enable.received != 0 {
            return count >= trigger ? 0x04 : 0x0C
        }
        if !isEmptyTold && canSend && interruptEnable & Enable.transmitted != 0 { return 0x02 }
        if modemChanges != 0 && interruptEnable & Enable.modem != 0 { return 0x00 }
        return nil
    }

    /// The line to the interrupt controller: a loop back, and OUT2 off, cut it.
    var isInterruptRequested: Bool {
        modemControl & (Modem.interrupts | Modem.loop) == Modem.interrupts && cause != nil
    }

    // MARK: Registers

    /// The high half of MSR.
    private var modemLines: UInt8 {
        // Ready, present, and a carrier.
        guard isLooped else { return 0xB0 }
        let out = modemControl
        return (out & 0x02) << 3 | (out & 0x01) << 5 | (out & 0x04) << 4 | (out & 0x08) << 4
    }

    private mutating func setModemControl(_ value: UInt8) {
        let before = modemLines
        modemControl = value & 0x1F
        // Closed, with DTR down as well, it is as at first. A loop back raises nothing outside.
        if value & 0x03 == 0 {
            hasRaised = false
        } else if value & (Modem.requestToSend | Modem.loop) == Modem.requestToSend {
            hasRaised = true
        }
        let changed = before ^ modemLines
        modemChanges |= (changed & 0xB0) >> 4
        // Of the ring only its end counts.
        if before & ~modemLines & 0x40 != 0 { modemChanges |= 0x04 }
    }

    private var isDivisorOpen: Bool { lineControl & 0x80 != 0 }

    /// - Parameter register: 0 to 7.
    mutating func read(_ register: UInt8) -> UInt8 {
        switch register & 7 {
        case 0 where !isDivisorOpen: break
        case 5: looks = min(looks + 1, Self.polling)
        default: looks = 0
        }
        switch register & 7 {
        case 0:
            if isDivisorOpen { return UInt8(truncatingIfNeeded: divisor) }
            guard count > 0 else { return 0 }
            let byte = received[first]
            first = (first + 1) % Self.depth
            count -= 1
            return byte
        case 1:
            return isDivisorOpen ? UInt8(truncatingIfNeeded: divisor >> 8) : interruptEnable
        case 2:
            let cause = cause
            if cause == 0x02 { isEmptyTold = true }
            return (cause ?? 0x01) | (hasFifo ? 0xC0 : 0)
        case 3: return lineControl
        case 4: return modemControl
        case 5:
            defer { hasOverrun = false }
            return (count > 0 ? 0x01 : 0) | (hasOverrun ? 0x02 : 0) | (canSend ? 0x60 : 0)
        case 6:
            defer { modemChanges = 0 }
            return modemLines | modemChanges
        default: return scratch
        }
    }

    mutating func write(_ register: UInt8, _ value: UInt8) {
        looks = 0
        switch register & 7 {
        case 0:
            if isDivisorOpen {
                divisor = divisor & 0xFF00 | UInt16(value)
            } else {
                send(value)
            }
        case 1:
            if isDivisorOpen {
                divisor = divisor & 0x00FF | UInt16(value) << 8
            } else {
                // A driver that switches this interrupt on is told again that the transmitter is empty.
                if value & ~interruptEnable & Enable.transmitted != 0 { isEmptyTold = false }
                interruptEnable = value & 0x0F
            }
        case 2: setFifo(value)
        case 3: lineControl = value
        case 4: setModemControl(value)
        case 7: scratch = value
        default: break
        }
    }

    private mutating func send(_ byte: UInt8) {
        isEmptyTold = false
        if isLooped {
            receive(byte)
        } else if canSend {
            output.append(byte)
            if interruptEnable != 0 { isFromKernel = false }
        }
    }

    /// FCR.
    private mutating func setFifo(_ value: UInt8) {
        let isOn = value & 1 != 0
        if isOn != hasFifo || value & 2 != 0 {
            first = 0
            count = 0
        }
        hasFifo = isOn
        trigger =
            switch (isOn, value >> 6) {
            case (true, 1): 4
            case (true, 2): 8
            case (true, 3): 14
            default: 1
            }
    }
}
