// The model's gntalloc: docs/abi/xen-grants.md §5 and §10. What is granted to this domain itself can
// be mapped through the model's gntdev.

import CShim

@testable import Mini

extension FakeXen {
    struct LentPage {
        var file: Int
        /// Its place in the file, in pages.
        var index: Int
        var page: Int
        var reference: UInt32
        var domain: UInt32
        var isListed = true
        /// Mappings by its owner.
        var users = 0
        var notification: (byte: Int, action: UInt32, port: UInt32)?
    }
}

extension FakeXen.State {
    /// The module's limit, for all files together.
    private static let mostLent = 1024

    mutating func gntalloc(
        _ file: Int, _ request: Int, _ address: Int, _ memory: MachineMemory
    ) -> Int {
        guard let argument = UnsafeMutableRawPointer(bitPattern: address) else { return -14 }
        switch request {
        case 0x184705: return lend(file, argument, memory)
        case 0x104706: return takeBack(file, argument, memory)
        case 0x104707: return notifyOfLent(file, argument)
        default: return -25
        }
    }

    private mutating func lend(
        _ file: Int, _ argument: UnsafeMutableRawPointer, _ memory: MachineMemory
    ) -> Int {
        let domain = UInt32(argument.load(as: UInt16.self))
        let isWritable = argument.load(fromByteOffset: 2, as: UInt16.self) & 1 != 0
        let count = Int(argument.load(fromByteOffset: 4, as: UInt32.self))
        guard lent.count + count <= Self.mostLent else { return -28 }
        let first = lentCount[file] ?? 0
        for index in 0..<count {
            memory[nextPage].initializeMemory(as: UInt8.self, repeating: 0)
            lent[nextPage] = FakeXen.LentPage(
                file: file, index: first + index, page: nextPage, reference: nextReference,
                domain: domain)
            grants[key(ownDomain, nextReference)] = FakeXen.Grant(
                page: nextPage, isReadOnly: !isWritable, isOurs: domain == ownDomain)
            argument.storeBytes(of: nextReference, toByteOffset: 16 + 4 * index, as: UInt32.self)
            nextPage += 1
            nextReference += referenceStep
        }
        lentCount[file] = first + count
        argument.storeBytes(of: UInt64(first) * 4096, toByteOffset: 8, as: UInt64.self)
        return 0
    }

    /// The pages of a file in a run; nil unless all are there.
    private func run(_ file: Int, _ first: Int, _ count: Int) -> [Int]? {
        var found: [Int] = []
        for index in first..<first + count {
            guard
                let (id, _) = lent.first(where: {
                    $0.value.file == file && $0.value.isListed && $0.value.index == index
                })
            else { return nil }
            found.append(id)
        }
        return found
    }

    private mutating func takeBack(
        _ file: Int, _ argument: UnsafeMutableRawPointer, _ memory: MachineMemory
    ) -> Int {
        let first = Int(argument.load(as: UInt64.self) / 4096)
        let count = Int(argument.load(fromByteOffset: 8, as: UInt32.self))
        guard let pages = run(file, first, count) else { return -22 }
        for id in pages {
            lent[id]!.isListed = false
            freeLent(id, memory)
        }
        return 0
    }

    private mutating func notifyOfLent(_ file: Int, _ argument: UnsafeMutableRawPointer) -> Int {
        let offset = Int(argument.load(as: UInt64.self))
        let action = argument.load(fromByteOffset: 8, as: UInt32.self)
        let port = argument.load(fromByteOffset: 12, as: UInt32.self)
        guard action & ~3 == 0 else { return -22 }
        guard let id = run(file, offset / 4096, 1)?.first else { return -2 }
        if action & 2 != 0 && ports[port] == nil { return -22 }
        lent[id]!.notification = action == 0 ? nil : (offset % 4096, action, port)
        return 0
    }

    mutating func mapLent(
        _ file: Int, _ count: Int, _ protection: Int, _ flags: Int, _ offset: Int,
        _ memory: MachineMemory
    ) -> Int {
        guard flags & 1 != 0 else { return -22 }
        guard let pages = run(file, offset / 4096, count / 4096) else { return -2 }
        for id in pages { lent[id]!.users += 1 }
        opened[file]!.users += 1
        let address = memory.map(pages.map { lent[$0]!.page }, protection: protection)
        areas[address] = FakeXen.Area(file: file, count: count, maps: [], gntallocPages: pages)
        return address
    }

    /// A page lives while somebody here has it in the file or mapped, and while the peer maps it.
    mutating func freeLent(_ id: Int, _ memory: MachineMemory) {
        guard let page = lent[id], !page.isListed, page.users == 0 else { return }
        if let notification = page.notification {
            lent[id]!.notification = nil
            if notification.action & 1 != 0 { memory[page.page][notification.byte] = 0 }
            if notification.action & 2 != 0 { send(notification.port) }
        }
        guard grants[key(ownDomain, page.reference)]?.mappings == 0 else { return }
        grants[key(ownDomain, page.reference)] = nil
        lent[id] = nil
    }
}
