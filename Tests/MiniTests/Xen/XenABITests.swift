// Layouts and numbers of Xen's devices, held against the kernel's headers and against Xen's own, for
// x86_64 and for i386: the compiler compares them.

import Foundation
import Testing

@testable import Mini

/// What our structures and requests must be, with the name that the headers have for each.
private struct Record {
    var ours: String
    var theirs: String
    /// Our field, theirs.
    var fields: [(String, String)] = []
    var request: String?
}

private let gntdev = [
    Record(
        ours: "mini_grant", theirs: "ioctl_gntdev_grant_ref",
        fields: [("domain", "domid"), ("reference", "ref")]),
    Record(
        ours: "mini_gntdev_map", theirs: "ioctl_gntdev_map_grant_ref",
        fields: [("count", "count"), ("index", "index"), ("grants", "refs")],
        request: "IOCTL_GNTDEV_MAP_GRANT_REF"),
    Record(
        ours: "mini_gntdev_unmap", theirs: "ioctl_gntdev_unmap_grant_ref",
        fields: [("index", "index"), ("count", "count")], request: "IOCTL_GNTDEV_UNMAP_GRANT_REF"),
    Record(
        ours: "mini_gntdev_offset", theirs: "ioctl_gntdev_get_offset_for_vaddr",
        fields: [("address", "vaddr"), ("index", "offset"), ("count", "count")],
        request: "IOCTL_GNTDEV_GET_OFFSET_FOR_VADDR"),
    Record(
        ours: "mini_unmap_notify", theirs: "ioctl_gntdev_unmap_notify",
        fields: [("index", "index"), ("action", "action"), ("port", "event_channel_port")],
        request: "IOCTL_GNTDEV_SET_UNMAP_NOTIFY"),
    Record(
        ours: "mini_gntdev_copy", theirs: "ioctl_gntdev_grant_copy",
        fields: [("count", "count"), ("segments", "segments")],
        request: "IOCTL_GNTDEV_GRANT_COPY"),
    Record(
        ours: "mini_copy_segment", theirs: "SEGMENT",
        fields: [
            ("source", "source"), ("destination", "dest"), ("length", "len"), ("flags", "flags"),
            ("status", "status"),
        ]),
    Record(
        ours: "mini_dmabuf_wait", theirs: "ioctl_gntdev_dmabuf_exp_wait_released",
        fields: [("descriptor", "fd"), ("milliseconds", "wait_to_ms")],
        request: "IOCTL_GNTDEV_DMABUF_EXP_WAIT_RELEASED"),
]

private let gntalloc = [
    Record(
        ours: "mini_gntalloc_allocate", theirs: "ioctl_gntalloc_alloc_gref",
        fields: [
            ("domain", "domid"), ("flags", "flags"), ("count", "count"), ("index", "index"),
            ("references", "gref_ids"),
        ], request: "IOCTL_GNTALLOC_ALLOC_GREF"),
    Record(
        ours: "mini_gntalloc_free", theirs: "ioctl_gntalloc_dealloc_gref",
        fields: [("index", "index"), ("count", "count")], request: "IOCTL_GNTALLOC_DEALLOC_GREF"),
    Record(
        ours: "mini_unmap_notify", theirs: "ioctl_gntalloc_unmap_notify",
        fields: [("index", "index"), ("action", "action"), ("port", "event_channel_port")],
        request: "IOCTL_GNTALLOC_SET_UNMAP_NOTIFY"),
]

private let evtchn = [
    Record(
        ours: "mini_evtchn_interdomain", theirs: "ioctl_evtchn_bind_interdomain",
        fields: [("domain", "remote_domain"), ("port", "remote_port")],
        request: "IOCTL_EVTCHN_BIND_INTERDOMAIN")
]

private let privcmd = [
    Record(
        ours: "mini_hypercall", theirs: "privcmd_hypercall",
        fields: [("number", "op"), ("arguments", "arg")], request: "IOCTL_PRIVCMD_HYPERCALL")
]

