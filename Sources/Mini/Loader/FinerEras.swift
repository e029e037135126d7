// Two eras that `lguest_data` does not tell from their neighbours, because what changed was the
// use of memory elsewhere. Both are read off the image, so that the guest need not be watched.
// Source: docs/abi/lguest.md §3.3, §5.1, §6.4.

enum FinerEras {
    /// Eras 0 and 1a share their structure, but in between the DMA record was turned round. The
    /// console's input record is initialised in the image: one section of 256 bytes at some
    /// address, all else zero.
    /// - Parameter start: where to look first; the record is among the kernel's data.
    static func dmaLayout(_ image: ByteView, near start: Int) -> GuestABI.DMALayout? {
        let first = start & ~3
        return record(image, from: first, to: image.count) ?? record(image, from: 0, to: first)
    }

    private static func record(
        _ image: ByteView, from: Int, to end: Int
    ) -> GuestABI.DMALayout? {
        var at = from
        while at < end {
            // The length: half a word of 0x0100 with 0 after it.
            if image.word(at) == 0x100 {
                for layout in [GuestABI.DMALayout.lengthsFirst, .addressesFirst]
                where isRecord(image, at - Int(layout.lengths), layout) {
                    return layout
                }
            }
            at += 4
        }
        return nil
    }

    private static func isRecord(
        _ image: ByteView, _ start: Int, _ layout: GuestABI.DMALayout
    ) -> Bool {
        guard image.contains(start, Int(GuestABI.dmaRecordSize)),
            let buffer = image.word(start + Int(layout.addresses)), buffer >= BzImage.loadAddress,
            buffer < 1 << 30
        else { return false }
        for offset in stride(from: 0, to: Int(GuestABI.dmaRecordSize), by: 4)
        where offset != Int(layout.addresses) && offset != Int(layout.lengths) {
            if image.word(start + offset) != 0 { return false }
        }
        return true
    }

    /// Eras 1 and 1b share it too, but file calls in the ring in another order. The code that
    /// files them falls back to the call itself, so it has the arguments in the call's
    /// registers: where it stores these tells the order.
    /// - Parameters:
    ///   - data: guest-physical address of `lguest_data`.
    ///   - rows: those that it can be, which have the ring at one place.
    /// - Returns: the order for which most speaks; the first, if nothing does.
    static func ringOrder(
        _ image: ByteView, data: UInt32, of rows: [GuestABI]
    ) -> GuestABI.RingOrder {
        let ring = data &+ rows[0].data.ringRecords
        var found = [Int](repeating: 0, count: rows.count)
        var at = 0
        while at < image.count && !found.contains(3) {
            defer { at += 1 }
            // mov %reg,disp32(…), with or without a scale-index byte.
            guard image[at] == 0x89, let mode = image.byte(at + 1), mode >> 6 == 2,
                let address = image.word(at + (mode & 7 == 4 ? 3 : 2))
            else { continue }
            let offset = (address &- ring) & 0x3F_FFFF
            guard GuestLayout.isPageOffset(address &- ring &- offset) else { continue }
            for index in rows.indices where rows[index].files(mode >> 3 & 7, at: offset) {
                found[index] += 1
            }
        }
        var best = 0
        for index in rows.indices where found[index] > found[best] { best = index }
        return rows[best].ringOrder
    }
}

extension GuestABI {
    /// Whether the first record of the ring has an argument at an offset that a call has in a register.
    fileprivate func files(_ register: UInt8, at offset: UInt32) -> Bool {
        switch register {
        case callRegisters.first.rawValue: offset == 4 * ringOrder.first
        case callRegisters.second.rawValue: offset == 4 * ringOrder.second
        case callRegisters.third.rawValue: offset == 4 * ringOrder.third
        default: false
        }
    }
}
