// `--tunnet`, `--tap` and `--sharenet`: a network from the option's word to the guest's frames. How a tap is made
// ready is told in NetworkLink.swift, a file that guests share in NetworkFile.swift; what the guest's driver sees
// is in Devices/Lguest/NetworkDevice.swift, and in Devices/Virtio/VirtioNetwork.swift.
// Source: docs/abi/lguest.md §5.2 (net, shared net), docs/abi/pc.md §4.6.

/// A network that was asked for.
final class NetworkSetup: DeviceSetup {
    let request: NetworkRequest
    /// It is a card of a PC's.
    private var isFunction = false
    init(_ request: NetworkRequest) { self.request = request }

    func prepareForPC() { isFunction = true }

    var file: (name: Text, use: Text)? {
        if case .shared(let name) = request { (name, "a network") } else { nil }
    }
    var hostAddress: InternetAddress? {
        if case .address(let address) = request { address } else { nil }
    }

    func open(
        beside others: [DeviceClaim], notice: (Text) -> Void
    ) throws(LauncherError) -> any OpenDevice {
        // Drivers of virtio's know what to do with headers.
        switch try request.open(beside: others, wantsHeaders: isFunction) {
        case .tap(let tap, let address): return OpenTap(tap, address)
        case .shared(let file):
            // The host of a guest that speaks lguest makes a socket of its own, and no process that is started before shall
            // have this one still.
            if !isFunction { _ = file.takeListener() }
            return OpenSharedNetwork(file)
        }
    }
}

// MARK: A tap

private final class OpenTap: OpenDevice {
    let tap: Tap
    private let address: HardwareAddress

    init(_ tap: Tap, _ address: HardwareAddress) {
        self.tap = tap
        self.address = address
    }

    var name: Text { "tap \(tap.name.text)" }
    var description: Text? { NetworkLink.tap(tap, address).description }
    var claim: DeviceClaim { NetworkLink.tap(tap, address).claim }

    func plug(
        _ index: Int, into page: inout DevicePage, of memory: GuestMemory,
        _ layout: GuestABI.DMALayout
    ) throws(LauncherError) -> (any GuestDevice)? {
        guard
            let network = NetworkDevice(
                tap, address: address, on: &page, in: memory, layout: layout)
        else { return nil }
        return PluggedTap(network, index)
    }

    func plug(
        _ index: Int, into socket: any VirtioSocket, _ notes: LaunchNotes
    ) throws(LauncherError) -> VirtioPlug {
        try VirtioCard(
            VirtioNetwork(
                tap, address: address.neighbour,
                takesSegments: socket.kernel?.takesSegments ?? true),
            name, index, into: socket, notes)
    }

    /// The next user of the tap may know nothing of headers.
    func leave() { tap.setOffloads([]) }

    func describe(to have: inout LaunchDescriptors) {
        have.taps.append(tap.descriptor)
        have.features.append(.tap)
        if tap.hasHeaders { have.features.append(.offloads) }
    }
}

/// The network card of a guest with virtio.
private final class VirtioCard: VirtioPlug {
    private let card: VirtioNetwork
    private let name: Text

    /// - Parameter name: of what its cable leads to, for messages.
    init(
        _ card: VirtioNetwork, _ name: Text, _ index: Int, into socket: any VirtioSocket,
        _ notes: LaunchNotes
    ) throws(LauncherError) {
        self.card = card
        self.name = name
        try super.init(card, name, index, into: socket, notes)
    }

    override var isUsed: Bool { card.isUsed }
    override var isDue: Bool { card.hasNewWatch }

    override var watches: Bool { true }

    override func watch(_ descriptors: inout [Int32]) {
        card.begin()
        descriptors += card.watched
    }

    override func settle() -> Bool { card.settle(transport, waits: true) }

    override func serve(_ ready: PollSet) throws(LauncherError) -> Nanoseconds? {
        _ = card.settle(transport, waits: false)
        for descriptor in card.watched where ready.isReady(descriptor: descriptor) {
            card.handle(.readable, of: transport)
            break
        }
        if let state = card.defect { throw .defect(state: "\(state)") }
        if let errno = card.takeFailure() {
            notes.remark("the guest's network is gone: \(name): \(errno)")
        }
        _ = try super.serve(ready)
        return card.pause
    }
}

extension LinuxVersion {
    /// Its network driver lends long buffers for segments, and takes frames from them. What errors the stable releases before 3.13
    /// were mended for cost them the frame's length there, so that they drop all: 3.10 to 3.12; 3.2 and 3.4 lived as long.
    /// Source: Linux 3.11.10, drivers/net/virtio_net.c, receive_big.
    fileprivate var takesSegments: Bool { !isAtLeast(3, 2) || isAtLeast(3, 13) }
}

extension HardwareAddress {
    /// One for the guest at a tap's other end: the same through every launch on this tap, and not the tap's.
    var neighbour: HardwareAddress {
        let last = [bytes[3], bytes[4], bytes[5]]
        let own = HardwareAddress([0x52, 0x54, 0x00] + last)
        return own == self ? HardwareAddress([0x52, 0x54, 0x01] + last) : own
    }
}

