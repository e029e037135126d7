# mini-grant pipe in PV dom0 against libxenvchan, in both roles and directions, checked byte for byte. libxenvchan's
# side receives until the vchan is closed; ours waits for a silence, or with --linger 0 not at all.

size=10000000
ours="timeout 600 mini-grant pipe --domain 0 --path /test/vchan --deadline 300"

vchan make $size | $ours --server >/dev/null 2>/tmp/log &
run vchan client 0 /test/vchan receive $size
expect "pipe --server sends to libxenvchan's client" 0 "$size bytes, *" ""
wait $!
check "  and ends well" "$? $(cat /tmp/log)" = "0 "

$ours --server </dev/zero 2>/tmp/log | vchan check $size >/tmp/output &
vchan client 0 /test/vchan send $size
wait $!
check "pipe --server receives from libxenvchan's client" "$(cut -d, -f1 /tmp/output)" = "$size bytes"

vchan server 0 /test/vchan send $size &
$ours --client </dev/zero 2>/tmp/log | vchan check $size >/tmp/output
check "pipe --client receives from libxenvchan's server" "$(cut -d, -f1 /tmp/output)" = "$size bytes"
wait

vchan server 0 /test/vchan receive $size >/tmp/output &
vchan make $size | $ours --client --linger 0 >/dev/null 2>/tmp/log
wait $!
check "pipe --client sends to libxenvchan's server" "$(cut -d, -f1 /tmp/output)" = "$size bytes"

# Both ways at once, of different length: each goes on receiving when it has nothing more to send.
vchan make 3000000 | $ours --server --linger 10 2>/tmp/log | vchan check 5000000 >/tmp/output &
vchan make 5000000 | $ours --client --linger 10 2>/tmp/log2 | vchan check 3000000 >/tmp/output2
wait $!
check "pipe both ways at once" "$(cut -d, -f1 /tmp/output /tmp/output2 | tr '\n' ' ')" = "5000000 bytes 3000000 bytes "

# A question and its answer: libxenvchan cannot tell that either has ended.
for role in server client; do
    # Where a libxenvchan server was, its entries are.
    xenstore-rm /test/vchan 2>/dev/null
    case $role in server) other=client ;; client) other=server ;; esac
    vchan $other 0 /test/vchan answer 1000000 >/tmp/answered &
    began=$(cut -d. -f1 /proc/uptime)
    vchan make 1000000 | $ours --$role 2>/tmp/log | vchan check 1000000 >/tmp/output
    took=$(($(cut -d. -f1 /proc/uptime) - began))
    wait
    check "pipe --$role, no --linger: libxenvchan's answer arrives, and then it ends" \
        "$(cut -d, -f1 /tmp/answered /tmp/output | tr '\n' ' ')$((took < 20)) $(cat /tmp/log)" = \
        "1000000 bytes 1000000 bytes 1 "
done
xenstore-rm /test/vchan 2>/dev/null

# Through sockets on both sides, half-closed: what comes back comes after the end of what went.
rm -f /tmp/socket.in /tmp/socket.out
socket listen /tmp/socket.out >/tmp/question &
listening=$!
$ours --server --socket /tmp/socket.out 2>/tmp/log &
server=$!
$ours --client --socket /tmp/socket.in 2>/tmp/log2 &
client=$!
vchan make 3000000 | socket connect /tmp/socket.in >/tmp/answer
wait $listening $server $client
check "pipe through sockets both ways, half-closed" \
    "$(vchan check 3000000 </tmp/question | cut -d, -f1) $(vchan check 2000000 </tmp/answer | cut -d, -f1) $(cat /tmp/log /tmp/log2)" = \
    "3000000 bytes 2000000 bytes "
check "  and the socket's name is gone" ! -e /tmp/socket.in
rm /tmp/socket.out

run mini-grant pipe --client --domain 0 --path /test/none --deadline 1
expect "pipe --client, nobody comes" 5 "" "mini-grant: *"

# A libxenvchan sender is killed in the middle: it could not have said that it had sent all, so a line says that.
vchan server 0 /test/vchan relay </dev/zero >/dev/null &
victim=$!
$ours --client </dev/null >/dev/null 2>/tmp/log &
client=$!
# Until the client has passed on something.
tries=0
until [ "$(awk '/^wchar/ { print $2 }' /proc/$client/io)" -gt 1000000 ] || [ $tries -ge 600 ]; do
    sleep 0.1 && tries=$((tries + 1))
done
kill -9 $victim
wait $client
code=$?
case "$code $(cat /tmp/log)" in
"0 mini-grant: the other domain has closed the vchan after "*" bytes; its program cannot say whether that was all")
    pass "pipe, libxenvchan's sender is killed: a line says what is not known" ;;
*) fail "pipe, libxenvchan's sender is killed: a line says what is not known" "$code $(cat /tmp/log)" ;;
esac
xenstore-rm /test/vchan

# Where somebody knows how much is to come, that is held against what came.
for wanted in $size 10000001; do
    vchan server 0 /test/vchan send $size 2>/dev/null &
    $ours --client --expect $wanted </dev/null 2>/tmp/log | vchan check $size >/tmp/output
    wait
    echo "$(cut -d, -f1 /tmp/output) $(cat /tmp/log)" >>/tmp/expected
    xenstore-rm /test/vchan 2>/dev/null
