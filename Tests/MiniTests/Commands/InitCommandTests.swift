// `poweroff`, `reboot` and `halt`, by which others ask process 1 for the end.

import Testing

@testable import Mini

@Suite struct InitCommandTests {
    @Test("whoever asks for the machine's end asks mini-init, and nobody else")
    func asking() {
        for (name, signal) in [("poweroff", 12), ("reboot", 15), ("halt", 10)] {
            let boot = FakeBoot { $0.files["/proc/1/comm"] = "mini-init\n" }
            #expect(boot.play { InitCommand.run([Text(stringLiteral: name)]) } == 0)
            #expect(boot.now.deeds == ["kill 1 \(signal)"])
            // As the kernel starts it.
            let linked = FakeBoot { $0.files["/proc/1/comm"] = "mini-init\n" }
            #expect(linked.play { Applet.run([Text(stringLiteral: "/sbin/\(name)")]) } == 0)
            #expect(linked.now.deeds == ["kill 1 \(signal)"])
            for other in ["sh\n", "systemd\n", "mini-init2\n", nil] as [String?] {
                let boot = FakeBoot { $0.files["/proc/1/comm"] = other }
                #expect(boot.play { InitCommand.run([Text(stringLiteral: name)]) } == 1)
                #expect(boot.now.deeds.isEmpty)
                #expect(
                    boot.console
                        == (other == nil
                            ? "mini-init: cannot tell what process 1 is: /proc/1/comm cannot be read\n"
                            : "mini-init: process 1 is \"\(other!.dropLast())\", not mini-init: it was asked for nothing\n")
                )
            }
        }
    }
}
