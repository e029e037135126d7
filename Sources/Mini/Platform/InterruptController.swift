// The two interrupt controllers (8259) of a PC: 16 inputs, of which the second chip's eight come in
// at input 2 of the first. Which input is served next is decided here and nowhere else; the run loop sees INTR and INTA.
//
//            ICW1                ICW2                 ICW3              ICW4
//   ready ---------> vectorBase ------> cascade ---------------> mode ---------> ready
//                        |                 |   (only if asked for)
//                        +-- one chip -----+--------------------------> mode, ready
//
// ICW1 leads to vectorBase from everywhere. A chip that is not ready asks for nothing.
//
// An input is edge-triggered, or level-triggered as the ELCR says: then it asks again after its end of interrupt for
// as long as its line is high. A line that falls takes its request back.
// Source: docs/abi/pc.md §3.1; the data sheet of Intel's 8259A. The same as a page: docs/interrupt-chip-machine.md.

/// One chip.
struct InterruptChip {
    private enum State {
        case ready
        case vectorBase(isSingle: Bool, wantsMode: Bool)
        case cascade(wantsMode: Bool)
        case mode
    }
    private var state = State.ready

    /// IRR, ISR and IMR.
    private var requested: UInt8 = 0
    private var inService: UInt8 = 0
    private var mask: UInt8 = 0xFF
    private var lines: UInt8 = 0
    /// The ELCR's byte: inputs that are level-triggered.
    private(set) var levels: UInt8
    private var base: UInt8 = 0
    /// The input of least priority; the one above it has the highest.
    private var lowest: UInt8 = 7

    private var endsByItself = false
    private var rotatesByItself = false
    /// Special mask mode: an input in service that is masked holds back no other.
    private var isMaskSpecial = false
    /// Special fully nested mode of the first chip: the second one is never held back by itself.
    private var isFullyNested = false
    private var readsInService = false
    /// The next read acknowledges instead of INTA.
    private var isPolled = false

    /// The lines on which other chips are, as bits.
    private let chips: UInt8

    init(levels: UInt8, chips: UInt8 = 0) {
        self.levels = levels | chips
        self.chips = chips
    }

    /// The state's name in the diagram.
    var stateName: StaticString {
        switch state {
        case .ready: "ready"
        case .vectorBase: "vectorBase"
        case .cascade: "cascade"
        case .mode: "mode"
        }
    }

    // MARK: Lines

    mutating func setLine(_ input: UInt8, _ isHigh: Bool) {
        let bit: UInt8 = 1 &<< input
        if isHigh {
            if (levels | ~lines) & bit != 0 { requested |= bit }
            lines |= bit
        } else {
            lines &= ~bit
            requested &= ~bit
        }
    }

    mutating func setLevels(_ value: UInt8) {
        levels = value | chips
        requested |= lines & levels
    }

    /// The input to serve now.
    private var next: UInt8? {
        let open = requested & ~mask
        guard open != 0, case .ready = state else { return nil }
        let holding = isMaskSpecial ? inService & ~mask : inService
        for step in 1...8 as ClosedRange<UInt8> {
            let input = (lowest &+ step) & 7
            let bit: UInt8 = 1 &<< input
            if holding & bit != 0 {
                return isFullyNested && open & chips & bit != 0 ? input : nil
            }
            if open & bit != 0 { return input }
        }
        return nil
    }

    var isRequested: Bool { next != nil }

    /// The guest has set it up.
    var isSetUp: Bool { base != 0 }

    // MARK: The processor's side

    /// INTA: the vector, and the input, which is nil if nothing asks any more; the vector is the last input's then.
    mutating func acknowledge() -> (vector: UInt8, input: UInt8?) {
        guard let input = next else { return (base | 7, nil) }
        serve(input)
        return (base | input, input)
    }

    private mutating func serve(_ input: UInt8) {
        let bit: UInt8 = 1 &<< input
        if levels & bit == 0 { requested &= ~bit }
        if !endsByItself {
            inService |= bit
        } else if rotatesByItself {
            lowest = input
        }
    }

    mutating func readCommand() -> UInt8 {
        if isPolled {
            isPolled = false
            guard let input = next else { return 0 }
            serve(input)
            return 0x80 | input
        }
        return readsInService ? inService : requested
    }

    var readMask: UInt8 { mask }

    /// The port of ICW1, OCW2 and OCW3.
    mutating func writeCommand(_ value: UInt8) {
        if value & 0x10 != 0 {
            begin(value)
        } else if value & 0x08 != 0 {
            if value & 0x40 != 0 { isMaskSpecial = value & 0x20 != 0 }
            if value & 0x04 != 0 { isPolled = true }
            if value & 0x02 != 0 { readsInService = value & 1 != 0 }
        } else {
            end(value)
        }
    }