private final class PluggedTap: GuestDevice {
    private let network: NetworkDevice
    private let index: Int
    private var rings: UInt64 = 0

    init(_ network: NetworkDevice, _ index: Int) {
        self.network = network
        self.index = index
    }

    func watch(_ descriptors: inout [Int32]) {
        if let descriptor = network.watched { descriptors.append(descriptor) }
    }

    func notified(
        _ notification: DMANotification, by guest: RunningGuest
    ) throws(LauncherError) -> Bool {
        guard notification.key == network.key else { return false }
        if !network.send(notification.record) { guest.warnOfRecord() }
        return true
    }

    func serve(
        _ occasion: Occasion, for guest: RunningGuest
    ) throws(LauncherError) -> Nanoseconds? {
        let hasRung = guest.loop.rings != rings
        rings = guest.loop.rings
        guard
            network.isWaiting || occasion.isTold || occasion.isReady(network.tap.descriptor)
        else { return nil }
        let event: NetworkInput.Event =
            !network.isWaiting ? .readable : hasRung ? .alarm : .guestRan
        let wait = network.handle(event, on: guest.device)
        if let state = network.defect { throw .defect(state: "\(state)") }
        if let errno = network.takeFailure() {
            guest.remark(
                "the guest's network is gone: tap \(quoted: network.tap.name.text): \(errno)")
        }
        return wait
    }

    var wantsBuffers: Bool { true }
    var awaitedBuffer: DMAKey? { network.isWaiting ? network.inputKey : nil }

    func uses(of guest: RunningGuest) -> [Timeline.Use] {
        network.isUsed ? [.device(index)] : []
    }
}

// MARK: A file that guests share

private final class OpenSharedNetwork: OpenDevice {
    private let file: NetworkFile
    /// Of a guest with virtio; lasts through restarts.
    private var network: SharedNetwork?
    init(_ file: NetworkFile) { self.file = file }

    var name: Text { "network \(file.name)" }
    var description: Text? { NetworkLink.shared(file).description }
    var claim: DeviceClaim { NetworkLink.shared(file).claim }

    func plug(
        _ index: Int, into page: inout DevicePage, of memory: GuestMemory,
        _ layout: GuestABI.DMALayout
    ) throws(LauncherError) -> (any GuestDevice)? {
        do throws(Errno) {
            try NetworkPage.share(
                file.descriptor, slot: file.slot, identity: file.identity, on: &page, in: memory)
        } catch { throw .host("map network file", name: file.name, error) }
        return PluggedSharedNetwork(file.descriptor, index)
    }

    func plug(
        _ index: Int, into socket: any VirtioSocket, _ notes: LaunchNotes
    ) throws(LauncherError) -> VirtioPlug {
        let network: SharedNetwork
        if let known = self.network {
            network = known
            network.setUp(nil)
        } else {
            do throws(Errno) {
                network = try SharedNetwork(
                    file.descriptor, slot: file.slot, identity: file.identity, index: index,
                    listener: file.takeListener())
            } catch { throw .host("use network file", name: file.name, error) }
            self.network = network
        }
        return try VirtioCard(
            VirtioNetwork(network, address: network.address), name, index, into: socket, notes)
    }

    func attend(_ signals: Int32, _ wait: @escaping Poll.Patience) {
        network?.signals = Poll.Interest(signals)
        network?.wait = wait
    }

    func describe(to have: inout LaunchDescriptors) {
        have.networks.append(file.descriptor)
        have.listeners += network?.listeners ?? []
        have.features.append(network == nil ? .sharedNetwork : .networkCard)
        // A peer takes one on each side.
        have.more = 2 * SharedPage.slots
    }
    func keep() throws(LauncherError) { try file.keepSlot() }

    func loss(of descriptor: Int32?, at address: UInt) -> Text? {
        descriptor == file.descriptor || network?.has(address) ?? false
            ? "the guest's network is gone: file \(quoted: file.name) has become shorter" : nil
    }
}

/// The guests send to each other without the launcher.
private final class PluggedSharedNetwork: GuestDevice {
    private let descriptor: Int32
    private let index: Int

    init(_ descriptor: Int32, _ index: Int) {
        self.descriptor = descriptor
        self.index = index
    }

    func notified(
        _ notification: DMANotification, by guest: RunningGuest
    ) throws(LauncherError) -> Bool { false }

    var watches: Bool { false }
    var hearsAll: Bool { false }
    func uses(of guest: RunningGuest) -> [Timeline.Use] {
        guest.device.hasUsed(shared: descriptor) ? [.device(index)] : []
    }
}

extension NetworkLink {
    var claim: DeviceClaim {
        switch self {
        case .tap(let tap, _):
            DeviceClaim(use: "a tap", name: tap.name.text, tap: tap.name)
        case .shared(let file):
            DeviceClaim(use: "a network", name: file.name, file: Medium(.file(file.identity)))
        }
    }
}
