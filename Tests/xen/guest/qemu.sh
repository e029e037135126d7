# A real QEMU, Debian's, as the device model of a stub domain that has nothing but mini and it. There is no machine in it
# (-machine none, -accel qtest: this one has no other beside KVM), as none would fit under two emulations; it answers on its
# socket as any other does.

. /tests/stublibrary.sh

if [ ! -e /guests/qemu.cpio ]; then
    skip "a stub domain starts QEMU" "there is no qemu-system-x86_64-microvm here to put into it"
elif memory=160 stub qemu pvh qemu.cpio ""; then
    vm=$(xenstore-read "/local/domain/$domain/vm")
    xenstore-write "/local/domain/$domain/target" "$domain"
    number=0
    for word in -machine none -accel qtest -nodefaults -no-user-config -display none -S -name "guest,debug-threads=on"; do
        xenstore-write -- "$vm/image/dm-argv/$(printf %03d $number)" "$word"
        number=$((number + 1))
    done
    xenstore-write "$data/go" 1
    # Asks, and leaves when QEMU has.
    asks() {
        echo '{"execute":"qmp_capabilities"} {"execute":"query-name"} {"execute":"query-fdsets"} {"execute":"quit"}'
        tries=0
        until grep -q SHUTDOWN /tmp/qmp || ! xl domid qemu >/dev/null 2>&1 || [ $tries -ge 600 ]; do sleep 0.5 && tries=$((tries + 1)); done
    }
    : >/tmp/qmp
    asks | timeout 600 mini-grant pipe --client --domain "$domain" --path "$data/qmp" --deadline 600 >/tmp/qmp 2>/tmp/log
    tr -d '\r\n ' </tmp/qmp >/tmp/qmp.line
    case $(cat /tmp/qmp.line) in
    '{"QMP":{"version":'*'{"return":{"name":"guest"}}'*) pass "QEMU answers domain 0 through a vchan, by the name that the store gave it" ;;
    *) fail "QEMU answers domain 0 through a vchan, by the name that the store gave it" "$(head -c 1500 /tmp/qmp.line) $(cat /tmp/log)" ;;
    esac
    case $(cat /tmp/qmp.line) in
    *'"fdset-id":3'*'"fdset-id":2'* | *'"fdset-id":2'*'"fdset-id":3'*) pass "  and has the descriptors of its start and of its socket" ;;
    *) fail "  and has the descriptors of its start and of its socket" "$(head -c 1500 /tmp/qmp.line)" ;;
    esac
    gone
    check "  and the domain ends with it" "$reason" = 0
    [ "$reason" = 0 ] || tail -n 20 /tmp/guest-qemu.log
fi
