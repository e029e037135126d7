// Open files on their way to other programs: pairs of ends, numbers that a program expects, and files that go through a local
// socket. Sources: pipe(2), socketpair(2), fcntl(2), unix(7) (SCM_RIGHTS).

import CShim

enum PassedFiles {
    private static let closeOnExec = 0o2000000

    /// Two ends of a pipe, both closed for programs that are executed.
    static func pipe() throws(Errno) -> (reading: Int32, writing: Int32) {
        try pair { (address, flag) throws(Errno) in
            flag == 0
                ? try SystemCall.make(.pipe, address)
                : try SystemCall.make(.pipeWithFlags, address, flag)
        }
    }

    /// Two sockets that are connected with each other, closed for programs that are executed.
    static func socketPair() throws(Errno) -> (Int32, Int32) {
        try pair { (address, flag) throws(Errno) in
            try SocketCall.pair.make(SocketCall.local, SocketCall.stream | flag, 0, address)
        }
    }

    private static func pair(
        _ make: (Int, Int) throws(Errno) -> Int
    ) throws(Errno) -> (Int32, Int32) {
        var ends: (Int32, Int32) = (-1, -1)
        try closed { (flag) throws(Errno) in
            _ = try withKernel(&ends) { (address) throws(Errno) in try make(address, flag) }
            return [ends.0, ends.1]
        }
        return ends
    }

    /// Makes descriptors that are closed for programs that are executed. A kernel before 2.6.27 knows no flag for that: there
    /// each is marked by a call of its own, and nothing is executed in between.
    /// - Parameter make: gets the flag, or 0; gives the descriptors.
    static func closed(_ make: (Int) throws(Errno) -> [Int32]) throws(Errno) {
        do throws(Errno) { _ = try make(closeOnExec) } catch {
            guard error == .notImplemented || error == .invalid else { throw error }
            for number in try make(0) {
                // F_SETFD, FD_CLOEXEC
                _ = try? SystemCall.make(.fileControl, Int(number), 2, 1)
            }
        }
    }

    /// Gives an open file a number that no program expects, at or above this one.
    static func lift(_ descriptor: Int32, above number: Int32) throws(Errno) -> Int32 {
        var lifted: Int32 = -1
        try closed { (flag) throws(Errno) in
            // F_DUPFD_CLOEXEC, which 2.6.24 is the first to know, or F_DUPFD
            let request = flag == 0 ? 0 : 1030
            lifted = Int32(
                try SystemCall.make(.fileControl, Int(descriptor), request, Int(number)))
            return [lifted]
        }
        return lifted
    }

    /// Sends bytes, and open files with the first of them.
    /// - Returns: how many bytes were taken.
    static func send(
        _ socket: Int32, _ text: Text, with descriptors: [Int32]
    ) throws(Errno) -> Int {
        // struct cmsghdr: a length of the machine's word, SOL_SOCKET, SCM_RIGHTS; then the numbers.
        let word = MemoryLayout<Int>.size
        let head = word + 8
        let count = head + 4 * descriptors.count
        var control = [UInt8](repeating: 0, count: (count + word - 1) / word * word)
        func put(_ value: Int, at offset: Int, _ size: Int) {
            for index in 0..<size {
                control[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * index))
            }
        }
        put(count, at: 0, word)
        put(1, at: word, 4)
        put(1, at: word + 4, 4)
        for (index, descriptor) in descriptors.enumerated() {
            put(Int(descriptor), at: head + 4 * index, 4)
        }
        var result: Result<Int, Errno> = .failure(.invalid)
        unsafe text.bytes.withUnsafeBytes { bytes in
            var vector = IOVector(pieces: 1)
            unsafe vector.append(bytes)
            unsafe control.withUnsafeBytes { control in
                do throws(Errno) {
                    result = .success(
                        try vector.withKernel { (address, pieces) throws(Errno) in
                            var header = mini_msghdr()
                            header.vector = UInt(bitPattern: address)
                            header.vector_count = UInt(pieces)
                            if !descriptors.isEmpty {
                                header.control = UInt(bitPattern: control.baseAddress)
                                header.control_length = UInt(control.count)
                            }
                            return try withKernel(&header) { (place) throws(Errno) in
                                try SocketCall.send.make(
                                    Int(socket), place, SocketCall.withoutSignal)
                            }
                        })
                } catch { result = .failure(error) }
            }
        }
        return try result.get()
    }
}
