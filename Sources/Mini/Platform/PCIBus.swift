// PCI as a kernel finds it by itself: configuration mechanism 1 at CF8 and CFC, one bus, a host bridge at 0:0.0, and
// behind it functions with one I/O BAR and one interrupt pin each. There is no table that says where a pin
// leads, so the register 3C says it from the start, and a kernel without tables believes it.
// Source: docs/abi/pc.md §3.5; PCI Local Bus Specification 3.0, chapters 3.2.2.3 and 6.

/// What a function is, for the kernel to find its driver.
struct PCIIdentity {
    let vendor, device: UInt16
    /// Class, subclass and interface.
    let classCode: UInt32
    var subsystemVendor: UInt16 = 0
    var subsystem: UInt16 = 0
    var revision: UInt8 = 0
}

/// A device on the bus.
protocol PCIFunction: AnyObject {
    var identity: PCIIdentity { get }
    /// Its BAR's size in ports: a power of two, 4 to 256.
    var portCount: UInt16 { get }
    /// - Parameters:
    ///   - offset: from the BAR's start; all of the access is in it.
    ///   - size: 1, 2 or 4 bytes.
    func readPort(_ offset: UInt16, _ size: UInt8) -> UInt32
    func writePort(_ offset: UInt16, _ size: UInt8, _ value: UInt32)
    /// True as long as it asks for an interrupt.
    var interruptLevel: Bool { get }
    /// Bus Master: it may use the guest's memory. True at the start, as a firmware leaves it.
    var isMaster: Bool { get set }
    /// True if it has registers of its own after the header; the first is where a list of them begins.
    var hasCapabilities: Bool { get }
    /// - Parameter place: from 0x40 on, `size` bytes that do not cross a multiple of 4.
    func readCapability(_ place: UInt8, _ size: UInt8) -> UInt32
    func writeCapability(_ place: UInt8, _ size: UInt8, _ value: UInt32)
}

extension PCIFunction {
    var hasCapabilities: Bool { false }
    func readCapability(_ place: UInt8, _ size: UInt8) -> UInt32 { 0 }
    func writeCapability(_ place: UInt8, _ size: UInt8, _ value: UInt32) {}
}

/// The registers of a function that are the bus's.
struct PCIHeader {
    private let identity: PCIIdentity
    /// 0 for none.
    private let portCount: UInt16
    private let hasCapabilities: Bool
    private var command: UInt16
    private var base: UInt32
    private var cacheLine: UInt8 = 0
    private var latency: UInt8 = 0
    private var interruptLine: UInt8

    fileprivate enum Command {
        static let ports: UInt16 = 0x0001
        /// The function's own.
        static let master: UInt16 = 0x0004
        static let withoutInterrupt: UInt16 = 0x0400
        /// I/O, memory, parity, SERR, INTx off.
        static let writable: UInt16 = 0x0543
    }

    init(
        _ identity: PCIIdentity, ports: UInt16 = 0, at base: UInt16 = 0, line: UInt8 = 0,
        hasCapabilities: Bool = false
    ) {
        self.identity = identity
        self.hasCapabilities = hasCapabilities
        portCount = ports
        self.base = UInt32(base)
        interruptLine = line
        command = ports > 0 ? Command.ports : 0
    }

    /// The ports that lead to it; nil while the guest has them switched off.
    var ports: Range<UInt32>? {
        guard command & Command.ports != 0, portCount > 0, base > 0, base < 0x1_0000 else {
            return nil
        }
        return base..<base + UInt32(portCount)
    }

    var interrupts: Bool { command & Command.withoutInterrupt == 0 }

    /// - Parameter register: a multiple of 4.
    func read(_ register: UInt8, isInterrupting: Bool, isMaster: Bool) -> UInt32 {
        switch register {
        case 0x00: UInt32(identity.vendor) | UInt32(identity.device) << 16
        case 0x04:
            UInt32(command) | (isInterrupting ? 0x0008_0000 : 0)
                | (hasCapabilities ? 0x0010_0000 : 0) | (isMaster ? UInt32(Command.master) : 0)
        case 0x08: UInt32(identity.revision) | identity.classCode << 8
        case 0x0C: UInt32(cacheLine) | UInt32(latency) << 8
        case 0x10: portCount > 0 ? base | 1 : 0
        case 0x2C: UInt32(identity.subsystemVendor) | UInt32(identity.subsystem) << 16
        case 0x34: hasCapabilities ? UInt32(PCIBus.firstCapability) : 0
        case 0x3C: UInt32(interruptLine) | (portCount > 0 ? 0x0100 : 0)
        default: 0
        }
    }

    mutating func write(_ register: UInt8, _ value: UInt32) {
        switch register {
        case 0x04: command = UInt16(truncatingIfNeeded: value) & Command.writable
        case 0x0C:
            cacheLine = UInt8(truncatingIfNeeded: value)
            latency = UInt8(truncatingIfNeeded: value >> 8)
        // The bits below its size cannot be set, which tells the size.
        case 0x10: if portCount > 0 { base = value & ~(UInt32(portCount) - 1) }
        case 0x3C: interruptLine = UInt8(truncatingIfNeeded: value)
        default: break
        }
    }
}

