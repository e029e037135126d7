# mini-grant share, probe, and what map alone can do, in PV dom0.

# sharer WORDS...: mini-grant share in the background; sets $references.
sharer() {
    rm -f /tmp/references
    mini-grant share "$@" >/tmp/references 2>&1 &
    until [ -s /tmp/references ]; do sleep 0.05; done
    references=$(cat /tmp/references)
}
# end_sharer: sets $code.
end_sharer() {
    kill $!
    wait $!
    code=$?
}

head -c 12000 /dev/urandom >/tmp/pages
{ cat /tmp/pages && head -c 288 /dev/zero; } >/tmp/padded
sharer --domain 0 --in /tmp/pages --hold
grants map 0 "$references" /tmp/copy
check "share --in: libxengnttab maps it, the rest is zeros" "$(cmp /tmp/padded /tmp/copy 2>&1)" = ""
run grants fill 0 "$references" /tmp/padded
check "share without --writable cannot be written" $code = 1
end_sharer
run mini-grant map --domain 0 --ref "$references"
expect "share takes the grants back at SIGTERM" 4 "" "mini-grant: grant ${references%%,*} of domain 0: *"
check "share ends well at SIGTERM" "$(cat /tmp/references)" = "$references"

sharer --domain 0 --pages 2 --writable --publish /test/share --hold
check "share --publish writes the references" "$(xenstore-read /test/share)" = "$references"
head -c 8192 /dev/urandom >/tmp/new
grants fill 0 "$references" /tmp/new
mini-grant map --domain 0 --ref @/test/share >/tmp/copy
check "share --writable: what libxengnttab writes, map reads" "$(cmp /tmp/new /tmp/copy 2>&1)" = ""
end_sharer
run xenstore-read /test/share
check "share --publish withdraws the entry" $code = 1
xenstore-rm /test

run mini-grant share --domain 0 --pages 1025 --hold
expect "share of more than gntalloc lends" 1 "" "mini-grant: *1024*"
run mini-grant share --domain 0 --pages 0 --hold
expect "share of no page" 2 "" "mini-grant: *"

mini-grant map --domain 0 --ref 8 >/dev/null 2>&1
granter 0 /tmp/new
mini-grant map --domain 0 --ref "$references" --hexdump >/tmp/copy
check "map --hexdump is what hexdump -C writes" "$(hexdump -C /tmp/new | cmp - /tmp/copy 2>&1)" = ""
run mini-grant map --domain 0 --ref "$references" --exec grants inherit /tmp/copy
check "map --exec: a program maps what it inherits" "$code $(cmp /tmp/new /tmp/copy 2>&1)" = "0 "
run mini-grant map --domain 0 --ref "$references" --exec /tmp/none
expect "map --exec of no program" 1 "" "mini-grant: cannot run \"/tmp/none\": no such file (ENOENT)"
end_granters

run mini-grant probe
expect "probe in dom0" 0 "*gntdev*gntalloc*evtchn*xenbus*" ""
run mini-grant probe --json
expect "probe --json in dom0" 0 "{*\"gntdev\"*}" ""
rmmod xen-gntalloc
run mini-grant probe
expect "probe names the module that is missing" 3 "*xen-gntalloc*" ""
insmod /modules/xen-gntalloc.ko
