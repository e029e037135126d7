// Single statements of the table, each one function, which a child carries out. Sources: finit_module(2), init_module(2), sysfs(5).

enum InitStatements {
    /// Loads a module. One that is there already is as good.
    static func load(_ name: Text, _ parameters: Text) throws(InitError) {
        let file: Descriptor
        do throws(Errno) { file = try Descriptor.open(name, .readOnlyNow) } catch {
            throw .host("open module", name: name, error)
        }
        let endings: [StaticString] = [".gz", ".xz", ".zst"]
        do throws(Errno) {
            try Kernel.loadModule(
                file.number, parameters: parameters,
                isCompressed: endings.contains { name.dropping(suffix: $0) != nil })
        } catch {
            guard let error = unpacked(file, parameters, error), error != .exists else { return }
            if let why = ModuleTrouble.reason(file, error) {
                throw .cause("load module", name: name, why)
            }
            throw .host("load module", name: name, error)
        }
    }

    /// Tries it from memory: kernels before 3.8 take no file, those before 5.17 and many later ones unpack none, or
    /// not of this kind, whatever its name is.
    /// - Returns: what keeps the kernel from it; nil if it is loaded.
    private static func unpacked(
        _ module: borrowing Descriptor, _ parameters: Text, _ errno: Errno
    ) -> Errno? {
        guard
            errno == .invalid || errno == .notAProgram || errno == .unsupported
                || errno == .notImplemented
        else { return errno }
        var result: Errno? = errno
        ModuleTrouble.withImage(module) { (image, isPacked) in
            guard isPacked || errno == .notImplemented else { return }
            do throws(Errno) {
                unsafe try Kernel.loadModule(image.buffer, parameters: parameters)
                result = nil
            } catch { result = error }
        }
        return result
    }

    /// Writes a value into a file that is there, in one piece as sysfs wants it, and in place of what an ordinary one holds.
    /// A pipe without a reader is an error. A driver may take its time.
    static func set(_ name: Text, _ value: Text) throws(InitError) {
        do throws(Errno) {
            let file = try Descriptor.open(name, .rewriteNow)
            try Transfer.write(file.number, "\(value)\n")
        } catch { throw .host("set", name: name, error) }
    }

    // MARK: Waiting, in a child

    static func wait(for request: WaitRequest) throws(GrantError) {
        let deadline = Deadline.after(request.patience)
        switch request.kind {
        case .file:
            while !isThere(request.subject) {
                if deadline.isOver {
                    throw .deadline("\(quoted: request.subject) has not appeared in time")
                }
                Clock.sleep(min(pause, deadline.remaining ?? pause))
            }
        case .store:
            let wanted = request.detail?.bytes
            _ = try XenStore(deadline: deadline).wait(
                for: try StorePath(named: request.subject)
            ) { $0 != nil && (wanted == nil || $0 == wanted) }
        case .event(let domain, let port):
            let channel = try InitGrants.channel(domain, port, deadline)
            // Xen sends an event to a port as soon as it is bound, in case one was sent before: that one is taken off first.
            // Then the other side is told that somebody listens.
            _ = try channel.wait(.after(min(settling, request.patience)))
            try channel.notify()
            if try !channel.wait(deadline) { throw .deadline("no event has come in time") }
        }
    }
    /// A file, or a file system by its name.
    private static func isThere(_ subject: Text) -> Bool {
        if let tag = FileSystemTag(subject) { return tag.device() != nil }
        return (try? Descriptor.open(subject, .path).number) != nil
    }
    private static let settling = Nanoseconds.milliseconds(100)
    private static let pause = Nanoseconds.milliseconds(20)
}
