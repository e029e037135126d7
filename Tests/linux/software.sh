# Debian's kernels on the software processors. Sourced by Tests/linux.sh.
# shellcheck shell=bash disable=SC2154

software() {
    local folder=$root/out/debian arch flavour
    for flavour in 686 686-pae; do
        debian_kernel i386 $flavour "$folder/$flavour" && debian_busybox i386 "$folder/busybox-i386" ||
            { skip "$flavour on the software processor" "$debian_missing" && continue; }
        local kernel=$folder/$flavour/vmlinuz busybox=$folder/busybox-i386/busybox
        initrd i386 "$busybox" "$work/initrd" $'run /bin/busybox uname -m\ntry run /bin/busybox sh -c "exit 42"\nexit'
        for arch in x86_64 i386; do
            launch $arch --engine builtin --guest-exit --initrd "$work/initrd" "$kernel" quiet
            expect "$arch: $flavour runs a program, whose code comes out" 42 "*i686*" ""
        done
    done
    wide
    [[ -e $folder/686/vmlinuz && -e $folder/busybox-i386/busybox ]] || return 0
    local kernel=$folder/686/vmlinuz busybox=$folder/busybox-i386/busybox
    initrd i386 "$busybox" "$work/initrd" 'run /bin/busybox true'
    launch x86_64 --engine builtin --initrd "$work/initrd" "$kernel" quiet
    expect "a guest that halts has powered off: code 0" 0 "*powering off*" ""
    launch x86_64 --engine builtin --guest-exit --initrd "$work/initrd" "$kernel" quiet
    expect "with --guest-exit that is a guest that told no code: 125" 125 "*" \
        "mini-launch: the guest powered itself off and told no exit code"
    initrd i386 "$busybox" "$work/initrd" 'run /bin/busybox sh -c "echo o >/proc/sysrq-trigger; /bin/busybox sleep 600"'
    launch x86_64 --engine builtin --initrd "$work/initrd" "$kernel" quiet
    expect "a guest that powers off by itself, not by a call, has done so" 0 "*Power down*" ""
    initrd i386 "$busybox" "$work/initrd" $'run /bin/busybox true\nexit'
    (ulimit -f 0 && exec "$root/out/x86_64/mini-launch" --engine builtin --guest-exit --timeline "$work/trace" \
        --initrd "$work/initrd" "$kernel" quiet) 2>&1 </dev/null | cat >"$work/said"
    check "and so is one whose timeline cannot be written, if its own code is 0" \
        "${PIPESTATUS[0]} $(grep -c 'cannot write timeline' "$work/said")" = "125 1"
    initrd i386 "$busybox" "$work/initrd" $'at-end reboot\nrun /bin/busybox true'
    launch x86_64 --engine builtin --no-reboot --initrd "$work/initrd" "$kernel" quiet
    expect "a guest that reboots: code 5" 5 "*rebooting*" "mini-launch: the guest asked for a reboot"
    launch x86_64 --engine builtin "$kernel" quiet
    expect "a guest that panics: code 4, and its reason" 4 "*Kernel panic - not syncing: *" \
        "mini-launch: the guest died: Kernel panic - not syncing: VFS: Unable to mount root fs*"
    launch x86_64 --engine builtin --memory 16 "$kernel"
    expect "too little memory is told with the least that would do" 3 "" \
        "*it needs * MiB of memory to be loaded, and some 16 MiB more to work in; the guest has 16 MiB"
    idle 686 i386
    screen
    unified_narrow
    memory_test
}

# A 64-bit kernel, which the i386 build leaves to KVM.
wide() {
    debian_kernel amd64 cloud-amd64 "$folder/cloud" && debian_busybox amd64 "$folder/busybox-amd64" ||
        { skip "cloud-amd64 on the software processor" "$debian_missing" && return; }
    local kernel=$folder/cloud/vmlinuz busybox=$folder/busybox-amd64/busybox
    initrd x86_64 "$busybox" "$work/initrd" $'run /bin/busybox uname -m\ntry run /bin/busybox sh -c "exit 42"\nexit'
    launch x86_64 --engine builtin --guest-exit --initrd "$work/initrd" "$kernel" quiet
    expect "cloud-amd64 runs a program, whose code comes out" 42 "*x86_64*" ""
    idle cloud-amd64 x86_64
    thirty_two
    own_programs
    unified
    far_memory
    launch i386 --engine builtin --initrd "$work/initrd" "$kernel" quiet
    expect "the i386 build says that it runs 32-bit guests" 3 "" \
        "mini-launch: cannot start *: a 64-bit kernel needs /dev/kvm: this build runs 32-bit guests"
    initrd x86_64 "$busybox" "$work/initrd" $'at-end reboot\nrun /bin/busybox true'
    launch x86_64 --engine builtin --no-reboot --initrd "$work/initrd" "$kernel" quiet
    expect "a 64-bit guest that reboots: code 5" 5 "*rebooting*" "mini-launch: the guest asked for a reboot"
    launch x86_64 --engine builtin "$kernel" quiet
    expect "a 64-bit guest that panics: code 4, and its reason" 4 "*Kernel panic - not syncing: *" \
        "mini-launch: the guest died: Kernel panic - not syncing: VFS: Unable to mount root fs*"
}

