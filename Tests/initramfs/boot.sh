# Process 1 on Debian's own kernels: mini as the init, its boot table, what goes wrong there, and how
# the machine ends. Sourced by initramfs.sh.
# shellcheck shell=bash disable=SC2154

for arch in amd64 i386; do
    binary=x86_64
    [[ $arch == i386 ]] && binary=i386
    machine_make $arch && machine_build $arch "$work/child" Tests/initramfs/child.c ||
        { skip "$arch kernel: process 1" "$machine_missing" && continue; }
    pack=$root/out/x86_64/mini-pack
    least=$(machine_least $arch)

    # --- as a person does it first: ./build.sh initramfs, one word on the command line ----------------

    boot 900 "$least" "$root/out/$binary/initramfs.cpio" 'mini.launch="--memory 8 /demo"'
    booted "$least MiB of memory: mounts, launches the demo guest, prints its console, powers off" "$off" \
        "*running under mini-launch*" "Powering off." "mini-init: powering off"

    # --- the binary as the only file ----------------------------------------------------------------

    "$pack" "$work/only.cpio" "out/$binary/mini=mini"
    boot 900 192 "$work/only.cpio" 'rdinit=/mini mini.verbose mini.run="mini-pack --version" mini.at-end=reboot'
    booted "the binary alone, as rdinit=/mini" "$again" "mini-init: /proc/cmdline:1:*: run mini-pack --version" \
        "mini-pack $mini_version" "mini-init: rebooting"

    # --- a table with each kind of fault ----------------------------------------------------------------

    "$pack" "$work/checks.cpio" "out/$binary/mini=init" "$work/child=child" Tests/initramfs/checks.table=etc/mini.table \
        "$machines/$arch/modules/kernel/drivers/net/dummy.ko=dummy.ko"
    table="mini-init: /etc/mini.table"
    boot 900 192 "$work/checks.cpio"
    booted "process 1 mounts what every program needs" "$off" "/proc/mounts devtmpfs /dev devtmpfs *" \
        "/proc/mounts proc /proc proc *" "/proc/mounts sysfs /sys sysfs *" "/proc/mounts tmpfs /run tmpfs *" \
        "/proc/1/status Name:*init" "mini-pack $mini_version"
    booted "modules, values and mounts: what fails is told with its place, what does not works" "$off" \
        "$table:*:*: cannot open module \"/none.ko\": no such file (ENOENT)" \
        "$table:*:*: cannot load module \"/child\": * (ENOEXEC)" \
        "/proc/modules dummy *" \
        "$table:*:*: cannot set \"/proc/sys/kernel/none\": no such file (ENOENT)" \
        "$table:*:*: cannot set \"/proc/sys/kernel/panic\": invalid argument (EINVAL)" \
        "/proc/sys/kernel/hostname a name" \
        "$table:*:*: cannot mount \"none\" as nofs on \"/mnt\": this kernel has no such file system, or its module is not loaded (ENODEV)" \
        "$table:*:*: cannot mount \"none\" as tmpfs on \"/mnt\": the source is no such file system, or it does not take \"none=1\" (EINVAL)" \
        "$table:*:*: cannot mount \"none\" as tmpfs on \"/child\": not a directory (ENOTDIR)" \
        "/proc/mounts none /mnt/deep tmpfs rw,nosuid,*size=64k*" \
        "$table:*:*: * this machine does not run on Xen" \
        "$table:*:*: \"/dev/none\" has not appeared in time"
    booted "programs that are missing, that fail, that die, that are none" "$off" \
        "mini-init: cannot run \"/none\": no such file (ENOENT)" "$table:*:*: \"/none\" ended with code 127" \
        "mini-init: cannot run \"/etc/mini.table\": it is not executable" \
        "$table:*:*: \"/child\" ended with code 3" \
        "$table:*:*: \"/child\" was ended by signal 11*" \
        "mini-launch: cannot open \"/none\": no such file (ENOENT)" \
        "mini-launch: cannot start \"/child\": *"
    booted "300 orphans are taken away" "$off" "$table:*:*: run /child orphans 300" reaped
    booted "a program that ends beside the rest is taken away, others go on" "$off" \
        "$table:*:*: start /child exit 5" reaped
    booted "asked to power off, with a child that ignores SIGTERM" "$off" "$table:*:*: start mini-init poweroff" \
        "mini-init: powering off"
    anonymous=$(awk '$1 ~ /smaps_rollup$/ && $2 == "Pss_Anon:" { print $3 }' "$work/lines")
    check "$arch kernel: process 1 has less than 1 MiB of its own (${anonymous:-no} KiB)" "${anonymous:-9999}" -lt 1024

    # --- a wrong table --------------------------------------------------------------------------------

    "$pack" "$work/wrong.cpio" "out/$binary/mini=init" "$work/child=child" Tests/initramfs/wrong.table=etc/mini.table
    boot 900 192 "$work/wrong.cpio" mini.lod
    booted "a wrong table: every error with line and column, nothing is carried out, on-error" "$again" \
        "$table:2:8: *\"sometimes\"*" "$table:3:7: *\"5m\"*" "$table:4:1: there is no statement \"lod\"" \
        "$table:5:*: *missing*" "$table:6:*: *missing*" "$table:7:*: *missing*" \
        "$table:8:5: this quotation mark is not closed" "$table:9:12: *\"x\"*" "$table:10:14: *\"8-\"*" \
        "$table:11:*: *\"soon\"*" "$table:12:6: *\"moon\"*" "$table:13:*: mini-launch: memory of \"1T\"*" \
        "$table:14:*: table belongs on the kernel's command line" \
        "mini-init: /proc/cmdline:1:*: there is no statement \"lod\"" "$table:16:*: nothing after exec is carried out" \
        "mini-init: rebooting"
    check "$arch kernel: a wrong table is not carried out" "$(grep -c never "$work/lines")" = 0

    # --- memory that runs out --------------------------------------------------------------------------

    "$pack" "$work/eat.cpio" "out/$binary/mini=init" "$work/child=child"
    boot 900 "$least" "$work/eat.cpio" 'mini.try="run /child eat" mini.run="/child say survived"'
    booted "$least MiB of memory, all of it eaten: process 1 survives" "$off" \
        "mini-init: /proc/cmdline:1:*: \"/child\" was ended by signal 9*" survived "mini-init: powering off"
    "$pack" "$work/small.cpio" "out/$binary/mini=init" "$work/child=child" out/guests/demo=demo
    boot 900 "$least" "$work/small.cpio" 'mini.run="/child show /proc/meminfo MemTotal: MemAvailable:"' \
        'mini.launch="--memory 16 /demo"' 'mini.mount="none /hole tmpfs size=1g" mini.run="/child sparse /hole/initrd 100"' \
        'mini.try="launch --memory 200 --initrd /hole/initrd /demo" mini.launch="--memory 8 /demo"'
    read -r total left < <(awk '/MemTotal/ { total = $3 } /MemAvailable/ { print total, $3 }' "$work/lines")
    check "$arch kernel: $least MiB of memory leave less than 32 MiB to programs ($left KiB, of $total that the kernel manages)" \
        "${left:-99999}" -lt 32768
    booted "a guest of 16 MiB runs there; one that needs more than there is ends with a line, process 1 goes on" "$off" \
        "*running under mini-launch*" "Powering off." \
        "mini-launch: cannot map \"/hole/initrd\": out of memory (ENOMEM)" "mini-init: /proc/cmdline:1:*: \"mini-launch\" ended with code 1" \
        "*running under mini-launch*" "Powering off." "mini-init: powering off"
done
