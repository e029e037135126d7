// A tap: a network interface of the host whose cable ends in this process. What the host sends
// through it is read as Ethernet frames, what is written to it the host receives. Also what it
// takes to configure an interface. Nothing here decides; every call is one request.
// Source: linux/if_tun.h, linux/sockios.h, netdevice(7); as of Linux 2.6.23.

import CShim

/// The name of a network interface: 1 to 15 bytes.
struct InterfaceName: Equatable {
    let text: Text

    /// - Returns: nil if no interface can have this name. Source: net/core/dev.c.
    init?(_ text: Text) {
        guard (1...15).contains(text.bytes.count), !(text == "."), !(text == "..") else {
            return nil
        }
        for byte in text.bytes
        where byte <= 0x20 || byte == UInt8(ascii: "/") || byte == UInt8(ascii: ":") { return nil }
        self.text = text
    }

    /// A request about this interface.
    fileprivate var request: mini_ifreq {
        var request = mini_ifreq()
        unsafe withUnsafeMutableBytes(of: &request.name) { unsafe $0.copyBytes(from: text.bytes) }
        return request
    }

    fileprivate init?(of request: mini_ifreq) { self.init(word(in: request.name)) }
}

/// What a field holds up to its first zero.
private func word<Field>(in field: Field) -> Text {
    unsafe withUnsafeBytes(of: field) { unsafe Text(bytes: Array($0.prefix { $0 != 0 })) }
}

/// An Ethernet address, six bytes.
struct HardwareAddress: Equatable {
    static let count = 6
    let bytes: [UInt8]

    /// - Parameter bytes: six of them.
    init(_ bytes: some Sequence<UInt8>) {
        self.bytes = Array(bytes)
        precondition(self.bytes.count == Self.count)
    }
}

/// An address of the Internet Protocol, version 4.
struct InternetAddress: Equatable {
    let bytes: (UInt8, UInt8, UInt8, UInt8)
    static func == (left: Self, right: Self) -> Bool { left.bytes == right.bytes }
}

/// One open tap. Without others that hold on to it the interface goes when this goes.
final class Tap {
    static let path: Text = "/dev/net/tun"
    /// Lets the kernel find the first free number for a new interface.
    static let anyName: Text = "tap%d"

    /// What the device is asked. Source: linux/if_tun.h.
    enum Request {
        static let setInterface = 0x4004_54CA  // TUNSETIFF
        static let setChecksums = 0x4004_54C8  // TUNSETNOCSUM
        static let setOffloads = 0x4004_54D0  // TUNSETOFFLOAD
        static let setHeaderCount = 0x4004_54D8  // TUNSETVNETHDRSZ
    }

    /// What frames may be that are read from it, beside ordinary ones: a header in front of each says what is to be done.
    struct Offloads: OptionSet {
        let rawValue: Int
        /// Without a checksum.
        static let checksums = Offloads(rawValue: 1)
        /// Longer than any frame, to be cut into segments: of TCP over IPv4, and IPv6.
        static let segments4 = Offloads(rawValue: 2)
        static let segments6 = Offloads(rawValue: 4)
    }

    private let file: Descriptor
    private var arrival: PollSet
    let name: InterfaceName
    /// In front of each frame is a header of virtio's, 10 bytes.
    let hasHeaders: Bool

    /// Reading and writing it never waits.
    var descriptor: Int32 { file.number }
    /// An array that is asked for at each frame.
    let watched: [Int32]

    /// Opens the device of taps.
    /// - Throws: ENOENT or ENODEV where the kernel has none, EACCES.
    static func open() throws(Errno) -> Descriptor {
        try Descriptor.open(path, .readWriteWithoutWaiting)
    }

