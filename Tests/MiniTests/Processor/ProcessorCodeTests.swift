import Testing

@testable import Mini

/// Code that changes while it is known to the processor.
@Suite struct ProcessorCodeTests {
    typealias M = ProcessorMachine

    @Test("an instruction may rewrite the very next one")
    func next() throws {
        let machine = try M()
        // movb $0x43, next ; next: inc %eax (becomes inc %ebx)
        let next = M.code + 7
        #expect(
            machine.run([0xC6, 0x05] + Assemble.little(next) + [0x43, 0x40, 0xCC]) == .breakpoint)
        #expect(machine.processor[.eax] == 0 && machine.processor[.ebx] == 1)
    }

    @Test("a loop may rewrite itself while it runs")
    func loop() throws {
        let machine = try M()
        // mov $8,%ecx ; 1: inc %eax ; xorb $3, 1b ; dec %ecx ; jnz 1b  (inc %eax <-> inc %ebx)
        let spot = M.code + 5
        let code: [UInt8] =
            Assemble.mov(.ecx, 8) + [0x40, 0x80, 0x35] + Assemble.little(spot) + [
                0x03, 0x49, 0x75, 0xF5, 0xCC,
            ]
        #expect(machine.run(code) == .breakpoint)
        #expect(machine.processor[.eax] == 4 && machine.processor[.ebx] == 4)
    }

    @Test("a write through another address of the page counts")
    func alias() throws {
        let machine = try M()
        machine.setEntry(0x70000, M.code | 7)
        machine.run([0x40, 0xCC])
        let code: [UInt8] = [0xC6, 0x05] + Assemble.little(0x70000) + [0x43, 0xCC]
        machine.put(code, at: 0x30000)
        machine.processor.eip = 0x30000
        #expect(machine.proceed() == .breakpoint)
        machine.processor.eip = M.code
        machine.proceed()
        #expect(machine.processor[.eax] == 1 && machine.processor[.ebx] == 1)
    }

    @Test("a write from outside, as a device makes it, counts")
    func outside() throws {
        let machine = try M()
        machine.run([0x40, 0xCC])
        machine.put([0x43])
        machine.processor.eip = M.code
        machine.proceed()
        #expect(machine.processor[.eax] == 1 && machine.processor[.ebx] == 1)
    }

    @Test("a string instruction may write over code that has run")
    func stringStore() throws {
        let machine = try M()
        machine.put([0x40, 0x40, 0x40, 0xCC], at: 0x30000)
        machine.processor.eip = 0x30000
        machine.proceed()
        machine.processor[.ecx] = 3
        machine.processor[.edi] = 0x30000
        let al = Assemble.mov(.eax, 0x43)
        #expect(machine.run(al + [0xF3, 0xAA, 0xCC]) == .breakpoint)
        machine.processor.eip = 0x30000
        machine.proceed()
        #expect(machine.processor[.ebx] == 3)
    }

    @Test("data beside code on the same page can be written at will")
    func neighbours() throws {
        let machine = try M()
        // mov $1000,%ecx ; 1: incl code+0x800 ; dec %ecx ; jnz 1b
        let code: [UInt8] =
            Assemble.mov(.ecx, 1000) + [0xFF, 0x05] + Assemble.little(M.code + 0x800) + [
                0x49, 0x75, 0xF7, 0xCC,
            ]
        #expect(machine.run(code, limit: 100_000) == .breakpoint)
        #expect(machine.word(M.code + 0x800) == 1000)
    }

    @Test("more code than the cache holds is run all the same")
    func muchCode() throws {
        let machine = try M()
        // 3 MiB of `inc %eax`, twice over.
        let count: UInt32 = 0x2F0000
        machine.put([UInt8](repeating: 0x40, count: Int(count)), at: 0x100000)
        machine.put([0xCC], at: 0x100000 + count)
        for round in 1...2 as ClosedRange<UInt32> {
            machine.processor.eip = 0x100000
            var seen = machine.proceed(limit: 1_000_000)
            while seen == .slice { seen = machine.proceed(limit: 1_000_000) }
            #expect(seen == .breakpoint)
            #expect(machine.processor[.eax] == count * round)
        }
    }
}
