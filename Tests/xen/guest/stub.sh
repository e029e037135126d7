# Stub domains: mini is the only program in them, their boot table says what they do. It comes with the kernel's
# command line or in the initramfs; references, ports and the guest's kernel come from dom0, by the store.

. /tests/stublibrary.sh

# whole NAME TYPE INITRAMFS WORDS: a stub domain does all that there is to do.
whole() {
    stub "$@" || return 0
    rm -f /tmp/stub.shared.in /tmp/stub.shared.kernel
    head -c 300000 /dev/urandom >/tmp/stub.in
    mini-grant share --domain "$domain" --in /tmp/stub.in --publish "$data/in" --hold >/tmp/stub.shared.in 2>&1 &
    sharers=$!
    mini-grant share --domain "$domain" --in /guests/demo --publish "$data/kernel" --hold >/tmp/stub.shared.kernel 2>&1 &
    sharers="$sharers $!"
    head -c 303104 /dev/zero >/tmp/stub.out
    granter "$domain" /tmp/stub.out && xenstore-write "$data/out" "$references"
    awaits control && xenstore-write "$data/control" "$reference" "$data/control-port" "$port"
    awaits bell ring && xenstore-write "$data/port" "$port"
    until [ -s /tmp/stub.shared.in ] && [ -s /tmp/stub.shared.kernel ]; do sleep 0.05; done
    check "$1: held grants notice nothing yet" "$(wc -l </tmp/stub.control)" = 1
    xenstore-write "$data/go" 1
    gone
    end_granters
    # shellcheck disable=SC2086
    kill $sharers && wait $sharers
    check "$1: the domain powers off" "$reason" = 0
    head -c 300000 /tmp/stub.out >/tmp/stub.part
    check "$1: what it wrote back is what it was granted" "$(cmp /tmp/stub.part /tmp/stub.in 2>&1)" = ""
    came bell >/tmp/stub.came
    check "$1: its event arrives" "$(cat /tmp/stub.came)" = "event 255"
    came control >/tmp/stub.came
    check "$1: at its end byte and event of the grant it held" "$(cat /tmp/stub.came)" = "event 0"
    said "$1: the guest whose kernel dom0 granted runs, its console is the domain's" \
        "*running under mini-launch*" "Powering off." "mini-init: powering off"
}

line="$devices mini.on-error=poweroff mini.verbose mini.wait=\"store data/go value=1 deadline=600s\"
 mini.grant=\"in 0 @data/in to=/run/in\" mini.grant=\"out 0 @data/out from=/run/in\"
 mini.grant=\"control 0 @data/control write hold notify-byte=17 notify-port=@data/control-port\"
 mini.notify=\"0 @data/port\" mini.run=\"mini-grant store set data/state taken\" mini.launch=\"--memory 8 @data/kernel\""

for type in ${types:-pv pvh}; do
    whole "stub-$type" "$type" stub.cpio "$line"
    whole "stubtable-$type" "$type" stubtable.cpio ""
done

# What a start-up script would ask the store for: words, lists, conditions, entries that come late.
stub words pv stub.cpio "$devices mini.on-error=poweroff mini.verbose mini.wait=\"store data/go value=1 deadline=600s\"
 mini.run=\"mini-grant store set data/said <@{/local/domain/@{data/own}/data/name}>@{data/none:-usual}\"
 mini.run=\"mini-grant store set @{data/words/*}\" mini.if=\"exists data/name\" mini.if=\"store data/none = 1\" mini.exec=/none
 mini.else mini.run=\"mini-grant store set data/branch right\" mini.end mini.end
 mini.grant=\"late 0 @data/late to=/run/late deadline=600s\" mini.run=\"mini-grant store set @{data/holes/*}\""
xenstore-write "$data/own" "$domain" "$data/name" "two  words" "$data/words/001" data/listed "$data/words/002" "a b" \
    "$data/holes/1" data/a "$data/holes/3" b "$data/go" 1
mini-grant store wait --value right --deadline 600 "$data/branch" >/dev/null
head -c 4096 /dev/urandom >/tmp/stub.page
granter "$domain" /tmp/stub.page readonly && xenstore-write "$data/late" "$references"
check "words of a program come from the store" "$(xenstore-read "$data/said")" = "<two  words>usual"
check "and a list of entries is an argument each" "$(xenstore-read "$data/listed")" = "a b"
gone
end_granters
said "what cannot be read is false and said once; a grant waits for its entry; a list with a hole is told with its place" \
    "mini-init: /proc/cmdline:1:*: cannot read \"data/none\": no such entry (ENOENT)" \
    "mini-init: /proc/cmdline:1:*: the list below \"data/holes\" has a hole: there is no 2" "mini-init: powering off"
