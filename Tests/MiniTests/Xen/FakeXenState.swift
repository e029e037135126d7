// What the model of Xen does to its state whatever device it is for, and the memory of all domains. The model: FakeXen.swift.

import CShim

@testable import Mini

/// A file in memory, made behind the hook's back.
func rawMemoryFile(_ content: String) -> Int {
    let name: StaticString = "fake"
    let number = mini_syscall(319, Int(bitPattern: name.utf8Start), 1, 0, 0, 0, 0)
    Array(content.utf8).withUnsafeBytes { bytes in
        _ = mini_syscall(1, number, Int(bitPattern: bytes.baseAddress), bytes.count, 0, 0, 0)
    }
    _ = mini_syscall(8, number, 0, 0, 0, 0, 0)  // lseek to the start
    return number
}

func key(_ domain: UInt32, _ number: UInt32) -> UInt64 { UInt64(domain) << 32 | UInt64(number) }

extension FakeXen.State {
    func device(of descriptor: Int) -> FakeXen.Device? {
        descriptors[descriptor].flatMap { opened[$0] }?.device
    }

    /// A descriptor with a real number, so that nobody else gets the same.
    mutating func open(_ device: FakeXen.Device) -> Int {
        let path: StaticString = "/dev/null"
        let number = mini_syscall(
            SystemCall.Number.open.rawValue, Int(bitPattern: path.utf8Start), 0o2000002, 0, 0, 0, 0)
        guard number >= 0 else { return number }
        add(device, number)
        return number
    }

    private mutating func add(_ device: FakeXen.Device, _ number: Int) {
        opened[nextFile] = FakeXen.File(device: device)
        openedInOrder.append(device)
        if device == .store { store!.connections[nextFile] = FakeStore.Connection() }
        descriptors[number] = nextFile
        nextFile += 1
    }

    /// Connects a socket to the store.
    mutating func connect(_ socket: Int) -> Int {
        if fullStore! > 0 {
            fullStore! -= 1
            return -11
        }
        realDescriptors.remove(socket)
        add(.store, socket)
        return 0
    }

    /// privcmd's one request, for Xen's XEN_DOMCTL_getdomaininfo alone.
    func hypercall(_ request: Int, _ address: Int) -> Int {
        guard request == 0x30_5000 else { return -25 }
        let call = UnsafeRawPointer(bitPattern: address)!.load(as: mini_hypercall.self)
        guard call.number == 36 else { return -38 }
        let question = UnsafeMutableRawPointer(bitPattern: UInt(call.arguments.0))!
            .assumingMemoryBound(to: mini_domain_information.self)
        guard question.pointee.version == domainControlVersion else { return -13 }
        guard question.pointee.command == 5, let flags = domainFlags![question.pointee.domain]
        else { return -3 }
        question.pointee.found = question.pointee.domain
        question.pointee.flags = flags
        return 0
    }

    /// One user of a file goes; with the last one the file does.
    mutating func drop(_ file: Int, _ memory: MachineMemory) {
        opened[file]!.users -= 1
        guard opened[file]!.users == 0 else { return }
        for (id, map) in maps where map.file == file {
            maps[id]!.isListed = false
            freeMap(id, memory)
        }
        for (id, page) in lent where page.file == file {
            lent[id]!.isListed = false
            freeLent(id, memory)
        }
        for (port, end) in ports where end.file == file { unbind(port) }
        rings[file] = nil
        store?.connections[file] = nil
        opened[file] = nil
    }

    /// munmap of pages that a device gave.
    mutating func unmap(_ address: Int, _ memory: MachineMemory) {
        let area = areas.removeValue(forKey: address)!
        for id in area.maps { unmapGrants(id, memory) }
        for id in area.gntallocPages {
            lent[id]!.users -= 1
            freeLent(id, memory)
        }
        drop(area.file, memory)
    }

    mutating func happen(_ happening: FakeXen.Happening) {
        switch happening {
        case .signal(let number): signals.append(number)
        case .event(let port): deliver(port)
        case .act(let body): body(&self)
        case .overflow: for file in rings.keys { rings[file]!.isOverflowed = true }
        }
    }
}

/// The pages of all domains: one file in memory, of which parts are mapped wherever needed.
final class MachineMemory: @unchecked Sendable {
    private let file: Descriptor
    private let start: UnsafeMutableRawPointer
    static let pages = 16384

    init() {
        file = Descriptor(owning: Int32(rawMemoryFile("")))
        let cut = mini_syscall(77, Int(file.number), Self.pages * 4096, 0, 0, 0, 0)  // ftruncate
        precondition(cut == 0, "a file in memory: \(cut)")
        start = UnsafeMutableRawPointer(
            bitPattern: mini_syscall(9, 0, Self.pages * 4096, 3, 1, Int(file.number), 0))!
    }

    deinit { _ = mini_syscall(11, Int(bitPattern: start), Self.pages * 4096, 0, 0, 0, 0) }

    subscript(page: Int) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: start + page * 4096, count: 4096)
    }

    /// Maps pages one behind the other.
    func map(_ pages: [Int], protection: Int) -> Int {
        let address = mini_syscall(9, 0, pages.count * 4096, 0, 0x22, -1, 0)
        precondition(!(-4095..<0).contains(address), "mmap: \(address)")
        for (index, page) in pages.enumerated() {
            let place = address + index * 4096
            let result = mini_syscall(
                9, place, 4096, protection, 0x11, Int(file.number), page * 4096)
            precondition(result == place, "mmap of page \(page): \(result)")
        }
        return address
    }
}
