// Memory for the arrays and classes of the freestanding release, where no C library
// brings an allocator. Sizes are rounded up to powers of two, each with its own list of free
// blocks; large blocks are mappings of their own. The launcher allocates little and rarely:
// simple beats clever here. (Ordinary builds compile the heap for the tests alone.) On i386 half of
// all addresses are negative as an `Int`, and a block can lie across the middle: sums wrap.

private let smallest = 32
private let largest = 1 << 16
private let chunkSize = 1 << 17

/// Blocks of memory, given out and taken back.
struct Heap {
    /// The first free block of each size 32 << n, or 0.
    var free: (Int, Int, Int, Int, Int, Int, Int, Int, Int, Int, Int, Int) =
        (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    /// What is left of the pages that small blocks are cut from.
    var chunk = 0
    var chunkEnd = 0

    /// A 16-byte aligned block whose size (or mapped length) stands 16 bytes before it.
    mutating func allocate(_ size: Int) -> Int {
        var rounded = smallest
        var index = 0
        while rounded < size + 16 && rounded <= largest {
            rounded <<= 1
            index += 1
        }
        if rounded > largest {
            let length = Page.rounded(size + 16)
            let start = pages(length)
            guard start != 0 else { return 0 }
            unsafe word(start).pointee = length
            return start &+ 16
        }
        let first = self[index]
        if first != 0 {
            self[index] = unsafe word(first &+ 16).pointee
            return first &+ 16
        }
        if chunkEnd &- chunk < rounded {
            chunk = pages(chunkSize)
            chunkEnd = chunk == 0 ? 0 : chunk &+ chunkSize
            guard chunk != 0 else { return 0 }
        }
        let start = chunk
        chunk &+= rounded
        unsafe word(start).pointee = index
        return start &+ 16
    }

    mutating func release(_ block: Int) {
        let start = block &- 16
        let index = unsafe word(start).pointee
        if index >= 4096 {
            _ = try? SystemCall.make(.unmap, start, index)
            return
        }
        unsafe word(start &+ 16).pointee = self[index]
        self[index] = start
    }

    private subscript(index: Int) -> Int {
        mutating get {
            unsafe withUnsafeMutableBytes(of: &free) {
                unsafe $0.load(fromByteOffset: index * MemoryLayout<Int>.size, as: Int.self)
            }
        }
        set {
            unsafe withUnsafeMutableBytes(of: &free) {
                unsafe $0.storeBytes(
                    of: newValue, toByteOffset: index * MemoryLayout<Int>.size, as: Int.self)
            }
        }
    }
}

private func pages(_ size: Int) -> Int {
    // PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS
    (try? SystemCall.make(.map, 0, size, 3, 0x22, -1, 0)) ?? 0
}

private func word(_ address: Int) -> UnsafeMutablePointer<Int> {
    unsafe UnsafeMutablePointer(bitPattern: address).unsafelyUnwrapped
}

#if hasFeature(Embedded)

nonisolated(unsafe) private var heap = Heap()

/// For CShim's `posix_memalign`, with which the Swift runtime asks for memory.
/// - Returns: the block's address, or 0.
@c(mini_heap_allocate)
func heapAllocate(_ size: Int) -> Int {
    let address = unsafe heap.allocate(size)
    if address == 0 { tellOfEnd() }
    return address
}

/// The Swift runtime ends us then with an illegal instruction, which one could take for a processor that lacks one.
@inline(never)
private func tellOfEnd() {
    let line: StaticString = "mini: out of memory\n"
    _ = try? SystemCall.make(
        .write, 2, Int(bitPattern: unsafe line.utf8Start), line.utf8CodeUnitCount)
}

/// For CShim's `free`.
@c(mini_heap_release)
func heapRelease(_ address: Int) { unsafe heap.release(address) }

#endif
