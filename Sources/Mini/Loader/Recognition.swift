// Looks into an unpacked kernel and says which Linux it is and which lguest it speaks.
//
// Kernels of eras 0 to 1c carry the text "GenuineLguest"; their entry is the byte after it. Later ones may carry it too:
// in a program that knows lguest, in an initial file system that is not packed.
// The instruction there tells a start in the high mapping from one at physical addresses, and
// the initialised `lguest_data` in the image tells the eras apart by its words. Later kernels
// have no such mark, but their first hypercall is a fixed sequence of instructions, which names the structure. What the
// words and instructions of an era are is in its row (Lguest/GuestABI.swift, LaterEra.swift).
// Source: docs/abi/lguest.md §2.3, §3.4, §6.4.

/// A release number out of a kernel's banner.
struct LinuxVersion: Equatable {
    /// As the banner has it: `2.6.23-rc4-custom`.
    let name: Text
    let major: Int
    let minor: Int
    let patch: Int

    /// Reads `4.19.0-21-amd64 (…`; nil if that does not begin with a release number.
    init?(_ text: Text) {
        var numbers: [Int] = []
        var current: Int?
        var name: [UInt8] = []
        var inNumber = true
        for byte in text.bytes {
            if byte <= 0x20 || name.count == 64 { break }
            name.append(byte)
            guard inNumber else { continue }
            if byte >= 0x30 && byte <= 0x39 && (current ?? 0) < 100_000 {
                current = (current ?? 0) * 10 + Int(byte - 0x30)
            } else {
                if let current { numbers.append(current) }
                if byte != UInt8(ascii: ".") || current == nil { inNumber = false }
                current = nil
            }
        }
        if let current { numbers.append(current) }
        guard numbers.count >= 2 else { return nil }
        self.name = Text(bytes: name)
        major = numbers[0]
        minor = numbers[1]
        patch = numbers.count > 2 ? numbers[2] : 0
    }

    /// True from this release on.
    func isAtLeast(_ major: Int, _ minor: Int, _ patch: Int = 0) -> Bool {
        if self.major != major { return self.major > major }
        if self.minor != minor { return self.minor > minor }
        return self.patch >= patch
    }
}

/// What an unpacked kernel image turns out to be.
struct Recognition: Equatable {
    enum Dialect: Equatable {
        /// Eras 0 to 1c. Offsets from the start of the image; `data` is that of `lguest_data`.
        case dma(era: GuestABI.Era, entry: Int, data: Int?)
        /// Eras 2 to 5, which are entered where their file says.
        case virtio(era: GuestABI.Era, data: Int?, hasWideTables: Bool = false)
        case none
    }

    /// "Linux version …", without its newline.
    let banner: Text?
    let version: LinuxVersion?
    let dialect: Dialect

    static let magic: StaticString = "GenuineLguest"
    private static let bannerStart: StaticString = "Linux version "
    private static let bannerLimit = 256
    /// Addresses of kernel text; no split of the address space starts lower.
    private static let lowestPageOffset: UInt32 = 0x4000_0000

    /// - Parameters:
    ///   - image: the kernel as it lies in guest memory, from its first byte on.
    ///   - origin: guest-physical address of that byte.
    init(image: ByteView, origin: UInt32) {
        banner = Self.banner(image)
        let version = banner.flatMap { banner in
            LinuxVersion(Text(bytes: Array(banner.bytes.dropFirst(14))))
        }
        self.version = version
        let isEarly = version.map { !$0.isAtLeast(2, 6, 24) } ?? true
        if let version, version.isAtLeast(4, 14) {
            dialect = .none
        } else if isEarly, let magic = image.find(Self.magic) {
            let entry = magic + Self.magic.utf8CodeUnitCount
            let data = Self.data(image, entry: entry, origin: origin)
            dialect = .dma(era: data.era, entry: entry, data: data.offset)
        } else {
            dialect = Self.later(image, version, origin: origin)
        }
    }

    /// "Linux version …", where a release number follows.
    static func banner(_ image: ByteView) -> Text? {
        var from = 0
        while let at = image.find(bannerStart, from: from) {
            // A release number follows, not the "%s" of some format.
            if let digit = image.byte(at + 14), digit >= 0x30 && digit <= 0x39 {
                return image.line(at: at, limit: bannerLimit)
            }
            from = at + 1
        }
        return nil
    }

