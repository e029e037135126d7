// Finds the lines of a kernel's that tell its end: the one with which it says why, and the one with which it stops
// (KernelHalt.swift). Others say such lines as well, as who reads the log of another boot: so the words count where the
// kernel itself says them, at a line's start and behind its marks, and not for long; the second as long as nothing else is said.
// What a program says on a virtio console or on the screen looks like the kernel's own words: but whoever then asks for a restart
// has the kernel tell that, and no kernel tells it behind its panic.
//
// A kernel that stops, and lets interrupts in, comes back: if process 1 itself wanted that, it has gone then, and the kernel panics.

struct EndingLines {
    private static let sign: StaticString = "Kernel panic - not syncing: "
    /// Early kernels of 2.6, and those before, say it so.
    private static let oldSign: StaticString = "Kernel panic: "
    private static let initDied: StaticString = "Attempted to kill init!"
    private static let halt: StaticString = "System halted."
    /// Of one that is to power off, and does not know how; from 2.6.13 on it halts then.
    private static let powerDown: StaticString = "Power down."
    private static let restart: StaticString = "Restarting system"
    /// Of a line, as much as is worth keeping.
    private static let most = 512
    /// A kernel that ends says some sixty lines more, or, if it is asked to, all that it remembers.
    private static let mostBehind = 262_144
    private var line: [UInt8] = []
    private var isFromKernel = true
    private var behind = 0
    private(set) var reason: Text?
    /// `reason` is no more than that process 1 has gone, right after a line that it stops.
    private(set) var isStopped = false
    /// Nothing has been said behind such a line.
    private(set) var isHaltLast = false
    /// Nor has the kernel waited for anything since.
    private var isHaltNew = false
    /// It may have the lines of kernels before 2.6.13.
    private let isOld: Bool

    /// - Parameter version: the kernel's, if it tells.
    init(of version: LinuxVersion? = nil) {
        isOld = version.map { !$0.isAtLeast(2, 6, 13) } ?? false
    }

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
            if reason == nil,
                let start = start(of: Self.sign) ?? (isOld ? start(of: Self.oldSign) : nil)
            {
                reason = Text(bytes: Array(line[start...]))
                isStopped = isHaltNew && ends(with: Self.initDied, isAnywhere: true)
                behind = 0
            } else if reason != nil, start(of: Self.restart, isAnywhere: true) != nil {
                reason = nil
            }
            isHaltLast = ends(with: Self.halt) || isOld && ends(with: Self.powerDown)
            isHaltNew = isHaltLast
            line.removeAll(keepingCapacity: true)
            self.isFromKernel = isFromKernel
        }
        if behind > Self.mostBehind { reason = nil }
    }

    /// The kernel goes on, if only to wait.
    mutating func forgetPanic() {
        reason = nil
        isHaltNew = false
    }

    /// It is a panic like any other.
    mutating func forgetStop() { isStopped = false }

    /// The line ends with that.
    private func ends(with sign: StaticString, isAnywhere: Bool = false) -> Bool {
        start(of: sign, isAnywhere: isAnywhere).map { $0 + sign.utf8CodeUnitCount == line.count }
            ?? false
    }

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
