// Event channels of a domain that was saved and restored. Xen has closed them, and evtchn does not know: Linux (seen on
// 6.1) hits a BUG when such a port is unbound, or when the last process with the file closes it. That process never ends,
// nor does one that waits for it. So an assistant has the file open, too: it knows whether this domain was
// restored, and keeps it then until the machine ends. Source: docs/abi/xen-grants.md §6.

/// What this domain was called when a port was bound.
final class OwnDomain {
    private let store: XenStore
    private let number: [UInt8]

    private static let patience = Nanoseconds.milliseconds(1000)

    private init(_ store: XenStore, _ number: [UInt8]) {
        self.store = store
        self.number = number
    }

    /// - Returns: nil in domain 0, which is never restored, and where nothing tells.
    static func now() -> OwnDomain? {
        guard let machine = SmallFile.line("/sys/hypervisor/uuid"),
            machine.bytes.contains(where: { $0 != UInt8(ascii: "0") && $0 != UInt8(ascii: "-") }),
            let store = try? XenStore(deadline: .after(patience)),
            let number = try? store.read(try StorePath(named: "domid")),
            Text(bytes: number) != "0"
        else { return nil }
        return OwnDomain(store, number)
    }

    /// The connection's descriptor, which has to be kept open.
    var descriptor: Int32 { store.descriptor }

    /// True if it was restored since.
    var isAnother: Bool {
        store.deadline = .after(Self.patience)
        guard let now = try? store.read(try StorePath(named: "domid")) else { return false }
        return now != number
    }
}

/// Keeps a file of evtchn open, by an assistant, once this domain was restored.
final class DeadPorts {
    /// What the assistant is called once it keeps the file.
    static let name: StaticString = "mini-dead-ports"
    private let assistant: Assistant

    var descriptors: [Int32] { assistant.descriptors }

    /// Nil where none is needed. Process 1 has no assistant: it ends with the machine.
    init?(_ device: Int32) {
        guard let own = OwnDomain.now(), Process.id != 1 else { return nil }
        do throws(Errno) {
            assistant = try Assistant(
                keeping: [device, own.descriptor], answer: { _ in own.isAnother ? 1 : 0 },
                end: { if own.isAnother { Self.stay() } })
        } catch { return nil }
    }

    /// True if the ports are from before a restore, and must not be touched.
    var areDead: Bool {
        if assistant.ask() == 1 { assistant.goesOn = true }
        return assistant.goesOn
    }

    private static func stay() -> Never {
        Process.setName(name)
        while true { _ = try? Poll.wait([], timeout: nil) }
    }
}
