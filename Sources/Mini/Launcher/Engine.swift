// What runs guests, as far as their preparation differs by it: the kernel's device wants some
// guests' memory at a place of its choice and runs no others than its own era's. Beyond that
// the launcher does not know what it has. Source: docs/abi/lguest.md §2.1, §6.1.

enum Engine: Equatable {
    /// Runs every guest that the launcher loads.
    case builtIn
    /// The kernel's /dev/lguest, which was found to speak this.
    case device(DeviceEra)

    /// Fresh memory for a guest with this much RAM.
    func makeMemory(mebibytes: UInt32) throws(LauncherError) -> GuestMemory {
        if case .device(let era) = self, era.wantsMemoryAtZero {
            return try GuestLayout.makeMemoryAtZero(mebibytes: mebibytes)
        }
        return try GuestLayout.makeMemory(mebibytes: mebibytes)
    }

    /// - Throws: why it does not run this kernel.
    func admit(_ kernel: LoadedKernel) throws(LauncherError) {
        if case .device(let era) = self, !era.runs(kernel.era) {
            throw .engine(.otherGuest(era, kernel.era))
        }
    }
}
