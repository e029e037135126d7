// The fuzzers that stay: `fuzz TARGET [OPTIONS]` makes cases out of chance, `fuzz TARGET --replay FILE...`
// takes those that were kept. Built like the release (build.sh), for both architectures.
//
//     fuzz images --seed 7 --count 1000000 --crashes /tmp
//     fuzz images --replay Tests/Fuzz/kept/images-*

Process.exit(FuzzCommand.run(Process.arguments().dropFirst()))
