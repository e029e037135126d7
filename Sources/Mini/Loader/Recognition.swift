// Looks into an unpacked kernel and says which Linux it is and which lguest it speaks.
//
// Kernels of eras 0 to 1c carry the text "GenuineLguest"; their entry is the byte after it.
// The instruction there tells a start in the high mapping from one at physical addresses, and
// the initialised `lguest_data` in the image tells the eras apart by its words. Later kernels
// have no such mark, but their first hypercall is a fixed sequence of instructions.
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
        /// Eras 2 to 5, with their kind of devices: "2: virtio".
        case later(Text)
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
        if let magic = image.find(Self.magic) {
            let entry = magic + Self.magic.utf8CodeUnitCount
            let data = Self.data(image, entry: entry, origin: origin)
            dialect = .dma(era: data.era, entry: entry, data: data.offset)
        } else {
            dialect = Self.later(image, version)
        }
    }

    private static func banner(_ image: ByteView) -> Text? {
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

    /// `mov $1,%eax; mov $lguest_data,%edx; int $0x1f`: era 1c makes its first call at once.
    private static let firstCall: [UInt8?] = [
        0xB8, 1, 0, 0, 0, 0xBA, nil, nil, nil, nil, 0xCD, 0x1F,
    ]

    private static func data(
        _ image: ByteView, entry: Int, origin: UInt32
    ) -> (era: GuestABI.Era, offset: Int?) {
        if image.has(firstCall, at: entry) {
            let address = (image.word(entry + 6) ?? 0) &- origin
            // The guest's word: any 32 bits, also more than a 32-bit `Int` holds.
            let offset = Int(exactly: address).flatMap { image.contains($0, 1136) ? $0 : nil }
            return (.era1c, offset)
        }
        var from = 0
        while let offset = structure(image, from: from) {
            if let era = layout(image, offset) {
                return (finer(era, image, offset, origin), offset)
            }
            from = offset + 1
        }
        // A guest that fills in its structure when it runs: the common interface.
        return (.era1, nil)
    }

    /// Finds 64 bytes 0xFF (the status of the ring) behind the words 0, 1, 0, 0, 0.
    private static func structure(_ image: ByteView, from: Int) -> Int? {
        // Wherever 64 such bytes lie, one of them is the first of an aligned group of 32.
        var probe = (from + 20) & ~31
        while let word = image.word(probe) {
            if word == .max {
                var start = probe
                while start >= 4, image.word(start - 4) == .max { start -= 4 }
                var end = probe
                while image.word(end) == .max { end += 4 }
                let offset = start - 20
                if end - start >= 64 && offset >= from, image.word(offset) == 0,
                    image.word(offset + 4) == 1, image.word(offset + 8) == 0,
                    image.word(offset + 12) == 0, image.word(offset + 16) == 0
                {
                    return offset
                }
                probe = max(probe, end & ~31)
            }
            probe += 32
        }
        return nil
    }

    /// Which era's structure it is, by the words that the image initialises.
    private static func layout(_ image: ByteView, _ at: Int) -> GuestABI.Era? {
        func word(_ offset: Int) -> UInt32 { image.word(at + offset) ?? 0 }
        func areQuiet(_ start: Int) -> Bool {
            let first = word(start)
            let last = word(start + 4)
            return first >= lowestPageOffset && last >= first && last - first < 0x1_0000
        }
        if areQuiet(1116) { return word(1124) == 0x80 ? .era1b : .era1 }
        if word(1116) == 0 && areQuiet(1120) {
            return word(1132) == 0x80 && word(1128) >= lowestPageOffset ? .era1c : .era0
        }
        return nil
    }

    private static func finer(
        _ era: GuestABI.Era, _ image: ByteView, _ data: Int, _ origin: UInt32
    ) -> GuestABI.Era {
        switch era {
        case .era0:
            FinerEras.dmaLayout(image, near: data) == .lengthsFirst ? .era1a : .era0
        case .era1:
            FinerEras.ringIsTurned(image, data: origin &+ UInt32(data)) ? .era1b : .era1
        default: era
        }
    }

    // MARK: Eras 2 to 5

    /// The first hypercall with its argument in edx, in ebx by `vmcall`, in ebx by `int`.
    private static let laterCalls: [[UInt8?]] = [
        firstCall,
        [0xB8, 1, 0, 0, 0, 0xBB, nil, nil, nil, nil, 0x0F, 0x01, 0xC1],
        [0xB8, 1, 0, 0, 0, 0xBB, nil, nil, nil, nil, 0xCD, 0x1F],
    ]

    private static func later(_ image: ByteView, _ version: LinuxVersion?) -> Dialect {
        var from = 0
        while let at = image.find("\u{1}\u{0}\u{0}\u{0}", from: from) {
            from = at + 1
            guard image.byte(at - 1) == 0xB8 else { continue }
            for index in laterCalls.indices where image.has(laterCalls[index], at: at - 1) {
                return era(call: index, after: at - 1 + laterCalls[index].count, image, version)
            }
        }
        return .none
    }

    /// The banner is the better witness; without one the instructions bound the era.
    private static func era(
        call: Int, after: Int, _ image: ByteView, _ version: LinuxVersion?
    ) -> Dialect {
        if let version {
            if version.isAtLeast(4, 0) { return .later("5: PCI virtio") }
            if version.isAtLeast(3, 10) { return .later("4d: virtio") }
            if version.isAtLeast(3, 1) { return .later("4c: virtio") }
            if version.isAtLeast(2, 6, 34) { return .later("4b: virtio") }
            if version.isAtLeast(2, 6, 31) { return .later("4a: virtio") }
            if version.isAtLeast(2, 6, 30) { return .later("3c: virtio") }
            if version.isAtLeast(2, 6, 29) { return .later("3b: virtio") }
            if version.isAtLeast(2, 6, 25) { return .later("3a: virtio") }
            return .later("2: virtio")
        }
        let setsStack = image.byte(after) == 0xBC
        switch call {
        case 0: return .later(setsStack ? "3b: virtio" : "2 or 3a: virtio")
        case 1: return .later("3c or 4a: virtio")
        default: return .later(setsStack ? "4b: virtio" : "4c to 5: virtio")
        }
    }
}