# 32-bit programs, process 1 among them, below a 64-bit kernel.
thirty_two() {
    debian_busybox i386 "$folder/busybox-i386" ||
        { skip "32-bit programs below cloud-amd64" "$debian_missing" && return; }
    local program=$folder/busybox-i386/busybox sum
    sum=$(md5sum <"$program")
    initrd i386 "$program" "$work/initrd32" $'run /bin/busybox uname -m\nrun /bin/busybox sh -c "busybox md5sum </bin/busybox; i=0; while [ $i -lt 1000 ]; do i=$((i+1)); done; echo $i | busybox rev"\ntry run /bin/busybox sh -c "exit 43"\nexit'
    launch x86_64 --engine builtin --guest-exit --initrd "$work/initrd32" "$kernel" quiet
    expect "cloud-amd64 runs 32-bit programs, which compute what they should" 43 "*x86_64*$sum*0001*" ""
}

# What this machine's own programs say, with their libraries, they say in the guest; also one of x86-64-v2, and what the C library
# takes the processor for.
own_programs() {
    local name path library packed=() names=(sh md5sum sha256sum sort seq gzip xz awk perl) compiler PATH=$work/level:$PATH
    compiler=$(dirname "$(readlink -f "$(command -v swiftc)")")/clang
    [[ -x $compiler ]] || compiler=cc
    mkdir -p "$work/level"
    if "$compiler" -O2 -march=x86-64-v2 -o "$work/level/level" Tests/linux/level.c 2>/dev/null; then
        names+=(level)
    else
        skip "a program of x86-64-v2 in the guest" "no compiler here makes it"
    fi
    for name in "${names[@]}"; do
        path=$(readlink -f "$(command -v "$name")") && ldd "$path" >"$work/libraries" 2>/dev/null ||
            { skip "this machine's own programs in the guest" "no $name with libraries here" && return; }
        packed+=("$path=/own/$name,0755")
        while read -r library; do packed+=("$library=$library,0755"); done < <(grep -oE '/[^ ]+' "$work/libraries")
    done
    cat >"$work/own.sh" <<'END'
export PATH=$1 LC_ALL=C
/lib64/ld-linux-x86-64.so.2 --help 2>/dev/null | awk '/x86-64-v2/ { print }'
if command -v level >/dev/null; then level; fi
md5sum <$2
sha256sum <$2
seq 1 3000 | awk '{ x = $1 / 7; s += x * x / (1 + x); printf "%.17g %.9e %d\n", sqrt(s), -s * 1e200, s }' >$3/numbers
md5sum <$3/numbers
sort -g -k 2 $3/numbers | md5sum
gzip -9n <$3/numbers | md5sum
xz -T1 -1 <$2 >$3/packed
md5sum <$3/packed
xz -d <$3/packed | md5sum
perl -e '$s = ($s * 33 + ord) % 4294967291 for split //, "own" x 5000; printf "%d %s %.15g\n", $s, unpack("H*", pack "dfnQ", 1.1, 2.2, 3, 4), 9 ** 21 / 7'
END
    mkdir -p "$work/own"
    local kept=() wanted
    mapfile -t kept < <(printf '%s\n' "${packed[@]}" | sort -u)
    wanted=$(sh "$work/own.sh" "$PATH" "$(readlink -f "$(command -v md5sum)")" "$work/own")
    initrd x86_64 "$busybox" "$work/initrd-own" 'run /own/sh /own.sh /own /own/md5sum /tmp' "$work/own.sh=/own.sh" "${kept[@]}"
    launch x86_64 --engine builtin --initrd "$work/initrd-own" "$kernel" quiet
    expect "this machine's own programs say in the guest what they say here" 0 "*$wanted*" ""
}

