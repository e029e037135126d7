# shellcheck shell=bash disable=SC2154
# What must be on the machine: one table of part, what is looked for, and the Debian package that has it. As root what is
# missing is installed; for anybody else one line names it. Sourced by build.sh.

# A library that one of the toolchain's programs wants, a file or pattern, or a command. (fish depends on python3. lintian,
# which a test uses where it is, is not here: it brings two hundred packages.)
package_table() {
    cat <<'EOF'
toolchain libncurses.so.6 libncurses6
toolchain libtinfo.so.6 libtinfo6
toolchain libsqlite3.so.0 libsqlite3-0
toolchain libxml2.so.2 libxml2
toolchain libcurl.so.4 libcurl4
toolchain libedit.so.2 libedit2
toolchain libz.so.1 zlib1g
toolchain libuuid.so.1 libuuid1
toolchain libstdc++.so.6 libstdc++6
toolchain libgcc_s.so.1 libgcc-s1
build /usr/include/stdio.h libc6-dev
build find findutils
lint shellcheck shellcheck
unit ld.gold binutils
unit less less
unit xz xz-utils
unit zstd zstd
unit lz4 lz4
unit /usr/include/c++/* libstdc++-12-dev
system readelf binutils
system ps procps
system ip iproute2
system script bsdutils
system setpriv util-linux
system losetup mount
system cmp diffutils
system /usr/include/c++/* libstdc++-12-dev
system zsh zsh
system fish fish
system python3 python3
compare cmp diffutils
initramfs qemu-system-x86_64 qemu-system-x86
initramfs cpio cpio
initramfs xz xz-utils
initramfs dpkg-deb dpkg
initramfs wget wget
initramfs mandoc mandoc
linux qemu-system-x86_64 qemu-system-x86
linux dpkg-deb dpkg
linux objcopy binutils
xen qemu-system-x86_64 qemu-system-x86
xen xz xz-utils
xen dpkg dpkg
xen /usr/include/c++/* libstdc++-12-dev
bench qemu-system-x86_64 qemu-system-x86
bench xz xz-utils
deb dpkg-deb dpkg
fresh debootstrap debootstrap
fresh chroot coreutils
EOF
}

# lacking PART...: the packages that these parts want and the machine does not have.
lacking() {
    local part what package wanted=" $* " libraries=''
    if [[ $wanted == *" toolchain "* ]]; then
        libraries=$(ldd "$swift_bin"/{swift-driver,swift-frontend,clang,ld.lld,swift-package} 2>/dev/null |
            awk '/not found/ { print $1 }' | sort -u) || true
    fi
    package_table | while read -r part what package; do
        [[ $wanted == *" $part "* ]] || continue
        case $what in
        lib*.so*) [[ $'\n'$libraries$'\n' != *$'\n'$what$'\n'* ]] || echo "$package" ;;
        /*) compgen -G "$what" >/dev/null || echo "$package" ;;
        *) command -v "$what" >/dev/null || echo "$package" ;;
        esac
    done | sort -u
    # What no row knows is named as it is.
    local library
    for library in $libraries; do
        package_table | grep -q " $library " || echo "$library"
    done
}

# install PACKAGE...: true when they are there afterwards.
install_packages() {
    say "build.sh: installing $*"
    local try=1 said waits='' end=$((SECONDS + 600))
    while ((try <= 3)); do
        said=$(apt-get update -qq 2>&1 &&
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" 2>&1) && return 0
        # Somebody else installs: another clone, or the system by itself.
        if [[ $said == *"Could not get lock"* ]] && ((SECONDS < end)); then
            [[ -n $waits ]] || say "build.sh: waiting for another installation: ${said##*$'\n'}"
            waits=yes
            sleep 2
            continue
        fi
        say "build.sh: apt-get failed (try $try of 3): ${said##*$'\n'}"
        sleep $((try * 5))
        try=$((try + 1))
    done
    return 1
}

can_install() { [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; }

# need PART...: installs what these parts want, or ends with a line that names it.
need() {
    local packages
    read -ra packages <<<"$(lacking "$@" | tr '\n' ' ')"
    if ((${#packages[@]})); then
        can_install || die "missing packages; as root: apt-get install ${packages[*]}"
        install_packages "${packages[@]}" || die "could not install: ${packages[*]}"
    fi
    [[ " $* " != *" toolchain "* ]] || check_swift
}

# want PART...: the same for what the tests can do without: what cannot run then says SKIP and why.
want() {
    local packages
    read -ra packages <<<"$(lacking "$@" | tr '\n' ' ')"
    ((${#packages[@]})) || return 0
    if can_install; then
        install_packages "${packages[@]}" || say "build.sh: going on without ${packages[*]}"
    else
        say "build.sh: going on without some packages; as root: apt-get install ${packages[*]}"
    fi
}

# Xen's own headers, for the test that compares layouts with them: those of Debian's libxen-dev, installed
# or unpacked. Prints nothing where they cannot be had; that test is skipped then.
xen_headers() {
    local out=$root/out/libxen-dev
    [[ -d /usr/include/xen/sys ]] && echo /usr/include/xen/sys && return
    if [[ ! -d $out/usr/include/xen/sys ]] && command -v apt-get >/dev/null && command -v dpkg >/dev/null; then
        mkdir -p "$out"
        # As root apt would download as user _apt, who may not be able to write here.
        (cd "$out" && thrice apt-get -o APT::Sandbox::User=root download -qq libxen-dev && dpkg -x libxen-dev_*.deb .) \
            >/dev/null 2>&1
    fi
    [[ ! -d $out/usr/include/xen/sys ]] || echo "$out/usr/include/xen/sys"
}
