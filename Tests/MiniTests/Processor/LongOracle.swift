// Our side of the 64-bit oracle (Tests/Oracle/oracle64.c), and the comparison. `./build.sh oracle` builds it.

import Glibc

@testable import Mini

final class LongOracle {
    static let batchMaximum = 512
    private static let codeMaximum = 240
    private static let resultSize = 18 * 8 + 32 * 8 + 16 + 8 + LongPlace.dataSize

    private let process: OracleProcess

    /// Where it should be.
    static var path: String { Oracle.path + "64" }

    /// Why there is none; nil where it starts.
    static let missing: String? = {
        do {
            let data = [UInt8](repeating: 0, count: LongPlace.dataSize)
            _ = try LongOracle(path: path, image: data)
            return nil
        } catch {
            return "\(error)"
        }
    }()

    init(path: String, image: [UInt8]) throws {
        process = try OracleProcess(path: path, name: "oracle64")
        let hello = process.receive(8)
        guard hello.count == 8 else {
            throw OracleProcess.Unavailable(description: "the oracle does not start")
        }
        precondition(
            hello[4...].withUnsafeBytes { $0.loadUnaligned(as: UInt32.self) } == Self.resultSize)
        process.transmit(image)
    }

    /// The native endings; nil if the oracle died.
    func run(_ cases: [LongCase]) -> [LongEnding]? {
        var bytes: [UInt8] = []
        func append<Word: FixedWidthInteger>(_ word: Word) {
            withUnsafeBytes(of: word.littleEndian) { bytes.append(contentsOf: $0) }
        }
        append(UInt32(cases.count))
        for test in cases {
            test.registers.forEach(append)
            append(test.rip)
            append(test.flags)
            test.vectors.forEach(append)
            append(test.control)
            append(UInt32(test.code.count))
            bytes += test.code + [UInt8](repeating: 0, count: Self.codeMaximum - test.code.count)
        }
        process.transmit(bytes)
        var endings: [LongEnding] = []
        for _ in cases {
            let result = process.receive(Self.resultSize)
            guard result.count == Self.resultSize else { return nil }
            endings.append(Self.ending(result))
        }
        return endings
    }

    private static func ending(_ bytes: [UInt8]) -> LongEnding {
        bytes.withUnsafeBytes { raw in
            func wide(_ index: Int) -> UInt64 {
                raw.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self)
            }
            func word(_ offset: Int) -> UInt32 {
                raw.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
            }
            var ending = LongEnding()
            for index in 0..<16 { ending.registers[index] = wide(index) }
            ending.rip = wide(16)
            ending.flags = wide(17)
            for index in 0..<32 { ending.vectors[index] = wide(18 + index) }
            let rest = 50 * 8
            ending.control = word(rest)
            ending.trap = word(rest + 12) == UInt32(SIGVTALRM) ? nil : word(rest + 4)
            ending.error = UInt64(word(rest + 8))
            ending.address = wide(52)
            ending.data = Array(raw[(53 * 8)...])
            return ending
        }
    }
}

extension LongCase {
    /// The instruction that an ending stands at; nil behind the last, and elsewhere.
    func name(at rip: UInt64) -> String? {
        starts.firstIndex { self.rip &+ UInt64($0) == rip }.map { names[$0] }
    }
}

/// Whether the machine's own processor was still at an instruction that locks its operand when its time was up: across
/// two lines of the cache that takes some hypervisors longer than a case has.
func longWasHeldUp(_ test: LongCase, _ native: LongEnding) -> Bool {
    native.trap == nil
        && ["xchg", "xadd", "cmpxchg", "cmpxchg8b"].contains(test.name(at: native.rip) ?? "")
}

private func longIsProduct(_ test: LongCase, _ ending: LongEnding) -> Bool {
    ["product 40", "product 41"].contains(test.name(at: ending.rip) ?? "")
}

/// Whether one of the two was ended by a DPPS or DPPD while overflow or underflow was unmasked: which of its steps has one
/// depends on the order that a processor takes them in.
func longIsOpen(_ test: LongCase, _ ours: LongEnding, _ native: LongEnding) -> Bool {
    [ours, native].contains {
        $0.trap == 19 && $0.control & 0xC00 != 0xC00 && longIsProduct(test, $0)
    }
}

/// What is different, a line each.
func longDifferences(_ test: LongCase, _ ours: LongEnding, _ native: LongEnding) -> [String] {
    // One that does not end does so anywhere.
    if ours.trap == nil && native.trap == nil { return [] }
    var lines: [String] = []
    func hex(_ value: UInt64) -> String { String(value, radix: 16) }
    func compare(_ name: String, _ here: UInt64, _ there: UInt64) {
        if here != there { lines.append("\(name): here \(hex(here)), natively \(hex(there))") }
    }
    compare("trap", ours.trap.map { UInt64($0) } ?? 999, native.trap.map { UInt64($0) } ?? 999)
    compare("rip", ours.rip, native.rip)
    let names = [
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
        "r13",
        "r14", "r15",
    ]
    for index in 0..<16 { compare(names[index], ours.registers[index], native.registers[index]) }
    for index in 0..<32 {
        compare("xmm\(index / 2).\(index & 1)", ours.vectors[index], native.vectors[index])
    }
    // Of DPPS and DPPD that raise, processors tell what their steps up to that one have had.
    let product = ours.trap == 19 && native.trap == 19 && longIsProduct(test, native) ? 0x3F : 0
    compare(
        "mxcsr", UInt64(ours.control & ~UInt32(product)), UInt64(native.control & ~UInt32(product)))
    let undefined = ours.trap == 3 && native.trap == 3 ? test.undefined : test.everUndefined
    // DF and the arithmetic ones. CMPS and SCAS that fault in a later element leave the flags of the element before, those of
    // the first (Intel's), or others again (SCAS of AMD's family 25, now and then); and Intel's CMPS tries its operands in another order.
    let isInCompare =
        ours.trap == 14 && native.trap == 14
        && ["cmps", "scas"].contains(test.name(at: native.rip) ?? "")
    let mask = isInCompare ? 0 : UInt64(0xCD5 & ~undefined)
    compare("flags", ours.flags & mask, native.flags & mask)
    if native.trap == 14 && ours.trap == 14 {
        if !(isInCompare && HostProcessor.isIntels) { compare("cr2", ours.address, native.address) }
        // Whether a page is there: our ring 0 has the lowest ones, Linux says so of its half.
        compare("error", ours.error & 6, native.error & 6)
    }
    for index in ours.data.indices where ours.data[index] != native.data[index] {
        compare("data+\(hex(UInt64(index)))", UInt64(ours.data[index]), UInt64(native.data[index]))
        if lines.count > 12 { break }
    }
    return lines
}

func longDescription(_ test: LongCase) -> String {
    var text =
        "seed \(test.seed), rip \(String(test.rip, radix: 16)), flags \(String(test.flags, radix: 16))"
    text += ", mxcsr \(String(test.control, radix: 16))"
    for (index, value) in test.registers.enumerated() {
        text += " r\(index)=\(String(value, radix: 16))"
    }
    for (index, start) in test.starts.enumerated() {
        let end = index + 1 < test.starts.count ? test.starts[index + 1] : test.code.count
        let bytes = test.code[start..<end].map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
            .joined()
        text += "\n  \(String(test.rip + UInt64(start), radix: 16)): \(bytes)  \(test.names[index])"
    }
    return text
}
