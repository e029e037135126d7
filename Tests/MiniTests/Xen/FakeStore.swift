// The model's XenStore behind /dev/xen/xenbus: docs/abi/xen-grants.md §7. A tree, watches, and
// transactions that are made undone when they are abandoned or when the test wants a conflict.

import CShim

@testable import Mini

/// A store, and how it is to behave.
struct FakeStore {
    struct Entry: Equatable {
        var value: [UInt8] = []
        var permissions = ["n0"]
    }
    struct Connection {
        /// What is to be read.
        var output: [UInt8] = []
        var watches: [(path: String, token: String)] = []
        /// What everything was like when each began.
        var transactions: [UInt32: [String: Entry]] = [:]
    }
    var entries: [String: Entry] = ["": Entry()]
    var connections: [Int: Connection] = [:]
    var nextTransaction: UInt32 = 1

    /// Numbers of domains that are no more.
    var ended: Set<String> = []
    /// How many ends of transactions say EAGAIN, or ENOENT as those do of which the store knows nothing any more.
    var conflicts = 0
    var conflict = "EAGAIN"
    /// How many transactions cannot begin as others are open, and the word for that.
    var others = (count: 0, word: "ENOSPC")
    /// What is refused, by kind of message.
    var refusals: [UInt32: String] = [:]
    /// Paths that are not for this domain to see. It may watch them all the same.
    var secrets: Set<String> = []
    /// What is watched changes with every request.
    var isRestless = false
    /// Says nothing at all.
    var isMute = false
    /// As kernels before 4.11: replies to WATCH and UNWATCH have the number 0.
    var isOld = false
    /// As kernels before 3.3: they pass on no other messages than these.
    var isAncient = false
    private static let ancient: Set<UInt32> = [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14]
    /// The most that one read gives.
    var most = Int.max
    /// Changes that come between a request and its reply, one after the other: a watched path.
    var interruptions: [String] = []
    /// Parts of lists are of so many bytes.
    var partSize = 4096
    /// How often the list changes while it is read in parts.
    var listChanges = 0
    /// Replies that are sent as they are.
    var forged: [StoreMessage] = []
    /// What reading from it and writing to it ends with.
    var readErrno: Errno?
    var writeErrno: Errno?
    /// What others write as soon as an entry was read, in this order. A transaction that is open then conflicts.
    var intrusions: [(behind: String, path: String, value: String)] = []

    static func with(_ values: [String: String]) -> FakeStore {
        var store = FakeStore()
        for (path, value) in values { store.set(path, Array(value.utf8)) }
        return store
    }

    func value(_ path: String) -> String? { entries[path].map { string($0.value) } }

    /// Changes an entry as another domain does, for the watches to tell.
    mutating func set(_ path: String, _ value: [UInt8]?) {
        if let value {
            var above = path
            while let slash = above.lastIndex(of: "/"), entries[above] == nil {
                entries[above] = Entry()
                above = String(above[..<slash])
            }
            entries[path]!.value = value
        } else {
            entries = entries.filter { $0.key != path && !$0.key.hasPrefix(path + "/") }
        }
        tell(path)
    }

    mutating func tell(_ path: String) {
        for (id, connection) in connections {
            for watch in connection.watches where isAt(path, watch.path) {
                connections[id]!.output += event(path, watch.token).bytes
            }
        }
    }

    /// Somebody else is there between two requests.
    private mutating func intrude(behind path: String) {
        while let next = intrusions.first, next.behind == path {
            intrusions.removeFirst()
            let value = Array(next.value.utf8)
            set(next.path, value)
            for (id, connection) in connections {
                for (number, entries) in connection.transactions {
                    conflicts += 1
                    // What is there when that is undone has it.
                    var before = FakeStore()
                    before.entries = entries
                    before.set(next.path, value)
                    connections[id]!.transactions[number] = before.entries
                }
            }
        }
    }

    private func isAt(_ path: String, _ top: String) -> Bool {
        path == top || path.hasPrefix(top == "/" ? top : top + "/") || top.hasPrefix(path + "/")
    }

    private func event(_ path: String, _ token: String) -> StoreMessage {
        StoreMessage(type: 15, payload: Array("\(path)\0\(token)\0".utf8))
    }

    // MARK: Requests

    /// The words that a kernel knows, as far as a watch is refused with them.
    private static let errnos = ["EACCES": 13, "E2BIG": 7, "ENOSPC": 28]

