// Everything that can keep a domain from another one's pages, events and store, each with the one
// line that a person reads and the code that a script reads.

/// Why Xen does not give a reference, as GRANT_COPY's status tells it.
struct GrantStatus: Equatable {
    let rawValue: Int16

    /// Refused on a kernel that cannot tell why.
    static let unknown = GrantStatus(rawValue: 1)

    /// Source: docs/abi/xen-grants.md §4.9; what -1 means in practice is in its §10.
    var words: Text {
        switch rawValue {
        case 1: "it cannot be mapped"
        case -1: "not granted to this domain, or not for this"
        case -2: "no such domain"
        case -3: "no such grant"
        case -8: "permission denied"
        case -9: "a page that cannot be reached"
        case -12: "the page is not there yet"
        default: "refused by Xen (status \(rawValue))"
        }
    }
}

enum GrantError: Error, Equatable {
    // This machine: code 3.
    /// The device that was wanted.
    case notOnXen(device: Text)
    /// The kernel runs on Xen, or that cannot be told, and the device is not there; why, and what
    /// helps.
    case noDevice(Text, why: Text)
    /// A device without the request (as "GRANT_COPY").
    case notOffered(Text, device: Text)

    // The host: code 1. So is a defect of ours.
    /// What was tried (as "open"), on which file or device.
    case host(Text, name: Text, Errno)
    /// What was tried (as "wait for a signal").
    case system(Text, Errno)
    /// What was asked of more than there is, as "gntalloc lends at most 1024 pages in all".
    case limit(Text)
    /// Something that cannot come in this state of a machine.
    case defect(state: Text)

    // The words of the command: code 2.
    /// What does not fit together, as "the share has 8192 bytes, ...".
    case use(Text)

    // The other side: code 4.
    case grant(GrantReference, of: DomainID, GrantStatus)
    /// Given for reading, wanted for writing.
    case readOnlyGrant(GrantReference, of: DomainID)
    /// What the store refused (as "read"), on which path.
    case store(Text, path: Text, StoreRefusal)
    /// The other side refused, or is gone: a whole sentence.
    case refused(Text)

    // Code 5.
    /// What did not happen in time: a whole sentence.
    case deadline(Text)

    /// True for what a signal can have ended, where it is held back: see `Deadline`.
    var mayBeSignal: Bool {
        switch self {
        case .deadline, .host(_, _, .interrupted), .system(_, .interrupted): true
        default: false
        }
    }

    /// The exit code of mini-grant that goes with it.
    var exitCode: Int32 {
        switch self {
        case .host, .system, .limit, .defect: 1
        case .use: 2
        case .notOnXen, .noDevice, .notOffered: 3
        case .grant, .readOnlyGrant, .store, .refused: 4
        case .deadline: 5
        }
    }

    /// One line without the program's name in front.
    var text: Text {
        switch self {
        case .notOnXen(let device):
            "cannot open \(quoted: device): this machine does not run on Xen"
        case .noDevice(let device, let why):
            "cannot open \(quoted: device): no such device; \(why)"
        case .notOffered(let request, let device):
            "\(quoted: device) of this kernel does not know \(request)"
        case .host(let action, let name, let errno):
            "cannot \(action) \(quoted: name): \(errno)"
        case .system(let action, let errno): "cannot \(action): \(errno)"
        case .limit(let sentence), .use(let sentence), .refused(let sentence),
            .deadline(let sentence):
            sentence
        case .defect(let state): .defect(state: state)
        case .grant(let reference, let domain, let status):
            "grant \(reference.rawValue) of domain \(domain.rawValue): \(status.words)"
        case .readOnlyGrant(let reference, let domain):
            "grant \(reference.rawValue) of domain \(domain.rawValue): granted for reading only"
        case .store(let action, let path, let refusal) where path.bytes.isEmpty:
            "cannot \(action): \(refusal)"
        case .store(let action, let path, let refusal):
            "cannot \(action) \(quoted: path): \(refusal)"
        }
    }
}
