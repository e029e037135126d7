// Control, stack, segment and trap instructions of the differential test.
//
// Never generated, because they show the machine and not the architecture: CPUID, RDTSC, RDPMC;
// SGDT, SIDT, SLDT, STR, SMSW (forbidden or not, as the host's kernel pleases); SYSENTER,
// SYSCALL and INT 80 (they would reach the host's kernel); everything later than the
// Pentium Pro's integer instructions (MMX, SSE, TZCNT, MOVBE, FISTTP and so on: the machine has
// them, the software processor does not); selectors of the host's own segments and of 64-bit
// code; alignment checks (AC), which no lguest guest can switch on.

extension CaseGenerator {
    mutating func controlInstruction() {
        switch random.below(100) {
        case 0..<18: jump()
        case 18..<24: loop()
        case 24..<32: call()
        case 32..<56: push()
        case 56..<61: frame()
        case 61..<68: flagsOnStack()
        case 68..<78: segment()
        case 78..<83: farTransfer()
        case 83..<88: trap()
        case 88..<92: forbidden()
        case 92..<94: malformed()
        case 94..<96: stackPointer()
        default: selfModifying()
        }
    }

    // MARK: jumps

    private mutating func jump() {
        let skip = random.below(3)
        let condition = random.below(16)
        let uses = FlagBit.read(by: condition)
        switch random.below(6) {
        case 0...1:
            add(
                "jcc", [0x70 | UInt8(condition), 0], uses: uses,
                fix: .relative(width: 1, skip: skip))
        case 2:
            add(
                "jcc near", [0x0F, 0x80 | UInt8(condition), 0, 0, 0, 0], uses: uses,
                fix: .relative(width: 4, skip: skip))
        case 3:
            add(
                "jmp", random.chance(50) ? [0xEB, 0] : [0xEB, 0],
                fix: .relative(width: 1, skip: skip))
        case 4: add("jmp near", [0xE9, 0, 0, 0, 0], fix: .relative(width: 4, skip: skip))
        default:
            // With operand size 16 the upper half of eip is lost, so not taken is what there is.
            random.chance(85)
                ? jumpByCount(skip)
                : add(
                    "ret to", [0x68, 0, 0, 0, 0, 0xC3], fix: .absolute(at: 1, skip: skip, plus: 0))
        }
    }

    private mutating func jumpByCount(_ skip: Int) {
        let kind = random.below(4)
        if random.chance(50) {
            let count = UInt32(random.below(3))
            known[1] = count
            add("mov", [0xB9] + bytes(count))
        }
        if kind != 3 { known[1] = nil }
        add(
            ["loopne", "loope", "loop", "jcxz"][kind],
            (random.chance(25) ? [0x67] : []) + [0xE0 | UInt8(kind), 0],
            uses: kind < 2 ? FlagBit.zero : 0, fix: .relative(width: 1, skip: skip))
    }

    /// A short loop backwards; one step, so that no jump can enter it without its count.
    private mutating func loop() {
        known = known.map { _ in nil }
        let parts: [[UInt8]] = [
            [0x83, 0xC0, 3], [0x01, 0xC2], [0x31, 0xD8], [0xFF, 0xC3], [0x50], [0x5A],
            [0xFF, 0x05] + bytes(CaseMemory.data + 0x40), [0x8D, 0x74, 0x9E, 0x11],
            [0x89, 0x35] + bytes(CaseMemory.data + 0xFFE),
            [0x03, 0x05] + bytes(CaseMemory.data + 0x1FFD),
        ]
        var body: [UInt8] = []
        for _ in 0...random.below(3) { body += random.pick(parts) }
        add(
            "loop",
            [0xB9] + bytes(UInt32(1 + random.below(6))) + body
                + [0xE2, UInt8(truncatingIfNeeded: -body.count - 2)],
            undefines: FlagBit.adjust)
    }

