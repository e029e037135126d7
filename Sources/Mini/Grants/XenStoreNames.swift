// The words of XenStore: paths, permissions, the names of errors, and values made printable.
// Source: docs/abi/xen-grants.md §7.

/// The path of an entry, absolute or relative to /local/domain/OWN-NUMBER. Whatever bytes
/// it has, it can stand in a message without changing what the message means.
struct StorePath: Equatable {
    let text: Text

    /// Why a word is no path. Prints behind the word: `"a//b" has an empty name in it`.
    enum Flaw: Error, Equatable {
        case empty, tooLong, emptyName, zeroByte

        var words: StaticString {
            switch self {
            case .empty: "is not a path: it is empty"
            case .tooLong: "is too long: 3072 bytes, or 2048 without / in front, are the most"
            case .emptyName: "has an empty name in it"
            case .zeroByte: "has a zero byte in it"
            }
        }
    }

    private static let slash = UInt8(ascii: "/")

    /// Which other characters an entry's name may have is the store's own matter.
    init(_ text: Text) throws(Flaw) {
        let bytes = text.bytes
        guard let first = bytes.first, let last = bytes.last else { throw .empty }
        guard bytes.count <= (first == Self.slash ? 3072 : 2048) else { throw .tooLong }
        guard !bytes.contains(0) else { throw .zeroByte }
        if last == Self.slash && bytes.count > 1 { throw .emptyName }
        for index in bytes.indices.dropFirst()
        where bytes[index] == Self.slash && bytes[index - 1] == Self.slash {
            throw .emptyName
        }
        self.text = text
    }

    /// The path of an entry under this one.
    func child(_ name: Text) throws(Flaw) -> StorePath {
        try StorePath(text == "/" ? "/\(name)" : "\(text)/\(name)")
    }
}

/// What one domain may do with an entry. The first in an entry's list names its owner, who may
/// do everything, and what those domains may do that are not in the list.
struct StorePermission: Equatable {
    /// As the store writes it: n, r, w or b, for none, read, write, both.
    enum Access: UInt8 {
        case none = 0x6E
        case read = 0x72
        case write = 0x77
        case both = 0x62
    }
    var access: Access
    /// The domain's number. (The store knows numbers that are no domain's.)
    var domain: UInt32

    init(_ access: Access, _ domain: UInt32) {
        self.access = access
        self.domain = domain
    }

    /// - Returns: nil unless the word is a letter and a number, as "r3".
    init?(_ word: Text) {
        guard let first = word.bytes.first, let access = Access(rawValue: first),
            let number = Text(bytes: Array(word.bytes.dropFirst())).number,
            let domain = UInt32(exactly: number)
        else { return nil }
        self.init(access, domain)
    }

    var text: Text {
        var text = Text(bytes: [access.rawValue])
        text += "\(domain)"
        return text
    }
}

/// The errors of the store, which it names rather than numbers.
enum StoreErrorName {
    private static let largest: Int32 = 133

    /// The errno with this name; EIO for a name that nobody knows.
    static func errno(_ name: Text) -> Errno {
        guard !(name == Errno(rawValue: 0).words.name) else { return .inputOutput }
        for number in 1...largest where name == Errno(rawValue: number).words.name {
            return Errno(rawValue: number)
        }
        return .inputOutput
    }
}

/// Values as a terminal may see them: what does not print becomes `\n`, `\t`, `\r`, `\\`
/// or `\xNN`; and back. So a value of any bytes survives the way through a shell.
enum StoreValue {
    private static let backslash = UInt8(ascii: "\\")
    /// The letter behind the backslash, and what it stands for.
    private static let letters: [(letter: UInt8, byte: UInt8)] = [
        (UInt8(ascii: "n"), 10), (UInt8(ascii: "t"), 9), (UInt8(ascii: "r"), 13),
        (backslash, backslash),
    ]

    static func printable(_ value: [UInt8]) -> Text {
        var text = Text()
        for byte in value {
            if let known = letters.first(where: { $0.byte == byte }) {
                text.append(backslash)
                text.append(known.letter)
            } else if byte < 0x20 || byte > 0x7E {
                text += "\\x\(bareHex: byte, width: 2)"
            } else {
                text.append(byte)
            }
        }
        return text
    }

    /// - Returns: nil if a backslash is followed by nothing that is known here.
    static func bytes(_ text: Text) -> [UInt8]? {
        var bytes: [UInt8] = []
        var rest = text.bytes[...]
        while let byte = rest.popFirst() {
            guard byte == backslash else {
                bytes.append(byte)
                continue
            }
            guard let letter = rest.popFirst() else { return nil }
            if let known = letters.first(where: { $0.letter == letter }) {
                bytes.append(known.byte)
            } else if letter == UInt8(ascii: "x"), let high = rest.popFirst().flatMap(digit),
                let low = rest.popFirst().flatMap(digit)
            {
                bytes.append(high << 4 | low)
            } else {
                return nil
            }
        }
        return bytes
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x41 + 10
        case 0x61...0x66: byte - 0x61 + 10
        default: nil
        }
    }
}
