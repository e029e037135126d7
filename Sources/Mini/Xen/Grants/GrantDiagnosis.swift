// What is wrong with a list of grants when the kernel says no more than EINVAL for all of them: each is
// asked for alone, in ways that tell.
// Source: docs/abi/xen-grants.md §4.2, §4.7 and §10.

import CShim

extension GntDev {
    /// The first grant that Xen refuses.
    func culprit(of grants: GrantList, isWritable: Bool) -> GrantError {
        if let refusal = firstRefusal(in: grants) { return refusal }
        // Every page can be read, or this kernel cannot copy: then only mapping tells.
        for reference in grants.references {
            guard let alone = try? GrantList([reference], of: grants.domain) else { break }
            if canMap(alone, isWritable: isWritable) { continue }
            return isWritable && canMap(alone, isWritable: false)
                ? .readOnlyGrant(reference, of: grants.domain)
                : .grant(reference, of: grants.domain, .unknown)
        }
        return failure("map", grants, .invalid)
    }

    /// Copies a byte of each page: the status says what Xen thinks of the grant.
    private func firstRefusal(in grants: GrantList) -> GrantError? {
        var byte: UInt8 = 0
        return unsafe withUnsafeMutablePointer(to: &byte) { byte in
            let here = CopyPlace(address: UInt(bitPattern: byte))
            var segments = grants.references.map {
                CopyDirection.fromGrants.segment(
                    CopyPlace($0, of: grants.domain, offset: 0), here, length: 1)
            }
            unsafe segments.withUnsafeMutableBufferPointer { try? unsafe copy($0) }
            return segments.firstIndex { $0.status != 0 }.map {
                .grant(
                    grants.references[$0], of: grants.domain,
                    GrantStatus(rawValue: segments[$0].status))
            }
        }
    }

    private func canMap(_ grants: GrantList, isWritable: Bool) -> Bool {
        guard let index = try? reference(grants) else { return false }
        defer { try? release(index) }
        return (try? map(index, isWritable: isWritable)) != nil
    }

    /// What the kernel said of all of them.
    func failure(_ action: Text, _ grants: GrantList, _ errno: Errno) -> GrantError {
        errno == .notATerminal
            ? .notOffered(XenDevice.gntdev.unknown("MAP_GRANT_REF"), device: Self.path)
            : .system("\(action) \(grants.name)", errno)
    }
}
