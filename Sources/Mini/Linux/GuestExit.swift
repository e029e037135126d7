// How a guest's program ends its machine with a code: a byte written to an I/O port, as QEMU's isa-debug-exit has it, with the
// code as it is. Where no such port is, nothing happens. Sources: ioperm(2); docs/abi/pc.md §6.

import CShim

enum GuestExit {
    static let port: UInt16 = 0x501

    /// Tells the code. On a machine with such a port it does not return.
    static func tell(_ code: UInt8) {
        do throws(Errno) { try SystemCall.make(.allowPorts, Int(port), 1, 1) } catch { return }
        mini_port_output(port, code)
    }
}
