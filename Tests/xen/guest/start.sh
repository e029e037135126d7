# A stub domain's start, from its /init to its first program with a device model's arguments from the store: mini-init with a
# table and a shell script with xenstore-read, by turns in one domain (Tests/xen/peers/turns.c). Prints a figure for the bench.

# `starts=N` on dom0's command line: so many of each that count.
rounds=3
for word in $(cat /proc/cmdline); do
    case $word in starts=*) rounds=${word#starts=} ;; esac
done
cat >/tmp/start.cfg <<END
name = "start"
type = "pvh"
kernel = "/guests/vmlinux"
ramdisk = "/guests/start.cpio"
memory = 128
extra = "console=hvc0 quiet panic=-1 cryptomgr.notests=1 mitigations=off rounds=$rounds"
END
if xl create -q -p /tmp/start.cfg >/tmp/create 2>&1; then
    domain=$(xl domid start)
    vm=$(xenstore-read "/local/domain/$domain/vm")
    # The words of a device model, a few more than the toolstack writes.
    xenstore-write "/local/domain/$domain/target" "$domain"
    number=0
    for word in -xen-domid "$domain" -no-shutdown -chardev socket,id=libxl-cmd,fd=4 -mon chardev=libxl-cmd,mode=control \
        -nodefaults -no-user-config -name "a guest" -vnc none -display none -serial hvc -boot order=cda -smp 2,maxcpus=2 \
        -net none -machine xenfv -m 2048 -drive file=/dev/xvda,if=ide,index=0,media=disk,format=raw; do
        xenstore-write -- "$vm/image/dm-argv/$(printf %03d $number)" "$word"
        number=$((number + 1))
    done
    xl unpause "$domain"
    timeout 3100 mini-grant store wait --deadline 3000 "/local/domain/$domain/data/figures" >/tmp/figures
    # ours MEDIAN LEAST WORDS theirs MEDIAN LEAST WORDS rounds NUMBER
    read -r _ ours least words _ theirs theirleast theirwords _ arrived </tmp/figures
    check "a stub domain's start: every turn of both comes to its first program with the same words" \
        "$arrived $words" = "$((2 * rounds + 2)) $theirwords"
    [ "$arrived" = $((2 * rounds + 2)) ] || tail -n 20 /tmp/guest-start.log
    echo "# a start by mini-init: median $ours ns, least $least; by a script: $theirs, $theirleast"
    echo "BENCH start $ours $theirs"
    xl destroy start 2>/dev/null
else
    fail "a stub domain for its start" "$(tr '\n' ' ' </tmp/create)"
fi
