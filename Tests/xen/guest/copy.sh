# mini-grant copy, map --exec and map --hold in PV dom0, against pages that libxengnttab grants.

head -c 16384 /dev/urandom >/tmp/pages
cp /tmp/pages /tmp/original
granter 0 /tmp/pages && writable=$references first=${references%%,*}
granter 0 /tmp/original readonly && readonly=${references%%,*}

run mini-grant copy --domain 0 --ref "$writable" --out /tmp/copy
check "copy --out writes four pages" "$code $(cmp /tmp/copy /tmp/original 2>&1)" = "0 "
mini-grant copy --domain 0 --ref "$writable" --offset 0xffa --length 13 >/tmp/copy
tail -c +4091 /tmp/original | head -c 13 >/tmp/part
check "copy --offset --length crosses a page's end" "$(cmp /tmp/copy /tmp/part 2>&1)" = ""
head -c 16384 /dev/urandom >/tmp/new
run mini-grant copy --domain 0 --ref "$writable" --in /tmp/new
grants map 0 "$writable" /tmp/copy
check "copy --in fills the pages" "$code $(cmp /tmp/copy /tmp/new 2>&1)" = "0 "
run mini-grant copy --domain 0 --ref "$first,16368"
expect "copy names the bad reference" 4 "" "mini-grant: grant 16368 of domain 0: no such grant"
run mini-grant copy --domain 4242 --ref 8
expect "copy of a domain that is not there" 4 "" "mini-grant: grant 8 of domain 4242: no such domain"
run mini-grant copy --domain 0 --ref "$readonly" --in /tmp/new --length 16
expect "copy into a read-only grant" 4 "" "mini-grant: grant $readonly of domain 0: not granted to this domain, or not for this"

mini-grant map --domain 0 --ref "$writable" --exec inherited >/tmp/copy
check "map --exec: the program maps the pages" "$(cmp /tmp/copy /tmp/new 2>&1)" = ""
mini-grant map --domain 0 --ref "$first" --write --exec /bin/inherited "by inheritance" >/tmp/copy
mini-grant map --domain 0 --ref "$first" --length 14 >/tmp/part
check "map --exec --write: and writes to them" "$(cat /tmp/part) $(head -c 14 /tmp/copy)" = "by inheritance by inheritance"
run mini-grant map --domain 0 --ref "$readonly" --write --exec inherited word
expect "map --exec --write of a read-only grant is told before" 4 "" "mini-grant: grant $readonly of domain 0: granted for reading only"
run mini-grant map --domain 0 --ref "$first" --exec no-such-program
expect "map --exec of no program" 1 "" "mini-grant: cannot run \"no-such-program\": no such file (ENOENT)"
end_granters

# holds NAME SIGNAL CODE COMMAND...: what holds a page, armed with both notifications, ends by a signal.
holds() {
    local name=$1 signal=$2 wanted=$3 reference port
    shift 3
    rm -f /tmp/await /tmp/held
    grants await 0 17 300 >/tmp/await &
    local waiter=$!
    until [ -s /tmp/await ]; do sleep 0.05; done
    read -r reference port </tmp/await
    "$@" --ref "$reference" --notify-port "$port" >/tmp/held 2>&1 &
    local holder=$!
    until [ -s /tmp/held ]; do sleep 0.05; done
    sleep 0.2
    check "$name: nothing before its end" "$(wc -l </tmp/await) $(cat /tmp/held)" = "1 grant $reference of domain 0 mapped"
    kill "-$signal" $holder
    wait $holder
    code=$?
    wait $waiter
    check "$name: byte and event arrive" "$code $(tail -n 1 /tmp/await)" = "$wanted event 0"
}
holds "map --hold, SIGTERM" TERM 0 mini-grant map --domain 0 --hold --notify-byte 17
holds "map --hold, SIGHUP" HUP 0 mini-grant map --domain 0 --hold --notify-byte 17
holds "map --hold, SIGKILL" KILL 137 mini-grant map --domain 0 --hold --notify-byte 17
run mini-grant map --domain 0 --ref 8 --hold --notify-port 999
expect "a port that the other domain has not made" 4 "" "mini-grant: Xen does not bind event port 999 of domain 0: *"
