# shellcheck shell=bash disable=SC2154
# `./build.sh run linux`: a kernel of today with a shell, without any privilege. Sourced by build.sh.

# linux_initrd ARCH BUSYBOX OUT TABLE: an initrd with mini as process 1, which carries out the table, and busybox.
linux_initrd() {
    local arch=$1 busybox=$2 out=$3 table=$4 applet links=()
    for applet in sh ls cat echo ps mount umount dmesg free df vi less top ip ping uname sleep poweroff reboot; do
        links+=(--link "/bin/$applet=busybox")
    done
    printf '%s\n' "$table" >"$out.table"
    "$root/out/x86_64/mini-pack" "${links[@]}" --dir /proc --dir /sys --dir /dev --dir /run --dir /tmp "$out" \
        "$root/out/$arch/mini=/init,0755" "$busybox=/bin/busybox,0755" "$out.table=/etc/mini.table"
}

# run_linux [KERNEL [WORDS...]]: starts it with a shell; without a network the demo guest.
run_linux() {
    local kernel=${1:-} arch=i386 debian=i386 folder=$root/out/debian
    shift || true
    if [[ -n $kernel ]]; then
        [[ -r $kernel ]] || wrong "cannot read the kernel $kernel"
        if out/x86_64/mini-launch --check "$kernel" 2>/dev/null | grep -q '^kernel .*64-bit'; then
            arch=x86_64 debian=amd64
        fi
    else
        say "build.sh: getting a Debian kernel and busybox (once, about 50 MB; nothing is installed)"
        if debian_kernel amd64 cloud-amd64 "$folder/cloud"; then
            arch=x86_64 debian=amd64 kernel=$folder/cloud/vmlinuz
        elif debian_kernel i386 686 "$folder/686"; then
            kernel=$folder/686/vmlinuz
        fi
    fi
    if [[ -z $kernel ]] || ! debian_busybox "$debian" "$folder/busybox-$debian"; then
        say "build.sh: no kernel or no busybox to start ($debian_missing): the demo guest instead"
        run
    fi
    build_changed "$arch" x86_64
    # As with the demo: a prompt on a terminal; elsewhere it powers off by itself.
    local table='run /bin/busybox uname -a' end='it powers off by itself'
    if [[ -t 0 && -t 1 ]]; then table='shell /bin/busybox sh' end='^D or poweroff ends it, as do three ^C'; fi
    linux_initrd "$arch" "$folder/busybox-$debian/busybox" "$folder/initrd.cpio" "$table" || die "cannot make an initrd"
    say "build.sh: starting $kernel: $end"
    exec out/x86_64/mini-launch --initrd "$folder/initrd.cpio" "$kernel" quiet "$@"
}
