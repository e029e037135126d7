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
expect "share above gntalloc's limit" 1 "" "mini-grant: cannot share 1025 pages for domain 0: gntalloc lends at most 1024 pages at a time in all"
xenstore-rm /shared