/// Lines of C that compile only if everything is as it should be.
private func assertions(_ records: [Record], segment: String = "") -> String {
    records.map { record in
        let theirs = record.theirs.replacing("SEGMENT", with: segment)
        var lines =
            "_Static_assert(sizeof(struct \(record.ours)) == sizeof(struct \(theirs)), \"size\");\n"
        for (ours, field) in record.fields {
            lines +=
                "_Static_assert(offsetof(struct \(record.ours), \(ours)) == offsetof(struct \(theirs), \(field)), \"\(ours)\");\n"
        }
        if let request = record.request {
            // As IoctlRequest makes them.
            lines +=
                "_Static_assert(\(request) == (sizeof(struct \(record.ours)) << 16 | (\(request) & 0xFFFF)), \"\(request)\");\n"
        }
        return lines
    }.joined()
}

/// The text of a source file of the Xen floor, in whatever folder it is.
private func source(_ name: String) throws -> String {
    let floor = project("Sources/Mini/Xen")
    let paths = FileManager.default.enumerator(atPath: floor.path)?.compactMap { $0 as? String }
    let path = try #require(paths?.first { ($0 as NSString).lastPathComponent == "\(name).swift" })
    return try String(contentsOf: floor.appending(path: path), encoding: .utf8)
}

/// The numbers that the sources have, group and number of each request, as C.
private let devices = ["GntDev", "GntAlloc", "EventChannel"]
private func requests(of files: [String]) throws -> String {
    let names = [
        "GntDev.map": "IOCTL_GNTDEV_MAP_GRANT_REF", "GntDev.unmap": "IOCTL_GNTDEV_UNMAP_GRANT_REF",
        "GntDev.offset": "IOCTL_GNTDEV_GET_OFFSET_FOR_VADDR",
        "GntDev.notify": "IOCTL_GNTDEV_SET_UNMAP_NOTIFY", "GntDev.copy": "IOCTL_GNTDEV_GRANT_COPY",
        "GntDev.wait": "IOCTL_GNTDEV_DMABUF_EXP_WAIT_RELEASED",
        "GntAlloc.allocate": "IOCTL_GNTALLOC_ALLOC_GREF",
        "GntAlloc.free": "IOCTL_GNTALLOC_DEALLOC_GREF",
        "GntAlloc.notify": "IOCTL_GNTALLOC_SET_UNMAP_NOTIFY",
        "EventChannel.bindVirtual": "IOCTL_EVTCHN_BIND_VIRQ",
        "EventChannel.bindInterdomain": "IOCTL_EVTCHN_BIND_INTERDOMAIN",
        "EventChannel.bindUnbound": "IOCTL_EVTCHN_BIND_UNBOUND_PORT",
        "EventChannel.unbind": "IOCTL_EVTCHN_UNBIND", "EventChannel.notify": "IOCTL_EVTCHN_NOTIFY",
        "EventChannel.reset": "IOCTL_EVTCHN_RESET",
        "DomainState.request": "IOCTL_PRIVCMD_HYPERCALL",
    ]
    var lines = ""
    var found = 0
    for file in files {
        let text = try source(file)
        let pattern =
            #/static var (\w+): IoctlRequest \{\s*\.init\(group: (\w), number: (\d+)(?:, (\w+)\.self)?\)\s*\}/#
        for match in text.matches(of: pattern) {
            let name = try #require(names["\(file).\(match.1)"], "\(file).\(match.1)")
            let size =
                match.4.map { $0 == "UInt32" ? "4" : "sizeof(struct \($0))" } ?? "0"
            let group = match.2.uppercased()
            lines +=
                "_Static_assert(\(name) == (\(size) << 16 | '\(group)' << 8 | \(match.3)), \"\(name)\");\n"
            found += 1
        }
    }
    #expect(found == names.keys.filter { files.contains(String($0.prefix { $0 != "." })) }.count)
    return lines
}

private let constants = """
    _Static_assert(UNMAP_NOTIFY_CLEAR_BYTE == 1 && UNMAP_NOTIFY_SEND_EVENT == 2, "actions");
    _Static_assert(GNTALLOC_FLAG_WRITABLE == 1, "flag");

    """

