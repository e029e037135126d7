// The client of gntdev: each of its calls, on the model.

import Testing

@testable import Mini

@Suite struct GntDevTests {
    @Test("the index of a mapping is found by any address in it")
    func index() throws {
        let xen = try FakeXen()
        xen.grant([17, 18, 19], of: 3)
        try xen.play { () throws(GrantError) in
            let device = try GntDev()
            let plan = MappingPlan(deadline: .never)
            let first = try GrantMapping(grants([17]), on: device, plan)
            let second = try GrantMapping(grants([18, 19]), on: device, plan)
            let address = UInt(bitPattern: second.bytes.baseAddress)
            for offset: UInt in [0, 5000, 8191] {
                let found = try? device.index(ofMappingAt: address + offset)
                #expect(found == GrantIndex(offset: 4096, pages: PageCount(2)))
            }
            #expect(throws: Errno.invalid) { try device.index(ofMappingAt: 4096) }
            try second.unmap()
            try first.unmap()
        }
        #expect(xen.now.left == [])
    }

    @Test("a forked process does not have the pages")
    func fork() throws {
        let xen = try FakeXen()
        xen.grant([17, 18], of: 3)
        try xen.play { () throws(GrantError) in
            let mapping = try GrantMapping(
                grants([17, 18]), on: GntDev(), MappingPlan(deadline: .never))
            #expect(xen.now.notForked == Set(xen.now.areas.keys))
            #expect(xen.now.areas.count == 1)
            let shared = try SharedPages(
                SharingPlan(domain: DomainID(3)!, pages: PageCount(2)))
            #expect(xen.now.notForked == Set(xen.now.areas.keys))
            #expect(xen.now.areas.count == 2)
            try shared.unmap()
            try mapping.unmap()
        }
    }

    @Test("what a device does not know is seen without doing anything")
    func features() throws {
        let xen = try FakeXen { $0.hasCopy = false }
        try xen.play { () throws(GrantError) in
            let device = try GntDev()
            #expect(device.knows(.mapping))
            #expect(!device.knows(.copying))
            #expect(!device.knows(.sharedBuffers))
        }
        #expect(xen.now.left == [])
    }
}

@Suite struct GrantCopyTests {
    @Test("a copy goes from anywhere to anywhere in the run of pages, both ways")
    func ranges() throws {
        let xen = try FakeXen()
        xen.grant([17, 18, 19], of: 3)
        var random = SplitMix(seed: 8)
        var expected = [UInt8]()
        for page: UInt32 in 17...19 { expected += xen.page(page, of: 3) }
        try xen.play { () throws(GrantError) in
            let device = try GntDev()
            let list = try grants([17, 18, 19])
            for _ in 0..<300 {
                let offset = Int.random(in: 0..<expected.count, using: &random)
                let count = Int.random(in: 0...(expected.count - offset), using: &random)
                var bytes = [UInt8](repeating: 0, count: count)
                for index in bytes.indices { bytes[index] = .random(in: 0...255, using: &random) }
                if Bool.random(using: &random) {
                    try copy(.toGrants, list, at: offset, &bytes, device)
                    expected.replaceSubrange(offset..<offset + count, with: bytes)
                } else {
                    try copy(.fromGrants, list, at: offset, &bytes, device)
                    #expect(bytes.elementsEqual(expected[offset..<offset + count]))
                }
            }
        }
        var found = [UInt8]()
        for page: UInt32 in 17...19 { found += xen.page(page, of: 3) }
        #expect(found == expected)
    }

    private func copy(
        _ direction: CopyDirection, _ list: GrantList, at offset: Int, _ bytes: inout [UInt8],
        _ device: GntDev
    ) throws(GrantError) {
        var failure: GrantError?
        bytes.withUnsafeMutableBytes { buffer in
            do throws(GrantError) {
                try device.copy(direction, list, at: offset, buffer)
            } catch { failure = error }
        }
        if let failure { throw failure }
    }

    @Test("the other domain goes in mid-transfer: what was copied is written, the reference named")
    func gone() throws {
        let xen = try FakeXen { $0.copiesUntilDomainsEnd = 1 }
        xen.grant(Array(100..<600), of: 3)
        let references = (100..<600).map { "\($0)" }.joined(separator: ",")
        let ended = grant("copy --domain 3 --ref \(references)", on: xen)
        #expect(ended.code == 4)
        #expect(ended.errors == "mini-grant: grant 356 of domain 3: no such domain\n")
        #expect(xen.now.output.count == 256 * 4096)
        #expect(xen.now.left == [])
    }
}
