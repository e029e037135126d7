#!/usr/bin/env bash
# Measures mini. Each figure is a size, or a ratio to a peer that ran in the same minute on
# the same machine. Called by `./build.sh bench`, which has built everything.
set -euo pipefail
cd "$(dirname "$0")/.."
out=out/bench
mkdir -p "$out"
clang=$(dirname "$(readlink -f "$(command -v swiftc)")")/clang
lld=$(dirname "$clang")/ld.lld
[[ -x $clang ]] || clang=clang
[[ -x $lld ]] || lld=ld.lld
launch=out/x86_64/mini-launch

"$clang" -O2 -o "$out/measure" Tests/bench/measure.c
qemu=$(command -v qemu-system-i386 || true)
row() { printf '%-58s %14s %14s %8s\n' "$@"; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (b + 0 > 0) printf "%.2f", a / b; else printf "-" }'; }

row "figure" "mini" "must / peer" "ratio"
row "------" "----" "-----------" "-----"

# --- size -------------------------------------------------------------------------------------
for arch in x86_64 i386; do
    row "size of out/$arch/mini, bytes" "$(stat -c %s out/$arch/mini)" "<= 1048576" ""
done
for choice in launch grant,init,pack init,grant init; do
    row "  x86_64 with --parts $choice" "$(stat -c %s "out/x86_64/mini-of-$choice")" "" ""
done

row "  out/i386: the launcher and its built-in host alone" "$(stat -c %s out/i386/launcher)" "" ""

# --- start ------------------------------------------------------------------------------------
# A guest of 2 MB (the hello guest with a second megabyte of file in its image) that powers off
# at once: the whole life of the process, which is more than the way to its first instruction.
"$lld" -m elf_i386 -static --build-id=none -z noexecstack -s -T Tests/bench/padded.ld -o "$out/padded" \
    out/guests/objects/guest.S.o out/guests/objects/loops.S.o out/guests/objects/memory.c.o \
    out/guests/objects/division.c.o out/guests/objects/hello/guest.o
read -r wall _ resident <<<"$("$out/measure" 101 "$launch" "$out/padded")"
read -r nothing _ _ <<<"$("$out/measure" 101 out/x86_64/mini --version)"
row "start to power-off of a 2 MB guest, 64 MiB, ms (median 101)" "$wall" "<= 3" ""
row "  the same process doing nothing (mini --version), ms" "$nothing" "" ""
row "  largest resident size of it, KiB" "$resident" "" ""

# --- memory and idleness ------------------------------------------------------------------------
# A sleeping guest: what of the process is resident outside the large mapping that is the
# guest's memory (its first megabyte and its kernel's pages, mappings of their own, are counted as
# ours: the figure is an upper bound), and what processor time five seconds of sleep take.
"$launch" out/guests/sleep forever </dev/null >/dev/null 2>&1 &
child=$!
sleep 1
ours=$(awk '/^[0-9a-f]+-[0-9a-f]+ / { size = 0 } /^Size:/ { size = $2 } /^Rss:/ { if (size < 32768) sum += $2 } END { print sum }' /proc/$child/smaps)
ticks() { awk '{ print $14 + $15 }' /proc/$child/stat; }
before=$(ticks)
sleep 5
after=$(ticks)
kill $child 2>/dev/null || true
wait $child 2>/dev/null || true
row "resident outside the guest's pages, sleeping guest, KiB" "$ours" "<= 4096" ""
row "idle guest, percent of a core over 5 s" "$(awk -v t=$((after - before)) 'BEGIN { printf "%.2f", t / 5 }')" "< 1" ""

