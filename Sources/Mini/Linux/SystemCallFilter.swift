// A filter of system calls: rules that say which calls a process may make with which arguments, and
// the program for the kernel's seccomp that is made of them. It looks at the architecture first, then
// at the number; a call that no rule allows ends the process at once, with SIGSYS. Values behind
// pointers cannot be looked at, and only the lower 32 bits of an argument are: descriptors, requests,
// signals and protections have no more.
// Sources: seccomp(2), linux/seccomp.h, linux/filter.h, linux/audit.h.

/// One call that is allowed, as far as its arguments are right.
struct CallRule {
    /// As the manual's section 2 has it.
    let name: StaticString
    let number: SystemCall.Number
    let arguments: [ArgumentRule]

    init(_ name: StaticString, _ number: SystemCall.Number, _ arguments: ArgumentRule...) {
        self.init(name, number, arguments)
    }

    init(_ name: StaticString, _ number: SystemCall.Number, _ arguments: [ArgumentRule]) {
        self.name = name
        self.number = number
        self.arguments = arguments
    }

    /// A call on some descriptors and no others; those that are not there have the number -1.
    static func on(
        _ name: StaticString, _ number: SystemCall.Number, _ role: StaticString,
        _ descriptors: [Int32]
    ) -> CallRule {
        CallRule(name, number, .descriptor(role, descriptors.filter { $0 >= 0 }))
    }
}

/// What one argument of a call has to be.
struct ArgumentRule {
    enum Condition: Equatable {
        /// Never true without a value.
        case oneOf([UInt32])
        /// None of these bits.
        case without(UInt32)
    }
    /// 0 for the first.
    let index: Int
    let condition: Condition
    /// For people, as "input" or "TCGETS".
    let name: StaticString

    /// Of mmap: PROT_READ and PROT_WRITE alone; neither PROT_EXEC nor bits of later kernels.
    static let neverExecuted = ArgumentRule(
        index: 2, condition: .without(~3), name: "no PROT_EXEC")

    /// The argument has this value. Only its lower 32 bits are compared.
    static func value(_ index: Int, _ value: UInt32, _ name: StaticString) -> ArgumentRule {
        ArgumentRule(index: index, condition: .oneOf([value]), name: name)
    }

    /// Mostly the first argument.
    static func descriptor(
        _ name: StaticString, _ numbers: [Int32], at index: Int = 0
    ) -> ArgumentRule {
        ArgumentRule(
            index: index, condition: .oneOf(numbers.map { UInt32(bitPattern: $0) }), name: name)
    }

    /// False where no value is let through.
    fileprivate var isPossible: Bool { condition != .oneOf([]) }
}

extension CallRule {
    /// As `ioctl(input, TCGETS)`: the arguments that are looked at, in their order.
    var text: Text {
        var text: Text = "\(name)("
        for (index, argument) in arguments.enumerated() {
            text += "\(index > 0 ? ", " : "")\(argument.name)"
        }
        text += ")"
        return text
    }
}

/// The program that the kernel runs at each call.
struct SystemCallFilter {
    /// struct sock_filter after struct sock_filter: code (16 bits), two jumps (8 bits each), a
    /// constant (32 bits), from the lowest bit up.
    private(set) var words: [UInt64] = []
    /// How many different calls it allows.
    private(set) var count = 0

    // Offsets in struct seccomp_data.
    private static let numberOffset: UInt32 = 0
    private static let architectureOffset: UInt32 = 4
    private static let argumentsOffset: UInt32 = 16

    /// AUDIT_ARCH_X86_64 or AUDIT_ARCH_I386.
    static var architecture: UInt32 {
        #if arch(x86_64)
        0xC000_003E
        #else
        0x4000_0003
        #endif
    }
    /// From this number on calls are those of x32 (__X32_SYSCALL_BIT).
    private static let otherCalls: UInt32 = 0x4000_0000

    static let allow: UInt32 = 0x7FFF_0000
    /// SECCOMP_RET_KILL_PROCESS. Kernels before 4.14 do not look at its highest bit and take it for
    /// SECCOMP_RET_KILL, which ends the thread.
    static let kill: UInt32 = 0x8000_0000

    private enum FilterCode {
        static let load: UInt16 = 0x20  // BPF_LD | BPF_W | BPF_ABS
        static let jumpIfEqual: UInt16 = 0x15  // BPF_JMP | BPF_JEQ | BPF_K
        static let jumpIfAtLeast: UInt16 = 0x35  // BPF_JMP | BPF_JGE | BPF_K
        static let jumpIfSet: UInt16 = 0x45  // BPF_JMP | BPF_JSET | BPF_K
        static let answer: UInt16 = 0x06  // BPF_RET | BPF_K
    }

    /// - Parameter rules: several for one call are alternatives. The most frequent calls first: the
    ///   kernel compares one after the other.
    init(_ rules: [CallRule]) {
        add(FilterCode.load, Self.architectureOffset)
        add(FilterCode.jumpIfEqual, Self.architecture, yes: 1)
        add(FilterCode.answer, Self.kill)
        add(FilterCode.load, Self.numberOffset)
        add(FilterCode.jumpIfAtLeast, Self.otherCalls, no: 1)
        add(FilterCode.answer, Self.kill)
        for (index, rule) in rules.enumerated()
        where !rules[..<index].contains(where: { $0.number == rule.number }) {
            addCall(rules[index...].filter { $0.number == rule.number })
        }
        add(FilterCode.answer, Self.kill)
    }

    /// All rules of one call.
    private mutating func addCall(_ alternatives: [CallRule]) {
        let possible = alternatives.filter { $0.arguments.allSatisfy { $0.isPossible } }
        guard !possible.isEmpty else { return }
        count += 1
        let isFree = possible.contains { $0.arguments.isEmpty }
        let length = isFree ? 1 : possible.reduce(1) { $0 + $1.length }
        add(
            FilterCode.jumpIfEqual, UInt32(truncatingIfNeeded: possible[0].number.rawValue),
            no: length)
        if isFree { return add(FilterCode.answer, Self.allow) }
        for rule in possible { addAlternative(rule) }
        add(FilterCode.answer, Self.kill)
    }

    private mutating func addAlternative(_ rule: CallRule) {
        let end = words.count + rule.length
        for argument in rule.arguments {
            // Little-endian: the lower half comes first.
            add(FilterCode.load, Self.argumentsOffset + 8 * UInt32(argument.index))
            switch argument.condition {
            case .oneOf(let values):
                for (index, value) in values.enumerated() {
                    let isLast = index == values.count - 1
                    add(
                        FilterCode.jumpIfEqual, value, yes: values.count - 1 - index,
                        no: isLast ? end - words.count - 1 : 0)
                }
            case .without(let bits):
                add(FilterCode.jumpIfSet, bits, yes: end - words.count - 1)
            }
        }
        add(FilterCode.answer, Self.allow)
    }

    private mutating func add(_ code: UInt16, _ constant: UInt32, yes: Int = 0, no: Int = 0) {
        // The tables are ours, and short.
        precondition(yes < 256 && no < 256)
        words.append(
            UInt64(code) | UInt64(yes) << 16 | UInt64(no) << 24 | UInt64(constant) << 32)
    }
}

extension CallRule {
    /// Instructions of its alternative.
    fileprivate var length: Int {
        arguments.reduce(1) { sum, argument in
            switch argument.condition {
            case .oneOf(let values): sum + 1 + values.count
            case .without: sum + 2
            }
        }
    }
}
