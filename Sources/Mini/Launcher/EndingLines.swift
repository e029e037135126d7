// Finds the lines of a kernel's that tell its end: the one with which it says why, and the one with which it stops
// (KernelHalt.swift). Others say such lines as well, as who reads the log of another boot: so the words count where the
// kernel itself says them, at a line's start and behind its marks, and not for long; the second as long as nothing else is said.
// What a program says on a virtio console or on the screen looks like the kernel's own words: but whoever then asks for a restart
// has the kernel tell that, and no kernel tells it behind its panic.

struct EndingLines {
    private static let sign: StaticString = "Kernel panic - not syncing: "
    private static let halt: StaticString = "System halted."
    private static let restart: StaticString = "Restarting system"
    /// Of a line, as much as is worth keeping.
    private static let most = 512
    /// A kernel that ends says some sixty lines more, or, if it is asked to, all that it remembers.
    private static let mostBehind = 262_144
    private var line: [UInt8] = []
    private var isFromKernel = true
    private var behind = 0
    private(set) var reason: Text?
    private var isHaltLast = false

    /// The last of them is that it stops.
    var endWithHalt: Bool { isHaltLast && line.isEmpty }

    /// - Parameter isFromKernel: false if some of it may be a program's.
    mutating func look(at bytes: [UInt8], isFromKernel: Bool = true) {
        self.isFromKernel = isFromKernel && (self.isFromKernel || line.isEmpty)
        for byte in bytes {
            behind &+= 1
            guard byte == 0x0A || byte == 0x0D else {
                if line.count < Self.most { line.append(byte) }
                continue
            }
            if line.isEmpty { continue }
            if reason == nil, let start = start(of: Self.sign) {
                reason = Text(bytes: Array(line[start...]))
                behind = 0
            } else if reason != nil, start(of: Self.restart, isAnywhere: true) != nil {
                reason = nil
            }
            isHaltLast =
                start(of: Self.halt).map { $0 + Self.halt.utf8CodeUnitCount == line.count } ?? false
            line.removeAll(keepingCapacity: true)
            self.isFromKernel = isFromKernel
        }
        if behind > Self.mostBehind { reason = nil }
    }

    /// The kernel goes on, if only to wait.
    mutating func forgetPanic() { reason = nil }

    /// - Parameter isAnywhere: in a line whoever said that, and behind any words.
    private func start(of sign: StaticString, isAnywhere: Bool = false) -> Int? {
        let count = sign.utf8CodeUnitCount
        guard isFromKernel || isAnywhere, line.count >= count else { return nil }
        for start in 0...line.count - count {
            let isHere = (0..<count).allSatisfy {
                unsafe line[start + $0] == sign.utf8Start[$0]
            }
            if isHere && (isAnywhere || isMarked(start)) { return start }
        }
        return nil
    }

    /// Nothing is in front of it, or "[   12.345678] ", or "<0>".
    private func isMarked(_ start: Int) -> Bool {
        let mark = line[..<start].last { $0 != UInt8(ascii: " ") }
        return mark == nil || mark == UInt8(ascii: "]") || mark == UInt8(ascii: ">")
    }
}