# Kernel, initrd and command line in one file for EFI firmware, as systemd-boot starts it.
unified() {
    initrd x86_64 "$busybox" "$work/initrd-in" $'run /bin/busybox cat /proc/cmdline\nexit 44'
    initrd x86_64 "$busybox" "$work/initrd-beside" $'run /bin/busybox cat /proc/cmdline\nexit 45'
    echo 'quiet from=image' >"$work/words"
    unified_image amd64 "$work/unified.efi" .osrel=/etc/os-release ".cmdline=$work/words" ".initrd=$work/initrd-in" ".linux=$kernel" ||
        { skip "a unified kernel image" "$debian_missing" && return; }
    launch x86_64 --engine builtin --guest-exit "$work/unified.efi"
    expect "a unified kernel image is its kernel, its initrd and its command line" 44 "*console=ttyS0 *tsc=reliable quiet from=image*" ""
    launch x86_64 --engine builtin --guest-exit --initrd "$work/initrd-beside" "$work/unified.efi" quiet from=user
    expect "who gives an initrd and words gets these" 45 "*tsc=reliable quiet from=user*" \
        "mini-launch: \"$work/initrd-beside\" is the initrd, not the one in \"$work/unified.efi\""
    launch x86_64 --check "$work/unified.efi"
    expect "--check tells its parts" 0 "format       unified kernel image for x86-64, *.linux       $(stat -L -c %s "$kernel") bytes at byte *.initrd      $(stat -c %s "$work/initrd-in") bytes at byte *.cmdline     quiet from=image*format       bzImage, *, with its initrd*" ""
}

# Memory beyond 3 GiB, which lies from 4 GiB on: kernels take from there first what programs, page tables and drivers ask for.
far_memory() {
    local module modules=(drivers/virtio/virtio{_ring,,_pci_legacy_dev,_pci_modern_dev,_pci} drivers/block/virtio_blk) packed=() sum
    debian_kernel amd64 cloud-amd64 "$folder/cloud-disks" "${modules[@]/%/.ko}" ||
        { skip "a guest with 5 GiB" "$debian_missing" && return; }
    {
        for module in "${modules[@]}"; do echo "busybox insmod /modules/${module##*/}.ko"; done
        cat <<'END'
busybox grep MemTotal /proc/meminfo
busybox grep 'System RAM' /proc/iomem
busybox awk '$3 == "zone" { on = $4 == "Normal" } on && $1 == "managed" { all = $2 } on && $2 == "free" { free = $3 } END { print (all - free > 1000 ? "used" : "unused") }' /proc/zoneinfo
busybox dd if=/dev/vda bs=64k 2>/dev/null | busybox md5sum
END
    } >"$work/far.sh"
    for module in "${modules[@]}"; do packed+=("$folder/cloud-disks/modules/kernel/$module.ko=/modules/${module##*/}.ko"); done
    initrd x86_64 "$busybox" "$work/initrd" $'run /bin/busybox sh /far.sh\nexit 47' "$work/far.sh=/far.sh" "${packed[@]}"
    head -c 5000192 /dev/urandom >"$work/a.img"
    sum=$(md5sum <"$work/a.img")
    launch x86_64 --engine builtin --guest-exit --initrd "$work/initrd" --block "$work/a.img,ro" 5120 "$folder/cloud-disks/vmlinuz" quiet
    expect "a 64-bit guest with 5 GiB uses what lies from 4 GiB on, for programs and for its disk" 47 \
        "*MemTotal: *[45]??????\ kB*00100000-bfffffff : System RAM*100000000-17fffffff : System RAM*used*$sum*" ""
    launch x86_64 --engine builtin 4096 "$root/out/debian/686/vmlinuz"
    [[ ! -e $root/out/debian/686/vmlinuz ]] ||
        expect "a 32-bit one cannot have it" 2 "" "mini-launch: memory of 4096 MiB is too large: a guest can have at most 3072 MiB"
}

# A unified kernel image of 32 bits, in both programs.
unified_narrow() {
    initrd i386 "$busybox" "$work/initrd" 'exit 46'
    unified_image i386 "$work/unified.efi" ".initrd=$work/initrd" ".linux=$kernel" ||
        { skip "a 32-bit unified kernel image" "$debian_missing" && return; }
    for arch in x86_64 i386; do
        launch $arch --engine builtin --guest-exit "$work/unified.efi" quiet
        expect "$arch: a 32-bit unified kernel image is started" 46 "*" ""
    done
}

