import Synchronization
import Testing

@testable import Mini

@Suite struct PassedFilesTests {
    /// Whether a descriptor is closed for programs that are executed.
    private func isClosed(_ number: Int32) throws -> Bool {
        // F_GETFD, FD_CLOEXEC
        try SystemCall.make(.fileControl, Int(number), 1, 0) & 1 == 1
    }

    /// A kernel of before 2.6.24: no call and no request that takes the flag.
    private static func old(_ call: SystemCall) -> Int? {
        let second = call.arguments.1
        switch call.number {
        case .pipeWithFlags: return -38
        case .fileControl where second == 1030: return -22
        // socket and socketpair of x86_64
        case .init(rawValue: 41), .init(rawValue: 53):
            return second & 0o2000000 == 0 ? nil : -22
        default: return nil
        }
    }

    @Test(
        "pipes, pairs of sockets, lifted files and route sockets are closed for others, on kernels before 2.6.27 as well",
        arguments: [false, true])
    func closed(_ isOld: Bool) throws {
        let numbers = try SystemCall.hooked({ isOld ? Self.old($0) : nil }) {
            () throws -> [Int32] in
            let pipe = try PassedFiles.pipe()
            let pair = try PassedFiles.socketPair()
            let lifted = try PassedFiles.lift(pipe.reading, above: 300)
            #expect(lifted >= 300)
            let routes = try RouteSocket()
            #expect(try isClosed(routes.number))
            return [pipe.reading, pipe.writing, pair.0, pair.1, lifted]
        }
        for number in numbers {
            #expect(try isClosed(number))
            Descriptor.closeNumber(number)
        }
    }

    @Test("what fails for another reason fails, and is not tried again")
    func fails() {
        let calls = Mutex(0)
        #expect(throws: Errno(rawValue: 24)) {
            try SystemCall.hooked({ call in
                guard call.number == .pipeWithFlags else { return nil }
                calls.withLock { $0 += 1 }
                return -24
            }) { _ = try PassedFiles.pipe() }
        }
        #expect(calls.withLock { $0 } == 1)
    }
}
