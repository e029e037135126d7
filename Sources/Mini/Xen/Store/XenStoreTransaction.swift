// Several requests of which the store takes all or none: the driver beside StoreTransactionMachine.
//
//     let transaction = try StoreTransaction(store)
//     repeat {
//         try store.write(path, value, in: transaction.number)
//     } while try !transaction.commit()

/// A transaction; abandoned when the last owner goes before it is committed.
final class StoreTransaction {
    private let store: XenStore
    private var machine = StoreTransactionMachine()
    /// What requests name that belong to it. Another one after each conflict.
    private(set) var number: UInt32 = 0

    init(_ store: XenStore) throws(GrantError) {
        self.store = store
        try start()
    }

    deinit {
        // Else the store has nothing of it any more.
        if case .abandon(let number) = machine.handle(.failed) {
            _ = try? store.ask(.endTransaction(commit: false), in: number)
        }
    }

    /// - Returns: false if another client has changed something in between: nothing has happened, and all is to be
    ///   done again.
    /// - Throws: `.deadline` if that is so still when the store's deadline has passed.
    func commit() throws(GrantError) -> Bool {
        guard case .commit(let number) = machine.handle(.performed) else { throw defect }
        var failure: GrantError?
        do throws(GrantError) {
            _ = try store.ask(.endTransaction(commit: true), in: number)
        } catch { failure = error }
        let event: StoreTransactionMachine.Event =
            switch failure {
            case nil: .committed
            // ENOENT: the store does not know it. It was restarted, or this domain restored, with the transaction open.
            case .store(_, _, .again), .store(_, _, .noSuchFile):
                .conflict(isLate: store.deadline.isOver)
            default: .failed
            }
        switch (machine.handle(event), failure) {
        case (.start, _):
            try start()
            return false
        case (.finish, nil): return true
        case (.finish, .store(_, _, .again)):
            throw .deadline("others kept changing the same entries of the store")
        case (.finish, let failure?): throw failure
        default: throw defect
        }
    }

    private func start() throws(GrantError) {
        let reply = try begun()
        guard let new = reply.strings.first?.number.flatMap({ UInt32(exactly: $0) }), new != 0
        else { throw XenStore.broken }
        guard case .perform(let number) = machine.handle(.started(new)) else { throw defect }
        self.number = number
    }

    /// Asks again while other processes of this domain have as many open as it may have: ten, usually, and each for a moment.
    private func begun() throws(GrantError) -> StoreMessage {
        while true {
            do throws(GrantError) { return try store.ask(.startTransaction) } catch {
                guard case .store(_, _, let refusal) = error, refusal.isOfQuota else { throw error }
                store.deadline.sleep(atMost: Self.pause)
                if store.deadline.isOver { throw error }
            }
        }
    }
    private static let pause = Nanoseconds.milliseconds(20)

    private var defect: GrantError { .defect(state: "\(machine.stateName)") }
}
