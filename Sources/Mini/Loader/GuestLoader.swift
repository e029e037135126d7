// From files and figures to a guest that only has to be initialized: takes the memory, loads
// the kernel, decides the layout, lays the initrd into it, and writes tables and boot
// parameters. Source: docs/abi/lguest.md §2.

/// An open file with the name that the user gave it.
struct NamedFile {
    let name: Text
    /// Stays open, and is its owner's to close.
    let descriptor: Int32
    /// What the kernel says of it, where it was asked already.
    var status: FileStatus?
}

/// A guest ready to be initialized: everything that the INITIALIZE words are made of.
final class LoadedGuest {
    let memory: GuestMemory
    let kernel: LoadedKernel
    let layout: GuestLayout

    init(memory: GuestMemory, kernel: LoadedKernel, layout: GuestLayout) {
        self.memory = memory
        self.kernel = kernel
        self.layout = layout
    }
}

enum GuestLoader {
    /// - Parameters:
    ///   - kernel: an examined kernel file.
    ///   - memory: made for what is possible of so many MiB, and still zero.
    ///   - mebibytes: RAM.
    ///   - initrd: nil for none.
    ///   - commandLine: what the kernel gets to read.
    /// - Throws: the first reason not to start.
    static func load(
        _ kernel: borrowing KernelImage, into memory: GuestMemory, mebibytes: UInt32,
        initrd: NamedFile? = nil, commandLine: CommandLine
    ) throws(LoaderError) -> LoadedGuest {
        let loaded = try kernel.load(into: memory, mebibytes: GuestLayout.possible(mebibytes))
        let layout = try GuestLayout(
            mebibytes: mebibytes, kernel: loaded,
            initrd: try size(initrd))
        if let initrd { try map(initrd, layout, into: memory) }
        BootPageTables.write(layout, loaded, to: memory)
        BootParameters.write(layout, loaded.abi, commandLine, to: memory)
        return LoadedGuest(memory: memory, kernel: loaded, layout: layout)
    }

    /// Name and size of an initrd that is a file.
    static func size(
        _ initrd: NamedFile?
    ) throws(LoaderError) -> (name: Text, size: UInt64)? {
        guard let initrd else { return nil }
        let status: FileStatus
        do throws(Errno) {
            if let known = initrd.status {
                status = known
            } else {
                status = try FileStatus.of(initrd.descriptor)
            }
        } catch {
            throw .host("read", name: initrd.name, error)
        }
        guard status.kind == .regular else {
            throw .initrdNotAFile(name: initrd.name, status.kind)
        }
        return (initrd.name, status.size)
    }

    /// The initrd begins at a page in file and memory: all of it is mapped. What its last page
    /// has beyond the end of the file is zero.
    private static func map(
        _ initrd: NamedFile, _ layout: GuestLayout, into memory: GuestMemory
    ) throws(LoaderError) {
        do throws(Errno) {
            guard let range = memory.range(layout.initrd, layout.initrdSize) else {
                throw .badAddress
            }
            try memory.map(range, file: initrd.descriptor, fileOffset: 0)
        } catch { throw .map(initrd.name, error) }
    }
}
