# mini-grant pipe in PV dom0 against libxenvchan, in both roles and directions, checked byte for byte. libxenvchan's
# side receives until the vchan is closed, so ours is told not to wait for it.

size=10000000
ours="timeout 60 mini-grant pipe --domain 0 --path /test/vchan --deadline 30"

vchan make $size | $ours --server --linger 0 >/dev/null 2>/tmp/log &
run vchan client 0 /test/vchan receive $size
expect "pipe --server sends to libxenvchan's client" 0 "$size bytes, *" ""
wait $!
check "  and ends well" "$? $(cat /tmp/log)" = "0 "

$ours --server </dev/zero 2>/tmp/log | vchan check $size >/tmp/output &
sleep 0.2
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

run mini-grant pipe --client --domain 0 --path /test/none --deadline 1
expect "pipe --client, nobody comes" 5 "" "mini-grant: *"

# The other side is killed in the middle.
vchan server 0 /test/vchan relay </dev/zero >/dev/null &
victim=$!
$ours --client </dev/null >/dev/null 2>/tmp/log &
sleep 1
kill -9 $victim
wait $!
code=$?
check "pipe, the other side is killed: it ends" "$code" -lt 128
xenstore-rm /test