    // MARK: Eras 0 to 1c

    private static func data(
        _ image: ByteView, entry: Int, origin: UInt32
    ) -> (era: GuestABI.Era, offset: Int?) {
        let rows = GuestABI.all.filter { $0.dma != nil }
        // A guest that starts low makes its first call at once.
        if image.has(LaterEra.FirstCall.dataByInterrupt.code, at: entry),
            let row = rows.last(where: { $0.startsLow })
        {
            let address = (image.word(entry + LaterEra.FirstCall.dataOffset) ?? 0) &- origin
            // The guest's word: any 32 bits, also more than a 32-bit `Int` holds.
            let offset = Int(exactly: address).flatMap {
                image.contains($0, Int(row.data.count)) ? $0 : nil
            }
            return (row.era, offset)
        }
        var from = 0
        while let offset = structure(image, from: from) {
            if let row = rows.last(where: { fits($0.data, image, offset) }) {
                let sharing = rows.filter { $0.data == row.data }
                return (finer(sharing, image, offset, origin), offset)
            }
            from = offset + 1
        }
        return (GuestABI.usual, nil)
    }

    /// Finds 64 bytes 0xFF (the status of the ring) after the words 0, 1, 0, 0, 0.
    private static func structure(_ image: ByteView, from: Int) -> Int? {
        let data = GuestABI(era: GuestABI.usual).data
        func value(_ at: Int, _ field: UInt32) -> UInt32? { image.word(at + Int(field)) }
        // Wherever 64 such bytes lie, one of them is the first of an aligned group of 32.
        var probe = (from + Int(data.ringStatus)) & ~31
        while let word = image.word(probe) {
            if word == .max {
                var start = probe
                while start >= 4, image.word(start - 4) == .max { start -= 4 }
                var end = probe
                while image.word(end) == .max { end += 4 }
                let offset = start - Int(data.ringStatus)
                if end - start >= GuestABI.ringSlots && offset >= from,
                    value(offset, data.interruptsEnabled) == 0,
                    value(offset, data.blockedInterrupts) == 1,
                    value(offset, data.faultAddress) == 0, value(offset, data.seconds) == 0,
                    value(offset, data.nanoseconds) == 0
                {
                    return offset
                }
                probe = max(probe, end & ~31)
            }
            probe += 32
        }
        return nil
    }

    /// Whether a structure may be a row's, by the words that images initialise and those that they leave zero.
    private static func fits(_ data: GuestABI.Data, _ image: ByteView, _ at: Int) -> Bool {
        func word(_ offset: UInt32) -> UInt32 { image.word(at + Int(offset)) ?? 0 }
        let first = word(data.quietStart)
        let last = data.quietEnd.map { word($0) } ?? first
        guard first >= lowestPageOffset, last >= first, last - first < 0x1_0000,
            word(data.timeStampKilohertz) == 0, data.pageDirectory.map({ word($0) == 0 }) ?? true
        else { return false }
        return (data.kernelAddress.map { word($0) >= lowestPageOffset } ?? true)
            && (data.systemCallVector.map { word($0) == GuestABI.systemCallVector } ?? true)
    }

    /// Which of the rows that share a structure it is.
    private static func finer(
        _ rows: [GuestABI], _ image: ByteView, _ at: Int, _ origin: UInt32
    ) -> GuestABI.Era {
        let oldest = rows[0]
        let behind = image.word(at + Int(oldest.data.count))
        if behind == GuestABI.systemCallVector, let row = rows.first(where: { $0.hasVectorBehind })
        {
            return row.era
        }
        var rows = rows
        if rows.contains(where: { $0.dma != oldest.dma }) {
            let layout = FinerEras.dmaLayout(image, near: at) ?? oldest.dma
            rows = rows.filter { $0.dma == layout }
        }
        if rows.contains(where: { $0.ringOrder != oldest.ringOrder }) {
            let order = FinerEras.ringOrder(image, data: origin &+ UInt32(at), of: rows)
            rows = rows.filter { $0.ringOrder == order }
        }
        return rows.last?.era ?? oldest.era
    }

    // MARK: Eras 2 to 5