    /// Makes the interface, or takes it if it exists and is meant to last.
    /// - Parameters:
    ///   - device: as `open` gave it.
    ///   - name: up to 15 bytes; `%d` in it is for the kernel to number.
    ///   - wantsHeaders: see `hasHeaders`; kernels before 2.6.27 have none.
    /// - Throws: EPERM, EBUSY if another process has it, EINVAL if it is no tap. `TapTrouble` tells more.
    init(
        _ device: consuming Descriptor, name: Text, wantsHeaders: Bool = false
    ) throws(Errno) {
        guard var request = InterfaceName(name)?.request else { throw .invalid }
        var flags = Self.plain | (wantsHeaders ? Self.headers : 0)
        while true {
            do throws(Errno) {
                try Self.attach(device, &request, flags: flags)
                break
            } catch {
                if error != .invalid { throw error }
                // One that was made for several queues wants to hear that of each; we are one of them.
                if flags & Self.severalQueues == 0 {
                    flags |= Self.severalQueues
                } else if flags & Self.headers != 0 {
                    flags = Self.plain
                } else {
                    throw error
                }
            }
        }
        hasHeaders = flags & Self.headers != 0
        guard let given = InterfaceName(of: request) else { throw .invalid }
        watched = [device.number]
        arrival = PollSet([Poll.Interest(device.number)])
        file = device
        self.name = given
        // Both are the interface's, which may have been another program's before: headers of 12 bytes, segments.
        applyOffloads()
        if hasHeaders { setHeaderCount() }
    }

    /// A kernel before 2.6.34 knows one size only.
    private func setHeaderCount() {
        var count: Int32 = 10
        _ = try? withKernel(&count) { (address) throws(Errno) in
            try SystemCall.make(.ioctl, Int(descriptor), Request.setHeaderCount, address)
        }
    }

    private static let plain: Int16 = 0x1002  // IFF_TAP | IFF_NO_PI
    private static let severalQueues: Int16 = 0x0100  // IFF_MULTI_QUEUE
    private static let headers: Int16 = 0x4000  // IFF_VNET_HDR

    private static func attach(
        _ device: borrowing Descriptor, _ request: inout mini_ifreq, flags: Int16
    ) throws(Errno) {
        unsafe request.of.flags = flags
        let number = Int(device.number)
        try withKernel(&request) { (address) throws(Errno) -> Void in
            try SystemCall.make(.ioctl, number, Request.setInterface, address)
        }
    }

    /// True if a frame waits, or the tap is gone.
    var hasFrame: Bool {
        do throws(Errno) { try arrival.look() } catch { return true }
        return arrival.isReady(0)
    }

    /// Reads a frame into nothing.
    /// - Throws: EAGAIN if there is none.
    func drop() throws(Errno) {
        // There must be room for a header at the least.
        var bytes: (UInt64, UInt64) = (0, 0)
        _ = try withKernel(&bytes) { (address) throws(Errno) in
            try SystemCall.retrying(.read, Int(descriptor), address, 16)
        }
    }

    /// What was set last. None is what it begins with, and how it is to be left: it may last longer than we do.
    private(set) var offloads: Offloads = []

    /// For a tap with headers. Each call takes a lock of all the host's networks, and a change is told to everybody who listens
    /// to links.
    func setOffloads(_ offloads: Offloads) {
        guard offloads != self.offloads else { return }
        self.offloads = offloads
        applyOffloads()
    }

    private func applyOffloads() {
        // A kernel that cannot gives ordinary frames, which everybody takes.
        _ = try? SystemCall.make(
            .ioctl, Int(descriptor), Request.setOffloads, offloads.rawValue)
    }

    /// Tells old kernels that checksums of what we write need not be looked at; later ones
    /// do not care.
    func trustChecksums() {
        _ = try? SystemCall.make(.ioctl, Int(descriptor), Request.setChecksums, 1)
    }
}

/// Questions and orders about network interfaces.
struct InterfaceControl: ~Copyable {
    private let socket: Descriptor

