# Measures a launcher of lguest guests beside another one in turns, for any POSIX shell; run by Tests/bench.sh on a
# machine that has a real /dev/lguest. OURS and OTHER are the launchers, FILES the folder of vmlinux and initrd.
# Prints lines "FIGURE name who value". Times of the machine and of the guest have steps of 10 ms.

ms() { awk '{ printf "%d", $1 * 1000 }' /proc/uptime; }

# The text of a script for Linux: reads and writes a disk of 32 MB, and asks the host for echoes.
linux_script() {
    cat <<'EOF'
ms() { awk '{ printf "%d", $1 * 1000 }' /proc/uptime; }
a=$(ms); dd if=/dev/lgbb of=/dev/null bs=64k count=512 2>/dev/null; b=$(ms)
echo "VALUE read $((b - a))"
a=$(ms); dd if=/dev/zero of=/dev/lgbb bs=64k count=512 2>/dev/null; sync; b=$(ms)
echo "VALUE write $((b - a))"
ifconfig eth0 192.168.19.2 netmask 255.255.255.0 up
ping -c 1 192.168.19.1 >/dev/null 2>&1
echo "VALUE ping $(ping -c 8 192.168.19.1 2>/dev/null | sed -n 's|.*= \([0-9.]*\)/.*|\1|p')"
poweroff -f
EOF
}

# Pages that a process has written to, KiB: its own, or shared with the one that it made as a copy of itself.
# Its page tables are counted with them.
written() {
    cat "/proc/$1/smaps" "/proc/$1/status" |
        awk -v kinds="$2" '$1 ~ "^(" kinds ")_Dirty:" || /^VmPTE:/ { sum += $2 } END { print sum + 0 }'
}

# launch WHO WORDS...
launch() {
    case $1 in ours) launcher=$OURS ;; *) launcher=$OTHER ;; esac
    shift
    # shellcheck disable=SC2086
    ${exec:-} $launcher "$@"
}

turn() {
    a=$(ms)
    launch "$1" "$initrd" 32 "$FILES/vmlinux" quiet run=off </dev/null >/dev/null 2>&1
    b=$(ms)
    echo "FIGURE boot $1 $((b - a))"
    [ -e "$FILES/bzImage" ] && {
        a=$(ms)
        launch "$1" "$initrd" 32 "$FILES/bzImage" quiet run=off </dev/null >/dev/null 2>&1
        b=$(ms)
        echo "FIGURE bzImage $1 $((b - a))"
    }
    launch "$1" --block=script --block=disk --tunnet=192.168.19.1 "$initrd" 32 "$FILES/vmlinux" quiet run=script </dev/null 2>&1 |
        tr -d '\r' | sed -n "s/^VALUE \([a-z]*\) /FIGURE \1 $1 /p"
}

# The memory of a launcher with a small guest that sleeps, KiB: its own, the guest's few pages, and what the process
# has for itself that it may have beside it.
memory() {
    exec="exec"
    launch "$1" 32 "$FILES/sleep" forever <input >/dev/null 2>&1 &
    exec=
    id=$!
    sleep 2
    sum=$(written $id "Private|Shared")
    for process in /proc/[0-9]*; do
        parent=$(sed -n 's/^PPid:[[:space:]]*//p' "$process/status" 2>/dev/null)
        [ "$parent" = "$id" ] && sum=$((sum + $(written "${process#/proc/}" Private)))
    done
    echo "FIGURE memory $1 $sum"
    kill -9 $id
    wait $id 2>/dev/null
}

initrd=--initrd=$FILES/initrd.cpio.gz
linux_script >script
dd if=/dev/zero of=script bs=1024 seek=1023 count=1 2>/dev/null
dd if=/dev/zero of=disk bs=65536 count=512 2>/dev/null
sync
launch ours "$initrd" 32 "$FILES/vmlinux" quiet run=off </dev/null >/dev/null 2>&1
launch other "$initrd" 32 "$FILES/vmlinux" quiet run=off </dev/null >/dev/null 2>&1
n=0
while [ $n -lt "${TURNS:-5}" ]; do
    turn ours
    turn other
    n=$((n + 1))
done
if [ -e "$FILES/sleep" ]; then
    mkfifo input
    sleep 1000 >input &
    holder=$!
    for n in 1 2 3; do
        memory ours
        memory other
    done
    kill $holder
fi
echo "FIGURES end"
