# A domain is saved to a file and restored from it: it has another number then, and what was granted before leads
# nowhere. Whoever holds such pages or waits for the old domain notices by itself, on both sides.

# ended NAME LOG PROCESS LINE: the process has ended with 4 and this line.
ended() {
    wait "$3"
    code=$?
    # shellcheck disable=SC2254
    case "$code $(cat "$2")" in
    "4 mini-grant: "$4) pass "$1" ;;
    *) fail "$1" "exit $code: $(cat "$2")" ;;
    esac
}

start_domain pv || return 0
old=$domain
# What each says at its end, and the code before it. The kernel (6.1) does not let a process end that closes an event
# channel from before (BUG in evtchn.c): whoever has one must not.
there 'cd /tmp && mkfifo idle && rm -f share.end pipe.end bind.end killed.end
    for what in "share share --domain 0 --publish data/own --hold" "bind event bind --domain 0 --publish data/bell" \
        "pipe pipe --server --domain 0 --path data/pipe" "killed pipe --server --domain 0 --path data/killed"; do
        (set -- $what; name=$1; shift; mini-grant "$@" <>idle >/dev/null 2>$name.said & echo $! >$name.process; wait $!; echo "$? $(tail -n 1 $name.said)" >$name.end) &
    done
    for path in data/own data/bell data/pipe/ring-ref data/killed/ring-ref; do mini-grant store wait $path >/dev/null; done
    kill -STOP "$(cat killed.process)"'
rm -f /tmp/shared
mini-grant share --domain "$domain" --publish "/local/domain/$domain/data/shared" --hold >/tmp/shared 2>/tmp/log &
sharer=$!
mini-grant pipe --server --domain "$domain" --path "/local/domain/$domain/data/other" --deadline 600 </dev/null >/dev/null 2>/tmp/log2 &
piper=$!
until [ -s /tmp/shared ] && xenstore-exists "/local/domain/$domain/data/other/ring-ref"; do sleep 0.1; done
# The domain takes the word suspend out of the store as soon as it is there. Whoever sleeps then, does not see it; that
# the domain is down for it can be seen until its memory is written.
kill -STOP $sharer
xl save pv /tmp/saved >/tmp/output 2>&1 &
saver=$!
until xl list | grep -q '^pv .* [^ ]*s[^ ]* '; do sleep 0.05; done
kill -CONT $sharer
if wait $saver; then pass "a domain is saved"; else
    fail "a domain is saved" "$(tr '\n' ' ' </tmp/output)"
    stop_domain
    return 0
fi
ended "dom0's share for a domain that was saved" /tmp/log $sharer \
    "domain $old was suspended: should it be restored, it is another domain"
ended "dom0's pipe --server for a domain that was saved" /tmp/log2 $piper "domain $old has ended"
xl restore /tmp/saved >/tmp/output 2>&1
domain=$(xl domid pv)
check "it is restored as another domain" "$domain" != "$old"
# The side that obeys said only once that it is there, under the old number.
xenstore-write "/local/domain/$domain/data/done" "0 0"
# One of them is told to end before it can have noticed.
there 'kill "$(cat /tmp/killed.process)"; kill -CONT "$(cat /tmp/killed.process)"
    until [ -s /tmp/killed.end ]; do sleep 0.2; done; cut -d" " -f1 /tmp/killed.end'
check "the restored domain's pipe ends by a signal" "$output" = 143
for what in share pipe bind; do
    there "until [ -s /tmp/$what.end ]; do sleep 0.2; done; cat /tmp/$what.end"
    check "the restored domain's $what notices" "$output" = \
        "4 mini-grant: this domain was restored as domain $domain: nobody has its pages any more"
done
there 'dmesg | grep -c "kernel BUG"'
check "  and the kernel lives" "$output" = 0
rm -f /tmp/saved
stop_domain
