# shellcheck shell=bash disable=SC2154,SC2034
# What 64-bit kernels cost on our 64-bit processor, beside QEMU in the same run. Sourced by Tests/bench.sh, behind pc.sh.
# MINI_WIDE_KERNELS names more kernels than the machine's own release has, blanks between.

# beside_wide KERNEL INITRD: the same machine in QEMU, with the words that ours gives the kernel by itself.
beside_wide() {
    qemu-system-x86_64 -accel tcg -m 256 -nodefaults -display none -serial stdio -no-reboot -kernel "$1" -initrd "$2" \
        -append "console=ttyS0 acpi=off reboot=t panic=-1 cryptomgr.notests=1 noisapnp tsc=reliable mitigations=off quiet"
}

# loops_of FILE NAME: the loop's figure in what a guest said.
loops_of() { tr -d '\r' <"$1" | awk -v name="$2" '$1 == name { print $2; exit }'; }

wide() {
    local kernel kernels=() ours theirs name child folder=$root/out/debian
    debian_kernel amd64 cloud-amd64 "$folder/cloud" && debian_busybox amd64 "$folder/busybox-amd64" ||
        { echo "SKIP  64-bit kernels: $debian_missing" && return; }
    machine_build amd64 "$out/wide" Tests/bench/wide.c Tests/bench/wide.S || { echo "FAIL  Tests/bench/wide.c does not compile" && return; }
    read -ra kernels <<<"$folder/cloud/vmlinuz ${MINI_WIDE_KERNELS:-}"

    printf 'at-end reboot\nrun /bin/busybox true\n' >"$out/wide.table"
    out/x86_64/mini-pack "$out/wide.cpio" out/x86_64/mini=init "$folder/busybox-amd64/busybox=bin/busybox" "$out/wide.table=etc/mini.table"
    for kernel in "${kernels[@]}"; do
        name=$("$launch" --check "$kernel" | grep -oE '[0-9]+\.[0-9]+\.[^ ]*amd64' | head -n 1) || name=$kernel
        ours=$(processor_seconds "$launch" --engine builtin --no-reboot --memory 256 --initrd "$out/wide.cpio" "$kernel" mitigations=off quiet)
        theirs=
        [[ -z $qemu ]] || theirs=$(processor_seconds beside_wide "$kernel" "$out/wide.cpio")
        row "$name, exec to the end of a boot, processor seconds" "$ours" "${theirs:-no QEMU}" "$(ratio "${theirs:-0}" "$ours")"
    done

    # The same program in the same guest, by the guest's own clock.
    kernel=${kernels[0]}
    printf 'at-end reboot\nrun /loops\n' >"$out/wide.table"
    out/x86_64/mini-pack "$out/wide.cpio" out/x86_64/mini=init "$out/wide=loops" "$out/wide.table=etc/mini.table"
    "$launch" --engine builtin --no-reboot --memory 256 --initrd "$out/wide.cpio" "$kernel" quiet </dev/null >"$out/wide.ours" 2>/dev/null || true
    : >"$out/wide.theirs"
    [[ -z $qemu ]] || beside_wide "$kernel" "$out/wide.cpio" </dev/null >"$out/wide.theirs" 2>/dev/null || true
    for name in integer memory calls copy; do
        ours=$(loops_of "$out/wide.ours" $name)
        theirs=$(loops_of "$out/wide.theirs" $name)
        row "64-bit $name loop, million instructions a second" "${ours:-none}" ">= 400" ""
        [[ -z $qemu ]] || row "  qemu-system-x86_64 -accel tcg" "${ours:-none}" "${theirs:-none}" "$(ratio "${ours:-0}" "${theirs:-0}")"
    done

    printf 'run /bin/busybox sh -c "echo asleep; exec /bin/busybox sleep 1000000"\n' >"$out/wide.table"
    out/x86_64/mini-pack "$out/wide.cpio" out/x86_64/mini=init "$folder/busybox-amd64/busybox=bin/busybox" "$out/wide.table=etc/mini.table"
    "$launch" --engine builtin --memory 256 --initrd "$out/wide.cpio" "$kernel" quiet </dev/null >"$out/wide.idle" 2>/dev/null &
    child=$!
    until grep -qa asleep "$out/wide.idle"; do
        kill -0 $child 2>/dev/null || { echo "FAIL  64-bit, resident: the guest ended before it slept" && return; }
        sleep 0.2
    done
    # The guest's memory is one mapping of a size that no other has, or pieces of it, and the initrd's file in it.
    ours=$(awk '/^[0-9a-f]+-[0-9a-f]+ / { size = /\.cpio$/ ? 1e9 : 0 } /^Size:/ { size += $2 } /^Rss:/ { if (size < 16384) sum += $2 } END { print sum }' "/proc/$child/smaps")
    row "64-bit, resident outside the guest's pages after a boot, KiB" "$ours" "<= 8192" ""
    row "64-bit, own memory beside the guest's pages, sleeping, KiB" "$(own_memory $child)" "<= 1024" ""
    kill $child
    wait $child 2>/dev/null || true
}

wide
