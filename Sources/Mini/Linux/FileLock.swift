// Locks on bytes of a file, which belong to a process: the kernel gives them back when the
// process ends, or when it closes the file for the first time. The kernel tells which process holds one.
// Source: fcntl(2), asm-generic/fcntl.h.

import CShim

/// Locks on single bytes, by number from the file's start.
enum FileLock {
    static let ask = 5  // F_GETLK
    private static let set = 6  // F_SETLK
    private static let forWriting: Int16 = 1  // F_WRLCK
    private static let none: Int16 = 2  // F_UNLCK

    /// Takes one byte for this process alone.
    /// - Parameter descriptor: open for writing.
    /// - Returns: false if another process has it.
    static func take(_ byte: Int, of descriptor: Int32) throws(Errno) -> Bool {
        var lock = Self.lock(byte)
        do throws(Errno) {
            _ = try withKernel(&lock) { (address) throws(Errno) in
                try SystemCall.make(.fileControl, Int(descriptor), set, address)
            }
        } catch {
            if error == .again || error == .accessDenied { return false }
            throw error
        }
        return true
    }

    /// Gives a byte back; does nothing if it was not ours.
    static func giveBack(_ byte: Int, of descriptor: Int32) {
        var lock = Self.lock(byte)
        lock.type = none
        _ = try? withKernel(&lock) { (address) throws(Errno) in
            try SystemCall.make(.fileControl, Int(descriptor), set, address)
        }
    }

    /// The other process that holds a lock on a byte.
    /// - Returns: nil if there is none; 0 for a process of another namespace.
    static func holder(_ byte: Int, of descriptor: Int32) throws(Errno) -> Int32? {
        var lock = Self.lock(byte)
        _ = try withKernel(&lock) { (address) throws(Errno) in
            try SystemCall.make(.fileControl, Int(descriptor), ask, address)
        }
        return lock.type == none ? nil : lock.process
    }

    private static func lock(_ byte: Int) -> mini_flock {
        var lock = mini_flock()
        lock.type = forWriting
        lock.start = byte
        lock.length = 1
        return lock
    }
}
