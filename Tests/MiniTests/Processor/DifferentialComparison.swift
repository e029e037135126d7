// Compares what two machines made of a case: one of ours and the host's own, behind the oracle. Where they may differ, and
// why, is said here; a case that differs otherwise is shrunk to the instructions that make it.

import Foundation

@testable import Mini

/// A processor of ours in the situation of a 32-bit process under a 64-bit kernel.
protocol DifferentialMachine: AnyObject {
    /// Where Intel's processors do something in another way than the others: whether it does it in theirs.
    var hasIntelsWays: Bool { get }
    /// Runs a case from the image to its end, and puts the image back.
    func run(_ test: DifferentialCase) -> CaseEnding
    /// The image's bytes at a linear address, to show.
    func bytes(at linear: UInt32, count: Int) -> [UInt8]
}

/// What need not agree when an instruction of many memory accesses faults in their midst: each
/// processor model leaves something else behind. All of it is done again, and the same, once the
/// instruction is repeated.
private struct Tolerance {
    /// POPA: the registers it had already popped.
    private(set) var ignoresRegisters = false
    /// PUSHA, ENTER, far CALL: what it had already pushed, below the stack pointer, where nobody
    /// looks. x87 stores of 10 bytes: the part before the fault's.
    private var ignored: Range<UInt64> = 0..<0
    /// FNSAVE and its kin: which end of the operand is tried first. A mask.
    private(set) var address = UInt32.max
    /// IRET with NT set: to be a return to another task, which a processor under a 64-bit kernel
    /// refuses in another way than one under a 32-bit kernel.
    private(set) var ignoresTrap = false

    init(_ test: DifferentialCase, _ ours: CaseEnding) {
        let offset = Int(Int32(bitPattern: ours.eip &- test.eip))
        // Single-stepped between FNSAVE and what removes the pointers from its image.
        if ours.trap == 1, let next = test.offsets.firstIndex(where: { $0 > offset }), next > 0,
            offset > test.offsets[next - 1], test.steps[next - 1].name.hasPrefix("fn")
        {
            ignored = 0..<UInt64.max
        }
        if ours.trap == 10 { ignoresTrap = true }
        guard ours.trap.map({ (12...14).contains($0) }) == true,
            let index = test.offsets.firstIndex(of: offset), index < test.steps.count
        else { return }
        switch test.steps[index].name {
        case "popa": ignoresRegisters = true
        case "pusha", "enter", "call far", "call/jmp far":
            let top = UInt64(ours.registers[4])
            ignored = max(140, top) - 140..<max(140, top)
        case "fnsave", "fnstenv", "frstor", "fldenv": address = ~0xFFF
        case "x87 store":
            // Beyond a segment's limit: anywhere.
            let page = UInt64(ours.address & ~0xFFF)
            ignored = ours.trap == 14 ? max(12, page) - 12..<page + 12 : 0..<UInt64.max
        default: break
        }
    }

    func ignores(_ address: UInt32) -> Bool { ignored.contains(UInt64(address)) }
}

/// The processor that the tests run on.
enum HostProcessor {
    private static let description = try? String(
        contentsOfFile: "/proc/cpuinfo", encoding: .utf8)
    static let isIntels = description?.contains("GenuineIntel") ?? true
    private static let features = Set(
        description?.split(separator: "\n").first { $0.hasPrefix("flags") }?.split(separator: " ")
            ?? [])

    static func has(_ feature: HostFeature) -> Bool { features.contains(feature.rawValue[...]) }
}

/// Runs cases on both sides and tells the differences.
final class DifferentialComparison {
    private let oracle: Oracle
    private let machine: any DifferentialMachine
    private(set) var compared = 0
    private var hostMemory = 0
    private var endless = 0
    private var systemCalls = 0
    private var splitLocks = 0
    private var wild = 0
    private(set) var otherModel = 0
    private var traps = [Int](repeating: 0, count: 256)
    private var instructions = 0

    init(oracle: Oracle, machine: any DifferentialMachine) {
        self.oracle = oracle
        self.machine = machine
    }

    var summary: String {
        let vectors = traps.indices.filter { traps[$0] > 0 }
            .map { "\($0): \(traps[$0])" }.joined(separator: ", ")
        return """
            \(compared) sequences (\(instructions) instructions) compared, \
            ended by vector \(vectors); not compared: \(hostMemory) would touch the oracle's own \
            memory, \(splitLocks) lock across cache lines, \(systemCalls) call the host's kernel, \
            \(endless) have no end, \(wild) executed data; \(otherModel) as another processor model \
            has it
            """
    }

