# shellcheck shell=dash
# In the stub domain of wires.table: what has become of the network device dummy0, as data/NAME of the store.
# wires.sh first|again|flushed: `again` has it go first, and come anew as a bare device.
PATH=/bin
ip() { busybox ip "$@"; }
if [ "$1" = again ]; then
    ip link delete dummy0
    ip link add dummy0 type dummy
fi
# Addresses, Ethernet address, whether it is up.
look() {
    state=$(ip address show dev dummy0 | busybox sed -n 's/.*inet \([^ ]*\).*/\1/p' | busybox sort | busybox tr '\n' ' ')
    ip link show dev dummy0 | busybox grep -q 'ether 02:00:00:00:00:07' && state="${state}mac "
    ip link show dev dummy0 | busybox grep -q '[<,]UP[,>]' && state="${state}up "
}
tries=0
until look && { [ "$state" = "10.0.0.1/24 mac up " ] || [ "$1" = flushed ] || [ $tries -ge 600 ]; }; do
    busybox sleep 0.1 && tries=$((tries + 1))
done
/init mini-grant store set "data/$1" "$state"
