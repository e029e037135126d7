// A case of the differential test: where a sequence of instructions starts from, and what the
// sequence is. Instructions know which flags they read, define and leave undefined, so that
// only what the architecture defines is compared, and so that no sequence depends on the rest.
//
// Source of the flags' definedness: Intel SDM volume 1, appendix A.

/// The linear addresses that a case may use; the oracle has the same.
enum CaseMemory {
    static let data: UInt32 = 0x1000_0000
    static let dataSize: UInt32 = 0x4000
    static let dataWritable: UInt32 = 0x3000
    static let stack: UInt32 = 0x1000_8000
    static let stackSize: UInt32 = 0x2000
    static let code: UInt32 = 0x2000_0000
    static let codeSize: UInt32 = 0x2000
    static let imageSize = Int(dataSize + stackSize + codeSize)

    /// The parts in the order in which an image has them.
    static let parts = [(data, dataSize), (stack, stackSize), (code, codeSize)]
}

/// The flags in EFLAGS.
enum FlagBit {
    static let carry: UInt32 = 0x001
    static let parity: UInt32 = 0x004
    static let adjust: UInt32 = 0x010
    static let zero: UInt32 = 0x040
    static let sign: UInt32 = 0x080
    static let trap: UInt32 = 0x100
    static let direction: UInt32 = 0x400
    static let overflow: UInt32 = 0x800
    static let nested: UInt32 = 0x4000
    static let identification: UInt32 = 0x20_0000
    /// The six that arithmetic sets.
    static let all: UInt32 = 0x8D5
    /// All but RF, which a fault sets in what it saves and which no program sees.
    static let compared: UInt32 = 0x003C_FFFF

    /// What the condition of Jcc, SETcc, CMOVcc reads.
    static func read(by condition: Int) -> UInt32 {
        switch condition >> 1 {
        case 0: overflow
        case 1: carry
        case 2: zero
        case 3: carry | zero
        case 4: sign
        case 5: parity
        case 6: sign | overflow
        default: sign | overflow | zero
        }
    }
}

/// One instruction of a sequence.
struct CaseStep {
    /// A place in the bytes that depends on where another instruction ends up.
    enum Fix {
        /// Displacement of so many bytes, at the end, to the instruction `skip` after the next.
        case relative(width: Int, skip: Int)
        /// The linear address, `plus` bytes into the instruction `skip` after the next, at `at`.
        case absolute(at: Int, skip: Int, plus: Int)

        var skip: Int {
            get {
                switch self {
                case .relative(_, let skip), .absolute(_, let skip, _): skip
                }
            }
            set {
                switch self {
                case .relative(let width, _): self = .relative(width: width, skip: newValue)
                case .absolute(let at, _, let plus):
                    self = .absolute(at: at, skip: newValue, plus: plus)
                }
            }
        }
    }

    var name: String
    var bytes: [UInt8]
    var uses: UInt32 = 0
    var defines: UInt32 = 0
    var undefines: UInt32 = 0
    var fix: Fix?
    /// The fix is where execution may go, not just an address.
    var jumps: Bool { if case .relative = fix { true } else { name == "ret to" } }
}

struct DifferentialCase {
    /// eax, ecx, edx, ebx, esp, ebp, esi, edi.
    var registers: [UInt32]
    var eip: UInt32
    var eflags: UInt32
    var fs: UInt16
    var gs: UInt16
    var steps: [CaseStep]
    /// The x87 is part of what is compared.
    var usesX87 = false
    /// The seed that made it.
    var seed: UInt64 = 0

    /// The offset of each instruction, and of the end.
    var offsets: [Int] {
        var offsets = [0]
        for step in steps { offsets.append(offsets.last! + step.bytes.count) }
        return offsets
    }

    /// The sequence's bytes, with what depends on places filled in.
    var code: [UInt8] {
        let offsets = offsets
        var code: [UInt8] = []
        code.reserveCapacity(offsets.last!)
        for (index, step) in steps.enumerated() {
            code += step.bytes
            guard let fix = step.fix else { continue }
            let target = offsets[min(max(0, index + 1 + fix.skip), steps.count)]
            switch fix {
            case .relative(let width, _):
                let displacement = target - offsets[index + 1]
                for byte in 0..<width {
                    code[code.count - width + byte] =
                        UInt8(truncatingIfNeeded: displacement >> (8 * byte))
                }
            case .absolute(let at, _, let plus):
                let address = eip &+ UInt32(target + plus)
                for byte in 0..<4 {
                    code[offsets[index] + at + byte] =
                        UInt8(truncatingIfNeeded: address >> UInt32(8 * byte))
                }
            }
        }
        return code
    }

