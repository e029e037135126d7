// Picks the applet.
Process.fillStandardDescriptors()
Process.exit(Applet.run(Process.arguments()))
