// Single statements of the table, each one function. What goes through process 1 itself is quick;
// what may take its time runs in a child. Sources: finit_module(2), sysfs(5).

enum InitStatements {
    /// Loads a module. One that is there already is as good.
    static func load(_ name: Text, _ parameters: Text) throws(InitError) {
        let file: Descriptor
        do throws(Errno) { file = try Descriptor.open(name, .readOnly) } catch {
            throw .host("open module", name: name, error)
        }
        let endings: [StaticString] = [".gz", ".xz", ".zst"]
        do throws(Errno) {
            try Kernel.loadModule(
                file.number, parameters: parameters,
                isCompressed: endings.contains { name.dropping(suffix: $0) != nil })
        } catch { if error != .exists { throw .host("load module", name: name, error) } }
    }

    /// Writes a value into a file that is there, in one piece as sysfs wants it.
    static func set(_ name: Text, _ value: Text) throws(InitError) {
        do throws(Errno) {
            let file = try Descriptor.open(name, .writeOnly)
            try Transfer.write(file.number, "\(value)\n")
        } catch { throw .host("set", name: name, error) }
    }

    // MARK: Waiting, in a child

    /// The awaited thing's name for messages.
    static func name(_ request: WaitRequest) -> Text {
        switch request.subject {
        case .file(let name): "wait file \(name)"
        case .store(let path, _): "wait store \(path)"
        case .event(let domain, let port): "wait event \(domain) \(port)"
        }
    }

    /// - Returns: the child's exit code.
    static func wait(_ request: WaitRequest) -> Int32 {
        do throws(InitError) { try wait(for: request) } catch {
            InitConsole.say(error.text)
            return 1
        }
        return 0
    }

    private static func wait(for request: WaitRequest) throws(InitError) {
        let deadline = Deadline.after(request.patience)
        switch request.subject {
        case .file(let name):
            while (try? Descriptor.open(name, .path).number) == nil {
                if deadline.isOver { throw .refused("\(quoted: name) has not appeared in time") }
                Clock.sleep(min(pause, deadline.remaining ?? pause))
            }
        case .store(let path, let value):
            do throws(GrantError) {
                let path = try StorePath(named: path)
                _ = try XenStore(deadline: deadline).wait(for: path) { found in
                    if let value { found == value.bytes } else { found != nil }
                }
            } catch { throw .grant(error) }
        case .event(let domain, let port):
            let channel = try InitGrants.channel(domain: domain, port: port)
            do throws(GrantError) {
                guard try channel.wait(deadline) else {
                    throw .deadline("no event has come in time")
                }
            } catch { throw .grant(error) }
        }
    }
    private static let pause = Nanoseconds.milliseconds(20)
}
