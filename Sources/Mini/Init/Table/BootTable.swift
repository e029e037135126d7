// The boot table: what process 1 is to do, one statement after the other, and a few settings.
// It comes from a file in the initramfs and from `mini.*` words on the kernel's command line;
// BootTableReader.swift makes it of their bytes. Grammar and meaning: docs/boot-table.md.

/// Where something stands in the table's sources.
struct TablePosition: Equatable {
    enum Source: Equatable {
        case commandLine
        /// The file's name.
        case file(Text)
    }
    var source: Source
    /// From 1.
    var line: Int
    /// In bytes, from 1.
    var column: Int

    /// As compilers write it: `/etc/mini.table:3:7`.
    var text: Text {
        switch source {
        case .commandLine: "/proc/cmdline:\(line):\(column)"
        case .file(let name): "\(visible: name):\(line):\(column)"
        }
    }
}

/// A word of a statement and where it begins.
struct TableWord: Equatable {
    var text: Text
    var column: Int
    /// Where in the text `@{` begins a lookup; between single quotation marks it does not.
    var marks: [Int] = []
    /// It begins with a quotation mark, so that a sign in front is no descriptor's.
    var isQuoted = false
}

/// What to do when a statement fails.
enum ErrorPolicy: Equatable {
    /// A shell on the console, if there is one; else as `halt`.
    case shell
    case end(Ending)
}

struct BootSettings: Equatable {
    var onError = ErrorPolicy.shell
    /// What follows when the table is done and no process is left.
    var atEnd = Ending.powerOff
    /// What Ctrl-Alt-Del does; nil for nothing.
    var keys: Ending? = .reboot
    /// What processes have between SIGTERM and SIGKILL.
    var grace = Nanoseconds.milliseconds(5000)
    /// True to say each statement before it is carried out.
    var isVerbose = false
}

struct BootStatement: Equatable {
    var position: TablePosition
    /// As it was written, without quotes and comment.
    var words: [TableWord]
    /// A failure is told, but changes nothing.
    var isTried = false
    var request: BootRequest
    /// The conditions that it stands under, the outermost first.
    var guards: [BootGuard] = []
}

/// A condition's statement, and how it must have come out.
struct BootGuard: Equatable {
    var statement: Int
    var wanted: Bool
}

/// An end of a pipe that a statement has.
struct PipeEnd: Equatable {
    /// Nil for one that is looked up.
    var name: Text?
    var isWriting: Bool
    var statement: Int
    var column: Int
    /// Nothing after the statement is started before it is over.
    var waits: Bool
}

/// What an `if` asks.
enum BootCondition: Equatable {
    /// Whether the store has an entry.
    case entry(Text)
    /// Whether an entry of the store has a value.
    case value(Text, Text)
    /// Whether there is a file.
    case file(Text)
}

/// What a statement asks for. (Indirect: one word to hand around, whatever it has.)
indirect enum BootRequest: Equatable {
    /// A kernel module's file and its parameters.
    case load(file: Text, parameters: Text)
    /// Write a value into a file that is there, as those of sysfs.
    case set(file: Text, value: Text)
    case mount(MountRequest)
    case grant(GrantRequest)
    /// Send an event on a channel of another domain.
    case notify(domain: ValueOrEntry<DomainID>, port: ValueOrEntry<EventPort>)
    case wait(WaitRequest)
    /// Wait until a program listens on a socket.
    case waitSocket(Text, patience: Nanoseconds)
    /// Wait for a program to write a line into a pipe that has this text in it.
    case waitLine(LineRequest)
    /// Start a program: its words, its name first, and what stands in front of them.
    case program([Text], ProgramMode, ProgramFront = ProgramFront())
    case bridge(InterfaceName)
    case link(LinkRequest)
    case route(RouteRequest)
    /// Send a message, and files with it, through a socket.
    case send(SendRequest)
    /// Become a program, on this root or on another.
    case replace([Text], root: Text?, variables: [Text] = [])
    /// End the machine, with a code for the launcher that runs it as a guest; nil for that of the last `run`.
    case exit(UInt8?)
    /// Decide whether the statements up to `else` or `end` are carried out.
    case condition(BootCondition)
    /// Known only when its words have been looked up. (In a condition the child does that, too.)
    case lookup
}