done
check "pipe --expect: enough, and too little" "$(tr '\n' ';' </tmp/expected)" = \
    "$size bytes ;$size bytes mini-grant: $size bytes came, and 10000001 were expected;"

# Ours is killed at either end: the other one says so, with code 4.
for victim in server client; do
    case $victim in server) other=client ;; client) other=server ;; esac
    mini-grant pipe --$victim --domain 0 --path /test/vchan </dev/zero >/dev/null 2>&1 &
    killed=$!
    : >/tmp/received
    $ours --$other </dev/null >/tmp/received 2>/tmp/log &
    survivor=$!
    until [ -s /tmp/received ]; do sleep 0.05; done
    kill -9 $killed
    wait $survivor
    code=$?
    check "pipe, a sending $victim of ours is killed: the other end says so" "$code $(cat /tmp/log)" = \
        "4 mini-grant: the other domain has closed the vchan and has not said that it had sent all"
    : >/tmp/received
    xenstore-rm /test/vchan 2>/dev/null
done

# The receiver goes when its ring is empty, and the sender's input is not at its end.
mkfifo /tmp/slow /tmp/never
rm -f /tmp/received
vchan server 0 /test/vchan relay <>/tmp/never >/tmp/received &
victim=$!
$ours --client <>/tmp/slow >/dev/null 2>/tmp/log &
sender=$!
# A child that ends meanwhile interrupts the wait for the reader.
until echo first >/tmp/slow; do :; done 2>/dev/null
until [ -s /tmp/received ]; do sleep 0.05; done
kill -9 $victim
wait $sender
check "pipe, the receiver is killed when it had taken all, and the input goes on" "$? $(cat /tmp/log)" = \
    "4 mini-grant: the other domain has closed the vchan before the input had ended"
rm /tmp/slow /tmp/never
xenstore-rm /test/vchan 2>/dev/null

# The store says that the pipe runs; a client's first byte is its marker.
mini-grant pipe --server --domain 0 --path /test/vchan --state-path /test/state --reconnect-marker 1 </dev/null >/tmp/received 2>/tmp/log &
server=$!
run mini-grant store wait --deadline 300 /test/state
expect "pipe --state-path" 0 running ""
echo marked | $ours --client --reconnect-marker 1 >/dev/null
wait $server
check "pipe --reconnect-marker: the first one is no byte of anybody's" "$? $(cat /tmp/received /tmp/log)" = "0 marked"
xenstore-rm /test/state

# --reconnect: a peer of libxenvchan's is killed, the next one is served; then its own server side is.
rm -f /tmp/socket.in
mkfifo /tmp/reconnected
mini-grant pipe --server --domain 0 --path /test/vchan --reconnect <>/tmp/reconnected >/tmp/received 2>/tmp/log &
server=$!
vchan make 1000000 >/tmp/made
vchan client 0 /test/vchan relay <>/tmp/reconnected >/dev/null &
victim=$!
until xenstore-read /test/vchan/ring-ref >/dev/null 2>&1; do sleep 0.05; done
sleep 0.5
kill -9 $victim
wait $victim
vchan client 0 /test/vchan send 1000000
until [ "$(stat -c %s /tmp/received)" -ge 1000000 ]; do sleep 0.1; done
check "pipe --server --reconnect: after a killed peer the next one is served" \
    "$(cmp /tmp/made /tmp/received && echo same) $(cat /tmp/log)" = "same "
kill $server
wait $server
check "  until a signal" $? = 143

# Clients right behind one another come to the same rings, and none is thrown off with the one before it.
: >/tmp/received
mini-grant pipe --server --domain 0 --path /test/vchan --reconnect <>/tmp/reconnected >/tmp/received 2>/tmp/log &
server=$!
until ring=$(xenstore-read /test/vchan/ring-ref 2>/dev/null); do sleep 0.05; done
failed=0
: >/tmp/wanted
for round in 1 2 3 4 5 6 7 8 9 10; do
    vchan client 0 /test/vchan send 1000 >/dev/null 2>&1 || failed=$((failed + 1))
    vchan make 1000 >>/tmp/wanted
done
tries=0
until [ "$(stat -c %s /tmp/received)" -ge 10000 ] || [ $tries -ge 100 ]; do sleep 0.1 && tries=$((tries + 1)); done
check "pipe --server --reconnect: ten clients without a pause" \
    "$failed $(cmp /tmp/wanted /tmp/received && echo same) $(xenstore-read /test/vchan/ring-ref) $(cat /tmp/log)" = "0 same $ring "
kill $server
wait $server

: >/tmp/received
mini-grant pipe --client --domain 0 --path /test/vchan --reconnect <>/tmp/reconnected >/tmp/received 2>/tmp/log &
client=$!
for round in 1 2 3; do
    # Killed: its entries stay, and the next server is given the same page and port.
    mini-grant pipe --server --domain 0 --path /test/vchan </tmp/made >/dev/null 2>&1 &
    server=$!
    until [ "$(stat -c %s /tmp/received)" -ge $((round * 1000000)) ]; do sleep 0.1; done
    kill -9 $server
    wait $server
done
check "pipe --client --reconnect: the server is killed and comes back, three times" \
    "$(cat /tmp/made /tmp/made /tmp/made | cmp - /tmp/received && echo same) $(cat /tmp/log)" = "same "
kill $client
wait $client
xenstore-rm /test
