# Addresses and sizes of 2^31 and more, which no `Int` of a 32-bit program holds: guest memory that lies
# across the middle of the address space, an image that names such addresses, files of 3 GiB.
# Sourced by system.sh.

# With 3 GiB of addresses (as a 32-bit kernel has) memory of this many MiB lies across 0x80000000.
truncate -s 200M "$work/initrd-200"
truncate -s 3G "$work/file-3G"
# An image whose first call, `mov $1,%eax; mov $0x80100010,%edx; int $0x1f`, names a structure far behind it.
cp out/guests/hello "$work/far-structure"
magic=$(grep -obUam1 GenuineLguest "$work/far-structure" | cut -d: -f1)
printf '\xb8\x01\x00\x00\x00\xba\x10\x00\x10\x80\xcd\x1f' |
    dd of="$work/far-structure" bs=1 seek=$((magic + 13)) conv=notrunc 2>/dev/null

for arch in x86_64 i386; do
    if ! "out/$arch/mini" --version >/dev/null 2>&1; then
        skip "$arch: addresses of 2 GiB and more" "this machine does not run $arch programs"
        continue
    fi
    low=()
    if [[ $arch == i386 ]]; then
        if setarch i386 -3 true 2>/dev/null; then low=(setarch i386 -3); else
            skip "$arch: memory across 0x80000000" "setarch cannot have 3 GiB of addresses here"
        fi
    fi
    truncate -s 1M "$work/disk-$arch"
    for size in 900 1000 1024; do
        timeout 600 "${low[@]}" "out/$arch/mini-launch" --engine builtin --initrd "$work/initrd-200" \
            --block "$work/disk-$arch" "$size" out/guests/block write check </dev/null >"$work/out" 2>"$work/err"
        code=$? output=$(<"$work/out") errors=$(<"$work/err")
        expect "$arch: $size MiB of memory with an initrd and a disk, across 0x80000000 in an i386 program" 0 \
            "*words that differ: 0" "mini-launch: \"out/guests/block\" can use 892 MiB of memory, and gets no more of the $size MiB"
    done
    launch $arch --check "$work/far-structure"
    expect "$arch: an image that names an address of 2 GiB is described" 0 "*lguest era   1c*" ""
    launch $arch "$work/far-structure"
    expect "$arch: and started: its call is one of the guest's" 4 "" "mini-launch: the guest died: *"

    launch $arch "$work/file-3G"
    expect "$arch: a kernel of 3 GiB is refused" 3 "" "*a file too large to be a kernel"
    launch $arch --initrd "$work/file-3G" out/guests/hello
    expect "$arch: an initrd of 3 GiB is refused" 3 "" "*of 3221225472 bytes is too large*"
    launch $arch --block "$work/file-3G" out/guests/block
    expect "$arch: a disk of 3 GiB has all of its sectors" 0 "disk 0 of 6291456 sectors*" ""
    launch $arch --sharenet "$work/file-3G" out/guests/hello
    expect "$arch: a network file of 3 GiB is refused" 3 "" "*has 3221225472 bytes: it should be empty*"
done
rm -f "$work/file-3G" "$work/initrd-200"