    /// Source: linux/sockios.h.
    enum Request {
        static let getFlags = 0x8913
        static let setFlags = 0x8914
        static let setAddress = 0x8916
        static let setHardwareAddress = 0x8924
        static let getHardwareAddress = 0x8927
        static let getIndex = 0x8933
        static let addToBridge = 0x89A2
        static let askDriver = 0x8946
    }
    static let driverInfo: UInt32 = 3  // ETHTOOL_GDRVINFO
    private static let internet: UInt16 = 2  // AF_INET
    private static let ethernet: UInt16 = 1  // ARPHRD_ETHER
    private static let up: Int16 = 1  // IFF_UP

    /// - Throws: EAFNOSUPPORT where the kernel has no Internet Protocol.
    init() throws(Errno) {
        socket = Descriptor(
            owning: Int32(try SocketCall.socket.make(Int(Self.internet), SocketCall.datagrams)))
    }

    func hardwareAddress(of name: InterfaceName) throws(Errno) -> HardwareAddress {
        var request = name.request
        try ask(Request.getHardwareAddress, &request)
        return HardwareAddress(
            unsafe withUnsafeBytes(of: request.of.address.data) {
                unsafe Array($0.prefix(HardwareAddress.count))
            })
    }

    /// What drives an interface, and on what bus: "tun" is a tun's driver and a tap's, on "tun" or "tap".
    /// Source: linux/ethtool.h, drivers/net/tun.c.
    /// - Throws: ENODEV if there is no such interface, EOPNOTSUPP if its driver does not say.
    func driver(of name: InterfaceName) throws(Errno) -> (name: Text, bus: Text) {
        var request = name.request
        var info = mini_drvinfo()
        info.command = Self.driverInfo
        try withKernel(&info) { (address) throws(Errno) -> Void in
            unsafe request.of.size.0 = UInt(bitPattern: address)
            try ask(Request.askDriver, &request)
        }
        return (word(in: info.driver), word(in: info.bus))
    }

    func setHardwareAddress(_ address: HardwareAddress, of name: InterfaceName) throws(Errno) {
        var request = name.request
        unsafe request.of.address.family = Self.ethernet
        unsafe withUnsafeMutableBytes(of: &request.of.address.data) {
            unsafe $0.copyBytes(from: address.bytes)
        }
        try ask(Request.setHardwareAddress, &request)
    }

    /// Gives it an address of the Internet Protocol; the kernel adds the netmask of its class.
    func setAddress(_ address: InternetAddress, of name: InterfaceName) throws(Errno) {
        var request = name.request
        unsafe request.of.address.family = Self.internet
        unsafe withUnsafeMutableBytes(of: &request.of.address.data) {
            // struct sockaddr_in: the port comes first.
            let (a, b, c, d) = address.bytes
            for (index, byte) in [a, b, c, d].enumerated() { unsafe $0[2 + index] = byte }
        }
        try ask(Request.setAddress, &request)
    }

    func bringUp(_ name: InterfaceName) throws(Errno) {
        var request = name.request
        try ask(Request.getFlags, &request)
        let flags = unsafe request.of.flags
        unsafe request.of.flags = flags | Self.up
        try ask(Request.setFlags, &request)
    }

    /// Plugs an interface into a bridge.
    /// - Throws: ENODEV if there is no such bridge, EOPNOTSUPP if it is none, EBUSY if the
    ///   interface is in another.
    func add(_ name: InterfaceName, toBridge bridge: InterfaceName) throws(Errno) {
        var request = name.request
        try ask(Request.getIndex, &request)
        let index = unsafe request.of.index
        request = bridge.request
        unsafe request.of.index = index
        try ask(Request.addToBridge, &request)
    }

    private func ask(_ number: Int, _ request: inout mini_ifreq) throws(Errno) {
        try withKernel(&request) { (address) throws(Errno) -> Void in
            try SystemCall.make(.ioctl, Int(socket.number), number, address)
        }
    }
}
