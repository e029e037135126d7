// Taps on a kernel that plays them: what is asked of it, and what becomes of each refusal.

import CShim
import Glibc
import Synchronization
import Testing

@testable import Mini

/// A kernel with /dev/net/tun and interfaces; counts what stays open.
private final class TapKernel: Sendable {
    struct State {
        var requests: [String] = []
        /// What was set of what an interface keeps when nobody has it open.
        var settings: [String] = []
        var calls = 0
        var failing: (call: Int, errno: Errno)?
        /// Requests that fail with this.
        var refused: (name: String, errno: Errno)?
        /// What every interface has, and on which bus; nil where the driver does not say.
        var driver: (name: String, bus: String)? = ("tun", "tap")
        var open: Set<Int> = []
        var next = 1_000_500
    }
    private let state = Mutex(State())
    var now: State { state.withLock { $0 } }

    init(_ change: (inout State) -> Void = { _ in }) { state.withLock { change(&$0) } }

    func play<Value>(
        _ body: () throws(LauncherError) -> Value
    ) throws(LauncherError) -> Value {
        try SystemCall.hooked({ call in self.state.withLock { Self.answer(call, &$0) } }, body)
    }

    private static func answer(_ call: SystemCall, _ state: inout State) -> Int? {
        let (first, second, third, _, _, _) = call.arguments
        state.calls += 1
        if let failing = state.failing, failing.call == state.calls, call.number != .close {
            return -Int(failing.errno.rawValue)
        }
        func refuse(_ name: String) -> Int? {
            guard let refused = state.refused, refused.name == name else { return nil }
            return -Int(refused.errno.rawValue)
        }
        func opened() -> Int {
            state.next += 1
            state.open.insert(state.next)
            return state.next
        }
        switch call.number {
        case .open:
            state.requests.append(
                "open " + String(cString: UnsafePointer<CChar>(bitPattern: first)!))
            return refuse("open") ?? opened()
        case .close:
            state.open.remove(first)
            return 0
        case .ioctl where second == Tap.Request.setChecksums: return 0
        case .ioctl where second == Tap.Request.setOffloads:
            state.settings.append("offloads \(third)")
            return 0
        case .ioctl where second == Tap.Request.setHeaderCount:
            let count = UnsafePointer<Int32>(bitPattern: third)!.pointee
            state.settings.append("header \(count)")
            return 0
        case .ioctl where second == InterfaceControl.Request.askDriver:
            guard let driver = state.driver else { return -95 }
            let request = UnsafePointer<mini_ifreq>(bitPattern: third)!
            let info = UnsafeMutablePointer<mini_drvinfo>(bitPattern: request.pointee.of.size.0)!
            guard info.pointee.command == InterfaceControl.driverInfo else { return -22 }
            withUnsafeMutableBytes(of: &info.pointee.driver) {
                $0.copyBytes(from: Array(driver.name.utf8))
            }
            withUnsafeMutableBytes(of: &info.pointee.bus) {
                $0.copyBytes(from: Array(driver.bus.utf8))
            }
            return 0
        case .ioctl:
            let request = UnsafeMutablePointer<mini_ifreq>(bitPattern: third)!
            let answer = self.answer(second, request)
            state.requests.append(answer)
            return refuse(String(answer.prefix { $0 != " " })) ?? 0
        case let number where number.rawValue == SocketCall.socket.direct:
            return refuse("socket") ?? opened()
        default: return -38
        }
    }

