// The kernel's interface for network devices, their addresses and routes: one message asks, others answer. What comes back
// is looked at within its own length only, whatever its sender says. Sources: netlink(7), rtnetlink(7), linux/netlink.h,
// linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h.

import CShim

/// A message of this interface under construction: a header, a record of its kind, attributes.
struct RouteMessage {
    enum Kind: UInt16 {
        case newLink = 16
        case getLink = 18
        case newAddress = 20
        case deleteAddress, getAddress
        case newRoute = 24
    }
    /// What is asked for besides. (NLM_F_REQUEST is in every message.)
    struct Flags: OptionSet {
        let rawValue: UInt16
        static let acknowledge = Flags(rawValue: 4)
        static let replace = Flags(rawValue: 0x100)
        static let exclusive = Flags(rawValue: 0x200)
        static let dump = Flags(rawValue: 0x300)
        static let create = Flags(rawValue: 0x400)
    }
    static let headerSize = 16
    private(set) var bytes: [UInt8]

    /// - Parameter record: what follows the header, in whole words.
    init(_ kind: Kind, _ flags: Flags, record: [UInt8]) {
        bytes = LittleEndian.bytes(0, 4) + LittleEndian.bytes(UInt32(kind.rawValue), 2)
        bytes +=
            LittleEndian.bytes(UInt32(flags.rawValue | 1), 2) + LittleEndian.bytes(1, 4)
            + LittleEndian.bytes(0, 4)
        bytes += record
        close()
    }

    mutating func append(_ attribute: UInt16, _ value: [UInt8]) {
        bytes += Self.attribute(attribute, value)
        close()
    }

    static func attribute(_ number: UInt16, _ value: [UInt8]) -> [UInt8] {
        var bytes =
            LittleEndian.bytes(UInt32(value.count + 4), 2) + LittleEndian.bytes(UInt32(number), 2)
            + value
        while bytes.count % 4 != 0 { bytes.append(0) }
        return bytes
    }

    private mutating func close() {
        for (index, byte) in LittleEndian.bytes(UInt32(bytes.count), 4).enumerated() {
            bytes[index] = byte
        }
    }
}

/// A message that has come, and what is in it.
struct RouteReply: Equatable {
    var kind: UInt16
    var record: [UInt8]

    static let error: UInt16 = 2
    static let done: UInt16 = 3

    /// Takes apart what one read has brought. What is not whole is left out.
    static func all(in bytes: [UInt8]) -> [RouteReply] {
        var replies: [RouteReply] = []
        var rest = bytes[...]
        while rest.count >= RouteMessage.headerSize {
            guard let length = Int(exactly: number(rest, at: 0, 4)),
                length >= RouteMessage.headerSize, length <= rest.count
            else { break }
            let start = rest.startIndex
            replies.append(
                RouteReply(
                    kind: UInt16(truncatingIfNeeded: number(rest, at: 4, 2)),
                    record: Array(rest[(start + RouteMessage.headerSize)..<(start + length)])))
            rest = rest.dropFirst(min(rest.count, (length + 3) / 4 * 4))
        }
        return replies
    }

    /// For an error or an end: the errno; 0 for an acknowledgement.
    var errno: Int32 {
        guard record.count >= 4 else { return 0 }
        let value = Int32(bitPattern: Self.number(record[...], at: 0, 4))
        return value == .min ? 0 : -value
    }

    /// A number in the record; 0 beyond its end.
    func number(at offset: Int, _ count: Int) -> UInt32 {
        record.count >= offset + count ? Self.number(record[...], at: offset, count) : 0
    }

    /// An attribute's value after a record of this size.
    func attribute(_ wanted: UInt16, behind size: Int) -> [UInt8]? {
        var rest = record.dropFirst(size)
        while rest.count >= 4 {
            let length = Int(Self.number(rest, at: 0, 2))
            guard length >= 4, length <= rest.count else { return nil }
            // The upper two bits are no part of it.
            if UInt16(truncatingIfNeeded: Self.number(rest, at: 2, 2)) & 0x3FFF == wanted {
                return Array(rest.prefix(length).dropFirst(4))
            }
            rest = rest.dropFirst(min(rest.count, (length + 3) / 4 * 4))
        }
        return nil
    }

    private static func number(_ bytes: ArraySlice<UInt8>, at offset: Int, _ count: Int) -> UInt32 {
        UInt32(truncatingIfNeeded: LittleEndian.number(bytes, at: offset, count))
    }
}

/// A connection to the kernel's network devices.
struct RouteSocket: ~Copyable {
    private let socket: Descriptor
    private static let family = 16  // AF_NETLINK
    private static let kind = 3  // SOCK_RAW

    var number: Int32 { socket.number }

    /// - Parameter isNotified: true to receive a message for each device that comes, goes or changes.
    init(isNotified: Bool = false) throws(Errno) {
        var made: Int32 = -1
        try PassedFiles.closed { (flag) throws(Errno) in
            made = Int32(try SocketCall.socket.make(Self.family, Self.kind | flag, 0))
            return [made]
        }
        let socket = Descriptor(owning: made)
        // struct sockaddr_nl: family, padding, port, groups (RTMGRP_LINK).
        var address: (UInt32, UInt32, UInt32) = (UInt32(Self.family), 0, isNotified ? 1 : 0)
        try withKernel(&address) { (place) throws(Errno) -> Void in
            try SocketCall.bind.make(Int(socket.number), place, 12)
        }
        self.socket = socket
    }

    /// Sends a message; the kernel answers at once.
    /// - Returns: what it says, without an acknowledgement.
    func ask(_ message: RouteMessage, isDump: Bool = false) throws(Errno) -> [RouteReply] {
        try Transfer.write(socket.number, Text(bytes: message.bytes))
        var replies: [RouteReply] = []
        while true {
            for reply in try receive() {
                switch reply.kind {
                case RouteReply.error:
                    if reply.errno != 0 { throw Errno(rawValue: reply.errno) }
                    return replies
                case RouteReply.done: return replies
                default: replies.append(reply)
                }
            }
            // More than that are no answer to what is asked here.
            if replies.count > 65536 { throw .inputOutput }
        }
    }

    /// What comes next.
    func receive() throws(Errno) -> [RouteReply] {
        var bytes = [UInt8](repeating: 0, count: 32768)
        let count = try Transfer.read(socket.number, into: &bytes)
        return RouteReply.all(in: Array(bytes[..<count]))
    }
}
