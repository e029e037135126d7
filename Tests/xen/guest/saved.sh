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
# Not a pipe: the kernel (6.1) does not let a process end that has an event channel from before (BUG in evtchn.c).
there 'rm -f /tmp/said /tmp/end; (mini-grant share --domain 0 --publish data/own --hold >/tmp/said 2>&1; echo "$? $(tail -n 1 /tmp/said)" >/tmp/end) &
    mini-grant store wait data/own'
rm -f /tmp/shared
mini-grant share --domain "$domain" --publish "/local/domain/$domain/data/shared" --hold >/tmp/shared 2>/tmp/log &
sharer=$!
mini-grant pipe --server --domain "$domain" --path "/local/domain/$domain/data/other" --deadline 600 </dev/null >/dev/null 2>/tmp/log2 &
piper=$!
until [ -s /tmp/shared ] && xenstore-exists "/local/domain/$domain/data/other/ring-ref"; do sleep 0.1; done
if xl save pv /tmp/saved >/tmp/output 2>&1; then pass "a domain is saved"; else
    fail "a domain is saved" "$(tr '\n' ' ' </tmp/output)"
    stop_domain
    return 0
fi
# The domain takes the word suspend out of the store as soon as it is there: who sees it in time ends with 4,
# to others the domain has ended.
wait $sharer
case "$? $(cat /tmp/log)" in
"0 " | "4 mini-grant: domain $old "*) pass "dom0's share for a domain that was saved ends" ;;
*) fail "dom0's share for a domain that was saved ends" "$(cat /tmp/log)" ;;
esac
ended "dom0's pipe --server for a domain that was saved" /tmp/log2 $piper "domain $old has ended"
xl restore /tmp/saved >/tmp/output 2>&1
domain=$(xl domid pv)
check "it is restored as another domain" "$domain" != "$old"
# The side that obeys said only once that it is there, under the old number.
xenstore-write "/local/domain/$domain/data/done" "0 0"
there 'until [ -s /tmp/end ]; do sleep 0.2; done; cat /tmp/end'
check "the restored domain's share notices" "$output" = \
    "4 mini-grant: this domain was restored as domain $domain: nobody has its pages any more"
rm -f /tmp/saved
stop_domain