    private static func answer(
        _ number: Int, _ request: UnsafeMutablePointer<mini_ifreq>
    ) -> String {
        let name = withUnsafeBytes(of: request.pointee.name) {
            String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        let data = withUnsafeBytes(of: request.pointee.of.address.data) { Array($0) }
        switch number {
        case Tap.Request.setInterface:
            let flags = request.pointee.of.flags
            if name == "tap%d" {
                request.pointee.name.3 = UInt8(ascii: "4")
                request.pointee.name.4 = 0
            }
            return "make \(name) \(flags)"
        case InterfaceControl.Request.getFlags:
            request.pointee.of.flags = 0x1002
            return "flags? \(name)"
        case InterfaceControl.Request.setFlags:
            return "flags \(name) \(request.pointee.of.flags)"
        case InterfaceControl.Request.setAddress:
            return "address \(name) \(data[2...5])"
        case InterfaceControl.Request.getHardwareAddress:
            request.pointee.of.address.data = (2, 3, 4, 5, 6, 7, 0, 0, 0, 0, 0, 0, 0, 0)
            return "hardware? \(name)"
        case InterfaceControl.Request.setHardwareAddress:
            return "hardware \(name) \(request.pointee.of.address.family) \(data[..<6])"
        case InterfaceControl.Request.getIndex:
            request.pointee.of.index = 77
            return "index? \(name)"
        case InterfaceControl.Request.addToBridge:
            return "bridge \(name) \(request.pointee.of.index)"
        default: return "? \(number)"
        }
    }
}

private let requests: [NetworkRequest] = [
    .address(InternetAddress(bytes: (192, 168, 19, 1))),
    .bridge(InterfaceName("br0")!, HardwareAddress([2, 0, 0, 0, 0, 9])),
    .bridge(InterfaceName("br0")!, nil), .tap(InterfaceName("guest7")!),
]

private func open(_ request: NetworkRequest, on kernel: TapKernel) -> String {
    do throws(LauncherError) {
        // The link goes while the kernel is still there.
        let text = try kernel.play { () throws(LauncherError) in
            try request.open(beside: []).description
        }
        return string(text)
    } catch { return "\(error.exitCode) " + string(error.text) }
}

@Suite struct NetworkLinkTests {
    @Test("an address is the tap's own, which comes up with it")
    func address() throws {
        let kernel = TapKernel()
        let text = try kernel.play { () throws(LauncherError) in
            let link = try requests[0].open(beside: [])
            #expect(kernel.now.open.count == 1, "the tap stays, the socket does not")
            return link.description
        }
        #expect(string(text) == "network: tap \"tap4\", 02:03:04:05:06:07")
        #expect(
            kernel.now.requests == [
                "open /dev/net/tun", "make tap%d 4098", "address tap4 [192, 168, 19, 1]",
                "flags? tap4", "flags tap4 4099", "hardware? tap4",
            ])
        #expect(kernel.now.open.isEmpty)
    }

