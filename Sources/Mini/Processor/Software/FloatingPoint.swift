// The guest's x87, on the real x87. Nothing of ours uses floating point, so the guest's
// registers stay live in the real unit from the first x87 instruction of a run to its end.
//
// The real unit never faults: it runs with every exception masked, and with the guest's own
// masks just for the one instruction of a guest that has unmasked something, after which its
// state is taken out without looking at what is pending (FNSAVE). What is pending for the
// guest follows from the status word and the guest's masks, which are kept here; so are the
// instruction and operand pointers, because the real ones would point into mini.
//
// Source: Intel SDM volume 1, chapter 8 (programming the x87), and volume 2 for the encodings.

import CShim

/// The x87 of one processor.
@safe struct FloatingPointUnit {
    /// What became of an instruction.
    enum Outcome {
        /// Executed; the written bytes, if the form has any, are in the scratch.
        case done
        /// Executed, and an exception that the guest has unmasked kept it from storing its
        /// result: nothing is to be written.
        case withheld
        /// There is no such instruction: #UD.
        case undefined
        /// An earlier exception is pending: #MF (vector 16) before anything is done.
        case pending
    }

    /// Where an instruction and its operand are, for the environment image.
    struct Site {
        /// Offset of the instruction's first byte, prefixes included.
        var instruction: UInt32
        var codeSelector: UInt16
        /// Offset of the memory operand; unused by register forms.
        var operand: UInt32
        var dataSelector: UInt16
    }

    /// FNSAVE's image in 32-bit protected format: 7 words of environment, then ST(0)...ST(7)
    /// of 10 bytes. The state, while it is not in the real unit. Exceptions masked.
    private var image: InlineArray<27, UInt32>
    /// True from the first instruction of a run until `suspend`.
    private var isLive = false
    /// The guest's six exception masks; the real ones are all set.
    private var masks: UInt16 = 0x3F
    /// The last instruction that was not a control instruction, and its operand.
    private var last = Site(instruction: 0, codeSelector: 0, operand: 0, dataSelector: 0)
    /// Low bits of its opcode and its modrm, as FOP has them.
    private var lastOpcode: UInt16 = 0

    /// The state after FNINIT.
    init() {
        image = InlineArray(repeating: 0)
        image[0] = 0xFFFF_037F
        image[1] = 0xFFFF_0000
        image[2] = 0xFFFF_FFFF
    }

    /// Length of the memory operand: bytes read before and written after the instruction.
    /// (0, 0) for forms that do not exist.
    /// - Parameters: opcode 0xD8...0xDF; modrm with mod other than 3; short: operand size 16.
    static func operandSize(
        opcode: UInt8, modrm: UInt8, short: Bool = false
    ) -> (read: Int, written: Int) {
        let environment = short ? 14 : 28
        return switch MemoryForm(opcode: opcode, modrm: modrm) {
        case .load(let count): (count, 0)
        case .store(let count): (0, count)
        case .loadControl: (2, 0)
        case .storeControl, .storeStatus: (0, 2)
        case .loadEnvironment: (environment, 0)
        case .storeEnvironment: (0, environment)
        case .restore: (environment + 80, 0)
        case .save: (0, environment + 80)
        case .undefined: (0, 0)
        }
    }

    /// What has to be known of a memory form before its operand is touched: #UD and #MF come
    /// before the faults of the operand.
    mutating func check(opcode: UInt8, modrm: UInt8) -> Outcome {
        switch MemoryForm(opcode: opcode, modrm: modrm) {
        case .undefined: .undefined
        case .storeControl, .storeStatus, .storeEnvironment, .save: .done
        default: wait()
        }
    }

    /// Executes one instruction D8...DF.
    /// - Parameters:
    ///   - scratch: at least 128 bytes; holds the bytes read, receives the bytes to write.
    ///   - flags: EFLAGS; read by FCMOVcc, its arithmetic flags written by FCOMI and its kin.
    ///   - ax: receives what FNSTSW AX stores.
    ///   - short: operand size 16, which the environment's format depends on.
    mutating func execute(
        opcode: UInt8, modrm: UInt8, scratch: UnsafeMutableRawPointer, flags: inout UInt32,
        ax: inout UInt16, site: Site, short: Bool = false
    ) -> Outcome {
        if modrm < 0xC0 {
            return unsafe memory(
                opcode: opcode, modrm: modrm, scratch: scratch, site: site, short: short)
        }
        return register(opcode: opcode, modrm: modrm, flags: &flags, ax: &ax, site: site)
    }

