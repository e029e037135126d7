#!/usr/bin/env bash
# Builds, runs, tests and measures mini. `./build.sh help` lists the commands.
set -euo pipefail
cd "$(dirname "$0")"
root=$PWD

say() { printf '%s\n' "$*" >&2; }
die() { say "build.sh: $*"; exit 1; }

# --- what must be on the machine -------------------------------------------------------------

# need COMMAND-OR-FILE PACKAGE: installs the Debian package when root, else says which is missing.
missing=()
need() {
    if [[ $1 == /* ]]; then [[ -e $1 ]] || missing+=("$2"); else command -v "$1" >/dev/null || missing+=("$2"); fi
}
install_missing() {
    ((${#missing[@]})) || return 0
    local packages
    packages=$(printf '%s\n' "${missing[@]}" | sort -u | tr '\n' ' ')
    missing=()
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null ||
        die "missing packages: ${packages}(as root: apt-get install ${packages% })"
    say "build.sh: installing ${packages% }"
    local try
    for try in 1 2 3; do
        # shellcheck disable=SC2086
        if apt-get update -qq >/dev/null 2>&1 &&
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null 2>&1; then
            return 0
        fi
        say "build.sh: apt-get failed (try $try of 3)"
        sleep $((try * 5))
    done
    die "could not install: ${packages% }"
}

command -v swiftc >/dev/null || die "swiftc is not on the PATH: install Swift 6.3 or later"
swift_bin=$(dirname "$(readlink -f "$(command -v swiftc)")")
toolchain=$(dirname "$swift_bin")
tool() { if [[ -x $swift_bin/$1 ]]; then echo "$swift_bin/$1"; else command -v "$1" || die "missing tool: $1"; fi; }

# 64-bit division for 32-bit processors: the one library that the i386 build takes a part of.
libgcc32() { compgen -G '/usr/lib/gcc/x86_64-linux-gnu/*/32/libgcc.a' | tail -n 1; }

need_release() {
    need /usr/include/stdio.h libc6-dev
    [[ -n $(libgcc32) ]] || missing+=(lib32gcc-12-dev)
    install_missing
}

# What SwiftPM links ordinary programs with, and what the system tests look with.
need_tests() {
    need_release
    need readelf binutils
    compgen -G '/usr/include/c++/*' >/dev/null || missing+=(libstdc++-12-dev)
    install_missing
}

# Xen's own headers, for the test that compares layouts with them: those of Debian's libxen-dev, installed
# or unpacked. Prints nothing where they cannot be had; that test is skipped then.
xen_headers() {
    local out=$root/out/libxen-dev
    [[ -d /usr/include/xen/sys ]] && echo /usr/include/xen/sys && return
    if [[ ! -d $out/usr/include/xen/sys ]] && command -v apt-get >/dev/null && command -v dpkg >/dev/null; then
        mkdir -p "$out"
        (cd "$out" && apt-get download -qq libxen-dev && dpkg -x libxen-dev_*.deb .) >/dev/null 2>&1
    fi
    [[ ! -d $out/usr/include/xen/sys ]] || echo "$out/usr/include/xen/sys"
}

# A real Xen for the tests; without it they say SKIP, so only root installs, and nothing here fails.
need_xen() {
    [[ $(id -u) == 0 ]] || return 0
    need qemu-system-x86_64 qemu-system-x86
    need xz xz-utils
    (install_missing) || true
    missing=()
}

# --- the release: Embedded Swift, no C library ------------------------------------------------

# compile ARCH [MAIN NAME [FLAG...]]: out/ARCH/mini; or out/ARCH/NAME, with MAIN, a file or a folder, in
# the place of main.swift.
compile() {
    local main=${2:-Sources/Mini/main.swift} name=${3:-mini} flags=("${@:4}")
    local arch=$1 target cpu emulation libraries=() placing=()
    case $arch in
    x86_64) target=x86_64-unknown-none-elf cpu=x86-64 emulation=elf_x86_64 ;;
    i386)
        target=i686-unknown-none-elf cpu=i686 emulation=elf_i386
        libraries=("$(libgcc32)")
        # Out of the way of guest memory at address 0, which a /dev/lguest of 2.6.23 wants.
        placing=(--image-base=0x70000000)
        ;;
    *) die "no such architecture: $arch" ;;
    esac
    local out=out/$arch objects=() source
    mkdir -p "$out/objects"
    for source in Sources/CShim/*.c Sources/CShim/*.S; do
        local object
        object=$out/objects/$(basename "$source").o
        "$(tool clang)" -target "$target" -march="$cpu" -DMINI_FREESTANDING -ffreestanding -fno-stack-protector \
            -fno-asynchronous-unwind-tables -fno-pic -mno-red-zone -O2 -Wall -Wextra -Werror \
            -ffile-prefix-map="$root"=. -ISources/CShim/include -c "$source" -o "$object"
        objects+=("$object")
    done
    local sources
    mapfile -t sources < <((find Sources/Mini -name '*.swift' ! -name main.swift &&
        find "$main" -name '*.swift' ! -name '*Tests.swift') | LC_ALL=C sort)
    swiftc -target "$target" -Xcc -march="$cpu" -enable-experimental-feature Embedded -wmo -static-stdlib -Osize \
        -swift-version 6 -strict-memory-safety -enforce-exclusivity=unchecked \
        -I "$toolchain/lib/swift/embedded" -I Sources/CShim/include \
        -Xfrontend -disable-stack-protector -Xfrontend -function-sections \
        -file-prefix-map "$root"=. -module-name Mini "${flags[@]}" \
        -c "${sources[@]}" -o "$out/objects/$name.swift.o"
    "$(tool ld.lld)" -m "$emulation" -static "${placing[@]}" --gc-sections --icf=all -z noexecstack -z norelro --build-id=none -s \
        -o "$out/$name" "${objects[@]}" "$out/objects/$name.swift.o" "${libraries[@]}"
    [[ $name == mini ]] || return 0
    local applet
    for applet in mini-launch mini-grant mini-init mini-pack; do ln -sf mini "$out/$applet"; done
}


# Builds what is older than its sources.
build_changed() {
    local arch
    for arch in "$@"; do
        [[ -e out/$arch/mini && -z $(find Sources build.sh -newer "out/$arch/mini" -type f | head -n 1) ]] || build "$arch"
    done
}

build() {
    need_release
    local arch
    for arch in "$@"; do compile "$arch"; done
}

# --- the guests: small i386 kernels of our own ---------------------------------------------------

guests() {
    need_release
    local out=out/guests target=i686-unknown-none-elf source name
    local common=Tests/Guests/Common objects=() units=()
    mkdir -p "$out/objects"
    for source in "$common"/*.S "$common"/*.c; do
        local object
        object=$out/objects/$(basename "$source").o
        "$(tool clang)" -target $target -march=i586 -ffreestanding -fno-stack-protector -fno-pic \
            -fno-asynchronous-unwind-tables -O2 -Wall -Wextra -Werror -I"$common/include" -c "$source" -o "$object"
        objects+=("$object")
    done
    mapfile -t units < <(find "$common" -name '*.swift' | LC_ALL=C sort)
    for source in Tests/Guests/*.swift; do
        name=$(basename "$source" .swift)
        [[ $out/$name -nt $source && $out/$name -nt build.sh ]] &&
            [[ -z $(find "$common" -newer "$out/$name" -type f) ]] && continue
        mkdir -p "$out/objects/$name"
        cp "$source" "$out/objects/$name/main.swift"
        swiftc -target $target -Xcc -march=i586 -enable-experimental-feature Embedded -wmo -static-stdlib \
            -Osize -swift-version 6 -enforce-exclusivity=unchecked -I "$toolchain/lib/swift/embedded" \
            -I "$common/include" -Xfrontend -disable-stack-protector -module-name Guest \
            -c "${units[@]}" "$out/objects/$name/main.swift" -o "$out/objects/$name/guest.o"
        "$(tool ld.lld)" -m elf_i386 -static --gc-sections --build-id=none -z noexecstack -s \
            -T "$common/guest.ld" -o "$out/$name" "${objects[@]}" "$out/objects/$name/guest.o" \
            "$(libgcc32)"
    done
}

# The other side of the differential test, a 32-bit program.
oracle() {
    mkdir -p out
    "$(tool clang)" -target i686-unknown-none-elf -march=pentium4 -ffreestanding -fno-stack-protector -fno-pic -O2 \
        -Wall -Wextra -Werror -c Tests/Oracle/oracle.c -o out/oracle.o
    "$(tool ld.lld)" -m elf_i386 -static --image-base=0x56000000 -z noexecstack -o out/oracle out/oracle.o
}

# --- an initramfs, and what gets installed -----------------------------------------------------------

# out/ARCH/initramfs.cpio: mini as the init, and the demo guest for it to start.
initramfs() {
    local arch
    for arch in x86_64 i386; do
        SOURCE_DATE_EPOCH=0 out/x86_64/mini-pack out/$arch/initramfs.cpio "out/$arch/mini=init,755" out/guests/demo=demo,755
        say "out/$arch/initramfs.cpio: $(stat -c %s out/$arch/initramfs.cpio) bytes"
    done
}

# install_files ARCH DESTDIR PREFIX: what is built of ARCH, links, manual pages, and the hooks of contrib/.
install_files() {
    local arch=$1 destdir=$2 prefix=$3 page applet
    local bin=$destdir$prefix/bin man=$destdir$prefix/share/man
    # Where a distribution's own files are, or those of its administrator.
    local tools=$destdir/usr/share/initramfs-tools cpio=$destdir/usr/lib/initcpio
    [[ $prefix == /usr ]] || tools=$destdir/etc/initramfs-tools cpio=$destdir/etc/initcpio
    install -D -m 755 "out/$arch/mini" "$bin/mini"
    for applet in mini-launch mini-grant mini-init mini-pack; do ln -sf mini "$bin/$applet"; done
    for page in docs/*.[18]; do install -D -m 644 "$page" "$man/man${page##*.}/${page##*/}"; done
    install -D -m 755 -t "$tools/hooks" contrib/initramfs-tools/hooks/mini
    install -D -m 755 -t "$tools/scripts/init-premount" contrib/initramfs-tools/scripts/init-premount/mini
    install -D -m 755 -t "$destdir/usr/lib/dracut/modules.d/95mini" contrib/dracut/95mini/*.sh
    install -D -m 644 -t "$cpio/install" contrib/mkinitcpio/install/mini
    install -D -m 644 -t "$cpio/hooks" contrib/mkinitcpio/hooks/mini
    # The hooks take mini from where it is installed.
    sed -i "s|=/usr/bin\\b|=$prefix/bin|" "$tools/hooks/mini" "$cpio/install/mini" \
        "$destdir/usr/lib/dracut/modules.d/95mini/module-setup.sh"
}

# install_all [DESTDIR=…] [PREFIX=…] [ARCH]: also from the environment, as make has it.
install_all() {
    local destdir=${DESTDIR-} prefix=${PREFIX:-/usr/local} arch word
    arch=$(uname -m)
    [[ $arch == i?86 ]] && arch=i386
    for word; do
        case $word in
        DESTDIR=*) destdir=${word#*=} ;;
        PREFIX=/*) prefix=${word#*=} ;;
        x86_64 | i386) arch=$word ;;
        *) die "install takes DESTDIR=FOLDER, PREFIX=/FOLDER, x86_64 or i386, not $word" ;;
        esac
    done
    build_changed "$arch"
    install_files "$arch" "${destdir%/}" "${prefix%/}"
}

# last_commit FORMAT ELSE: of the last commit; a copy of the sources may have none.
last_commit() { git log -1 --format="$1" 2>/dev/null || echo "$2"; }

# deb: out/mini_VERSION_amd64.deb and out/mini_VERSION_i386.deb; the same commit gives the same bytes.
deb() {
    build_changed x86_64 i386
    need dpkg-deb dpkg
    install_missing
    local version arch name folder epoch maintainer
    epoch=${SOURCE_DATE_EPOCH:-$(last_commit %ct 1767225600)}
    maintainer="${DEBFULLNAME:-$(last_commit %an mini)} <${DEBEMAIL:-$(last_commit %ae mini@localhost.localdomain)}>"
    version=$(sed -n 's/.*let version: StaticString = "\(.*\)"/\1/p' Sources/Mini/Commands/Applet.swift)
    for arch in x86_64 i386; do
        name=$arch
        [[ $arch == x86_64 ]] && name=amd64
        folder=out/deb/$name
        rm -rf "$folder"
        (umask 022 && deb_folder "$arch" "$name" "$version" "$folder" "$epoch" "$maintainer")
        SOURCE_DATE_EPOCH=$epoch dpkg-deb --root-owner-group -Zxz --build "$folder" "out/mini_${version}_$name.deb" >/dev/null
        say "out/mini_${version}_$name.deb: $(stat -c %s "out/mini_${version}_$name.deb") bytes"
    done
}

# deb_folder ARCH NAME VERSION FOLDER EPOCH MAINTAINER: what the package of an architecture is made of.
deb_folder() {
    local arch=$1 name=$2 version=$3 folder=$4 epoch=$5 maintainer=$6 documents=$4/usr/share/doc/mini
    install_files "$arch" "$folder" /usr
    mkdir -p "$folder/DEBIAN" "$documents"
    find "$folder/usr/share/man" -type f -exec gzip -9n {} +
    install -m 644 contrib/README.md "$documents/README.hooks.md"
    { printf 'Files: *\nCopyright: the authors of mini\nLicense: 0BSD\n\n' && cat LICENSE; } >"$documents/copyright"
    printf 'mini (%s) unstable; urgency=medium\n\n  * See README.md.\n\n -- %s  %s\n' "$version" "$maintainer" \
        "$(LC_ALL=C date -u -d "@$epoch" -R)" | gzip -9n >"$documents/changelog.gz"
    mkdir -p "$folder/usr/share/lintian/overrides"
    # It is meant to run where there is no library.
    printf 'mini: statically-linked-binary [usr/bin/mini]\n' >"$folder/usr/share/lintian/overrides/mini"
    cat >"$folder/DEBIAN/control" <<EOF
Package: mini
Version: $version
Architecture: $name
Maintainer: $maintainer
Section: admin
Priority: optional
Installed-Size: $(du -sk --apparent-size "$folder" | cut -f1)
Description: launcher of small Linux guests, client of Xen's grants, init of an initramfs
 One static program with several commands: it starts guest kernels that speak
 lguest, on any machine and without privilege; maps, shares and copies pages
 between domains of Xen; is process 1 of an initramfs and carries out a boot
 table; and makes such an initramfs.
EOF
    # An initramfs that has mini gets the new one.
    echo "activate-noawait update-initramfs" >"$folder/DEBIAN/triggers"
    (cd "$folder" && find usr -type f | LC_ALL=C sort | xargs md5sum >DEBIAN/md5sums)
    find "$folder" -exec touch -h -d "@$epoch" {} +
}
# --- the commands -------------------------------------------------------------------------------

run() {
    build x86_64
    if [[ ${1:-} == xen ]]; then need_xen && exec Tests/xen/run.sh; fi
    if (($#)); then exec out/x86_64/mini-launch "$@"; fi
    guests
    # On a terminal the demo offers a prompt; elsewhere it powers off by itself.
    if [[ -t 0 && -t 1 ]]; then exec out/x86_64/mini-launch out/guests/demo prompt; fi
    exec out/x86_64/mini-launch out/guests/demo
}

lint() {
    swift format lint --strict -r Sources Tests Package.swift
    if command -v shellcheck >/dev/null; then
        shellcheck -S warning build.sh .ci/run Tests/*.sh Tests/xen/*.sh Tests/initramfs/*.sh contrib/dracut/95mini/*.sh \
            contrib/mkinitcpio/*/mini contrib/initramfs-tools/hooks/mini contrib/initramfs-tools/scripts/*/mini
        shellcheck -S warning -s sh -e SC2154 Tests/compare/cases.sh
        shellcheck -S warning -s sh Tests/bench/device.sh
        # The parts are pieces of one script.
        shellcheck -S warning -s dash -e SC1090,SC2034,SC2154 Tests/xen/guest/*
    fi
}

test_all() {
    need_tests
    lint
    build x86_64 i386
    guests
    initramfs
    oracle
    MINI_XEN_HEADERS=$(xen_headers) MINI_OUT=$root/out MINI_ORACLE=$root/out/oracle swift test -c release -Xswiftc -enable-testing "$@"
    need_xen
    local good=0
    Tests/system.sh || good=1
    Tests/compare.sh || good=1
    Tests/initramfs.sh || good=1
    Tests/xen.sh || good=1
    return $good
}

# The fuzzers of Tests/Fuzz, built like the release.
fuzzers() {
    need_release
    local arch
    for arch in x86_64 i386; do
        [[ -e out/$arch/fuzz && -z $(find Sources Tests/Fuzz build.sh -newer "out/$arch/fuzz" -type f | head -n 1) ]] ||
            compile "$arch" Tests/Fuzz fuzz -D MINI_FUZZ
    done
}

# fuzz [SECONDS]: so long for each target and architecture.
fuzz() {
    fuzzers
    local good=0
    Tests/fuzz.sh "${1:-60}" || good=1
    return $good
}

bench() {
    build x86_64 i386
    guests
    need_xen
    compile x86_64 Tests/xen/bench/main.swift grantbench
    compile i386 Tests/bench/launcher/main.swift launcher
    Tests/bench.sh "$@"
}

compare() {
    build x86_64 i386
    guests
    Tests/compare.sh
}

usage() {
    cat <<'EOF'
usage: ./build.sh [command]
  (none)           build out/x86_64/mini and out/i386/mini
  run [words]      build and start the demo guest; with words: mini-launch WORDS
  run xen          boot Xen in QEMU: a prompt in dom0 with mini-grant, and a second domain
  test             every test: lint, both builds, unit tests, system tests, a real Xen
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

case ${1:-build} in
build) build x86_64 i386 ;;
x86_64 | i386) build "$1" ;;
guests) guests ;;
initramfs) build x86_64 i386 && guests && initramfs ;;
install) shift && install_all "$@" ;;
deb) deb ;;
oracle) oracle ;;
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
