// A file that guests share as their Ethernet: one page, with an entry for each of 682 slots. A
// guest's slot is the first whose byte of the file can be locked, and is free again when its
// launcher ends, however it ends. A slot whose socket's address is taken, which any process can do, is
// passed over. Source: docs/abi/lguest.md §5.2 (shared net).

/// An open network file, with a slot of ours.
final class NetworkFile {
    private static let size = UInt64(Page.size)

    let name: Text
    let slot: UInt32
    private let file: Descriptor
    let identity: FileIdentity
    /// Holds the slot's address; nil where there are no local sockets.
    private var listener: Descriptor?

    var descriptor: Int32 { file.number }

    /// Opens it, or makes it; takes the first free slot.
    /// - Parameter others: what this guest has already.
    init(_ name: Text, beside others: [DeviceClaim]) throws(LauncherError) {
        self.name = name
        file = try Self.open(name)
        let status: FileStatus
        do throws(Errno) { status = try file.status() } catch {
            throw .host("examine network file", name: name, error)
        }
        guard status.kind == .regular else { throw .networkFile(name: name, .notAFile) }
        identity = status.identity
        let claimed = Medium(.file(identity))
        if others.contains(where: { !$0.isDisk && $0.file == claimed }) {
            throw .networkFile(name: name, .twice)
        }
        try Self.fill(file.number, status.size, name)
        var listener: Descriptor?
        slot = try Self.takeSlot(of: file.number, identity, &listener, name)
        self.listener = listener
    }

    /// Hands the slot's socket over, once.
    func takeListener() -> Descriptor? { listener.take() }

    private static func open(_ name: Text) throws(LauncherError) -> Descriptor {
        do throws(Errno) {
            do throws(Errno) { return try Descriptor.open(name, .readAppend) } catch {
                // Creating what is there, others' files in /tmp can be refused.
                guard error == .noSuchFile else { throw error }
                return try Descriptor.open(name, .createAppend)
            }
        } catch {
            if error == .isDirectory { throw .networkFile(name: name, .notAFile) }
            throw .host("open network file", name: name, error)
        }
    }

    /// An empty file gets its page. Two launchers may do so at once, hence a second page is
    /// allowed: what is written goes to the end, so no entry is lost.
    private static func fill(
        _ descriptor: Int32, _ size: UInt64, _ name: Text
    ) throws(LauncherError) {
        if size == self.size || size == 2 * self.size { return }
        guard size == 0 else { throw .networkFile(name: name, .otherSize(size)) }
        let zeros = Text(bytes: [UInt8](repeating: 0, count: Int(self.size)))
        do throws(Errno) { try Transfer.write(descriptor, zeros) } catch {
            throw .host("write network file", name: name, error)
        }
    }

    /// Takes the slot's lock again, after this process has closed other descriptors of the same file:
    /// with each of them the kernel gives up all locks.
    func keepSlot() throws(LauncherError) {
        do throws(Errno) {
            if try FileLock.take(Int(slot), of: file.number) { return }
        } catch { throw .host("lock network file", name: name, error) }
        throw .networkFile(name: name, .full)
    }

    private static func takeSlot(
        of descriptor: Int32, _ identity: FileIdentity, _ listener: inout Descriptor?, _ name: Text
    ) throws(LauncherError) -> UInt32 {
        var isHeld = false
        do throws(Errno) {
            for slot in 0..<SharedPage.slots where try FileLock.take(slot, of: descriptor) {
                let page = SharedPage(
                    start: 0, file: identity, descriptor: descriptor, slot: UInt32(slot))
                do throws(Errno) { listener = try page.makeListener() } catch {
                    // Another error is told later, if the guest needs the socket at all.
                    if error == .addressInUse {
                        FileLock.giveBack(slot, of: descriptor)
                        isHeld = true
                        continue
                    }
                }
                return page.slot
            }
        } catch { throw .host("lock network file", name: name, error) }
        throw .networkFile(name: name, isHeld ? .held : .full)
    }
}

/// Why a file is no network.
enum NetworkFileError: Equatable {
    case notAFile
    /// Bytes.
    case otherSize(UInt64)
    /// The same guest has it already.
    case twice
    case full
    /// Others that are not on it have the addresses of all that are free.
    case held

    var text: Text {
        switch self {
        case .notAFile: "is not a regular file"
        case .otherSize(let size): "has \(size) bytes: it should be empty or have \(Page.size)"
        case .twice: "was given twice"
        case .full: "has no free slot: \(SharedPage.slots) guests are on it"
        case .held: "has no free slot: other programs hold the addresses of its sockets"
        }
    }
}
