import Testing

@testable import Mini

/// Segment loads, limits and types, with their exact error codes.
@Suite struct ProcessorDescriptorTests {
    typealias Guest = ProcessorGuest

    /// mov seg, ax
    private func load(_ segment: UInt8) -> [UInt8] { [0x8E, 0xC0 | segment << 3, 0x0F, 0x0B] }

    /// A descriptor from base, limit in its own unit, access byte and flags nibble.
    static func descriptor(
        base: UInt32 = 0, limit: UInt32, access: UInt8, flags: UInt8 = 0x4
    ) -> UInt64 {
        UInt64(limit & 0xFFFF) | UInt64(base & 0xFF_FFFF) << 16 | UInt64(access) << 40
            | UInt64(limit >> 16 & 15) << 48 | UInt64(flags) << 52 | UInt64(base >> 24) << 56
    }

    @Test("a null selector loads into ds and faults only when it is used")
    func null() throws {
        let guest = try Guest()
        guest.processor[.eax] = 3
        #expect(guest.run(load(3)) == .trap(6))
        #expect(guest.processor.selector(.ds) == 3)
        #expect(guest.run([0x8A, 0x06]) == .trap(13))
        guest.processor[.eax] = 0
        #expect(guest.run(load(2)) == .trap(13))
        #expect(guest.processor.selector(.ss) == Guest.kernelData)
    }

    @Test(
        "loads that a processor refuses name the selector",
        arguments: [
            // segment, descriptor's access byte, selector's low bits, ring, vector
            (3, 0x92, 0, 1, 13),  // privilege 0 from ring 1
            (3, 0xB2, 3, 1, 13),  // RPL 3 for a ring 1 segment
            (3, 0xB8, 1, 1, 13),  // code that cannot be read
            (3, 0xA2, 1, 1, 13),  // a system descriptor
            (3, 0x32, 1, 1, 11),  // not present
            (2, 0x32, 1, 1, 12),  // not present, stack
            (2, 0xB0, 1, 1, 13),  // stack that cannot be written
            (2, 0xBA, 1, 1, 13),  // code as stack
            (2, 0xF2, 1, 1, 13),  // stack of another privilege
            (2, 0xB2, 3, 1, 13),  // stack with another RPL
            (3, 0xB2, 3, 3, 13),  // ring 1's data from ring 3
        ] as [(UInt8, UInt8, UInt32, Int, UInt8)])
    func refused(segment: UInt8, access: UInt8, rpl: UInt32, ring: Int, vector: UInt8) throws {
        let guest = try Guest(ring: ring)
        guest.processor.setDescriptor(
            20, Self.descriptor(limit: 0xFFFFF, access: access, flags: 0xC))
        guest.processor[.eax] = 20 * 8 + rpl
        let before = guest.processor.selector(.ds)
        #expect(guest.run(load(segment)) == .trap(vector, 20 * 8))
        #expect(guest.processor.selector(.ds) == before)
        #expect(guest.processor.descriptor(20) >> 40 & 1 == 0)
    }

    @Test("a selector beyond the table or into the missing LDT is refused")
    func beyond() throws {
        let guest = try Guest()
        guest.processor[.eax] = 32 * 8 + 1
        #expect(guest.run(load(0)) == .trap(13, 32 * 8))
        guest.processor[.eax] = 0x6D
        #expect(guest.run(load(0)) == .trap(13, 0x6C))
    }

    @Test("a load sets the accessed bit in the table")
    func accessed() throws {
        let guest = try Guest()
        guest.processor.setDescriptor(20, Self.descriptor(limit: 0xFFFFF, access: 0xB2, flags: 0xC))
        guest.processor[.eax] = 0xA1
        #expect(guest.run(load(4)) == .trap(6))
        #expect(guest.processor.descriptor(20) >> 40 & 0xFF == 0xB3)
    }

