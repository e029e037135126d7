// Why programs and modules cannot be used, on real files.

import Foundation
import Synchronization
import Testing

@testable import Mini

/// Writes a file, hands its name on, and removes it.
private func withFile(
    _ bytes: [UInt8], permissions: Int = 0o755, _ body: (Text) throws -> Void
) throws {
    let path = FileManager.default.temporaryDirectory.path + "/mini-trouble-\(UUID().uuidString)"
    try Data(bytes).write(to: URL(filePath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }
    try FileManager.default.setAttributes([.posixPermissions: permissions], ofItemAtPath: path)
    try body(Text(stringLiteral: path))
}

/// A program that names a loader.
private func program(loader: String, is64Bit: Bool, machine: UInt16) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 256)
    bytes.put([0x7F, 0x45, 0x4C, 0x46, is64Bit ? 2 : 1, 1, 1], at: 0)
    bytes.put(UInt16(2), at: 16)
    bytes.put(machine, at: 18)
    bytes.put(UInt32(64), at: is64Bit ? 32 : 28)
    bytes.put(UInt16(is64Bit ? 56 : 32), at: is64Bit ? 54 : 42)
    bytes.put(UInt16(1), at: is64Bit ? 56 : 44)
    bytes.put(UInt32(3), at: 64)
    bytes.put(UInt32(200), at: is64Bit ? 72 : 68)
    bytes.put(UInt32(loader.utf8.count + 1), at: is64Bit ? 96 : 80)
    bytes.put(loader, at: 200)
    return bytes
}

@Suite struct ProgramTroubleTests {
    private func reason(_ bytes: [UInt8], _ permissions: Int = 0o755, _ errno: Errno? = nil) throws
        -> String
    {
        var words = "nothing"
        try withFile(bytes, permissions: permissions) { name in
            words = ProgramTrouble.reason(name, errno).map { string($0) } ?? words
        }
        return words
    }

