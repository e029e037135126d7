// The words of XenStore: paths, permissions, the names of errors, and values made printable.
// Source: docs/abi/xen-grants.md §7.

/// The path of an entry, absolute or relative to /local/domain/OWN-NUMBER. Whatever bytes
/// it has, it can stand in a message without changing what the message means.
struct StorePath: Equatable {
    let text: Text

    /// Why a word is no path. Prints after the word: `"a//b" has an empty name in it`.
    enum Flaw: Error, Equatable {
        case empty, tooLong, emptyName, zeroByte, foreignCharacter

        var words: StaticString {
            switch self {
            case .empty: "is not a path: it is empty"
            case .tooLong: "is too long: 3072 bytes, or 2048 without / in front, are the most"
            case .emptyName: "has an empty name in it"
            case .zeroByte: "has a zero byte in it"
            case .foreignCharacter:
                "has a character in it that no store takes: names are letters, digits, -, _ and @"
            }
        }
    }

    private static let slash = UInt8(ascii: "/")

    /// Which other characters the name of an entry may have that is there is the store's own matter.
    @inline(never)
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

    /// A path that a person or another domain has written: of the characters that every store takes.
    /// Source: docs/abi/xen-grants.md §7.
    init(written text: Text) throws(Flaw) {
        self = try StorePath(text)
        for byte in text.bytes {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), Self.slash, UInt8(ascii: "-"),
                UInt8(ascii: "_"), UInt8(ascii: "@"):
                continue
            default: throw .foreignCharacter
            }
        }
    }

    /// The path of an entry under this one.
    @inline(never)
    func child(_ name: Text) throws(Flaw) -> StorePath {
        try StorePath(text == "/" ? "/\(name)" : "\(text)/\(name)")
    }

    /// The path of the entry above this one; nil for what is right below the root, which is everybody's, or
    /// right below a domain's own folder.
    var parent: StorePath? {
        guard let slash = text.lastIndex(of: Self.slash), slash > 0 else { return nil }
        return try? StorePath(text.prefix(slash))
    }
}

/// The permissions of an entry: words of a letter (n, r, w or b: nothing, read, write, both) and a
/// domain's number, as "r3". The first one names the owner, who may do everything, and what those domains may
/// do that have no word of their own.
struct StorePermissions: Equatable {
    let words: [Text]

    /// - Returns: nil unless all words are such, and there is one.
    init?(_ words: [Text]) {
        guard !words.isEmpty, words.allSatisfy(Self.isMode) else { return nil }
        self.words = words
    }

    static func isMode(_ word: Text) -> Bool {
        switch word.bytes.first {
        // The store knows numbers that are no domain's, but none that is longer.
        case UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "w"), UInt8(ascii: "b"):
            number(word) ?? .max <= UInt32.max
        default: false
        }
    }

    /// The same owner, and one domain that may read; all others may do nothing.
    func forReading(by domain: DomainID) -> StorePermissions? {
        StorePermissions(["n\(Self.number(words[0]) ?? 0)", "r\(domain.rawValue)"])
    }

    private static func number(_ word: Text) -> UInt64? {
        Text(bytes: Array(word.bytes.dropFirst())).number
    }
}

/// Why the store refuses something: the word that it sends. Most of its words are names of errno, with a
/// meaning of their own; oxenstored has EQUOTA besides, and a store to come may have others.
struct StoreRefusal: Equatable {
    /// As it came.
    let name: Text

    static var noSuchFile: Self { Self(name: "ENOENT") }
    static var accessDenied: Self { Self(name: "EACCES") }
    static var tooBig: Self { Self(name: "E2BIG") }
    static var again: Self { Self(name: "EAGAIN") }

    static var quota: Self { Self(name: "EQUOTA") }
    var isOfQuota: Bool { self == .quota || name == "ENOSPC" }

    private static let largest: Int32 = 133

