// Runs cases in a child, whose end does not end the run: a case that was its last is kept as a file and
// the next child goes on behind it. The case's bytes are in memory that both share, so nothing has to be
// written before each one.

#if !hasFeature(Embedded)
@testable import Mini
#endif

/// What was asked for.
struct FuzzPlan {
    var seed: UInt64 = 1
    /// Number of the first case.
    var first: UInt64 = 0
    var count = UInt64.max
    var seconds: UInt64?
    /// Where cases are kept that ended their child.
    var crashes: Text = "."
    /// A case that takes longer than this hangs: long, as others may have the processors meanwhile.
    static let patience = Nanoseconds.milliseconds(120_000)
    /// After so many, something is wrong with all of them.
    static let mostCrashes = 20
}

struct FuzzRunner: ~Copyable {
    private let target: FuzzTarget
    private let plan: FuzzPlan
    private let shared: Mapping
    private(set) var crashes = 0
    private(set) var hangs = 0
    /// Cases that were begun.
    private var cases: UInt64 = 0

    /// The number of the next case, and in front of the input.
    private static let header = 64

    init(_ target: FuzzTarget, _ plan: FuzzPlan) throws(Errno) {
        self.target = target
        self.plan = plan
        let size = Self.header + 16 + FuzzInput.room
        let file = try FileSystem.memoryFile("fuzz")
        try Transfer.write(file.number, Text(bytes: [UInt8](repeating: 0, count: size)))
        shared = try Mapping.shared(file.number, offset: 0, count: size, isWritable: true)
    }

    private var input: FuzzInput { unsafe FuzzInput(shared.start + Self.header) }
    private var next: UInt64 {
        get { unsafe shared.start.load(as: UInt64.self) }
        nonmutating set { unsafe shared.start.storeBytes(of: newValue, as: UInt64.self) }
    }

    /// - Returns: the exit code.
    mutating func run() throws(Errno) -> Int32 {
        let start = Clock.monotonic()
        let end = plan.seconds.map { start + .milliseconds($0 * 1000) }
        let (last, isFar) = plan.first.addingReportingOverflow(plan.count)
        next = plan.first
        while next < (isFar ? .max : last), crashes + hangs < FuzzPlan.mostCrashes {
            if let end, Clock.monotonic() >= end { break }
            try runChild(until: isFar ? .max : last, end)
        }
        cases = next - plan.first
        let time = max(1, (Clock.monotonic() - start).count / 1_000_000)
        try Transfer.write(
            1,
            """
            fuzz \(target.name) (\(Self.architecture), seed \(plan.seed)): \(cases) cases, \(crashes) crashes, \
            \(hangs) hangs, \(time / 1000) s, \(cases * 1000 / time) a second

            """)
        return crashes + hangs == 0 ? 0 : 1
    }

    private static var architecture: StaticString {
        #if arch(x86_64)
        "x86_64"
        #else
        "i386"
        #endif
    }

    /// One child, from the next case to its end.
    private mutating func runChild(until last: UInt64, _ end: Nanoseconds?) throws(Errno) {
        let (reader, writer) = try pipe()
        guard let child = try Process.fork() else { runCases(until: last, end) }
        _ = try? SystemCall.make(.close, Int(writer))
        defer { _ = try? SystemCall.make(.close, Int(reader)) }
        var isHung = false
        while true {
            let before = next
            // It can be read when the child, the only one who has the other end, has ended.
            if try Poll.wait([Poll.Interest(reader)], timeout: FuzzPlan.patience)[0] { break }
            if next == before {
                isHung = true
                try Process.signal(child, .kill)
            }
        }
        var ended: ProcessEnd?
        while ended == nil { ended = try Process.endedChild()?.end }
        if ended == .exited(code: 0) { return }
        if isHung { hangs += 1 } else { crashes += 1 }
        try keep(next - 1, isHung ? "hang" : "crash", ended ?? .exited(code: 0))
    }

    private func runCases(until last: UInt64, _ end: Nanoseconds?) -> Never {
        var number = next
        while number < last {
            if let end, number & 63 == 0, Clock.monotonic() >= end { break }
            var random = FuzzRandom(seed: plan.seed, number: number)
            input.count = 0
            target.make(&random, input)
            number += 1
            next = number
            target.take(input)
        }
        Process.exit(0)
    }

    private func keep(_ number: UInt64, _ kind: StaticString, _ end: ProcessEnd) throws(Errno) {
        let name: Text = "\(plan.crashes)/\(target.name)-\(kind)-\(plan.seed)-\(number)"
        let how: Text =
            switch end {
            case .exited(let code): "code \(code)"
            case .killed(let signal): "signal \(signal.rawValue)"
            }
        try Transfer.write(2, "fuzz: \(target.name) case \(number): \(how), kept as \(name)\n")
        let file = try Descriptor.open(name, .create)
        try unsafe Transfer.writeAll(file.number, input.bytes)
    }

    /// Takes the case that a file holds, in this process.
    func replay(_ name: Text) throws(Errno) {
        let file = try Descriptor.open(name, .readOnly)
        var count = 0
        while count < FuzzInput.room {
            let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: input.memory[count...])
            let more = try unsafe Transfer.read(file.number, into: rest)
            if more == 0 { break }
            count += more
        }
        input.count = count
        target.take(input)
    }

    private func pipe() throws(Errno) -> (Int32, Int32) {
        var ends: (Int32, Int32) = (0, 0)
        try withKernel(&ends) { (address) throws(Errno) -> Void in
            try SystemCall.make(.pipe, address)
        }
        return ends
    }
}
