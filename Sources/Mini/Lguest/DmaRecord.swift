// One `lguest_dma` record in guest memory: up to 16 sections of guest memory, and how many
// bytes were moved. The guest writes it, so nothing in it is believed: a record with one
// section outside guest memory is no record at all. What becomes of a buffer that a driver binds: docs/dma.md.
// Source: docs/abi/lguest.md §5.1, §1.4.

/// A DMA record whose address and sections were found to lie inside guest memory.
struct DmaRecord {
    /// The record itself.
    private let record: GuestRange
    /// The bytes that it lends, in order; none has length 0.
    let sections: [GuestRange]

    /// Reads and checks a record.
    /// - Parameter address: its guest-physical address, as the guest or the host gave it.
    /// - Returns: nil if the record or a section is not wholly guest memory.
    init?(at address: GuestAddress, in memory: GuestMemory, layout: GuestABI.DMALayout) {
        guard let record = memory.range(address.rawValue, GuestABI.dmaRecordSize),
            let sections = Self.sections(
                of: record, in: memory, layout: layout,
                { start, count in memory.range(start, count) })
        else { return nil }
        self.record = record
        self.sections = sections
    }

    /// Reads the sections of a record: the one place that does.
    /// - Parameter admit: looks at the start and the length, 1…65535, of each, in order; nil refuses all.
    static func sections(
        of record: GuestRange, in memory: GuestMemory, layout: GuestABI.DMALayout,
        _ admit: (UInt32, UInt32) -> GuestRange?
    ) -> [GuestRange]? {
        let bytes = unsafe memory.readable(record)
        var sections: [GuestRange] = []
        sections.reserveCapacity(Int(GuestABI.dmaSections))
        for index in 0..<Int(GuestABI.dmaSections) {
            let length = unsafe bytes.loadUnaligned(
                fromByteOffset: Int(layout.lengths) + 2 * index, as: UInt16.self)
            if length == 0 { break }
            let start = unsafe bytes.loadUnaligned(
                fromByteOffset: Int(layout.addresses) + 4 * index, as: UInt32.self)
            guard let section = admit(start, UInt32(length)) else { return nil }
            sections.append(section)
        }
        return sections
    }

    /// Guest-physical address of the record.
    var address: GuestAddress { GuestAddress(rawValue: record.start) }

    /// The sum of the sections' lengths in bytes.
    var count: UInt32 { sections.reduce(0) { $0 + $1.count } }

    /// The word at the record's start: 0 for a free buffer, else the bytes that were moved.
    func usedLength(in memory: GuestMemory) -> UInt32 { memory.load32(record.start) ?? 0 }

    func setUsedLength(_ count: UInt32, in memory: GuestMemory) {
        memory.store32(record.start, count)
    }

    /// Whether the guest wants the buffer filled.
    func isFree(in memory: GuestMemory) -> Bool { Self.isFree(record.start, in: memory) }

    /// The same of a record that was not checked; false outside memory.
    static func isFree(_ address: UInt32, in memory: GuestMemory) -> Bool {
        memory.load32(address) == 0
    }

    /// Lends a buffer to the launcher, as GETDMA does.
    /// - Returns: false if it is in use.
    static func lend(_ address: UInt32, _ line: InterruptLine, in memory: GuestMemory) -> Bool {
        guard isFree(address, in: memory) else { return false }
        memory.store32(address, line.rawValue)
        return true
    }

    /// Takes a buffer that the host just lent. Until it is filled it counts as free again: a word that
    /// still held the interrupt's number would be taken for a length.
    /// - Returns: the interrupt to raise.
    func take(in memory: GuestMemory) -> InterruptLine {
        let line = InterruptLine(rawValue: usedLength(in: memory))
        setUsedLength(0, in: memory)
        return line
    }
}
