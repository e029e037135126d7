import Testing

@testable import Mini

@Suite struct DeathReasonTests {
    private func text(_ reason: DeathReason, _ era: GuestABI.Era = .era1) -> String {
        let text = reason.text(GuestABI(era: era), pageLimit: 1025)
        return String(decoding: text.bytes, as: UTF8.self)
    }

    @Test("each reason has the kernel's words and number formats")
    func texts() {
        let rows: [(DeathReason, String)] = [
            (.crash("Power down"), "CRASH: Power down"),
            (.secondInitialization, "already have lguest_data"),
            (.callBeforeInitialization(number: 10), "hypercall 10 before LGUEST_INIT"),
            (.callBeforeInitialization(number: 0xFFFF_FFFF), "hypercall -1 before LGUEST_INIT"),
            (.badCall(number: 17), "Bad hypercall 17\n"),
            (.badCall(number: 0x8000_0000), "Bad hypercall -2147483648\n"),
            (.badDataPage(address: 0x1234), "bad guest page 00000000"),
            (
                .unhandledTrap(6, instruction: 0xC010_0000, detail: 0),
                "unhandled trap 6 at 0xc0100000 (0x0)"
            ),
            (.unhandledTrap(256, instruction: 0, detail: 0x10), "unhandled trap 256 at 0x0 (0x10)"),
            (
                .badRead(address: 0xFFFF_FC00),
                "bad read address 0xfffffc00: pfn_limit=1025 membase=00000000"
            ),
            (.badWrite(address: 0x10), "bad write address 0x10"),
            (.badBlockRead(address: 0, count: 128), "bad read address 0x0 len 128"),
            (.badGateType(5), "bad IDT type 5"),
            (.tooManyDescriptors(33), "too many gdt entries 33"),
            (.tooManyDescriptors(0xFFFF_FFFE), "too many gdt entries -2"),
            (.badStackSegment(0x68), "bad stack segment 104"),
            (.badStackPages(3), "bad stack pages 3"),
            (.badStackPages(0xFFFF_FFFF), "bad stack pages 4294967295"),
            (.badStackPage(virtual: 0xC000_0FFF), "bad stack page 0xc0000fff"),
            (.reservedTop, "attempt to access switcher pages"),
            (.badPageTableEntry, "bad page table entry"),
            (.badPageDirectoryEntry, "bad page directory entry"),
            (.badPageMiddleEntry, "bad page middle directory entry"),
            (.badDirectoryIndex(5000), "Attempt to set pgd 5000/1024"),
            (.badBindingKey(1), "bad dma key 0x1"),
            (.badSendingKey, "bad sending DMA key"),
            (.badRegisteredBuffer, "bad registered DMA buffer"),
        ]
        for (reason, expected) in rows { #expect(text(reason) == expected) }
    }

    @Test("the words change with the era where the kernel's did")
    func eras() {
        #expect(text(.badRead(address: 0x10), .era0) == "bad read address 0x10")
        #expect(text(.badDataPage(address: 0x1234), .era0) == "bad guest page 00001234")
        #expect(text(.badDataPage(address: 0x1234), .era3a) == "bad guest page 00000000")
        for era in [GuestABI.Era.era3b, .era5] {
            #expect(text(.badDataPage(address: 0x1234), era) == "bad guest page (null)")
        }
        for era in [GuestABI.Era.era1a, .era1c] {
            #expect(
                text(.badRead(address: 0x10), era)
                    == "bad read address 0x10: pfn_limit=1025 membase=00000000")
        }
        for era in [GuestABI.Era.era2, .era5] {
            #expect(text(.badRead(address: 0x10), era) == "bad read address 0x10 len 4")
        }
        #expect(text(.reservedTop, .era4c) == "attempt to access switcher pages")
        #expect(text(.reservedTop, .era4d) == "attempt to set pte into Switcher pages")
        #expect(
            text(.callBeforeInitialization(number: 3), .era1b) == "hypercall 3 before INIT")
        #expect(text(.badSystemCallVector, .era1c) == "bad syscall vector")
        #expect(
            text(.badKernelAddress(virtual: 0xFFC0_0000), .era1c)
                == "bad kernel address 0xffc00000")
        #expect(text(.badAddress(virtual: 0x20), .era1c) == "Bad address 0x20")
        #expect(text(.badVector(256), .era1c) == "Setting idt entry 256")
    }
}
