// A process of Tests/Oracle, which runs cases on the machine's own processor, and the socket that leads to it.

import Glibc

final class OracleProcess {
    struct Unavailable: Error, CustomStringConvertible { var description: String }

    /// 0 where none could be started: nothing comes from it then.
    let number: pid_t
    private let socket: Int32
    private var buffer = [UInt8](repeating: 0, count: 1 << 16)
    private var buffered = 0..<0

    init(path: String, name: String) throws {
        guard access(path, X_OK) == 0 else {
            throw Unavailable(description: "no oracle at \(path) (./build.sh oracle)")
        }
        // SOCK_CLOEXEC: not for the processes that other tests start at the same time.
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | 0o2000000, 0, &ends) == 0 else {
            throw Unavailable(description: "no socket")
        }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        defer { posix_spawn_file_actions_destroy(&actions) }
        var process: pid_t = 0
        let arguments = [strdup(name), nil]
        defer { free(arguments[0]) }
        let failure = posix_spawn(&process, path, &actions, nil, arguments, nil)
        close(ends[1])
        (number, socket) = (failure == 0 ? process : 0, ends[0])
    }

    deinit {
        close(socket)
        var status: Int32 = 0
        if number != 0 { waitpid(number, &status, 0) }
    }

    func transmit(_ bytes: [UInt8]) {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                // MSG_NOSIGNAL: an oracle that died is an error of read.
                send(socket, $0.baseAddress! + sent, bytes.count - sent, 0x4000)
            }
            if count < 0 && errno == EINTR { continue }
            if count <= 0 { return }
            sent += count
        }
    }

    /// Fewer bytes if it died.
    func receive(_ count: Int) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(count)
        while result.count < count {
            if buffered.isEmpty {
                let got = read(socket, &buffer, buffer.count)
                if got < 0 && errno == EINTR { continue }
                if got <= 0 { return result }
                buffered = 0..<got
            }
            let take = min(count - result.count, buffered.count)
            result += buffer[buffered.lowerBound..<buffered.lowerBound + take]
            buffered = buffered.lowerBound + take..<buffered.upperBound
        }
        return result
    }
}