/// - Returns: what the compiler complains of.
private func compile(_ source: String, target: String) throws -> String {
    let file = FileManager.default.temporaryDirectory.appending(path: "\(UUID().uuidString).c")
    try source.write(to: file, atomically: false, encoding: .utf8)
    defer { try? FileManager.default.removeItem(at: file) }
    let shim = project("Sources/CShim/include")
    let compiler = Foundation.Process()
    compiler.executableURL = URL(filePath: "/usr/bin/env")
    compiler.arguments = [
        // Freestanding: <stdint.h> is the compiler's own, which wants no C library for 32 bits.
        "clang", "-target", target, "-std=gnu11", "-ffreestanding", "-fsyntax-only",
        "-I\(shim.path)",
        "-isystem", "/usr/include/x86_64-linux-gnu", file.path,
    ]
    let pipe = Pipe()
    compiler.standardError = pipe
    compiler.standardOutput = pipe
    try compiler.run()
    let data = pipe.fileHandleForReading.readDataToEndOfFile()
    compiler.waitUntilExit()
    return String(decoding: data, as: UTF8.self)
}

@Suite struct XenABITests {
    static let targets = ["x86_64-linux-gnu", "i386-linux-gnu"]

    private static let start = """
        #include <stddef.h>
        #include <stdint.h>
        #include <linux/types.h>
        #include <linux/ioctl.h>
        #include "CShim.h"
        typedef uint16_t domid_t;
        typedef uint32_t grant_ref_t;

        """

    @Test("everything is as in the kernel's headers", arguments: targets)
    func kernel(target: String) throws {
        let source =
            Self.start
                + """
                #include <xen/gntdev.h>
                #undef UNMAP_NOTIFY_CLEAR_BYTE
                #undef UNMAP_NOTIFY_SEND_EVENT
                #include <xen/gntalloc.h>
                #include <xen/evtchn.h>

                """
            + assertions(gntdev, segment: "gntdev_grant_copy_segment") + assertions(gntalloc)
            + assertions(evtchn) + constants + (try requests(of: devices))
        #expect(try compile(source, target: target) == "")
    }

    /// Where Debian's libxen-dev has them, installed or unpacked by build.sh.
    static let xenHeaders = [
        "/usr/include/xen/sys", ProcessInfo.processInfo.environment["MINI_XEN_HEADERS"] ?? "",
    ]
    .first { FileManager.default.fileExists(atPath: "\($0)/gntdev.h") }

    @Test(
        "and as in Xen's own",
        .enabled(if: xenHeaders != nil, "Debian's libxen-dev is not here"), arguments: targets)
    func xen(target: String) throws {
        let folder = try #require(Self.xenHeaders)
        let source =
            Self.start
                + """
                #include "\(folder)/gntdev.h"
                #undef UNMAP_NOTIFY_CLEAR_BYTE
                #undef UNMAP_NOTIFY_SEND_EVENT
                #include "\(folder)/gntalloc.h"
                #include "\(folder)/evtchn.h"
                typedef unsigned long xen_pfn_t;
                #define __user
                #include "\(folder)/privcmd.h"

                """
            + assertions(gntdev, segment: "ioctl_gntdev_grant_copy_segment")
            + assertions(gntalloc) + assertions(evtchn) + assertions(privcmd) + constants
            + (try requests(of: devices + ["DomainState"]))
        #expect(try compile(source, target: target) == "")
    }

    @Test("a wrong size would be found")
    func negative() throws {
        var wrong = gntdev[1]
        wrong.theirs = "ioctl_gntdev_unmap_grant_ref"
        wrong.fields = []
        let source = Self.start + "#include <xen/gntdev.h>\n" + assertions([wrong])
        #expect(try compile(source, target: Self.targets[0]).contains("static assertion failed"))
    }

    @Test(
        "statuses of a copy are Xen's",
        .enabled(if: xenHeaders != nil, "Debian's libxen-dev is not here"))
    func statuses() throws {
        // xen/grant_table.h of libxen-dev lies above sys.
        let folder = try #require(Self.xenHeaders)
        let text = try String(
            contentsOfFile: "\(folder)/../grant_table.h", encoding: .utf8)
        var values: [String: Int16] = [:]
        for match in text.matches(of: #/#define GNTST_(\w+)\s+\(?(-?\d+)\)?/#) {
            values[String(match.1)] = Int16(match.2)!
        }
        #expect(values["okay"] == 0 && values["general_error"] == -1)
        #expect(values["bad_domain"] == -2 && values["bad_gntref"] == -3)
        #expect(values["permission_denied"] == -8 && values["bad_page"] == -9)
        #expect(values["eagain"] == -12)
        #expect(GrantStatus(rawValue: values["bad_gntref"]!).words == "no such grant")
        #expect(GrantStatus(rawValue: values["bad_domain"]!).words == "no such domain")
    }
}