    private mutating func call() {
        let skip = random.below(2)
        switch random.below(6) {
        case 0: add("call", [0xE8, 0, 0, 0, 0], fix: .relative(width: 4, skip: skip))
        case 1:
            // There and back, with arguments dropped.
            let dropped = random.pick([0, 4, 8, 0xFFFC] as [UInt32])
            let count = random.below(3)
            for _ in 0..<count { add("push", [0x50 | UInt8(register())]) }
            add("call", [0xE8, 0, 0, 0, 0], fix: .relative(width: 4, skip: 1))
            add("jmp", [0xEB, 0], fix: .relative(width: 1, skip: 1))
            random.chance(50)
                ? add("ret", [0xC3]) : add("ret n", [0xC2] + bytes(dropped, 2))
        case 2...3:
            let register = destination()
            add(
                "mov", [0xB8 | UInt8(register), 0, 0, 0, 0],
                fix: .absolute(at: 1, skip: 1 + skip, plus: 0))
            known[register] = nil
            let calls = random.chance(50)
            add(
                calls ? "call indirect" : "jmp indirect",
                [0xFF, (calls ? 0xD0 : 0xE0) | UInt8(register)],
                fix: nil)
            joinAt(skip)
        case 4:
            // By way of memory.
            let address = dataAddress()
            add(
                "mov", [0xC7, 0x05] + bytes(address) + [0, 0, 0, 0],
                fix: .absolute(at: 6, skip: 1 + skip, plus: 0))
            add("call/jmp indirect", [0xFF, random.chance(50) ? 0x15 : 0x25] + bytes(address))
            joinAt(skip)
        default:
            // To wherever that is.
            add(
                "call/jmp indirect", [0xFF], source(), reg: random.chance(50) ? 2 : 4)
        }
    }

    /// After an indirect jump over so many instructions: what they would have done to the flags
    /// is unknown. They are made harmless.
    private mutating func joinAt(_ skip: Int) {
        for _ in 0..<skip { add("mov", [0xB0 | UInt8(random.below(4)), UInt8(random.below(256))]) }
        for register in 0..<4 { known[register] = nil }
    }

    // MARK: the stack

    private mutating func push() {
        let size = random.pick([2, 4, 4, 4])
        switch random.below(12) {
        case 0...1: add("push", prefix(size) + [0x50 | UInt8(register())])
        case 2...3:
            let register = destination()
            forget(register)
            add("pop", prefix(size) + [0x58 | UInt8(register)])
        case 4: add("push", size: size, [0xFF], source(memory: 80), reg: 6)
        case 5:
            if random.chance(30) {
                // An operand by way of the stack pointer, which has already moved.
                add("pop", prefix(size) + [0x8F, 0x44, 0x24, UInt8(random.below(32))])
            } else {
                add("pop", size: size, [0x8F], target(size: size, memory: 80), reg: 0)
            }
        case 6: add("push", prefix(size) + [0x68] + immediate(size))
        case 7: add("push", prefix(size) + [0x6A] + immediate(1))
        case 8: add("pusha", prefix(size) + [0x60])
        case 9:
            known = known.enumerated().map { $0.offset == 4 ? $0.element : nil }
            add("popa", prefix(size) + [0x61])
        case 10: add("push", [0xFF, 0x74, 0x24, UInt8(random.below(64))])
        default: add("push esp", prefix(size) + [0x54])
        }
        known[4] = nil
    }

    private mutating func frame() {
        known[4] = nil
        known[5] = nil
        let size = random.pick([2, 4, 4, 4])
        if random.chance(50) {
            let level = random.pick([0, 0, 0, 1, 2, 3, 5, 31, 33] as [UInt8])
            if level & 31 > 1 && random.chance(80) {
                add("mov ebp", [0x8D, 0x6C, 0x24, UInt8(random.below(64))])
            }
            add(
                "enter",
                prefix(size)
                    + [0xC8] + bytes(UInt32(random.below(100)), 2) + [level])
        } else {
            if random.chance(80) { add("mov ebp", [0x8D, 0x6C, 0x24, UInt8(random.below(64))]) }
            add("leave", prefix(size) + [0xC9])
        }
    }

