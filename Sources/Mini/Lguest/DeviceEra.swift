// Which lguest a real /dev/lguest speaks. There is no call that asks for the version, so it is
// told by what the device answers to a guest that never runs: on an open file of its own,
// which is closed again, and with all that the answers could change in memory of its own.
// Source: docs/abi/lguest.md §6.1, §6.3.

/// The stages of the launcher's side of the interface, a row each.
enum DeviceEra: Equatable, CaseIterable {
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

    /// What is known of a device.
    struct Row {
        /// The kernels that have it, for messages.
        let kernels: StaticString
        /// Bytes of INITIALIZE's arguments, as the device counts them.
        let initializeCount: Int
        /// The eras of guests that it may run: each wants a host of just its own age, which the device does not tell.
        let guests: [GuestABI.Era]
        /// Whether the guest's memory must begin at address 0.
        let wantsMemoryAtZero: Bool
        /// What it makes of further requests to a guest that never runs, in this order.
        let answers: Answers
    }

    /// Whether a device knows requests. Each is asked only where it tells those apart that are left.
    struct Answers {
        /// GETREG.
        var registers: Bool = false
        /// GETDMA: of key 4, which in era 0 kills the guest, as nothing is mapped there.
        var buffers: Bool = false
        /// BREAK 0, where the guest still lives.
        var breaks: Bool = false
    }

    var row: Row {
        switch self {
        case .era0:
            Row(
                "Linux 2.6.23 (era 0)", .init(buffers: true), runs: [.era0, .era0b],
                wantsMemoryAtZero: true)
        case .era1:
            Row(
                "Linux between 2.6.23 and 2.6.24 (eras 1a to 1b)",
                .init(buffers: true, breaks: true), runs: [.era1a, .era1, .era1b])
        case .era1c:
            Row(
                "Linux shortly before 2.6.24 (era 1c)", .init(buffers: true, breaks: true),
                runs: [.era1c])
        case .virtio:
            Row(
                "Linux 2.6.24 to 2.6.28 (eras 2 and 3a)", .init(breaks: true),
                runs: [.era2, .era3a]
            )
        case .hostTables:
            Row(
                "Linux 2.6.29 and 2.6.30 (eras 3b and 3c)", .init(breaks: true),
                runs: [.era3b, .era3c])
        case .eventDescriptors:
            Row(
                "Linux 2.6.31 to 3.19 (eras 4a to 4d)", .init(),
                runs: [.era4a, .era4b, .era4c, .era4d])
        case .pci: Row("Linux 4.0 to 4.13 (era 5)", .init(registers: true), runs: [.era5])
        }
    }

    var kernels: StaticString { row.kernels }

    /// True if a device of this era runs guests of that one. Where several eras answer alike, and the host's own
    /// can be told by its release, it is that one alone: guests and hosts were meant to be of one build.
    /// - Parameter host: as its release says.
    func runs(_ guest: GuestABI.Era, on host: GuestABI.Era? = nil) -> Bool {
        guard let host, row.guests.contains(host) else { return row.guests.contains(guest) }
        return guest == host
    }

    /// True if there are kernels of it with PAE.
    var mayHavePAE: Bool { GuestABI(era: row.guests[0]).mayHaveWideTables }

    /// True if the guest's memory must begin at address 0.
    var wantsMemoryAtZero: Bool { row.wantsMemoryAtZero }
}

extension DeviceEra.Row {
    /// A device whose guests are spoken: they say what INITIALIZE takes.
    fileprivate init(
        _ kernels: StaticString, _ answers: DeviceEra.Answers, runs guests: [GuestABI.Era],
        wantsMemoryAtZero: Bool = false
    ) {
        self.init(
            kernels: kernels, initializeCount: GuestABI(era: guests[0]).initializeCount,
            guests: guests, wantsMemoryAtZero: wantsMemoryAtZero, answers: answers)
    }

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
        return try DeviceProbe(device: device, scratch: scratch).era()
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

    // A register, and a word in the boot parameters. §1.5, §2.2.
    private static let instructionPointer: UInt32 = 48
    private static let mapSize: UInt32 = 0x2D8

    func era() throws(DeviceError) -> DeviceEra {
        scratch.store32(Self.mapSize, scratch.count)
        let base = UInt32(truncatingIfNeeded: scratch.address)
        let answer: Int
        do throws(Errno) {
            answer = try ask([LguestRequest.initialize, base, scratch.count >> Page.shift, 0, 0, 0])
        } catch { throw .unavailable(error) }
        var left = DeviceEra.allCases.filter { $0.row.initializeCount == answer }
        // A question is asked only where the answer makes a difference.
        left = narrowed(left, by: { $0.registers }) {
            accepts([LguestRequest.getRegister, Self.instructionPointer])
        }
        left = narrowed(left, by: { $0.buffers }) {
            do throws(Errno) { _ = try ask([LguestRequest.dmaBuffer, 4]) } catch {
                return error != .invalid
            }
            return true
        }
        left = narrowed(left, by: { $0.breaks }) { accepts([LguestRequest.breakOut, 0]) }
        guard let era = left.first else { throw .notTheDevice }
        return era
    }

    private func narrowed(
        _ eras: [DeviceEra], by column: (DeviceEra.Answers) -> Bool, _ answer: () -> Bool
    ) -> [DeviceEra] {
        guard let first = eras.first,
            eras.contains(where: { column($0.row.answers) != column(first.row.answers) })
        else { return eras }
        let answer = answer()
        return eras.filter { column($0.row.answers) == answer }
    }

    private func accepts(_ words: [UInt32]) -> Bool { (try? ask(words)) != nil }

    private func ask(_ words: [UInt32]) throws(Errno) -> Int {
        try Transfer.writeRecord(device.number, words)
    }
}
