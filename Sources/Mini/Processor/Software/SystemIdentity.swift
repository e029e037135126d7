// What the processor says it is, its model-specific registers, and the clock that a KVM guest finds there.
//
// It calls itself an AMD of family 6: a Pentium Pro of that make, with MMX and SSE2 where our own processor has them. Kernels know that those leak nothing of
// the kernel to its programs, and do not separate their page tables. With the hypervisor's leaves comes KVM's clock,
// which says how to get from the time stamp to nanoseconds: the stamp counts nanoseconds, unless its user
// says otherwise, and nothing has to be measured.
//
// Sources: Intel SDM volume 2, CPUID; volume 4; docs/abi/pc.md §7, §8.

/// What CPUID answers on both processors: who made them, how far the leaves go, and whose guest this is.
enum CommonIdentity {
    static func answer(_ leaf: UInt32) -> (UInt32, UInt32, UInt32, UInt32)? {
        switch leaf {
        // "AuthenticAMD"
        case 0: (1, 0x6874_7541, 0x444D_4163, 0x6974_6E65)
        // "KVMKVMKVM"; its clock by both names, which needs no correction, and no delays by port 80.
        case 0x4000_0000: (0x4000_0001, 0x4B4D_564B, 0x564B_4D56, 0x4D)
        case 0x4000_0001: (1 | 1 << 1 | 1 << 3 | 1 << 24, 0, 0, 0)
        case 0x8000_0000: (0x8000_0008, 0x6874_7541, 0x444D_4163, 0x6974_6E65)
        default: nil
        }
    }
}

extension ProcessorProfile {
    /// A guest with ring 0 has all tables in its memory.
    static var system: ProcessorProfile {
        ProcessorProfile(
            kernelRing: 0, descriptorCount: 0, fixedFlags: Flag.one,
            globalTable: Table(base: 0, limit: 0), interruptTable: Table(base: 0, limit: 0),
            localTable: 0, task: 0, machineStatus: 0, identification: identifySystem)
    }

    private static func identifySystem(_ leaf: UInt32) -> (UInt32, UInt32, UInt32, UInt32) {
        if let common = CommonIdentity.answer(leaf) { return common }
        return switch leaf {
        case 1: (0x642, 0, 1 << 31, Feature.all | (Core.offersVectors ? Feature.vectors : 0))
        case 0x8000_0001:
            (
                0x642, 0, 0,
                Feature.all & ~Feature.entry | Feature.noExecute
                    | (Core.offersVectors ? Feature.multimedia : 0)
            )
        // Widths of addresses; and that the pointers to an x87 exception are always saved and restored, lest kernels clear them.
        case 0x8000_0008: (32 << 8 | 36, 1 << 2, 0, 0)
        default: (0, 0, 0, 0)
        }
    }

    /// Bits of EDX.
    private enum Feature {
        static let floatingPoint: UInt32 = 1 << 0
        static let debugging: UInt32 = 1 << 2
        static let largePages: UInt32 = 1 << 3
        static let timeStamp: UInt32 = 1 << 4
        static let modelRegisters: UInt32 = 1 << 5
        static let physicalExtension: UInt32 = 1 << 6
        /// MCE and MCA, with no banks: a kernel without them says that as an error.
        static let machineChecks: UInt32 = 1 << 7 | 1 << 14
        static let compareExchange8: UInt32 = 1 << 8
        static let entry: UInt32 = 1 << 11
        static let globalPages: UInt32 = 1 << 13
        static let conditionalMove: UInt32 = 1 << 15
        static let fastSave: UInt32 = 1 << 24
        static let multimedia: UInt32 = 1 << 23
        /// MMX, SSE, SSE2.
        static let vectors = multimedia | 1 << 25 | 1 << 26
        /// Of leaf 80000001.
        static let noExecute: UInt32 = 1 << 20
        static let all =
            floatingPoint | debugging | largePages | timeStamp | modelRegisters
            | physicalExtension | compareExchange8 | entry | globalPages | conditionalMove
            | fastSave | machineChecks
    }
}

extension Core {
    func readModelRegister() throws(Fault) {
        let value: UInt64 =
            switch state.ecx {
            case ModelRegister.timeStamp: timeStampNow
            // The boot processor's, off.
            case ModelRegister.interruptController: 0xFEE0_0100
            case ModelRegister.entryCodeSelector: UInt64(system.entryCodeSelector)
            case ModelRegister.entryStack: UInt64(system.entryStack)
            case ModelRegister.entryPoint: UInt64(system.entryPoint)
            case ModelRegister.attributeTable: system.attributeTable
            case ModelRegister.extendedFeatures: system.noExecuteEnabled ? 1 << 11 : 0
            case ModelRegister.wallClock, ModelRegister.oldWallClock: system.wallClock
            case ModelRegister.clock, ModelRegister.oldClock: system.clockPage
            case _ where QuietRegister.contains(state.ecx): 0
            default: throw .protection(0)
            }
        state.eax = UInt32(truncatingIfNeeded: value)
        state.edx = UInt32(truncatingIfNeeded: value &>> 32)
    }

