// What stands in the place of Xen's devices, on real files.

import CShim
import Foundation
import Synchronization
import Testing

@testable import Mini

/// Runs `body` where a file stands in the place of each of Xen's devices.
/// - Returns: how often something was written to anything.
private func withFile(_ path: String, in place: String = "/dev/xen/", _ body: () -> Void) -> Int {
    let name = Array(path.utf8CString)
    let writes = Mutex(0)
    SystemCall.hooked(
        { call in
            if call.number == .write { writes.withLock { $0 += 1 } }
            guard call.number == .open,
                let path = UnsafePointer<CChar>(bitPattern: call.arguments.0),
                String(cString: path).hasPrefix(place)
            else { return nil }
            return name.withUnsafeBufferPointer { name in
                mini_syscall(
                    call.number.rawValue, Int(bitPattern: name.baseAddress), call.arguments.1, 0, 0,
                    0,
                    0)
            }
        }, body)
    return writes.withLock { $0 }
}

@Suite struct XenDeviceTests {
    @Test("what stands in the place of a device and is none is not opened, and gets no request")
    func otherFiles() throws {
        let file = try TemporaryFile("words")
        let pipe = try TemporaryFile()
        try #require(mkfifo(pipe.path, 0o600) == 0)
        for path in [file.path, pipe.path] {
            let writes = withFile(path) {
                for device in XenDevice.all {
                    #expect(throws: GrantError.self) { _ = try device.open() }
                    #expect(throws: Errno.noDevice) { _ = try XenDevice.open(device.path) }
                }
                #expect(throws: GrantError.self) {
                    _ = try XenStore(deadline: .after(.milliseconds(10)))
                }
            }
            #expect(writes == 0)
        }
        #expect(file.content == "words")
    }

    @Test("another device is none of event channels")
    func otherDevice() {
        let writes = withFile("/dev/null") {
            for binding in [
                EventChannel.Binding.virtual(3), .unbound(for: DomainID(3)!),
                .interdomain(DomainID(3)!, EventPort(7)!),
            ] {
                #expect(
                    throws: GrantError.notOffered(
                        "event channels: it is no evtchn", device: "/dev/xen/evtchn")
                ) { try EventChannel(binding) }
            }
        }
        #expect(writes == 0)
    }

    @Test("another device is none of grants, and a person is told so")
    func otherGrantDevice() throws {
        let error = GrantError.notOffered(
            "MAP_GRANT_REF: it is no gntdev", device: "/dev/xen/gntdev")
        let writes = withFile("/dev/null") {
            #expect(throws: error) {
                _ = try GrantMapping(grants([17]), on: GntDev(), MappingPlan(deadline: .never))
            }
            #expect(
                throws: GrantError.notOffered(
                    "ALLOC_GREF: it is no gntalloc", device: "/dev/xen/gntalloc")
            ) {
                _ = try SharedPages(SharingPlan(domain: DomainID(3)!, pages: PageCount(1)))
            }
        }
        #expect(writes == 0 && error.exitCode == 3)
        #expect(
            string(error.text)
                == "\"/dev/xen/gntdev\" of this kernel does not know MAP_GRANT_REF: it is no gntdev"
        )
    }

    @Test("of /proc only Xen's own files stand for the store: others are anybody's")
    func proc() throws {
        let file = try TemporaryFile("words")
        let writes = withFile(file.path, in: "/proc/") {
            #expect(throws: Never.self) { _ = try XenDevice.open("/proc/xen/xenbus") }
            for other in [
                "/proc/self/fd/3", "/proc/self/root/tmp/x", "/proc/xenbus", "/proc/xen",
                "/proc/xenfs/xenbus",
            ] as [Text] {
                #expect(throws: Errno.noDevice) { _ = try XenDevice.open(other) }
            }
        }
        #expect(writes == 0)
        // Nor is one in another folder.
        let path = Text(stringLiteral: file.path)
        #expect(throws: Errno.noDevice) { _ = try XenDevice.open(path) }
        #expect(file.content == "words")
    }
}