    private mutating func flagsOnStack() {
        known[4] = nil
        let short = random.chance(25)
        if random.chance(40) {
            add("pushf", (short ? [0x66] : []) + [0x9C], uses: FlagBit.all)
        } else {
            // All but AC, and TF seldom.
            var value = random.word() & ~(0x4_0000 | FlagBit.trap | FlagBit.nested)
            if random.chance(10) { value |= FlagBit.trap }
            if random.chance(5) { value |= FlagBit.nested }
            add("push", [0x68] + bytes(value))
            add("popf", (short ? [0x66] : []) + [0x9D], defines: FlagBit.all)
        }
    }

    private mutating func stackPointer() {
        known[4] = nil
        switch random.below(5) {
        case 0: add("add esp", [0x83, 0xC4, UInt8(random.below(64))], defines: FlagBit.all)
        case 1: add("sub esp", [0x83, 0xEC, UInt8(random.below(64))], defines: FlagBit.all)
        case 2: add("mov esp", [0xBC] + bytes(stackAddress()))
        case 3: add("pop esp", [0x5C])
        default: add("lea esp", [0x8D, 0x64, 0x24, UInt8(random.below(256))])
        }
    }

    // MARK: segments

    /// Selectors that mean the same to the software processor and to the machine: null, the flat
    /// ones, the three of the oracle's, rings and tables that are out of reach.
    private mutating func selector() -> UInt32 {
        random.pick([
            0, 1, 3, 0x2B, 0x2B, 0x2B, 0x23, 0x28, 0x29, 0x63, 0x63, 0x60, 0x62, 0x6B, 0x6B, 0x73,
            0x73, 0x10, 0x13, 0x18, 0x1B, 0x0B, 0x07, 0x0F, 0x2F, 0x83, 0x1003, 0xFFFB, 0xFFFF,
        ])
    }

    private mutating func segment() {
        let segments = ["es", "cs", "ss", "ds", "fs", "gs"]
        let pushes: [[UInt8]] = [[0x06], [0x0E], [0x16], [0x1E], [0x0F, 0xA0], [0x0F, 0xA8]]
        let pops: [[UInt8]] = [[0x07], [], [0x17], [0x1F], [0x0F, 0xA1], [0x0F, 0xA9]]
        switch random.below(9) {
        case 0:
            let segment = random.below(6)
            known[4] = nil
            add("push " + segments[segment], prefix(wideSize()) + pushes[segment])
        case 1:
            let segment = random.pick([0, 0, 3, 4, 4, 5, 5, 2])
            let selector = segment == 2 && random.chance(70) ? 0x2B : selector()
            known[4] = nil
            let size = wideSize()
            add("push", prefix(size) + [0x68] + bytes(selector, size))
            add("pop " + segments[segment], prefix(size) + pops[segment])
        case 2...3:
            let segment = random.pick([0, 3, 4, 4, 5, 5, 5, 2, 1])
            let selector = segment == 2 && random.chance(70) ? 0x2B : selector()
            let register = destination()
            known[register] = random.word() & 0xFFFF_0000 | selector
            add("mov", [0xB8 | UInt8(register)] + bytes(known[register]!))
            add(
                "mov " + segments[segment], size: wideSize(), [0x8E],
                EncodedOperand(tail: [0xC0 | UInt8(register)]), reg: segment)
        case 4:
            let size = wideSize()
            let operand = target(size: 2)
            let segment = random.below(6)
            add("mov from " + segments[segment], size: size, [0x8C], operand, reg: segment)
        case 5:
            // LES, LDS, LSS, LFS, LGS of a pointer made for it.
            let address = dataAddress()
            let size = wideSize()
            let kind = random.below(5)
            let selector = kind == 2 ? 0x2B : selector()
            add(
                "mov", [0x66, 0xC7, 0x05] + bytes(address &+ UInt32(size)) + bytes(selector, 2))
            let reg = destination()
            forget(reg)
            add(
                ["les", "lds", "lss", "lfs", "lgs"][kind], size: size,
                [[0xC4], [0xC5], [0x0F, 0xB2], [0x0F, 0xB4], [0x0F, 0xB5]][kind],
                EncodedOperand(tail: [0x05] + bytes(address)), reg: reg)
        case 6...7:
            let register = destination()
            known[register] = random.word() & 0xFFFF_0000 | selector()
            add("mov", [0xB8 | UInt8(register)] + bytes(known[register]!))
            let operand = EncodedOperand(tail: [0xC0 | UInt8(register)])
            if random.chance(50) {
                add(
                    "verr/verw", [0x0F, 0x00], operand, reg: 4 + random.below(2),
                    defines: FlagBit.zero
                )
            } else {
                let reg = destination()
                forget(reg)
                add(
                    "lar/lsl", size: wideSize(), [0x0F, random.pick([0x02, 0x03])], operand,
                    reg: reg, defines: FlagBit.zero)
            }
        default:
            let operand = target(size: 2)
            add("arpl", [0x63], operand, reg: register(), defines: FlagBit.zero)
        }
    }

