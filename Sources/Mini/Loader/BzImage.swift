// A `bzImage`: boot code and a setup header in front of a compressed kernel. The kernels of
// eras 0 to 1c are unpacked by the launcher: the gzip member is searched for, because their
// header does not say where it is. What it unpacks to is a raw image for 1 MiB.
// Source: docs/abi/lguest.md §2.4; the kernel's boot protocol for x86.

/// A bzImage (or zImage) as the launcher takes one that speaks lguest.
struct BzImage: Equatable {
    /// Where kernels unpack to, in guest-physical bytes.
    static let loadAddress: UInt32 = 0x10_0000

    private let header: SetupHeader
    var protocolVersion: UInt16 { header.protocolVersion }
    var version: LinuxVersion? { header.version }
    /// Where the protected-mode part begins in the file.
    var body: Int { header.body }
    var expectedSize: UInt64 { header.expectedSize }
    /// Where the compressed kernel begins in the file, if the header knows.
    var payload: Int? { header.payload?.offset }

    /// nil if the file does not begin with boot code and a setup header.
    init?(_ file: ByteView) {
        guard let header = SetupHeader(file) else { return nil }
        self.header = header
    }

    /// Refuses what no unpacking could make a kernel of ours.
    func check(_ file: ByteView) throws(ImageError) {
        if !header.holdsLinux { throw .notLinux(version: header.banner) }
        if header.is64Bit { throw .kernel64(version: version?.name) }
        let method = compression(file)
        if let version, version.isAtLeast(4, 14) {
            throw .withoutLguest(version: version.name, compression: method.map { "\($0.name)" })
        }
        if let method, !method.isUnpacked { throw otherCompression(method) }
        if !header.isLoadedHigh { throw .zImage(version: version?.name) }
    }

    /// By the signature of the compressed kernel; nil for gzip and where the header does not
    /// lead to it.
    func compression(_ file: ByteView) -> Compression? {
        guard let payload, let compression = Compression(file, at: payload), compression != .gzip
        else { return nil }
        return compression
    }

    func otherCompression(_ method: Compression) -> ImageError {
        .otherCompression("\(method.name)", version: version?.name)
    }

    // MARK: Unpacking

    /// Bytes that false candidates may unpack to, all together, before the search is given
    /// up: a hostile file must not keep us busy.
    private static let patience = 64 << 20
    private static let mostCandidates = 1024

    /// Unpacks the first sound gzip member to `loadAddress`; memory there must be zero.
    /// - Parameter limit: bytes of memory that the kernel may fill.
    /// - Returns: where in the file the member was, and how many bytes it gave.
    func unpack(
        _ file: ByteView, into memory: GuestMemory, limit: UInt32
    ) throws(ImageError) -> (member: Int, size: UInt32) {
        let size = limit > Self.loadAddress ? limit - Self.loadAddress : 0
        guard let range = memory.range(Self.loadAddress, size) else {
            throw .needsMemory(needed: GuestLayout.leastMebibytes, available: limit >> 20)
        }
        let output = unsafe memory.writable(range)
        var search = Search(from: body)
        for onUnix in [true, false] {
            search.from = body
            if let found = unsafe search.find(file, onUnix: onUnix, to: output) { return found }
        }
        throw refusal(file, search.furthest, limit: limit)
    }

    /// A search for the compressed kernel, which ends when it has cost too much.
    private struct Search {
        var from: Int
        /// The false candidate that gave most: more than bytes that only look like a header, which any code may have.
        var furthest: Gzip.Outcome?
        private static let mostByChance = 64 << 10
        private var wasted = 0
        private var candidates = 0

        init(from: Int) { self.from = from }

        mutating func find(
            _ file: ByteView, onUnix: Bool, to output: UnsafeMutableRawBufferPointer
        ) -> (member: Int, size: UInt32)? {
            while candidates < mostCandidates, wasted < patience,
                let at = Gzip.candidate(file, from: from, onUnix: onUnix)
            {
                candidates += 1
                let outcome = unsafe unpackAll(file, at: at, to: output)
                if outcome.failure == nil { return (at, UInt32(outcome.produced)) }
                unsafe UnsafeMutableRawBufferPointer(rebasing: output[..<outcome.produced])
                    .initializeMemory(as: UInt8.self, repeating: 0)
                let least = max(furthest?.produced ?? 0, onUnix ? 0 : Self.mostByChance)
                if outcome.produced >= least { furthest = outcome }
                // What was read counts, too: a member's name can be as long as the file.
                wasted += outcome.produced + max(outcome.position - at, 0) + 4096
                from = at + 1
            }
            return nil
        }

        /// Unpacks a member and those that follow it at once: together they are one file, RFC 1952 §2.2.
        private func unpackAll(
            _ file: ByteView, at start: Int, to output: UnsafeMutableRawBufferPointer
        ) -> Gzip.Outcome {
            var whole = unsafe Gzip.unpack(file, at: start, to: output)
            while whole.failure == nil, Gzip.isMember(file, whole.position) {
                let room = unsafe UnsafeMutableRawBufferPointer(
                    rebasing: output[whole.produced...])
                let next = unsafe Gzip.unpack(file, at: whole.position, to: room)
                guard next.failure == nil else {
                    // No member after all, but something after the last one.
                    unsafe UnsafeMutableRawBufferPointer(rebasing: room[..<next.produced])
                        .initializeMemory(as: UInt8.self, repeating: 0)
                    break
                }
                whole.position = next.position
                whole.produced += next.produced
            }
            return whole
        }
    }

    private func refusal(_ file: ByteView, _ furthest: Gzip.Outcome?, limit: UInt32) -> ImageError {
        guard let furthest, let failure = furthest.failure,
            furthest.produced > 0 || !header.isCutOff(file.count)
        else { return header.lack(file.count) }
        switch failure {
        case .full:
            // How much more it is, the data do not say.
            return .needsMemory(needed: (limit >> 20) + 1, available: limit >> 20)
        default: return .damaged(.gzip, at: furthest.position, failure)
        }
    }

    // MARK: Page offset

    /// The page offset of a raw image, from its code: loads from absolute addresses
    /// (`mov moffs32,%eax`) mostly name kernel data, so the first top byte that is met four
    /// times is that of the page offset. §2.4.
    static func pageOffset(_ image: ByteView) -> UInt32? {
        var counts = [UInt8](repeating: 0, count: 256)
        var at = 0
        while at + 4 < image.count {
            if image[at] == 0xA1 {
                let top = Int(image[at + 4])
                counts[top] += 1
                if counts[top] == 4 { return UInt32(top) << 24 }
            }
            at += 1
        }
        return nil
    }
}
