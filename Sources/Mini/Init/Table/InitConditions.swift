// The conditions of the table. A child asks, so that process 1 goes on with its duties; its end says how the
// condition came out. What cannot be read is false, and the child says why. Source: docs/boot-table.md.

enum InitConditions {
    /// In a child.
    static func holds(_ condition: BootCondition) throws(InitError) -> Bool {
        switch condition {
        case .file(let name):
            do throws(Errno) {
                _ = try Descriptor.open(name, .path)
                return true
            } catch {
                if error == .noSuchFile || error == .notDirectory { return false }
                throw .host("look for", name: name, error)
            }
        case .entry(let path): return try value(path) != nil
        case .value(let path, let wanted):
            guard let value = try value(path) else {
                throw .grant(.store("read", path: path, .noSuchFile))
            }
            return value == wanted.bytes
        }
    }

    private static func value(_ path: Text) throws(InitError) -> [UInt8]? {
        do throws(GrantError) {
            let path = try StorePath(named: path)
            return try XenStore(deadline: .after(XenStore.patience)).valueIfAny(path)
        } catch { throw .grant(error) }
    }
}