    /// Transfers with a selector, of which only the present code segment's is good.
    private mutating func farTransfer() {
        let code = random.chance(85) ? 0x23 : selector()
        let skip = random.below(2)
        known[4] = nil
        switch random.below(5) {
        case 0:
            add(
                "jmp far", [0xEA, 0, 0, 0, 0] + bytes(code, 2),
                fix: .absolute(at: 1, skip: 0, plus: 0))
        case 1:
            add(
                "call far", [0x9A, 0, 0, 0, 0] + bytes(code, 2),
                fix: .absolute(at: 1, skip: 0, plus: 0))
        case 2:
            let address = dataAddress()
            add(
                "mov", [0xC7, 0x05] + bytes(address) + [0, 0, 0, 0],
                fix: .absolute(at: 6, skip: 2, plus: 0))
            add("mov", [0x66, 0xC7, 0x05] + bytes(address &+ 4) + bytes(code, 2))
            add("call/jmp far", [0xFF, random.chance(50) ? 0x1D : 0x2D] + bytes(address))
        case 3:
            add("push", [0x68] + bytes(code))
            add("push", [0x68, 0, 0, 0, 0], fix: .absolute(at: 1, skip: 1 + skip, plus: 0))
            random.chance(60)
                ? add("retf", [0xCB])
                : add("retf n", [0xCA] + bytes(random.pick([0, 4, 12]), 2))
            joinAt(skip)
        default:
            // Of all the flags, too, as POPF does it.
            var value = random.word() & ~(0x4_0000 | FlagBit.trap | FlagBit.nested | 0x2_0000)
            if random.chance(10) { value |= FlagBit.trap }
            add("push", [0x68] + bytes(value))
            add("push", [0x68] + bytes(code))
            add("push", [0x68, 0, 0, 0, 0], fix: .absolute(at: 1, skip: 1 + skip, plus: 0))
            add("iret", [0xCF], defines: FlagBit.all)
            joinAt(skip)
        }
    }

    // MARK: traps

    private mutating func trap() {
        switch random.below(5) {
        case 0: add("int3", [0xCC])
        case 1:
            let vector = UInt8(random.below(256))
            add("int n", [0xCD, vector == 0x80 ? 0x81 : vector])
        case 2: add("into", [0xCE], uses: FlagBit.overflow)
        case 3: add("int1", [0xF1])
        default:
            let size = wideSize()
            add("bound", size: size, [0x62], memory(), reg: register())
        }
    }

