// The model's gntdev: docs/abi/xen-grants.md §4 and §10.

import CShim

@testable import Mini

extension FakeXen {
    struct Map {
        var file: Int
        /// First page of its index.
        var first: Int
        var references: [(domain: UInt32, reference: UInt32)]
        var isListed = true
        /// An index can be mapped once, whether that worked or not.
        var isUsed = false
        var isMapped = false
        var isWritable = false
        var notification: (byte: Int, action: UInt32, port: UInt32)?
    }
}

extension FakeXen.State {
    mutating func gntdev(
        _ file: Int, _ request: Int, _ address: Int, _ memory: MachineMemory
    ) -> Int {
        guard let argument = UnsafeMutableRawPointer(bitPattern: address) else { return -14 }
        switch request {
        case 0x184700: return referenceGrants(file, argument)
        case 0x104701: return releaseGrants(file, argument, memory)
        case 0x184702: return offsetOfGrants(argument)
        case 0x104707: return notifyOfGrants(file, argument)
        case 0x104708: return hasCopy ? copyGrants(argument, memory) : -25
        default: return -25
        }
    }

    private mutating func referenceGrants(
        _ file: Int, _ argument: UnsafeMutableRawPointer
    ) -> Int {
        let count = Int(argument.load(as: UInt32.self))
        guard count > 0, count <= mostGrants else { return -22 }
        let references = (0..<count).map { index in
            (
                // The kernel keeps 16 bits of it.
                argument.load(fromByteOffset: 16 + 8 * index, as: UInt32.self) & 0xFFFF,
                argument.load(fromByteOffset: 20 + 8 * index, as: UInt32.self)
            )
        }
        var first = 0
        for map in maps.values.filter({ $0.file == file && $0.isListed })
            .sorted(by: { $0.first < $1.first })
        {
            if first + count < map.first { break }
            first = map.first + map.references.count
        }
        maps[nextMap] = FakeXen.Map(file: file, first: first, references: references)
        nextMap += 1
        argument.storeBytes(of: UInt64(first) * 4096, toByteOffset: 8, as: UInt64.self)
        return 0
    }

    private mutating func releaseGrants(
        _ file: Int, _ argument: UnsafeMutableRawPointer, _ memory: MachineMemory
    ) -> Int {
        let first = Int(argument.load(as: UInt64.self) >> 12)
        let count = Int(argument.load(fromByteOffset: 8, as: UInt32.self))
        guard
            let (id, _) = maps.first(where: {
                $0.value.file == file && $0.value.isListed && $0.value.first == first
                    && (count == 0 || $0.value.references.count == count)
            })
        else { return -2 }
        maps[id]!.isListed = false
        freeMap(id, memory)
        return 0
    }

    private func offsetOfGrants(_ argument: UnsafeMutableRawPointer) -> Int {
        let address = Int(argument.load(as: UInt64.self))
        guard
            let area = areas.first(where: { $0.key <= address && address < $0.key + $0.value.count }
            ),
            let id = area.value.maps.first, let map = maps[id]
        else { return -22 }
        argument.storeBytes(of: UInt64(map.first) * 4096, toByteOffset: 8, as: UInt64.self)
        argument.storeBytes(of: UInt32(map.references.count), toByteOffset: 16, as: UInt32.self)
        return 0
    }

    private mutating func notifyOfGrants(
        _ file: Int, _ argument: UnsafeMutableRawPointer
    ) -> Int {
        let offset = Int(argument.load(as: UInt64.self))
        let action = argument.load(fromByteOffset: 8, as: UInt32.self)
        let port = argument.load(fromByteOffset: 12, as: UInt32.self)
        guard action & ~3 == 0 else { return -22 }
        guard
            let (id, map) = maps.first(where: {
                $0.value.file == file && $0.value.isListed && $0.value.first <= offset / 4096
                    && offset / 4096 < $0.value.first + $0.value.references.count
            })
        else { return -2 }
        if action & 1 != 0 && map.isUsed && !map.isWritable { return -22 }
        if action & 2 != 0 && ports[port] == nil { return -22 }
        maps[id]!.notification =
            action == 0 ? nil : (offset - map.first * 4096, action, port)
        return 0
    }

    // MARK: Mapping

