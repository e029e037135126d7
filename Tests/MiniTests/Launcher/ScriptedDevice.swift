// An lguest device that follows a script, and a launch on it at a pretended terminal.

import Synchronization
import Testing

@testable import Mini

/// A device that does one step of a script at each run.
final class ScriptedDevice: LguestDevice {
    enum Step {
        /// Sends text from guest memory under a key.
        case send(String, key: UInt32 = 0)
        /// Sends a record with these sections.
        case sections([(start: UInt32, count: UInt16)])
        /// Sends a record at an address.
        case record(UInt32)
        /// Sends what is at an address, under any key.
        case notify(UInt32, key: UInt32)
        case fail(Errno)
        case reason(Text)
        case defect(Text)
        /// The guest binds its input buffer, or has read what is in it.
        case listen
        case look((ScriptedDevice) -> Void)
    }
    private var steps: [Step]
    let memory: GuestMemory
    let abi: GuestABI

    var request: InitializeRequest?
    var interrupts: [UInt32] = []
    var watched: [Int32] = []
    var isListening = false
    var isClosed = false
    var received = ""
    var bufferRequests = 0
    var answer = 20

    private let output: UInt32 = 0x8000
    private let input: UInt32 = 0x8100

    init(_ memory: GuestMemory, _ abi: GuestABI, _ steps: [Step]) {
        self.memory = memory
        self.abi = abi
        self.steps = steps
    }

    func initialize(_ request: InitializeRequest) throws(Errno) -> Int {
        self.request = request
        return answer
    }

    func run() throws(Errno) -> RunResult {
        while !steps.isEmpty {
            switch steps.removeFirst() {
            case .send(let text, let key):
                let bytes = Array(text.utf8)
                memory.writable(memory.range(0x9000, UInt32(bytes.count))!).copyBytes(from: bytes)
                put([(0x9000, UInt16(bytes.count)), (0, 0)], at: output, abi.dma!, to: memory)
                memory.store32(output, 0)
                return .dma(DMANotification(output, key))
            case .sections(let sections):
                put(sections + [(0, 0)], at: output, abi.dma!, to: memory)
                memory.store32(output, 0)
                return .dma(DMANotification(output, 0))
            case .record(let address): return .dma(DMANotification(address, 0))
            case .notify(let address, let key): return .dma(DMANotification(address, key))
            case .fail(let errno): throw errno
            case .reason(let text): return .reason(text)
            case .defect(let state): return .defect(state: state)
            case .listen:
                isListening = true
                let count = memory.load32(input)!
                received += string(Array(memory.readable(memory.range(0xA000, count)!)))
                memory.store32(input, 0)
                put([(0xA000, 16), (0, 0)], at: input, abi.dma!, to: memory)
            case .look(let body): body(self)
            }
        }
        return .reason("CRASH: Power down")
    }

    func interrupt(_ line: InterruptLine) throws(Errno) { interrupts.append(line.rawValue) }

    func dmaBuffer(_ key: DMAKey) throws(Errno) -> GuestAddress {
        bufferRequests += 1
        guard isListening, key == 0 else { throw .noSuchFile }
        memory.store32(input, 1)
        return GuestAddress(rawValue: input)
    }

    func breakOut(_ on: Bool) throws(Errno) {}
    func watch(_ descriptors: [Int32]) { watched = descriptors }
    func close() { isClosed = true }
}

/// What a launch by script came to.
struct PlayedLaunch {
    var outcome: LaunchOutcome
    var devices: [ScriptedDevice]
    var terminal: FakeTerminal.State
    var reports: [String]
    var notices: [String]
    var device: ScriptedDevice { devices[0] }
}

/// Launches a kernel by these scripts, one for each start.
func playLaunch(
    _ scripts: [[ScriptedDevice.Step]], on terminal: FakeTerminal = FakeTerminal(),
    restarts: Bool = true, keeps: Bool = true, with setups: [any DeviceSetup] = [],
    change: @escaping (ScriptedDevice) -> Void = { _ in }
) throws -> PlayedLaunch {
    let file = try memoryFile(ElfSpec.kernel())
    var plan = LaunchPlan()
    plan.kernel = "/proc/self/fd/\(file.number)"
    plan.mebibytes = 4
    plan.arguments = ["quiet"]
    plan.devices = setups
    var devices: [ScriptedDevice] = []
    var reports: [String] = []
    var notices: [String] = []
    let launcher = LguestLauncher(
        plan,
        LaunchSurroundings(
            report: { reports.append(string($0)) }, notice: { notices.append(string($0)) })
    ) {
        (memory, abi) throws(LauncherError) -> any LguestDevice in
        let device = ScriptedDevice(memory, abi, scripts[min(devices.count, scripts.count - 1)])
        change(device)
        if keeps { devices.append(device) }
        return device
    }
    let outcome = terminal.play { launcher.run(restarts: restarts) }
    _ = file.number
    return PlayedLaunch(
        outcome: outcome, devices: devices, terminal: terminal.now, reports: reports,
        notices: notices)
}