    @Test("a bridge gets the tap as a port, with a hardware address if one is given")
    func bridge() throws {
        for (request, hardware) in [
            (requests[1], ["hardware tap4 1 [2, 0, 0, 0, 0, 9]"]), (requests[2], []),
        ] {
            let kernel = TapKernel()
            try kernel.play { () throws(LauncherError) in _ = try request.open(beside: []) }
            #expect(
                kernel.now.requests == ["open /dev/net/tun", "make tap%d 4098"] + hardware + [
                    "index? tap4", "bridge br0 77", "flags? tap4", "flags tap4 4099",
                    "hardware? tap4",
                ])
        }
    }

    @Test("a tap by its name is taken as it is")
    func tap() throws {
        let kernel = TapKernel()
        try kernel.play { () throws(LauncherError) in _ = try requests[3].open(beside: []) }
        #expect(
            kernel.now.requests == ["open /dev/net/tun", "make guest7 4098", "hardware? guest7"])
        // The kernel's number is in what is told, and in what is asked from then on.
        let numbered = TapKernel()
        let text = open(.tap(try #require(InterfaceName("tap%d"))), on: numbered)
        #expect(text == "network: tap \"tap4\", 02:03:04:05:06:07")
        #expect(
            numbered.now.requests == ["open /dev/net/tun", "make tap%d 4098", "hardware? tap4"])
    }

    @Test("nothing stays of what another program has set on a tap", arguments: [false, true])
    func settings(wantsHeaders: Bool) throws {
        let kernel = TapKernel()
        try kernel.play { () throws(LauncherError) in
            _ = try requests[3].open(beside: [], wantsHeaders: wantsHeaders)
        }
        #expect(kernel.now.settings == ["offloads 0"] + (wantsHeaders ? ["header 10"] : []))
    }

    @Test("what cannot be had is told in one line, with code 1")
    func refusals() {
        let table: [(Int, String, Errno, String)] = [
            (0, "open", .noSuchFile, "1 cannot open \"/dev/net/tun\": no such file (ENOENT)"),
            (
                3, "make", .busy,
                "1 tap \"guest7\" is in use by another process: device or resource busy (EBUSY)"
            ),
            (
                0, "make", .notPermitted,
                "1 cannot make a tap of \"tap%d\": operation not permitted (EPERM)"
            ),
            (
                0, "address", .invalid,
                "1 cannot give an address to tap \"tap4\": invalid argument (EINVAL)"
            ),
            (
                2, "bridge", Errno(rawValue: 19),
                "1 cannot put a tap on bridge \"br0\": no such device (ENODEV)"
            ),
            (
                2, "socket", Errno(rawValue: 97),
                "1 cannot configure tap \"tap4\": address family not supported (EAFNOSUPPORT)"
            ),
        ]
        for (index, name, errno, line) in table {
            let kernel = TapKernel { $0.refused = (name, errno) }
            #expect(open(requests[index], on: kernel) == line)
            #expect(kernel.now.open.isEmpty)
        }
    }

    @Test("a tap of several queues is taken as one of them")
    func severalQueues() throws {
        let kernel = TapKernel { $0.refused = ("make", .invalid) }
        #expect(
            open(requests[3], on: kernel)
                == "1 cannot use tap \"guest7\": invalid argument (EINVAL)")
        #expect(
            kernel.now.requests == ["open /dev/net/tun", "make guest7 4098", "make guest7 4354"])
    }

    @Test("what is no tap is told by its driver")
    func otherKind() throws {
        let other = "is not a tap: it is an interface of another kind"
        let tun =
            "is a tun, which has no Ethernet frames: a tap is needed (ip tuntap add mode tap)"
        for (driver, reason) in [
            (("tun", "tun"), tun), (("bridge", "N/A"), other), (nil, other),
        ] as [((name: String, bus: String)?, String)] {
            let kernel = TapKernel {
                $0.refused = ("make", .invalid)
                $0.driver = driver
            }
            #expect(
                open(requests[3], on: kernel)
                    == "1 tap \"guest7\" \(reason): invalid argument (EINVAL)")
            #expect(kernel.now.open.isEmpty)
        }
        // The real kernel, which has this one in every network namespace.
        #expect(string(try #require(TapTrouble.reason("lo", .invalid))) == other)
    }

    @Test("what is wrong with a tap is told by its cause")
    func troubles() {
        #expect(TapTrouble.reason("mini-none", .invalid) == nil)
        #expect(string(TapTrouble.reason("guest7", .notPermitted)!).hasPrefix("is not this user's"))
        for name in ["a/b", "a b", "..", "a:1"] as [Text] { #expect(InterfaceName(name) == nil) }
    }

    @Test("whichever call fails, there is one error and nothing stays open")
    func everyCallFails() {
        for request in requests {
            let whole = TapKernel()
            _ = open(request, on: whole)
            for call in 1...whole.now.calls {
                let kernel = TapKernel { $0.failing = (call, .noMemory) }
                let result = open(request, on: kernel)
                #expect(
                    result.hasPrefix("1 cannot ") || result.hasPrefix("network:"), "call \(call)")
                // What is left is dropped with the link.
                #expect(kernel.now.open.isEmpty, "call \(call)")
            }
        }
    }

    @Test("a link that goes takes its tap along")
    func closing() throws {
        let kernel = TapKernel()
        try kernel.play { () throws(LauncherError) in _ = try requests[0].open(beside: []) }
        #expect(kernel.now.open.isEmpty)
    }
}
