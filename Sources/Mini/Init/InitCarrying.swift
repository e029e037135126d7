// How process 1 carries out the statements of its table. What may take its time (a module that looks for its devices, a
// disk, the store, another domain) is done by a child, so that process 1 stays free for its duties; what only it can
// do, it does when the child has found that it is possible.

extension Init {
    func carryOut(_ index: Int) -> BootMachine.Event {
        untaken = index
        let statement = table.statements[index]
        let isWanted = statement.guards.allSatisfy { outcomes[$0.statement] == $0.wanted }
        guard isWanted else { return .done }
        guard case .condition = statement.request else { return carryOut(statement) }
        do throws(InitError) {
            return try startChild(statement, as: .condition(index)) { () throws(InitError) in
                try self.holds(statement)
            }
        } catch {
            // False, as what cannot be read.
            say(error, at: statement.position)
            return .done
        }
    }

    /// In a child: whether a condition holds.
    private func holds(_ statement: BootStatement) throws(InitError) -> Bool {
        var statement = statement
        if statement.words.contains(where: { !$0.marks.isEmpty }) {
            statement = try known(statement, try lookedUp(statement))
        }
        guard case .condition(let condition) = statement.request else { return false }
        return try InitConditions.holds(condition)
    }

    private func carryOut(_ statement: BootStatement) -> BootMachine.Event {
        let isKnown = statement.request != .lookup
        // From now on its ends of pipes belong to its program, or are to be closed.
        if isKnown { untaken += 1 }
        defer { closePipes() }
        if table.settings.isVerbose && isKnown {
            var line = statement.position.text
            line += ":"
            for word in statement.words { line += " \(visible: word.text)" }
            InitConsole.say(line)
        }
        do throws(InitError) {
            switch statement.request {
            case .program(let words, let mode, let front):
                return try start(words, mode, front, statement)
            case .waitLine(let request):
                return try waitForLine(request, statement)
            case .replace(let words, nil, let variables): try replace(words, nil, variables)
            case .replace(let words, let root?, let variables):
                try SwitchRoot.check(root)
                return try startChild(
                    statement, then: .replace(words, root: root, variables: variables))
            case .lookup:
                let name = statement.words[0].text
                if name == "run" || name == "launch" { lastCode = Self.notRun }
                return try startChild(
                    statement, then: .carryOut(statement, words: try ChildResult()))
            case .link(let request):
                if request.stays { try keep(request, statement) }
                return try startChild(statement, then: nil)
            case .exit(let code):
                exitCode = code ?? lastCode
                return .asked(.powerOff)
            case .condition: break
            case .grant(let request) where request.isHeld:
                return try startChild(statement, then: .hold(try GrantPromise(request)))
            case .mount(let request) where request.isLeftOut: return .done
            case .load, .set, .mount, .grant, .notify, .wait, .waitSocket, .send, .bridge, .route:
                return try startChild(statement, then: nil)
            }
            return .done
        } catch {
            say(error, at: statement.position)
            return statement.isTried ? .done : .failed
        }
    }

    /// Closes the ends of pipes that no statement takes any more: it was skipped, or has failed, or has looked up something
    /// else. So the program at the other end notices.
    func closePipes() {
        pipes.close { (pipe, isWriting) in
            services.contains { service in
                service.front.descriptors.contains {
                    $0.target == .pipe(pipe) && ($0.direction == .output) == isWriting
                }
            }
                || table.pipeEnds.contains { end in
                    end.isWriting == isWriting && end.statement >= untaken
                        && (end.name == nil || end.name == pipe)
                        && table.statements[end.statement].guards.allSatisfy {
                            $0.statement >= untaken || outcomes[$0.statement] == $0.wanted
                        }
                }
        }
    }

    // MARK: What a child does

    /// Lets a child carry out a statement.
    private func startChild(
        _ statement: BootStatement, then promise: InitPromise?
    ) throws(InitError) -> BootMachine.Event {
        var isTried = statement.isTried
        if case .mount(let request) = statement.request, request.mayFail { isTried = true }
        return try startChild(statement, as: .awaited(isTried: isTried), promise) {
            () throws(InitError) in
            try self.child(statement, promise)
            return true
        }
    }

    /// - Parameter body: false and errors make the child end with code 1.
    private func startChild(
        _ statement: BootStatement, as role: InitChild.Role, _ promise: InitPromise? = nil,
        _ body: () throws(InitError) -> Bool
    ) throws(InitError) -> BootMachine.Event {
        let id = try launcher.start {
            do throws(InitError) { return try body() ? 0 : 1 } catch {
                say(error, at: statement.position)
                return 1
            }
        }
        children.append(
            InitChild(
                id: id, name: statement.words[0].text, position: statement.position, role: role,
                kind: .own, promise: promise))
        return .started
    }

