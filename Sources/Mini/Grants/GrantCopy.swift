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
        var segments: [mini_copy_segment] = []
        var done = 0
        while done < bytes.count {
            let inPage = (offset + done) % PageCount.pageSize
            let length = min(PageCount.pageSize - inPage, bytes.count - done)
            let reference = grants.references[(offset + done) / PageCount.pageSize]
            segments.append(
                direction.segment(
                    CopyPlace(reference, of: grants.domain, offset: inPage),
                    CopyPlace(address: UInt(bitPattern: bytes.baseAddress) + UInt(done)),
                    length: length))
            done += length
        }
        do throws(Errno) { try copy(&segments) } catch {
            if error == .notATerminal { throw .notOffered("GRANT_COPY", device: Self.path) }
            throw failure("copy", grants, error)
        }
        if let index = segments.firstIndex(where: { $0.status != 0 }) {
            throw .grant(
                grants.references[offset / PageCount.pageSize + index], of: grants.domain,
                GrantStatus(rawValue: segments[index].status))
        }
    }
}
