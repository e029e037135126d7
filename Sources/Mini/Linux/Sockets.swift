// The calls on sockets.
// Source: socketcall(2), linux/net.h.

/// A call on sockets. On i386 all of them are one call with a number: direct ones came with 4.3.
struct SocketCall {
    /// x86_64's number.
    let direct: Int
    /// The number inside `socketcall`.
    let packed: Int

    static let socket = SocketCall(direct: 41, packed: 1)
    static let bind = SocketCall(direct: 49, packed: 2)
    static let connect = SocketCall(direct: 42, packed: 3)
    static let listen = SocketCall(direct: 50, packed: 4)
    static let accept = SocketCall(direct: 43, packed: 5)
    static let shutdown = SocketCall(direct: 48, packed: 13)

    /// Makes the call.
    /// - Throws: the kernel's errno, but begins again when a signal interrupted the call.
    @discardableResult
    func make(
        _ a1: Int, _ a2: Int = 0, _ a3: Int = 0, _ a4: Int = 0, _ a5: Int = 0
    ) throws(Errno) -> Int {
        while true {
            do throws(Errno) { return try once(a1, a2, a3, a4, a5) } catch {
                if error != .interrupted { throw error }
            }
        }
    }

    private func once(
        _ a1: Int, _ a2: Int, _ a3: Int, _ a4: Int, _ a5: Int
    ) throws(Errno) -> Int {
        #if arch(i386)
        var words = (a1, a2, a3, a4, a5)
        return try withKernel(&words) { (address) throws(Errno) in
            try SystemCall.make(SystemCall.Number(rawValue: 102), packed, address)
        }
        #else
        return try SystemCall.make(SystemCall.Number(rawValue: direct), a1, a2, a3, a4, a5)
        #endif
    }
}
