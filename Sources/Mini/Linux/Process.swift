// The process itself: its arguments, its end.

import CShim

enum Process {
    /// The words of the command line, the program's name first.
    static func arguments() -> [Text] {
        (0..<mini_argument_count()).map { unsafe text(mini_argument($0)) ?? Text() }
    }

    /// What the environment has under a name; nil if it has nothing.
    static func environment(_ name: StaticString) -> Text? {
        var index = 0
        while let entry = unsafe text(mini_environment(index)) {
            if let equals = entry.bytes.firstIndex(of: UInt8(ascii: "=")),
                Text(bytes: Array(entry.bytes[..<equals])) == name
            {
                return Text(bytes: Array(entry.bytes[(equals + 1)...]))
            }
            index += 1
        }
        return nil
    }

    private static func text(_ start: UnsafePointer<CChar>?) -> Text? {
        guard var byte = unsafe start else { return nil }
        var text = Text()
        while unsafe byte.pointee != 0 {
            text.append(UInt8(bitPattern: unsafe byte.pointee))
            unsafe byte += 1
        }
        return text
    }

    /// Fills the numbers 0 to 2 where whoever started us left one closed: a file that is opened
    /// later must not be taken for the console. Reading there finds the end, writing fails.
    static func fillStandardDescriptors() {
        for number in 0...2 as ClosedRange<Int32> {
            do throws(Errno) { _ = try FileStatus.of(number) } catch {
                // The lowest free number is the one that is missing; it stays open.
                let path: StaticString = "/dev/null"
                _ = unsafe try? SystemCall.make(.open, Int(bitPattern: path.utf8Start), 0)
            }
        }
    }

    /// This process's number.
    static var identifier: Int { (try? SystemCall.make(.processID)) ?? 0 }

    /// Ends every thread with this code (0…255).
    static func exit(_ code: Int32) -> Never {
        while true { _ = try? SystemCall.make(.exitGroup, Int(code)) }
    }
}