    /// For a store whose operand cannot be written: true if the instruction ends in an exception
    /// that the guest has unmasked, and so never comes to storing. Then it is executed; if not,
    /// nothing has happened, and the operand's fault is due.
    mutating func withholds(
        opcode: UInt8, modrm: UInt8, scratch: UnsafeMutableRawPointer, site: Site
    ) -> Bool {
        if masks == Self.exceptions { return false }
        suspend()
        let before = self
        let outcome = unsafe memory(
            opcode: opcode, modrm: modrm, scratch: scratch, site: site, short: false)
        if outcome == .withheld { return true }
        suspend()
        self = before
        return false
    }

    /// FWAIT (9B).
    mutating func wait() -> Outcome { isPending ? .pending : .done }

    // MARK: MMX

    /// To be called before an MMX register is looked at: they are the x87's, all of them full from then on.
    mutating func enterMultimedia() -> Outcome {
        if isPending { return .pending }
        suspend()
        let top = Int(image[1] &>> 11 & 7)
        image[1] &= ~(7 &<< 11)
        image[2] = 0xFFFF_0000
        if top == 0 { return .done }
        // In the image ST(0) comes first; register 0 is to be that.
        let old = image
        unsafe withUnsafeBytes(of: old) { old in
            unsafe onImage { image in
                for number in 0..<8 {
                    let place = unsafe old.baseAddress.unsafelyUnwrapped
                    unsafe (image + 28 + number * 10).copyMemory(
                        from: place + 28 + ((number - top) & 7) * 10, byteCount: 10)
                }
            }
        }
        return .done
    }

    /// EMMS: all registers are empty.
    mutating func leaveMultimedia() { image[2] = 0xFFFF_FFFF }

    /// An MMX register, after `enterMultimedia`.
    subscript(multimedia number: UInt8) -> UInt64 {
        get {
            unsafe withUnsafeBytes(of: image) {
                unsafe $0.loadUnaligned(fromByteOffset: 28 + Int(number & 7) * 10, as: UInt64.self)
            }
        }
        set {
            unsafe onImage { image in
                let place = unsafe image + 28 + Int(number & 7) * 10
                unsafe place.storeBytes(of: newValue, as: UInt64.self)
                unsafe place.storeBytes(of: 0xFFFF, toByteOffset: 8, as: UInt16.self)
            }
        }
    }

    /// Takes the state out of the real unit, which is left as the C library expects it.
    mutating func suspend() {
        guard isLive else { return }
        unsafe onImage { unsafe mini_x87_memory(Form.save, $0) }
        isLive = false
    }

    // MARK: the real unit

    /// Numbers of the forms that are used by name; see CShim.h.
    private enum Form {
        static let loadEnvironment: UInt32 = 1 * 8 + 4
        static let loadControl: UInt32 = 1 * 8 + 5
        static let storeEnvironment: UInt32 = 1 * 8 + 6
        static let storeControl: UInt32 = 1 * 8 + 7
        static let restore: UInt32 = 5 * 8 + 4
        static let save: UInt32 = 5 * 8 + 6
        static let statusInAX: UInt32 = 7 * 64 + 0x20
        static let initialize: UInt32 = 3 * 64 + 0x23
    }

    private static let exceptions: UInt16 = 0x3F
    /// Error summary and its copy, busy.
    private static let summary: UInt16 = 0x8080

    private mutating func resume() {
        if isLive { return }
        unsafe onImage { unsafe mini_x87_memory(Form.restore, $0) }
        isLive = true
    }

    private mutating func onImage(_ body: (UnsafeMutableRawPointer) -> Void) {
        unsafe withUnsafeMutableBytes(of: &image) { bytes in
            unsafe body(bytes.baseAddress.unsafelyUnwrapped)
        }
    }

    private var realStatus: UInt16 {
        UInt16(truncatingIfNeeded: mini_x87_register(Form.statusInAX))
    }

