// What a differential test's machine has of its cases in guest memory, whatever processor runs them: the image, the code of
// one case in it, what a run has changed; and the descriptors that cases refer to.

@testable import Mini

struct CaseImage {
    private let memory: GuestMemory
    /// Guest-physical address of the image.
    private let address: UInt32
    private var image: [UInt8]

    /// The GDT of Linux for x86_64, as far as cases refer to it, and the three segments that the oracle asks for.
    static let descriptors: [(index: Int, value: UInt64)] = [
        (1, 0x00CF_9B00_0000_FFFF), (2, 0x00AF_9B00_0000_FFFF), (3, 0x00CF_9300_0000_FFFF),
        (4, 0x00CF_FB00_0000_FFFF), (5, 0x00CF_F300_0000_FFFF), (6, 0x00AF_FB00_0000_FFFF),
        (12, 0x1050_F300_0100_07FF), (13, 0x1050_F700_0100_07FF), (14, 0x1050_F100_1000_0FFF),
    ]

    init(_ image: [UInt8], in memory: GuestMemory, at address: UInt32) {
        self.memory = memory
        self.address = address
        self.image = image
        write(0, image[...])
    }

    /// Calls for each page of the image: its linear address, the entry of a page table for it.
    func eachPage(_ map: (_ linear: UInt32, _ entry: UInt32) -> Void) {
        var physical = address
        for (start, size) in CaseMemory.parts {
            for page in stride(from: start, to: start + size, by: 4096) {
                let isReadOnly = page == CaseMemory.data + CaseMemory.dataWritable
                map(page, physical | (isReadOnly ? 5 : 7))
                physical += 4096
            }
        }
    }

    private func write(_ offset: Int, _ bytes: ArraySlice<UInt8>) {
        let range = memory.range(address + UInt32(offset), UInt32(bytes.count))!
        memory.writable(range).copyBytes(from: bytes)
    }

    /// The image's bytes at a linear address, to show.
    func bytes(at linear: UInt32, count: Int) -> [UInt8] {
        var offset = 0
        for (start, size) in CaseMemory.parts {
            if linear >= start && linear < start + size {
                let first = offset + Int(linear - start)
                return Array(image[first..<min(first + count, image.count)])
            }
            offset += Int(size)
        }
        return []
    }

    mutating func place(_ code: [UInt8], at eip: UInt32) {
        let offset = Int(CaseMemory.dataSize + CaseMemory.stackSize + (eip - CaseMemory.code))
        image.replaceSubrange(offset..<offset + code.count, with: code)
        write(offset, code[...])
    }

    mutating func remove(_ count: Int, at eip: UInt32) {
        place([UInt8](repeating: 0xCC, count: count), at: eip)
    }

    /// What an FNSAVE stores now, which `run` is to execute, to the INT3 behind it. Memory is as in the image before and after.
    mutating func x87(_ run: (_ eip: UInt32) -> Void) -> [UInt8] {
        let at = CaseMemory.code + 0x800
        place([0xDD, 0x35, 0, 0, 0, UInt8(CaseMemory.data >> 24), 0xCC], at: at)
        run(at)
        let stored = Array(memory.readable(memory.range(address, 108)!))
        write(0, image[0..<108])
        remove(7, at: at)
        return stored
    }

    /// The words that are not as in the image any longer, which are put back.
    func collectChanges() -> [CaseEnding.Change] {
        var changes: [CaseEnding.Change] = []
        let live = memory.base + Int(address)
        image.withUnsafeBytes { image in
            for offset in stride(from: 0, to: image.count, by: 8)
            where live.load(fromByteOffset: offset, as: UInt64.self)
                != image.load(fromByteOffset: offset, as: UInt64.self)
            {
                for at in [offset, offset + 4] {
                    let value = live.load(fromByteOffset: at, as: UInt32.self)
                    let original = image.load(fromByteOffset: at, as: UInt32.self)
                    if value == original { continue }
                    changes.append(CaseEnding.Change(index: UInt32(at / 4), value: value))
                    memory.store32(address + UInt32(at), original)
                }
            }
        }
        return changes
    }
}
