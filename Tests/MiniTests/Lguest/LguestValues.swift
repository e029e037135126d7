// Values of the lguest contract as tests write them: numbers as they stand in a record.

@testable import Mini

// Eras by their age: the sources compare none, tests say from when on something is so.
func < (left: GuestABI.Era, right: GuestABI.Era) -> Bool { left.rawValue < right.rawValue }
func <= (left: GuestABI.Era, right: GuestABI.Era) -> Bool { left.rawValue <= right.rawValue }
func >= (left: GuestABI.Era, right: GuestABI.Era) -> Bool { left.rawValue >= right.rawValue }

extension GuestAddress: ExpressibleByIntegerLiteral {
    public init(integerLiteral value: UInt32) { self.init(rawValue: value) }
}

extension DMAKey: ExpressibleByIntegerLiteral {
    public init(integerLiteral value: UInt32) { self.init(rawValue: value) }
}

extension DMANotification {
    init(_ record: UInt32, _ key: UInt32) {
        self.init(record: GuestAddress(rawValue: record), key: DMAKey(rawValue: key))
    }
}

extension Host {
    func initialize(
        pageLimit: UInt32, pageDirectory: UInt32, start: UInt32, pageOffset: UInt32
    ) throws(Errno) -> Int {
        try initialize(
            InitializeRequest(
                pageLimit: pageLimit, pageDirectory: pageDirectory, start: start,
                pageOffset: pageOffset))
    }
}

extension InterruptLine: ExpressibleByIntegerLiteral {
    public init(integerLiteral value: UInt32) { self.init(rawValue: value) }
}
