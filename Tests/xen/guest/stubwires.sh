# A stub domain whose programs have vchans and the console as descriptors, and network devices that come and go. busybox
# is the program.

. /tests/stublibrary.sh

# Every value of a byte, in an order that is no terminal's friend; but for ^O, by which Linux is told a SysRq on the
# terminal that is its console.
head -c 16384 /dev/urandom | tr -d '\017' | head -c 8192 >/tmp/keys
printf '\003\003\003\004\021\023\032\034\015\012\377\000\177' >>/tmp/keys
stub wires pv stubwires.cpio ""

# One vchan for each way; the domain's program is in the middle.
vchan make 3000000 >/tmp/sent
timeout 600 mini-grant pipe --client --domain "$domain" --path "$data/there" --deadline 600 </tmp/sent >/dev/null 2>/tmp/log &
timeout 600 mini-grant pipe --server --domain "$domain" --path "$data/back" --deadline 600 </dev/null 2>/tmp/log2 |
    vchan check 3000000 >/tmp/output
wait
check "vchans are a program's input and output" "$(cut -d, -f1 /tmp/output) $(cat /tmp/log /tmp/log2)" = "3000000 bytes "
vchan make 3000000 | timeout 600 mini-grant pipe --client --domain "$domain" --path "$data/both" --deadline 600 2>/tmp/log |
    vchan check 3000000 >/tmp/output
check "one vchan is both" "$(cut -d, -f1 /tmp/output) $(cat /tmp/log)" = "3000000 bytes "

# Bytes that a terminal would take for keys, into the domain's console and out of it.
timeout 600 mini-grant pipe --client --domain "$domain" --path "$data/keys" --deadline 600 </dev/null >/tmp/typed 2>/tmp/log &
typing=$!
run mini-grant store wait --deadline 600 "$data/ready"
timeout 300 cat /tmp/keys >"$(xenstore-read "/local/domain/$domain/console/tty")"
wait $typing
check "a console is a program's input, byte for byte" "$? $(cmp /tmp/keys /tmp/typed 2>&1) $(cat /tmp/log)" = "0  "
timeout 600 mini-grant pipe --client --domain "$domain" --path "$data/shown" --deadline 600 </tmp/keys >/dev/null 2>/tmp/log
check "a console is a program's output, and takes all" "$? $(cat /tmp/log)" = "0 "
xenstore-write "$data/seen" 1

# The device is deleted and made anew, twice.
run mini-grant store wait --deadline 600 "$data/flushed"
check "a network device is set up" "$(xenstore-read "$data/first")" = "10.0.0.1/24 mac up "
check "  and again whenever it comes anew" "$(xenstore-read "$data/again")" = "10.0.0.1/24 mac up "
check "  flush takes all of its addresses away" "$output" = "10.0.0.2/24 mac up "
xenstore-write "$data/over" 1
gone
check "  and who looks after it does not keep the domain from its end" "$reason" = 0