    private static func later(
        _ image: ByteView, _ version: LinuxVersion?, origin: UInt32
    ) -> Dialect {
        guard let (address, candidates) = firstCall(image) else { return .none }
        var rows = candidates
        let data = Int(exactly: address &- origin)
        // Where the image has the structure, it is the best witness.
        let fitting = rows.filter { row in
            data.map { isInitialised(GuestABI(era: row.era).data, image, $0) } ?? false
        }
        if !fitting.isEmpty { rows = fitting }
        // Without a release it is the newest.
        guard let row = version.map({ LaterEra.of($0.isAtLeast, among: rows) }) ?? rows.last
        else { return .none }
        return .virtio(
            era: row.era, data: data.flatMap { image.contains($0, 4) ? $0 : nil },
            hasWideTables: hasPAE(image))
    }

    /// The address of `lguest_data` that the first call names, and the eras that begin with such a call.
    private static func firstCall(_ image: ByteView) -> (address: UInt32, rows: [LaterEra])? {
        var from = 0
        while let at = firstMoves(image, from: from) {
            for call in LaterEra.FirstCall.allCases where image.has(call.code, at: at) {
                let address = image.word(at + LaterEra.FirstCall.dataOffset) ?? 0
                let setsStack = image.byte(at + call.code.count) == 0xBC
                return (address, LaterEra.of(call, setsStack: setsStack))
            }
            from = at + 1
        }
        return nil
    }

    /// Where `mov $1,%eax` with a `mov` to %edx or %ebx behind it stands. The byte where the last of these six would be tells how
    /// far on it could be at the nearest: of most bytes, six.
    private static func firstMoves(_ image: ByteView, from: Int) -> Int? {
        unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 256) { steps -> Int? in
            unsafe steps.initialize(repeating: 6)
            unsafe steps[0] = 1
            unsafe steps[1] = 4
            unsafe steps[0xB8] = 5
            unsafe steps[0xBA] = 0
            unsafe steps[0xBB] = 0
            var last = from + 5
            while last < image.count {
                let step = unsafe steps[Int(image[last])]
                if step == 0, image.word(last - 5) == 0x1B8, image[last - 1] == 0 {
                    return last - 5
                }
                last &+= step == 0 ? 6 : Int(step)
            }
            return nil
        }
    }

    /// The guest-physical address that an image of eras 2 to 5 is linked for: the one that makes what its first call
    /// names the structure that is in it.
    /// - Returns: nil if it does not tell.
    static func origin(of image: ByteView) -> UInt32? {
        guard let (address, rows) = firstCall(image) else { return nil }
        let structures = rows.map { GuestABI(era: $0.era).data }
        for offset in stride(
            from: Int(address & Page.offset), to: image.count, by: Int(Page.size))
        where structures.contains(where: { isInitialised($0, image, offset) }) {
            return address &- UInt32(offset)
        }
        return nil
    }

    /// Whether there is a row's structure: an idle ring, and words that are its.
    private static func isInitialised(
        _ data: GuestABI.Data, _ image: ByteView, _ at: Int
    ) -> Bool {
        guard image.contains(at, Int(data.count)) else { return false }
        for offset in stride(from: data.ringStatus, to: data.ringRecords, by: 4)
        where image.word(at + Int(offset)) != .max { return false }
        return fits(data, image, at)
    }

    /// Whether the kernel's first page tables are those of PAE: a page of four entries, of which the first and the one
    /// where the kernel's half begins lead to the same page, those after it to the pages after that, and nothing else.
    private static func hasPAE(_ image: ByteView) -> Bool {
        var at = 0
        while let first = image.word(at) {
            defer { at += Int(Page.size) }
            guard first & Page.offset == PageEntry.present, first > PageEntry.present else {
                continue
            }
            guard let high = (1..<4).first(where: { image.word(at + 8 * $0) != 0 }) else {
                continue
            }
            let isPAE = stride(from: 4, to: Int(Page.size), by: 4).allSatisfy { offset in
                guard offset & 7 == 0, offset < 32, offset >= 8 * high else {
                    return image.word(at + offset) == 0
                }
                return image.word(at + offset) == first &+ UInt32(offset / 8 - high) << Page.shift
            }
            if isPAE { return true }
        }
        return false
    }
}
