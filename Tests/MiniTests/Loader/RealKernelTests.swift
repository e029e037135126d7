// Loads real kernels, if there are any: the environment's MINI_KERNELS names a directory with
// era0/vmlinux, era0/bzImage, era1/vmlinux and so on. Without one the test is skipped.

import Foundation
import Testing

@testable import Mini

private let kernels = ProcessInfo.processInfo.environment["MINI_KERNELS"] ?? "/nonexistent"
private let eras = [GuestABI.Era.era0, .era1a, .era1, .era1b, .era1c].filter { era in
    ["vmlinux", "bzImage"].allSatisfy {
        FileManager.default.fileExists(atPath: "\(kernels)/era\(era.name)/\($0)")
    }
}

@Suite struct RealKernelTests {
    @Test(
        "a real kernel's vmlinux and bzImage are of the same era and load the same memory",
        .enabled(if: !eras.isEmpty, "MINI_KERNELS does not name a folder with era1/vmlinux…"),
        arguments: eras)
    func same(_ era: GuestABI.Era) throws {
        let folder = "\(kernels)/era\(era.name)"
        func load(_ name: String) throws -> LoadedGuest {
            let path = Text(stringLiteral: "\(folder)/\(name)")
            let file = try Descriptor.open(path, .readOnly)
            let image = try KernelImage.examine(file.number, name: path)
            return try GuestLoader.load(
                image, mebibytes: 64, commandLine: try CommandLine(["root=/dev/ram"]))
        }
        let vmlinux = try load("vmlinux")
        let bzImage = try load("bzImage")
        #expect(vmlinux.kernel.era == era && bzImage.kernel.era == era)
        #expect(vmlinux.kernel.entry == bzImage.kernel.entry)
        #expect(vmlinux.kernel.pageOffset == bzImage.kernel.pageOffset)
        #expect(vmlinux.kernel.banner == bzImage.kernel.banner)
        #expect(vmlinux.kernel.data != nil && vmlinux.kernel.data == bzImage.kernel.data)
        #expect(vmlinux.kernel.segments.contains { $0.mapped > 0 })
        // All of it: kernel, tables, parameters, and the zeros between them.
        let first = bytes(of: vmlinux.memory, 0, vmlinux.memory.count)
        let second = bytes(of: bzImage.memory, 0, bzImage.memory.count)
        #expect(first == second)
    }
}
