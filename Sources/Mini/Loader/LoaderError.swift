// Everything that can keep a file from becoming a guest's memory, each with the one line that a
// person reads. An `ImageError` says what a kernel file is instead of a kernel of ours.

/// Why a kernel image is refused. Prints as a noun phrase: "a 64-bit kernel".
enum ImageError: Error, Equatable {
    // What is no kernel at all.
    case empty
    case directory
    case notAFile
    case tooLarge
    /// The kind, as "a shell script".
    case notAKernel(Text)
    /// A kernel's image that no PC starts, as "an arm64 Image".
    case foreignKernel(Text)

    // Unified kernel images.
    /// One that may be started as a PC's.
    case unified
    /// What is wrong with its structure, as "it has .linux twice".
    case damagedUnified(Text)
    /// The file has `size` bytes, the section ends at byte `end`.
    case unifiedCutOff(section: Text, end: UInt64, size: UInt64)

    // ELF files that are not a vmlinux of ours.
    case kernel64(version: Text?)
    case bigEndian
    /// ELF machine number.
    case otherMachine(UInt16)
    case sharedObject
    case objectFile
    case coreDump
    case unknownElfType(UInt16)
    case userProgram(bits: Int)
    /// Linked at the addresses of a program, but without an interpreter or a PVH note: some other loader's image.
    case otherLoader(bits: Int)
    /// As GRUB loads them: Xen, GNU Mach.
    case multiboot
    /// What is wrong with the file's structure, as "program header 3 lies beyond the file".
    case damagedElf(Text)
    /// The file has `size` bytes, segment `segment` ends at byte `end`.
    case elfCutOff(segment: Int, end: UInt64, size: UInt64)

    // Kernels that speak something else.
    case zImage(version: Text?)
    /// 4.14 or later; the method if it is compressed with something else than gzip.
    case withoutLguest(version: Text, compression: Text? = nil)
    /// An old enough kernel with CONFIG_LGUEST_GUEST off.
    case lguestGuestOff(version: Text)
    case noLguestEntry
    case entryOutside(address: UInt32)
    /// Of a PC's kernel it would be physical.
    case virtualEntry
    case pageOffsetUnknown
    /// A kernel without an ELF header that is linked for an unknown address.
    case addressUnknown

    // bzImages.
    case otherCompression(Text, version: Text?)
    case noCompressedKernel(version: Text?)
    /// A bzImage of something else, like a memory test.
    case notLinux(version: Text?)
    /// A bzImage for a BIOS alone.
    case realModeOnly
    case bzImageCutOff(size: UInt64, expected: UInt64)
    /// The byte of the file where the packed kernel is damaged.
    case damaged(Compression, at: Int, UnpackFailure)

    /// All in MiB; `working` is what it should have beside what it is loaded into.
    case needsMemory(needed: UInt32, working: UInt32? = nil, available: UInt32)
}

/// Why a guest's memory cannot be filled.
enum LoaderError: Error, Equatable {
    case image(name: Text, ImageError)
    /// What was tried (as "read the kernel"), on which file.
    case host(Text, name: Text, Errno)
    /// A file that was mapped is shorter than it was.
    case fileCut(name: Text)
    /// A file that can only be read.
    case notMapped(name: Text)
    /// What was tried (as "open"), on which name of granted pages.
    case source(Text, name: Text, GrantError)
    /// What was tried (as "copy grants").
    case system(Text, Errno)
    /// The host has no room for this many MiB.
    case guestMemory(mebibytes: UInt32, Errno)
    case memoryTooSmall(mebibytes: UInt32, least: UInt32)
    case memoryTooLarge(mebibytes: UInt32, most: UInt32)
    case initrdEmpty(name: Text)
    case initrdNotAFile(name: Text, FileStatus.Kind)
    /// Bytes of the initrd, bytes that are free for it, memory in MiB.
    case initrdTooLarge(name: Text, size: UInt64, room: UInt32, mebibytes: UInt32)
    /// Bytes, NUL included.
    case commandLineTooLong(length: Int, limit: Int)

