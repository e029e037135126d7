import Foundation
import Testing

@testable import Mini

@Suite struct GuestABITests {
    @Test("lguest_data has the length and the words of its era")
    func data() {
        #expect(GuestABI(era: .era0).data.count == 1128)
        #expect(GuestABI(era: .era0).data.guestIdentity == 1112)
        #expect(GuestABI(era: .era1).data.count == 1124)
        #expect(GuestABI(era: .era1).data.timeStampKilohertz == 1112)
        #expect(GuestABI(era: .era1).data.quietStart == 1116)
        #expect(GuestABI(era: .era1c).data.count == 1136)
        #expect(GuestABI(era: .era1c).data.kernelAddress == 1128)
        #expect(GuestABI(era: .era4a).data.count == 1396)
        #expect(GuestABI(era: .era4a).data.pageDirectory == 1376)
        #expect(GuestABI(era: .era4d).data.count == 1392)
        #expect(GuestABI(era: .era4d).data.timeStampKilohertz == 1372)
        #expect(GuestABI(era: .era4d).data.quietStart == 1376)
        #expect(GuestABI(era: .era4d).data.systemCallVector == 1388)
        #expect(GuestABI(era: .era5).data.count == 1388)
        #expect(GuestABI(era: .era5).data.quietStart == 1376)
        #expect(GuestABI(era: .era5).data.kernelAddress == 1380)
        #expect(
            GuestABI(era: .era3b).initializeCount == 12
                && GuestABI(era: .era2).initializeCount == 16)
        #expect(
            GuestABI(era: .era4d).initializeCount == 12
                && GuestABI(era: .era5).initializeCount == 16)
        // The ring's records fill the room up to the first word behind them.
        let data = GuestABI(era: .era1).data
        #expect(
            data.ringRecords + GuestABI.ringSlots * data.ringRecordSize == data.reservedTop)
    }

    @Test("the ring turned round at 1b, the DMA record at 0b")
    func orders() {
        #expect(GuestABI(era: .era1).ringOrder == .init(first: 1, second: 2, third: 3))
        #expect(GuestABI(era: .era1b).ringOrder == .init(first: 3, second: 1, third: 2))
        #expect(GuestABI(era: .era0).dma == .addressesFirst)
        #expect(GuestABI(era: .era0b).dma == .lengthsFirst)
        #expect(GuestABI(era: .era1).dma?.lengths == 4)
    }

    @Test("there is a row for each era, and the newest has what the oldest has not")
    func rows() {
        #expect(GuestABI.all.map { $0.era } == GuestABI.Era.allCases)
        #expect(Set(GuestABI.all.map { "\($0.name)" }).count == GuestABI.all.count)
        let turned = GuestABI.all.first { $0.callRegisters == .baseFirst }
        #expect(turned?.era == .era3c)
        #expect(GuestABI.all.filter { $0.hasVectorBehind }.map { $0.era } == [.era1b])
    }

    @Test("what not every era has or does came and went once")
    func traits() {
        let rows: [(GuestABI.Traits, GuestABI.Era, GuestABI.Era)] = [
            (.hasBase, .era1a, .era5), (.namesPageDirectory, .era0, .era3a),
            (.namesPageOffset, .era0, .era1b), (.namesDeviceLimit, .era5, .era5),
            (.hasBreak, .era0, .era3c), (.startsLow, .era1c, .era5),
            (.bootsByHeader, .era2, .era5), (.reservesMore, .era2, .era5),
            (.hasVectorBehind, .era1b, .era1b), (.hasRandomNumbers, .era3a, .era5),
            (.mayHaveWideTables, .era4a, .era5), (.notifies, .era2, .era4d),
            (.hasShutdown, .era3a, .era5), (.loadsGDTByEntry, .era3c, .era5),
            (.sendsInterrupts, .era4a, .era5), (.callsByVmcall, .era3c, .era4b),
            (.hasFewGates, .era0, .era1), (.keepsGatePrivilege, .era3a, .era5),
            (.reflectsSystemCalls, .era5, .era5), (.refusesWriteThrough, .era0, .era2),
            (.skipsCLI, .era4b, .era5), (.namesSwitcherPages, .era4d, .era5),
            (.saysLguestInit, .era0, .era1), (.saysDataPage, .era0, .era0b),
            (.saysNull, .era3b, .era5), (.saysPageLimit, .era1a, .era1c),
            (.saysCount, .era2, .era5),
        ]
        var told: GuestABI.Traits = []
        for (trait, first, last) in rows {
            told.formUnion(trait)
            let eras = GuestABI.all.filter { $0.traits.contains(trait) }.map { $0.era }
            #expect(
                eras == GuestABI.Era.allCases.filter { $0 >= first && $0 <= last }, "\(trait)")
        }
        for row in GuestABI.all { #expect(told.contains(row.traits), "\(row.name)") }
    }

    @Test("a later era is told by the release, however many come behind it")
    func laterByRelease() throws {
        let rows: [(String, Text)] = [
            ("2.6.20", "2"), ("2.6.24", "2"), ("2.6.25", "3a"), ("2.6.28.9", "3a"),
            ("2.6.29", "3b"), ("2.6.30", "3c"), ("2.6.33", "4a"), ("2.6.34", "4b"), ("3.0", "4b"),
            ("3.1", "4c"), ("3.9.9", "4c"), ("3.10", "4d"), ("4.0", "5"), ("4.13", "5"),
        ]
        for (release, era) in rows {
            let version = try #require(LinuxVersion(Text(stringLiteral: release)))
            #expect(
                LaterEra.of(version.isAtLeast, among: LaterEra.all).map { "\($0.era.name)" } == era,
                "\(release)")
        }
    }

    @Test("the first call leaves one era, or a few")
    func laterByCall() {
        func eras(_ call: LaterEra.FirstCall, setsStack: Bool) -> [String] {
            LaterEra.of(call, setsStack: setsStack).map { "\($0.era.name)" }
        }
        #expect(eras(.dataByInterrupt, setsStack: false) == ["2", "3a"])
        #expect(eras(.dataByInterrupt, setsStack: true) == ["3b"])
        for setsStack in [false, true] {
            #expect(eras(.baseByVmcall, setsStack: setsStack) == ["3c", "4a"])
        }
        #expect(eras(.baseByInterrupt, setsStack: true) == ["4b"])
        #expect(eras(.baseByInterrupt, setsStack: false) == ["4c", "4d", "5"])
    }

    @Test("the kernel's devices: what each takes, whom it runs, where its memory is")
    func devices() {
        for (device, count, guests) in [
            (.era0, 16, [.era0, .era0b]), (.era1, 20, [.era1a, .era1, .era1b]),
            (.era1c, 16, [.era1c]), (.virtio, 16, [.era2, .era3a]),
            (.hostTables, 12, [.era3b, .era3c]),
            (.eventDescriptors, 12, [.era4a, .era4b, .era4c, .era4d]), (.pci, 16, [.era5]),
        ] as [(DeviceEra, Int, [GuestABI.Era])] {
            #expect(device.row.initializeCount == count && device.row.guests == guests)
            #expect(device.wantsMemoryAtZero == (device == .era0))
            #expect(GuestABI.Era.allCases.filter { device.runs($0) } == guests)
        }
    }

    @Test("nothing but the rows names an era: code asks a row for a fact")
    func nobodyAsksForTheEra() throws {
        let sources = project("Sources/Mini")
        let paths = try #require(FileManager.default.enumerator(atPath: sources.path))
        var read = 0
        for case let path as String in paths where path.hasSuffix(".swift") {
            read += 1
            if ["GuestABI", "DeviceEra", "LaterEra"].contains(where: {
                path == "Lguest/\($0).swift"
            }) {
                continue
            }
            let text = try String(contentsOf: sources.appending(path: path), encoding: .utf8)
            for match in text.matches(of: #/\.era[0-9]\w*/#) {
                Issue.record("\(path) names \(match.0)")
            }
        }
        #expect(read > 100)
    }
}
