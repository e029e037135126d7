// Boot tables as tests read them: errors and requests of a file's text and of a kernel's command line.

import Testing

@testable import Mini

protocol BootTableReading {
    var programs: InnerPrograms { get }
}

extension BootTableReading {
    /// The applets as the real thing has them, but nothing runs.
    var programs: InnerPrograms {
        InnerPrograms(run: { _ in nil }, complaint: { InitCommand.programs.complaint($0) })
    }

    func read(_ file: String, _ commandLine: String = "") -> BootTableReader {
        var reader = BootTableReader(programs)
        reader.read(file: Text(bytes: Array(file.utf8)), name: "t")
        reader.read(commandLine: Text(bytes: Array(commandLine.utf8)))
        reader.finish()
        return reader
    }

    func requests(_ file: String, _ commandLine: String = "") -> [BootRequest] {
        let reader = read(file, commandLine)
        #expect(reader.errors == [])
        return reader.table.statements.map { $0.request }
    }

    func errors(_ file: String, _ commandLine: String = "") -> [String] {
        read(file, commandLine).errors.map { string($0.text) }
    }

    /// The only error's words behind `t:1:COLUMN: `.
    func error(_ line: String) -> String {
        let all = errors(line)
        return all.count == 1 ? all[0] : "\(all.count) errors: \(all)"
    }
}
