// Whether /dev/kvm is one that guests can be run on. That it is there and answers says nothing: the KVM of some clouds runs 64-bit
// code at half a million instructions a second, by interpreting it, and no 32-bit code with paging at all. So a few thousand
// instructions are run, with a limit of time, in the mode that the guest will be in.
// Source: docs/abi/pc.md §5.4.

extension KvmVirtualMachine {
    /// A virtual machine that was found to run such a guest.
    static func probed(_ mode: ProcessorStart.Mode) throws(KvmError) -> KvmVirtualMachine {
        let virtualMachine = try KvmVirtualMachine()
        try virtualMachine.probe(mode)
        return virtualMachine
    }

    /// Rounds of the loop that must have ended within the limit, of two instructions each; a processor runs them in
    /// microseconds.
    private static let rounds: UInt32 = 20_000
    static let limit = Nanoseconds.milliseconds(20)
    /// With fewer rounds than this within the limit the host did not let the guest run.
    private static let fewRounds: UInt32 = 500
    private static let tries = 4
    private static let code: UInt32 = 0x2_0000
    private static let tables: UInt32 = 0x3_0000
    private static let size: UInt32 = 0x4_0000

    private func probe(_ mode: ProcessorStart.Mode) throws(KvmError) {
        let memory: GuestMemory
        do throws(Errno) { memory = try GuestMemory(count: Self.size) } catch {
            throw .refused("get memory", error)
        }
        let processor = try KvmProcessor(
            self, memory: memory, start: Self.layProgram(mode, into: memory))
        for _ in 0..<Self.tries {
            switch processor.run(until: Clock.monotonic() + Self.limit, atMost: nil) {
            case .halt: return
            case .deadline, .stretchEnded, .signal:
                let left = UInt32(truncatingIfNeeded: processor.register(.ecx))
                // A machine that is too busy to let us run has not begun, or is where it was.
                if left > 0 && left < Self.rounds - Self.fewRounds { throw Self.tooSlow }
            case .shutdown where mode == .protected32:
                throw .broken("it does not run 32-bit code with paging")
            case .failed(let code): throw .failed(code)
            default: throw .broken("it does not run plain code")
            }
        }
        throw Self.tooSlow
    }

    /// The loop that is run, of two instructions a round, with the page tables that its mode wants.
    private static func layProgram(
        _ mode: ProcessorStart.Mode, into memory: GuestMemory
    ) -> ProcessorStart {
        var start = ProcessorStart(
            mode: mode, entry: UInt64(code), stack: UInt64(code),
            parameters: 0, globalTable: 0, globalTableLimit: 0)
        // mov ecx, n; dec ecx; jnz; hlt. In 32-bit mode dec is FF C9 as well.
        var bytes: [UInt8] = [
            0xB9, UInt8(rounds & 0xFF), UInt8(rounds >> 8 & 0xFF), 0, 0, 0xFF, 0xC9, 0x75, 0xFC,
            0xF4,
        ]
        let large: UInt32 = 0x83  // A page by itself: present, writable, large.
        switch mode {
        case .long64, .protectedToLong:
            memory.store32(tables, tables + 0x1000 | 3)
            memory.store32(tables + 0x1000, tables + 0x2000 | 3)
            memory.store32(tables + 0x2000, large)
            start.mode = .long64(pageTable: UInt64(tables))
        case .protected32:
            // Paging with pages of 4 MiB first: mov eax, tables; mov cr3, eax; mov eax, 10; mov cr4, eax;
            // mov eax, 80000011; mov cr0, eax.
            memory.store32(tables, large)
            bytes =
                [
                    0xB8, 0, 0, 3, 0, 0x0F, 0x22, 0xD8, 0xB8, 0x10, 0, 0, 0, 0x0F, 0x22, 0xE0,
                    0xB8, 0x11, 0, 0, 0x80, 0x0F, 0x22, 0xC0,
                ] + bytes
        }
        if let range = memory.range(code, UInt32(bytes.count)) {
            unsafe memory.writable(range).copyBytes(from: bytes)
        }
        return start
    }

    private static var tooSlow: KvmError { .slow(milliseconds: limit.count / 1_000_000) }
}