    /// The flags that are undefined before each instruction, and at the end.
    var undefined: [UInt32] {
        var before = [UInt32](repeating: 0, count: steps.count + 1)
        // Twice, for the loops that jump backwards.
        for _ in 0..<2 {
            for (index, step) in steps.enumerated() {
                let after = before[index] & ~step.defines | step.undefines
                before[index + 1] |= after
                if step.jumps, let fix = step.fix {
                    before[min(max(0, index + 1 + fix.skip), steps.count)] |= after
                }
            }
        }
        return before
    }

    /// True if no instruction reads a flag that is undefined there.
    var isDetermined: Bool {
        let undefined = undefined
        return steps.indices.allSatisfy { steps[$0].uses & undefined[$0] == 0 }
    }

    /// The flags to compare when the case ended at an address.
    func comparedFlags(endingAt end: UInt32) -> UInt32 {
        let undefined = undefined
        let offset = Int(Int32(bitPattern: end &- eip))
        let offsets = offsets
        if let index = offsets.firstIndex(of: offset) {
            return FlagBit.compared & ~undefined[index]
        }
        if offset == offsets.last! + 1 { return FlagBit.compared & ~undefined.last! }
        // Somewhere else: whatever could be undefined.
        return FlagBit.compared & ~undefined.reduce(0, |)
    }

    /// The case without one instruction.
    func removing(_ removed: Int) -> DifferentialCase {
        var result = self
        for index in steps.indices where index != removed {
            guard let fix = steps[index].fix else { continue }
            let target = index + 1 + fix.skip
            if index < removed && target > removed { result.steps[index].fix!.skip -= 1 }
            if index > removed && target <= removed { result.steps[index].fix!.skip += 1 }
        }
        result.steps.remove(at: removed)
        return result
    }
}

/// What a case came to.
struct CaseEnding: Equatable {
    var registers = [UInt32](repeating: 0, count: 8)
    var eip: UInt32 = 0
    var eflags: UInt32 = 0
    /// es, cs, ss, ds, fs, gs.
    var selectors = [UInt16](repeating: 0, count: 6)
    /// The vector; nil where the sequence was cut off by something that is not the processor's.
    var trap: UInt32?
    var cut = Cut.endless
    var error: UInt32 = 0
    var address: UInt32 = 0
    /// The words of the image that changed: index and value.
    var changes: [Change] = []
    /// FNSAVE's image.
    var x87 = [UInt8](repeating: 0, count: 108)

    enum Cut {
        /// The time was up.
        case endless
        /// It came to a system call, which the oracle does not let through.
        case systemCall
        /// LOCK across cache lines, which kernels of today forbid by an alignment check.
        case splitLock
    }

    struct Change: Equatable {
        var index: UInt32
        var value: UInt32
    }
}

/// A pseudo-random sequence (splitmix64), the same on every machine.
struct SeededRandom {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
    /// 0..<limit.
    mutating func below(_ limit: Int) -> Int { Int(next() >> 33) % limit }
    /// True so many times in a hundred.
    mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
    mutating func pick<Element>(_ from: [Element]) -> Element { from[below(from.count)] }
    mutating func word() -> UInt32 { UInt32(truncatingIfNeeded: next() >> 20) }

    /// A 32-bit value that is likely to make trouble.
    mutating func value() -> UInt32 {
        switch below(10) {
        case 0: 0
        case 1: UInt32(below(33))
        case 2: UInt32.max &- UInt32(below(3))
        case 3: 0x8000_0000 &- UInt32(below(3)) &+ 1
        case 4: pick([0x7F, 0x80, 0x81, 0xFF, 0x100, 0x7FFF, 0x8000, 0x8001, 0xFFFF, 0x10000])
        case 5: UInt32(below(256)) &* 0x0101_0101
        case 6: 1 << UInt32(below(32))
        default: word()
        }
    }
}
