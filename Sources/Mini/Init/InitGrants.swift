// The table's grants: mapped by process 1 itself, so that holding them takes no process.
// Source: docs/abi/xen-grants.md §4.

enum InitGrants {
    /// Maps the pages and does with them what the statement says.
    /// - Returns: the mapping if it is to stay.
    static func carryOut(_ request: GrantRequest) throws(InitError) -> GrantMapping? {
        throw .refused("grants are not here yet")
    }
}
