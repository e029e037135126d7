// Why a guest died, in the words of the kernels that had the device: people search for
// them, and the launcher tells a power-off from a crash by them. Only reasons that can
// occur here are listed: our copy of `lguest_data` cannot vanish while the guest runs.
// Source: docs/abi/lguest.md §3.5; `%#lx` prints zero as 0x0 (§1.6's measured texts).

/// What ended a guest. Addresses are guest-physical unless said otherwise.
enum DeathReason: Equatable {
    /// The guest called CRASH with this text, which is also how it powers off.
    case crash(Text)
    /// The guest pulled the reset line. run() answers ERESTART at once and ever after, as the
    /// devices of kernels do whose guests have a call for it; the text is never handed out.
    case restart
    case secondInitialization
    case callBeforeInitialization(number: UInt32)
    case badCall(number: UInt32)
    case badDataPage(address: UInt32)
    case badSystemCallVector
    case badKernelAddress(virtual: UInt32)
    /// A trap without a handler; `detail` is the fault address for trap 14, else the
    /// error code. Trap 256: a segment register could not be loaded on entry.
    case unhandledTrap(UInt32, instruction: UInt32, detail: UInt32)
    case badRead(address: UInt32)
    case badWrite(address: UInt32)
    case badBlockRead(address: UInt32, count: UInt32)
    /// A stack that is not mapped, from era 1c on.
    case badAddress(virtual: UInt32)
    case badGateType(UInt8)
    case badVector(UInt32)
    case tooManyDescriptors(UInt32)
    case badStackSegment(UInt32)
    case badStackPages(UInt32)
    case badStackPage(virtual: UInt32)
    case reservedTop
    case badPageTableEntry
    case badPageDirectoryEntry
    /// A directory's entry with PAE, of which the pointers to these are the page directory's.
    case badPageMiddleEntry
    case badDirectoryIndex(UInt32)
    case badBindingKey(UInt32)
    case badSendingKey
    case badRegisteredBuffer
    /// A section of a record for another guest, or of one to receive into.
    case badDmaEntry(address: UInt32, count: UInt32)
    case badRegisteredRecord

    /// The text that read() hands out, without its final NUL.
    /// - Parameter pageLimit: number of pages that INITIALIZE granted.
    func text(_ abi: GuestABI, pageLimit: UInt32) -> Text {
        switch self {
        case .crash(let text): "CRASH: \(text)"
        case .restart: "restart"
        case .secondInitialization: "already have lguest_data"
        case .callBeforeInitialization(let number):
            "hypercall \(signed(number)) before \(abi.firstCall)"
        case .badCall(let number): "Bad hypercall \(signed(number))\n"
        // From era 1a on the host prints its pointer before it has set it.
        case .badDataPage where abi.saysNull: "bad guest page (null)"
        case .badDataPage(let address):
            "bad guest page \(bareHex: abi.saysDataPage ? address : 0, width: 8)"
        case .badSystemCallVector: "bad syscall vector"
        case .badKernelAddress(let address): "bad kernel address \(hex: address)"
        case .unhandledTrap(let trap, let instruction, let detail):
            "unhandled trap \(trap) at \(hex: instruction) (\(hex: detail))"
        // The built-in host has no base in the launcher's address space to tell.
        case .badRead(let address) where abi.saysPageLimit:
            "bad read address \(hex: address): pfn_limit=\(pageLimit) membase=00000000"
        // What is read is an entry of the guest's page tables.
        case .badRead(let address) where abi.saysCount:
            "bad read address \(hex: address) len \(abi.hasWideTables ? 8 : 4)"
        case .badRead(let address): "bad read address \(hex: address)"
        case .badWrite(let address): "bad write address \(hex: address)"
        case .badBlockRead(let address, let count):
            "bad read address \(hex: address) len \(count)"
        case .badAddress(let address): "Bad address \(hex: address)"
        case .badGateType(let type): "bad IDT type \(type)"
        case .badVector(let vector): "Setting idt entry \(vector)"
        case .tooManyDescriptors(let count): "too many gdt entries \(signed(count))"
        case .badStackSegment(let selector): "bad stack segment \(signed(selector))"
        case .badStackPages(let count): "bad stack pages \(count)"
        case .badStackPage(let address): "bad stack page \(hex: address)"
        case .reservedTop where abi.namesSwitcherPages: "attempt to set pte into Switcher pages"
        case .reservedTop: "attempt to access switcher pages"
        case .badPageTableEntry: "bad page table entry"
        case .badPageDirectoryEntry: "bad page directory entry"
        case .badPageMiddleEntry: "bad page middle directory entry"
        case .badDirectoryIndex(let index):
            "Attempt to set pgd \(index)/\(abi.hasWideTables ? 4 : 1024)"
        case .badBindingKey(let key): "bad dma key \(hex: key)"
        case .badSendingKey: "bad sending DMA key"
        case .badRegisteredBuffer: "bad registered DMA buffer"
        case .badDmaEntry(let address, let count): "bad DMA entry: \(count)@\(hex: address)"
        case .badRegisteredRecord: "bad address in registered DMA struct"
        }
    }

    private func signed(_ number: UInt32) -> Int32 { Int32(bitPattern: number) }
}
