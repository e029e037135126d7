// The process itself: its arguments, its end.

import CShim

enum Process {
    /// The words of the command line, the program's name first.
    static func arguments() -> [Text] {
        (0..<mini_argument_count()).map { index in
            var text = Text()
            guard var byte = unsafe mini_argument(index) else { return text }
            while unsafe byte.pointee != 0 {
                text.append(UInt8(bitPattern: unsafe byte.pointee))
                unsafe byte += 1
            }
            return text
        }
    }

    /// Ends every thread with this code (0…255).
    static func exit(_ code: Int32) -> Never {
        while true { _ = try? SystemCall.make(.exitGroup, Int(code)) }
    }
}