    func writeModelRegister() throws(Fault) {
        let value = UInt64(state.edx) &<< 32 | UInt64(state.eax)
        let low = state.eax
        switch state.ecx {
        case ModelRegister.timeStamp:
            system.timeStampOffset = value &- state.timeStamp()
            writeClock()
        // There is none: it stays off.
        case ModelRegister.interruptController: break
        case ModelRegister.entryCodeSelector: system.entryCodeSelector = low
        case ModelRegister.entryStack: system.entryStack = low
        case ModelRegister.entryPoint: system.entryPoint = low
        case ModelRegister.attributeTable: try setAttributeTable(value)
        case ModelRegister.extendedFeatures:
            guard value & ~(1 << 11) == 0 else { throw .protection(0) }
            system.noExecuteEnabled = value != 0
            flushTLB()
        case ModelRegister.wallClock, ModelRegister.oldWallClock:
            system.wallClock = value
            writeWallClock()
        case ModelRegister.clock, ModelRegister.oldClock:
            system.clockPage = value
            writeClock()
        case _ where QuietRegister.contains(state.ecx): break
        default: throw .protection(0)
        }
    }

    /// Types 0, 1, 4, 5, 6, 7 exist.
    private func setAttributeTable(_ value: UInt64) throws(Fault) {
        for index in 0..<8 {
            let type = value &>> UInt64(index * 8) & 0xFF
            guard type < 8 && type != 2 && type != 3 else { throw .protection(0) }
        }
        system.attributeTable = value
    }

    // MARK: Time

    private var timeStampNow: UInt64 { state.timeStamp() &+ system.timeStampOffset }

    /// RDTSC.
    func guestTimeStamp() throws(Fault) -> UInt64 {
        guard state.privilege == 0 || system.control4 & Control4.timeStampDisable == 0 else {
            throw .protection(0)
        }
        return timeStampNow
    }

    /// The page of KVM's clock, once for each time that it is set: the stamp runs evenly. docs/abi/pc.md §7.
    private func writeClock() {
        guard system.clockPage & 1 != 0 else { return }
        let now = state.timeStamp()
        var page = InlineArray<8, UInt32>(repeating: 0)
        system.clockVersion &+= 2
        page[0] = system.clockVersion
        let stamp = now &+ system.timeStampOffset
        (page[2], page[3]) = (
            UInt32(truncatingIfNeeded: stamp), UInt32(truncatingIfNeeded: stamp &>> 32)
        )
        (page[4], page[5]) = (
            UInt32(truncatingIfNeeded: now), UInt32(truncatingIfNeeded: now &>> 32)
        )
        // Nanoseconds are (stamp << shift) * multiplier >> 32: the stamp itself. The flag: it is stable.
        page[6] = 1 &<< 31
        page[7] = 1 | 1 &<< 8
        storeWords(system.clockPage & ~1, page, 8)
    }

    /// Beside that flag: the guest was stopped. Its watchdogs ask for that, and take it away.
    func tellStop() {
        guard system.clockPage & 1 != 0 else { return }
        storeWords((system.clockPage & ~1) &+ 28, InlineArray(repeating: 1 | 3 &<< 8), 1)
    }

    /// When the guest began, by the wall clock.
    private func writeWallClock() {
        let start = Clock.realTime().count &- state.timeStamp()
        var page = InlineArray<8, UInt32>(repeating: 0)
        system.clockVersion &+= 2
        page[0] = system.clockVersion
        page[1] = UInt32(truncatingIfNeeded: start / Nanoseconds.perSecond)
        page[2] = UInt32(truncatingIfNeeded: start % Nanoseconds.perSecond)
        storeWords(system.wallClock, page, 3)
    }

    /// Stores words in guest memory; none if they are not wholly there.
    private func storeWords(_ place: UInt64, _ words: InlineArray<8, UInt32>, _ count: Int) {
        guard place & 3 == 0, place < UInt64(state.memoryCount),
            UInt64(state.memoryCount) - place >= UInt64(count * 4)
        else { return }
        for index in 0..<count {
            let address = UInt32(truncatingIfNeeded: place) + UInt32(index) * 4
            noteWrite(address, 4)
            unsafe state.memory.storeBytes(
                of: words[index], toByteOffset: Int(address), as: UInt32.self)
        }
    }
}
