// `mini-grant probe` as a whole.

import Foundation
import Testing

@testable import Mini

@Suite struct GrantProbeTests {
    private static let whole: [String: String] = [
        "/sys/hypervisor/type": "xen\n", "/sys/hypervisor/version/major": "4\n",
        "/sys/hypervisor/version/minor": "17\n", "/sys/hypervisor/version/extra": ".5\n",
        "/sys/hypervisor/guest_type": "PV\n",
        "/sys/module/xen_gntdev/parameters/limit": "65536\n",
        "/sys/module/xen_gntalloc/parameters/limit": "1024\n",
    ]

    @Test("a line for Xen, for each device with its limit, for each kind of call")
    func lines() throws {
        let xen = try FakeXen {
            $0.files = Self.whole
            $0.modules.remove("xenbus")
        }
        #expect(
            grant("probe", on: xen)
                == Ended(
                    code: 3,
                    output: """
                        xen       4.17.5
                        guest     PV
                        gntdev    /dev/xen/gntdev, at most 65536 grants in one mapping
                        copy      yes
                        dmabuf    no: CONFIG_XEN_GNTDEV_DMABUF is off
                        gntalloc  /dev/xen/gntalloc, at most 1024 pages lent at a time by the whole domain
                        evtchn    /dev/xen/evtchn
                        xenbus    cannot open "/dev/xen/xenbus": no such device; mount devtmpfs on /dev

                        """, errors: ""))
        #expect(xen.now.left == [])
    }

    @Test("probe --json prints one JSON object")
    func json() throws {
        for isXen in [true, false] {
            let xen = try FakeXen {
                $0.files = isXen ? Self.whole : [:]
                $0.isXen = isXen
                $0.modules.remove("gntalloc")
            }
            let ended = grant("probe --json", on: xen)
            #expect(ended.code == 3)
            let object = try #require(
                try JSONSerialization.jsonObject(with: Data(ended.output.utf8)) as? [String: Any])
            #expect(object["xen"] as? Bool == isXen)
            let gntdev = try #require(object["gntdev"] as? [String: Any])
            #expect(gntdev["usable"] as? Bool == isXen)
            #expect(gntdev["limit"] as? Int == (isXen ? 65536 : nil))
            #expect(object["copy"] as? Bool == (isXen ? true : nil))
            #expect(object["version"] as? String == (isXen ? "4.17.5" : nil))
            let gntalloc = try #require(object["gntalloc"] as? [String: Any])
            #expect(gntalloc["module"] as? String == "xen-gntalloc")
        }
    }

    @Test("an output that takes nothing is told")
    func outputFull() throws {
        let xen = try FakeXen {
            $0.files = Self.whole
            $0.outputErrno = .noSpace
        }
        let line = "mini-grant: cannot write to standard output: no space left on device (ENOSPC)\n"
        #expect(grant("probe", on: xen) == Ended(code: 1, output: "", errors: line))
    }

    @Test("whichever call fails, what can be told is told")
    func everyCallFails() throws {
        for call in 1...100 {
            let xen = try FakeXen {
                $0.files = Self.whole
                $0.failing = (call, .inputOutput)
            }
            let ended = grant("probe", on: xen)
            guard call <= xen.now.calls.count else {
                #expect(call > 10)
                return
            }
            if SystemCall.Number(rawValue: xen.now.calls[call - 1]) != .write {
                #expect(ended.output.contains("evtchn"), "call \(call)")
            }
            if SystemCall.Number(rawValue: xen.now.calls[call - 1]) != .close {
                #expect(xen.now.left == [], "call \(call)")
            }
        }
        Issue.record("more than 100 calls")
    }
}
