// How far the driver of a device is, by the status byte that it writes and reads.
//
//             a status              0x80
//     reset -----------> driven -----------> failed
//       ^                  |                    |
//       +------ 0 ---------+--------------------+
//
// (A first status can be 0x80.) Old drivers use a device before they say that they are ready (4), so any status but 0 is
// one of a driver that is heard. One that has given up (0x80) is not, until it begins anew: it has said its last.
// Source: Virtual I/O Device specification 1.2, chapters 2.1 and 3.1. The same as a page: docs/driver-status-machine.md.

/// What a driver has said of itself.
struct DriverStatus {
    private enum State {
        case reset
        /// With the status as the driver wrote it.
        case driven(UInt8), failed(UInt8)
    }
    private var state = State.reset
    private static let failed: UInt8 = 0x80

    /// Whether a status says that its driver has given up.
    static func isFailed(_ byte: UInt8) -> Bool { byte & failed != 0 }
    /// Whether it says that its driver knows what to do with the device.
    static func isKnown(_ byte: UInt8) -> Bool { byte & 2 != 0 }
    /// Whether it says that its driver is ready.
    static func isReady(_ byte: UInt8) -> Bool { byte & 4 != 0 }

    /// The driver writes its status.
    /// - Returns: true if the device is to forget all that it was told.
    mutating func write(_ byte: UInt8) -> Bool {
        if byte == 0 {
            state = .reset
        } else if !hasFailed || Self.isFailed(byte) {
            state = Self.isFailed(byte) ? .failed(byte) : .driven(byte)
        }
        return byte == 0
    }

    /// As the driver reads it.
    var byte: UInt8 {
        switch state {
        case .reset: 0
        case .driven(let status), .failed(let status): status
        }
    }
    /// True while there is a driver that is heard.
    var isDriven: Bool { if case .driven = state { true } else { false } }
    var hasFailed: Bool { if case .failed = state { true } else { false } }

    /// The state's name in the diagram.
    var stateName: StaticString {
        switch state {
        case .reset: "reset"
        case .driven: "driven"
        case .failed: "failed"
        }
    }
}