    /// The software processor's ending; nil if the case cannot be compared.
    func runHere(_ test: DifferentialCase) -> CaseEnding? {
        let ending = machine.run(test)
        if ending.trap == 14,
            oracle.occupied.contains(where: { $0.contains(UInt64(ending.address)) })
        {
            hostMemory += 1
            return nil
        }
        return ending
    }

    /// One line for each thing that is not as it should be; empty if all is well.
    func differences(_ test: DifferentialCase, _ ours: CaseEnding, _ native: CaseEnding) -> [String]
    {
        if isWild(test, native) {
            wild += 1
            return []
        }
        guard let nativeTrap = native.trap else {
            switch native.cut {
            case .splitLock: splitLocks += 1
            case .systemCall: systemCalls += 1
            case .endless: endless += 1
            }
            return []
        }
        compared += 1
        instructions += test.steps.count
        traps[Int(nativeTrap & 255)] += 1
        var lines: [String] = []
        func check(_ name: String, _ ours: UInt32, _ native: UInt32) {
            if ours == native { return }
            lines.append("\(name): here \(hex(ours)), natively \(hex(native))")
        }
        let tolerance = Tolerance(test, ours)
        if !tolerance.ignoresTrap { check("trap", ours.trap ?? 999, nativeTrap) }
        check("eip", ours.eip, native.eip)
        let names = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"]
        for index in 0..<8 where index == 4 || !tolerance.ignoresRegisters {
            check(names[index], ours.registers[index], native.registers[index])
        }
        let mask = test.comparedFlags(endingAt: native.eip)
        check("eflags", ours.eflags & mask, native.eflags & mask)
        for (index, name) in ["es", "cs", "ss", "ds", "fs", "gs"].enumerated() {
            check(name, UInt32(ours.selectors[index]), UInt32(native.selectors[index]))
        }
        if ours.trap == nativeTrap {
            if [10, 11, 12, 13].contains(nativeTrap) {
                check("error code", ours.error, native.error)
            }
            if nativeTrap == 14 {
                // A fetch is told apart by hosts with no-execute pages (bit 4), not by ours.
                check("error code", ours.error, native.error & ~0x10)
                check("cr2", ours.address & tolerance.address, native.address & tolerance.address)
            }
        }
        let mine = ours.changes.filter { !tolerance.ignores(address($0.index)) }
        let theirs = native.changes.filter { !tolerance.ignores(address($0.index)) }
        for change in mine where !theirs.contains(change) {
            lines.append("memory \(hex(address(change.index))): here \(hex(change.value))")
        }
        for change in theirs where !mine.contains(change) {
            lines.append("memory \(hex(address(change.index))): natively \(hex(change.value))")
        }
        if test.usesX87 { lines += differencesOfX87(ours.x87, native.x87) }
        if !lines.isEmpty {
            // Where neither is Intel's they may still be of different models.
            let isOfOthers =
                switch (machine.hasIntelsWays, HostProcessor.isIntels) {
                case (true, true): false
                case (_, false): isOfOtherModel(test, intel: ours, other: native, lines)
                case (false, true): isOfOtherModel(test, intel: native, other: ours, lines)
                }
            if isOfOthers {
                otherModel += 1
                return []
            }
        }
        return lines
    }

