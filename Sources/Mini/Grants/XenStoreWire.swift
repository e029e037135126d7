// XenStore on the wire: what a message is, what each request carries, and how messages are put
// together from the pieces in which a connection yields them. XenStore is the small tree of
// named values, kept by a daemon beside Xen, in which domains tell each other what
// they offer. Source: docs/abi/xen-grants.md §7.

/// A kind of message.
enum StoreMessageType: UInt32 {
    case list = 1
    case read = 2
    case getPermissions = 3
    case watch = 4
    case unwatch = 5
    case startTransaction = 6
    case endTransaction = 7
    case write = 11
    case makeDirectory = 12
    case remove = 13
    case setPermissions = 14
    case watchEvent = 15
    case error = 16
    case listPart = 22
}

/// One message, in either direction.
struct StoreMessage: Equatable {
    /// Unchecked: a store may have kinds that we do not know.
    var type: UInt32
    /// Chosen by whoever asks, repeated in the reply.
    var request: UInt32 = 0
    /// 0 outside a transaction.
    var transaction: UInt32 = 0
    var payload: [UInt8] = []

    static let headerSize = 16
    /// The protocol's own limit in bytes, which replies keep.
    static let largestPayload = 4096
    /// The kernel's device keeps header and payload in one page.
    static let largestRequest = 4096 - headerSize

    /// Header and payload as they travel.
    var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.headerSize + payload.count)
        for word in [type, request, transaction, UInt32(payload.count)] {
            for shift in [0, 8, 16, 24] as [UInt32] {
                bytes.append(UInt8(truncatingIfNeeded: word >> shift))
            }
        }
        return bytes + payload
    }

    /// The strings of the payload, each of which ends with NUL (the last one need not).
    var strings: [Text] {
        var strings = payload.split(separator: 0, omittingEmptySubsequences: false)
        if strings.last?.isEmpty == true { strings.removeLast() }
        return strings.map { Text(bytes: Array($0)) }
    }
}

/// Puts messages together from the pieces that reads give, which end anywhere.
struct StoreAssembler {
    private var bytes: [UInt8] = []

    /// The store does not keep to its protocol.
    enum Violation: Error, Equatable { case tooLong(UInt32) }

    mutating func append(_ piece: ArraySlice<UInt8>) { bytes.append(contentsOf: piece) }

    /// The next whole message; nil until more bytes come.
    mutating func next() throws(Violation) -> StoreMessage? {
        guard bytes.count >= StoreMessage.headerSize else { return nil }
        let length = word(12)
        // Checked as soon as it is known: else we would wait for gigabytes.
        guard length <= StoreMessage.largestPayload else { throw .tooLong(length) }
        let end = StoreMessage.headerSize + Int(length)
        guard bytes.count >= end else { return nil }
        let message = StoreMessage(
            type: word(0), request: word(4), transaction: word(8),
            payload: Array(bytes[StoreMessage.headerSize..<end]))
        bytes.removeFirst(end)
        return message
    }

    private func word(_ offset: Int) -> UInt32 {
        var word: UInt32 = 0
        for index in 0..<4 { word |= UInt32(bytes[offset + index]) << UInt32(8 * index) }
        return word
    }
}

/// What can be asked of the store.
enum StoreRequest: Equatable {
    case read(StorePath)
    case write(StorePath, value: [UInt8])
    case list(StorePath)
    /// A part of a list that is too long for one message, from a byte of it on.
    case listPart(StorePath, offset: Int)
    case getPermissions(StorePath)
    case setPermissions(StorePath, [StorePermission])
    case makeDirectory(StorePath)
    case remove(StorePath)
    case watch(StorePath, token: Text)
    case unwatch(StorePath, token: Text)
    case startTransaction
    case endTransaction(commit: Bool)

    var type: StoreMessageType {
        switch self {
        case .read: .read
        case .write: .write
        case .list: .list
        case .listPart: .listPart
        case .getPermissions: .getPermissions
        case .setPermissions: .setPermissions
        case .makeDirectory: .makeDirectory
        case .remove: .remove
        case .watch: .watch
        case .unwatch: .unwatch
        case .startTransaction: .startTransaction
        case .endTransaction: .endTransaction
        }
    }

    var payload: [UInt8] {
        switch self {
        case .read(let path), .list(let path), .getPermissions(let path),
            .makeDirectory(let path), .remove(let path):
            Self.strings([path.text])
        case .write(let path, let value): Self.strings([path.text]) + value
        case .listPart(let path, let offset): Self.strings([path.text, "\(offset)"])
        case .setPermissions(let path, let permissions):
            Self.strings([path.text] + permissions.map { $0.text })
        case .watch(let path, let token), .unwatch(let path, let token):
            Self.strings([path.text, token])
        case .startTransaction: Self.strings([Text()])
        case .endTransaction(let commit): Self.strings([commit ? "T" : "F"])
        }
    }

    /// What a person calls it: "read", on which path.
    var words: (verb: Text, path: Text) {
        switch self {
        case .read(let path): ("read", path.text)
        case .write(let path, _): ("write", path.text)
        case .list(let path), .listPart(let path, _): ("list", path.text)
        case .getPermissions(let path): ("read the permissions of", path.text)
        case .setPermissions(let path, _): ("set the permissions of", path.text)
        case .makeDirectory(let path): ("make", path.text)
        case .remove(let path): ("remove", path.text)
        case .watch(let path, _), .unwatch(let path, _): ("watch", path.text)
        case .startTransaction: ("begin a transaction in", "the store")
        case .endTransaction: ("end a transaction in", "the store")
        }
    }

    private static func strings(_ strings: [Text]) -> [UInt8] {
        var bytes: [UInt8] = []
        for string in strings { bytes += string.bytes + [0] }
        return bytes
    }
}