    /// What a person reads in front of the name.
    var words: StaticString {
        switch name {
        case "ENOENT": return "no such entry"
        case "EQUOTA": return "over the quota that the store has for this domain"
        case "ENOSPC":
            return "over the quota that the store has for this domain, or the store is full"
        case "E2BIG": return "too long for the store"
        case "EINVAL": return "not a path, value or mode that the store takes"
        case "EEXIST": return "there already"
        case "EISDIR": return "an entry with others below it"
        case "EROFS": return "nobody may change this"
        case "EBUSY": return "a transaction is open already"
        case "EAGAIN": return "others were there in between"
        case "ENOSYS": return "not implemented by this store"
        case "ENOMEM": return "the store has no memory left, or none for this domain"
        case "EIO": return "the store has failed"
        case "EISCONN": return "connected already"
        default: break
        }
        for number in 1...Self.largest {
            let known = Errno(rawValue: number).words
            if name == known.name { return known.text }
        }
        return "refused by the store"
    }
}

extension Text {
    /// Words and name: `no such entry (ENOENT)`.
    @inline(never)
    mutating func appendInterpolation(_ refusal: StoreRefusal) {
        // As long as a name can be: it comes from outside.
        let name = refusal.name.prefix(min(refusal.name.bytes.count, 32))
        self += "\(refusal.words) (\(visible: name))"
    }
}

/// Values as a terminal may see them: what does not print becomes `\n`, `\t`, `\r`, `\\`, `\00N`
/// or `\xNN`, as xenstore-* write it; and back. So a value of any bytes survives the way through a shell.
enum StoreValue {
    private static let backslash = UInt8(ascii: "\\")
    /// The letter after the backslash, and what it stands for.
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
            } else if byte < 8 {
                text += "\\00\(byte)"
            } else if byte < 0x20 || byte > 0x7E {
                text += "\\x\(bareHex: byte, width: 2)"
            } else {
                text.append(byte)
            }
        }
        return text
    }

    /// What xenstore-write takes: digits may be fewer, and of what is unknown the backslash is dropped.
    /// - Returns: nil if nothing follows a backslash.
    static func bytes(_ text: Text) -> [UInt8]? {
        var bytes: [UInt8] = []
        var rest = text.bytes[...]
        while let byte = rest.popFirst() {
            guard byte == backslash else {
                bytes.append(byte)
                continue
            }
            if let octal = number(&rest, bits: 3, most: 3) {
                bytes.append(octal)
                continue
            }
            guard let letter = rest.popFirst() else { return nil }
            if let known = letters.first(where: { $0.letter == letter }) {
                bytes.append(known.byte)
            } else if letter == UInt8(ascii: "x"), let number = number(&rest, bits: 4, most: 2) {
                bytes.append(number)
            } else {
                bytes.append(letter)
            }
        }
        return bytes
    }

    /// Takes a number off the front, of digits with so many bits each; what is more than a byte is lost.
    /// - Returns: nil if no such digit is there.
    private static func number(
        _ rest: inout ArraySlice<UInt8>, bits: UInt8, most: Int
    ) -> UInt8? {
        var number: UInt8?
        for _ in 0..<most {
            guard let digit = rest.first.flatMap(digit), digit >> bits == 0 else { break }
            number = (number ?? 0) << bits | digit
            rest = rest.dropFirst()
        }
        return number
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

extension Text {
    /// The path of a word that says where in the store it stands, as `@PATH`; nil for one that is
    /// meant as it stands.
    var storePath: Text? {
        bytes.first == UInt8(ascii: "@") ? Text(bytes: Array(bytes.dropFirst())) : nil
    }

    var isStorePath: Bool { storePath != nil }

    /// The word as it stands, or what the store has in its place.
    /// - Parameter deadline: for the store; nil for the usual one.
    func fromStore(deadline: Deadline? = nil) throws(GrantError) -> Text {
        guard let storePath else { return self }
        return try XenStore.read(storePath, deadline: deadline ?? .after(XenStore.patience))
    }
}
