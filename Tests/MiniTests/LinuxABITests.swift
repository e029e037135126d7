// Numbers and layouts of the Linux floor, held against the kernel's own headers.

import CShim
import Foundation
import Testing

@testable import Mini

/// `#define __NR_name number` of a header.
private func numbers(_ path: String) throws -> [String: Int] {
    let text = try String(contentsOfFile: path, encoding: .utf8)
    var result: [String: Int] = [:]
    for match in text.matches(of: #/#define __NR_(\w+) (\d+)/#) {
        result[String(match.1)] = Int(match.2)
    }
    return result
}

@Suite struct LinuxABITests {
    /// Our name, the kernel's name on x86_64, the kernel's name on i386.
    static let names: [(SystemCall.Number, String, String)] = [
        (.read, "read", "read"), (.write, "write", "write"), (.open, "open", "open"),
        (.close, "close", "close"), (.fileStatus, "fstat", "fstat64"), (.poll, "ppoll", "ppoll"),
        (.map, "mmap", "mmap2"), (.unmap, "munmap", "munmap"),
        (.signalAction, "rt_sigaction", "rt_sigaction"),
        (.signalMask, "rt_sigprocmask", "rt_sigprocmask"), (.control, "ioctl", "ioctl"),
        (.execute, "execve", "execve"), (.memoryAdvice, "madvise", "madvise"),
        (.processID, "getpid", "getpid"), (.kill, "kill", "kill"),
        (.clockTime, "clock_gettime", "clock_gettime"), (.exitGroup, "exit_group", "exit_group"),
        (.signalDescriptor, "signalfd", "signalfd"),
        (.intervalTimer, "setitimer", "setitimer"), (.processGroup, "getpgrp", "getpgrp"),
        (.signalStack, "sigaltstack", "sigaltstack"), (.removeName, "unlink", "unlink"),
    ]

    @Test("system call numbers are the kernel's, on both architectures")
    func systemCallNumbers() throws {
        let wide = try numbers("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
        let narrow = try numbers("/usr/include/x86_64-linux-gnu/asm/unistd_32.h")
        let source = try String(
            contentsOf: URL(filePath: #filePath).deletingLastPathComponent()
                .appending(path: "../../Sources/Mini/Linux/SystemCalls.swift"), encoding: .utf8)
        var pairs: [Int: Int] = [:]
        for match in source.matches(of: #/Self\(x86_64: (\d+), i386: (\d+)\)/#) {
            pairs[Int(match.1)!] = Int(match.2)!
        }
        for (number, wideName, narrowName) in Self.names {
            #expect(number.rawValue == wide[wideName], "\(wideName)")
            #expect(pairs[number.rawValue] == narrow[narrowName], "\(narrowName)")
        }
        #expect(pairs.count == Self.names.count, "a number in the source that this test lacks")
    }

    @Test("structures have the kernel's sizes and offsets")
    func structures() {
        #expect(MemoryLayout<mini_stat>.size == MemoryLayout<stat>.size)
        #expect(
            MemoryLayout<mini_stat>.offset(of: \.size) == MemoryLayout<stat>.offset(of: \.st_size))
        #expect(
            MemoryLayout<mini_stat>.offset(of: \.mode) == MemoryLayout<stat>.offset(of: \.st_mode))
        #expect(MemoryLayout<mini_pollfd>.size == MemoryLayout<pollfd>.size)
        #expect(MemoryLayout<mini_timespec>.size == MemoryLayout<timespec>.size)
        // struct termios of asm-generic/termbits.h: four words, a line discipline, 19 characters.
        #expect(MemoryLayout<mini_termios>.size == 36)
        #expect(MemoryLayout<mini_signalfd_siginfo>.size == 128)
        #expect(MemoryLayout<mini_sigaction>.size == 32)
    }

    @Test("a system call's error is thrown, its value returned")
    func results() throws {
        #expect(throws: Errno.badDescriptor) { try SystemCall.make(.close, -1) }
        #expect(try SystemCall.make(.processID) == Int(getpid()))
    }

    @Test("a hook answers in place of the kernel, and only inside its scope")
    func hook() throws {
        SystemCall.hooked({ $0.number == .processID ? -12 : nil }) {
            #expect(throws: Errno.noMemory) { try SystemCall.make(.processID) }
            #expect(throws: Errno.badDescriptor) { try SystemCall.make(.close, -1) }
        }
        #expect(try SystemCall.make(.processID) == Int(getpid()))
    }

    @Test("writeAll goes on after a partial write")
    func partialWrites() throws {
        let written = Written()
        try SystemCall.hooked({ call in
            guard call.number == .write else { return nil }
            let count = min(3, call.arguments.2)
            written.append(address: call.arguments.1, count: count)
            return count
        }) {
            try Transfer.write(1, "in pieces of three")
        }
        #expect(written.text == "in pieces of three")
    }

    private final class Written: @unchecked Sendable {
        private var bytes: [UInt8] = []
        func append(address: Int, count: Int) {
            let start = UnsafeRawPointer(bitPattern: address)!
            bytes.append(contentsOf: UnsafeRawBufferPointer(start: start, count: count))
        }
        var text: String { String(decoding: bytes, as: UTF8.self) }
    }
}
