// Kernels and guests in words, for `--check` and `--verbose`.

extension LoadedKernel {
    /// What the image is, a line each.
    var description: [Text] {
        var lines: [Text] = []
        switch format {
        case .elf: lines.append("format       ELF vmlinux, \(size) bytes")
        case .bzImage(let member):
            lines.append("format       bzImage, \(size) bytes, compressed kernel at byte \(member)")
        }
        lines.append("version      \(visible: version)")
        lines.append("lguest era   \(era.name)")
        lines.append("entry        \(hex: entry, width: 8)")
        lines.append("page offset  \(hex: pageOffset, width: 8)")
        for (index, segment) in segments.enumerated() {
            lines.append("segment \(index)    \(segment.description)")
        }
        return lines
    }

    /// The banner, without the newline at its end.
    fileprivate var version: Text {
        guard let banner else { return "not told by the image" }
        return Text(bytes: Array(banner.bytes.prefix { $0 != 10 && $0 != 0 }))
    }
}

extension StockKernel {
    /// What the file says and what is inside, a line each.
    var description: [Text] {
        var lines = unified?.description ?? []
        if let header {
            lines.append(
                "format       \(header.isLoadedHigh ? "bzImage" : "zImage"), \(size) bytes, boot protocol \(header.protocolVersion >> 8).\(twoDigits(header.protocolVersion & 0xFF))"
            )
        } else {
            lines.append("format       ELF vmlinux, \(size) bytes")
        }
        lines.append("version      \(visible: banner ?? "not told by the image")")
        if let payload { lines.append("compressed   \(payload.description)") }
        if let vmlinux {
            let isHidden = vmlinux.width == .bits32 && mode == .protectedToLong
            lines.append(
                "kernel       \(vmlinux.width == .bits64 ? "64" : "32")-bit ELF\(isHidden ? ", which goes on to 64-bit mode" : "")"
            )
            for (index, segment) in vmlinux.segments.enumerated() {
                lines.append("segment \(index)    \(segment.description)")
            }
        }
        lines.append("entries      \(entries)")
        if let header { lines += header.description }
        if let (least, working) = mebibytes {
            lines.append(
                "memory       \(least) MiB at least to be loaded, some \(least + working) MiB to work in, \(unified?.initrd == nil ? "without an" : "with its") initrd"
            )
        }
        return lines
    }

    private func twoDigits(_ number: UInt16) -> Text { "\(number / 10)\(number % 10)" }

    private var entries: Text {
        var text: Text = ""
        if let header {
            text += "16-bit, 32-bit"
            if header.is64Bit { text += ", 64-bit" }
        }
        if let vmlinux {
            if header != nil { text += ", " }
            text +=
                "ELF at \(hex: vmlinux.entry, width: 8) (\(vmlinux.width == .bits64 ? "64" : "32")-bit)"
            if let entry = vmlinux.pvhEntry { text += ", PVH at \(hex: entry, width: 8)" }
        }
        return text
    }
}

extension UnifiedImage {
    /// What it is and its parts, a line each.
    fileprivate var description: [Text] {
        var lines: [Text] = [
            "format       unified kernel image for \(machine), \(size) bytes",
            ".linux       \(kernel.description)",
        ]
        if let initrd { lines.append(".initrd      \(initrd.description)") }
        if !commandLine.isEmpty {
            lines.append(".cmdline     \(visible: CommandLine.joined(commandLine))")
        }
        if let system { lines.append(".osrel       \(visible: system)") }
        if let release { lines.append(".uname       \(visible: release)") }
        return lines
    }
}

extension UnifiedImage.Part {
    fileprivate var description: Text { "\(count) bytes at byte \(offset)" }
}

extension StockKernel.Payload {
    fileprivate var description: Text {
        compression.isUnpacked
            ? "\(compression.name), \(length) bytes at byte \(offset), unpacked \(unpackedSize)"
            : "\(compression.name), which mini does not unpack: enters the image's own unpacker"
    }
}

extension SetupHeader {
    /// Where it wants to be and what its limits are.
    fileprivate var description: [Text] {
        var line: Text = "place        \(hex: place, width: 8)"
        if isRelocatable {
            line += ", or elsewhere"
            if let alignment { line += " at a multiple of \(hex: alignment)" }
        }
        if let initSize { line += "; needs \(initSize) bytes from there on" }
        return [
            line,
            "limits       \(commandLineLimit) bytes of command line, initrd up to \(hex: initrdLimit, width: 8)",
        ]
    }
}

extension Text {
    /// A segment's flags as in a list of files.
    fileprivate mutating func appendInterpolation(access flags: UInt32) {
        append(UInt8(ascii: flags & 4 != 0 ? "r" : "-"))
        append(UInt8(ascii: flags & 2 != 0 ? "w" : "-"))
        append(UInt8(ascii: flags & 1 != 0 ? "x" : "-"))
    }
}

extension Vmlinux.Segment {
    fileprivate var description: Text {
        """
        \(hex: address, width: 8)-\(hex: end, width: 8) \
        \(access: flags)\
         \(memorySize) bytes, \(fileSize) of them at byte \(fileOffset)
        """
    }
}

extension ImageSegment {
    /// Where it lies in memory and in the file, and what it may be used for.
    fileprivate var description: Text {
        """
        \(hex: address, width: 8)-\(hex: address &+ memorySize, width: 8) \
        \(access: flags)\
         \(memorySize) bytes, \(fileSize) of them at byte \(fileOffset) of the file
        """
    }
}

extension LoadedGuest {
    /// What a person should know of it in any case.
    var remark: Text? {
        layout.reducedFrom.map { asked in
            "\(quoted: kernel.name) can use \(layout.memory >> 20) MiB of memory, and gets no more of the \(asked) MiB"
        }
    }

    /// What was made of the files, a line each.
    var description: [Text] {
        var lines: [Text] = [
            "\(quoted: kernel.name) is lguest era \(kernel.era.name): \(visible: kernel.version)",
            "entry \(hex: kernel.entry, width: 8), page offset \(hex: kernel.pageOffset, width: 8)",
            "memory of \(layout.memory >> 20) MiB, devices at \(hex: layout.descriptorPage, width: 8)",
            "page directory at \(hex: layout.pageDirectory, width: 8), \(layout.pageTableCount) tables at \(hex: layout.pageTables, width: 8)",
        ]
        if layout.initrdSize > 0 {
            lines.append("initrd at \(hex: layout.initrd, width: 8), \(layout.initrdSize) bytes")
        }
        return lines
    }
}
