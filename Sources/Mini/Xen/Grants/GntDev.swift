// The client of /dev/xen/gntdev: each of its calls once, with the kernel's own results. Mapping as a
// whole, with its promises, is in GrantMapping.swift; copying in GrantCopy.swift.
// Source: docs/abi/xen-grants.md §2 to §4.

import CShim

/// What the other side is to see when a mapping goes, however that comes about: with its
/// process at the latest.
struct UnmapNotification: Equatable {
    /// A byte that becomes 0: its offset in the mapping, which must be writable.
    var clearedByte: Int?
    /// A port, bound by a process of this domain, that gets an event.
    var port: EventPort?

    var isEmpty: Bool { clearedByte == nil && port == nil }

    /// The structure that gntdev and gntalloc take.
    /// - Parameter offset: where the mapping is in the device, in bytes.
    func structure(at offset: UInt64) -> mini_unmap_notify {
        mini_unmap_notify(
            index: offset + UInt64(clearedByte ?? 0),
            action: (clearedByte == nil ? 0 : Self.clearByte) | (port == nil ? 0 : Self.sendEvent),
            port: port?.rawValue ?? 0)
    }

    private static let clearByte: UInt32 = 1
    private static let sendEvent: UInt32 = 2
}

/// An open gntdev; closed when the last mapping of it is gone.
final class GntDev {
    private let device: Descriptor

    init() throws(GrantError) { device = try XenDevice.gntdev.open() }

    /// The module's limit, in pages; in a sandbox it cannot be read any more.
    private(set) lazy var limit = XenDevice.gntdev.limit

    /// Takes over a device that is open already.
    init(owning device: consuming Descriptor) { self.device = device }

    var number: Int32 { device.number }

    static let path = XenDevice.gntdev.path

    /// The device's requests.
    enum Request {
        static var map: IoctlRequest { .init(group: g, number: 0, mini_gntdev_map.self) }
        static var unmap: IoctlRequest { .init(group: g, number: 1, mini_gntdev_unmap.self) }
        static var offset: IoctlRequest { .init(group: g, number: 2, mini_gntdev_offset.self) }
        /// DMABUF_EXP_WAIT_RELEASED
        static var wait: IoctlRequest { .init(group: g, number: 10, mini_dmabuf_wait.self) }
        static var notify: IoctlRequest { .init(group: g, number: 7, mini_unmap_notify.self) }
        static var copy: IoctlRequest { .init(group: g, number: 8, mini_gntdev_copy.self) }
        private static let g = UInt8(ascii: "G")
    }

    /// Whether this kernel's gntdev knows a request, which is made in a way that does nothing.
    func knows(_ feature: Feature) -> Bool {
        do throws(Errno) {
            switch feature {
            case .mapping:
                // No grants at all: EINVAL.
                var words: [UInt32] = [0, 0, 0, 0]
                try Ioctl.call(number, Request.map, words: &words)
            case .copying:
                try unsafe copy(UnsafeMutableBufferPointer(start: nil, count: 0))
            case .sharedBuffers:
                // Waits for no buffer, for no time.
                var request = mini_dmabuf_wait(descriptor: .max, milliseconds: 0)
                try Ioctl.call(number, Request.wait, &request)
            }
            return true
        } catch { return error != .notATerminal }
    }

    /// What not every kernel's gntdev can do: no 64-bit kernel's anything for a 32-bit program.
    enum Feature { case mapping, copying, sharedBuffers }

    // MARK: Mapping

    /// MAP_GRANT_REF: makes an index under which the pages can be mapped, once. Xen is not asked
    /// yet.
    /// - Throws: EINVAL above the module's limit, ENOMEM.
    func reference(_ grants: GrantList) throws(Errno) -> GrantIndex {
        var words: [UInt32] = []
        words.reserveCapacity(4 + 2 * grants.references.count)
        words += [UInt32(grants.references.count), 0, 0, 0]
        for reference in grants.references {
            words.append(UInt32(grants.domain.rawValue))
            words.append(reference.rawValue)
        }
        try Ioctl.call(number, Request.map, words: &words)
        return GrantIndex(
            offset: UInt64(words[2]) | UInt64(words[3]) << 32, pages: grants.pages)
    }

    /// mmap: asks Xen for the pages, all of them.
    /// - Throws: EINVAL when one of them cannot be had, EAGAIN when the granter has to fetch it.
    func map(_ index: GrantIndex, isWritable: Bool) throws(Errno) -> Mapping {
        // An index is far below 2 GiB: at most 65536 pages are behind it.
        guard let offset = Int(exactly: index.offset) else { throw .invalid }
        let mapping = try Mapping.shared(
            number, offset: offset, count: index.pages.bytes, isWritable: isWritable)
        try mapping.excludeFromFork()
        return mapping
    }

    /// UNMAP_GRANT_REF: the index is no more; pages that are mapped stay until they are unmapped.
    /// - Throws: ENOENT if there is no such index.
    func release(_ index: GrantIndex) throws(Errno) {
        var request = mini_gntdev_unmap(
            index: index.offset, count: UInt32(index.pages.count), padding: 0)
        try Ioctl.call(number, Request.unmap, &request)
    }

    /// GET_OFFSET_FOR_VADDR: the index of the mapping that an address lies in.
    /// - Throws: EINVAL if it lies in none of this device's.
    func index(ofMappingAt address: UInt) throws(Errno) -> GrantIndex {
        var request = mini_gntdev_offset()
        request.address = UInt64(address)
        try Ioctl.call(number, Request.offset, &request)
        return GrantIndex(offset: request.index, pages: PageCount(Int(request.count)))
    }

    /// SET_UNMAP_NOTIFY. An empty notification takes back an earlier one.
    /// - Throws: ENOENT for an unknown index; EINVAL for a port that is not bound here, or a byte
    ///   of a mapping that is not writable.
    func notify(_ notification: UnmapNotification, of index: GrantIndex) throws(Errno) {
        var request = notification.structure(at: index.offset)
        try Ioctl.call(number, Request.notify, &request)
    }

    // MARK: Copying

    /// GRANT_COPY: Xen copies, nothing is mapped.
    /// - Parameter segments: each gets its status.
    /// - Throws: ENOTTY on kernels that do not know it, EINVAL for a segment that leaves its
    ///   page; the statuses mean nothing then.
    func copy(_ segments: UnsafeMutableBufferPointer<mini_copy_segment>) throws(Errno) {
        var request = mini_gntdev_copy()
        request.count = UInt32(segments.count)
        request.segments = UInt(bitPattern: segments.baseAddress)
        try Ioctl.call(number, Request.copy, &request)
    }
}