struct PCIBus {
    /// As many as there are numbers beside the bridge's.
    static let mostFunctions = 31
    /// Where a function's own registers begin.
    static let firstCapability: UInt8 = 0x40
    /// Where the first BAR is, and how far apart they are.
    private static let firstPort: UInt16 = 0x1000
    private static let portDistance: UInt16 = 0x100
    /// Where pins lead: inputs of the interrupt controller, in this order.
    private static let lines: [UInt8] = [11, 10, 9, 5]

    private var address: UInt32 = 0
    private var headers: [PCIHeader] = []
    private let functions: [any PCIFunction]

    /// - Parameters:
    ///   - functions: at most `mostFunctions`.
    ///   - lines: of the functions' pins, if they are not the four of a PC.
    init(_ functions: [any PCIFunction], lines: [UInt8]? = nil) {
        precondition(functions.count <= Self.mostFunctions)
        self.functions = functions
        headers.append(
            PCIHeader(PCIIdentity(vendor: 0x8086, device: 0x1237, classCode: 0x06_0000)))
        for (index, function) in functions.enumerated() {
            headers.append(
                PCIHeader(
                    function.identity, ports: function.portCount,
                    at: Self.firstPort + Self.portDistance * UInt16(index),
                    line: lines?[index] ?? Self.line(of: index),
                    hasCapabilities: function.hasCapabilities))
        }
    }

    /// The line of a function's pin, whatever a guest writes into its register.
    private static func line(of index: Int) -> UInt8 { lines[index & 3] }

    // MARK: Interrupts

    /// Calls with each line and its level.
    func forEachLine(_ body: (UInt8, Bool) -> Void) {
        for place in 0..<min(4, functions.count) {
            var isHigh = false
            for index in stride(from: place, to: functions.count, by: 4)
            where functions[index].interruptLevel && headers[index + 1].interrupts { isHigh = true }
            body(Self.lines[place], isHigh)
        }
    }

    // MARK: Ports

    /// Which word of which function is meant; and, from four bytes on, that word.
    static let addressPort: UInt16 = 0xCF8
    private static let dataPort: UInt16 = 0xCFC
    private static var ports: Range<UInt16> { addressPort..<0xD00 }

    /// - Returns: nil for ports that are not the bus's nor a function's.
    func read(_ access: PortAccess) -> UInt32? {
        let port = access.port
        if Self.ports.contains(port) {
            // Bytes and words at CF8 are others' ports.
            if port < Self.dataPort {
                return port == Self.addressPort && access.size == 4 ? address : nil
            }
            return readConfiguration(UInt8(port & 3), access.size)
        }
        guard let (index, offset) = function(access) else { return nil }
        return functions[index].readPort(offset, access.size)
    }

    /// - Returns: false for ports that are not the bus's nor a function's.
    mutating func write(_ access: PortAccess, _ value: UInt32) -> Bool {
        let port = access.port
        if Self.ports.contains(port) {
            if port >= Self.dataPort {
                return writeConfiguration(UInt8(port & 3), access.size, value)
            }
            guard port == Self.addressPort && access.size == 4 else { return false }
            address = value & 0x80FF_FFFC
            return true
        }
        guard let (index, offset) = function(access) else { return false }
        functions[index].writePort(offset, access.size, value)
        return true
    }

    /// The function that has all ports of an access.
    private func function(_ access: PortAccess) -> (Int, UInt16)? {
        let first = UInt32(access.port)
        for index in functions.indices {
            guard let ports = headers[index + 1].ports, ports.contains(first),
                first + UInt32(access.size) <= ports.upperBound
            else { continue }
            return (index, UInt16(first - ports.lowerBound))
        }
        return nil
    }

    /// The number of the header that CF8 names; nil if there is none.
    private var addressed: Int? {
        let place = address >> 8 & 0xFF_FFFF
        // Switched on, bus 0, function 0.
        guard place & 0x80_FF07 == 0x80_0000 else { return nil }
        let number = Int(place >> 3 & 31)
        return number < headers.count ? number : nil
    }

    private func register(_ number: Int) -> UInt32 {
        headers[number].read(
            UInt8(address & 0xFC),
            isInterrupting: number > 0 && functions[number - 1].interruptLevel,
            isMaster: number > 0 && functions[number - 1].isMaster)
    }

    private func readConfiguration(_ byte: UInt8, _ size: UInt8) -> UInt32? {
        guard byte + size <= 4 else { return nil }
        guard let number = addressed else { return .max }
        let place = UInt8(address & 0xFC) + byte
        if place >= Self.firstCapability {
            return number > 0 ? functions[number - 1].readCapability(place, size) : 0
        }
        return register(number) >> (8 * UInt32(byte))
    }

    private mutating func writeConfiguration(
        _ byte: UInt8, _ size: UInt8, _ value: UInt32
    ) -> Bool {
        guard byte + size <= 4 else { return false }
        guard let number = addressed else { return true }
        let place = UInt8(address & 0xFC) + byte
        if place >= Self.firstCapability {
            if number > 0 { functions[number - 1].writeCapability(place, size, value) }
            return true
        }
        let shift = 8 * UInt32(byte)
        let mask: UInt32 = size == 4 ? .max : (1 &<< (8 * UInt32(size)) - 1) &<< shift
        let word = register(number) & ~mask | value &<< shift & mask
        headers[number].write(UInt8(address & 0xFC), word)
        if number > 0, place & 0xFC == 4 {
            functions[number - 1].isMaster = word & UInt32(PCIHeader.Command.master) != 0
        }
        return true
    }
}