    /// Lets a child look after a device that comes and goes.
    private func keep(_ request: LinkRequest, _ statement: BootStatement) throws(InitError) {
        let watch = try InitNetwork.Watch(request.name)
        let id = try launcher.start {
            self.pipes.forget()
            do throws(InitError) {
                try InitNetwork.keep(request, watch) { self.say($0, at: statement.position) }
            } catch { self.say(error, at: statement.position) }
            return 1
        }
        children.append(
            InitChild(
                id: id, name: statement.words[0].text, position: statement.position,
                role: .keeper, kind: .own))
    }

    /// In a child: the words that the words of a statement stand for.
    private func lookedUp(_ statement: BootStatement) throws(InitError) -> [TableWord] {
        var lookups = TableLookups()
        do throws(TableLookups.Complaint) { return try lookups.expand(statement.words) } catch {
            throw .word(column: error.column, error.words)
        }
    }

    /// The statement that these words make.
    private func known(
        _ statement: BootStatement, _ words: [TableWord]
    ) throws(InitError) -> BootStatement {
        var statement = statement
        statement.words = words
        do throws(TableError) {
            statement.request = try StatementForm.request(
                words, at: statement.position, programs)
        } catch { throw .word(column: error.position.column, error.reason.words) }
        return statement
    }

    func child(
        _ statement: BootStatement, _ promise: InitPromise?
    ) throws(InitError) {
        switch statement.request {
        case .load(let file, let parameters): try InitStatements.load(file, parameters)
        case .set(let file, let value): try InitStatements.set(file, value)
        case .mount(let request):
            if let line = try InitMounts.mount(request) {
                say(.refused(line), at: statement.position)
            }
        case .bridge(let name): try InitNetwork.makeBridge(name)
        case .link(let request): try InitNetwork.arrange(request)
        case .route(let request): try InitNetwork.addRoute(request)
        case .send(let request): try InitSockets.send(request)
        case .waitSocket(let name, let patience):
            try InitSockets.wait(for: name, .after(patience))
        case .replace(let words, let root?, _): try SwitchRoot.check(root, has: words[0])
        case .lookup:
            if case .carryOut(_, let result)? = promise {
                try result.write(try lookedUp(statement))
            }
        case .notify(let domain, let port):
            try onXen { () throws(GrantError) in
                try InitGrants.notify(domain: domain, port: port)
            }
        case .wait(let request):
            try onXen { () throws(GrantError) in try InitStatements.wait(for: request) }
        case .grant(let request):
            try onXen { () throws(GrantError) in
                let deadline = Deadline.after(request.patience)
                let terms = try InitGrants.terms(request, deadline)
                // They count only if this child ends well.
                if case .hold(let grant)? = promise { try grant.tell(terms) }
                try InitGrants.map(request, terms, deadline) {
                    InitConsole.say("\(statement.position.text): \($0)")
                }
            }
        // Process 1 does these itself.
        case .program, .replace(_, root: nil, _), .waitLine, .exit, .condition:
            throw .defect(state: statement.words[0].text)
        }
    }

    private func onXen(_ body: () throws(GrantError) -> Void) throws(InitError) {
        do throws(GrantError) { try body() } catch { throw .grant(error) }
    }

    // MARK: What only process 1 can do

    /// Does what a child has found to be possible.
    /// - Returns: nil if that has started another child, which is awaited now.
    func keep(
        _ promise: InitPromise, isTried: Bool, _ position: TablePosition?
    ) -> BootMachine.Event? {
        do throws(InitError) {
            switch promise {
            case .hold(let grant):
                do throws(GrantError) {
                    held.append(try InitGrants.hold(grant.request, try grant.terms()))
                } catch {
                    throw .grant(error)
                }
            case .replace(let words, let root, let variables): try replace(words, root, variables)
            case .carryOut(let statement, let result):
                switch carryOut(try known(statement, try result.words())) {
                case .started: return nil
                case .done: return .succeeded
                case let event: return event
                }
            }
            return .succeeded
        } catch {
            say(error, at: position)
            return isTried ? .succeeded : .failed
        }
    }

    // MARK: Programs

    /// A shell's code for what cannot be run, until it has ended by itself.
    private static let notRun: UInt8 = 126

    private func start(
        _ words: [Text], _ mode: ProgramMode, _ front: ProgramFront,
        _ statement: BootStatement
    ) throws(InitError) -> BootMachine.Event {
        switch mode {
        case .run:
            lastCode = Self.notRun
            try launch(
                words, front, at: statement.position,
                as: .awaited(isTried: statement.isTried))
            return .started
        case .start:
            try launch(words, front, at: statement.position, as: .started)
        case .vital:
            try launch(words, front, at: statement.position, as: .vital)
        case .interactive:
            // One that is registered late may be there by now.
            try? InitConsole.open()
            programCount += 1
            return watch(
                try launcher.start(words, isInteractive: true, variables: front.variables),
                words.first ?? "the shell",
                statement,
                isTried: true)
        case .respawn:
            services.append(
                InitService(
                    words: words, front: front, position: statement.position))
            startServices()
        }
        return .done
    }

