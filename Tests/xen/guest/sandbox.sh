# The sandbox of mini-grant in PV dom0: each feature of the page once, under a tracer, and what happens to somebody
# who has taken it over. The peers are libxenvchan's and libxengnttab's.

log=/tmp/calls.log
: >$log
traced() { CALLS_OF=grant exec calls $log "$@"; }
ours() { traced mini-grant pipe --domain 0 --path /test/vchan --verbose "$@"; }
# The first of them: one that was just forked is not called mini-assistant yet.
of_ours() { pidof mini-grant | tr ' ' '\n' | sort -n | head -n 1; }
# until_true COMMAND...
until_true() {
    tries=0
    until "$@" || [ $tries -ge 600 ]; do sleep 0.1 && tries=$((tries + 1)); done
}
has() { [ -s "$1" ]; }
connected() { grep -q gntdev "/proc/$1/maps"; }
published() { xenstore-exists /test/vchan/ring-ref; }

# map --hold, with a file, a notification, and something to say.
head -c 8192 /dev/urandom >/tmp/pages
rm -f /tmp/await /tmp/held /tmp/copy
grants await 0 17 300 >/tmp/await &
waiter=$!
until_true has /tmp/await
read -r reference port </tmp/await
(traced mini-grant map --domain 0 --ref "$reference" --write --hold --notify-port "$port" --out /tmp/copy >/tmp/held 2>/tmp/log) &
holder=$!
until_true has /tmp/copy
kill "$(of_ours)"
wait $holder
check "sandbox: map --hold under a tracer" "$? $(cat /tmp/log)" = "0 "
kill $waiter
granter 0 /tmp/pages
CALLS_OF=grant calls $log mini-grant map --domain 0 --ref "$references" --hold --out /dev/full >/tmp/held 2>/tmp/log
CALLS_OF=grant calls $log mini-grant map --domain 0 --ref "$references" --hold >/dev/full 2>/tmp/log
end_granters

# share --hold.
rm -f /tmp/shared
(traced mini-grant share --domain 0 --pages 2 --hold --publish /test/share >/tmp/shared 2>/tmp/log) &
holder=$!
until_true has /tmp/shared
pid=$(of_ours)
status() { awk -v name="$1:" '$1 == name { print $2 }' "/proc/$pid/status"; }
check "sandbox: share --hold is filtered, has no capabilities, and is nobody" \
    "$(status Seccomp) $(status NoNewPrivs) $(status CapEff) $(status CapBnd) $(status Uid)" = \
    "2 1 0000000000000000 0000000000000000 65534"
kill "$pid"
wait $holder
check "sandbox: share --hold takes its entry back all the same" \
    "$? $(xenstore-exists /test/share; echo $?) $(cat /tmp/log)" = "0 1 "

# pipe on standard input and output, with messages to a terminal: one peer after the other is killed. Rings whose entries
# are gone are not kept for the next one.
vchan make 400000 >/tmp/made
mkfifo /tmp/sandbox.never
(cat /tmp/made | (ours --server --reconnect 2>/dev/hvc0) | cat >/tmp/received) &
server=$!
for round in 1 2; do
    until_true published
    vchan client 0 /test/vchan relay </tmp/made >/tmp/relayed$round <>/tmp/sandbox.never &
    victim=$!
    # The first one gets what there is; the next one has to be served before it is killed.
    until_true connected $victim
    [ $round = 2 ] || { until_true has /tmp/relayed1 && xenstore-rm /test/vchan; }
    kill -9 $victim
    wait $victim
done
kill "$(of_ours)"
wait $server
xenstore-rm /test/vchan 2>/dev/null
# A client finds what a dead server has left; another one a server.
rm -f /tmp/await
grants await 0 17 300 >/tmp/await &
waiter=$!
until_true has /tmp/await
read -r reference port </tmp/await
xenstore-write /test/vchan/ring-ref 16368 /test/vchan/event-channel "$port"
(ours --client </dev/null >/tmp/received 2>/tmp/log)
check "sandbox: pipe --client finds which reference is wrong" "$? $(tail -n 1 /tmp/log)" = "4 mini-grant: grant 16368 of domain 0: no such grant"
xenstore-rm /test/vchan
vchan server 0 /test/vchan answer 300000 >/tmp/answered &
answerer=$!
(vchan make 300000 | (ours --client --deadline 300 2>/tmp/log) | vchan check 300000 >/tmp/output)
wait $answerer
check "sandbox: pipe --client under a tracer" "$(cut -d, -f1 /tmp/output)" = "300000 bytes"
xenstore-rm /test/vchan 2>/dev/null