    /// True if all that differs is one of these: a 32-bit push of a segment register clears the upper
    /// half of its place (Intel's leave it); INT1 inside a virtual machine stops before itself, not
    /// behind; CMPS and SCAS that fault keep the flags of the element before, and try the other
    /// operand first; an operand across the end of the addresses is refused by the segment, not by
    /// the page; an x87 store looks at its place before its exceptions; SHLD and SHRD of 16 bits by more.
    private func isOfOtherModel(
        _ test: DifferentialCase, intel: CaseEnding, other: CaseEnding, _ lines: [String]
    ) -> Bool {
        if test.steps.contains(where: { Self.ownWays.contains($0.name) }) { return true }
        let isAcrossTheEnd = intel.trap == 14 && intel.eip == other.eip && intel.address &+ 16 < 32
        if isAcrossTheEnd, other.trap == 12 || other.trap == 13 { return true }
        let offset = Int(Int32(bitPattern: other.eip &- test.eip))
        guard let index = test.offsets.firstIndex(of: offset), index < test.steps.count else {
            return false
        }
        let name = test.steps[index].name
        if name == "int1" {
            return other.trap == 1 && intel.eip == other.eip &+ 1
                && lines.allSatisfy { $0.hasPrefix("eip:") }
        }
        if other.trap == 12 || other.trap == 13, intel.trap != other.trap { return true }
        // Of two reasons to fault, the page's comes first.
        let late = ["x87 store", "bound", "iret"].contains(name) || name.hasPrefix("retf")
        if late || name.hasSuffix("cmps"), other.trap == 14, intel.trap != 14 { return true }
        if name == "x87 store", other.trap.map({ (12...14).contains($0) }) == true,
            intel.eip != other.eip
        {
            return true
        }
        return (name.hasSuffix("cmps") || name.hasSuffix("scas"))
            && other.trap.map { (12...14).contains($0) } == true
            && lines.allSatisfy { $0.hasPrefix("eflags:") || $0.hasPrefix("cr2:") }
    }

    private static let ownWays = [
        "push es", "push cs", "push ss", "push ds", "push fs", "push gs", "shld/shrd",
    ]

    /// True if the case ended outside its own code, but for the fault of fetching from there: it
    /// has executed data, and with them whatever is never generated.
    private func isWild(_ test: DifferentialCase, _ native: CaseEnding) -> Bool {
        let offset = Int(Int32(bitPattern: native.eip &- test.eip))
        if offset >= 0 && offset <= test.offsets.last! + 1 { return false }
        return native.trap != 14 || native.address &- native.eip >= 16
    }

    private func differencesOfX87(_ ours: [UInt8], _ native: [UInt8]) -> [String] {
        var lines: [String] = []
        let fields =
            [("control", 0, 2), ("status", 4, 2), ("tags", 8, 2)]
            + (0..<8).map { ("st\($0)", 28 + 10 * $0, 10) }
        for (name, offset, count) in fields {
            let here = ours[offset..<offset + count]
            let there = native[offset..<offset + count]
            if here == there { continue }
            lines.append("x87 \(name): here \(hex(Array(here))), natively \(hex(Array(there)))")
        }
        return lines
    }

    /// Shrinks a case that differs, and tells all about it.
    func report(_ test: DifferentialCase) -> String {
        var smallest = test
        var lines = again(test) ?? []
        // Without the first two the x87's state would be anything.
        var index = test.usesX87 ? 2 : 0
        while index < smallest.steps.count {
            let candidate = smallest.removing(index)
            if candidate.isDetermined, let found = again(candidate), !found.isEmpty {
                smallest = candidate
                lines = found
                index = test.usesX87 ? 2 : 0
            } else {
                index += 1
            }
        }
        var text = "seed \(test.seed) differs:"
        let registers = zip(
            ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"], smallest.registers)
        text += "\n  " + registers.map { "\($0)=\(hex($1))" }.joined(separator: " ")
        text += " eip=\(hex(smallest.eip)) eflags=\(hex(smallest.eflags))"
        text += " fs=\(hex(UInt32(smallest.fs))) gs=\(hex(UInt32(smallest.gs)))"
        let code = smallest.code
        for (step, offset) in zip(smallest.steps, smallest.offsets) {
            let bytes = Array(code[offset..<offset + step.bytes.count])
            text += "\n  \(hex(smallest.eip + UInt32(offset))): \(hex(bytes))  \(step.name)"
        }
        for line in lines { text += "\n  -> \(line)" }
        let end = machine.run(smallest)
        text += "\n  ended at \(hex(end.eip)): \(hex(machine.bytes(at: end.eip, count: 12)))"
        text += " eflags=\(hex(end.eflags)) cr2=\(hex(end.address)) "
        text += end.registers.map(hex).joined(separator: " ")
        return text
    }

    private func again(_ test: DifferentialCase) -> [String]? {
        guard let ours = runHere(test) else { return nil }
        oracle.start([test])
        guard let native = oracle.finish(1) else { return nil }
        return differences(test, ours, native[0])
    }

    private func address(_ index: UInt32) -> UInt32 {
        var offset = index * 4
        for (start, size) in CaseMemory.parts {
            if offset < size { return start + offset }
            offset -= size
        }
        return 0
    }

    private func hex(_ value: UInt32) -> String { String(value, radix: 16) }
    private func hex(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
