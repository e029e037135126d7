// Copying to and from granted pages without mapping them: Xen copies.
// Source: docs/abi/xen-grants.md §4.7.

import CShim

/// One side of a copy, as the device takes it.
struct CopyPlace {
    let word: UInt64

    init(address: UInt) { word = UInt64(address) }

    /// - Parameter offset: in the page, in bytes.
    init(_ reference: GrantReference, of domain: DomainID, offset: Int) {
        word =
            UInt64(reference.rawValue) | UInt64(offset & (PageCount.pageSize - 1)) << 32
            | UInt64(domain.rawValue) << 48
    }
}

/// Which side of a copy the grants are.
enum CopyDirection: UInt16 {
    case fromGrants = 1  // GNTCOPY_source_gref
    case toGrants = 2  // GNTCOPY_dest_gref

    /// - Parameter length: bytes, within the one page.
    func segment(_ granted: CopyPlace, _ local: CopyPlace, length: Int) -> mini_copy_segment {
        let (source, destination) = self == .fromGrants ? (granted, local) : (local, granted)
        return mini_copy_segment(
            source: source.word, destination: destination.word, length: UInt16(length),
            flags: rawValue, status: 0)
    }
}

extension GntDev {
    /// Copies between local memory and granted pages, which are taken as one run of bytes.
    /// - Parameters:
    ///   - bytes: local memory; its length is what is copied.
    ///   - offset: where in the run the copy starts, in bytes. It ends within the run.
    /// - Throws: `.grant` with the first reference that Xen refuses; other pages may be copied.
    func copy(
        _ direction: CopyDirection, _ grants: GrantList, at offset: Int,
        _ bytes: UnsafeMutableRawBufferPointer
    ) throws(GrantError) {
        precondition(offset >= 0 && offset + bytes.count <= grants.pages.bytes)
        var done = 0
        while done < bytes.count {
            let inPage = (offset + done) % PageCount.pageSize
            let count = min(bytes.count - done, Self.mostAtOnce * PageCount.pageSize - inPage)
            let part = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[done..<done + count])
            try unsafe copyAtOnce(direction, grants, at: offset + done, part)
            done += count
        }
    }

    /// How many pages one request copies: their segments take 6 KiB of stack.
    static let mostAtOnce = 256

    private func copyAtOnce(
        _ direction: CopyDirection, _ grants: GrantList, at offset: Int,
        _ bytes: UnsafeMutableRawBufferPointer
    ) throws(GrantError) {
        let first = offset / PageCount.pageSize
        let end = (offset + bytes.count - 1) / PageCount.pageSize + 1
        var failure: GrantError?
        unsafe withUnsafeTemporaryAllocation(
            of: mini_copy_segment.self, capacity: end - first
        ) { segments in
            var inPage = offset % PageCount.pageSize
            var address = UInt(bitPattern: bytes.baseAddress)
            var rest = bytes.count
            for index in 0..<end - first {
                let length = min(PageCount.pageSize - inPage, rest)
                let granted = CopyPlace(
                    grants.references[first + index], of: grants.domain, offset: inPage)
                unsafe segments.initializeElement(
                    at: index,
                    to: direction.segment(granted, CopyPlace(address: address), length: length))
                address += UInt(length)
                rest -= length
                inPage = 0
            }
            do throws(Errno) { try unsafe copy(segments) } catch {
                failure =
                    error == .notATerminal
                    ? .notOffered("GRANT_COPY", device: Self.path)
                    : self.failure("copy", grants, error)
                return
            }
            for index in 0..<segments.count where unsafe segments[index].status != 0 {
                failure = unsafe .grant(
                    grants.references[first + index], of: grants.domain,
                    GrantStatus(rawValue: segments[index].status))
                return
            }
        }
        if let failure { throw failure }
    }
}
