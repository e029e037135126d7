// A device in the three stages of its life: asked for on the command line (DeviceSetup), opened once and kept
// through restarts (OpenDevice), plugged into one guest (GuestDevice). The launcher holds lists of these and
// knows no kinds: a new device is a file here and a line of the table of options; docs/TOUR.md (5) has what it is to its guests.
//
//   DeviceSetup -- open --> OpenDevice -- plug, for each launch --> GuestDevice
//
// Source: docs/abi/lguest.md §5.

/// A device that the guest is to have beside its console.
protocol DeviceSetup: AnyObject {
    /// The file that it is or writes to, and as what: "a disk".
    var file: (name: Text, use: Text)? { get }
    /// The address that this host gets on a network of its own.
    var hostAddress: InternetAddress? { get }

    /// It is to be opened for a PC's guest.
    func prepareForPC()
    /// - Parameters:
    ///   - others: what those that were opened before hold.
    ///   - notice: takes a line that a person should read.
    func open(
        beside others: [DeviceClaim], notice: (Text) -> Void
    ) throws(LauncherError) -> any OpenDevice
}

extension DeviceSetup {
    var hostAddress: InternetAddress? { nil }
    func prepareForPC() {}
}

/// What a device holds that another might want as well.
struct DeviceClaim {
    /// As what it is used: "a disk".
    let use: Text
    let name: Text
    var file: Medium?
    /// A disk may be given twice if it is read-only both times.
    var isDisk = false
    var isReadOnly = false
    var tap: InterfaceName?
}

/// An open device. It opens nothing more: from the first launch on it is in a sandbox.
protocol OpenDevice: AnyObject {
    /// For a timeline, as "disk a.img".
    var name: Text { get }
    /// For `--verbose`, if there is more to say.
    var description: Text? { get }
    var claim: DeviceClaim { get }

    /// Looks whether it can be used beside files that the guest is made of, and beside the other devices.
    func check(beside others: [DeviceClaim]) throws(LauncherError)
    /// Gets ready for another guest.
    func renew() throws(LauncherError)
    /// Puts itself on the page.
    /// - Parameter index: its place among the devices that were asked for.
    /// - Returns: what serves the guest; nil if the page has no room.
    func plug(
        _ index: Int, into page: inout DevicePage, of memory: GuestMemory,
        _ layout: GuestABI.DMALayout
    ) throws(LauncherError) -> (any GuestDevice)?
    /// Becomes a virtio device.
    /// - Parameter index: its place among the devices that were asked for.
    func plug(
        _ index: Int, into socket: any VirtioSocket, _ notes: LaunchNotes
    ) throws(LauncherError) -> VirtioPlug
    /// A file that an assistant puts on the disk, if there is one.
    var written: Int32? { get }
    /// - Parameters:
    ///   - assistant: does that; nil where one can be started each time.
    ///   - question: what it is asked with.
    func use(_ assistant: Assistant?, _ question: UInt8)
    /// From now on signals are waited for together with what takes long.
    /// - Parameters:
    ///   - signals: a descriptor that is readable when one has come.
    ///   - wait: to be asked where something may take long.
    func attend(_ signals: Int32, _ wait: @escaping Poll.Patience)
    /// Takes back at once what the guest has set on the host: it has ended, in whatever way.
    func leave()
    /// Hands what was written to the host, when the guest has ended.
    func finish() throws(LauncherError)

    /// Adds what it needs inside the sandbox.
    func describe(to have: inout LaunchDescriptors)
    /// Takes again what closing others' descriptors has taken away.
    func keep() throws(LauncherError)
    /// How long a file of its may become by what is written, in bytes.
    var mostWritten: UInt64 { get }
    /// What to tell if the guest's memory lost a page of the file behind this descriptor; nil if it is not its.
    func loss(of descriptor: Int32?, at address: UInt) -> Text?
}

extension OpenDevice {
    var description: Text? { nil }
    func plug(
        _ index: Int, into socket: any VirtioSocket, _ notes: LaunchNotes
    ) throws(LauncherError) -> VirtioPlug {
        throw .notOnPC(name)
    }
    func check(beside others: [DeviceClaim]) throws(LauncherError) {}
    func renew() throws(LauncherError) {}
    var written: Int32? { nil }
    func use(_ assistant: Assistant?, _ question: UInt8) {}
    func attend(_ signals: Int32, _ wait: @escaping Poll.Patience) {}
    func leave() {}
    func finish() throws(LauncherError) {}
    func keep() throws(LauncherError) {}
    var mostWritten: UInt64 { 0 }
    func loss(of descriptor: Int32?, at address: UInt) -> Text? { nil }
}

/// A device of one guest: three questions.
protocol GuestDevice: AnyObject {
    /// What do you watch? Adds the descriptors whose readability must end a run of the guest.
    func watch(_ descriptors: inout [Int32])

    /// The guest notified a device.
    /// - Returns: false if it was not this one.
    func notified(
        _ notification: DMANotification, by guest: RunningGuest
    ) throws(LauncherError) -> Bool

    /// You may be ready.
    /// - Returns: when to look again at the latest, if it waits for a buffer of the guest's.
    func serve(_ occasion: Occasion, for guest: RunningGuest) throws(LauncherError) -> Nanoseconds?

    /// True if it ever watches something.
    var watches: Bool { get }
    /// True if it is to be served after every notification, and not just after its own.
    var hearsAll: Bool { get }

    /// True if it ever waits for a buffer; then the key under which it lacks one.
    var wantsBuffers: Bool { get }
    var awaitedBuffer: DMAKey? { get }

    /// What the guest has used of it so far.
    func uses(of guest: RunningGuest) -> [Timeline.Use]
}

extension GuestDevice {
    func watch(_ descriptors: inout [Int32]) {}
    var watches: Bool { true }
    var hearsAll: Bool { true }
    func serve(
        _ occasion: Occasion, for guest: RunningGuest
    ) throws(LauncherError) -> Nanoseconds? { nil }
    var wantsBuffers: Bool { false }
    var awaitedBuffer: DMAKey? { nil }
    func uses(of guest: RunningGuest) -> [Timeline.Use] { [] }
}

/// Why devices are served.
struct Occasion {
    /// What is ready of the watched; nil after the guest has notified a device.
    var ready: PollSet?
    /// The host says itself when the guest has a buffer.
    var isTold: Bool

    /// True if it is watched and ready.
    func isReady(_ descriptor: Int32) -> Bool { ready?.isReady(descriptor: descriptor) ?? false }
}
