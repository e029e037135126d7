// Pipes between programs, which the table names. Process 1 has their ends until these go to the programs, and shows what is left in
// one without a reader. Source: pipe(7).

/// A pipe that the table names. Each end waits in process 1 until it goes to the program that has it.
final class InitPipe {
    let name: Text
    private var reading: Descriptor?
    private var writing: Descriptor?
    /// A program reads it, whose end is here as well so that it can be started again.
    var isShared = false
    /// As much as a pipe can hold with the kernel's usual limit, in parts.
    private static let mostParts = 256
    /// The last of it says why a program has ended.
    private static let mostShown = 4096

    init(_ name: Text) throws(InitError) {
        self.name = name
        do throws(Errno) {
            let ends = try PassedFiles.pipe()
            reading = Descriptor(owning: ends.reading)
            writing = Descriptor(owning: ends.writing)
        } catch { throw .system("make a pipe", error) }
    }

    /// An end's number, which process 1 still has.
    func end(_ direction: ProgramDescriptor.Direction) throws(InitError) -> Int32 {
        let isReading = direction == .input
        if isReading, let reading = reading?.number { return reading }
        if !isReading, let writing = writing?.number { return writing }
        throw .refused("another program has this end of the pipe \(quoted: name)")
    }

    /// Closes an end in process 1, so that the other one notices when its program ends.
    func handOver(_ direction: ProgramDescriptor.Direction) {
        if direction == .input { reading = nil } else { writing = nil }
    }
}

extension InitPipe {
    /// Takes what is in it, if process 1 has the end that reads.
    /// - Returns: the last of that.
    fileprivate func rest() -> Text {
        var rest = Text()
        guard let number = reading?.number else { return rest }
        var part = [UInt8](repeating: 0, count: 4096)
        for _ in 0..<Self.mostParts {
            guard let ready = try? Poll.wait([Poll.Interest(number)], timeout: .milliseconds(0)),
                ready[0], let count = try? Transfer.read(number, into: &part), count > 0
            else { break }
            rest += Text(bytes: Array(part[..<count]))
            if rest.bytes.count > 4 * Self.mostShown { rest = rest.end(Self.mostShown) }
        }
        return rest.end(Self.mostShown)
    }
}

/// What the programs of the table share.
struct InitPipes {
    private var pipes: [InitPipe] = []

    /// Shows what is left in pipes without a reader.
    /// - Parameter isOver: true when no process is left; else a program may still read what is shared.
    @inline(never)
    func showRests(isOver: Bool) {
        for pipe in pipes where isOver || !pipe.isShared { InitConsole.show(pipe.rest()) }
    }

    /// Closes the ends that no program is to have any more, and shows what cannot be read then.
    /// - Parameter isWanted: whether a program is still to have the pipe's end for writing (true) or for reading.
    func close(unless isWanted: (Text, Bool) -> Bool) {
        for pipe in pipes {
            if !isWanted(pipe.name, true) { pipe.handOver(.output) }
            if !isWanted(pipe.name, false) {
                InitConsole.show(pipe.rest())
                pipe.handOver(.input)
            }
        }
    }

    /// Closes the ends that write, as no program is started again, so that those who read find the end.
    func endWriting() { for pipe in pipes { pipe.handOver(.output) } }

    mutating func named(_ name: Text) throws(InitError) -> InitPipe {
        if let pipe = pipes.first(where: { $0.name == name }) { return pipe }
        let pipe = try InitPipe(name)
        pipes.append(pipe)
        return pipe
    }

    /// In a child: closes what is not its own.
    mutating func forget() {
        for pipe in pipes {
            pipe.handOver(.input)
            pipe.handOver(.output)
        }
        pipes = []
    }
}
