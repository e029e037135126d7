# mini-grant pipe between dom0 and a second domain, against libxenvchan, checked byte for byte.

# A place of its own for each: a libxenvchan server leaves its entries behind, for the next client to trip over.
path=/local/domain/$domain/data/vchan
ours="timeout 900 mini-grant pipe --deadline 600"

vchan make 100000000 | $ours --server --domain "$domain" --path "${path}1" --linger 0 >/dev/null 2>/tmp/log &
there "vchan client 0 ${path}1 receive 100000000"
check "$type: libxenvchan receives 100 MB from dom0's pipe --server" "$code ${output%%,*}" = "0 100000000 bytes"
wait

vchan server "$domain" "${path}2" receive 100000000 >/tmp/received 2>&1 &
there "vchan make 100000000 | $ours --client --domain 0 --path ${path}2 --linger 0"
wait
check "$type: libxenvchan receives 100 MB from the domain's pipe --client" "$code $(cut -d, -f1 /tmp/received)" = "0 100000000 bytes"

there "rm -f /tmp/received; $ours --server --domain 0 --path data/vchan3 </dev/null 2>/tmp/log | vchan check 10000000 >/tmp/received &"
vchan client "$domain" "${path}3" send 10000000
there 'until [ -s /tmp/received ]; do sleep 0.1; done; cat /tmp/received'
check "$type: pipe --server of the domain receives from dom0's libxenvchan" "${output%%,*}" = "10000000 bytes"

vchan server "$domain" "${path}4" send 10000000 2>/tmp/log &
there "$ours --client --domain 0 --path ${path}4 </dev/null 2>/tmp/log | vchan check 10000000"
check "$type: pipe --client of the domain receives from dom0's libxenvchan" "$code ${output%%,*}" = "0 10000000 bytes"
wait
