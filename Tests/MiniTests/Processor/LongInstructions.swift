// Instructions that tests of the 64-bit processor need again and again, and a program of some.

@testable import Mini

protocol LongInstructions {}

extension LongInstructions {
    /// mov rax, value
    func rax(_ value: UInt64) -> [UInt8] { [0x48, 0xB8] + bytes(value) }
    func rcx(_ value: UInt64) -> [UInt8] { [0x48, 0xB9] + bytes(value) }
    func rdx(_ value: UInt64) -> [UInt8] { [0x48, 0xBA] + bytes(value) }
    func bytes(_ value: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) }
    }
    /// WRMSR
    func set(_ register: UInt64, _ value: UInt64) -> [UInt8] {
        rcx(register) + rax(value & 0xFFFF_FFFF) + rdx(value >> 32) + [0x0F, 0x30]
    }
    var userCode: UInt64 { LongPlace.code + 0x800 }

    /// The data of a program, and a program that begins with them.
    var image: [UInt8] { [UInt8](repeating: 0, count: LongPlace.dataSize) }
    func program(_ code: [UInt8]) -> LongCase {
        LongCase(
            registers: [UInt64](repeating: LongPlace.data, count: 16),
            vectors: [UInt64](repeating: 0, count: 32), control: 0x1F80, rip: LongPlace.code,
            flags: 0x202, code: code)
    }
}