# Both ends ours: each says when it has finished, and the rings are filled across their ends: a small one's content is written in
# two pieces where its writer is faster than who reads the output, which is why that one waits ever longer for it.
slowly() { head -c 1000 /tmp/made && sleep 1 && cat /tmp/made; }
for words in "" "--ring 1000"; do
    rounds=0
    while :; do
        # shellcheck disable=SC2086
        (slowly | (ours --server $words 2>/tmp/log) | (sleep $((2 + rounds)) && cat >/tmp/received)) &
        server=$!
        slowly | mini-grant pipe --client --domain 0 --path /test/vchan | (sleep 2 && cat >/tmp/received2)
        wait $server
        differences="$(slowly | cmp - /tmp/received) $(slowly | cmp - /tmp/received2)"
        rounds=$((rounds + 1))
        [ "$words$differences" = "--ring 1000 " ] && ! grep -q '^writev(output)' $log && [ $rounds -lt 20 ] || break
    done
    check "sandbox: pipe $words, both ends ours" "$differences" = " "
done
# The output ends before the input does: whoever reads it is what ends the input here.
rm -f /tmp/sandbox.ended
(until_true test -e /tmp/sandbox.ended) | (ours --server 2>/tmp/log) | { cat >/tmp/received; : >/tmp/sandbox.ended; } &
server=$!
# A server that its client has not come to waits for ever.
mini-grant pipe --client --domain 0 --path /test/vchan </dev/null >/dev/null ||
    { fail "sandbox: pipe --client of a server whose input goes on" "exit $?" && kill "$(of_ours)"; }
wait $server
vchan make 300000 >/tmp/made
(ours --server </tmp/made 2>/tmp/log | cat >/tmp/received) &
server=$!
until_true published
vchan client 0 /test/vchan receive 300000 >/tmp/output
wait $server
check "sandbox: pipe --server under a tracer" "$(cut -d, -f1 /tmp/output)" = "300000 bytes"

# Sockets: one at which it listens for one peer after the other, one to which it connects.
rm -f /tmp/socket.in /tmp/socket.out
(ours --client --reconnect --socket /tmp/socket.in 2>/tmp/log) &
client=$!
until_true test -e /tmp/socket.in
for round in 1 2; do
    vchan server 0 /test/vchan answer 300000 >/tmp/answered &
    vchan make 300000 | socket connect /tmp/socket.in >/tmp/answer$round
    wait $!
    xenstore-rm /test/vchan 2>/dev/null
done
check "sandbox: pipe --client --reconnect, somebody new at the socket" \
    "$(vchan check 300000 </tmp/answer2 | cut -d, -f1)" = "300000 bytes"
kill "$(of_ours)"
wait $client
check "sandbox: the socket's name is gone" ! -e /tmp/socket.in
# A small ring: what it holds lies across its end, and goes out in two pieces. Who of both is faster can keep that from
# happening, so as many clients come as it takes.
rounds=0
while :; do
    rm -f /tmp/socket.out
    socket listen /tmp/socket.out >/tmp/question </dev/null &
    listener=$!
    until_true test -S /tmp/socket.out
    if [ $rounds = 0 ]; then
        (ours --server --reconnect --ring 1000 --socket /tmp/socket.out 2>/tmp/log) &
        server=$!
    fi
    slowly | mini-grant pipe --client --domain 0 --path /test/vchan >/dev/null
    wait $listener
    rounds=$((rounds + 1))
    slowly | cmp - /tmp/question >/tmp/differences && ! grep -q '^writev(socket)' $log && [ $rounds -lt 20 ] || break
done
check "sandbox: pipe --server --reconnect --socket, what came" "$(cat /tmp/differences)" = ""
kill "$(of_ours)"
wait $server
kill $waiter
xenstore-rm /test 2>/dev/null

# The page's rows but three: every stream here can be opened once more, an assistant is asked when three seconds are over, and
# process 1 has no tracer.
awk -F'|' '/<!-- grant -->/ { on = 1 } /<!-- end -->/ { on = 0 } on && $2 !~ /cannot be opened|assistant|boot table/ { print $3 }' /tests/sandbox.md |
    grep -o '`[^`]*`' | tr -d '`' | sort -u >/tmp/wanted
grep -v '(assistant)' $log | sort -u >/tmp/seen
check "sandbox: the calls of the page are those that a trace sees" "$(diff /tmp/wanted /tmp/seen | grep '^[-+][^-+]' | tr '\n' ';')" = ""

# Somebody has taken it over.
head -c 4096 /dev/urandom >/tmp/pages
granter 0 /tmp/pages
while read -r what words; do
    CALLS_INSTEAD=$words calls /dev/null mini-grant map --domain 0 --ref "$references" --hold >/tmp/held 2>&1
    check "sandbox: who takes it over and tries $what is ended by SIGSYS" $? = 159
done <<'ATTEMPTS'
open 2 0 0
execve 59 0 0 0
unlink 87 0
fork 57
a-socket 41 1 1 0
a-signal 62 1 15
executable-memory 9 0 4096 7 0x22 -1 0
another-grant 16 3 0x184700 0
ATTEMPTS
end_granters