/// How a program is looked after.
enum ProgramMode: Equatable {
    /// Its end is awaited, and must be a success.
    case run
    /// It goes on beside the rest.
    case start
    /// As `run`, with the console as its terminal; how it ends does not matter.
    case interactive
    /// Beside the rest, and started again whenever it ends.
    case respawn
    /// Beside the rest, and its end is the machine's.
    case vital
}

/// What stands in front of a program.
struct ProgramFront: Equatable {
    /// What it finds open.
    var descriptors: [ProgramDescriptor] = []
    /// Variables of its environment, `NAME=VALUE`.
    var variables: [Text] = []

    var hasVchan: Bool {
        descriptors.contains { if case .vchan = $0.target { true } else { false } }
    }
}

/// A message to the program that listens on a socket.
struct SendRequest: Equatable {
    /// The socket's file.
    var socket: Text
    var message: Text
    /// Files that go with it.
    var files: [ProgramDescriptor] = []
    /// What the answer has to have in it; nil not to wait for one.
    var expected: Text?
    var patience = Nanoseconds.milliseconds(10_000)
}

struct MountRequest: Equatable {
    var source: Text
    var target: Text
    var type: Text
    var flags: MountFlags = []
    /// What is taken back by its name, as `rw` does: a remount keeps the rest of what is so there.
    var denied: MountFlags = []
    /// What is said after the mount of others below it, in this order: `private` and the like.
    var propagation: [MountFlags] = []
    /// What the file system itself is told.
    var data = Text()
    /// A failure is told, but changes nothing: fstab's `nofail`.
    var mayFail = false
    /// fstab's `noauto`: for people to mount.
    var isLeftOut = false
}

/// What a word of the table stands for: what it says itself, or what an entry of the store has, now or later.
enum ValueOrEntry<Value: Equatable>: Equatable {
    case value(Value)
    /// `@PATH`, without the sign.
    case entry(Text)
}

/// Pages of another domain, and what to do with them.
struct GrantRequest: Equatable {
    /// For messages.
    var name: Text
    var domain: ValueOrEntry<DomainID>
    var references: ValueOrEntry<[GrantReference]>
    var isWritable = false
    /// Mapped until the machine ends.
    var isHeld = false
    /// A file to write the bytes to.
    var output: Text?
    /// A file to fill the bytes from.
    var input: Text?
    /// In bytes from the start of the first page.
    var offset = 0
    /// In bytes; nil for all that is there.
    var length: Int?
    var notifiedByte: Int?
    var notifiedPort: ValueOrEntry<EventPort>?
    var patience = Nanoseconds.milliseconds(10_000)
}

/// Something that others have to do first.
struct WaitRequest: Equatable {
    enum Kind: Equatable {
        /// A file, as a device node, to appear.
        case file
        /// An entry of the store to appear, or to have a value.
        case store
        /// An event on a channel of another domain.
        case event(ValueOrEntry<DomainID>, ValueOrEntry<EventPort>)
    }
    /// How long at most, if the statement does not say.
    static let usualPatience = Nanoseconds.milliseconds(10_000)
    var kind: Kind
    /// The file, or the path in the store.
    var subject: Text
    /// The value of the entry, if it matters.
    var detail: Text?
    /// How long at most.
    var patience = usualPatience
}

/// Wait for a line of another program.
struct LineRequest: Equatable {
    var pipe: Text
    /// What the line has in it.
    var text: Text
    var patience = WaitRequest.usualPatience
}

/// A boot table as it was read: statements and settings.
struct BootTable: Equatable {
    static let usualFile: Text = "/etc/mini.table"

    var settings = BootSettings()
    var statements: [BootStatement] = []
    /// What the statements have of pipes.
    var pipeEnds: [PipeEnd] = []
}
