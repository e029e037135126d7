// The console as the guest sees it: what it sends under key 0 is text, and the buffer that it
// has bound to key 0 takes keys. Nothing here touches a terminal; that is the launcher's.
// Source: docs/abi/lguest.md §5.1, §5.2, §1.4.

/// The guest's side of its console.
struct Console {
    /// The DMA key of both directions.
    static let key = DMAKey(rawValue: 0)

    private let memory: GuestMemory
    private let layout: GuestABI.DMALayout
    /// The buffer that was filled last, until the guest has emptied it.
    private var last: DmaRecord?

    init(memory: GuestMemory, layout: GuestABI.DMALayout) {
        self.memory = memory
        self.layout = layout
    }

    /// The text that the guest sends, as ranges of its memory.
    /// - Parameter address: the DMA record's address, from the host.
    /// - Returns: nil if the record points outside guest memory.
    func output(at address: GuestAddress) -> DmaRecord? {
        DmaRecord(at: address, in: memory, layout: layout)
    }

    /// Tells the guest how much of its output was taken.
    func wrote(_ count: UInt32, of buffer: DmaRecord) {
        buffer.setUsedLength(count, in: memory)
    }

    /// False as long as the guest has not read what it was given last.
    var canTakeInput: Bool {
        last?.isFree(in: memory) ?? true
    }

    /// A buffer that the host took from the guest's binding for us.
    struct Loan {
        fileprivate let record: DmaRecord
        fileprivate let line: InterruptLine
        /// Its room in bytes.
        var count: Int { Int(record.count) }
    }

    /// Accepts a buffer that the host lent.
    /// - Returns: nil if it points outside guest memory, or has no room.
    func borrow(_ address: GuestAddress) -> Loan? {
        guard let record = DmaRecord(at: address, in: memory, layout: layout), record.count > 0
        else { return nil }
        return Loan(record: record, line: record.take(in: memory))
    }

    /// Puts bytes into a lent buffer, from its start, and their number into its record.
    /// - Returns: how many there was room for, and the interrupt to raise.
    mutating func fill(_ loan: Loan, with bytes: ArraySlice<UInt8>) -> (
        count: Int, line: InterruptLine
    ) {
        var rest = bytes
        for section in loan.record.sections {
            let part = rest.prefix(Int(section.count))
            let target = unsafe memory.writable(section.prefix(UInt32(part.count)))
            unsafe target.copyBytes(from: part)
            rest = rest.dropFirst(part.count)
        }
        let count = bytes.count - rest.count
        loan.record.setUsedLength(UInt32(count), in: memory)
        last = loan.record
        return (count, loan.line)
    }
}
