// The cycles of Tests/xen/peers/grantbench.c on the grant client, built as the release is:
// grantbench DOMAIN REF,... (32 of them). Each line is a cycle's name and its nanoseconds, the
// least of twenty runs.

func measure(
    _ name: StaticString, _ cycles: UInt64, _ cycle: () throws(GrantError) -> Void
) throws(GrantError) {
    var least = UInt64.max
    for _ in 0..<20 {
        let start = Clock.monotonic()
        for _ in 0..<cycles { try cycle() }
        least = min(least, (Clock.monotonic() - start).count / cycles)
    }
    _ = Message.print("grantbench", "\(name) \(least)\n")
}

/// - Returns: what the touching read, so that it is not left out.
func map(_ grants: GrantList, _ device: GntDev) throws(GrantError) -> UInt8 {
    var read: UInt8 = 0
    let plan = MappingPlan(deadline: .after(.milliseconds(10000)))
    let mapping = try GrantMapping(grants, on: device, plan)
    for page in 0..<grants.pages.count {
        read ^= unsafe mapping.bytes[page * PageCount.pageSize]
    }
    try mapping.unmap()
    return read
}

func measureAll(_ one: GrantList, _ all: GrantList) throws(GrantError) {
    let device = try GntDev()
    var read: UInt8 = 0
    try measure("map1", 100) { () throws(GrantError) in read ^= try map(one, device) }
    try measure("map32", 50) { () throws(GrantError) in read ^= try map(all, device) }
    // Whole pages, as `mini-grant copy` has them: Xen copies each in one piece.
    let memory: Mapping
    do throws(Errno) { memory = try Mapping.anonymous(count: all.pages.bytes) } catch {
        throw .system("get memory", error)
    }
    let buffer = unsafe memory.bytes
    unsafe buffer.initializeMemory(as: UInt8.self, repeating: read)
    let page = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[..<PageCount.pageSize])
    try measure("copy1", 500) { () throws(GrantError) in
        try unsafe device.copy(.fromGrants, one, at: 0, page)
    }
    try measure("copy32", 100) { () throws(GrantError) in
        try unsafe device.copy(.fromGrants, all, at: 0, buffer)
    }
    // A copy that is fast because it does nothing would be no copy.
    let mapping = try GrantMapping(
        all, on: device, MappingPlan(deadline: .after(.milliseconds(10000))))
    guard unsafe buffer.elementsEqual(mapping.bytes) else { throw .use("the copy has other bytes") }
}

let words = Process.arguments()
guard words.count == 3, let domain = words[1].number.flatMap({ DomainID($0) }) else {
    Process.exit(ExitCode.wrongUse)
}
let references = words[2].bytes.split(separator: UInt8(ascii: ",")).compactMap {
    Text(bytes: Array($0)).number.flatMap { GrantReference($0) }
}
do throws(GrantError) {
    try measureAll(
        GrantList([references[0]], of: domain), GrantList(references, of: domain))
} catch {
    _ = Message.print("grantbench", "\(error.text)\n")
    Process.exit(error.exitCode)
}
Process.exit(ExitCode.success)
