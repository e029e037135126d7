// The launcher alone, without the other applets: what of the binary's size it needs.
Process.fillStandardDescriptors()
Process.exit(LaunchCommand.run(Process.arguments().dropFirst()))
