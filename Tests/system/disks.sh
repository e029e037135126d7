# Disks, with the guest that drives them. Sourced by system.sh.

# slow_disk: a launch with a disk that takes for ever to have everything; sets $child and $assistant.
slow_disk() {
    for _ in {1..20}; do
        rm -f "$disk-slow" "$work/out" "$work/err"
        truncate -s 256M "$disk-slow"
        "out/$arch/mini-launch" --block "$disk-slow" $guest write </dev/null >"$work/out" 2>"$work/err" &
        child=$!
        while kill -0 $child 2>/dev/null; do
            assistant=$(pgrep -P $child -x mini-assistant) && kill -STOP "$assistant" || continue
            # In time?
            grep -q "writes that failed" "$work/out" || return 0
            kill -CONT "$assistant"
            break
        done
        wait $child
    done
    return 1
}

for arch in x86_64 i386; do
    if ! "out/$arch/mini" --version >/dev/null 2>&1; then
        skip "$arch: disks" "this machine does not run $arch programs"
        continue
    fi
    disk=$work/disk-$arch
    guest=out/guests/block

    truncate -s 3M "$disk"
    truncate -s 100000 "$disk-two"
    launch $arch --block "$disk" --block="$disk-two" $guest write check
    expect "$arch: two disks keep what is written to them" 0 "disk 0 of 6144 sectors
  writes that failed: 0
  words that differ: 0
