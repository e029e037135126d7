// What is fuzzed: one line for each target. A target makes a case out of chance, and takes the bytes of
// one. Whatever these are, it must come back in a short time, and nothing may have been done that it
// does not allow: that it says with `Fuzz.require`.

#if !hasFeature(Embedded)
@testable import Mini
#endif

struct FuzzTarget {
    let name: StaticString
    let meaning: StaticString
    /// How many cases the normal test run makes of it, on each architecture.
    let usual: Int
    /// Makes a case. The input is empty.
    let make: (inout FuzzRandom, FuzzInput) -> Void
    /// Takes it.
    let take: (FuzzInput) -> Void

    /// Not one of those that are fuzzed: some of its cases end their process, so that the runner can be tried.
    static var trap: FuzzTarget {
        FuzzTarget(
            name: "trap", meaning: "some cases end their process", usual: 2000,
            make: { (random, input) in input.append(random.byte()) },
            take: { Fuzz.require($0[0] != 7, "this one was to end it") })
    }

    static var all: [FuzzTarget] {
        #if arch(x86_64)
        // Its processor is in no other build.
        common + [
            FuzzTarget(
                name: "longs", meaning: "64-bit kernels on the processor", usual: 50_000,
                make: FuzzLongs.make, take: FuzzLongs.take)
        ]
        #else
        common
        #endif
    }

    /// Of what takes minutes the i386 build, the same code, takes a fourth.
    private static let share = MemoryLayout<UInt>.size == 8 ? 1 : 4

    private static var common: [FuzzTarget] {
        [
            FuzzTarget(
                name: "images", meaning: "kernels, and what is taken for one", usual: 20_000,
                make: FuzzImages.make, take: FuzzImages.take),
            FuzzTarget(
                name: "packed", meaning: "packed data, and kernels of today", usual: 50_000,
                make: FuzzPacked.make, take: FuzzPacked.take),
            FuzzTarget(
                name: "tables", meaning: "boot tables, as files and on a command line",
                usual: 20_000, make: FuzzWords.makeTable, take: FuzzWords.takeTable),
            FuzzTarget(
                name: "options", meaning: "command lines of all applets", usual: 5_000,
                make: FuzzWords.makeOptions, take: FuzzWords.takeOptions),
            FuzzTarget(
                name: "store", meaning: "a hostile store, and what is asked of it", usual: 20_000,
                make: FuzzStore.make, take: FuzzStore.take),
            FuzzTarget(
                name: "answers", meaning: "kernel, files and children that answer", usual: 20_000,
                make: FuzzAnswers.make, take: FuzzAnswers.take),
            FuzzTarget(
                name: "disks", meaning: "root folders of FATs, and tables of partitions",
                usual: 50_000, make: FuzzDisks.make, take: FuzzDisks.take),
            FuzzTarget(
                name: "vchan", meaning: "an end of a vchan on a page that changes", usual: 50_000,
                make: FuzzVchan.make, take: FuzzVchan.take),
            FuzzTarget(
                name: "peers", meaning: "a hostile member of a shared network", usual: 20_000,
                make: FuzzPeers.make, take: FuzzPeers.take),
            FuzzTarget(
                name: "guests", meaning: "guests on the built-in host", usual: 50_000,
                make: FuzzGuests.make, take: FuzzGuests.take),
            FuzzTarget(
                name: "virtqueues", meaning: "a driver that lies in its queue", usual: 1_000_000,
                make: FuzzVirtio.makeQueue, take: FuzzVirtio.takeQueue),
            FuzzTarget(
                name: "virtio", meaning: "virtio devices, and a guest that writes everywhere",
                usual: 50_000, make: FuzzVirtio.makeDevice, take: FuzzVirtio.takeDevice),
            FuzzTarget(
                name: "screens", meaning: "a guest with a screen and a keyboard", usual: 20_000,
                make: FuzzScreens.make, take: FuzzScreens.take),
            FuzzTarget(
                name: "lguestvirtio", meaning: "lguest's virtio: descriptors, rings, its PCI bus",
                usual: 1_000_000 / share, make: FuzzLguestVirtio.make, take: FuzzLguestVirtio.take),
            FuzzTarget(
                name: "systems", meaning: "kernels with ring 0 on the processor", usual: 50_000,
                make: FuzzSystems.make, take: FuzzSystems.take),
        ]
    }
}

enum Fuzz {
    /// Ends the run of a case, which is kept then, with a word on what is wrong.
    static func require(_ condition: Bool, _ what: StaticString) {
        if condition { return }
        try? Transfer.write(2, "fuzz: \(what)\n")
        #if hasFeature(Embedded)
        Process.exit(70)
        #else
        fatalError("\(what)")
        #endif
    }

    /// Lets a function answer the system calls of `body`, or leave them to the kernel by nil.
    static func playing(
        _ player: @escaping @Sendable (SystemCall) -> Int?, _ body: () -> Void
    ) {
        #if hasFeature(Embedded)
        unsafe SystemCall.player = player
        body()
        unsafe SystemCall.player = nil
        #else
        SystemCall.hooked(player, body)
        #endif
    }
}
