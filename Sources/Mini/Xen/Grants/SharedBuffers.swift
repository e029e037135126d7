// Granted pages as the buffers that drivers hand to one another (dma-buf), the four calls of gntdev
// for kernels with CONFIG_XEN_GNTDEV_DMABUF, outside of PV domains.
// Source: docs/abi/xen-grants.md §4.8.

import CShim

extension GntDev {
    private enum BufferRequest {
        static var export: ControlRequest { .init(group: g, number: 9, mini_dmabuf_export.self) }
        static var wait: ControlRequest { .init(group: g, number: 10, mini_dmabuf_wait.self) }
        static var imports: ControlRequest { .init(group: g, number: 11, mini_dmabuf_import.self) }
        static var release: ControlRequest { .init(group: g, number: 12, mini_dmabuf_release.self) }
        private static let g = UInt8(ascii: "G")
    }

    /// How the processor's caches treat the buffer.
    enum Caching: UInt32 {
        case normal = 0
        case writeCombining = 1
        case coherent = 2
    }

    /// DMABUF_EXP_FROM_REFS: maps granted pages into a buffer.
    /// - Returns: the buffer, which keeps the pages until its last user has closed it.
    /// - Throws: EINVAL in a PV domain or if Xen refuses a grant, ENOTTY without such buffers.
    func exportBuffer(_ grants: GrantList, _ caching: Caching) throws(Errno) -> Descriptor {
        var words = [
            caching.rawValue, UInt32(grants.references.count), 0, UInt32(grants.domain.rawValue),
        ]
        for reference in grants.references { words.append(reference.rawValue) }
        try Control.call(number, BufferRequest.export, words: &words)
        return Descriptor(owning: Int32(bitPattern: words[2]))
    }

    /// DMABUF_EXP_WAIT_RELEASED: waits until nobody uses an exported buffer any more.
    /// - Parameter time: in whole milliseconds, at most 49 days.
    /// - Throws: ENOENT when it is gone already, ETIMEDOUT.
    func waitForRelease(ofBuffer buffer: Int32, _ time: Nanoseconds) throws(Errno) {
        var request = mini_dmabuf_wait(
            descriptor: UInt32(bitPattern: buffer),
            milliseconds: UInt32(clamping: time.count / 1_000_000))
        try Control.call(number, BufferRequest.wait, &request)
    }

    /// DMABUF_IMP_TO_REFS: grants the pages of somebody else's buffer to a domain, for writing.
    /// - Parameter pages: exactly as many as the buffer has.
    /// - Throws: EINVAL for another number, or a buffer that is not made of whole pages; EBADF.
    func importBuffer(
        _ buffer: Int32, pages: PageCount, for domain: DomainID
    ) throws(Errno) -> [GrantReference] {
        var words = [UInt32](repeating: 0, count: 4 + pages.count)
        words[0] = UInt32(bitPattern: buffer)
        words[1] = UInt32(pages.count)
        words[2] = UInt32(domain.rawValue)
        try Control.call(number, BufferRequest.imports, words: &words)
        return words[4...].map { GrantReference(rawValue: $0) }
    }

    /// DMABUF_IMP_RELEASE: ends the grants of an imported buffer.
    /// - Throws: ENOENT if it is none.
    func releaseImported(_ buffer: Int32) throws(Errno) {
        var request = mini_dmabuf_release(descriptor: UInt32(bitPattern: buffer), reserved: 0)
        try Control.call(number, BufferRequest.release, &request)
    }
}
