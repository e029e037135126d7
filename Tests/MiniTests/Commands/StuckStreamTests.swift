// Whoever reads standard output or error need not: a full pipe, a terminal that was stopped. Where mini-grant holds
// signals back, one ends it all the same: it never sleeps in a call that a signal would not end.

import CShim
import Testing

@testable import Mini

@Suite struct StuckStreamTests {
    /// Runs a command of which nobody reads a stream until a signal comes.
    private func run(
        _ line: String, stuck: Int, isTerminal: Bool = false, tick: UInt64 = 1000
    ) throws -> (Ended, FakeXen.State) {
        let xen = try threePages {
            $0.store = FakeStore()
            $0.stuck = [stuck]
            if isTerminal { $0.terminals = [stuck] }
            $0.tick = tick
            $0.remotePorts = [key(3, 7)]
            $0.happenings = [.act { _ in }, .signal(15)]
            // A loop that does not end fails its test, and does not stop it.
            $0.mostCalls = 20_000
        }
        let ended = grant(line, on: xen)
        return (ended, xen.now)
    }

    @Test(
        "standard output that takes nothing does not keep a signal away",
        arguments: [
            "map --domain 3 --ref 17 --hold", "map --domain 3 --ref 17,18,19 --hold --hexdump",
            "map --domain 3 --ref 17 --hold --out -", "share --domain 3 --hold",
            "event bind --domain 3",
        ], [false, true])
    func output(line: String, isTerminal: Bool) throws {
        for sandbox in line.hasPrefix("event") ? [""] : ["", " --no-sandbox"] {
            let (ended, state) = try run(line + sandbox, stuck: 1, isTerminal: isTerminal)
            #expect(ended.code == 143 && ended.output == "", "\(ended)")
            #expect(!state.hasSlept)
            #expect(state.left == [])
        }
    }

    @Test("messages of a pipe that nobody reads do not either", arguments: [false, true])
    func messages(isTerminal: Bool) throws {
        for sandbox in ["", " --no-sandbox"] {
            let (ended, state) = try run(
                "pipe --server --domain 3 --path /v --verbose\(sandbox)", stuck: 2,
                isTerminal: isTerminal)
            #expect(ended.code == 143, "\(ended)")
            #expect(!state.hasSlept)
            #expect(state.left == [])
        }
    }

    @Test("a terminal that was stopped does not stop what says there how far it is")
    func progress() throws {
        let file = try TemporaryFile()
        let (ended, state) = try run(
            "map --domain 3 --ref 17 --hold --out \(file.path)", stuck: 2, isTerminal: true,
            tick: 2_000_000_000)
        #expect(ended.code == 0, "\(ended)")
        #expect(!state.hasSlept)
        #expect(state.left == [])
    }

    @Test("the terminal of a pipe is read so that it never waits, whoever else reads it")
    func terminal() {
        for (isTerminal, isController) in [(true, false), (true, true), (false, false)] {
            SystemCall.hooked({ call in
                let (first, second, _, _, _, _) = call.arguments
                switch call.number {
                case .fileStatus where first <= 1:
                    var status = mini_stat()
                    status.mode = 0o020600
                    UnsafeMutableRawPointer(bitPattern: second)!
                        .storeBytes(of: status, as: mini_stat.self)
                    return 0
                case .ioctl where first <= 1 && second == 0x5401: return isTerminal ? 0 : -25
                case .ioctl where first <= 1: return isController ? 0 : -25
                case .open:
                    let name = String(cString: UnsafePointer<CChar>(bitPattern: first)!)
                    #expect(second & 0o4000 != 0, "O_NONBLOCK")
                    return name == "/proc/self/fd/0" ? 1_000_900 : 1_000_901
                case .close: return 0
                default: return nil
                }
            }) {
                let local = LocalStreams.standard(keepsOutput: true)
                let isInputOwn = isTerminal && !isController
                #expect(local.input == (isInputOwn ? 1_000_900 : 0))
                #expect(local.inputNeverWaits == isInputOwn)
                // Opening the other end of a terminal once more would make another terminal.
                #expect(local.output == (isController ? 1 : 1_000_901))
                #expect(local.outputNeverWaits == !isController)
            }
        }
    }

    @Test("a signal while the other side is not there yet ends `event wait`")
    func event() throws {
        let xen = try threePages {
            $0.remotePorts = [key(3, 7)]
            $0.happenings = [.signal(15)]
        }
        let before = xen.now.clock
        #expect(grant("event wait --domain 3 --port 7", on: xen).code == 143)
        #expect(xen.now.clock - before < 100_000_000)
    }
}