    /// What was written to the device: one message.
    mutating func take(_ connection: Int, _ bytes: UnsafeRawBufferPointer) -> Int {
        func word(_ offset: Int) -> UInt32 {
            bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
        }
        guard bytes.count >= 16, bytes.count == 16 + Int(word(12)), bytes.count <= 4096 else {
            return -22
        }
        let message = StoreMessage(
            type: word(0), request: word(4), transaction: word(8), payload: Array(bytes[16...]))
        if isAncient && !Self.ancient.contains(message.type) { return -22 }
        // A watch is the kernel's own, which makes an errno of the word.
        if message.type == 4, let word = refusals[4] { return -(Self.errnos[word] ?? 22) }
        if isMute { return bytes.count }
        if !interruptions.isEmpty {
            connections[connection]!.output += event(interruptions.removeFirst(), "t").bytes
        }
        var reply = StoreMessage(
            type: message.type, request: message.request, transaction: message.transaction)
        if let errno = refusals[message.type] ?? answer(message, connection, &reply.payload) {
            reply.type = 16
            reply.payload = Array("\(errno)\0".utf8)
        }
        if isOld && (message.type == 4 || message.type == 5) {
            (reply.request, reply.transaction) = (0, 0)
        }
        if !forged.isEmpty { reply = forged.removeFirst() }
        connections[connection]!.output += reply.bytes
        if isRestless, message.type != 4 {
            for watch in connections[connection]!.watches {
                connections[connection]!.output += event(watch.path, watch.token).bytes
            }
        }
        if message.type == 4 && reply.type == 4 {
            let strings = message.strings
            connections[connection]!.output += event(string(strings[0]), string(strings[1])).bytes
        }
        return bytes.count
    }

    /// - Returns: the name of an error.
    private mutating func answer(
        _ message: StoreMessage, _ connection: Int, _ payload: inout [UInt8]
    ) -> String? {
        let isOpen = connections[connection]!.transactions[message.transaction] != nil
        if message.transaction != 0 && !isOpen { return "ENOENT" }
        guard let end = message.payload.firstIndex(of: 0) else { return "EINVAL" }
        let path = absolute(string(Array(message.payload[..<end])))
        let rest = Array(message.payload[(end + 1)...])
        let entry = entries[path]
        let strings = message.strings.map { string($0) }
        payload = Array("OK\0".utf8)
        if secrets.contains(path), ![4, 5].contains(message.type) { return "EACCES" }
        switch message.type {
        case 1, 22:
            guard entry != nil else { return "ENOENT" }
            let names = Array(children(path).map { $0 + "\0" }.joined().utf8)
            if message.type == 1 {
                if names.count > 4096 { return "E2BIG" }
                payload = names
            } else {
                payload = part(names, from: Int(strings[1])!)
            }
        case 2:
            guard let entry else { return "ENOENT" }
            payload = entry.value
            intrude(behind: path)
        case 3:
            guard let entry else { return "ENOENT" }
            payload = Array(entry.permissions.map { $0 + "\0" }.joined().utf8)
        case 4: connections[connection]!.watches.append((path, strings[1]))
        case 5:
            connections[connection]!.watches.removeAll { $0.path == path && $0.token == strings[1] }
        case 6:
            if others.count > 0 {
                others.count -= 1
                return others.word
            }
            connections[connection]!.transactions[nextTransaction] = entries
            payload = Array("\(nextTransaction)\0".utf8)
            nextTransaction += 1
        case 7: return finish(message, connection, commits: strings[0] == "T")
        case 11: set(path, rest)
        case 12: if entry == nil { set(path, []) }
        case 13:
            guard entry != nil else { return "ENOENT" }
            set(path, nil)
        case 14:
            guard entry != nil else { return "ENOENT" }
            entries[path]!.permissions = Array(strings.dropFirst())
            tell(path)
        case 17: payload = Array(ended.contains(strings[0]) ? "F\0".utf8 : "T\0".utf8)
        default: return "ENOSYS"
        }
        return nil
    }

    private mutating func finish(
        _ message: StoreMessage, _ connection: Int, commits: Bool
    ) -> String? {
        let before = connections[connection]!.transactions.removeValue(forKey: message.transaction)!
        if commits && conflicts == 0 { return nil }
        entries = before
        guard commits else { return nil }
        conflicts -= 1
        return conflict
    }

    private mutating func part(_ names: [UInt8], from offset: Int) -> [UInt8] {
        if listChanges > 0 && offset > 0 { listChanges -= 1 }
        let rest = names[min(offset, names.count)...]
        return Array("\(listChanges % 1000)\0".utf8) + rest.prefix(partSize)
            + (rest.count <= partSize ? [0] : [])
    }

    private func absolute(_ path: String) -> String {
        path == "/" ? "" : "/@".contains(path.prefix(1)) ? path : "/local/domain/0/\(path)"
    }

    private func children(_ path: String) -> [String] {
        entries.keys.filter {
            $0.hasPrefix(path + "/") && !$0.dropFirst(path.count + 1).contains("/")
        }.map { String($0.dropFirst(path.count + 1)) }.sorted()
    }
}

extension FakeXen.State {
    mutating func writeStore(_ file: Int, _ address: Int, _ count: Int) -> Int {
        if let errno = store!.writeErrno { return -Int(errno.rawValue) }
        return store!.take(
            file,
            UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: address), count: count))
    }

    mutating func readStore(_ file: Int, _ address: Int, _ count: Int) -> Int {
        if let errno = store!.readErrno { return -Int(errno.rawValue) }
        let output = store!.connections[file]!.output
        let taken = min(count, min(store!.most, output.count))
        guard taken > 0 else { return -35 }  // would sleep for ever
        UnsafeMutableRawPointer(bitPattern: address)!.copyMemory(
            from: output, byteCount: taken)
        store!.connections[file]!.output.removeFirst(taken)
        return taken
    }
}
