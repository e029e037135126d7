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
there 'for what in "share --domain 0 --publish data/own --hold" "pipe --server --domain 0 --path data/vchan"; do
        (mini-grant $what </dev/null >/tmp/said.${what%% *} 2>&1; echo "$? $(tail -n 1 /tmp/said.${what%% *})" >/tmp/end.${what%% *}) & done
    mini-grant store wait data/own; mini-grant store wait data/vchan/ring-ref'
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
ended "dom0's share for a domain that was saved" /tmp/log $sharer "domain $old *"
ended "dom0's pipe --server for a domain that was saved" /tmp/log2 $piper "domain $old has ended"
xl restore /tmp/saved >/tmp/output 2>&1
domain=$(xl domid pv)
check "it is restored as another domain" "$domain" != "$old"
for what in share pipe; do
    there "until [ -s /tmp/end.$what ]; do sleep 0.2; done; cat /tmp/end.$what"
    check "the restored domain's $what notices" "$output" = \
        "4 mini-grant: this domain was restored as domain $domain: nobody has its pages any more"
done
rm -f /tmp/saved
stop_domain
