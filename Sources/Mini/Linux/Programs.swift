// Other processes: making, waiting for, replacing by a program, ending.
// Sources: fork(2), execve(2), wait4(2), setsid(2), tty_ioctl(4), kill(2).

import CShim

/// A process's number.
struct ProcessID: RawRepresentable, Equatable {
    let rawValue: Int32
}

/// How a process ended. Source: wait(2).
enum ProcessEnd: Equatable {
    case exited(code: Int32)
    case killed(Signal)

    init(status: Int32) {
        let signal = status & 0x7F
        self = signal == 0 ? .exited(code: status >> 8 & 0xFF) : .killed(Signal(rawValue: signal))
    }

    var isSuccess: Bool { self == .exited(code: 0) }

    /// As a shell has it: 128 and the signal's number for one that was killed.
    var shellCode: UInt8 {
        switch self {
        case .exited(let code): UInt8(truncatingIfNeeded: code)
        case .killed(let signal): UInt8(truncatingIfNeeded: 128 + signal.rawValue)
        }
    }
}

/// NULL-terminated words with the array of their addresses, as execve takes them.
private struct WordVector {
    private var bytes: [UInt8] = []
    private var offsets: [Int] = []

    @inline(never)
    init(_ words: [Text]) {
        for word in words {
            offsets.append(bytes.count)
            bytes.append(contentsOf: word.bytes)
            bytes.append(0)
        }
    }

    @inline(never)
    func withAddress(_ call: (Int) throws(Errno) -> Int) throws(Errno) -> Int {
        var result: Result<Int, Errno> = .failure(.invalid)
        unsafe bytes.withUnsafeBufferPointer { buffer in
            let start = Int(bitPattern: buffer.baseAddress)
            let addresses = offsets.map { start &+ $0 } + [0]
            unsafe addresses.withUnsafeBufferPointer { vector in
                do throws(Errno) {
                    result = .success(try call(Int(bitPattern: vector.baseAddress)))
                } catch { result = .failure(error) }
            }
        }
        return try result.get()
    }
}

extension Process {
    /// This process's number, asked of the kernel each time: right in a child of a fork as well.
    static var id: Int { (try? SystemCall.make(.processID)) ?? 0 }

    /// Gives this process a name, which /proc shows as `comm`: at most 15 bytes.
    static func setName(_ name: StaticString) {
        // PR_SET_NAME
        _ = try? ("\(name)" as Text).withCString { (name) throws(Errno) in
            try SystemCall.make(.processControl, 15, name)
        }
    }

    /// The words `NAME=VALUE` of the environment.
    /// - Parameter variables: further ones, in place of those that have their names.
    static func environment(adding variables: [Text] = []) -> [Text] {
        var words: [Text] = []
        if var entry = unsafe mini_environment() {
            while var byte = unsafe entry.pointee {
                var word = Text()
                while unsafe byte.pointee != 0 {
                    word.append(UInt8(bitPattern: unsafe byte.pointee))
                    unsafe byte += 1
                }
                words.append(word)
                unsafe entry += 1
            }
        }
        for variable in unsafe given + variables {
            let name = nameOfVariable(variable)
            words.removeAll { nameOfVariable($0) == name }
            words.append(variable)
        }
        return words
    }

    /// Makes a copy of this process, which has one thread: the one that calls this.
    /// - Returns: the child's number; nil in the child.
    static func fork() throws(Errno) -> ProcessID? {
        let number = try SystemCall.make(.fork)
        return number == 0 ? nil : ProcessID(rawValue: Int32(number))
    }

    /// Replaces this process by a program. Returns only by throwing.
    /// - Parameter words: the program's arguments, its name first.
    static func execute(
        _ path: Text, _ words: [Text], environment: [Text]
    ) throws(Errno) {
        let words = WordVector(words)
        let environment = WordVector(environment)
        _ = try path.withCString { (path) throws(Errno) in
            try words.withAddress { (words) throws(Errno) in
                try environment.withAddress { (environment) throws(Errno) in
                    try SystemCall.make(.execute, path, words, environment)
                }
            }
        }
    }

    /// A child that has ended; nil if all go on.
    /// - Throws: ECHILD if there is none at all.
    static func endedChild() throws(Errno) -> (id: ProcessID, end: ProcessEnd)? {
        var status: Int32 = 0
        let number = try withKernel(&status) { (address) throws(Errno) in
            try SystemCall.retrying(.waitForChild, -1, address, 1, 0)  // WNOHANG
        }
        guard number > 0 else { return nil }
        return (ProcessID(rawValue: Int32(number)), ProcessEnd(status: status))
    }

    /// Sends a signal to every process but this one and the kernel's own: only for process 1.
    static func signalAll(_ signal: Signal) {
        _ = try? SystemCall.make(.kill, -1, Int(signal.rawValue))
    }

    /// Sends a signal.
    static func signal(_ id: ProcessID, _ signal: Signal) throws(Errno) {
        try SystemCall.make(.kill, Int(id.rawValue), Int(signal.rawValue))
    }

    /// Begins a session of its own, whose terminal becomes the one behind this descriptor, if it
    /// is a terminal and not that of another session.
    static func beginSession(terminal descriptor: Int32?) {
        _ = try? SystemCall.make(.newSession)
        // TIOCSCTTY
        if let descriptor { _ = try? SystemCall.make(.ioctl, Int(descriptor), 0x540E, 0) }
    }

    /// Makes a second number for an open file, in place of what that number stood for.
    static func duplicate(_ descriptor: Int32, as number: Int32) throws(Errno) {
        try SystemCall.retrying(.duplicate, Int(descriptor), Int(number))
    }
}
