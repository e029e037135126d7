// Picks the applet.
Process.fillStandardDescriptors()
// Whoever started us may hold back all signals: one of a fault would then end us without its handler.
_ = try? SignalSet.faults.apply(.unblock)
Process.exit(Applet.run(Process.arguments()))
