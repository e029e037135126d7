// `--block`: a disk from the option's word to the guest's requests. What of its file is fit for a disk is told in
// DiskFile.swift; what the guest's driver sees is in Devices/Lguest/BlockDevice.swift, and in
// Devices/Virtio/VirtioBlock.swift. Source: docs/abi/lguest.md §5.2 (block), docs/abi/pc.md §4.3.

/// A disk that was asked for.
final class DiskSetup: DeviceSetup {
    let request: DiskRequest
    init(_ request: DiskRequest) { self.request = request }

    var file: (name: Text, use: Text)? { (request.name, "a disk") }

    func open(
        beside others: [DeviceClaim], notice: (Text) -> Void
    ) throws(LauncherError) -> any OpenDevice {
        OpenDisk(try request.open(beside: others, notice: notice))
    }
}

private final class OpenDisk: OpenDevice {
    private let disk: Disk
    /// What was said of it: asked before a line is made, however often a guest has a trouble.
    private var told: [Disk.Trouble] = []

    init(_ disk: Disk) { self.disk = disk }

    var name: Text { "disk \(disk.name)" }
    var claim: DeviceClaim { disk.claim }

    /// A guest must not write over what it is made of: a restart would find something else there.
    func check(beside others: [DeviceClaim]) throws(LauncherError) {
        guard !disk.isReadOnly, let medium = disk.medium else { return }
        for other in others where other.file == medium && !other.isDisk {
            throw .disk(name: disk.name, .inUse(as: other.use))
        }
    }

    func renew() throws(LauncherError) {
        let unfit: UInt64?
        do throws(Errno) { unfit = try disk.renew() } catch {
            throw .host("examine disk", name: disk.name, error)
        }
        guard let unfit else { return }
        throw .disk(
            name: disk.name,
            unfit < Disk.sectorSize ? .tooSmall(size: unfit) : .tooLarge(size: unfit))
    }

    func plug(
        _ index: Int, into page: inout DevicePage, of memory: GuestMemory,
        _ layout: GuestABI.DMALayout
    ) throws(LauncherError) -> (any GuestDevice)? {
        guard let block = BlockDevice(disk, on: &page, in: memory, layout: layout) else {
            return nil
        }
        return PluggedDisk(block, self, index)
    }

    var written: Int32? { disk.isReadOnly ? nil : disk.descriptor }

    func use(_ assistant: Assistant?, _ question: UInt8) {
        disk.assistant = assistant
        disk.question = question
        disk.startsAssistants = assistant == nil
    }

    func attend(_ signals: Int32, _ wait: @escaping Poll.Patience) {
        disk.wait = wait
    }

    func finish() throws(LauncherError) {
        do throws(Errno) { try disk.synchronize() } catch {
            throw .host("write to disk", name: disk.name, error)
        }
    }

    func describe(to have: inout LaunchDescriptors) {
        have.disks.append(disk.descriptor)
        have.features.append(.disk)
        if !disk.isReadOnly {
            have.writableDisks.append(disk.descriptor)
            have.features.append(.writableDisk)
        }
    }

    /// A disk does not grow.
    var mostWritten: UInt64 { disk.isFile && !disk.isReadOnly ? disk.size : 0 }

    func tell(_ trouble: Disk.Trouble, _ remark: (Text) -> Void) {
        guard !told.contains(trouble) else { return }
        told.append(trouble)
        remark(
            "the guest cannot \(trouble.verb) disk \(quoted: disk.name): \(trouble.failure.text)")
    }

    func plug(
        _ index: Int, into socket: any VirtioSocket, _ notes: LaunchNotes
    ) throws(LauncherError) -> VirtioPlug {
        let block = VirtioBlock(disk) { [self] in tell($0, notes.remark) }
        return try VirtioDisk(block, name, index, into: socket, notes)
    }
}

/// The disk of a guest with virtio.
private final class VirtioDisk: VirtioPlug {
    private let block: VirtioBlock

    init(
        _ block: VirtioBlock, _ name: Text, _ index: Int, into socket: any VirtioSocket,
        _ notes: LaunchNotes
    ) throws(LauncherError) {
        self.block = block
        try super.init(block, name, index, into: socket, notes)
    }

    override var isUsed: Bool { block.isUsed }
}

private final class PluggedDisk: GuestDevice {
    private let block: BlockDevice
    private let disk: OpenDisk
    private let index: Int
    private var isUsed = false

    init(_ block: BlockDevice, _ disk: OpenDisk, _ index: Int) {
        self.block = block
        self.disk = disk
        self.index = index
    }

    func notified(
        _ notification: DMANotification, by guest: RunningGuest
    ) throws(LauncherError) -> Bool {
        guard notification.key == block.key else { return false }
        isUsed = true
        if let trouble = block.serve(notification.record, on: guest.device) {
            disk.tell(trouble, guest.remark)
        }
        return true
    }

    var watches: Bool { false }
    var hearsAll: Bool { false }
    func uses(of guest: RunningGuest) -> [Timeline.Use] { isUsed ? [.device(index)] : [] }
}

extension Disk {
    var claim: DeviceClaim {
        DeviceClaim(
            use: "a disk", name: name, file: medium, isDisk: true, isReadOnly: isReadOnly)
    }
}
