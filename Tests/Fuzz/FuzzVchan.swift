// A vchan's end on a page that another process writes to all the time, indices and orders first: whatever
// was there when we looked, what we take lies in the rings.

#if !hasFeature(Embedded)
@testable import Mini
#endif

enum FuzzVchan {
    nonisolated(unsafe) private static var page: UnsafeMutableRawPointer?
    nonisolated(unsafe) private static var rings: UnsafeMutableRawPointer?
    private static let most = 1 << 20

    static func make(_ random: inout FuzzRandom, _ input: FuzzInput) {
        // Orders, the indices, who is there, and what we do then.
        for _ in 0..<2 {
            input.append(random.once(in: 8) ? random.byte() : 10 + UInt8(random.below(11)))
        }
        // Consumed and produced of the left ring, then of the right one: as two honest ends would have them,
        // or not.
        for _ in 0..<2 {
            let consumed = random.hurtful()
            input.append(consumed)
            input.append(
                random.once(in: 8) ? random.hurtful() : consumed &+ UInt32(random.below(1025)))
        }
        input.append(random.byte())
        for _ in 0..<4 + random.below(24) { input.append(random.byte()) }
    }

    static func take(_ input: FuzzInput) {
        prepare()
        guard let page = unsafe page, let rings = unsafe rings else { return }
        var script = FuzzReader(input)
        let shared = unsafe SharedMemory(UnsafeMutableRawBufferPointer(start: page, count: 4096))
        let orders = (script.byte(), script.byte())
        for offset in [0, 4, 8, 12] { shared.store32(offset, script.word()) }
        shared.store16(16, UInt16(orders.0))
        shared.store16(18, UInt16(orders.1))
        shared.store8(21, 1)
        shared.store8(20, script.byte() & 3)
        guard let layout = VchanView.layout(of: shared) else { return }
        let references = VchanView.references(of: shared, layout)
        Fuzz.require(
            references.left.count == layout.left.pages
                && references.right.count == layout.right.pages,
            "not as many references as pages")
        let room = unsafe SharedMemory(UnsafeMutableRawBufferPointer(start: rings, count: 2 * most))
        let left = room[0..<max(layout.left.pages * 4096, 1)]
        let right = room[most..<most + max(layout.right.pages * 4096, 1)]
        guard
            var view = VchanView(
                clientOn: shared, left: layout.left.pages > 0 ? left : shared,
                right: layout.right.pages > 0 ? right : shared, layout)
        else { return }
        while !script.isAtEnd { step(&view, script.byte(), script.byte()) }
        view.leave()
    }

    private static func step(_ view: inout VchanView, _ what: UInt8, _ how: UInt8) {
        switch what & 7 {
        case 0, 1:
            guard let space = view.space else { return }
            Fuzz.require(space <= UInt32(view.ringSizes.sending), "more room than there is ring")
            let room = view.room(space)
            Fuzz.require(room.count == Int(space), "a run of another length")
            touch(room)
            _ = view.send(min(Int(how), Int(space)))
        case 2, 3:
            guard let ready = view.ready else { return }
            Fuzz.require(ready <= UInt32(view.ringSizes.receiving), "more came than there is ring")
            let part = view.arrived(ready).prefix(Int(how) * 16)
            touch(part)
            _ = view.consume(min(Int(how), Int(ready)))
        case 4: view.ask(for: how & 1 == 0 ? .written : .read)
        case 5: _ = (view.presence, view.isOtherFinished, view.willOtherFinish)
        case 6:
            Fuzz.require(
                view.untaken <= UInt32(view.ringSizes.sending), "more untaken than was sent")
        default: view.finish()
        }
    }

    /// The first and last byte of each part: memory of ours, or this ends here.
    private static func touch(_ run: SharedRun) {
        for part in [run.first, run.second] where part.count > 0 {
            part.store8(0, part.load8(part.count - 1))
        }
    }

    /// The page, the rings, and in the release's build the process that writes to them.
    private static func prepare() {
        guard unsafe page == nil else { return }
        guard let file = try? FileSystem.memoryFile("vchan"),
            (try? Transfer.write(
                file.number, Text(bytes: [UInt8](repeating: 0, count: 4096)))) != nil,
            let first = try? SystemCall.make(.map, 0, 4096, 3, 1, Int(file.number), 0),
            let second = try? SystemCall.make(.map, 0, 2 * most, 3, 0x22, -1, 0)
        else { return }
        unsafe page = UnsafeMutableRawPointer(bitPattern: first)
        unsafe rings = UnsafeMutableRawPointer(bitPattern: second)
        #if hasFeature(Embedded)
        let parent = Process.id
        do throws(Errno) { if try Process.fork() == nil { scribble(parent) } } catch {}
        #endif
    }

    #if hasFeature(Embedded)
    /// Writes for as long as whoever made this process lives.
    private static func scribble(_ parent: Int) -> Never {
        var random = FuzzRandom(seed: 99, number: UInt64(parent))
        let shared = unsafe SharedMemory(UnsafeMutableRawBufferPointer(start: page, count: 4096))
        // Its pipe tells the runner of its own end, not of ours.
        for number in 3..<64 { _ = try? SystemCall.make(.close, number) }
        var turns = 0
        while true {
            turns += 1
            // getppid: another one once the parent has ended.
            let number = SystemCall.Number(rawValue: parentNumber)
            if turns & 1023 == 0, (try? SystemCall.make(number)) != parent { Process.exit(0) }
            switch random.below(8) {
            case 0:
                shared.store16(16 + 2 * random.below(2), UInt16(truncatingIfNeeded: random.next()))
            case 1: shared.store8(20 + random.below(4), random.byte())
            case 2: shared.store32(4 * random.below(4), random.hurtful())
            case 3: shared.store32(24 + 4 * random.below(1000), random.word())
            default:
                let offset = 4 * random.below(4)
                shared.store32(offset, shared.load32(offset ^ 4) &+ UInt32(random.below(2048)))
            }
        }
    }

    private static var parentNumber: Int {
        #if arch(x86_64)
        110
        #else
        64
        #endif
    }
    #endif
}
