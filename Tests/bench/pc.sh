# shellcheck shell=bash disable=SC2154,SC2034,SC2054
# What kernels of today cost, beside QEMU in the same run. Sourced by Tests/bench.sh.

# processor_seconds PROGRAM WORDS...: user and system time, the least of three.
processor_seconds() {
    local seconds least=
    for _ in 1 2 3; do
        seconds=$( (TIMEFORMAT='%U %S'; time "$@" </dev/null >/dev/null 2>&1) 2>&1 | awk '{ print $1 + $2 }')
        [[ -n $least ]] && awk "BEGIN { exit !($seconds >= $least) }" || least=$seconds
    done
    echo "$least"
}

# beside KERNEL INITRD WORDS...: the same machine in QEMU, with the words that ours gives the kernel by itself.
beside() {
    local kernel=$1 initrd=$2
    shift 2
    "$qemu" -accel tcg -cpu pentium3 -m 256 -nodefaults -display none -serial stdio -no-reboot -kernel "$kernel" -initrd "$initrd" \
        -append "console=ttyS0 acpi=off reboot=t panic=-1 cryptomgr.notests=1 noisapnp tsc=reliable mitigations=off quiet" "$@"
}

# first_instruction KERNEL INITRD: milliseconds from exec to the guest's first instruction, the least of five.
first_instruction() {
    for _ in 1 2 3 4 5; do
        "$launch" --verbose --engine builtin --memory 256 --no-reboot --initrd "$2" "$1" quiet </dev/null 2>&1 >/dev/null |
            awk '/first instruction/ { print $NF }'
    done | sort -n | head -n 1
}

# ticks PID: its processor time, in hundredths of a second.
ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

# own_memory PID: KiB that are its own, beside the guest's memory, which is one mapping of a size that no other has, or pieces of it, and the
# initrd's file in it; as soon as that is 1 MiB or less, but within some seconds.
own_memory() {
    local own
    for _ in {1..60}; do
        own=$(awk '/^[0-9a-f]+-[0-9a-f]+ / { size = $6 ~ /^\// && $6 !~ /mini$/ ? 1e9 : 0 } /^Size:/ { size += $2 } /^Anonymous:/ { if (size < 16384) sum += $2 } END { print sum + 0 }' "/proc/$1/smaps")
        ((own > 1024)) || break
        sleep 0.2
    done
    echo "$own"
}

