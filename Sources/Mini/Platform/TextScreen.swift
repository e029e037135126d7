// The screen of a PC in VGA's text mode, as far as a kernel has it for its console: cells in memory from B8000 on, and the two
// registers of the display controller that say where in them the screen begins and where the cursor is. It is read as a log
// is: what comes to stand in front of the cursor is told once, row by row. Kernels scroll by moving the beginning, so that
// even what has left the screen since the last look is still there; at the end of the memory they move the screen to its start.
//
//     cells   |····told····|····new····|cursor ········ |        told: up to the cursor
//     the beginning goes back: what was untold after it comes first, then the last rows told are looked for in front of the cursor
//     the cursor goes back: its row is told again, after a carriage return
//
// Everything here is the guest's to write, and any bytes are a screen: places are taken modulo the memory's size.
// Source: docs/abi/pc.md §3.4; IBM's VGA technical reference (text modes, CRT controller).

struct TextScreen {
    static let base: UInt32 = 0xB_8000
    static let columns = 80
    static let rows = 25
    /// Of two bytes: a character, and its colours.
    private static let cells = 0x4000

    private var selected: UInt8 = 0
    private var start: UInt16 = 0
    private var cursor: UInt16 = 0
    private var isChanged = false
    private var hasRetrace = false

    /// The cell after the last that was told, and where the screen began then.
    private var told = 0
    private var toldStart = 0
    /// Sums of the last rows that were told whole, the newest last.
    private var sums = InlineArray<3, UInt32>(repeating: 0)

    private enum Register {
        static let startHigh: UInt8 = 12
        static let startLow: UInt8 = 13
        static let cursorHigh: UInt8 = 14
        static let cursorLow: UInt8 = 15
    }

    // MARK: Ports

    /// - Returns: nil for a port that is not the screen's.
    mutating func read(_ port: UInt16) -> UInt8? {
        switch port {
        case 0x3D4: return selected
        case 0x3D5:
            switch selected {
            case Register.startHigh: return UInt8(start >> 8)
            case Register.startLow: return UInt8(truncatingIfNeeded: start)
            case Register.cursorHigh: return UInt8(cursor >> 8)
            case Register.cursorLow: return UInt8(truncatingIfNeeded: cursor)
            default: return 0
            }
        case 0x3DA:
            // A guest that waits for a retrace, or for its end, sees it at the next read.
            hasRetrace.toggle()
            return hasRetrace ? 9 : 0
        default: return nil
        }
    }

    /// - Returns: false for a port that is not the screen's.
    mutating func write(_ port: UInt16, _ byte: UInt8) -> Bool {
        if port == 0x3D4 {
            selected = byte & 0x1F
            return true
        }
        guard port == 0x3D5 else { return false }
        switch selected {
        case Register.startHigh: start = start & 0xFF | UInt16(byte) << 8
        case Register.startLow: start = start & 0xFF00 | UInt16(byte)
        case Register.cursorHigh: cursor = cursor & 0xFF | UInt16(byte) << 8
        case Register.cursorLow: cursor = cursor & 0xFF00 | UInt16(byte)
        default: return true
        }
        isChanged = true
        return true
    }

    // MARK: Reading

    /// Appends what is new to bytes for a terminal.
    mutating func look(_ memory: GuestMemory, into output: inout [UInt8]) {
        guard isChanged, let range = memory.range(Self.base, UInt32(2 * Self.cells)) else {
            return
        }
        isChanged = false
        let cells = unsafe Cells(bytes: memory.readable(range))
        let start = Int(start) % Self.cells
        let cursor = Int(cursor) % Self.cells
        if start < toldStart {
            // It has moved to the start of the memory; what it had before it did is still there.
            if cursor < told { tell(cells, to: end(of: cells), into: &output) }
            told = resumed(cells, start, cursor)
        }
        toldStart = start
        if cursor < told {
            let row = cursor - cursor % Self.columns
            output.append(0x0D)
            if told > row + Self.columns { output.append(0x0A) }
            told = row
        }
        tell(cells, to: cursor, into: &output)
    }

    /// Tells what lies in front of a cell.
    private mutating func tell(_ cells: Cells, to cursor: Int, into output: inout [UInt8]) {
        while told < cursor {
            let next = told - told % Self.columns + Self.columns
            let isWhole = next <= cursor
            var end = isWhole ? next : cursor
            let isFull = isWhole && cells[end - 1] != 0x20
            if isWhole { note(cells.sum(ofRow: next - Self.columns)) }
            // Of a row that has an end.
            while isWhole, end > told, cells[end - 1] == 0x20 { end -= 1 }
            for cell in told..<end { output.append(cells[cell]) }
            // One that is full goes on in the next.
            if isWhole && !isFull { output += [0x0D, 0x0A] }
            told = isWhole ? next : cursor
        }
    }

    /// After the last row that has something in it.
    private func end(of cells: Cells) -> Int {
        var end = Self.cells - Self.cells % Self.columns
        while end > told, (end - Self.columns..<end).allSatisfy({ cells[$0] == 0x20 }) {
            end -= Self.columns
        }
        return end
    }

    private mutating func note(_ sum: UInt32) {
        sums[0] = sums[1]
        sums[1] = sums[2]
        sums[2] = sum
    }

    /// Behind the rows that were told last, where the screen has moved to; its start if they are gone.
    private func resumed(_ cells: Cells, _ start: Int, _ cursor: Int) -> Int {
        var row = cursor / Self.columns - 1
        while row >= 2 {
            let isHere = (0..<3).allSatisfy {
                cells.sum(ofRow: (row - $0) * Self.columns) == sums[2 - $0]
            }
            if isHere { return (row + 1) * Self.columns }
            row -= 1
        }
        return start
    }

    /// The memory of a screen, as characters for a terminal.
    @safe private struct Cells {
        let bytes: UnsafeRawBufferPointer

        subscript(cell: Int) -> UInt8 {
            switch unsafe bytes[2 * cell] {
            case 0: 0x20
            case let byte where byte >= 0x20 && byte < 0x7F: byte
            default: UInt8(ascii: "?")
            }
        }

        /// - Parameter row: its first cell.
        func sum(ofRow row: Int) -> UInt32 {
            var sum: UInt32 = 0
            for cell in row..<row + TextScreen.columns {
                sum = sum &* 0x0100_0193 ^ UInt32(self[cell])
            }
            return sum
        }
    }
}
