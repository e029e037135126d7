# A real QEMU, Debian's, as the device model of a stub domain that has nothing but mini and it. There is no machine in it
# (-machine none, -accel qtest: this one has no other beside KVM), as none would fit under two emulations; it answers on its
# socket as any other does. It runs from its start, as a guest's does: one that is stopped keeps each descriptor, used or not.

. /tests/stublibrary.sh

if [ ! -e /guests/qemu.cpio ]; then
    skip "a stub domain starts QEMU" "there is no qemu-system-x86_64-microvm here to put into it"
elif memory=160 stub qemu pvh qemu.cpio ""; then
    vm=$(xenstore-read "/local/domain/$domain/vm")
    xenstore-write "/local/domain/$domain/target" "$domain"
    number=0
    for word in -machine none -accel qtest -nodefaults -no-user-config -display none -name "guest,debug-threads=on"; do
        xenstore-write -- "$vm/image/dm-argv/$(printf %03d $number)" "$word"
        number=$((number + 1))
    done
    # What a domain that is not restored has as well: a console for its state, without an output.
    xenstore-write "/local/domain/$domain/device/console/2/limit" 1048576 "/local/domain/$domain/device/console/2/type" xenconsoled
    xenstore-write "$data/go" 1
    # asks TEXT QUESTION: asks, and leaves when the answer has the text in it.
    asks() {
        echo '{"execute":"qmp_capabilities"}' "$2"
        tries=0
        until grep -q "$1" /tmp/qmp || ! xl domid qemu >/dev/null 2>&1 || [ $tries -ge 600 ]; do sleep 0.5 && tries=$((tries + 1)); done
    }
    # client TEXT QUESTION: one client of the vchan; what came, in one line, is in /tmp/qmp.line.
    client() {
        : >/tmp/qmp
        asks "$@" | timeout 600 mini-grant pipe --client --domain "$domain" --path "$data/qmp" --reconnect-marker 1 \
            --deadline 600 >/tmp/qmp 2>/tmp/log
        tr -d '\r\n ' </tmp/qmp >/tmp/qmp.line
    }
    # answers SENTENCE: QEMU has greeted whoever came last, and said its name.
    answers() {
        case $(cat /tmp/qmp.line) in
        '{"QMP":{"version":'*'{"return":{"name":"guest"}}'*) pass "$1" ;;
        *) fail "$1" "$(head -c 1500 /tmp/qmp.line) $(cat /tmp/log)" ;;
        esac
    }
    client '"guest"' '{"execute":"query-name"}'
    answers "QEMU answers domain 0 through a vchan, by the name that the store gave it"
    client SHUTDOWN '{"execute":"query-name"} {"execute":"query-fdsets"} {"execute":"quit"}'
    answers "  and the next one, who comes at once"
    case $(cat /tmp/qmp.line) in
    *'"fdset-id":3'*'"fdset-id":2'* | *'"fdset-id":2'*'"fdset-id":3'*) pass "  and still has the descriptors of its start and of its socket, which nobody uses" ;;
    *) fail "  and still has the descriptors of its start and of its socket, which nobody uses" "$(head -c 1500 /tmp/qmp.line)" ;;
    esac
    gone
    check "  and the domain ends with it" "$reason" = 0
    [ "$reason" = 0 ] || tail -n 20 /tmp/guest-qemu.log
fi
