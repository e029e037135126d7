// Which lguest a real /dev/lguest speaks. There is no call that asks for the version, so it is
// told by what the device answers to a guest that never runs: on an open file of its own,
// which is closed again, and with all that the answers could change in memory of its own.
// Source: docs/abi/lguest.md §6.1, §6.3.

/// The stages of the launcher's side of the interface.
enum DeviceEra: Equatable {
    /// Guest-physical memory is the launcher's own, from address 0: Linux 2.6.23.
    case era0
    /// Eras 1a, 1 and 1b, which cannot be told from outside: October 2007.
    case era1
    case era1c
    /// Virtio, 2.6.24 to 2.6.28.
    case virtio
    /// The host builds the boot tables: 2.6.29 and 2.6.30.
    case hostTables
    /// 2.6.31 to 3.19.
    case eventDescriptors
    /// 4.0 to 4.13.
    case pci

    /// The kernels that have it, for messages.
    var kernels: StaticString {
        switch self {
        case .era0: "Linux 2.6.23 (era 0)"
        case .era1: "Linux between 2.6.23 and 2.6.24 (eras 1a to 1b)"
        case .era1c: "Linux shortly before 2.6.24 (era 1c)"
        case .virtio: "Linux 2.6.24 to 2.6.28 (eras 2 and 3)"
        case .hostTables: "Linux 2.6.29 and 2.6.30 (era 3)"
        case .eventDescriptors: "Linux 2.6.31 to 3.19 (era 4)"
        case .pci: "Linux 4.0 to 4.13 (era 5)"
        }
    }

    /// True for a device that this launcher can drive.
    var isSpoken: Bool {
        switch self {
        case .era0, .era1, .era1c: true
        case .virtio, .hostTables, .eventDescriptors, .pci: false
        }
    }

    /// True if a device of this era runs guests of that one. Guests 1a, 1 and 1b want a host
    /// of just their own age, but the device does not tell its own.
    func runs(_ guest: GuestABI.Era) -> Bool {
        switch (self, guest) {
        case (.era0, .era0), (.era0, .era0b), (.era1c, .era1c): true
        case (.era1, .era1a), (.era1, .era1), (.era1, .era1b): true
        default: false
        }
    }

    /// True if the guest's memory must begin at address 0.
    var wantsMemoryAtZero: Bool { self == .era0 }
}

extension DeviceEra {
    /// Finds out what the device of this machine speaks.
    /// - Throws: why it cannot be used.
    static func probe() throws(DeviceError) -> DeviceEra {
        #if arch(i386) || !hasFeature(Embedded)
        let device: Descriptor
        do throws(Errno) { device = try Descriptor.open(KernelDevice.path, .readWrite) } catch {
            throw .unavailable(error)
        }
        let scratch: GuestMemory
        let status: FileStatus
        do throws(Errno) {
            status = try device.status()
            scratch = try GuestMemory(count: scratchSize)
        } catch { throw .unavailable(error) }
        // What is written to a file would stay in it.
        guard status.kind == .other else { throw .notTheDevice }
        let era = try DeviceProbe(device: device, scratch: scratch).era()
        guard era.isSpoken else { throw .otherHost(era) }
        return era
        #else
        throw .otherBuild
        #endif
    }

    private static let scratchSize: UInt32 = 1 << 20
}

/// Questions to a device that nobody else has open.
private struct DeviceProbe: ~Copyable {
    let device: Descriptor
    /// Where hosts of 2.6.29 to 3.0 write boot tables.
    let scratch: GuestMemory

    // Requests of later eras, and words in the boot parameters. §1.1, §2.2.
    private static let getRegister: UInt32 = 5
    private static let instructionPointer: UInt32 = 48
    private static let mapSize: UInt32 = 0x2D8

    func era() throws(DeviceError) -> DeviceEra {
        scratch.store32(Self.mapSize, scratch.count)
        let base = UInt32(truncatingIfNeeded: scratch.address)
        let answer: Int
        do throws(Errno) {
            answer = try ask([LguestRequest.initialize, base, scratch.count >> 12, 0, 0, 0])
        } catch { throw .unavailable(error) }
        switch answer {
        case 20: return .era1
        case 16: return eraOfSixteen()
        case 12: return accepts([LguestRequest.breakOut, 0]) ? .hostTables : .eventDescriptors
        default: throw .notTheDevice
        }
    }

    /// Which of those that take four words.
    private func eraOfSixteen() -> DeviceEra {
        if accepts([Self.getRegister, Self.instructionPointer]) { return .pci }
        // Key 4: inside the scratch memory, but in era 0 an address that nothing is mapped at,
        // which kills the guest.
        do throws(Errno) { _ = try ask([LguestRequest.dmaBuffer, 4]) } catch {
            if error == .invalid { return .virtio }
        }
        return accepts([LguestRequest.breakOut, 0]) ? .era1c : .era0
    }

    private func accepts(_ words: [UInt32]) -> Bool { (try? ask(words)) != nil }

    private func ask(_ words: [UInt32]) throws(Errno) -> Int {
        try Transfer.writeRecord(device.number, words)
    }
}