    @Test("limits are exact, with and without granularity, and #SS is the stack's")
    func limits() throws {
        for segment in [ProcessorSegment.ds, .fs, .ss] {
            let guest = try Guest()
            guest.processor.setDescriptor(20, Self.descriptor(limit: 0xFF, access: 0xB2))
            #expect(guest.processor.setSegment(segment, 0xA1))
            let prefix: UInt8 = segment == .ds ? 0x3E : segment == .fs ? 0x64 : 0x36
            for (address, ok) in [(0xFC, true), (0xFD, false), (0x100, false)] as [(UInt32, Bool)] {
                let exit = guest.run([prefix, 0xA1] + Guest.immediate(address) + [0x0F, 0x0B])
                #expect(exit == (ok ? .trap(6) : .trap(segment == .ss ? 12 : 13)))
            }
            guest.processor.setDescriptor(20, Self.descriptor(limit: 1, access: 0xB2, flags: 0xC))
            #expect(guest.processor.setSegment(segment, 0xA1))
            #expect(
                guest.run([prefix, 0xA0] + Guest.immediate(0x1FFF) + [0x0F, 0x0B]) == .trap(6))
            #expect(
                guest.run([prefix, 0xA0] + Guest.immediate(0x2000))
                    == .trap(segment == .ss ? 12 : 13))
        }
    }

    @Test("an expand-down segment is what lies above its limit")
    func expandDown() throws {
        let guest = try Guest()
        guest.processor.setDescriptor(20, Self.descriptor(limit: 0xFFF, access: 0xB6, flags: 4))
        #expect(guest.processor.setSegment(.ds, 0xA1))
        #expect(guest.run([0xA0] + Guest.immediate(0xFFF)) == .trap(13))
        #expect(guest.run([0xA0] + Guest.immediate(0x1000) + [0x0F, 0x0B]) == .trap(6))
        #expect(guest.run([0xA1] + Guest.immediate(0xFFFF_FFFD)) == .trap(13))
    }

    @Test("a read-only segment is not written, code is not written, unreadable code not read")
    func types() throws {
        let guest = try Guest()
        guest.processor.setDescriptor(20, Self.descriptor(limit: 0xFFFFF, access: 0xB0, flags: 0xC))
        #expect(guest.processor.setSegment(.ds, 0xA1))
        #expect(guest.run([0xA3] + Guest.immediate(Guest.data)) == .trap(13))
        #expect(guest.run([0xA1] + Guest.immediate(Guest.data) + [0x0F, 0x0B]) == .trap(6))
        #expect(guest.run([0x2E, 0xA3] + Guest.immediate(Guest.data)) == .trap(13))
        guest.processor.setDescriptor(21, Self.descriptor(limit: 0xFFFFF, access: 0xB8, flags: 0xC))
        #expect(guest.processor.setSegment(.cs, 0xA9))
        #expect(guest.run([0x2E, 0xA1] + Guest.immediate(Guest.data)) == .trap(13))
    }

    @Test("a base is added, and wraps at 4 GiB")
    func base() throws {
        let guest = try Guest()
        guest.processor.setDescriptor(
            20, Self.descriptor(base: 0xFFFF_F000, limit: 0xFFFFF, access: 0xB2, flags: 0xC))
        #expect(guest.processor.setSegment(.fs, 0xA1))
        guest.memory.store32(Guest.data, 42)
        #expect(
            guest.run([0x64, 0xA1] + Guest.immediate(Guest.data + 0x1000) + [0x0F, 0x0B])
                == .trap(6))
        #expect(guest.processor[.eax] == 42)
    }

    @Test("executing beyond the code segment's limit raises #GP(0)")
    func codeLimit() throws {
        let guest = try Guest()
        guest.processor.setDescriptor(20, Self.descriptor(limit: Guest.code + 3, access: 0xBA))
        #expect(guest.processor.setSegment(.cs, 0xA1))
        #expect(guest.run([0x40, 0x40, 0x40, 0x40, 0x40]) == .trap(13))
        #expect(guest.processor[.eax] == 4)
        #expect(guest.processor.eip == Guest.code + 4)
        // The last instruction's last byte is outside.
        #expect(guest.run([0x40, 0x40, 0x83, 0xC0, 1]) == .trap(13))
        #expect(guest.processor.eip == Guest.code + 2)
        // A jump out of it.
        #expect(guest.run([0xEB, 0x10]) == .trap(13))
    }

    @Test("16-bit code has 16-bit operands and addresses, and a 16-bit stack wraps")
    func sixteenBit() throws {
        let guest = try Guest()
        guest.processor.setDescriptor(20, Self.descriptor(limit: 0xFFFFF, access: 0xBA, flags: 0x8))
        guest.processor.setDescriptor(
            21, Self.descriptor(base: Guest.data, limit: 0xFFFF, access: 0xB2, flags: 0))
        #expect(guest.processor.setSegment(.cs, 0xA1))
        #expect(guest.processor.setSegment(.ss, 0xA9))
        guest.processor[.eax] = 0xFFFF_FFFF
        guest.processor[.esp] = 0xABCD_0002
        guest.processor[.ebx] = 0x8_FFFF
        guest.processor[.esi] = 3
        // inc ax; push 0x1234; push 0x5678; mov cx, [bx + si]; ud2
        #expect(
            guest.run([0x40, 0x68, 0x34, 0x12, 0x68, 0x78, 0x56, 0x36, 0x8B, 0x08, 0x0F, 0x0B])
                == .trap(6))
        #expect(guest.processor[.eax] == 0xFFFF_0000)
        #expect(guest.processor[.esp] == 0xABCD_FFFE)
        #expect(guest.bytes(Guest.data, 2) == [0x34, 0x12])
        #expect(guest.bytes(Guest.data + 0xFFFE, 2) == [0x78, 0x56])
    }

    @Test("blocks decoded for an open segment are not used for one with a limit")
    func modeChange() throws {
        let guest = try Guest()
        let code: [UInt8] = [0xA1] + Guest.immediate(Guest.data) + [0x0F, 0x0B]
        #expect(guest.run(code) == .trap(6))
        guest.processor.setDescriptor(20, Self.descriptor(limit: 0xFF, access: 0xB2))
        #expect(guest.processor.setSegment(.ds, 0xA1))
        guest.processor.eip = Guest.code
        #expect(guest.processor.run(instructions: 10) == .trap(13))
    }

    @Test("the host's reload takes hidden parts from the table and nulls what the ring may not use")
    func reload() throws {
        let guest = try Guest()
        guest.processor.setDescriptor(20, Self.descriptor(limit: 0xFFFFF, access: 0xB2, flags: 0xC))
        #expect(guest.processor.setSegment(.fs, 0xA1))
        guest.processor.setDescriptor(
            20, Self.descriptor(base: 0x1000, limit: 0xFFFFF, access: 0xB2, flags: 0xC))
        #expect(guest.processor.reloadSegments())
        guest.memory.store32(Guest.data, 5)
        #expect(
            guest.run([0x64, 0xA1] + Guest.immediate(Guest.data - 0x1000) + [0x0F, 0x0B])
                == .trap(6))
        #expect(guest.processor[.eax] == 5)
        guest.processor.setDescriptor(20, 0)
        #expect(!guest.processor.reloadSegments())
    }

    @Test("lar, lsl, verr, verw look at what is visible from the ring")
    func look() throws {
        let guest = try Guest(ring: 3)
        guest.processor.setDescriptor(20, Self.descriptor(limit: 0x123, access: 0xF0))
        // lar ecx, ax; lsl edx, ax; verr ax; setz bl; verw ax; setz bh; ud2
        let code: [UInt8] = [
            0x0F, 0x02, 0xC8, 0x0F, 0x03, 0xD0, 0x0F, 0x00, 0xE0, 0x0F, 0x94, 0xC3, 0x0F, 0x00,
            0xE8, 0x0F, 0x94, 0xC7, 0x0F, 0x0B,
        ]
        guest.processor[.eax] = 0xA3
        #expect(guest.run(code) == .trap(6))
        #expect(guest.processor[.ecx] == 0x40_F000)
        #expect(guest.processor[.edx] == 0x123)
        #expect(guest.processor[.ebx] == 1)
        guest.processor[.eax] = 0x69
        #expect(guest.run(code) == .trap(6))
        #expect(guest.processor[.ebx] == 0)
    }
}
