// What the processor of long mode says it is, its model-specific registers, and the clock of a KVM guest.
//
// It calls itself an AMD of family 15, the first that had long mode: kernels know that those leak nothing of the kernel to its
// programs. It offers the least that 64-bit kernels and their programs ask for: MMX, SSE2, NX, SYSCALL; no APIC, XSAVE, AVX. (MMX
// because C libraries of today refuse a processor without it.) Where the real processor has what the level x86-64-v2 adds, this one has
// it, too, as some systems' programs are compiled for that. Kernels are not told: they would hash by it what integers hash faster here.
// The clock is SystemIdentity.swift's.
//
// Sources: AMD64 Architecture Programmer's Manual volumes 2 and 3 (CPUID); docs/abi/pc.md §7, §8.

private enum LongCpuFeature {
    /// FPU, DE, PSE, TSC, MSR, PAE, MCE, CX8, PGE, MCA, CMOV, PAT, MMX, FXSR, SSE, SSE2.
    static let basic: UInt32 = 0x0781_E1FD
    /// What leaf 80000001 repeats of them.
    static let repeated: UInt32 = 0x0181_E1FD
    /// SYSCALL, NX, LM.
    static let long: UInt32 = 1 << 11 | 1 << 20 | 1 << 29
    static let hypervisor: UInt32 = 1 << 31
    /// CMPXCHG16B.
    static let exchange16: UInt32 = 1 << 13
    /// SSE3, SSSE3, SSE4.1, SSE4.2, POPCNT.
    static let level2: UInt32 = 1 << 0 | 1 << 9 | 1 << 19 | 1 << 20 | 1 << 23
    /// LAHF and SAHF.
    static let flagsByAh: UInt32 = 1 << 0
}

extension LongCore {
    func identify(_ leaf: UInt32) -> (UInt32, UInt32, UInt32, UInt32) {
        let signature: UInt32 = 0x0006_0FB1
        if let common = CommonIdentity.answer(leaf) { return common }
        return switch leaf {
        case 1:
            (
                signature, 0,
                LongCpuFeature.hypervisor | LongCpuFeature.exchange16
                    | (state.hasLevel2 && state.privilege == 3 ? LongCpuFeature.level2 : 0),
                LongCpuFeature.basic
            )
        case 0x8000_0001:
            (
                signature, 0, LongCpuFeature.flagsByAh,
                LongCpuFeature.repeated | LongCpuFeature.long
            )
        // Widths of addresses; the pointers to an x87 exception are always saved and restored.
        case 0x8000_0008: (48 << 8 | 36, 1 << 2, 0, 0)
        default: (0, 0, 0, 0)
        }
    }

    func modelRegister(_ number: UInt32) throws(Fault) -> UInt64 {
        switch number {
        case ModelRegister.timeStamp: timeStampNow
        // The boot processor's, off.
        case ModelRegister.interruptController: 0xFEE0_0100
        case ModelRegister.entryCodeSelector...ModelRegister.entryPoint:
            state.entryRegisters[Int(number - ModelRegister.entryCodeSelector)]
        case ModelRegister.attributeTable: state.attributeTable
        case ModelRegister.extendedFeatures: state.features
        case ModelRegister.star: state.star
        case ModelRegister.longEntry: state.longEntry
        case ModelRegister.compatibleEntry: state.compatibleEntry
        case ModelRegister.entryMask: state.entryMask
        case ModelRegister.fsBase: state.bases[4]
        case ModelRegister.gsBase: state.bases[5]
        case ModelRegister.kernelBase: state.kernelBase
        case ModelRegister.wallClock, ModelRegister.oldWallClock: state.wallClock
        case ModelRegister.clock, ModelRegister.oldClock: state.clockPage
        case _ where QuietRegister.contains(number): 0
        default: throw .protection(0)
        }
    }