    /// Starts a program, and carriers for its vchans.
    func launch(
        _ words: [Text], _ front: ProgramFront, at position: TablePosition,
        as role: InitChild.Role
    ) throws(InitError) {
        let prepared = try PreparedDescriptors(front.descriptors, &pipes)
        var keepsPipes = false
        if case .service = role { keepsPipes = true }
        defer { prepared.handOver(keepsPipes: keepsPipes) }
        programCount += 1
        let mark = InitOrphans.mark(programCount)
        let id = try launcher.start(
            words,
            arrange: { () throws(InitError) in
                Process.give(front.variables + [mark])
                try prepared.apply(&self.pipes)
            }, say: { self.say($0, at: position) })
        var started = [
            InitChild(
                id: id, name: words[0], position: position, role: role, kind: .program(mark: mark))
        ]
        do throws(InitError) {
            for carrier in prepared.carriers {
                let id = try launcher.start(
                    carrier.words,
                    arrange: { () throws(InitError) in
                        do throws(Errno) {
                            for standard in 0...1 as ClosedRange<Int32> {
                                try Process.duplicate(carrier.end, as: standard)
                            }
                        } catch { throw .system("give a program its files", error) }
                        prepared.handOver(keepsPipes: true)
                        self.pipes.forget()
                    }, say: { self.say($0, at: position) })
                started.append(
                    InitChild(
                        id: id, name: carrier.words[0], position: position, role: .started,
                        kind: .program(mark: nil)))
            }
        } catch {
            // It has failed to start: whatever runs of it must not go on beside its successor. It is not waited for.
            for child in started { try? Process.signal(child.id, .kill) }
            throw error
        }
        children += started
    }

    /// Lets a child copy a pipe to the console, to the pipe's end, and another wait for a line of it.
    private func waitForLine(
        _ request: LineRequest, _ statement: BootStatement
    ) throws(InitError) -> BootMachine.Event {
        let pipe = try pipes.named(request.pipe)
        let input = try pipe.end(.input)
        let ends: (reading: Int32, writing: Int32)
        do throws(Errno) { ends = try PassedFiles.pipe() } catch {
            throw .system("make a pipe", error)
        }
        let reading = Descriptor(owning: ends.reading)
        let writing = Descriptor(owning: ends.writing)
        let copier = try launcher.start {
            // Its number stays open as the copy that is read.
            guard let input = try? PassedFiles.lift(input, above: 3) else { return 1 }
            self.pipes.forget()
            PipeCopy.run(input, until: request.text, telling: writing.number)
            return 0
        }
        children.append(
            InitChild(
                id: copier, name: "wait", position: statement.position, role: .started,
                kind: .own))
        pipe.handOver(.input)
        return try startChild(statement, as: .awaited(isTried: statement.isTried)) {
            () throws(InitError) in
            // Else the end of the copier would not be seen.
            _ = Descriptor(owning: ends.writing)
            try PipeCopy.expect(reading.number, request)
            return true
        }
    }

    @inline(never)
    private func watch(
        _ id: ProcessID, _ name: Text, _ statement: BootStatement, isTried: Bool? = nil
    ) -> BootMachine.Event {
        children.append(
            InitChild(
                id: id, name: name, position: statement.position,
                role: .awaited(isTried: isTried ?? statement.isTried),
                kind: .program(mark: nil)))
        return .started
    }

    func startShell() -> BootMachine.Event {
        // One that is registered late may be there by now.
        try? InitConsole.open()
        pipes.showRests(isOver: false)
        guard let words = InitLauncher.shell() else {
            InitConsole.say("there is no shell")
            return .noShell
        }
        InitConsole.say("a shell; its end is the machine's")
        do throws(InitError) {
            children.append(
                InitChild(
                    id: try launcher.start(words, isInteractive: true), name: words[0],
                    position: nil, role: .rescue, kind: .program(mark: nil)))
            rescueStart = Clock.monotonic()
        } catch {
            say(error)
            return .noShell
        }
        return nextEvent()
    }

    private func replace(
        _ words: [Text], _ root: Text?, _ variables: [Text]
    ) throws(InitError) {
        if let root { try SwitchRoot.change(to: root) }
        // Lets the signals through before anything else is released.
        signals = nil
        launcher.signals = nil
        launcher.release()
        let error = launcher.execute(words, variables: variables)
        prepare()
        throw InitLauncher.failure(of: words[0], error)
    }
}
