// Our side of the oracle (Tests/Oracle/oracle.c): a 32-bit process that runs cases on the
// machine's own processor. `./build.sh oracle` builds it; MINI_ORACLE says where it is.

import Glibc

final class Oracle {
    /// The longest sequence, in bytes, that a case can have.
    static let codeMaximum = 192
    /// The most cases in a batch.
    static let batchMaximum = 512
    private static let magic: UInt32 = 0x494E_494D
    private static let resultSize = 180
    private static let caseSize = 4 * 12 + codeMaximum

    private let process: OracleProcess
    /// Where the process has memory of its own: addresses that fault for us and not for it.
    private(set) var occupied: [Range<UInt64>] = []

    /// Where the oracle should be.
    static var path: String {
        if let path = getenv("MINI_ORACLE") { return String(cString: path) }
        return project("out/oracle").path
    }

    /// Why there is none; nil where it starts.
    static let missing: String? = {
        do {
            _ = try Oracle(image: DifferentialImage.make(seed: 1))
            return nil
        } catch {
            return "\(error)"
        }
    }()

    init(image: [UInt8]) throws {
        process = try OracleProcess(path: Self.path, name: "oracle")
        let hello = process.receive(16)
        guard hello.count == 16, word(hello, 0) == Self.magic else {
            throw OracleProcess.Unavailable(description: "this machine runs no 32-bit programs")
        }
        guard word(hello, 4) == 0x23, word(hello, 8) & 0xFFFF == 0x2B else {
            throw OracleProcess.Unavailable(
                description: "the host's selectors are not those of a 64-bit kernel")
        }
        precondition(word(hello, 12) == UInt32(Self.resultSize))
        process.transmit(image)
        readMap()
    }

    /// Sends cases; `finish` is to follow.
    func start(_ cases: [DifferentialCase]) {
        precondition(cases.count <= Self.batchMaximum)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(4 + cases.count * Self.caseSize)
        func append(_ word: UInt32) {
            withUnsafeBytes(of: word.littleEndian) { bytes.append(contentsOf: $0) }
        }
        append(UInt32(cases.count))
        for test in cases {
            test.registers.forEach(append)
            append(test.eip)
            append(test.eflags)
            append(UInt32(test.fs) | UInt32(test.gs) << 16)
            let code = test.code
            append(UInt32(code.count))
            bytes += code
            bytes.append(contentsOf: repeatElement(0, count: Self.codeMaximum - code.count))
        }
        process.transmit(bytes)
    }

    /// The endings of the cases sent last; nil if the oracle died.
    func finish(_ count: Int) -> [CaseEnding]? {
        var endings: [CaseEnding] = []
        endings.reserveCapacity(count)
        for _ in 0..<count {
            let fixed = process.receive(Self.resultSize)
            guard fixed.count == Self.resultSize else { return nil }
            var ending = CaseEnding()
            for index in 0..<8 { ending.registers[index] = word(fixed, 4 * index) }
            ending.eip = word(fixed, 32)
            ending.eflags = word(fixed, 36)
            for index in 0..<6 {
                ending.selectors[index] = UInt16(
                    truncatingIfNeeded: word(fixed, 40 + 2 * index))
            }
            let signal = word(fixed, 52)
            switch (signal, word(fixed, 56)) {
            case (UInt32(SIGVTALRM), _): ending.cut = .endless
            case (UInt32(SIGSYS), _): ending.cut = .systemCall
            case (_, 17): ending.cut = .splitLock
            case (_, let trap): ending.trap = trap
            }
            ending.error = word(fixed, 60)
            ending.address = word(fixed, 64)
            ending.x87 = Array(fixed[68..<176])
            let changes = process.receive(8 * Int(word(fixed, 176)))
            for at in stride(from: 0, to: changes.count, by: 8) {
                ending.changes.append(
                    CaseEnding.Change(index: word(changes, at), value: word(changes, at + 4)))
            }
            endings.append(ending)
        }
        return endings
    }

    private func word(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
        var word: UInt32 = 0
        for byte in 0..<min(4, bytes.count - offset) {
            word |= UInt32(bytes[offset + byte]) << UInt32(8 * byte)
        }
        return word
    }

    /// Looks up in /proc where the oracle has memory beside that of the cases.
    private func readMap() {
        guard let file = fopen("/proc/\(process.number)/maps", "r") else { return }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 512)
        while fgets(&line, Int32(line.count), file) != nil {
            let text = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init), as: UTF8.self)
            let bounds = text.prefix { $0 != " " }.split(separator: "-")
            guard bounds.count == 2, let low = UInt64(bounds[0], radix: 16),
                let high = UInt64(bounds[1], radix: 16)
            else { continue }
            let ours = CaseMemory.parts.contains {
                UInt64($0.0) <= low && low < UInt64($0.0 + $0.1)
            }
            if ours { continue }
            // The stack grows down to what touches it.
            let room: UInt64 = text.contains("[stack]") ? 9 << 20 : 64
            occupied.append(low &- room..<high)
        }
    }
}
