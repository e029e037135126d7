// Picks the applet.
Process.exit(Applet.run(Process.arguments()))