    func setModelRegister(_ number: UInt32, _ value: UInt64) throws(Fault) {
        switch number {
        case ModelRegister.timeStamp:
            state.timeStampOffset = value &- stamp
            writeClock()
        // There is none: it stays off.
        case ModelRegister.interruptController: break
        case ModelRegister.entryCodeSelector...ModelRegister.entryPoint:
            state.entryRegisters[Int(number - ModelRegister.entryCodeSelector)] = value
        case ModelRegister.attributeTable:
            for index in 0..<8 as Range<UInt64> {
                let type = value &>> (index * 8) & 0xFF
                guard type < 8 && type != 2 && type != 3 else { throw .protection(0) }
            }
            state.attributeTable = value
        case ModelRegister.extendedFeatures:
            // Which mode is active, and while it is that there is one, is not for the guest to write.
            let fixed =
                LongFeature.active | (isActive ? LongFeature.long : 0)
            let known =
                LongFeature.long | LongFeature.active | LongFeature.systemCall
                | LongFeature.noExecute
            guard value & ~known == 0, !isActive || value & LongFeature.long != 0 else {
                throw .protection(0)
            }
            let changed = (state.features ^ value) & LongFeature.noExecute
            state.features = value & ~fixed | state.features & fixed
            if changed != 0 { flushTLB() }
        case ModelRegister.star: state.star = value
        case ModelRegister.longEntry: state.longEntry = try canonical(value)
        case ModelRegister.compatibleEntry: state.compatibleEntry = try canonical(value)
        case ModelRegister.entryMask: state.entryMask = value & 0xFFFF_FFFF
        case ModelRegister.fsBase: state.bases[4] = try canonical(value)
        case ModelRegister.gsBase: state.bases[5] = try canonical(value)
        case ModelRegister.kernelBase: state.kernelBase = try canonical(value)
        case ModelRegister.wallClock, ModelRegister.oldWallClock:
            state.wallClock = value
            writeWallClock()
        case ModelRegister.clock, ModelRegister.oldClock:
            state.clockPage = value
            writeClock()
        case _ where QuietRegister.contains(number): break
        default: throw .protection(0)
        }
    }

    private func canonical(_ value: UInt64) throws(Fault) -> UInt64 {
        guard Self.isCanonical(value) else { throw .protection(0) }
        return value
    }

    // MARK: Time

    private var stamp: UInt64 { unsafe state.owner.timeStamp() }

    var timeStampNow: UInt64 { stamp &+ state.timeStampOffset }

    /// The page of KVM's clock. docs/abi/pc.md §7.
    private func writeClock() {
        guard state.clockPage & 1 != 0 else { return }
        let now = stamp
        state.clockVersion &+= 2
        let stamp = now &+ state.timeStampOffset
        storeWords(
            state.clockPage & ~1,
            [
                state.clockVersion, 0, UInt32(truncatingIfNeeded: stamp),
                UInt32(truncatingIfNeeded: stamp &>> 32), UInt32(truncatingIfNeeded: now),
                UInt32(truncatingIfNeeded: now &>> 32), 1 &<< 31, 1 | 1 &<< 8,
            ], 8)
    }

    /// Beside its flag: the guest was stopped. Its watchdogs ask for that, and take it away.
    func tellStop() {
        guard state.clockPage & 1 != 0 else { return }
        storeWords((state.clockPage & ~1) &+ 28, InlineArray(repeating: 1 | 3 &<< 8), 1)
    }

    /// When the guest began, by the wall clock.
    private func writeWallClock() {
        let start = Clock.realTime().count &- stamp
        state.clockVersion &+= 2
        storeWords(
            state.wallClock,
            [
                state.clockVersion, UInt32(truncatingIfNeeded: start / Nanoseconds.perSecond),
                UInt32(truncatingIfNeeded: start % Nanoseconds.perSecond), 0, 0, 0, 0, 0,
            ], 3)
    }

    /// Stores words in guest memory; none if they are not wholly there.
    private func storeWords(_ place: UInt64, _ words: InlineArray<8, UInt32>, _ count: Int) {
        guard place & 3 == 0, state.extent.contains(place, UInt64(count * 4)) else { return }
        for index in 0..<count {
            let address = UInt(place) + UInt(index) * 4
            noteWrite(address, 4)
            unsafe state.memory.storeBytes(
                of: words[index], toByteOffset: Int(address), as: UInt32.self)
        }
    }
}
