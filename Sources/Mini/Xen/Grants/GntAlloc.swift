// The client of /dev/xen/gntalloc: each of its calls once, with the kernel's own results. Pages as a whole,
// with their promises, are in SharedPages.swift. Source: docs/abi/xen-grants.md §2 and §5.

import CShim

/// An open gntalloc. What it lends ends with it.
final class GntAlloc {
    private let device: Descriptor

    init() throws(GrantError) { device = try XenDevice.gntalloc.open() }

    var number: Int32 { device.number }

    /// The module's limit, in pages; in a sandbox it cannot be read any more.
    private(set) lazy var limit = XenDevice.gntalloc.limit

    enum Request {
        static var allocate: IoctlRequest {
            .init(group: g, number: 5, mini_gntalloc_allocate.self)
        }
        static var free: IoctlRequest { .init(group: g, number: 6, mini_gntalloc_free.self) }
        static var notify: IoctlRequest { .init(group: g, number: 7, mini_unmap_notify.self) }
        private static let g = UInt8(ascii: "G")
    }

    private static let isWritable: UInt32 = 1

    /// ALLOC_GREF: zero pages of ours, granted to a domain.
    /// - Returns: where the pages are in the device, and what the domain calls them.
    /// - Throws: ENOSPC above the module's limit or when this domain's grant table is full.
    func allocate(
        _ pages: PageCount, for domain: DomainID, isWritable: Bool
    ) throws(Errno) -> (index: GrantIndex, references: [GrantReference]) {
        // The fixed part is read and written as a whole, and ends after the first reference.
        let length = MemoryLayout<mini_gntalloc_allocate>.size / MemoryLayout<UInt32>.size
        var words = [UInt32](repeating: 0, count: max(length, 4 + pages.count))
        words[0] = UInt32(domain.rawValue) | (isWritable ? Self.isWritable << 16 : 0)
        words[1] = UInt32(pages.count)
        try Ioctl.call(device.number, Request.allocate, words: &words)
        return (
            GrantIndex(offset: UInt64(words[2]) | UInt64(words[3]) << 32, pages: pages),
            words[4..<4 + pages.count].map { GrantReference(rawValue: $0) }
        )
    }

    /// mmap of allocated pages; they are ours to write, whatever the other domain may.
    func map(_ index: GrantIndex) throws(Errno) -> Mapping {
        guard let offset = Int(exactly: index.offset) else { throw .invalid }
        let mapping = try Mapping.shared(
            device.number, offset: offset, count: index.pages.bytes, isWritable: true)
        try mapping.excludeFromFork()
        return mapping
    }

    /// DEALLOC_GREF: the pages go when they are not mapped any more, here or there.
    /// - Throws: EINVAL if they are none of this file's.
    func free(_ index: GrantIndex) throws(Errno) {
        var request = mini_gntalloc_free(index: index.offset, count: UInt32(index.pages.count))
        try Ioctl.call(device.number, Request.free, &request)
    }

    /// SET_UNMAP_NOTIFY, for the one page that the cleared byte is in, or the first one.
    /// - Throws: ENOENT for an unknown page, EINVAL for a port that is not bound here.
    func notify(_ notification: UnmapNotification, of index: GrantIndex) throws(Errno) {
        var request = notification.structure(at: index.offset)
        try Ioctl.call(device.number, Request.notify, &request)
    }
}