    /// What only ring 0, or IOPL, allows.
    private mutating func forbidden() {
        let plain: [[UInt8]] = [
            [0xF4], [0xFA], [0xFB], [0xE4, 0x20], [0xE5, 0x21], [0xE6, 0x80], [0xE7, 0x80], [0xEC],
            [0xED], [0xEE], [0xEF], [0x6C], [0x6D], [0x6E], [0x6F], [0xF3, 0x6C], [0xF2, 0x6F],
            [0x0F, 0x06], [0x0F, 0x08], [0x0F, 0x09], [0x0F, 0x30], [0x0F, 0x32],
            [0x0F, 0x20, 0xC0],
            [0x0F, 0x22, 0xD8], [0x0F, 0x21, 0xC0], [0x0F, 0x23, 0xF8], [0x0F, 0x00, 0xD0],
            [0x0F, 0x00, 0xD8], [0x0F, 0x01, 0x10], [0x0F, 0x01, 0x1E], [0x0F, 0x01, 0x3B],
            [0x0F, 0x01, 0xF0],
        ]
        add("privileged", random.pick(plain))
    }

    /// What no processor executes.
    private mutating func malformed() {
        let plain: [[UInt8]] = [
            [0x0F, 0x0B], [0x0F, 0xB9, 0xC0], [0x0F, 0xFF, 0xC0], [0x8D, 0xC1],
            [0x0F, 0xC7, 0xC8], [0xFE, 0xD0], [0xFF, 0xF8], [0xFE, 0x38], [0xFF, 0xD8],
            [0xFF, 0xE8], [0x8C, 0xF0], [0x8C, 0xF8], [0x8E, 0xC8], [0x8E, 0xF0],
            [0x0F, 0xBA, 0xC0, 1],
            [0x0F, 0xBA, 0x18, 1], [0xC6, 0xC8, 1], [0xC7, 0xC8, 1, 0, 0, 0],
            // LOCK where it must not be.
            [0xF0, 0x90], [0xF0, 0x01, 0xC0], [0xF0, 0x38, 0x03], [0xF0, 0x8B, 0x03],
            [0xF0, 0x0F, 0xA3, 0x03],
            [0xF0, 0xA4], [0xF0, 0xEB, 0x00], [0xF0, 0x85, 0x03], [0xF0, 0xD1, 0x03],
            [0xF0, 0x0F, 0xBA, 0x23, 0x01], [0xF0, 0xFF, 0x33], [0xF0, 0x88, 0x03],
        ]
        if random.chance(30) {
            // Fifteen bytes are the most that an instruction may have.
            let prefixes = [UInt8](
                repeating: random.pick([0x66, 0x26, 0x3E, 0x2E, 0x36]), count: 8 + random.below(8))
            return add(
                "long", prefixes + [random.pick([0x90, 0x40, 0xF9])], defines: 0,
                undefines: FlagBit.all)
        }
        add("malformed", random.pick(plain))
    }

    // MARK: code that changes

    private mutating func selfModifying() {
        let skip = random.below(3)
        if random.chance(40) {
            // An immediate operand, of the instruction after `skip` others.
            let register = destination()
            forget(register)
            let value = random.word()
            add(
                "store to code", [0xC7, 0x05, 0, 0, 0, 0] + bytes(value),
                fix: .absolute(at: 2, skip: skip, plus: 1))
            for _ in 0..<skip { add("nop", [0x90]) }
            add("mov", [0xB8 | UInt8(register), 0x11, 0x22, 0x33, 0x44])
        } else {
            // An opcode.
            known = known.map { _ in nil }
            let opcode = random.pick([0x90, 0x40, 0x4B, 0x41, 0xF9, 0x99, 0x50, 0xCC] as [UInt8])
            add(
                "store to code", [0xC6, 0x05, 0, 0, 0, 0, opcode],
                fix: .absolute(at: 2, skip: skip, plus: 0))
            for _ in 0..<skip { add("mov", [0x89, 0xC2]) }
            add("nop", [0x90], defines: 0, undefines: 0)
        }
    }
}
