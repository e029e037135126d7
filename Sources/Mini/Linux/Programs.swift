// Other processes: replacing this one by a program.
// Sources: execve(2).

import CShim

extension Text {
    /// Hands the kernel this as a C string.
    func withCString(_ call: (Int) throws(Errno) -> Int) throws(Errno) -> Int {
        guard !bytes.contains(0) else { throw .noSuchFile }
        var name = bytes
        name.append(0)
        var result: Result<Int, Errno> = .failure(.invalid)
        unsafe name.withUnsafeBufferPointer { buffer in
            do throws(Errno) {
                result = .success(try call(Int(bitPattern: buffer.baseAddress)))
            } catch {
                result = .failure(error)
            }
        }
        return try result.get()
    }
}

/// NULL-terminated words with the array of their addresses, as execve takes them.
private struct WordVector {
    private var bytes: [UInt8] = []
    private var offsets: [Int] = []

    init(_ words: [Text]) {
        for word in words {
            offsets.append(bytes.count)
            bytes.append(contentsOf: word.bytes)
            bytes.append(0)
        }
    }

    func withAddress(_ call: (Int) throws(Errno) -> Int) throws(Errno) -> Int {
        var result: Result<Int, Errno> = .failure(.invalid)
        unsafe bytes.withUnsafeBufferPointer { buffer in
            let start = Int(bitPattern: buffer.baseAddress)
            let addresses = offsets.map { start + $0 } + [0]
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
    /// The words `NAME=VALUE` of the environment.
    static func environment() -> [Text] {
        var words: [Text] = []
        guard var entry = unsafe mini_environment() else { return words }
        while var byte = unsafe entry.pointee {
            var word = Text()
            while unsafe byte.pointee != 0 {
                word.append(UInt8(bitPattern: unsafe byte.pointee))
                unsafe byte += 1
            }
            words.append(word)
            unsafe entry += 1
        }
        return words
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
}
