# How the life of process 1 ends on Debian's own kernels: another root and its init, the keys Ctrl-Alt-Del, each
# end of the machine. Sourced by initramfs.sh.
# shellcheck shell=bash disable=SC2034,SC2154

# keyed WORDS...: as boot, with a keyboard: once somebody has said "ready" it is Ctrl-Alt-Del that is pressed. A machine that has
# halted is still there: QEMU is asked how it is ($status), and ended. $pressed: 1 when the keys were
# pressed, "late" if "later" had been said by then.
keyed() {
    local pid
    pressed=
    local machine_devices="-monitor stdio -serial file:$work/console.raw"
    : >"$work/console.raw"
    rm -f "$work/keys" && mkfifo "$work/keys"
    exec 7<>"$work/keys"
    machine_boot "$arch" 900 192 "$work/ends.cpio" "$@" <&7 >"$work/monitor" 2>&1 &
    pid=$!
    while sleep 0.1 && kill -0 $pid 2>/dev/null; do
        if [[ -z $pressed ]] && grep -aq '^ready' "$work/console.raw"; then
            pressed=1
            ! grep -aq '^later' "$work/console.raw" || pressed=late
            echo "sendkey ctrl-alt-delete" >&7
        elif grep -aq 'reboot: System halted' "$work/console.raw"; then
            echo "info status" >&7
            until grep -aq 'VM status: ' "$work/monitor" || ! kill -0 $pid 2>/dev/null; do sleep 0.1; done
            echo quit >&7
            break
        fi
    done
    wait $pid
    code=$?
    exec 7>&-
    status=$(tr -d '\r' <"$work/monitor" | grep -ao 'VM status: .*')
    read_console <"$work/console.raw"
}

for arch in amd64 i386; do
    binary=x86_64
    [[ $arch == i386 ]] && binary=i386
    machine_make $arch && machine_build $arch "$work/child" Tests/initramfs/child.c ||
        { skip "$arch kernel: the ends of process 1" "$machine_missing" && continue; }
    pack=$root/out/x86_64/mini-pack

    # --- another root -----------------------------------------------------------------------------------

    head -c 33554432 /dev/urandom >"$work/ballast"
    "$pack" "$work/switch.cpio" "out/$binary/mini=init" "$work/child=child" "$work/ballast=deep/er/ballast"
    boot 900 256 "$work/switch.cpio" 'mini.on-error=halt mini.mount="none /root tmpfs" mini.run="/child populate /root"' \
        'mini.run="/child show /proc/meminfo MemFree:" mini.try="switch-root /none /sbin/init" mini.try="switch-root /deep /sbin/init"' \
        'mini.try="switch-root /root /sbin/none" mini.run="/child say still here" mini.switch-root="/root /sbin/init new-root"'
    booted "switch-root to what is none is refused, and nothing is lost" "$off" \
        'mini-init: /proc/cmdline:1:*: "/none" is no file system of its own to switch to' \
        'mini-init: /proc/cmdline:1:*: "/deep" is no file system of its own to switch to' \
        'mini-init: /proc/cmdline:1:*: nothing is switched: cannot run "/sbin/none": no such file (ENOENT), behind the new root' "still here"
    booted "switch-root: the new root's init is process 1, what was mounted has moved along, no signal is held back" "$off" \
        "process 1 on a new root" "/proc/self/mounts devtmpfs /dev *" \
        "/proc/self/mounts proc /proc *" "/proc/self/mounts sysfs /sys *" "/proc/self/mounts tmpfs /run *" \
        "/proc/self/mounts none / tmpfs *" \
        "/proc/self/status SigBlk:*0000000000000000" "/proc/self/status SigIgn:*0000000000000000"
    mapfile -t free < <(awk '$2 == "MemFree:" { print $3 }' "$work/lines")
    check "$arch kernel: switch-root frees the initramfs (32768 KiB of it; $((free[1] - free[0])) KiB more are free)" \
        $((free[1] - free[0])) -gt 31000
    rm "$work/ballast"

    # --- the ends ---------------------------------------------------------------------------------------

    "$pack" "$work/ends.cpio" "out/$binary/mini=init" "$work/child=child"
    keyed 'mini.run="/child say ready" mini.run="/child stubborn" mini.grace=300ms'
    booted "Ctrl-Alt-Del reboots in order" "$again" ready "mini-init: rebooting"
    keyed 'mini.ctrl-alt-del=halt mini.run="/child say ready" mini.run="/child idle"'
    booted "Ctrl-Alt-Del does what the table says; a machine that has halted stays" "reboot: System halted" ready "mini-init: halting"
    check "$arch kernel: QEMU runs on behind a halt ($status)" "$status" = "VM status: running"
    keyed 'mini.ctrl-alt-del=ignore mini.run="/child say ready"' 'mini.try="wait file /none deadline=5s" mini.run="/child say later"'
    booted "Ctrl-Alt-Del can be ignored" "$off" ready later "mini-init: powering off"
    check "$arch kernel: and the keys had been pressed by then" "$pressed" = 1
done
