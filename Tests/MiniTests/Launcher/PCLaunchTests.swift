// PCs that restart, as the launcher has them: on the software processor or a pretended /dev/kvm, at a pretended terminal.

import Foundation
import Synchronization
import Testing

@testable import Mini

@Suite struct PCLaunchTests {
    /// Starts a guest again and again that has this code.
    /// - Parameters:
    ///   - kvm: what answers for /dev/kvm; none is there without.
    ///   - restarted: hears how often it has restarted.
    /// - Returns: what was reported, and how often somebody tried to open /dev/kvm.
    private func restart(
        _ code: [UInt8], on kvm: FakeKvm? = nil, restarted: @escaping (Int) -> Void = { _ in }
    ) throws -> (outcome: LaunchOutcome, reports: [String], opens: Int) {
        var spec = VmlinuxSpec(isWide: false)
        spec.banner = "some other kernel"
        spec.addNotes(VmlinuxSpec.note(18, [0x40, 0, 0, 1]))
        var bytes = spec.bytes()
        bytes.put(code, at: 0x1040)
        return try restart(kernel: bytes, on: kvm, restarted: restarted)
    }

    /// The same with a kernel's file.
    private func restart(
        kernel: [UInt8], on kvm: FakeKvm? = nil, restarted: @escaping (Int) -> Void = { _ in }
    ) throws -> (outcome: LaunchOutcome, reports: [String], opens: Int) {
        let file = try memoryFile(kernel)
        let opens = Mutex(0)
        let terminal = FakeTerminal(device: { call in
            // A timer of the machine's would end this process: nobody here holds its signal back.
            if call.number == .makeTimer || call.number == .setTimer { return 0 }
            let isOpen =
                call.number == .open
                && String(cString: UnsafePointer<CChar>(bitPattern: call.arguments.0)!)
                    == "/dev/kvm"
            if isOpen { opens.withLock { $0 += 1 } }
            if let kvm { return kvm.answer(call) }
            return isOpen ? -2 : nil
        })
        var plan = LaunchPlan()
        plan.kernel = "/proc/self/fd/\(file.number)"
        var reports: [String] = []
        var restarts = 0
        let surroundings = LaunchSurroundings(
            report: { line in
                reports.append(string(line))
                guard reports.last?.hasPrefix("the guest restarts") == true else { return }
                restarts += 1
                restarted(restarts)
                if restarts == 5 { terminal.add(signal: 15) }
            }, notice: { _ in })
        // What is played is closed while it is played.
        let outcome = terminal.play {
            PCLauncher(plan, surroundings, on: .automatic, defaults: true).run(restarts: true)
        }
        _ = file.number
        return (outcome, reports, opens.withLock { $0 })
    }

