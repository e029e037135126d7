# mini-grant share in PV dom0, mapped by libxengnttab and by mini-grant.

# shares COMMAND...: starts a share; sets $shared and $references.
shares() {
    rm -f /tmp/shared
    "$@" >/tmp/shared 2>&1 &
    shared=$!
    until [ -s /tmp/shared ]; do sleep 0.05; done
    references=$(cat /tmp/shared)
}
# taken_back NAME: ends the share with SIGTERM.
taken_back() {
    kill $shared
    wait $shared
    check "$1: SIGTERM is its normal end" $? = 0
    run mini-grant map --domain 0 --ref "$references"
    expect "$1: taken back at the end" 4 "" "mini-grant: grant ${references%%,*} of domain 0: not granted to this domain*"
}

head -c 10000 /dev/urandom >/tmp/content
shares mini-grant share --domain 0 --in /tmp/content --hold
check "share tells three references for 10000 bytes" "$(echo "$references" | tr ',' '\n' | grep -c '^[0-9]*$')" = 3
grants map 0 "$references" /tmp/copy
head -c 10000 /tmp/copy >/tmp/part
check "share: libxengnttab maps what the file held" "$(cmp /tmp/part /tmp/content 2>&1)" = ""
check "share: the rest is zero" "$(tail -c 2288 /tmp/copy | tr -d '\0' | wc -c)" = 0
run mini-grant map --domain 0 --ref "$references" --write
expect "share is for reading only without --writable" 4 "" "mini-grant: grant ${references%%,*} of domain 0: granted for reading only"
taken_back "share"

shares mini-grant share --domain 0 --pages 2 --writable --hold
head -c 8192 /dev/urandom >/tmp/new
run mini-grant map --domain 0 --ref "$references" --in /tmp/new
mini-grant copy --domain 0 --ref "$references" >/tmp/copy
check "share --writable: the other side writes" "$code $(cmp /tmp/copy /tmp/new 2>&1)" = "0 "
taken_back "share --writable"

shares mini-grant share --domain 0 --in /tmp/content --publish /shared/refs --hold
run mini-grant map --domain 0 --ref @/shared/refs --length 10000 --out /tmp/copy
check "share --publish, map --ref @PATH" "$code $(cmp /tmp/copy /tmp/content 2>&1)" = "0 "
run xenstore-ls -p /shared
expect "share --publish: the domain may read, and nobody else" 0 "*refs = \"$references\" *(n0,r0)*" ""
xenstore-write /shared/domain 0
run mini-grant map --domain @/shared/domain --ref @/shared/refs --length 10000 --out /tmp/copy
check "map --domain @PATH" "$code $(cmp /tmp/copy /tmp/content 2>&1)" = "0 "
xenstore-write /shared/domain zero
run mini-grant map --domain @/shared/domain --ref @/shared/refs
expect "map --domain @PATH of what is no domain" 4 "" 'mini-grant: "zero", which the store has at "/shared/domain", is no domain: 0 to 32751'
taken_back "share --publish"
check "share --publish: the entry is gone with it" "$(xenstore-exists /shared/refs; echo $?)" = 1
run mini-grant map --domain 0 --ref @/shared/refs
expect "map --ref @PATH of nothing" 4 "" "mini-grant: *shared/refs*(ENOENT)"

run mini-grant share --domain 0 --pages 1025 --hold
expect "share above gntalloc's limit" 1 "" "mini-grant: cannot share 1025 pages for domain 0: gntalloc lends at most 1024 pages at a time in all; a larger number in /sys/module/xen_gntalloc/parameters/limit changes that, if this domain's grant table has room"
run mini-grant share --domain 0 --publish / --hold
expect "share --publish of the root" 2 "" 'mini-grant: "/" is the whole store: name an entry in it'

# Nothing is cut: what does not fit, changes nothing.
head -c 5000 /dev/urandom >/tmp/long
shares mini-grant share --domain 0 --pages 1 --writable --hold
for command in map copy; do
    run mini-grant $command --domain 0 --ref "$references" --in /tmp/long
    expect "$command --in of a file that is too long" 2 "" 'mini-grant: "/tmp/long" has more than the 4096 bytes that are to be filled'
done
check "  changes nothing" "$(mini-grant map --domain 0 --ref "$references" | tr -d '\0' | wc -c)" = 0
taken_back "share that nobody filled"
cat /tmp/long | mini-grant share --domain 0 --in - --pages 1 --publish /shared/cut --hold >/tmp/output 2>/tmp/errors
check "share of a pipe with more than the pages hold publishes nothing" \
    "$? $(xenstore-exists /shared/cut; echo $?) $(cat /tmp/errors)" = '2 1 mini-grant: "-" has more than the 4096 bytes that are to be filled'

# An entry that somebody else has put there stays, and so does what is below it.
shares mini-grant share --domain 0 --publish /shared/other --hold
xenstore-write /shared/other 7 /shared/folder/below 1
kill $shared && wait $shared
check "share removes only its own entry" "$(xenstore-read /shared/other)" = 7

xenstore-rm /shared

# Events, both ways.
mini-grant event bind --domain 0 --publish /test/port --deadline 300 >/tmp/bound 2>/tmp/bound.errors &
bound=$!
run mini-grant store wait --deadline 300 /test/port
run mini-grant event notify --domain 0 --port @/test/port
expect "event notify" 0 "" ""
wait $bound
check "event bind prints its port, and ends with the event" "$? $(grep -c '^[0-9]*$' /tmp/bound) $(cat /tmp/bound.errors)" = "0 1 "
check "event bind takes its entry back" "$(xenstore-exists /test/port; echo $?)" = 1
mini-grant event bind --domain 0 --publish /test/port --count 2 --deadline 300 >/tmp/bound 2>/tmp/bound.errors &
bound=$!
run mini-grant store wait --deadline 300 /test/port
run mini-grant event wait --domain 0 --port @/test/port --deadline 2.5
expect "event wait: the ring of binding is nobody's event" 5 "" "mini-grant: *in time"
kill $bound
wait $bound
xenstore-rm /test 2>/dev/null