    /// ICW1.
    private mutating func begin(_ value: UInt8) {
        state = .vectorBase(isSingle: value & 2 != 0, wantsMode: value & 1 != 0)
        requested = lines & levels
        inService = 0
        mask = 0
        lowest = 7
        endsByItself = false
        rotatesByItself = false
        isMaskSpecial = false
        isFullyNested = false
        readsInService = false
        isPolled = false
    }

    /// OCW2: ends of interrupts, and who has the least priority.
    private mutating func end(_ value: UInt8) {
        let input = value & 7
        switch value &>> 5 {
        case 0: rotatesByItself = false
        case 4: rotatesByItself = true
        case 1, 5:
            guard let highest = highestInService else { return }
            inService &= ~(1 &<< highest)
            if value & 0x80 != 0 { lowest = highest }
        case 3, 7:
            inService &= ~(1 &<< input)
            if value & 0x80 != 0 { lowest = input }
        case 6: lowest = input
        default: break
        }
    }

    private var highestInService: UInt8? {
        let serving = isMaskSpecial ? inService & ~mask : inService
        guard serving != 0 else { return nil }
        for step in 1...8 as ClosedRange<UInt8> {
            let input = (lowest &+ step) & 7
            if serving & 1 &<< input != 0 { return input }
        }
        return nil
    }

    /// The port of the mask, and of ICW2 to ICW4.
    mutating func writeData(_ value: UInt8) {
        switch state {
        case .ready: mask = value
        case .vectorBase(let isSingle, let wantsMode):
            base = value & 0xF8
            state =
                !isSingle ? .cascade(wantsMode: wantsMode) : wantsMode ? .mode : .ready
        case .cascade(let wantsMode):
            state = wantsMode ? .mode : .ready
        case .mode:
            endsByItself = value & 0x02 != 0
            isFullyNested = value & 0x10 != 0
            state = .ready
        }
    }
}

/// Both chips.
struct InterruptController {
    /// Where the second chip comes in at the first.
    private static let cascade: UInt8 = 2
    /// PCI's lines: 5, 9, 10 and 11.
    private var first = InterruptChip(levels: 0x20, chips: 1 << cascade)
    private var second = InterruptChip(levels: 0x0E)
    /// Inputs that can be nothing but edges: the timer, the keyboard, the cascade; the clock and the coprocessor.
    private static let edges: (first: UInt8, second: UInt8) = (0x07, 0x21)

    /// INTR.
    private(set) var isRequested = false
    /// The guest has set it up.
    var isSetUp: Bool { first.isSetUp }
    /// It has, and then masked all inputs: no INTR comes until that is changed.
    var isDeaf: Bool { isSetUp && first.readMask == 0xFF }

    /// - Parameter number: 0 to 15.
    mutating func setLine(_ number: UInt8, _ isHigh: Bool) {
        if number & 8 == 0 {
            first.setLine(number & 7, isHigh)
        } else {
            second.setLine(number & 7, isHigh)
        }
        settle()
    }

    /// The line falls, if it was high, and rises.
    mutating func pulse(_ number: UInt8) {
        setLine(number, false)
        setLine(number, true)
    }

    private mutating func settle() {
        first.setLine(Self.cascade, second.isRequested)
        isRequested = first.isRequested
    }

    /// INTA: the vector. If nothing asks any more that is the last input's, of which nothing is in service.
    mutating func acknowledge() -> UInt8 {
        let (vector, input) = first.acknowledge()
        defer { settle() }
        return input == Self.cascade ? second.acknowledge().vector : vector
    }

    /// - Returns: nil for a port that is not its.
    mutating func read(_ port: UInt16) -> UInt8? {
        defer { settle() }
        return switch port {
        case 0x20: first.readCommand()
        case 0x21: first.readMask
        case 0xA0: second.readCommand()
        case 0xA1: second.readMask
        case 0x4D0: first.levels & ~Self.edges.first
        case 0x4D1: second.levels & ~Self.edges.second
        default: nil
        }
    }

    mutating func write(_ port: UInt16, _ value: UInt8) {
        switch port {
        case 0x20: first.writeCommand(value)
        case 0x21: first.writeData(value)
        case 0xA0: second.writeCommand(value)
        case 0xA1: second.writeData(value)
        case 0x4D0: first.setLevels(value & ~Self.edges.first)
        case 0x4D1: second.setLevels(value & ~Self.edges.second)
        default: return
        }
        settle()
    }
}