# --- processor ------------------------------------------------------------------------------------
# The loops count their own instructions and time themselves by the guest's clock; under QEMU the
# same object code does 20 million rounds, less the time of an image that does none.
speeds=$("$launch" out/guests/loops </dev/null)
if [[ -n $qemu ]]; then
    "$clang" -target i686-unknown-none-elf -c Tests/bench/bare.S -o "$out/bare.o"
    "$lld" -m elf_i386 -static --build-id=none -T Tests/bench/bare.ld -o "$out/bare" "$out/bare.o" out/guests/objects/loops.S.o
    bare() {
        "$out/measure" 3 "$qemu" -accel tcg -display none -device isa-debug-exit,iobase=0xf4,iosize=1 \
            -m 64 -kernel "$out/bare" -append "$1" | cut -d' ' -f1
    }
    base=$(bare 0)
fi
number=0
for loop in "integer 150 200" "memory 100 200" "calls 100 320"; do
    read -r name must million <<<"$loop"
    number=$((number + 1))
    ours=$(awk -v n="$name" '$1 == n { print $2 }' <<<"$speeds")
    row "$name loop, million instructions a second" "$ours" ">= $must" ""
    if [[ -n $qemu ]]; then
        theirs=$(awk -v t="$(bare $number)" -v b="$base" -v m="$million" 'BEGIN { printf "%.0f", m * 1000 / (t - b) }')
        row "  qemu-system-i386 -accel tcg" "$ours" "$theirs" "$(ratio "$ours" "$theirs")"
    fi
done
[[ -n $qemu ]] || echo "SKIP  qemu-system-i386 beside ours: not installed (package qemu-system-x86)"

# --- disks ------------------------------------------------------------------------------------------
# Our own guest reads and writes a disk of 256 MiB in requests of 32 KiB, one at a time, as the
# driver of these eras does; the file is in memory where there is room for that.
disk=$(mktemp -p "$([[ -w /dev/shm ]] && echo /dev/shm || echo "$out")")
truncate -s 256M "$disk"
"$launch" --block "$disk" out/guests/block speed </dev/null >/dev/null
speeds=$("$launch" --block "$disk" out/guests/block speed </dev/null)
for what in write read; do
    row "disk $what by our own guest, MB/s" "$(awk -v w="$what" '$1 == w { print $2 }' <<<"$speeds")" ">= 50" ""
done
rm -f "$disk"

