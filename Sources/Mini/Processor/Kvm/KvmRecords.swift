// What /dev/kvm's requests are numbered and how their records lie: the same for 32-bit and 64-bit callers.
// Source: docs/abi/pc.md §5.1; the kernel's KVM API.

enum KvmRequest {
    // Of the system.
    static let version = IoctlRequest(number: 0xAE00)
    static let makeVirtualMachine = IoctlRequest(number: 0xAE01)
    static let hasExtension = IoctlRequest(number: 0xAE03)
    static let runSize = IoctlRequest(number: 0xAE04)
    static let supportedIdentification = IoctlRequest(number: 0xC008_AE05)
    // Of a virtual machine.
    static let makeProcessor = IoctlRequest(number: 0xAE41)
    static let setMemory = IoctlRequest(number: 0x4020_AE46)
    static let setTaskAddress = IoctlRequest(number: 0xAE47)
    static let putOffWrites = IoctlRequest(number: 0x4010_AE67)
    // Of a processor.
    static let run = IoctlRequest(number: 0xAE80)
    static let registers = IoctlRequest(number: 0x8090_AE81)
    static let setRegisters = IoctlRequest(number: 0x4090_AE82)
    static let systemRegisters = IoctlRequest(number: 0x8138_AE83)
    static let setSystemRegisters = IoctlRequest(number: 0x4138_AE84)
    static let interrupt = IoctlRequest(number: 0x4004_AE86)
    static let setModelRegisters = IoctlRequest(number: 0x4008_AE89)
    static let setSignalMask = IoctlRequest(number: 0x4004_AE8B)
    static let setFloatingPoint = IoctlRequest(number: 0x41A0_AE8D)
    static let setIdentification = IoctlRequest(number: 0x4008_AE90)
    static let events = IoctlRequest(number: 0x8040_AE9F)
    static let setEvents = IoctlRequest(number: 0x4040_AEA0)
    static let setDebugRegisters = IoctlRequest(number: 0x4080_AEA2)
    static let tellStop = IoctlRequest(number: 0xAEAD)
}

/// Offsets in struct kvm_run, the page that is shared with the kernel.
enum KvmRun {
    static let wantsWindow = 0
    /// The run ends before the guest does anything, and after the kernel has ended what the last one left.
    static let endsAtOnce = 1
    static let exitReason = 8
    static let canInject = 0xC
    static let interruptFlag = 0xD
    /// CR8, given to the next run.
    static let priority = 0x10
    static let portDirection = 0x20
    static let portSize = 0x21
    static let port = 0x22
    static let portCount = 0x24
    static let portData = 0x28
    static let memoryAddress = 0x20
    static let memoryData = 0x28
    static let memoryLength = 0x30
    static let memoryIsWrite = 0x34
    static let subError = 0x20
}

/// Offsets in struct kvm_coalesced_mmio_ring, the page with the writes to ports that end no run.
enum KvmRing {
    static let count = 4096
    /// The index of the next to be taken, and that of the next to be put there by the kernel.
    static let first = 0
    static let last = 4
    /// struct kvm_coalesced_mmio: the port, eight bytes; the size, four; the value.
    static let writes = 8
    static let writeCount = 24
    static let size = 8
    static let value = 16
    static let most = UInt32((count - writes) / writeCount)
}

enum KvmExit {
    static let port: UInt32 = 2
    static let halt: UInt32 = 5
    static let memory: UInt32 = 6
    static let interruptWindow: UInt32 = 7
    static let shutdown: UInt32 = 8
    static let interrupted: UInt32 = 10
    static let priority: UInt32 = 11
    static let internalError: UInt32 = 17
}

/// Offsets in struct kvm_regs, 144 bytes, and struct kvm_sregs, 312 bytes.
enum KvmRegisters {
    static let count = 144
    /// rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8 to r15, rip, rflags.
    static func offset(_ register: ProcessorRegister) -> Int {
        switch register {
        case .eax: 0x00
        case .ebx: 0x08
        case .ecx: 0x10
        case .edx: 0x18
        case .esi: 0x20
        case .edi: 0x28
        case .esp: 0x30
        case .ebp: 0x38
        case .eip: 0x80
        case .eflags: 0x88
        }
    }

    static let systemCount = 312
    static let code = 0x00
    /// ds, es, fs, gs, ss.
    static let data = [0x18, 0x30, 0x48, 0x60, 0x78]
    static let task = 0x90
    static let localTable = 0xA8
    static let globalTable = 0xC0
    static let interruptTable = 0xD0
    static let cr0 = 0xE0
    static let cr3 = 0xF0
    static let cr4 = 0xF8
    static let efer = 0x108
    static let apicBase = 0x110
}

/// A piece of memory that records are put together in, by offsets.
@safe struct RecordBytes {
    let start: UnsafeMutableRawPointer
    let count: Int
    var address: Int { Int(bitPattern: unsafe start) }

    func load<Word: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, _: Word.Type) -> Word {
        precondition(offset >= 0 && offset <= count - MemoryLayout<Word>.size)
        return unsafe start.loadUnaligned(fromByteOffset: offset, as: Word.self)
    }

    func store<Word: FixedWidthInteger & BitwiseCopyable>(_ value: Word, at offset: Int) {
        precondition(offset >= 0 && offset <= count - MemoryLayout<Word>.size)
        unsafe start.storeBytes(of: value, toByteOffset: offset, as: Word.self)
    }

    func clear(_ bytes: Int) {
        precondition(bytes >= 0 && bytes <= count)
        unsafe start.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
    }
}