    mutating func mapGrants(
        _ file: Int, _ count: Int, _ protection: Int, _ flags: Int, _ offset: Int,
        _ memory: MachineMemory
    ) -> Int {
        let isWritable = protection & 2 != 0
        if isWritable && flags & 1 == 0 { return -22 }
        guard
            let (id, map) = maps.first(where: {
                $0.value.file == file && $0.value.isListed && $0.value.first * 4096 == offset
                    && $0.value.references.count * 4096 == count
            }), !map.isUsed
        else { return -22 }
        maps[id]!.isUsed = true
        maps[id]!.isWritable = isWritable
        var isAbsent = false
        for (domain, reference) in map.references {
            guard domains.contains(domain), let grant = grants[key(domain, reference)],
                grant.isOurs, !isWritable || !grant.isReadOnly
            else { return -22 }
            if grant.absences > 0 {
                grants[key(domain, reference)]!.absences -= 1
                isAbsent = true
            }
        }
        if isAbsent { return -11 }
        var pages: [Int] = []
        for (domain, reference) in map.references {
            grants[key(domain, reference)]!.mappings += 1
            pages.append(grants[key(domain, reference)]!.page)
        }
        maps[id]!.isMapped = true
        opened[file]!.users += 1
        let address = memory.map(pages, protection: protection)
        areas[address] = FakeXen.Area(file: file, count: count, maps: [id], gntallocPages: [])
        return address
    }

    /// A PV kernel ends the grants with the mapping, the others with the index.
    mutating func unmapGrants(_ id: Int, _ memory: MachineMemory) {
        maps[id]!.isMapped = false
        let map = maps[id]!
        if isPV, let notification = map.notification, notification.action & 1 != 0 {
            clear(map, notification.byte, memory)
        }
        for (domain, reference) in map.references {
            grants[key(domain, reference)]?.mappings -= 1
        }
        for id in lent.keys { freeLent(id, memory) }
        freeMap(id, memory)
    }

    private func clear(_ map: FakeXen.Map, _ byte: Int, _ memory: MachineMemory) {
        let (domain, reference) = map.references[byte / 4096]
        if let grant = grants[key(domain, reference)] { memory[grant.page][byte % 4096] = 0 }
    }

    mutating func freeMap(_ id: Int, _ memory: MachineMemory) {
        guard let map = maps[id], !map.isListed, !map.isMapped else { return }
        maps[id] = nil
        guard let notification = map.notification else { return }
        if notification.action & 2 != 0 { send(notification.port) }
        if !isPV && notification.action & 1 != 0 { clear(map, notification.byte, memory) }
    }

    // MARK: Copying

    private mutating func copyGrants(
        _ argument: UnsafeMutableRawPointer, _ memory: MachineMemory
    ) -> Int {
        if let left = copiesUntilDomainsEnd {
            if left == 0 { domains = [ownDomain] }
            copiesUntilDomainsEnd = left - 1
        }
        let count = Int(argument.load(as: UInt32.self))
        if count == 0 { return 0 }
        let segments = UnsafeMutableRawPointer(
            bitPattern: argument.load(fromByteOffset: 8, as: Int.self))!
        for index in 0..<count {
            let segment = segments + 24 * index
            let length = Int(segment.load(fromByteOffset: 16, as: UInt16.self))
            let flags = segment.load(fromByteOffset: 18, as: UInt16.self)
            guard flags & 3 != 0, flags & ~3 == 0 else { return -22 }
            for (side, flag) in [(0, UInt16(1)), (8, 2)] where flags & flag != 0 {
                let offset = Int(segment.load(fromByteOffset: side + 4, as: UInt16.self))
                guard offset + length <= 4096 else { return -22 }
            }
        }
        for index in 0..<count {
            let segment = segments + 24 * index
            let length = Int(segment.load(fromByteOffset: 16, as: UInt16.self))
            let flags = segment.load(fromByteOffset: 18, as: UInt16.self)
            var status: Int16 = 0
            var places: [UnsafeMutableRawPointer] = []
            for (side, flag) in [(0, UInt16(1)), (8, 2)] {
                guard flags & flag != 0 else {
                    places.append(
                        UnsafeMutableRawPointer(
                            bitPattern: segment.load(fromByteOffset: side, as: Int.self))!)
                    continue
                }
                let reference = segment.load(fromByteOffset: side, as: UInt32.self)
                let offset = Int(segment.load(fromByteOffset: side + 4, as: UInt16.self))
                let domain = UInt32(segment.load(fromByteOffset: side + 6, as: UInt16.self))
                let grant = grants[key(domain, reference)]
                if !domains.contains(domain) {
                    status = -2
                } else if grant == nil {
                    status = -3
                } else if !grant!.isOurs || flag == 2 && grant!.isReadOnly {
                    status = -1
                } else {
                    places.append(memory[grant!.page].baseAddress! + offset)
                }
            }
            if status == 0 { places[1].copyMemory(from: places[0], byteCount: length) }
            segment.storeBytes(of: status, toByteOffset: 20, as: Int16.self)
        }
        return 0
    }
}
