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
        (.signalMask, "rt_sigprocmask", "rt_sigprocmask"), (.ioctl, "ioctl", "ioctl"),
        (.memoryAdvice, "madvise", "madvise"),
        (.fileStatusAt, "newfstatat", "fstatat64"), (.readLink, "readlink", "readlink"),
        (.rename, "rename", "rename"),
        (.directoryEntries, "getdents64", "getdents64"),
        (.processID, "getpid", "getpid"), (.kill, "kill", "kill"),
        (.clockTime, "clock_gettime", "clock_gettime"), (.exitGroup, "exit_group", "exit_group"),
        (.signalDescriptor, "signalfd", "signalfd"),
        (.timeLeft, "getitimer", "getitimer"),
        (.intervalTimer, "setitimer", "setitimer"), (.processGroup, "getpgrp", "getpgrp"),
        (.signalStack, "sigaltstack", "sigaltstack"), (.seek, "lseek", "_llseek"),
        (.readVector, "readv", "readv"), (.writeVector, "writev", "writev"),
        (.lock, "flock", "flock"), (.synchronize, "fsync", "fsync"),
        (.synchronizeData, "fdatasync", "fdatasync"),
        (.makeDirectory, "mkdir", "mkdir"), (.makeNode, "mknod", "mknod"),
        (.makeLink, "symlink", "symlink"),
        (.removeDirectory, "rmdir", "rmdir"),
        (.changeDirectory, "chdir", "chdir"),
        (.changeRoot, "chroot", "chroot"), (.duplicate, "dup2", "dup2"),
        (.memoryFile, "memfd_create", "memfd_create"), (.mount, "mount", "mount"),
        (.unmount, "umount2", "umount2"), (.fileSystemStatus, "statfs", "statfs64"),
        (.endSwap, "swapoff", "swapoff"), (.synchronizeAll, "sync", "sync"),
        (.loadModule, "finit_module", "finit_module"),
        (.loadModuleImage, "init_module", "init_module"),
        (.makeTimer, "timer_create", "timer_create"),
        (.setTimer, "timer_settime", "timer_settime"),
        (.allowPorts, "ioperm", "ioperm"),
        (.randomBytes, "getrandom", "getrandom"),
        (.reboot, "reboot", "reboot"), (.fork, "fork", "fork"), (.execute, "execve", "execve"),
        (.waitForChild, "wait4", "wait4"), (.newSession, "setsid", "setsid"),
        (.clone, "clone", "clone"),
        (.exitThread, "exit", "exit"), (.killThread, "tgkill", "tgkill"),
        (.threadID, "gettid", "gettid"),
        (.futex, "futex", "futex"), (.pipe, "pipe", "pipe"),
        (.removeName, "unlink", "unlink"), (.truncate, "ftruncate", "ftruncate"),
        (.fileControl, "fcntl", "fcntl"),
        (.processControl, "prctl", "prctl"), (.seccomp, "seccomp", "seccomp"),
        (.closeRange, "close_range", "close_range"), (.limit, "prlimit64", "prlimit64"),
        (.oldLimit, "setrlimit", "setrlimit"), (.effectiveUser, "geteuid", "geteuid32"),
        (.setGroups, "setgroups", "setgroups32"), (.setUser, "setresuid", "setresuid32"),
        (.setGroup, "setresgid", "setresgid32"), (.setCapabilities, "capset", "capset"),
        (.signalReturn, "rt_sigreturn", "rt_sigreturn"),
        (.changePermissions, "fchmod", "fchmod"), (.changeOwner, "fchown", "fchown32"),
        (.attribute, "getxattr", "getxattr"), (.setAttribute, "fsetxattr", "fsetxattr"),
        (.mayAccess, "faccessat", "faccessat"), (.pipeWithFlags, "pipe2", "pipe2"),
    ]

    @Test("system call numbers are the kernel's, on both architectures")
    func systemCallNumbers() throws {
        let wide = try numbers("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
        let narrow = try numbers("/usr/include/x86_64-linux-gnu/asm/unistd_32.h")
        let source = try projectText("Sources/Mini/Linux/SystemCalls.swift")
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
        #expect(
            MemoryLayout<mini_stat>.offset(of: \.special)
                == MemoryLayout<stat>.offset(of: \.st_rdev))
        #expect(
            MemoryLayout<mini_stat>.offset(of: \.device) == MemoryLayout<stat>.offset(of: \.st_dev))
        #expect(
            MemoryLayout<mini_stat>.offset(of: \.inode) == MemoryLayout<stat>.offset(of: \.st_ino))
        #expect(MemoryLayout<mini_pollfd>.size == MemoryLayout<pollfd>.size)
        #expect(MemoryLayout<mini_timespec>.size == MemoryLayout<timespec>.size)
        // struct termios of asm-generic/termbits.h: four words, a line discipline, 19 characters.
        #expect(MemoryLayout<mini_termios>.size == 36)
        #expect(MemoryLayout<mini_signalfd_siginfo>.size == 128)
        // ssi_signo, ssi_errno, ssi_code, ssi_pid.
        #expect(MemoryLayout<mini_signalfd_siginfo>.offset(of: \.code) == 8)
        #expect(MemoryLayout<mini_signalfd_siginfo>.offset(of: \.process) == 12)
        #expect(MemoryLayout<mini_sigaction>.size == 32)
        #expect(MemoryLayout<mini_ifreq>.size == MemoryLayout<ifreq>.size)
        #expect(MemoryLayout<mini_sockaddr_un>.size == MemoryLayout<sockaddr_un>.size)
        #expect(MemoryLayout<mini_msghdr>.size == MemoryLayout<msghdr>.size)
        #expect(
            MemoryLayout<mini_msghdr>.offset(of: \.vector)
                == MemoryLayout<msghdr>.offset(of: \.msg_iov))
        #expect(
            MemoryLayout<mini_msghdr>.offset(of: \.flags)
                == MemoryLayout<msghdr>.offset(of: \.msg_flags))
        #expect(MemoryLayout<mini_flock>.size == MemoryLayout<flock>.size)
        #expect(
            MemoryLayout<mini_flock>.offset(of: \.start)
                == MemoryLayout<flock>.offset(of: \.l_start))
        #expect(
            MemoryLayout<mini_flock>.offset(of: \.process)
                == MemoryLayout<flock>.offset(of: \.l_pid))
    }

    @Test("what is told of a file system lies where the kernel has it, on both architectures")
    func fileSystemStatus() throws {
        let header = try String(
            contentsOfFile: "/usr/include/asm-generic/statfs.h", encoding: .utf8)
        /// The size of a structure without gaps, and where its flags are.
        func layout(_ name: String, word: Int) throws -> (size: Int, flags: Int) {
            let start = try #require(header.range(of: "struct \(name) {\n"))
            var (offset, flags) = (0, -1)
            for line in header[start.upperBound...].split(separator: "\n") {
                let words = line.split { $0 == "\t" || $0 == " " }
                guard words[0] != "}" && words[0] != "};" else { break }
                if words[1] == "f_flags;" { flags = offset }
                let size = ["__statfs_word": word, "__u64": 8, "__kernel_fsid_t": 8]
                let count = words[1] == "f_spare[4];" ? 4 : 1
                offset += try #require(size[String(words[0])]) * count
            }
            return (offset, flags)
        }
        let source = try projectText("Sources/Mini/Linux/FileSystems.swift")
        let places = source.matches(of: #/return \(words\.0, words\.(\d+)\)/#).map { Int($0.1)! }
        let size = try #require(source.firstMatch(of: #/\.fileSystemStatus, path, (\d+), address/#))
        let narrow = try layout("statfs64", word: 4)
        let wide = try layout("statfs", word: 8)
        #expect(narrow.size == 84 && Int(size.1) == narrow.size)
        #expect(wide.size == 120)
        #expect(places == [narrow.flags / 4, wide.flags / 8])
    }

    @Test("requests of /dev/kvm have the kernel's numbers and directions")
    func kvmRequests() throws {
        let text = try String(contentsOfFile: "/usr/include/linux/kvm.h", encoding: .utf8)
        var requests: [String: Int] = [:]
        for match in text.matches(
            of: #/#define (KVM_\w+)[\s\\]+_IO(W?)(R?)\(KVMIO,\s*0x([0-9a-f]+)/#)
        {
            // _IO, _IOW, _IOR, _IOWR: bit 30 for what goes down, bit 31 for what comes up.
            let direction = (match.2.isEmpty ? 0 : 1) | (match.3.isEmpty ? 0 : 2)
            let number = try #require(Int(match.4, radix: 16))
            requests[String(match.1)] = direction << 30 | 0xAE00 | number
        }
        let ours: [(IoctlRequest, String)] = [
            (KvmRequest.version, "KVM_GET_API_VERSION"),
            (KvmRequest.makeVirtualMachine, "KVM_CREATE_VM"),
            (KvmRequest.hasExtension, "KVM_CHECK_EXTENSION"),
            (KvmRequest.runSize, "KVM_GET_VCPU_MMAP_SIZE"),
            (KvmRequest.supportedIdentification, "KVM_GET_SUPPORTED_CPUID"),
            (KvmRequest.makeProcessor, "KVM_CREATE_VCPU"),
            (KvmRequest.setMemory, "KVM_SET_USER_MEMORY_REGION"),
            (KvmRequest.setTaskAddress, "KVM_SET_TSS_ADDR"), (KvmRequest.run, "KVM_RUN"),
            (KvmRequest.registers, "KVM_GET_REGS"), (KvmRequest.setRegisters, "KVM_SET_REGS"),
            (KvmRequest.systemRegisters, "KVM_GET_SREGS"),
            (KvmRequest.setSystemRegisters, "KVM_SET_SREGS"),
            (KvmRequest.interrupt, "KVM_INTERRUPT"),
            (KvmRequest.setModelRegisters, "KVM_SET_MSRS"),
            (KvmRequest.setSignalMask, "KVM_SET_SIGNAL_MASK"),
            (KvmRequest.setFloatingPoint, "KVM_SET_FPU"),
            (KvmRequest.setIdentification, "KVM_SET_CPUID2"),
            (KvmRequest.events, "KVM_GET_VCPU_EVENTS"),
            (KvmRequest.setEvents, "KVM_SET_VCPU_EVENTS"),
            (KvmRequest.setDebugRegisters, "KVM_SET_DEBUGREGS"),
            (KvmRequest.tellStop, "KVM_KVMCLOCK_CTRL"),
            (KvmRequest.putOffWrites, "KVM_REGISTER_COALESCED_MMIO"),
        ]
        for (request, name) in ours {
            #expect(request.rawValue & 0xC000_FFFF == requests[name], "\(name)")
        }
    }

    @Test("calls on sockets have the kernel's numbers, alone and inside socketcall")
    func socketCalls() throws {
        let wide = try numbers("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
        let text = try String(contentsOfFile: "/usr/include/linux/net.h", encoding: .utf8)
        var packed: [String: Int] = [:]
        for match in text.matches(of: #/#define SYS_(\w+)\s+(\d+)/#) {
            packed[match.1.lowercased()] = Int(match.2)
        }
        let calls: [(SocketCall, String)] = [
            (.socket, "socket"), (.bind, "bind"), (.connect, "connect"), (.listen, "listen"),
            (.accept, "accept"), (.option, "getsockopt"), (.send, "sendmsg"),
        ]
        for (call, name) in calls {
            #expect(call.direct == wide[name], "\(name)")
            #expect(call.packed == packed[name], "\(name)")
        }
    }

    /// What a header defines a name as, in words.
    private static func definition(_ name: String, in path: String) throws -> [Substring] {
        let text = try String(contentsOfFile: path, encoding: .utf8)
        let lines = text.split(separator: "\n").map { $0.split { $0 == " " || $0 == "\t" } }
        let line = try #require(lines.first { $0.count > 2 && $0[0] == "#define" && $0[1] == name })
        return Array(line.dropFirst(2))
    }

    @Test("requests about interfaces and taps have the kernel's numbers")
    func interfaceRequests() throws {
        typealias Request = InterfaceControl.Request
        let requests: [(Int, String)] = [
            (Request.getFlags, "SIOCGIFFLAGS"), (Request.setFlags, "SIOCSIFFLAGS"),
            (Request.setAddress, "SIOCSIFADDR"), (Request.getHardwareAddress, "SIOCGIFHWADDR"),
            (Request.setHardwareAddress, "SIOCSIFHWADDR"), (Request.getIndex, "SIOCGIFINDEX"),
            (Request.addToBridge, "SIOCBRADDIF"), (Request.askDriver, "SIOCETHTOOL"),
        ]
        for (number, name) in requests {
            let words = try Self.definition(name, in: "/usr/include/linux/sockios.h")
            #expect(Int(words[0].dropFirst(2), radix: 16) == number, "\(name)")
        }
        let command = try Self.definition("ETHTOOL_GDRVINFO", in: "/usr/include/linux/ethtool.h")
        #expect(UInt32(command[0].dropFirst(2), radix: 16) == InterfaceControl.driverInfo)
        for (number, name) in [
            (Tap.Request.setInterface, "TUNSETIFF"), (Tap.Request.setChecksums, "TUNSETNOCSUM"),
            (Tap.Request.setOffloads, "TUNSETOFFLOAD"),
            (Tap.Request.setHeaderCount, "TUNSETVNETHDRSZ"),
        ] {
            // _IOW('T', 202, int), or unsigned int: direction 1, size 4.
            let words = try Self.definition(name, in: "/usr/include/linux/if_tun.h")
            #expect(words[0] == "_IOW('T'," && ["int)", "unsigned"].contains(words[2]))
            #expect(1 << 30 | 4 << 16 | 0x54 << 8 | Int(words[1].dropLast())! == number)
        }
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