# Debian's memory test, which is packed as a kernel is, holds none, and draws on the serial line.
memory_test() {
    debian_alone "$folder/memtest" memory_test_files || { skip "a memory test as a guest" "$debian_missing" && return; }
    local kind guest
    for kind in ia32 x64; do
        # What an earlier guest has said is not the next one's.
        rm -f "$work/memtest"
        out/x86_64/mini-launch --engine builtin --memory 16 "$folder/memtest/memtest86+$kind.bin" console=ttyS0,115200 \
            </dev/null >"$work/memtest" 2>&1 &
        guest=$!
        until grep -aqsE 'Testing: .*[0-9]+MB' "$work/memtest"; do kill -0 $guest 2>/dev/null || break; sleep 0.1; done
        kill -TERM $guest 2>/dev/null
        wait $guest
        check "memtest86+ for $kind tests a guest's memory until SIGTERM: code 143" $? = 143
    done
}
memory_test_files() {
    local place=$root/out/debian/memtest
    [[ ! -e $place/memtest86+x64.bin ]] || return 0
    debian_download amd64 "$place" memtest86+ >/dev/null || return 1
    dpkg-deb --fsys-tarfile "$place"/memtest86+_*.deb | tar -x -C "$place" --strip-components=2 --wildcards './boot/*.bin' 2>/dev/null ||
        { debian_missing="memtest86+ of this release is packed in another way" && return 1; }
}

# A screen and a keyboard instead of the serial port, for keys from a pipe and for a panic.
screen() {
    initrd i386 "$busybox" "$work/initrd" $'run /bin/busybox sh -c "while read a b; do echo got $b, then $a; done"'
    printf 'One "two;"\r~!x /Y\r\004' |
        timeout 600 out/x86_64/mini-launch --engine builtin --console screen --initrd "$work/initrd" "$kernel" >"$work/out" 2>"$work/err"
    # shellcheck disable=SC2034
    code=$? output=$(tr -d '\r' <"$work/out") errors=$(<"$work/err")
    expect "a guest's console is its screen, and keys go to its keyboard" 0 $'*Console: colour VGA+ 80x25*got "two;", then One\n*got /Y, then ~!x\n*System halted' ""
    launch x86_64 --engine builtin --console screen "$kernel" quiet
    expect "a panic on the screen has its code and reason" 4 "*Kernel panic - not syncing: *" \
        "mini-launch: the guest died: Kernel panic - not syncing: VFS: Unable to mount root fs*"
}

# own_memory PID: KiB that are its own and not the guest's, whose memory is the largest mapping, or pieces of it, and the initrd's file in it.
own_memory() {
    awk '/^[0-9a-f]+-[0-9a-f]+ / { size = $6 ~ /^\// && $6 !~ /mini$/ ? 1e9 : 0 } /^Size:/ { size += $2 } /^Anonymous:/ { if (size < 16384) sum += $2 } END { print sum + 0 }' "/proc/$1/smaps"
}

# idle NAME ARCH: a guest that sleeps, of this $kernel, takes little memory and ends when it is told to.
idle() {
    initrd "$2" "$busybox" "$work/initrd" $'run /bin/busybox echo now idle\nrun /bin/busybox sleep 1000'
    rm -f "$work/idle"
    out/x86_64/mini-launch --engine builtin --initrd "$work/initrd" "$kernel" quiet </dev/null >"$work/idle" 2>&1 &
    local guest=$!
    until grep -qs 'now idle' "$work/idle"; do kill -0 $guest 2>/dev/null || break; sleep 0.1; done
    # What was decoded for the boot goes once the guest has slept for some seconds.
    local own limit=$((SECONDS + 120))
    if own=$(own_memory $guest 2>/dev/null); then
        until ((own <= 1024 || SECONDS > limit)); do sleep 0.5 && own=$(own_memory $guest 2>/dev/null) || break; done
        check "memory beside the pages of a $1 guest that sleeps is at most 1 MiB ($own KiB)" "${own:-9999}" -le 1024
    else
        skip "memory beside the pages of a $1 guest" "cannot look at it: not root"
    fi
    kill -TERM $guest 2>/dev/null
    wait $guest
    check "SIGTERM ends a $1 guest that sleeps: code 143" $? = 143
}

software
