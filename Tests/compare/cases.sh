# The cases of Tests/compare.sh, for any POSIX shell: run here, and on the machine that has a real
# /dev/lguest. LAUNCH is mini-launch with an engine chosen, FILES the folder of guests, ERA the era
# of the kernels to boot, GUESTS not empty if this host runs guests of era 1.

# run NAME WORDS...: the whole of what there is to see of one launch; its input is ours.
run() {
    echo "=== $1"
    shift
    $LAUNCH "$@" >console 2>errors
    code=$?
    cat console
    echo "--- errors"
    cat errors
    echo "--- code $code"
}

own_guests() {
    for guest in hello panic undefined paging ring ring3 gates flood spin sleep clock; do
        [ -e "$FILES/$guest" ] && run $guest "$FILES/$guest" </dev/null
    done
    printf 'one\ntwo\noff\n' | run "echo, from a pipe" "$FILES/echo"
    (sleep 1; printf 'late\n'; sleep 1; printf 'off\n'; sleep 1) | run "echo, slowly" "$FILES/echo"
    if [ -e "$FILES/block" ]; then
        dd if=/dev/zero of=disk bs=1024 count=1024 2>/dev/null
        run "a disk" --block disk "$FILES/block" write check </dev/null
        run "a read-only disk" --block disk,ro "$FILES/block" write check </dev/null
        run "hostile requests to a disk" --block disk "$FILES/block" hostile </dev/null
        cksum disk
    fi
}

# The text of a script for Linux, on a disk of its own: it writes to another one.
linux_script() {
    cat <<'EOF'
set -- 1 2 3
for n; do echo "line $n of $(uname -s)"; done
ls / | head -n 3
dd if=/dev/lgba of=/dev/lgbb bs=4096 count=4 2>/dev/null
cksum < /dev/lgbb
ls /sys/block | grep lg
poweroff -f
EOF
}

linux() {
    for kernel in vmlinux bzImage; do
        [ -e "$FILES/$kernel" ] || continue
        run "Linux of era $ERA: $kernel" --initrd "$FILES/initrd.cpio.gz" 64 "$FILES/$kernel" run=off </dev/null
    done
    [ -e "$FILES/vmlinux" ] || return
    linux_script >script
    dd if=/dev/zero of=script bs=1024 seek=1023 count=1 2>/dev/null
    dd if=/dev/zero of=disk bs=1024 count=1024 2>/dev/null
    run "Linux of era $ERA with disks and a script" --initrd="$FILES/initrd.cpio.gz" --block=script --block=disk \
        64 "$FILES/vmlinux" quiet run=script </dev/null
    cksum disk
}

echo "##### begin"
[ -n "$GUESTS" ] && own_guests
linux
echo "##### end"