    /// Why a file is not mapped. Files that the kernel makes up say that in several ways.
    static func map(_ name: Text, _ errno: Errno) -> LoaderError {
        [.noDevice, .inputOutput, .accessDenied].contains(errno)
            ? .notMapped(name: name) : .host("map", name: name, errno)
    }

    /// The exit code of mini-launch that goes with it.
    var exitCode: Int32 {
        switch self {
        case .source(_, _, .use): 2
        case .source, .host, .system, .guestMemory, .fileCut: 1
        case .memoryTooSmall, .memoryTooLarge, .commandLineTooLong: 2
        case .image, .notMapped, .initrdEmpty, .initrdNotAFile, .initrdTooLarge: 3
        }
    }

    /// One line without the program's name in front.
    var text: Text {
        switch self {
        case .image(let name, let error): "cannot start \(quoted: name): \(error.text)"
        case .host(let action, let name, let errno):
            "cannot \(action) \(quoted: name): \(errno)"
        case .fileCut(let name): "\(quoted: name) became shorter while it was in use"
        case .notMapped(let name):
            "\(quoted: name) cannot be mapped, as files of /proc and /sys: copy it first"
        case .source(let action, let name, let error):
            "cannot \(action) \(quoted: name): \(error.text)"
        case .system(let action, let errno): "cannot \(action): \(errno)"
        case .guestMemory(let size, let errno):
            "cannot get \(size) MiB of memory for the guest: \(errno)"
        case .memoryTooSmall(let size, let least):
            "memory of \(size) MiB is too small: a guest needs at least \(least) MiB"
        case .memoryTooLarge(let size, let most):
            "memory of \(size) MiB is too large: a guest can have at most \(most) MiB"
        case .initrdEmpty(let name): "initrd \(quoted: name) is an empty file"
        case .initrdNotAFile(let name, .directory): "initrd \(quoted: name) is a directory"
        case .initrdNotAFile(let name, _): "initrd \(quoted: name) is not a regular file"
        case .initrdTooLarge(let name, let size, let room, let memory):
            "initrd \(quoted: name) of \(size) bytes is too large: \(memory) MiB of memory leave \(room) bytes for it"
        case .commandLineTooLong(let length, let limit):
            "the kernel's command line is too long: \(length - 1) bytes, at most \(limit - 1) fit"
        }
    }
}

extension ImageError {
    /// True for what keeps us from looking inside and not the image's own unpacker.
    var isForTheGuest: Bool {
        if case .noCompressedKernel = self { return true }
        return false
    }

    /// True for what may be started as a PC's kernel.
    var mayBePC: Bool {
        switch self {
        case .noLguestEntry, .pageOffsetUnknown, .addressUnknown: true
        // It may unpack itself, if it is Linux by its own word: others that are packed so call a BIOS.
        case .noCompressedKernel(.some): true
        default: isStock
        }
    }

    /// True for a sound kernel, as far as was looked, that is not for lguest.
    var isStock: Bool {
        switch self {
        case .kernel64, .withoutLguest, .lguestGuestOff, .otherCompression, .notLinux, .unified:
            true
        default: false
        }
    }

