#!/usr/bin/env bash
# Builds, runs, tests and measures mini. `./build.sh help` lists the commands; what they do beside compiling is in tools/.
set -euo pipefail
cd "$(dirname "$0")"
root=$PWD
# Whatever the caller has: the tests look at modes and times of files and at what programs say.
umask 022
export LC_ALL=C TZ=UTC0

say() { printf '%s\n' "$*" >&2; }
die() { say "build.sh: $*"; exit 1; }
wrong() { say "build.sh: $*"; exit 2; }

# --- the toolchain -----------------------------------------------------------------------------

command -v swiftc >/dev/null || die "swiftc is not on the PATH: install Swift 6.3 or later"
swift_bin=$(dirname "$(readlink -f "$(command -v swiftc)")")
toolchain=$(dirname "$swift_bin")
tool() { if [[ -x $swift_bin/$1 ]]; then echo "$swift_bin/$1"; else command -v "$1" || die "missing tool: $1"; fi; }

# Asked when all is there that the compiler needs to run.
check_swift() {
    local version
    version=$(swiftc --version 2>&1) || true
    if [[ ! $version =~ Swift\ version\ ([0-9]+)\.([0-9]+) ]] || ((BASH_REMATCH[1] * 100 + BASH_REMATCH[2] < 603)); then
        die "this is not Swift 6.3 or later: ${version%%$'\n'*}"
    fi
}

# Flags of everything that runs without a C library: the release, the guests, what the tests put into an initramfs.
clang_flags=(-DMINI_FREESTANDING -ffreestanding -fno-stack-protector -fno-asynchronous-unwind-tables -fno-pic
    -mno-red-zone -O2 -Wall -Wextra -Werror "-ffile-prefix-map=$root=." -ISources/CShim/include)
swift_flags=(-enable-experimental-feature Embedded -wmo -static-stdlib -Osize -swift-version 6
    -enforce-exclusivity=unchecked -I "$toolchain/lib/swift/embedded" -Xfrontend -disable-stack-protector
    -file-prefix-map "$root=.")
link_flags=(-O2 -static --gc-sections --build-id=none -z noexecstack -s)

# Types of mini whose functions count for their speed, or these functions of a type (tools/tune.awk).
fast_types=(Core.execute LongCore.{execute,findBlock,slowPath,slow,read,write,physical,physicalRead,physicalWrite,check,operand}
    LongCore.{setOperand,modifiable,arithmetic,string,bulk,fill,walk,fetchable,setPart,alignVector} Level2.{align,cut}
    Lzma2.{symbols,tree,turnedTree,length,distance} X86Filter Inflate.quick Zstd.{carryOut,huffman,fourStreams,oneStream,sequences})
# What the linker does to the program as a whole (LLVM's names of passes).
passes='globaldce,ipsccp,deadargelim,cgscc(inline),ipsccp,deadargelim,'
passes+='function(sroa<modify-cfg>,early-cse<memssa>,instcombine<no-verify-fixpoint>,dse,adce,'
passes+='correlated-propagation,constraint-elimination,simplifycfg<sink-common-insts>,adce),iroutliner,globaldce'

for file in packages guests debian linux install test fresh; do
    # shellcheck source=/dev/null
    source "tools/$file.sh"
done

# --- parts ----------------------------------------------------------------------------------------

# What of mini is built: all, or what --parts says.
all_parts=(launch grant pack init)
mini_parts=("${all_parts[@]}")

# part_sources PART...: files and folders with the sources of these parts. A new file of Commands/ must be among them.
part_sources() {
    local part name folders=(Linux Commands/{Applet,CommandError,ExitCode,Options}.swift)
    for part in "$@"; do
        case $part in
        launch)
            folders+=(Commands/LaunchCommand.swift 'Commands/*Argument.swift' Launcher Loader Devices Platform Host Xen Lguest
                Processor Memory)
            ;;
        grant) folders+=(Commands/Grant Xen) ;;
        pack) folders+=(Commands/PackCommand.swift Archive) ;;
        # It knows programs and modules by their ELF headers, and kernels' words.
        init)
            folders+=(Commands/InitCommand.swift Init Xen Loader Lguest Platform/TextScreen.swift Memory
                Processor/{GuestProcessor,MissingInstruction,ProcessorProfile,ProcessorStart}.swift)
            ;;
        esac
    done
    for name in "${folders[@]}"; do compgen -G "Sources/Mini/$name"; done
}

