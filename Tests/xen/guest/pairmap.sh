# mini-grant map between two domains, both ways. The granter is libxengnttab's.

sum() { sha256sum "$1" | cut -d' ' -f1; }

head -c 12288 /dev/urandom >/tmp/pages
before=$(sum /tmp/pages)
granter "$domain" /tmp/pages
there "mini-grant map --domain 0 --ref $references --out /tmp/copy && sha256sum </tmp/copy"
check "$type: maps what dom0 granted" "$code $output" = "0 $before  -"
there "yes new text | head -c 12288 >/tmp/new; mini-grant map --domain 0 --ref $references --in /tmp/new && sha256sum </tmp/new"
new=${output%  -}
end_granters
check "$type: writes into what dom0 granted" "$code $(sum /tmp/pages)" = "0 $new"

there 'head -c 12288 /dev/urandom >/tmp/pages; sha256sum </tmp/pages; rm -f /tmp/refs; grants share 0 /tmp/pages >/tmp/refs & echo $! >/tmp/pid
    until [ -s /tmp/refs ]; do sleep 0.1; done; cat /tmp/refs'
before=${output%%  -*} references=${output##* }
run mini-grant map --domain "$domain" --ref "$references" --out /tmp/copy
check "dom0 maps what a $type domain granted" "$code $(sum /tmp/copy)" = "0 $before"
run mini-grant map --domain "$domain" --ref "$references,16000"
expect "dom0 is told which grant of a $type domain is none" 4 "" "mini-grant: grant 16000 of domain $domain: no such grant"
yes "other text" | head -c 12288 >/tmp/new
run mini-grant map --domain "$domain" --ref "$references" --in /tmp/new
there 'kill $(cat /tmp/pid); while [ -d /proc/$(cat /tmp/pid) ]; do sleep 0.1; done; sha256sum </tmp/pages'
check "dom0 writes into what a $type domain granted" "$output" = "$(sum /tmp/new)  -"

# notices NAME COMMAND END: dom0 grants a page and waits; the other domain holds it with COMMAND, armed with both
# notifications, and ends that with END.
notices() {
    local reference port
    rm -f /tmp/await
    grants await "$domain" 17 300 >/tmp/await &
    until [ -s /tmp/await ]; do sleep 0.05; done
    read -r reference port </tmp/await
    there "rm -f /tmp/held; $(echo "$2" | sed "s/REF/$reference/; s/PORT/$port/") >/tmp/held 2>&1 & echo \$! >/tmp/pid
        until [ -s /tmp/held ]; do sleep 0.1; done; head -c 300 /tmp/held; sleep 0.3"
    local held=$output
    check "$1: nothing before its end" "$(wc -l </tmp/await) $(echo "$held" | grep -c '^mini-grant:')" = "1 0"
    there "$3"
    wait $!
    check "$1: byte and event arrive" "$(tail -n 1 /tmp/await)" = "event 0"
}
notices "$type: libxengnttab, SIGTERM" "grants hold 0 REF 17 PORT" 'kill $(cat /tmp/pid)'
notices "$type: libxengnttab, SIGKILL" "grants hold 0 REF 17 PORT" 'kill -9 $(cat /tmp/pid)'
notices "$type: mini-grant, SIGTERM" "mini-grant map --domain 0 --ref REF --hold --notify-byte 17 --notify-port PORT" 'kill $(cat /tmp/pid)'
notices "$type: mini-grant, SIGKILL" "mini-grant map --domain 0 --ref REF --hold --notify-byte 17 --notify-port PORT" 'kill -9 $(cat /tmp/pid)'

# The store takes the references across.
head -c 20000 /dev/urandom >/tmp/content
xenstore-write "/local/domain/$domain/data/share" ""
rm -f /tmp/shared
mini-grant share --domain "$domain" --in /tmp/content --publish "/local/domain/$domain/data/share" --hold >/tmp/shared 2>&1 &
sharer=$!
until [ -s /tmp/shared ]; do sleep 0.05; done
there 'mini-grant map --domain 0 --ref @data/share --length 20000 --out /tmp/copy && sha256sum </tmp/copy'
check "$type: maps what mini-grant shared in dom0, by the store" "$code $output" = "0 $(sum /tmp/content)  -"
there 'mini-grant copy --domain 0 --ref @data/share --length 20000 --out /tmp/copy && sha256sum </tmp/copy'
check "$type: copies it" "$code $output" = "0 $(sum /tmp/content)  -"
kill $sharer && wait $sharer
check "dom0: the share ends with 0" $? = 0

there 'head -c 20000 /dev/urandom >/tmp/content; sha256sum </tmp/content; rm -f /tmp/shared
    mini-grant share --domain 0 --in /tmp/content --writable --publish data/share --hold >/tmp/shared 2>&1 & echo $! >/tmp/pid
    until [ -s /tmp/shared ]; do sleep 0.1; done'
before=${output%%  -*}
run mini-grant map --domain "$domain" --ref "@/local/domain/$domain/data/share" --length 20000 --out /tmp/copy
check "dom0 maps what mini-grant shared in a $type domain, by the store" "$code $(sum /tmp/copy)" = "0 $before"
run mini-grant copy --domain "$domain" --ref "@/local/domain/$domain/data/share" --in /tmp/copy --offset 4096 --length 16384
there 'kill $(cat /tmp/pid)'
check "dom0 copies into it" "$code $errors" = "0 "

# The other way round: dom0 holds a page of the other domain, or of its own.
dom0_notices() {
    there "rm -f /tmp/await; grants await 0 17 300 >/tmp/await & until [ -s /tmp/await ]; do sleep 0.1; done; cat /tmp/await"
    local reference=${output% *} port=${output#* }
    rm -f /tmp/held
    mini-grant map --domain "$domain" --ref "$reference" --write --hexdump --hold --length 16 --notify-byte 17 \
        --notify-port "$port" >/tmp/held 2>&1 &
    until [ -s /tmp/held ]; do sleep 0.05; done
    kill "$1" $!
    there 'until [ $(wc -l </tmp/await) = 2 ]; do sleep 0.1; done; tail -n 1 /tmp/await'
    check "$type: a domain notices dom0's map --hold end by $1" "$output" = "event 0"
}
dom0_notices -TERM
dom0_notices -KILL

# The sharer's end is noticed by the domain that maps.
share_notices() {
    there "rm -f /tmp/observe /tmp/ref; grants observe 0 17 300 /tmp/ref >/tmp/observe 2>&1 &
        until [ -s /tmp/observe ]; do sleep 0.1; done; cat /tmp/observe"
    rm -f /tmp/references
    yes | head -c 4096 | mini-grant share --domain "$domain" --in - --pages 1 --hold --notify-byte 17 --notify-port "$output" \
        >/tmp/references 2>&1 &
    until [ -s /tmp/references ]; do sleep 0.05; done
    there "echo $(cat /tmp/references) >/tmp/ref; until [ \$(wc -l </tmp/observe) = 2 ]; do sleep 0.1; done; tail -n 1 /tmp/observe"
    local before=$output
    kill "$1" $!
    there 'until [ $(wc -l </tmp/observe) = 3 ]; do sleep 0.1; done; tail -n 1 /tmp/observe'
    check "$type: a domain notices dom0's share end by $1" "$before, $output" = "mapped 10, event 0"
}
share_notices -TERM
share_notices -KILL
