// How process 1 carries out the statements of its table. What may take its time (a module that looks for its devices, a
// disk, the store, another domain) is done by a child, so that process 1 stays free for its duties; what only it can
// do, it does when the child has found that it is possible.

extension Init {
    func carryOut(_ statement: BootStatement) -> BootMachine.Event {
        if table.settings.isVerbose {
            var line = statement.position.text
            line += ":"
            for word in statement.words { line += " \(visible: word.text)" }
            InitConsole.say(line)
        }
        do throws(InitError) {
            switch statement.request {
            case .set(let file, let value): try InitStatements.set(file, value)
            case .program(let words, let mode): return try start(words, mode, statement)
            case .replace(let words, nil): try replace(words, nil)
            case .replace(let words, let root?):
                try SwitchRoot.check(root)
                return try beside(statement, then: .replace(words, root: root))
            case .grant(let request) where request.isHeld:
                return try beside(statement, then: .hold(try promise(request)))
            case .load, .mount, .grant, .notify, .wait: return try beside(statement, then: nil)
            }
            return .done
        } catch {
            say(error, at: statement.position)
            return statement.isTried ? .done : .failed
        }
    }

    private func promise(_ request: GrantRequest) throws(InitError) -> GrantPromise {
        do throws(Errno) { return try GrantPromise(request) } catch {
            throw .system("make a file in memory", error)
        }
    }

    // MARK: What a child does

    /// Lets a child carry out a statement.
    private func beside(
        _ statement: BootStatement, then promise: InitPromise?
    ) throws(InitError) -> BootMachine.Event {
        let id = try launcher.start {
            do throws(InitError) { try child(statement, promise) } catch {
                say(error, at: statement.position)
                return 1
            }
            return 0
        }
        children.append(
            InitChild(
                id: id, name: statement.words[0].text, position: statement.position,
                role: .awaited(isTried: statement.isTried), isOwn: true, promise: promise))
        return .started
    }

    private func child(
        _ statement: BootStatement, _ promise: InitPromise?
    ) throws(InitError) {
        switch statement.request {
        case .load(let file, let parameters): try InitStatements.load(file, parameters)
        case .mount(let request): try InitMounts.mount(request)
        case .replace(let words, let root?): try SwitchRoot.check(root, has: words[0])
        default:
            do throws(GrantError) { try childOnXen(statement, promise) } catch {
                throw .grant(error)
            }
        }
    }

    private func childOnXen(
        _ statement: BootStatement, _ promise: InitPromise?
    ) throws(GrantError) {
        switch statement.request {
        case .notify(let domain, let port): try InitGrants.notify(domain: domain, port: port)
        case .wait(let request): try InitStatements.wait(for: request)
        case .grant(let request):
            let request = try InitGrants.resolve(request)
            if let words = InitGrants.words(request) {
                let code = programs.run(words) ?? 127
                if code != 0 {
                    say(.program(request.name, .exited(code: code)), at: statement.position)
                    Process.exit(code)
                }
            } else {
                try InitGrants.check(request)
            }
            if case .hold(let grant)? = promise { try grant.tell(request) }
        default: return
        }
    }

    // MARK: What only process 1 can do

    /// Does what a child has found to be possible.
    /// - Returns: false if it is not.
    func keep(_ promise: InitPromise, _ position: TablePosition?) -> Bool {
        do throws(InitError) {
            switch promise {
            case .hold(let grant):
                do throws(GrantError) {
                    held.append(try InitGrants.hold(try grant.resolved()))
                } catch {
                    throw .grant(error)
                }
            case .replace(let words, let root): try replace(words, root)
            }
            return true
        } catch {
            say(error, at: position)
            return false
        }
    }

    // MARK: Programs

    private func start(
        _ words: [Text], _ mode: ProgramMode, _ statement: BootStatement
    ) throws(InitError) -> BootMachine.Event {
        switch mode {
        case .run:
            return watch(try launcher.start(words), words[0], statement)
        case .start:
            children.append(
                InitChild(
                    id: try launcher.start(words), name: words[0], position: statement.position,
                    role: .started))
        case .interactive:
            return watch(
                try launcher.start(words, isInteractive: true), words.first ?? "the shell",
                statement,
                isTried: true)
        case .respawn:
            services.append(InitService(words: words, position: statement.position))
            startServices()
        }
        return .done
    }

    @inline(never)
    private func watch(
        _ id: ProcessID, _ name: Text, _ statement: BootStatement, isTried: Bool? = nil
    ) -> BootMachine.Event {
        children.append(
            InitChild(
                id: id, name: name, position: statement.position,
                role: .awaited(isTried: isTried ?? statement.isTried)))
        return .started
    }

    func startShell() -> BootMachine.Event {
        guard let words = InitLauncher.shell() else {
            InitConsole.say("there is no shell")
            return .noShell
        }
        InitConsole.say("a shell; its end is the machine's")
        do throws(InitError) {
            children.append(
                InitChild(
                    id: try launcher.start(words, isInteractive: true), name: words[0],
                    position: nil, role: .awaited(isTried: true)))
        } catch {
            say(error)
            return .noShell
        }
        return nextEvent()
    }

    private func replace(_ words: [Text], _ root: Text?) throws(InitError) {
        if let root { try SwitchRoot.change(to: root) }
        // Lets the signals through before anything else is released.
        signals = nil
        launcher.signals = nil
        launcher.release()
        let error = launcher.execute(words)
        prepare()
        throw .host("run", name: words[0], error)
    }
}