# choose_parts LIST: the parts between its commas, in the order in which --version names them.
choose_parts() {
    local part chosen=",$1,"
    mini_parts=()
    for part in "${all_parts[@]}"; do
        [[ $chosen == *",$part,"* ]] && mini_parts+=("$part") && chosen=${chosen//",$part,"/,}
    done
    while [[ $chosen == ,* ]]; do chosen=${chosen#,}; done
    [[ -z ${chosen%%,*} ]] || wrong "there is no part \"${chosen%%,*}\": the parts are ${all_parts[*]}"
    ((${#mini_parts[@]})) || wrong "--parts needs at least one of ${all_parts[*]}"
}

# check_part PART: whether a part compiles by itself.
check_part() {
    local part flags=() sources
    for part in "${all_parts[@]}"; do
        [[ $part == "$1" ]] || flags+=(-D "MINI_WITHOUT_${part^^}")
    done
    mapfile -t sources < <(part_sources "$1")
    mapfile -t sources < <(find "${sources[@]}" -name '*.swift' | LC_ALL=C sort -u)
    swiftc -typecheck -target x86_64-unknown-none-elf "${swift_flags[@]}" -strict-memory-safety -I Sources/CShim/include \
        -module-name Mini "${flags[@]}" Sources/Mini/main.swift "${sources[@]}"
}

# --- the release: Embedded Swift, no C library ------------------------------------------------

# compile ARCH [MAIN NAME [FLAG...]]: out/ARCH/mini; or out/ARCH/NAME, with MAIN, a file or a folder, in
# the place of main.swift. Every failure is a result, as `set -e` does not hold where the result is asked for.
compile() {
    local main=${2:-Sources/Mini/main.swift} name=${3:-mini} flags=("${@:4}")
    local arch=$1 target cpu emulation placing=() code=-fno-pic
    case $arch in
    x86_64)
        target=x86_64-unknown-none-elf cpu=x86-64 emulation=elf_x86_64
        # At a place of the kernel's choice; Sources/CShim/relocate.c does the rest. Swift's code is made for that anyway.
        code=-fpie placing=(-pie --no-dynamic-linker -z text --pack-dyn-relocs=relr)
        ;;
    i386)
        target=i686-unknown-none-elf cpu=i686 emulation=elf_i386
        # Out of the way of guest memory at address 0, which a /dev/lguest of 2.6.23 wants.
        placing=(--image-base=0x70000000)
        ;;
    *) die "no such architecture: $arch" ;;
    esac
    local out=out/$arch objects=() source
    mkdir -p "$out/objects"
    # As old as its beginning, so that a source that changes meanwhile is newer.
    : >"$out/objects/$name.began"
    for source in Sources/CShim/*.c Sources/CShim/*.S; do
        local object
        object=$out/objects/$(basename "$source").o
        "$(tool clang)" -target "$target" -march="$cpu" "${clang_flags[@]}" "$code" -c "$source" -o "$object" || return
        objects+=("$object")
    done
    local sources part
    for part in "${all_parts[@]}"; do
        [[ $name == mini* && ! " ${mini_parts[*]} " == *" $part "* ]] && flags+=(-D "MINI_WITHOUT_${part^^}")
    done
    if [[ $name != mini* ]]; then
        sources=(Sources/Mini)
    else
        mapfile -t sources < <(part_sources "${mini_parts[@]}")
    fi
    mapfile -t sources < <((find "${sources[@]}" -name '*.swift' ! -name main.swift &&
        find "$main" -name '*.swift' ! -name '*Tests.swift') | LC_ALL=C sort -u)
    # The 64-bit processor needs the registers of one.
    if [[ $arch != x86_64 ]]; then
        flags+=(-D MINI_WITHOUT_LONG)
        mapfile -t sources < <(printf '%s\n' "${sources[@]}" | grep -v /Processor/Long/)
    fi
    # What calls much takes less of others into itself (4 instead of 2 takes 9 KB out of the program), and what is given a closure is
    # not copied for each (5 KB).
    # A retain is called, not copied to each place. The pass over such calls must be off: it takes the look whether a
    # buffer is shared, which is copied and thus a mere load, for one that no retain matters to.
    swiftc -target "$target" -Xcc -march="$cpu" "${swift_flags[@]}" -strict-memory-safety -I Sources/CShim/include \
        -Xfrontend -sil-inline-caller-benefit-reduction-factor -Xfrontend 4 \
        -Xfrontend -function-sections -Xllvm -inline-call-penalty=0 -Xllvm -disable-llvm-arc-opts \
        -Xllvm -sil-disable-pass=closure-specialize -module-name Mini "${flags[@]}" \
        -emit-ir "${sources[@]}" -o "$out/objects/$name.swift.ir" || return
    # swiftc by itself makes code that could lie anywhere, which costs i386 a fourteenth of its size and a tenth of its speed.
    awk -v types="${fast_types[*]}" -v preserving="${arch#i386}" -f tools/tune.awk "$out/objects/$name.swift.ir" \
        >"$out/objects/$name.tuned.ir" || return
    if [[ $name == mini && " ${mini_parts[*]} " == *" launch "* ]]; then
        grep -q 'align 64 {$' "$out/objects/$name.tuned.ir" || { say "build.sh: the execution loop has another name now"; return 1; }
    fi
    "$(tool clang)" -target "$target" -march="$cpu" -O2 -Xclang -disable-llvm-passes "$code" -ffunction-sections -Wno-override-module \
        -x ir -emit-llvm -c "$out/objects/$name.tuned.ir" -o "$out/objects/$name.bc" || return
    rm "$out/objects/$name.swift.ir" "$out/objects/$name.tuned.ir"
    # The linker knows which functions nobody else calls: what is called once goes into its caller, parameters and results that
    # nobody uses and constants that all callers pass are left out, and what then stands there twice (25 KB). Checks that
    # others make needless go (correlated-propagation, constraint-elimination), what branches have in common is moved behind them
    # (simplifycfg), and what functions have in common becomes one (iroutliner): 10 KB, and no time from a boot or a loop. No gvn-sink: what
    # it makes is not the same each time.
    # Behind each record of an execution loop a dispatch of its own, which the host's processor foresees better than one for all
    # (Debian 13's cloud kernel, 6.12, boots in four fifths of the time). It needs that no case of the loop's is empty. Aligning the
    # cases gains nothing.
    # The flags from -apply-ext-tsp-for-size on take 32 KB (3 %) out of the program and no time from a boot: blocks in the order that needs
    # the fewest jumps, constants and what does not change computed where they are needed instead of kept in registers and on the stack
    # (of the first alone that boot gets a tenth slower), spills where they are small, jump tables where they are well filled, places in
    # loops as the source reckons them.
    "$(tool ld.lld)" -m "$emulation" "${placing[@]}" "${link_flags[@]}" --icf=all -z relro -z now --lto-O2 "--lto-newpm-passes=$passes" \
        -mllvm -inline-threshold=0 -mllvm -tail-dup-pred-size=1000 -mllvm -tail-dup-succ-size=1000 -mllvm -max-bytes-for-alignment=1 \
        -mllvm -apply-ext-tsp-for-size -mllvm -disable-constant-hoisting -mllvm -disable-machine-licm -mllvm -disable-postra-machine-sink \
        -mllvm -split-spill-mode=size -mllvm -min-jump-table-entries=6 -mllvm -optsize-jump-table-density=60 -mllvm -disable-lsr \
        -mllvm -enable-machine-outliner=always -mllvm -enable-linkonceodr-outlining \
        -o "$out/$name" "${objects[@]}" "$out/objects/$name.bc" || return
    touch -r "$out/objects/$name.began" "$out/$name"
    [[ $name == mini ]] || return 0
    echo "${mini_parts[*]}" >"$out/parts"
    for part in "${all_parts[@]}"; do rm -f "$out/mini-$part"; done
    for part in "${mini_parts[@]}"; do ln -sf mini "$out/mini-$part"; done
}

# build_changed ARCH...: builds what is older than its sources, beside each other.
build_changed() {
    local arch builders=() builder
    for arch in "$@"; do
        [[ ! -e out/$arch/mini || $(cat "out/$arch/parts" 2>/dev/null) != "${mini_parts[*]}" ||
            -n $(find Sources build.sh "$swift_bin/swift-frontend" -newer "out/$arch/mini" -type f | head -n 1) ]] ||
            continue
        ((${#builders[@]})) || need toolchain build
        say "build.sh: building out/$arch/mini"
        compile "$arch" &
        builders+=($!)
    done
    for builder in "${builders[@]}"; do wait "$builder" || die "the build has failed"; done
}

# --- the commands -------------------------------------------------------------------------------

run() {
    if [[ ${1:-} == xen ]]; then build_changed x86_64 && want xen && exec Tests/xen/run.sh; fi
    build_changed x86_64
    if [[ ${1:-} == linux ]]; then shift && run_linux "$@"; fi
    if (($#)); then exec out/x86_64/mini-launch "$@"; fi
    guests
    # On a terminal the demo offers a prompt; elsewhere it powers off by itself.
    if [[ -t 0 && -t 1 ]]; then exec out/x86_64/mini-launch out/guests/demo prompt; fi
    exec out/x86_64/mini-launch out/guests/demo
}

bench() {
    build_changed x86_64 i386
    guests
    want bench
    compile x86_64 Tests/xen/bench/main.swift grantbench
    compile i386 Tests/bench/launcher/main.swift launcher
    local choice
    for choice in launch grant,init,pack init,grant init; do
        choose_parts "$choice"
        compile x86_64 Sources/Mini/main.swift "mini-of-$choice"
    done
    mini_parts=("${all_parts[@]}")
    Tests/bench.sh "$@"
}

# The fuzzers of Tests/Fuzz, built like the release.
fuzzers() {
    local arch
    for arch in x86_64 i386; do
        [[ -e out/$arch/fuzz && -z $(find Sources Tests/Fuzz build.sh -newer "out/$arch/fuzz" -type f | head -n 1) ]] && continue
        need toolchain build
        say "build.sh: building out/$arch/fuzz"
        compile "$arch" Tests/Fuzz fuzz -D MINI_FUZZ || return
    done
}

# fuzz [SECONDS]: so long for each target and architecture; then some of the same cases in the plain build,
# under AddressSanitizer.
fuzz() {
    fuzzers
    local arch
    # The same with the processor looking at all that it relies on.
    for arch in x86_64 i386; do compile "$arch" Tests/Fuzz fuzz-checked -D MINI_FUZZ -D MINI_CHECKED; done
    local good=0
    Tests/fuzz.sh "${1:-60}" || good=1
    want unit
    # There are no tests of XCTest, and its own start leaks, which would be told as a failure.
    MINI_FUZZ_CASES=${MINI_FUZZ_CASES:-20000} swift test --disable-xctest --sanitize=address \
        --scratch-path .build/address --filter FuzzTests || good=1
    return $good
}

compare() {
    build_changed x86_64 i386
    guests
    Tests/compare.sh
}

usage() {
    cat <<'EOF'
usage: ./build.sh [command]
  (none)           build out/x86_64/mini and out/i386/mini
  x86_64, i386     build one of them alone
  --parts LIST     the same with these parts alone, between commas: launch, grant, pack, init
  run [words]      build and start the demo guest; with words: mini-launch WORDS
  run linux [KERNEL [words]]
                   start a Debian kernel, or this one, with a shell
  run xen          boot Xen in QEMU: a prompt in dom0 with mini-grant, and a second domain
  test [part...] [words for swift test]
                   every test, or these parts: lint, unit, system, compare, initramfs, linux, xen,
                   fuzz;
                   with words alone, as `--filter NAME`, the unit tests
  test fresh       as root: run and test on a new Debian that has the toolchain and nothing else
  compare          the same guests on every host that there is: the same output (docs/compare.md)
  fuzz [SECONDS]   look for faults with cases made of chance, so long for each kind (60)
  bench            measure speed and size, as ratios against peers
  install [DESTDIR=FOLDER] [PREFIX=/usr/local] [ARCH]
                   install mini, its links, manual pages and hooks for initramfs tools
  deb              make Debian packages for amd64 and i386 in out
  initramfs        make out/ARCH/initramfs.cpio: mini as the init, and the demo guest
  guests           build the small guest kernels of Tests/Guests into out/guests
  oracle           build out/oracle, the native side of the differential test
  lint             check the formatting
  clean            remove what was built
EOF
}

if [[ ${1:-} == --parts || ${1:-} == --parts=* ]]; then
    if [[ $1 == *=* ]]; then set -- --parts "${1#*=}" "${@:2}"; fi
    (($# >= 2)) || wrong "--parts needs at least one of ${all_parts[*]}"
    choose_parts "$2"
    shift 2
fi

case ${1:-build} in
build) build_changed x86_64 i386 ;;
x86_64 | i386) build_changed "$1" ;;
guests) need toolchain build && guests ;;
initramfs) build_changed x86_64 i386 && guests && initramfs ;;
install) shift && install_all "$@" ;;
deb) deb ;;
oracle) need toolchain build && oracle ;;
run) shift && run "$@" ;;
test) shift && test_all "$@" ;;
fuzz) shift && fuzz "$@" ;;
bench) shift && bench "$@" ;;
compare) compare ;;
lint) lint ;;
clean) rm -rf out .build ;;
help | --help | -h) usage ;;
*) usage >&2 && exit 2 ;;
esac