    /// What the file is, or what is wrong with it.
    var text: Text {
        switch self {
        case .empty: "an empty file"
        case .directory: "a directory"
        case .notAFile: "not a regular file"
        case .tooLarge: "a file too large to be a kernel"
        case .notAKernel(let kind): "not a kernel: \(kind)"
        case .foreignKernel(let kind): "a kernel for another machine: \(kind)"
        case .unified: "a unified kernel image, which only a PC starts"
        case .damagedUnified(let what): "a damaged unified kernel image: \(what)"
        case .unifiedCutOff(let section, let end, let size):
            "a unified kernel image cut off at byte \(size): its \(section) ends at byte \(end)"
        case .kernel64(let version): "a 64-bit kernel\(Self.remark(version))"
        case .bigEndian: "an ELF file for a big-endian machine"
        case .otherMachine(let machine):
            "an ELF file for another machine (\(Self.machine(machine)))"
        case .sharedObject: "an ELF shared object or position-independent program, not a kernel"
        case .objectFile: "an ELF object file or kernel module, not a linked kernel"
        case .coreDump: "an ELF core dump, not a kernel"
        case .unknownElfType(let type): "an ELF file of unknown type \(type)"
        case .userProgram(let bits): "not a kernel: a \(bits)-bit ELF program for user space"
        case .otherLoader(let bits): "a \(bits)-bit ELF program, or a kernel for another loader"
        case .multiboot: "a Multiboot kernel, which GRUB starts"
        case .damagedElf(let what): "a damaged ELF file: \(what)"
        case .elfCutOff(let segment, let end, let size):
            "an ELF file cut off at byte \(size): segment \(segment) ends at byte \(end)"
        case .zImage(let version): "a zImage, not a bzImage\(Self.remark(version))"
        case .withoutLguest(let version, nil):
            "Linux \(visible: version), which no longer speaks lguest"
        case .withoutLguest(let version, let method?):
            "Linux \(visible: version), which no longer speaks lguest (a bzImage compressed with \(method))"
        case .lguestGuestOff(let version):
            "Linux \(visible: version) without lguest support (CONFIG_LGUEST_GUEST is off)"
        case .noLguestEntry: "not a kernel for lguest: it has no lguest entry and no Linux banner"
        case .entryOutside(let address):
            "a damaged kernel: its entry \(hex: address) is in no segment"
        case .virtualEntry: "a guest of lguest alone: its entry is a virtual address"
        case .pageOffsetUnknown: "a kernel whose page offset cannot be told"
        case .addressUnknown: "a kernel whose address in memory cannot be told"
        case .otherCompression(let method, let version):
            "a bzImage compressed with \(method)\(Self.remark(version)), which mini does not unpack"
        case .noCompressedKernel(let version):
            "a bzImage without a gzip-compressed kernel\(Self.remark(version))"
        case .notLinux(let version):
            "a bzImage that holds no Linux\(version.map { " (\(visible: $0))" } ?? "")"
        case .realModeOnly: "a bzImage that starts in real mode alone, on a BIOS"
        case .bzImageCutOff(let size, let expected):
            "a bzImage cut off at byte \(size) of \(expected)"
        case .damaged(let compression, let at, .endsEarly):
            "\(compression.name) data that ends early at byte \(at)"
        case .damaged(let compression, let at, .corrupt(let what)):
            "corrupt \(compression.name) data at byte \(at): \(what)"
        case .damaged(let compression, let at, .wrongChecksum):
            "corrupt \(compression.name) data: wrong checksum at byte \(at)"
        case .damaged(let compression, let at, .wrongLength):
            "corrupt \(compression.name) data: wrong length at byte \(at)"
        case .damaged(let compression, let at, .full):
            "\(compression.name) data too large for their room at byte \(at)"
        case .needsMemory(let needed, let working?, let available):
            "it needs \(needed) MiB of memory to be loaded, and some \(working) MiB more to work in; the guest has \(available) MiB"
        case .needsMemory(let needed, nil, let available):
            "it needs \(needed) MiB of memory, the guest has \(available) MiB"
        }
    }

    private static func remark(_ version: Text?) -> Text {
        version.map { " (Linux \(visible: $0))" } ?? ""
    }

    /// Source: the registry of ELF machine numbers.
    static func machine(_ number: UInt16) -> Text {
        switch number {
        case 2, 18, 43: "SPARC"
        case 4: "Motorola 68000"
        case 8, 10: "MIPS"
        case 15: "PA-RISC"
        case 20, 21: "PowerPC"
        case 22: "S/390"
        case 40: "ARM"
        case 42: "SuperH"
        case 50: "Itanium"
        case 183: "AArch64"
        case 243: "RISC-V"
        case 258: "LoongArch"
        case 0x9026: "Alpha"
        default: "number \(number)"
        }
    }
}