    private var realControl: UInt16 {
        get {
            var word: UInt16 = 0
            unsafe withUnsafeMutablePointer(to: &word) {
                unsafe mini_x87_memory(Form.storeControl, $0)
            }
            return word
        }
        nonmutating set {
            var word = newValue
            unsafe withUnsafeMutablePointer(to: &word) {
                unsafe mini_x87_memory(Form.loadControl, $0)
            }
        }
    }

    // MARK: what the guest sees

    /// True if the next waiting instruction is to raise #MF.
    private var isPending: Bool {
        mutating get {
            // Almost always: everything is masked, and the real unit need not be asked.
            if masks == Self.exceptions { return false }
            resume()
            return realStatus & ~masks & Self.exceptions != 0
        }
    }

    /// The guest's status word, from the real unit's.
    private func status(_ real: UInt16) -> UInt16 {
        real & ~masks & Self.exceptions == 0
            ? real & ~Self.summary : real | Self.summary
    }

    /// The guest's control word, from the real unit's.
    private func control(_ real: UInt16) -> UInt16 { real & ~Self.exceptions | masks }

    // MARK: executing

    /// Lets the real unit do one instruction with the guest's masks.
    /// - Returns: `withheld` if what it stores in memory was not stored.
    private mutating func perform(_ instruction: () -> Void) -> Outcome {
        if masks == Self.exceptions {
            instruction()
            return .done
        }
        let masked = realControl
        realControl = control(masked)
        instruction()
        let caught = realStatus & ~masks & Self.exceptions
        if caught == 0 {
            realControl = masked
            return .done
        }
        // A waiting instruction would now fault in earnest. FNSAVE does not wait, and leaves
        // nothing pending behind.
        unsafe onImage { unsafe mini_x87_memory(Form.save, $0) }
        image[0] = image[0] | UInt32(Self.exceptions)
        image[1] = image[1] & ~UInt32(Self.summary)
        unsafe onImage { unsafe mini_x87_memory(Form.restore, $0) }
        // Only an inexact result is stored all the same.
        return caught & 0x1F == 0 ? .done : .withheld
    }

    private mutating func note(_ opcode: UInt8, _ modrm: UInt8) {
        lastOpcode = UInt16(opcode & 7) &<< 8 | UInt16(modrm)
    }

    private mutating func register(
        opcode: UInt8, modrm: UInt8, flags: inout UInt32, ax: inout UInt16, site: Site
    ) -> Outcome {
        let form = UInt32(opcode &- 0xD8) &* 64 &+ UInt32(modrm &- 0xC0)
        switch RegisterForm(opcode: opcode, modrm: modrm) {
        case .undefined: return .undefined
        case .nothing: return .done
        case .storeStatus:
            resume()
            ax = status(realStatus)
            return .done
        case .clear:
            resume()
            _ = mini_x87_register(form)
            return .done
        case .initialize:
            resume()
            _ = mini_x87_register(form)
            reset()
            return .done
        case .plain:
            if isPending { return .pending }
            resume()
            last.instruction = site.instruction
            last.codeSelector = site.codeSelector
            note(opcode, modrm)
            _ = perform { _ = mini_x87_register(form) }
            return .done
        case .flags:
            if isPending { return .pending }
            resume()
            last.instruction = site.instruction
            last.codeSelector = site.codeSelector
            note(opcode, modrm)
            // CF, PF, AF, ZF, SF, OF; bit 1 is always set.
            let arithmetic: UInt32 = 0x8D5
            var after = flags & arithmetic | 2
            _ = perform { after = mini_x87_register_flags(form, after) }
            flags = flags & ~arithmetic | after & arithmetic
            return .done
        }
    }

