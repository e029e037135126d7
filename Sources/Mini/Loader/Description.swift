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

extension ImageSegment {
    /// Where it lies in memory and in the file, and what it may be used for.
    fileprivate var description: Text {
        """
        \(hex: address, width: 8)-\(hex: address &+ memorySize, width: 8) \
        \(flags & 4 != 0 ? "r" : "-")\(flags & 2 != 0 ? "w" : "-")\(flags & 1 != 0 ? "x" : "-")\
         \(memorySize) bytes, \(fileSize) of them at byte \(fileOffset) of the file
        """
    }
}

extension LoadedGuest {
    /// What was made of the files, a line each.
    var description: [Text] {
        var lines: [Text] = [
            "\(quoted: kernel.name) is lguest era \(kernel.era.name): \(visible: kernel.version)",
            "entry \(hex: kernel.entry, width: 8), page offset \(hex: kernel.pageOffset, width: 8)",
            "memory of \(layout.memory >> 20) MiB, devices at \(hex: layout.descriptorPage, width: 8)",
            "page directory at \(hex: layout.pageDirectory, width: 8), \(layout.pageTableCount) tables at \(hex: layout.pageTables, width: 8)",
        ]
        if let asked = layout.reducedFrom {
            lines.append("of \(asked) MiB the kernel can use \(layout.memory >> 20)")
        }
        if layout.initrdSize > 0 {
            lines.append("initrd at \(hex: layout.initrd, width: 8), \(layout.initrdSize) bytes")
        }
        return lines
    }
}
