// The life of one mapping of granted pages, from the closed device to its end. The driver
// (GrantMapping.swift) does what the machine says and tells it how that went.
//
//   closed -- opened --> open -- referenced --> referenced -- mapped --> mapped
//   mapped -- armed --> notifyArmed
//   mapped, notifyArmed -- finished --> unmapping -- unmapped --> unmapped -- released --> released
//
// Whatever fails, all that was done is undone, the last first:
//
//   referenced -- failed --> unmapped            (nothing is mapped: only the index goes)
//   mapped -- failed --> unmapping               (the notification could not be armed)
//   closed, open, waiting -- failed --> released
//
// A granter whose page is not there yet is asked again, from a new index, for one that failed
// to map never maps later:
//
//   referenced -- busy --> unmapped -- released --> waiting -- resumed --> open
//
// Source: docs/abi/xen-grants.md §4 (the calls), §10 (what a kernel was seen to answer).
// The same as a page: docs/grant-machine.md.

/// Where a mapping stands in gntdev's own list.
struct GrantIndex: Equatable {
    /// Offset for mmap, in bytes.
    let offset: UInt64
    let pages: PageCount
}

/// Says what the driver of a mapping has to do next.
struct GrantMachine {
    /// What comes when the index is released.
    private enum Next { case end, again }

    private enum State {
        case closed, open, waiting
        case referenced(GrantIndex)
        case mapped(GrantIndex)
        case notifyArmed(GrantIndex)
        case unmapping(GrantIndex)
        case unmapped(Next)
        case released
    }
    private var state = State.closed
    private let isNotifying: Bool

    /// - Parameter isNotifying: whether the other side is to be told when the mapping goes.
    init(isNotifying: Bool) { self.isNotifying = isNotifying }

    enum Event {
        case opened
        case referenced(GrantIndex)
        case mapped
        /// The granter's page is not there yet.
        case busy
        case armed
        /// The mapping is not needed any more.
        case finished
        case unmapped, released
        /// The granter had some time.
        case resumed
        /// The last action. Why is the driver's business.
        case failed
    }

    enum Action: Equatable {
        case reference
        case map(GrantIndex)
        case arm(GrantIndex)
        /// The pages are there, for whatever they are wanted.
        case use
        case unmap
        case release(GrantIndex)
        case wait
        /// Nothing is held any more.
        case end
    }

    /// Takes the result of the last action.
    /// - Returns: the next action; nil, and no change, if the event does not belong here.
    mutating func handle(_ event: Event) -> Action? {
        switch (state, event) {
        case (.closed, .opened), (.waiting, .resumed): enter(.open, .reference)
        case (.open, .referenced(let index)): enter(.referenced(index), .map(index))
        case (.referenced(let index), .mapped):
            enter(.mapped(index), isNotifying ? .arm(index) : .use)
        case (.referenced(let index), .busy): enter(.unmapped(.again), .release(index))
        case (.referenced(let index), .failed): enter(.unmapped(.end), .release(index))
        case (.mapped(let index), .armed) where isNotifying: enter(.notifyArmed(index), .use)
        case (.mapped(let index), .failed), (.mapped(let index), .finished),
            (.notifyArmed(let index), .finished):
            enter(.unmapping(index), .unmap)
        case (.unmapping(let index), .unmapped): enter(.unmapped(.end), .release(index))
        case (.unmapped(.again), .released): enter(.waiting, .wait)
        case (.unmapped(.end), .released), (.unmapped, .failed), (.closed, .failed),
            (.open, .failed), (.waiting, .failed):
            enter(.released, .end)
        default: nil
        }
    }

    /// True if nothing is held any more.
    var isReleased: Bool { if case .released = state { true } else { false } }

    private mutating func enter(_ next: State, _ action: Action) -> Action {
        state = next
        return action
    }

    /// The state's name in the diagram.
    var stateName: StaticString {
        switch state {
        case .closed: "closed"
        case .open: "open"
        case .waiting: "waiting"
        case .referenced: "referenced"
        case .mapped: "mapped"
        case .notifyArmed: "notifyArmed"
        case .unmapping: "unmapping"
        case .unmapped: "unmapped"
        case .released: "released"
        }
    }
}