    @Test("where /dev/kvm cannot be used it is not tried again when the guest restarts")
    func engine() throws {
        // mov al, FE; out 64, al
        let played = try restart([0xB0, 0xFE, 0xE6, 0x64])
        #expect(played.outcome == .signal(.terminate))
        #expect(played.opens == 1)
        #expect(
            played.reports.filter { $0.hasPrefix("engine: ") } == [
                "engine: the software processor (/dev/kvm: there is none)"
            ])
    }

    @Test(
        "a guest that /dev/kvm does not start again goes to the software processor, which is told")
    func change() throws {
        // The probe halts, the guest resets itself.
        let kvm = FakeKvm {
            $0.firstExits = [KvmExit.halt]
            $0.exit = KvmExit.shutdown
        }
        let played = try restart([0xB0, 0xFE, 0xE6, 0x64], on: kvm) { count in
            guard count == 2 else { return }
            kvm.state.withLock {
                $0.refused[KvmRequest.setSystemRegisters.rawValue] = .invalid
            }
        }
        #expect(played.outcome == .signal(.terminate))
        #expect(played.opens == 1)
        let engines = played.reports.filter { $0.hasPrefix("engine: ") }
        #expect(engines.count == 2 && engines.first == "engine: /dev/kvm")
        let reason = "engine: the software processor (/dev/kvm: it cannot set its registers: "
        #expect(engines.last?.hasPrefix(reason) == true)
    }

    @Test("an instruction that is missing at each start is told once")
    func wish() throws {
        // mov edx, 3F8; mov al, 78; out dx, al; shlx edx, edx, ecx. Without a table for interrupts that is a triple fault.
        let played = try restart([
            0xBA, 0xF8, 0x03, 0, 0, 0xB0, 0x78, 0xEE, 0xC4, 0xE2, 0x71, 0xF7, 0xD2,
        ])
        #expect(played.outcome == .signal(.terminate))
        #expect(played.reports.filter { $0.hasPrefix("the guest wanted ") }.count == 1)
        #expect(played.reports.filter { $0.hasPrefix("the guest restarts") }.count == 5)
    }

    @Test(
        "a kernel that only its inside shows to be a PC's is told once, and so are its devices, which are opened once"
    )
    func openedOnce() throws {
        var spec = VmlinuxSpec(isWide: false)
        spec.banner = "some other kernel"
        spec.addNotes(VmlinuxSpec.note(18, [0x40, 0, 0, 1]))
        var bytes = spec.bytes()
        // mov edx, 3F8; mov al, 78; out dx, al; hlt
        bytes.put([0xBA, 0xF8, 3, 0, 0, 0xB0, 0x78, 0xEE, 0xF4], at: 0x1040)
        let kernel = try memoryFile(bytes)
        // Its headers may be those of a guest of lguest.
        _ = try KernelImage.examine(kernel.number, name: "k")
        let disk = try memoryFile([UInt8](repeating: 0, count: 1300))
        let file = try memoryFile([])
        func path(_ number: Int32) -> String { "/proc/self/fd/\(number)" }
        let opens = Mutex<[String]>([])
        let terminal = FakeTerminal(device: { call in
            if call.number == .makeTimer || call.number == .setTimer { return 0 }
            guard call.number == .open else { return nil }
            let name = String(cString: UnsafePointer<CChar>(bitPattern: call.arguments.0)!)
            opens.withLock { $0.append(name) }
            return name == "/dev/kvm" || name == "/dev/lguest" ? -2 : nil
        })
        let words: [Text] = [
            "--verbose", "--no-sandbox", "--timeline", "/proc/self/fd/\(file.number)", "--block",
            "/proc/self/fd/\(disk.number),ro", "/proc/self/fd/\(kernel.number)",
        ]
        let code = terminal.play { LaunchCommand.run(words[...]) }
        let now = terminal.now
        #expect(code == 0 && string(now.output) == "x", "\(string(now.errors))")
        let opened = opens.withLock { $0 }
        for name in [path(disk.number), path(kernel.number)] {
            #expect(opened.filter { $0 == name }.count == 1, "\(opened)")
        }
        let lines = string(now.errors).split(separator: "\n").map(String.init)
        #expect(lines.filter { $0.contains("cannot see its last 276 bytes") }.count == 1)
        #expect(
            lines.filter { $0.contains("engine: ") } == [
                "mini-launch: engine: the software processor (/dev/kvm: there is none)"
            ])
        #expect(lines.filter { $0.hasPrefix("mini-launch: ready: engine ") }.count == 1)
        #expect(lines.last?.hasSuffix(": the guest powered itself off") == true)
        let trace = try #require(FileManager.default.contents(atPath: path(file.number)))
        let events = try traceEvents(Array(trace))
        let names = traceNames(events)
        #expect(
            names.prefix(8) == [
                "engine", "devices", "image", "memory", "unpacking", "guest", "sandbox",
                "first instruction",
            ])
        #expect(names.last == "guest" && !names.contains("no start"))
        let launches = events.compactMap { ($0["args"] as? [String: Any])?["launch"] as? Int }
        #expect(launches == [Int](repeating: 1, count: names.count))
    }

    /// A guest that says a panic's words on its serial port, and then resets itself.
    /// - Parameters:
    ///   - runsProgram: whether it is in ring 3 for 10 ms before that.
    ///   - words: what it says.
    ///   - halts: it halts, with interrupts off, instead of the reset.
    private func panic(
        _ runsProgram: Bool, _ words: String = "Kernel panic - not syncing: of last week\n",
        halts: Bool = false
    ) -> [UInt8] {
        let start: UInt32 = 0x100_0040
        let text = Array(words.utf8) + [0]
        let program: UInt32 = start + 42
        let data = start + 59
        let table = data + UInt32(text.count)
        func word(_ value: UInt32) -> [UInt8] { .little(UInt64(value), 4) }
        // mov esi, text; mov edx, 3F8; next: lodsb; test al, al; jz on; out dx, al; jmp next
        var code: [UInt8] = [0xBE]
        code += word(data)
        code += [0xBA, 0xF8, 3, 0, 0, 0xAC, 0x84, 0xC0, 0x74, 3, 0xEE, 0xEB, 0xF8]
        // on: lgdt; push ss, esp, flags, cs, eip; iret. Or ud2, which is a triple fault.
        code += runsProgram ? [0x0F, 0x01, 0x15] : halts ? [0xF4, 0, 0] : [0x0F, 0x0B, 0]
        code += word(table)
        code += [0x6A, 0x33, 0x68, 0, 0x80, 0, 0, 0x6A, 2, 0x6A, 0x2B, 0x68]
        code += word(program)
        // rdtsc; mov ebx, eax; again: rdtsc; sub eax, ebx; cmp eax, 10,000,000; jb again; ud2
        code += [0xCF, 0x0F, 0x31, 0x89, 0xC3, 0x0F, 0x31, 0x29, 0xD8, 0x3D, 0x80, 0x96, 0x98, 0]
        code += [0x72, 0xF5, 0x0F, 0x0B]
        let segments: [UInt64] = [
            0, 0, 0x00CF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF, 0, 0x00CF_FB00_0000_FFFF,
            0x00CF_F300_0000_FFFF,
        ]
        code += text
        code += [55, 0]
        code += word(table + 6)
        for segment in segments { code += [UInt8].little(segment, 8) }
        return code
    }

    @Test(
        "a guest that resets itself with a panic's words behind it has died; not if it ran a program since"
    )
    func panics() throws {
        let died = try restart(panic(false))
        #expect(died.outcome == .died("Kernel panic - not syncing: of last week"))
        let played = try restart(panic(true))
        #expect(played.outcome == .signal(.terminate))
        #expect(played.reports.filter { $0.hasPrefix("the guest restarts") }.count == 5)
    }

    @Test("a kernel whose own unpacker halts has died of what that says, or of its silence")
    func unpackers() throws {
        let words = "\n\nLZMA data is corrupt\n\n -- System halted"
        let died = try restart(panic(false, words, halts: true))
        #expect(died.outcome == .died("LZMA data is corrupt"))
        #expect(try restart(panic(false, words + "\n", halts: true)).outcome == .poweredOff)
        var spec = StockSpec(.lzma)
        spec.longFlags = 4
        // ICW1 and ICW2 of a kernel that is up: mov al, 11; out 20, al; mov al, 30; out 21, al.
        for (code, outcome) in [
            ([], .died("its own unpacker has halted")),
            ([0xB0, 0x11, 0xE6, 0x20, 0xB0, 0x30, 0xE6, 0x21], .poweredOff),
        ] as [([UInt8], LaunchOutcome)] {
            var kernel = spec.bytes()
            kernel.put(code + [0xF4], at: spec.payloadOffset - 0x40)
            #expect(try restart(kernel: kernel).outcome == outcome)
        }
    }

    @Test("a guest that panics for want of process 1 right behind its halt has powered itself off")
    func stopped() throws {
        let words = "Kernel panic - not syncing: Attempted to kill init!\n"
        let off = try restart(panic(false, "System halted.\n" + words))
        #expect(off.outcome == .poweredOff)
        // This one tells no version.
        for said in ["", "System halted.\nx\n", "Power down.\n"] {
            let died = try restart(panic(false, said + words))
            #expect(
                died.outcome == .died("Kernel panic - not syncing: Attempted to kill init!"),
                "\(said)")
        }
        // Nor is it a panic, if a program ran since.
        #expect(
            try restart(panic(true, "System halted.\n" + words)).outcome == .signal(.terminate))
    }
}
