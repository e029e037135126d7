// What a network card's cable leads to: a tap, or the Ethernet of all guests that share a file.

/// Takes frames from a card of ours, and has some for it. Nothing here waits for long.
protocol NetworkBackend: AnyObject {
    /// In front of each frame is a header of virtio's, 10 bytes, each way.
    var hasHeaders: Bool { get }
    /// With headers: what frames for the guest may be.
    var offloads: Tap.Offloads { get }
    func setOffloads(_ offloads: Tap.Offloads)
    /// The guest's card has this address, and a driver that takes frames; or, without one, has none any more.
    func setUp(_ address: HardwareAddress?)
    /// To be asked between frames, which can be many.
    /// - Returns: false when something ends the launch.
    func mayGoOn() -> Bool
    /// A frame that is not taken is lost, as on a cable.
    func send(_ frame: IOVector)
    /// Receives one frame; what has no room is lost.
    /// - Returns: its length.
    /// - Throws: EAGAIN if there is none.
    func receive(into room: IOVector) throws(Errno) -> UInt32
    /// Receives one frame into nothing.
    /// - Throws: EAGAIN if there is none.
    func drop() throws(Errno)
    /// False only if it is known that there is no frame.
    var hasFrame: Bool { get }
    /// The descriptors that say when there may be a frame.
    var watched: [Int32] { get }
    /// When to look at the latest; nil if the descriptors tell all.
    var pause: Nanoseconds? { get }
    /// The state of its own in which something came that cannot come there: a defect of mini.
    var defect: StaticString? { get }
}

extension NetworkBackend {
    var hasHeaders: Bool { false }
    var offloads: Tap.Offloads { [] }
    func setOffloads(_ offloads: Tap.Offloads) {}
    func setUp(_ address: HardwareAddress?) {}
    func mayGoOn() -> Bool { true }
    var hasFrame: Bool { true }
    var pause: Nanoseconds? { nil }
    var defect: StaticString? { nil }
}

extension Tap: NetworkBackend {
    func send(_ frame: IOVector) { _ = try? frame.transfer(.write, descriptor) }
    func receive(into room: IOVector) throws(Errno) -> UInt32 {
        UInt32(try room.transfer(.read, descriptor))
    }
}
