# Debian's own kernels in QEMU, of amd64 and of i386: packages that are downloaded and unpacked into
# out/initramfs, never installed. Sourced by Tests/initramfs.sh and Tests/bench.sh after root=.
# shellcheck shell=bash disable=SC2154

# shellcheck source=tools/debian.sh
source tools/debian.sh

machines=$root/out/initramfs
# The reason why there is no machine here, for a SKIP line; empty while nothing is missing.
export machine_missing=

# Modules that the tests load or pack; none needs another one. The kernel for old processors knows no Xen.
machine_modules() {
    echo drivers/net/dummy.ko
    [[ $1 == i386 ]] || printf 'drivers/xen/%s.ko\n' xen-gntdev xen-gntalloc xen-evtchn
}

# machine_make ARCH: out/initramfs/ARCH with vmlinuz, and modules, the few that are wanted. False, and $machine_missing, where
# that cannot be.
machine_make() {
    local arch=$1 flavour=$1 modules
    command -v qemu-system-x86_64 >/dev/null || { machine_missing="qemu-system-x86_64 is not installed" && return 1; }
    # Of the oldest processors that Debian has a kernel for.
    [[ $arch == amd64 ]] || flavour=686
    mapfile -t modules < <(machine_modules "$arch")
    debian_kernel "$arch" "$flavour" "$machines/$arch" "${modules[@]}" || { machine_missing=$debian_missing && return 1; }
    [[ -e $machines/$arch/vmlinux ]] || debian_alone "$machines/$arch" machine_unpack "$machines/$arch"
}

# machine_unpack FOLDER: vmlinux, the ELF inside vmlinuz, of a kernel that QEMU starts by PVH: it unpacks itself for longer than
# all the rest of its boot takes there. Without it vmlinuz is what is booted.
machine_unpack() {
    local folder=$1 sectors offset length
    grep -q '^CONFIG_PVH=y' "$folder/config" && command -v xz >/dev/null || return 0
    # The payload's place stands in the boot header.
    sectors=$(od -An -tu1 -j497 -N1 "$folder/vmlinuz")
    read -r offset length < <(od -An -tu4 -j584 -N8 "$folder/vmlinuz")
    tail -c +$(((sectors + 1) * 512 + offset + 1)) "$folder/vmlinuz" | head -c "$length" |
        xz -dcq --single-stream >"$folder/vmlinux.new" 2>/dev/null
    # Of the pipe only xz is asked: who writes to it may end by its end.
    if [[ ${PIPESTATUS[2]} == 0 && $(head -c 4 "$folder/vmlinux.new" | tr -d '\0') == $'\x7fELF' ]]; then
        mv "$folder/vmlinux.new" "$folder/vmlinux"
    else
        rm -f "$folder/vmlinux.new"
    fi
}

# machine_boot ARCH SECONDS MEBIBYTES INITRAMFS WORDS...: boots with WORDS on the kernel's command line;
# the serial console on standard input and output, or what $machine_devices says. The result is QEMU's own: 0 when the machine
# powered off or reset, 124 when the time was up. A processor of the oldest kind that the kernel takes. no_timer_check: the
# kernel counts ten ticks against a loop of its own, which an emulator that others keep waiting fails, and panics. The
# kernel's looks at its own ciphers and its guards against processors' faults are nobody's business here.
machine_boot() {
    local arch=$1 seconds=$2 memory=$3 initramfs=$4 processor=qemu64 kernel=$machines/$1/vmlinuz
    shift 4
    # With the least memory it is the kernel as it is installed, which unpacks itself there.
    ((memory <= $(machine_least "$arch"))) || [[ ! -e $machines/$arch/vmlinux ]] || kernel=$machines/$arch/vmlinux
    [[ $arch == i386 ]] && processor=pentium3
    # shellcheck disable=SC2086
    timeout --foreground "$seconds" qemu-system-x86_64 -machine pc,accel=tcg -cpu $processor -m "$memory" -smp 1 \
        ${machine_clock:-} -nodefaults -display none ${machine_devices:--serial stdio} -no-reboot -kernel "$kernel" \
        -initrd "$initramfs" -append "console=ttyS0 panic=-1 quiet no_timer_check cryptomgr.notests=1 mitigations=off $*"
}

# The least memory, in MiB, with which each kernel starts a program at all, and 1 or 2 more. The i386 kernel puts itself at 16 MiB
# and needs 17 there; amd64's has 58 of its own.
machine_least() { case $1 in amd64) echo 86 ;; i386) echo 34 ;; esac }

# machine_build ARCH OUT SOURCE...: a static C program without a C library.
machine_build() {
    local target emulation arch=$1 out=$2 source clang objects=()
    shift 2
    case $arch in
    amd64) target=x86_64-unknown-none-elf emulation=elf_x86_64 ;;
    i386) target=i686-unknown-none-elf emulation=elf_i386 ;;
    esac
    clang=$(dirname "$(readlink -f "$(command -v swiftc)")")/clang
    [[ -x $clang ]] || clang=clang
    local lld
    lld=$(dirname "$clang")/ld.lld
    [[ -x $lld ]] || lld=ld.lld
    for source in "$@" Sources/CShim/{start,memory,relocate}.c Sources/CShim/call.S; do
        "$clang" -target $target -DMINI_FREESTANDING -ffreestanding -fno-stack-protector -fno-pic -O2 -Wall -Wextra \
            -Werror -ISources/CShim/include -c "$source" -o "$out.$(basename "$source").o" || return 1
        objects+=("$out.$(basename "$source").o")
    done
    "$lld" -m $emulation -static -z noexecstack -s -o "$out" "${objects[@]}" && rm "${objects[@]}"
}

# machine_chroot: out/initramfs/chroot, a small Debian with the tools that make an initramfs, and amd64's few
# modules. What is done there does not touch the machine. False, and $machine_missing, where that cannot be.
machine_chroot() {
    local chroot=$machines/chroot tools=$machines/tools version
    machine_make amd64 || return 1
    [[ $(id -u) == 0 ]] || { machine_missing="a chroot needs root" && return 1; }
    [[ -e $chroot/fetched ]] && return 0
    rm -rf "$tools"
    mkdir -p "$tools"
    (cd "$tools" && thrice debian_apt amd64 get download debootstrap && dpkg-deb -x debootstrap_*.deb .) \
        >"$machines/chroot.log" 2>&1 || { machine_missing="cannot download debootstrap" && return 1; }
    DEBOOTSTRAP_DIR=$tools/usr/share/debootstrap debian_new "$tools/usr/sbin/debootstrap" "$chroot" \
        --include=initramfs-tools-core,dracut-core,zstd,busybox-static || { machine_missing=$debian_missing && return 1; }
    version=$(<"$machines/amd64/version")
    mkdir -p "$chroot/lib/modules"
    cp -r "$machines/amd64/modules" "$chroot/lib/modules/$version"
    cp "$machines/amd64/config" "$chroot/boot/config-$version"
    chroot "$chroot" depmod "$version" || { machine_missing="depmod failed" && return 1; }
    # The few that are there, not those that the machine would want.
    sed -i 's/^MODULES=.*/MODULES=list/' "$chroot/etc/initramfs-tools/initramfs.conf"
    : >"$chroot/fetched"
}
