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
    case isIntroduced = 17
    case listPart = 22
}

/// One message, in either direction.
struct StoreMessage: Equatable {
    /// Unchecked: a store may have kinds that we do not know.
    var type: UInt32
    /// Chosen for the request, repeated in the reply.
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
            bytes += LittleEndian.bytes(word, 4)
        }
        return bytes + payload
    }

    /// The strings of the payload, each of which ends with NUL (the last one need not).
    @inline(never)
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

    private func word(_ offset: Int) -> UInt32 { LittleEndian.word(bytes, at: offset) }
}

/// What can be asked of the store: a kind of message, and the strings and bytes that it carries.
struct StoreRequest: Equatable {
    let type: StoreMessageType
    let payload: [UInt8]
    /// What it is about, for people.
    let path: Text

    static func read(_ path: StorePath) -> Self { Self(.read, path) }
    static func write(_ path: StorePath, value: [UInt8]) -> Self {
        Self(.write, path, [], value)
    }
    static func list(_ path: StorePath) -> Self { Self(.list, path) }
    /// A part of a list that is too long for one message, from a byte of it on.
    static func listPart(_ path: StorePath, offset: Int) -> Self {
        Self(.listPart, path, ["\(offset)"])
    }
    static func getPermissions(_ path: StorePath) -> Self { Self(.getPermissions, path) }
    static func setPermissions(_ path: StorePath, _ permissions: StorePermissions) -> Self {
        Self(.setPermissions, path, permissions.words)
    }
    static func makeDirectory(_ path: StorePath) -> Self { Self(.makeDirectory, path) }
    static func remove(_ path: StorePath) -> Self { Self(.remove, path) }
    static func watch(_ path: StorePath, token: Text) -> Self { Self(.watch, path, [token]) }
    static func unwatch(_ path: StorePath, token: Text) -> Self { Self(.unwatch, path, [token]) }
    static var startTransaction: Self { Self(.startTransaction, Text()) }
    static func endTransaction(commit: Bool) -> Self {
        Self(.endTransaction, commit ? "T" : "F")
    }

    /// Whether the store knows a domain: T or F.
    static func isIntroduced(_ domain: DomainID) -> Self {
        Self(.isIntroduced, "\(domain.rawValue)")
    }

    private init(
        _ type: StoreMessageType, _ path: StorePath, _ strings: [Text] = [], _ value: [UInt8] = []
    ) {
        self.init(type, path.text, strings, value)
    }

    @inline(never)
    private init(
        _ type: StoreMessageType, _ first: Text, _ strings: [Text] = [], _ value: [UInt8] = []
    ) {
        self.type = type
        path = first
        var payload = first.bytes + [0]
        for string in strings { payload += string.bytes + [0] }
        self.payload = payload + value
    }

    /// That the store says no.
    func refused(_ refusal: StoreRefusal) -> GrantError {
        let isOfEntry = type != .startTransaction && type != .endTransaction
        return .store(verb, path: isOfEntry ? path : Text(), refusal)
    }

    /// What a person calls it, as "read".
    @inline(never)
    var verb: Text {
        switch type {
        case .read: "read"
        case .write: "write"
        case .list: "list"
        // Not each store can: oxenstored cannot, nor xenstored before 4.9.
        case .listPart: "list in parts"
        case .getPermissions: "read the permissions of"
        case .setPermissions: "set the permissions of"
        case .makeDirectory: "make"
        case .remove: "remove"
        case .watch, .unwatch, .watchEvent, .error: "watch"
        case .isIntroduced: "look for domain"
        case .startTransaction: "begin a transaction"
        case .endTransaction: "end the transaction"
        }
    }
}
