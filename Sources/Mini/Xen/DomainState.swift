// How the hypervisor sees another domain, for the privileged domain alone: a domain that was told to let itself be
// saved is down with that reason from then until the toolstack destroys it, which takes as long as writing
// its memory. In the store nothing of it is left to see. Source: docs/abi/xen-grants.md §11.

import CShim

/// What has become of a domain.
enum DomainState: Equatable {
    case up
    /// It has stopped, and is still there.
    case down(Reason)
    /// Xen has no domain of that number.
    case gone

    /// Why it stopped: SHUTDOWN_* of xen/sched.h.
    struct Reason: RawRepresentable, Equatable {
        let rawValue: UInt8
        static let suspend = Reason(rawValue: 2)
    }

    /// As an assistant says it.
    var code: UInt8 {
        switch self {
        case .up: 1
        case .gone: 2
        case .down(let reason): 0x80 | reason.rawValue
        }
    }

    init?(code: UInt8) {
        switch code {
        case 1: self = .up
        case 2: self = .gone
        case 0x80...: self = .down(Reason(rawValue: code & 0x7F))
        default: return nil
        }
    }
}

/// /dev/xen/privcmd, for the one question that is asked of the hypervisor itself.
final class Hypervisor {
    private let device: Descriptor
    /// Which version of the question it understood.
    private var version: UInt32?

    private static var request: IoctlRequest {
        .init(group: p, number: 0, mini_hypercall.self)
    }
    private static let p = UInt8(ascii: "P")
    /// __HYPERVISOR_domctl, XEN_DOMCTL_getdomaininfo.
    private static let domainControl: UInt64 = 36
    private static let getInformation: UInt32 = 5
    /// Versions of the interface, from 4.3's on, in which number and flags are where they are here.
    private static let versions: ClosedRange<UInt32> = 0x09...0x18

    /// Nil where there is no such device, or it may not be opened.
    init?() {
        guard let device = try? Descriptor.open("/dev/xen/privcmd", .readWrite) else { return nil }
        self.device = device
    }

    /// Asks in place of a process in a sandbox: with this device everything can be done to the machine, so that one must not have it.
    /// - Returns: nil where Xen does not answer.
    static func assistant(for domain: DomainID) -> Assistant? {
        guard let hypervisor = Hypervisor(), hypervisor.state(of: domain) != nil else { return nil }
        return try? Assistant(
            keeping: [hypervisor.device.number],
            answer: { _ in hypervisor.state(of: domain)?.code ?? 0 })
    }

    /// - Returns: nil if Xen does not tell.
    func state(of domain: DomainID) -> DomainState? {
        if let version { return try? ask(domain, version).get() }
        for version in Self.versions.reversed() {
            do throws(Errno) {
                let state = try ask(domain, version).get()
                self.version = version
                return state
            } catch {
                // EACCES means another version, or that this domain may not ask at all.
                guard error == .accessDenied else { return nil }
            }
        }
        return nil
    }

    private func ask(_ domain: DomainID, _ version: UInt32) -> Result<DomainState, Errno> {
        var question = mini_domain_information()
        question.command = Self.getInformation
        question.version = version
        question.domain = domain.rawValue
        do throws(Errno) {
            _ = try withKernel(&question) { (address) throws(Errno) in
                var call = mini_hypercall()
                call.number = Self.domainControl
                call.arguments.0 = UInt64(UInt(bitPattern: address))
                return try Ioctl.call(device.number, Self.request, &call)
            }
        } catch {
            return error == .noProcess ? .success(.gone) : .failure(error)
        }
        // It answers with the next domain where there is none of that number.
        guard question.found == domain.rawValue else { return .success(.gone) }
        let isDown = question.flags & 4 != 0  // XEN_DOMINF_shutdown
        let reason = UInt8(truncatingIfNeeded: question.flags >> 16)
        return .success(isDown ? .down(DomainState.Reason(rawValue: reason)) : .up)
    }
}
