// What runs guests, as far as their preparation differs by it: the kernel's device wants some
// guests' memory at a place of its choice and runs no others than its own era's. Beyond that
// the launcher does not know what it has. Source: docs/abi/lguest.md §2.1, §6.1.

/// What runs a guest that speaks lguest.
enum LguestEngine: Equatable {
    /// Runs every guest that the launcher loads.
    case builtIn
    /// The kernel's /dev/lguest, which was found to speak this.
    case device(DeviceEra)

    /// Fresh memory for a guest with this much RAM.
    func makeMemory(mebibytes: UInt32) throws(LauncherError) -> GuestMemory {
        if case .device(let era) = self, era.wantsMemoryAtZero {
            return try Self.makeMemoryAtZero(mebibytes: mebibytes)
        }
        return try loading { () throws(LoaderError) in
            try GuestLayout.makeMemory(mebibytes: mebibytes)
        }
    }

    /// The same at address 0, for the kernel's device of era 0.
    static func makeMemoryAtZero(mebibytes: UInt32) throws(LauncherError) -> GuestMemory {
        let size = try loading { () throws(LoaderError) in
            try GuestLayout.memorySize(mebibytes: mebibytes)
        }
        // The i386 program begins there (build.sh).
        let most = (programStart >> 20) - GuestLayout.devicePages / 256
        guard size <= programStart else {
            throw .engine(.tooMuchMemory(mebibytes: mebibytes, most: most))
        }
        do throws(Errno) { return try GuestMemory(count: size, at: .zero) } catch {
            if error == .noMemory {
                throw .loader(.guestMemory(mebibytes: mebibytes, error))
            }
            throw .engine(.addressZero(error))
        }
    }

    private static let programStart: UInt32 = 0x7000_0000

    /// - Throws: why it does not run this kernel.
    func admit(_ kernel: LoadedKernel) throws(LauncherError) {
        guard case .device(let era) = self else { return }
        let release = Kernel.release.flatMap { LinuxVersion($0) }
        let host = release.flatMap { LaterEra.of($0.isAtLeast, among: LaterEra.all)?.era }
        guard era.runs(kernel.era, on: host) else {
            throw .engine(.otherGuest(era, kernel.era))
        }
        guard era.mayHavePAE else { return }
        let guest = kernel.abi.hasWideTables
        let has = Self.hostHasPAE()
        if has ?? false != guest { throw .engine(.otherTables(host: has)) }
    }

    /// Whether the host's kernel has the page tables of PAE: it maps its memory in pieces of 2 MiB then, else of 4 MiB,
    /// and counts them. Nil if it does not tell.
    private static func hostHasPAE() -> Bool? {
        guard let text = try? SmallFile.read("/proc/meminfo") else { return nil }
        return unsafe text.bytes.withUnsafeBytes { bytes in
            let view = unsafe ByteView(bytes)
            if view.find("DirectMap2M:") != nil { return true }
            return view.find("DirectMap4M:") == nil ? nil : false
        }
    }
}