stock() {
    local flavour kernel ours theirs child before after modules=() module loads=() folder=$root/out/debian busybox
    busybox=$folder/busybox-i386/busybox
    debian_kernel i386 686 "$folder/686" && debian_kernel i386 686-pae "$folder/686-pae" &&
        debian_busybox i386 "$folder/busybox-i386" || { echo "SKIP  stock kernels: $debian_missing" && return; }
    printf 'at-end reboot\nrun /bin/busybox true\n' >"$out/stock.table"
    out/x86_64/mini-pack "$out/stock.cpio" out/i386/mini=init "$busybox=bin/busybox" "$out/stock.table=etc/mini.table"
    for flavour in 686 686-pae; do
        kernel=$folder/$flavour/vmlinuz
        ours=$(processor_seconds "$launch" --engine builtin --no-reboot --memory 256 --initrd "$out/stock.cpio" "$kernel" mitigations=off quiet)
        theirs=
        [[ -z $qemu ]] || theirs=$(processor_seconds beside "$kernel" "$out/stock.cpio")
        row "$flavour, exec to the end of a boot, processor seconds" "$ours" "${theirs:-no QEMU}" "$(ratio "${theirs:-0}" "$ours")"
    done
    row "686, exec to the guest's first instruction, ms" "$(first_instruction "$folder/686/vmlinuz" "$out/stock.cpio")" "" ""

    # A guest that sleeps.
    printf 'run /bin/busybox sh -c "echo asleep; exec /bin/busybox sleep 1000000"\n' >"$out/stock.table"
    out/x86_64/mini-pack "$out/idle.cpio" out/i386/mini=init "$busybox=bin/busybox" "$out/stock.table=etc/mini.table"
    "$launch" --engine builtin --memory 256 --initrd "$out/idle.cpio" "$folder/686/vmlinuz" quiet </dev/null >"$out/idle" 2>/dev/null &
    child=$!
    until grep -qa asleep "$out/idle"; do
        kill -0 $child 2>/dev/null || { echo "FAIL  686, idle: the guest ended before it slept" && return; }
        sleep 0.2
    done
    # What a kernel does by itself behind its boot is not idleness.
    sleep 2
    before=$(ticks $child)
    sleep 10
    after=$(ticks $child)
    row "686, idle, percent of a core over 10 s" "$(awk -v t=$((after - before)) 'BEGIN { printf "%.2f", t / 10 }')" "< 1" ""
    # The guest's memory is one mapping of a size that no other has, or pieces of it.
    ours=$(awk '/^[0-9a-f]+-[0-9a-f]+ / { size = 0 } /^Size:/ { size = $2 } /^Rss:/ { if (size < 16384) sum += $2 } END { print sum }' "/proc/$child/smaps")
    row "686, resident outside the guest's pages after a boot, KiB" "$ours" "" ""
    row "686, own memory beside the guest's pages, sleeping, KiB" "$(own_memory $child)" "<= 1024" ""
    kill $child
    wait $child 2>/dev/null || true

    # A disk of 64 MiB, read and written by Debian's driver in the guest, whose clock is the host's; the file is in memory.
    modules=(drivers/virtio/virtio{,_ring,_pci_legacy_dev,_pci_modern_dev,_pci} drivers/block/virtio_blk net/core/failover
        drivers/net/net_failover drivers/net/virtio_net)
    debian_kernel i386 686 "$folder/686-bench" "${modules[@]/%/.ko}" || { echo "SKIP  devices of stock kernels: $debian_missing" && return; }
    local packed=()
    for module in "${modules[@]}"; do
        loads+=("busybox insmod /modules/${module##*/}.ko")
        packed+=("$folder/686-bench/modules/kernel/$module.ko=/modules/${module##*/}.ko")
    done
    {
        printf '%s\n' "export PATH=/bin" "${loads[@]}"
        cat <<'END'
speed() {
    start=$(busybox cut -d' ' -f1 /proc/uptime)
    busybox dd "$@" 2>/dev/null
    busybox awk -v s=$start '{ print int(65.536 / ($1 - s)) }' /proc/uptime
}
# The first time the host's pages of the disk are made.
busybox dd if=/dev/zero of=/dev/vda bs=1M count=64 conv=fsync 2>/dev/null
echo "write $(speed if=/dev/zero of=/dev/vda bs=64k count=1000 conv=fsync)"
echo 3 >/proc/sys/vm/drop_caches
echo "read $(speed if=/dev/vda of=/dev/null bs=64k count=1000)"
if [ -e /sys/class/net/eth0 ]; then
    busybox ifconfig eth0 10.7.0.2 netmask 255.255.255.0 up
    busybox nc -l -p 7 >/dev/null
    busybox dd if=/dev/zero bs=64k count=1000 2>/dev/null | busybox nc -l -p 8
fi
END
    } >"$out/devices"
    printf 'on-error reboot\nat-end reboot\nrun /bin/busybox sh /devices\n' >"$out/stock.table"
    out/x86_64/mini-pack --link /bin/sh=busybox --dir /proc --dir /sys --dir /dev "$out/devices.cpio" out/i386/mini=init "$busybox=bin/busybox" \
        "$out/devices=devices" "$out/stock.table=etc/mini.table" "${packed[@]}"
    local disk what
    disk=$(mktemp -p "$([[ -w /dev/shm ]] && echo /dev/shm || echo "$out")")
    truncate -s 64M "$disk"
    kernel=$folder/686-bench/vmlinuz
    # In a network of their own, where one can be made.
    local network=
    unshare --net ip tuntap add dev tap9 mode tap 2>/dev/null && network=1
    # shellcheck disable=SC2016
    measured() {
        if [[ -z $network ]]; then timeout 600 "$@" </dev/null; return; fi
        timeout 600 unshare --net bash -c 'ip link set lo up
            ip tuntap add dev tap7 mode tap && ip addr add 10.7.0.1/24 dev tap7 && ip link set tap7 up
            "$@" </dev/null & child=$!
            rate() { LC_ALL=C awk "/copied/ { print \"$1\", int(65.536 / \$(NF - 3)) }"; }
            until { exec 3<>/dev/tcp/10.7.0.2/7; } 2>/dev/null; do kill -0 $child 2>/dev/null || exit; sleep 0.2; done
            LC_ALL=C dd if=/dev/zero bs=64k count=1000 2>&1 >&3 | rate to
            exec 3>&-
            until { exec 3<>/dev/tcp/10.7.0.2/8; } 2>/dev/null; do kill -0 $child 2>/dev/null || exit; sleep 0.2; done
            LC_ALL=C dd of=/dev/null bs=64k 2>&1 <&3 | rate from
            exec 3>&-
            wait $child' - "$@"
    }
    local words=() others=()
    if [[ -n $network ]]; then
        words=(--tap tap7)
        others=(-netdev "tap,id=n,ifname=tap7,script=no,downscript=no" -device virtio-net-pci,netdev=n,disable-modern=on)
    fi
    measured "$launch" --engine builtin --no-reboot --memory 256 --block "$disk" "${words[@]}" --initrd "$out/devices.cpio" "$kernel" quiet \
        2>/dev/null | tr -d '\r' >"$out/devices.ours" || true
    : >"$out/devices.theirs"
    if [[ -n $qemu ]]; then
        export -f beside
        export qemu
        measured bash -c 'beside "$@"' - "$kernel" "$out/devices.cpio" -drive "file=$disk,format=raw,if=none,id=d" \
            -device virtio-blk-pci,drive=d,disable-modern=on "${others[@]}" 2>/dev/null | tr -d '\r' >"$out/devices.theirs" || true
    fi
    rm -f "$disk"
    while read -r name what; do
        [[ -n $network || $what == *disk* ]] || continue
        ours=$(awk -v name="$name" '$1 == name { print $2; exit }' "$out/devices.ours")
        theirs=$(awk -v name="$name" '$1 == name { print $2; exit }' "$out/devices.theirs")
        row "686, $what, MB/s" "${ours:-none}" "${theirs:-no QEMU}" "$(ratio "${ours:-0}" "${theirs:-0}")"
    done <<'EOF'
write writes its virtio disk
read reads its virtio disk
to takes a stream from its virtio card
from gives a stream to its virtio card
EOF
    [[ -n $network ]] || echo "SKIP  a virtio card: no tap can be made in a network namespace here"
}

stock
