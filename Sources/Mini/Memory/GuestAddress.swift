/// A guest-physical address as a guest said it: nothing was checked.
struct GuestAddress: Equatable, Sendable {
    let rawValue: UInt32
}