disk 1 of 195 sectors
  writes that failed: 0
  words that differ: 0" "mini-launch: disk \"$disk-two\": the guest cannot see its last 160 bytes, which are no whole sector of 512"
    launch $arch --block "$disk" $guest check
    expect "$arch: another guest finds it" 0 "*words that differ: 0" ""
    # Word n of the file is n * 4 * 2654435761 mod 2^32, exclusive or 0x5a5a5a5a.
    check "$arch: the file holds it, byte for byte" \
        "$(od -An -v -tu4 -w4 "$disk" | awk '
            function xor(a, b,  r, p) { r = 0; for (p = 1; p < 4294967296; p *= 2) {
                if (a % 2 != b % 2) r += p; a = int(a / 2); b = int(b / 2) } return r }
            NR % 997 == 1 { low = ((NR - 1) * 4) % 65536; high = int((NR - 1) * 4 / 65536)
                want = (low * 2654435761) % 4294967296
                want = (want + (high * 31153) % 65536 * 65536) % 4294967296
                seen++; if (xor(want, 1515870810) != $1) wrong++ }
            END { print NR, seen, wrong + 0 }')" = "786432 789 0"

    launch $arch --block "$disk,ro" $guest write check
    expect "$arch: a read-only disk can be read and not written" 0 "*writes that failed: 96*words that differ: 0" \
        "mini-launch: the guest cannot write disk \"$disk\": the disk is read-only"
    launch $arch --block "$disk" $guest hostile
    expect "$arch: what leaves disk or memory is an I/O error in the guest, which goes on" 0 \
        "*the last sector: 1*across the end: 2*behind the end: 2*far behind it: 2*of type 7: 2*outside memory: 2*outside memory: 2*more than its sections: 2*less than its sections: 2*outside memory: 2*nothing bound: 0" \
        "*beyond the end"
    check "$arch: and the disk is as it was" "$(stat -c %s "$disk")" = 3145728
    rm -f "$disk-limited" && truncate -s 1M "$disk-limited"
    (ulimit -f 512 && exec timeout 600 "out/$arch/mini-launch" --block "$disk-limited" $guest write) \
        </dev/null >"$work/out" 2>"$work/err"
    code=$? output=$(<"$work/out") errors=$(<"$work/err")
    expect "$arch: so is a write beyond a limit for the sizes of files" 0 "*writes that failed: 16" \
        "mini-launch: the guest cannot write disk \"$disk-limited\": file too large (EFBIG)"
    launch $arch --block "$disk" $guest check die
    expect "$arch: a guest that dies leaves its disk whole" 4 "*words that differ: 0" "*Kernel panic - as asked for*"

    if command -v pgrep >/dev/null; then
        "out/$arch/mini-launch" --block "$disk" --block "$disk-two" out/guests/sleep forever </dev/null >"$work/out" 2>&1 &
        child=$!
        for _ in {1..600}; do
            grep -q asleep "$work/out" && break
            sleep 0.05
        done
        check "$arch: one process waits for all disks" "$(pgrep -c -P $child -x mini-assistant)" = 1
        kill $child
        wait $child 2>/dev/null
    else
        skip "$arch: one process waits for all disks" "there is no pgrep to see it with (package procps)"
    fi

    # The disk takes for ever: the process that waits for it is stopped before the guest has ended.
    for how in told "left alone"; do
        if ! command -v pgrep >/dev/null; then
            skip "$arch: a process of its own waits for the disk" "there is no pgrep to see it with (package procps)"
            continue
        elif ! slow_disk; then
            not_ok "$arch: a process of its own waits for the disk" "there is none"
            continue
        fi
        while kill -0 $child 2>/dev/null && ! grep -q "writes that failed: 0" "$work/out"; do sleep 0.05; done
        if [[ $how == told ]]; then
            kill -TERM $child
            wait $child
            check "$arch: a launch that waits until the disk has everything ends when told" "$?$(<"$work/err")" = 143
            kill -CONT "$assistant"
        else
            kill -CONT "$assistant"
            wait $child
            check "$arch: and ends by itself when the disk has it" "$?$(<"$work/err")" = 0
        fi
        while kill -0 "$assistant" 2>/dev/null; do sleep 0.05; done
    done

    launch $arch --block "$work/none" $guest
    expect "$arch: no such disk" 1 "" "mini-launch: cannot open disk \"$work/none\": no such file (ENOENT)"
    launch $arch --block "$work" $guest
    expect "$arch: a directory as disk" 3 "" "mini-launch: disk \"$work\" is a directory"
    launch $arch --block "$work,ro" $guest
    expect "$arch: a directory as read-only disk" 3 "" "mini-launch: disk \"$work\" is a directory"
    launch $arch --block /dev/null $guest
    expect "$arch: a device that is no disk" 3 "" "mini-launch: disk \"/dev/null\" is neither a regular file nor a block device"
    : >"$disk-empty"
    launch $arch --block "$disk-empty" $guest
    expect "$arch: an empty disk" 3 "" "mini-launch: disk \"$disk-empty\" has 0 bytes, less than one 512-byte sector"
    cp out/guests/hello "$work/kernel-disk"
    launch $arch --block "$work/kernel-disk" "$work/kernel-disk"
    expect "$arch: a disk that is the kernel" 2 "" "*mini-launch: disk \"$work/kernel-disk\" is the kernel, too: as a disk it must be read-only (,ro)"
    launch $arch --block "$work/kernel-disk,ro" "$work/kernel-disk"
    expect "$arch: for reading it can be there" 0 "hello from ring 1" "*"
    launch $arch --initrd "$disk" --block "$disk" out/guests/hello
    expect "$arch: a disk that is the initrd" 2 "" "mini-launch: disk \"$disk\" is the initrd, too: *"
    truncate -s 4096 "$work/net-disk"
    launch $arch --sharenet "$work/net-disk" --block "$work/net-disk" out/guests/hello
    expect "$arch: a disk that is a network" 2 "" "mini-launch: disk \"$work/net-disk\" is a network, too: *"
    launch $arch --block "$disk" --block "$disk" $guest
    expect "$arch: one disk twice" 2 "" "mini-launch: disk \"$disk\" is the same as disk \"$disk\": a disk can be given twice only if both are read-only (,ro)"
    words=()
    for _ in {1..15}; do words+=(--block "$disk,ro"); done
    launch $arch "${words[@]}" $guest check
    expect "$arch: fifteen disks" 0 "disk 0 *disk 14 of 6144 sectors*words that differ: 0" ""
    launch $arch "${words[@]}" --block "$disk,ro" $guest
    expect "$arch: sixteen disks" 2 "" "mini-launch: 16 devices are too many: a guest can have 15 beside its console"

    if loop=$(losetup --find --show "$disk" 2>/dev/null); then
        launch $arch --block "$loop" $guest check
        expect "$arch: a block device is a disk" 0 "disk 0 of 6144 sectors*words that differ: 0" ""
        launch $arch --block "$loop" --block "$loop" $guest
        expect "$arch: one block device twice" 2 "" "mini-launch: disk \"$loop\" is the same as disk \"$loop\": *"
        launch $arch --block "$disk" --block "$loop" $guest
        expect "$arch: nor are a file and its loop device two disks" 2 "" "mini-launch: disk \"$loop\" is the same as disk \"$disk\": *"
        launch $arch --block "$loop" --initrd "$disk" out/guests/hello
        expect "$arch: nor is it a disk whose file is the initrd" 2 "" "mini-launch: disk \"$loop\" is the initrd, too: *"
        launch $arch --block "$loop" --timeline "$disk" $guest
        expect "$arch: nor one whose file gets the timeline" 2 "" "mini-launch: timeline \"$disk\" is a disk itself"
        if mkfs.ext4 -q "$loop" 2>/dev/null && mkdir -p "$work/mounted" && mount "$loop" "$work/mounted" 2>/dev/null; then
            launch $arch --block "$loop" $guest write
            expect "$arch: a block device that is mounted is refused" 1 "" \
                "mini-launch: disk \"$loop\" is in use: it is mounted, or a part of another device, or another process has it"
            launch $arch --block "$loop,ro" $guest write
            expect "$arch: but not for reading" 0 "*writes that failed: 96*" "*the disk is read-only"
            errors=$("out/$arch/mini-pack" "$loop" --dir x 2>&1)
            code=$? output=
            expect "$arch: nor is it written as an archive" 1 "" \
                "mini-pack: cannot open \"$loop\": device or resource busy (EBUSY)"
            umount "$work/mounted"
        else
            skip "$arch: a block device that is mounted" "ext4 cannot be made or mounted here"
        fi
        losetup --detach "$loop"
        if loop=$(losetup --read-only --find --show "$disk" 2>/dev/null); then
            launch $arch --block "$loop" $guest write
            expect "$arch: a block device that takes no writes is a read-only disk" 0 "*writes that failed: 96*" \
                "mini-launch: disk \"$loop\" cannot be written: the guest's writes will fail*the disk is read-only"
            losetup --detach "$loop"
        else
            skip "$arch: a block device that takes no writes" "no loop device can be made here"
        fi
    else
        skip "$arch: a block device" "no loop device can be made here"
    fi

    # A file system of 1 MiB, full after half of the disk.
    if mkdir -p "$work/full" && mount -t tmpfs -o size=1M none "$work/full" 2>/dev/null; then
        truncate -s 2M "$work/full/disk"
        launch $arch --block "$work/full/disk" $guest write
        expect "$arch: a full host disk is an I/O error in the guest" 0 "*writes that failed: [1-9]*" \
            "mini-launch: the guest cannot write disk \"$work/full/disk\": no space left on device (ENOSPC)"
        umount "$work/full"
    else
        skip "$arch: a full host disk" "a tmpfs cannot be mounted here"
    fi
    # Killed in the middle of writing: what the guest was told is written stays written.
    truncate -s 64M "$disk-large"
    "out/$arch/mini-launch" --block "$disk-large" $guest write check write check >/dev/null 2>&1 </dev/null &
    child=$!
    for _ in {1..6000}; do
        (($(stat -c %b "$disk-large") > 0)) && break
        sleep 0.01
    done
    kill -KILL $child
    wait $child 2>/dev/null
    launch $arch --block "$disk-large" $guest write check
    expect "$arch: a disk whose launcher was killed can be had again" 0 "*writes that failed: 0*words that differ: 0" ""
    rm -f "$disk-large"
done
