# Measures how fast bytes go through a vchan in dom0: `in` from a pipe to a receiver on libxenvchan, `out` from a sender
# on it to a pipe. The server's end is ours or libxenvchan's, in turns. Lines as in bench.sh, the most KB/s of each. Where
# there is another build of ours (MINI_BASE), it has its turns, too, and lines of its own.

# An input without an end.
mkfifo /tmp/never

who="ours theirs"
[ ! -x /bin/mini-base ] || who="$who base"

# relay WHO RING
relay() {
    case $1 in
    ours) mini-grant pipe --server --domain 0 --path /bench/vchan --ring "$2" --linger 0 2>/tmp/relay.log ;;
    base) mini-base mini-grant pipe --server --domain 0 --path /bench/vchan --ring "$2" --linger 0 2>/tmp/relay.log ;;
    theirs) throughput server 0 /bench/vchan "$2" relay ;;
    esac
}

# way WHO in|out RING BYTES: prints KB/s.
way() {
    # A libxenvchan server leaves its entries behind, for the next client to trip over.
    xenstore-rm /bench/vchan 2>/dev/null
    case $2 in
    in)
        throughput pour "$4" | relay "$1" "$3" >/dev/null &
        throughput client 0 /bench/vchan "$3" swallow
        ;;
    out)
        throughput client 0 /bench/vchan "$3" pour "$4" &
        relay "$1" "$3" <>/tmp/never | throughput swallow
        ;;
    esac >/tmp/way
    wait
    read -r arrived speed </tmp/way
    [ "$arrived" = "$4" ] || fail "vchan $2, $1, ring of $3" "$arrived bytes of $4 arrived"
    echo "$speed"
}

most() { sort -n "$@" | tail -n 1; }

for choice in 1024:4000000 65536:64000000 131072:64000000; do
    ring=${choice%:*}
    for direction in in out; do
        for turn in 1 2 3; do
            for one in $who; do way "$one" $direction "$ring" "${choice#*:}" >>"/tmp/$one.$direction.$ring"; done
        done
        ours=$(most "/tmp/ours.$direction.$ring")
        echo "BENCH vchan-$direction-$ring $ours $(most "/tmp/theirs.$direction.$ring")"
        [ ! -x /bin/mini-base ] || echo "BENCH base-$direction-$ring $ours $(most "/tmp/base.$direction.$ring")"
    done
done