    @Test("an interpreter that is missing is named")
    func interpreter() throws {
        #expect(
            try reason(Array("#! /no/such -x\n".utf8))
                == "its interpreter \"/no/such\" is not there")
        #expect(
            try reason(Array("#!/bin/sh\r\n".utf8))
                == "its interpreter \"/bin/sh\\x0d\" is not there (its lines end in CR LF)")
        #expect(try reason(Array("#!\n".utf8)) == "no interpreter stands behind its #!")
        #expect(try reason(Array("#!/bin/sh\n".utf8)) == "nothing")
    }

    @Test("an interpreter that cannot be run itself is told, through several scripts")
    func nested() throws {
        try withFile(Array("#!/no/such\n".utf8)) { inner in
            let outer = try reason(Array("#!".utf8) + inner.bytes + [10])
            #expect(
                outer
                    == "its interpreter \"\(string(inner))\" cannot be run: its interpreter \"/no/such\" is not there"
            )
        }
    }

    @Test("scripts of scripts without an end are told as such: there is no link")
    func endless() throws {
        let path = FileManager.default.temporaryDirectory.path + "/mini-own-\(UUID().uuidString)"
        try Data("#!\(path)\n".utf8).write(to: URL(filePath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
        let name = Text(stringLiteral: path)
        #expect(
            ProgramTrouble.reason(name, .tooManyLinks)
                == "its interpreters are scripts of scripts, more than the kernel follows")
        #expect(ProgramTrouble.reason(name) == nil)
        // A link may lead nowhere, too.
        try FileManager.default.removeItem(atPath: path)
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: path)
        #expect(
            try reason(Array("#!\(path)\n".utf8), 0o755, .tooManyLinks)
                == "its interpreter \"\(path)\" cannot be opened: too many symbolic links (ELOOP)")
    }

    @Test("an object file and a core dump are no programs", arguments: [true, false])
    func otherKinds(is64Bit: Bool) throws {
        var bytes = program(loader: "/x", is64Bit: is64Bit, machine: is64Bit ? 62 : 3)
        for (type, words) in [
            (1, "an object file or a kernel module"), (4, "a core dump"),
        ] as [(UInt16, String)] {
            bytes.put(type, at: 16)
            #expect(
                try reason(bytes, 0o755, .notAProgram) == "it is \(words), not a program")
        }
    }

    @Test(
        "a loader that is missing is named",
        arguments: [(true, 62), (false, 3)] as [(Bool, UInt16)])
    func loader(is64Bit: Bool, machine: UInt16) throws {
        let bytes = program(loader: "/lib/ld-none.so.1", is64Bit: is64Bit, machine: machine)
        #expect(try reason(bytes) == "its loader \"/lib/ld-none.so.1\" is not there")
        // Wherever it is cut off, that is no trap.
        for count in 0..<bytes.count { _ = try reason(Array(bytes[..<count])) }
    }

    @Test("what is no program for this machine is told")
    func others() throws {
        #expect(
            try reason(program(loader: "/x", is64Bit: true, machine: 183))
                == "it is a program for another machine (AArch64)")
        #expect(
            try reason(program(loader: "/x", is64Bit: true, machine: 62), 0o755, .notAProgram)
                == "it is a 64-bit program that this kernel cannot run")
        let whole = program(loader: "/x", is64Bit: true, machine: 62)
        for count in [20, 63, 64, 100, 119] {
            #expect(try reason(Array(whole[..<count]), 0o755, .notAProgram) == "it is cut off")
        }
        #expect(try reason([]) == "it is empty")
        #expect(
            try reason(Array("echo\n".utf8))
                == "it is neither an ELF program nor a script that begins with #!")
        #expect(try reason(Array("#!/bin/sh\n".utf8), 0o644) == "it is not executable")
        #expect(ProgramTrouble.reason("/tmp").map { string($0) } == "it is a directory")
        #expect(ProgramTrouble.reason("/no/such") == nil)
    }

    @Test("a module names those that it needs, and the kernel that it is for")
    func modules() throws {
        let start: [UInt8] = [0x7F, 0x45, 0x4C, 0x46, 2, 1, 1, 0]
        let info = start + Array("\0depends=mini-none,mini_other\0vermagic=0.1-x SMP \0".utf8)
        try withFile(info) { name in
            let file = try Descriptor.open(name, .readOnly)
            #expect(
                ModuleTrouble.reason(file, .noSuchFile).map { string($0) }
                    == "it needs modules that are not loaded yet: mini_none, mini_other")
            let version = ModuleTrouble.reason(file, .notAProgram) ?? ""
            #expect(string(version).hasPrefix("it is a module for Linux 0.1-x, and this is Linux "))
            #expect(ModuleTrouble.reason(file, .notPermitted) == nil)
            // It may become shorter meanwhile, which a mapping would be the end of process 1 for.
            let isMapped = Mutex(false)
            let again = SystemCall.hooked({ call in
                let number = call.arguments.4
                if call.number == .map && number != -1 { isMapped.withLock { $0 = true } }
                return nil
            }) { ModuleTrouble.reason(file, .notAProgram) }
            #expect(again != nil && !isMapped.withLock { $0 })
        }
        let packed = Packer.gzip(info)
        try withFile(packed) { name in
            let file = try Descriptor.open(name, .readOnly)
            #expect(
                ModuleTrouble.reason(file, .noSuchFile)
                    == "it needs modules that are not loaded yet: mini_none, mini_other")
            let version = ModuleTrouble.reason(file, .notAProgram) ?? ""
            #expect(string(version).hasPrefix("it is a module for Linux 0.1-x, and this is Linux "))
        }
        // What is damaged, and what only the kernel unpacks.
        for bytes in [Array(packed.dropLast(9)), [0x5D, 0, 0, 1, 2, 3]] {
            try withFile(bytes) { name in
                let file = try Descriptor.open(name, .readOnly)
                #expect(ModuleTrouble.reason(file, .notAProgram) == nil)
                #expect(ModuleTrouble.reason(file, .noSuchFile) == nil)
            }
        }
        try withFile(Array("text".utf8)) { name in
            let file = try Descriptor.open(name, .readOnly)
            #expect(ModuleTrouble.reason(file, .notAProgram) == "it is no module")
        }
    }

    @Test(
        "a module that the kernel does not unpack, or does not take from a file, is loaded from memory"
    )
    func moduleImages() throws {
        let module: [UInt8] = [0x7F, 0x45, 0x4C, 0x46, 2, 1, 1, 0] + Array("\0vermagic=x \0".utf8)
        /// What was loaded from memory, and what was said.
        func load(_ bytes: [UInt8], _ file: Errno, _ image: Errno? = nil) throws -> (
            image: [UInt8]?, error: String?
        ) {
            let taken = Mutex<[UInt8]?>(nil)
            let hook: @Sendable (SystemCall) -> Int? = { call in
                if call.number == .loadModule { return -Int(file.rawValue) }
                guard call.number == .loadModuleImage else { return nil }
                let (start, count, text, _, _, _) = call.arguments
                #expect(
                    String(cString: UnsafePointer<CChar>(bitPattern: text)!) == "p=1")
                let bytes = UnsafeRawBufferPointer(
                    start: UnsafeRawPointer(bitPattern: start), count: count)
                taken.withLock { $0 = Array(bytes) }
                return image.map { -Int($0.rawValue) } ?? 0
            }
            var said: String?
            try withFile(bytes) { name in
                said = SystemCall.hooked(hook) { () -> String? in
                    do throws(InitError) { try InitStatements.load(name, "p=1") } catch {
                        return string(error.text)
                    }
                    return nil
                }
            }
            return (taken.withLock { $0 }, said)
        }
        let packed = Packer.gzip(module)
        for errno in [Errno.invalid, .notAProgram, .unsupported, .notImplemented] {
            let loaded = try load(packed, errno)
            #expect(loaded.image == module && loaded.error == nil)
        }
        let plain = try load(module, .notImplemented)
        #expect(plain.image == module && plain.error == nil)
        #expect(try load(packed, .invalid, .exists).error == nil)
        // What is not packed, or is damaged, would not be taken the second time.
        for (bytes, errno) in [
            (module, .invalid), (module, .notAProgram), (Array(packed.dropLast(9)), .invalid),
            (packed, .notPermitted), ([], .notImplemented),
        ] as [([UInt8], Errno)] {
            let refused = try load(bytes, errno)
            #expect(refused.image == nil)
            #expect(refused.error?.hasPrefix("cannot load module ") == true)
        }
        let refused = try load(packed, .invalid, .notPermitted).error
        #expect(refused?.hasSuffix(": operation not permitted (EPERM)") == true)
    }
}
