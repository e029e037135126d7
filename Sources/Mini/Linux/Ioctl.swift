// Requests to devices that are neither reading nor writing: ioctl. A request goes down as a
// structure, or as the 32-bit words of one whose length varies, and the answer comes back in
// the same place. Source: ioctl(2), asm-generic/ioctl.h.

/// A device's request number, of a device that tells no direction: size, group, number.
struct IoctlRequest: Equatable {
    let rawValue: Int

    /// - Parameters:
    ///   - group: the letter that the device has for itself.
    ///   - structure: what goes down, with one element where it ends in an array.
    init<Structure>(group: UInt8, number: Int, _ structure: Structure.Type) {
        rawValue = MemoryLayout<Structure>.size << 16 | Int(group) << 8 | number
    }

    /// A request whose number tells more than these.
    init(number: UInt32) { rawValue = Int(truncatingIfNeeded: number) }

    /// A request without a structure.
    init(group: UInt8, number: Int) { rawValue = Int(group) << 8 | number }
}

enum Ioctl {
    /// Lets a program that is executed in this process have the descriptor: FIONCLEX.
    static func handOver(_ descriptor: Int32) throws(Errno) {
        try SystemCall.retrying(.ioctl, Int(descriptor), 0x5450)
    }

    /// Makes a request whose argument is a number, or the address of what the caller knows.
    /// - Returns: the device's answer. A signal ends the call: EINTR.
    @discardableResult
    static func call(
        _ descriptor: Int32, _ request: IoctlRequest, argument: Int = 0
    ) throws(Errno) -> Int {
        try SystemCall.make(.ioctl, Int(descriptor), request.rawValue, argument)
    }

    /// Makes a request with a structure of fixed length.
    /// - Returns: the device's answer, beside what it left in the structure.
    @discardableResult
    static func call<Structure>(
        _ descriptor: Int32, _ request: IoctlRequest, _ structure: inout Structure
    ) throws(Errno) -> Int {
        try withKernel(&structure) { (address) throws(Errno) in
            try SystemCall.retrying(.ioctl, Int(descriptor), request.rawValue, address)
        }
    }

    /// Makes a request whose structure is so many 32-bit words.
    /// - Returns: the device's answer, beside what it left in the words.
    @discardableResult
    static func call(
        _ descriptor: Int32, _ request: IoctlRequest, words: inout [UInt32]
    ) throws(Errno) -> Int {
        var result: Result<Int, Errno> = .failure(.invalid)
        unsafe words.withUnsafeMutableBytes { buffer in
            let address = Int(bitPattern: buffer.baseAddress)
            do throws(Errno) {
                result = .success(
                    try SystemCall.retrying(
                        .ioctl, Int(descriptor), request.rawValue, address))
            } catch { result = .failure(error) }
        }
        return try result.get()
    }
}
