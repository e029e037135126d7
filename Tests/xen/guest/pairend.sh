# The second domain is destroyed while dom0 has its pages mapped and a pipe to it runs: nothing waits for ever.

grant_there
mini-grant map --domain "$domain" --ref "$references" --hold >/tmp/held 2>/tmp/log &
holder=$!
there "mkfifo /tmp/never; vchan client 0 ${path}5 relay <>/tmp/never >/dev/null 2>&1 & true"
mini-grant pipe --server --domain "$domain" --path "${path}5" </dev/zero >/dev/null 2>/tmp/log2 &
piper=$!
# Until the page is mapped and the pipe has sent more than its ring holds.
tries=0
until { [ -s /tmp/held ] && [ "$(awk '/^rchar/ { print $2 }' /proc/$piper/io)" -gt 10000000 ]; } || [ $tries -ge 600 ]; do
    sleep 0.1 && tries=$((tries + 1))
done
rm -f /tmp/shared
mini-grant share --domain "$domain" --publish "$path/shared" --hold >/tmp/shared 2>/tmp/log3 &
sharer=$!
until [ -s /tmp/shared ]; do sleep 0.05; done
there "mini-grant map --domain 0 --ref @$path/shared >/dev/null"
there 'mini-grant store list'
check "$type: store list in a domain, which may not see the root, is its own folder" "$code $(echo "$output" | grep -c domid)" = "0 1"
stop_domain
wait $sharer
check "$type: a share ends with 0 when its domain has ended" "$? $(cat /tmp/log3)" = "0 "
wait $piper
code=$?
case "$code $(cat /tmp/log2)" in
"4 mini-grant: domain $domain has ended, and left "*" bytes untaken") pass "$type: a pipe to a domain that is destroyed ends" ;;
*) fail "$type: a pipe to a domain that is destroyed ends" "$code $(cat /tmp/log2)" ;;
esac
# Its pages live on as long as somebody has them mapped.
kill $holder
wait $holder
check "$type: map --hold of it ends well all the same" "$? $(cat /tmp/log)" = "0 "
# Xen keeps what is left of the domain until its pages are given back.
tries=0
while xl list "$domain" >/dev/null 2>&1 && [ $tries -lt 600 ]; do sleep 0.1 && tries=$((tries + 1)); done
for command in map copy; do
    run mini-grant $command --domain "$domain" --ref "$references" --out /tmp/copy
    expect "$type: $command of a domain that is gone" 4 "" "mini-grant: grant ${references%%,*} of domain $domain: no such *"
done