# --- networks -----------------------------------------------------------------------------------------
# Our own guest sends back datagrams of 1472 bytes (frames of 1514), 64 on their way at a time, through
# a tap in a network namespace; all of them go both ways. Between two guests frames of 1514 bytes go to
# and fro one at a time, so that the figure is one of round trips.
if unshare --net ip tuntap add dev tap9 mode tap 2>/dev/null; then
    "$clang" -O2 -o "$out/datagrams" Tests/bench/datagrams.c
    # shellcheck disable=SC2016
    speed=$(unshare --net bash -c 'ip link set lo up
        "$1" --tunnet 10.7.0.1 out/guests/responder </dev/null >/dev/null &
        for try in {1..50}; do "$2" 10.7.0.2 10 64 1 >/dev/null 2>&1 && break; sleep 0.1; done
        "$2" 10.7.0.2 100000 1472 64
        echo off >/dev/udp/10.7.0.2/9; wait' - "$launch" "$out/datagrams")
    row "tap, our own guest, MB/s each way" "$(cut -d' ' -f4 <<<"$speed")" ">= 20" ""
else
    echo "SKIP  tap: no tap can be made in a network namespace here"
fi
net=$(mktemp -u)
"$launch" --sharenet "$net" out/guests/neighbours echo </dev/null >/dev/null &
child=$!
sleep 0.5
trips=$("$launch" --sharenet "$net" out/guests/neighbours measure </dev/null | awk '/trips/ { print $1 }')
wait $child
rm -f "$net"
row "two guests on a shared network, round trips a second" "$trips" "" ""

# --- an initramfs ---------------------------------------------------------------------------------
# In QEMU with Debian's kernel process 1 is by turns a C program without a library, which does nothing but tell the
# kernel's log that it runs, and mini, whose first statement does the same behind all that is before a first
# statement: the usual mounts, the console, the table. Each figure is from the exec of the program (the first from "Run
# /first as init process") to its line in the log. The first time nothing of either, nor of the kernel's own
# code that they need, has run before: under QEMU's software emulation that is most of the time. The second time it has.
root=$PWD
# shellcheck source=Tests/initramfs/machine.sh
source Tests/initramfs/machine.sh
for arch in x86_64 i386; do
    out/x86_64/mini-pack "$out/only.cpio" out/$arch/mini=init
    row "initramfs of out/$arch/mini alone, bytes" "$(stat -c %s "$out/only.cpio")" "" ""
    row "  behind gzip -9" "$(gzip -9nc "$out/only.cpio" | wc -c)" "" ""
done
if machine_make amd64 && machine_build amd64 "$out/child" Tests/initramfs/child.c; then
    printf 'on-error poweroff\nset /dev/kmsg STATEMENT of the table\nrun /child show /proc/1/smaps_rollup Pss_Anon:\nexec /first started\n' \
        >"$out/table"
    out/x86_64/mini-pack --node dev/kmsg=c:1:11 "$out/first.cpio" out/x86_64/mini=init "$out/child=child" \
        "$out/child=first" "$out/table=etc/mini.table"
    for ((n = 0; n < 7; n++)); do
        machine_boot amd64 120 192 "$out/first.cpio" rdinit=/first started </dev/null 2>&1 | tr -d '\r' |
            awk '$1 == "LOG" && /Run .first as init|STATEMENT of/ { at[++n] = $2 } /smaps_rollup/ { anonymous = $3 }
                END { c = at[2] - at[1]; m = at[3] - at[2]; again = at[5] - at[4]; warm = at[6] - at[5]
                    printf "%.3f %.3f %.3f %.3f %.3f %.3f %s\n", c / 1000, m / 1000, (m - c) / 1000, again / 1000,
                        warm / 1000, (warm - again) / 1000, anonymous }'
    done >"$out/first"
    # middle COLUMN: the median of the seven.
    middle() { awk -v column="$1" '{ print $column }' "$out/first" | sort -n | sed -n 4p; }
    row "exec to the first statement of a boot table, ms (median 7)" "$(middle 5)" "$(middle 4)" ""
    row "  more than a static C program that does nothing, ms" "$(middle 6)" "< 5" ""
    row "  the first time, behind the C program, ms" "$(middle 2)" "$(middle 1)" ""
    # Each as the first program of a boot of its own, by a clock that counts instructions, a nanosecond each, so that what
    # the emulator does for code that it meets for the first time does not count.
    printf 'on-error poweroff\nset /dev/kmsg STATEMENT of the table\n' >"$out/table"
    out/x86_64/mini-pack --node dev/kmsg=c:1:11 "$out/cold.cpio" out/x86_64/mini=init "$out/child=first" "$out/table=etc/mini.table"
    cold() {
        machine_clock='-icount shift=0,sleep=off' machine_boot amd64 120 192 "$out/cold.cpio" "rdinit=/$1" loglevel=7 started </dev/null 2>&1 |
            tr -d '\r[]' | awk '/Run .* as init/ { run = $1 } /STATEMENT of/ { printf "%.3f", ($1 - run) * 1000; exit }'
    }
    theirs=$(cold first) ours=$(cold init)
    row "  the first of a boot, instructions at 1 ns, ms" "$ours" "$theirs" ""
    row "    more than the C program, ms" "$(awk -v a="$ours" -v b="$theirs" 'BEGIN { printf "%.3f", a - b }')" "< 5" ""
    row "memory of process 1, its own, KiB" "$(middle 7)" "< 1024" ""
else
    # shellcheck disable=SC2154
    echo "SKIP  process 1 on a Debian kernel: $machine_missing"
fi

# --- a real Linux -----------------------------------------------------------------------------------
# shellcheck source=Tests/bench/pc.sh
source Tests/bench/pc.sh
# shellcheck source=Tests/bench/wide.sh
source Tests/bench/wide.sh
# shellcheck source=Tests/linux/machine.sh
source Tests/linux/machine.sh
# shellcheck source=Tests/bench/kvm.sh
source Tests/bench/kvm.sh

# MINI_KERNELS names a folder with era1/bzImage and initrd.cpio.gz, whose init powers off at
# once with run=off on the command line; kernels are not part of the project.
if [[ -n ${MINI_KERNELS:-} && -e $MINI_KERNELS/era1/bzImage && -n $qemu ]]; then
    for era in era1 era0; do
        [[ -e $MINI_KERNELS/$era/bzImage ]] || continue
        read -r ours _ _ <<<"$("$out/measure" 5 "$launch" --initrd "$MINI_KERNELS/initrd.cpio.gz" 64 "$MINI_KERNELS/$era/bzImage" run=off)"
        read -r theirs _ _ <<<"$("$out/measure" 5 "$qemu" -accel tcg -cpu pentium3 -m 64 -display none -no-reboot \
            -kernel "$MINI_KERNELS/$era/bzImage" -initrd "$MINI_KERNELS/initrd.cpio.gz" -append "console=ttyS0 run=reboot panic=-1")"
        row "$era bzImage, exec to the end of a boot, ms" "$ours" "$theirs" "$(ratio "$theirs" "$ours")"
    done
    echo "(boot ratio: QEMU's time by ours, 0.5 is half of QEMU's speed)"
else
    echo "SKIP  boot of a real Linux: MINI_KERNELS does not name a folder with kernels"
fi

# --- a real /dev/lguest ---------------------------------------------------------------------------------
# MINI_HOST starts a machine with the device (docs/compare.md); MINI_LAUNCHERS names a folder with the launcher
# of each kernel's own tree, as era1/lguest. Both run there in turns; the least of each counts.
if [[ -n ${MINI_HOST:-} && -n ${MINI_KERNELS:-} && -n ${MINI_LAUNCHERS:-} ]]; then
    for era in era1 era0; do
        theirs=$MINI_LAUNCHERS/$era/lguest
        [[ -e $theirs && -e $MINI_KERNELS/$era/vmlinux ]] || continue
        files=("$MINI_KERNELS/$era"/{vmlinux,bzImage} "$MINI_KERNELS/initrd.cpio.gz" "$theirs")
        # The guest speaks era 1.
        [[ $era == era1 ]] && files+=(out/guests/sleep)
        {
            echo "OURS='mini mini-launch --engine lguest' OTHER=/x/lguest FILES=/x TURNS=5"
            cat Tests/bench/device.sh
        } >"$out/device"
        # shellcheck disable=SC2086
        $MINI_HOST $era out/i386/mini "$out/device" "${files[@]}" </dev/null 2>&1 | tr -d '\r' >"$out/figures" || true
        grep -q '^FIGURES end' "$out/figures" || echo "FAIL  $era: the machine with /dev/lguest did not come to its end"
        while IFS='|' read -r name what; do
            read -r ours theirs <<<"$(awk -v name="$name" '$1 == "FIGURE" && $2 == name && NF == 4 {
                if (!($3 in least) || $4 + 0 < least[$3] + 0) least[$3] = $4 } END { print least["ours"], least["other"] }' "$out/figures")"
            [[ -z $theirs ]] || row "/dev/lguest of $era: $what" "$ours" "$theirs" "$(ratio "$theirs" "$ours")"
        done <<'EOF'
boot|exec to the end of a boot, ms
bzImage|the same from bzImage, ms
read|a guest reads 32 MB of its disk, ms
write|a guest writes 32 MB and syncs, ms
ping|ping over the tap, least, ms
memory|memory with a small guest, KiB
EOF
    done
    row "size of out/i386/mini and of the launcher of era1, bytes" "$(stat -c %s out/i386/mini)" "$(stat -c %s "$MINI_LAUNCHERS/era1/lguest")" ""
else
    echo "SKIP  a real /dev/lguest: MINI_HOST, MINI_KERNELS and MINI_LAUNCHERS do not name all it takes"
fi

# --- grants -----------------------------------------------------------------------------------------
# shellcheck source=Tests/xen/bench.sh
source Tests/xen/bench.sh