    private mutating func memory(
        opcode: UInt8, modrm: UInt8, scratch: UnsafeMutableRawPointer, site: Site, short: Bool
    ) -> Outcome {
        let form = MemoryForm(opcode: opcode, modrm: modrm)
        switch form {
        case .undefined: return .undefined
        case .load, .store:
            if isPending { return .pending }
            resume()
            last = site
            note(opcode, modrm)
            let number = UInt32(opcode &- 0xD8) &* 8 &+ UInt32(modrm &>> 3 & 7)
            let outcome = perform { unsafe mini_x87_memory(number, scratch) }
            if case .load = form { return .done }
            return outcome
        case .storeControl:
            resume()
            unsafe scratch.storeBytes(of: control(realControl), as: UInt16.self)
        case .storeStatus:
            resume()
            unsafe scratch.storeBytes(of: status(realStatus), as: UInt16.self)
        case .loadControl:
            if isPending { return .pending }
            resume()
            let word = unsafe scratch.loadUnaligned(as: UInt16.self)
            realControl = word | Self.exceptions
            masks = word & Self.exceptions
        case .storeEnvironment:
            resume()
            unsafe onImage { unsafe mini_x87_memory(Form.storeEnvironment, $0) }
            unsafe writeEnvironment(scratch, short: short)
            // The instruction masks everything once it has stored the masks.
            masks = Self.exceptions
        case .save:
            resume()
            unsafe onImage { unsafe mini_x87_memory(Form.save, $0) }
            let stack = unsafe writeEnvironment(scratch, short: short)
            unsafe onImage { image in
                unsafe stack.copyMemory(from: image + 28, byteCount: 80)
            }
            reset()
        case .loadEnvironment:
            if isPending { return .pending }
            resume()
            unsafe readEnvironment(scratch, short: short)
            unsafe onImage { unsafe mini_x87_memory(Form.loadEnvironment, $0) }
        case .restore:
            if isPending { return .pending }
            let stack = unsafe readEnvironment(scratch, short: short)
            unsafe onImage { image in
                unsafe (image + 28).copyMemory(from: stack, byteCount: 80)
                unsafe mini_x87_memory(Form.restore, image)
            }
            isLive = true
        }
        return .done
    }

    /// What FNINIT does to the part of the state that is kept here.
    private mutating func reset() {
        masks = Self.exceptions
        last = Site(instruction: 0, codeSelector: 0, operand: 0, dataSelector: 0)
        lastOpcode = 0
    }

    // MARK: environment images

    /// Stores the guest's environment, whose control, status and tag words are in `image`.
    /// - Returns: the byte after it.
    @discardableResult
    private func writeEnvironment(
        _ to: UnsafeMutableRawPointer, short: Bool
    ) -> UnsafeMutableRawPointer {
        let words: InlineArray<7, UInt32> = [
            UInt32(control(UInt16(truncatingIfNeeded: image[0]))),
            UInt32(status(UInt16(truncatingIfNeeded: image[1]))),
            image[2] & 0xFFFF,
            last.instruction,
            UInt32(last.codeSelector),
            last.operand,
            UInt32(last.dataSelector),
        ]
        for index in 0..<7 {
            if short {
                unsafe to.storeBytes(
                    of: UInt16(truncatingIfNeeded: words[index]), toByteOffset: 2 * index,
                    as: UInt16.self)
                continue
            }
            // The upper halves of 16-bit fields read as ones, but FOP shares a word with FCS.
            let upper: UInt32 =
                switch index {
                case 3, 5: 0
                case 4: UInt32(lastOpcode) << 16
                default: 0xFFFF_0000
                }
            unsafe to.storeBytes(
                of: words[index] | upper, toByteOffset: 4 * index, as: UInt32.self)
        }
        return unsafe to + (short ? 14 : 28)
    }

    /// Takes the guest's environment to `image`, ready for the real unit, and to the fields
    /// here.
    /// - Returns: the byte after it.
    @discardableResult
    private mutating func readEnvironment(
        _ from: UnsafeMutableRawPointer, short: Bool
    ) -> UnsafeMutableRawPointer {
        func field(_ index: Int) -> UInt32 {
            short
                ? unsafe UInt32(
                    from.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self))
                : unsafe from.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self)
        }
        masks = UInt16(truncatingIfNeeded: field(0)) & Self.exceptions
        image[0] = field(0) & 0xFFFF | UInt32(Self.exceptions)
        image[1] = field(1) & 0xFFFF & ~UInt32(Self.summary)
        image[2] = field(2) & 0xFFFF
        for index in 3..<7 { image[index] = 0 }
        last = Site(
            instruction: field(3), codeSelector: UInt16(truncatingIfNeeded: field(4)),
            operand: field(5), dataSelector: UInt16(truncatingIfNeeded: field(6)))
        lastOpcode = short ? 0 : UInt16(truncatingIfNeeded: field(4) >> 16) & 0x7FF
        return unsafe from + (short ? 14 : 28)
    }
}
