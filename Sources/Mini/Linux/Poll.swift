// Waiting for descriptors. Source: poll(2).

import CShim

enum Poll {
    enum Readiness: Int16 {
        case readable = 1
        case writable = 4
    }

    /// One descriptor and what is awaited from it.
    struct Interest {
        var descriptor: Int32
        var readiness: Readiness
        init(_ descriptor: Int32, _ readiness: Readiness = .readable) {
            self.descriptor = descriptor
            self.readiness = readiness
        }
    }

    /// Sleeps until something is ready, or the time is over, or a signal came.
    /// - Parameter timeout: nil for none; 0 looks without sleeping. Rounded up to milliseconds.
    /// - Returns: for each interest whether it is ready (an error or a hang-up counts as
    ///   ready: the read or write that follows will tell).
    static func wait(
        _ interests: [Interest], timeout: Nanoseconds?
    ) throws(Errno) -> [Bool] {
        var records = interests.map {
            mini_pollfd(descriptor: $0.descriptor, events: $0.readiness.rawValue, returned: 0)
        }
        let milliseconds: Int =
            if let timeout { Int(min((timeout.count + 999_999) / 1_000_000, 3_600_000)) } else {
                -1
            }
        var failure: Errno?
        unsafe records.withUnsafeMutableBufferPointer { buffer in
            do throws(Errno) {
                try SystemCall.make(
                    .poll, Int(bitPattern: buffer.baseAddress), buffer.count, milliseconds)
            } catch { failure = error }
        }
        if let failure, failure != .interrupted { throw failure }
        return records.map { failure == nil && $0.returned != 0 }
    }
}
