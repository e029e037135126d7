// Waiting for descriptors. Source: ppoll(2).

import CShim

enum Poll {
    enum Readiness: Int16 {
        case readable = 1
        case writable = 4
        /// Nothing but an error, or that the other end was closed.
        case closed = 0
    }

    /// One descriptor and what is awaited from it.
    struct Interest {
        var descriptor: Int32
        var readiness: Readiness
        init(_ descriptor: Int32, _ readiness: Readiness = .readable) {
            self.descriptor = descriptor
            self.readiness = readiness
        }

        /// What ends a run of the guest: a descriptor that is readable or, written as its complement, has nobody at its
        /// other end any more. (The waker of /dev/lguest reads it so, too.)
        init(watching number: Int32) {
            self = number < 0 ? Self(~number, .closed) : Self(number)
        }

        /// The complement, for `init(watching:)`.
        static func end(of descriptor: Int32) -> Int32 { ~descriptor }
    }

    /// Waits for something: false if something ends the launch before.
    typealias Patience = (Interest) -> Bool

    /// Sleeps until something is ready, or the time is over, or a signal came.
    /// - Parameter timeout: nil for none; 0 looks without sleeping.
    /// - Returns: for each interest whether it is ready (an error or a hang-up counts as
    ///   ready: the read or write that follows will tell).
    static func wait(
        _ interests: [Interest], timeout: Nanoseconds?
    ) throws(Errno) -> [Bool] {
        var set = PollSet(interests)
        try set.wait(timeout: timeout)
        return interests.indices.map { set.isReady($0) }
    }
}

/// Descriptors that are waited for again and again, without new memory for each time.
struct PollSet {
    private var records: [mini_pollfd]

    init(_ interests: [Poll.Interest] = []) { records = interests.map { $0.record } }

    /// Awaits something else.
    mutating func change(_ index: Int, to interest: Poll.Interest) {
        records[index] = interest.record
    }

    /// As `Poll.wait`, whose answer `isReady` gives.
    mutating func wait(timeout: Nanoseconds?) throws(Errno) {
        var failure: Errno?
        unsafe records.withUnsafeMutableBufferPointer { buffer in
            let address = Int(bitPattern: buffer.baseAddress)
            do throws(Errno) {
                guard let timeout else {
                    try SystemCall.make(.poll, address, buffer.count, 0)
                    return
                }
                var length = mini_timespec(timeout)
                _ = try withKernel(&length) { (limit) throws(Errno) in
                    try SystemCall.make(.poll, address, buffer.count, limit)
                }
            } catch { failure = error }
        }
        guard let failure else { return }
        for index in records.indices { records[index].returned = 0 }
        if failure != .interrupted { throw failure }
    }

    /// Looks at all of them in one call, without sleeping.
    mutating func look() throws(Errno) { try wait(timeout: .milliseconds(0)) }

    func isReady(_ index: Int) -> Bool { records[index].returned != 0 }

    /// True if it is one of them, and was ready.
    func isReady(descriptor: Int32) -> Bool {
        records.contains { $0.descriptor == descriptor && $0.returned != 0 }
    }
}

extension Poll.Interest {
    fileprivate var record: mini_pollfd {
        mini_pollfd(descriptor: descriptor, events: readiness.rawValue, returned: 0)
    }
}
