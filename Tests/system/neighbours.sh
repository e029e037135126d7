# Guests that share a file as their Ethernet, each in a process of its own. Sourced by system.sh.

# start ARCH WORDS...: mini-launch in the background on $net; $child is its process, $child_out its output.
start() {
    local arch=$1
    shift
    child_out=$work/neighbour-$((++neighbours))
    "out/$arch/mini-launch" --sharenet "$net" out/guests/neighbours "$@" </dev/null >"$child_out" 2>&1 &
    child=$!
    for _ in {1..2400}; do
        [[ -s $child_out ]] && break
        sleep 0.05
    done
}
# waited SENTENCE CODE OUTPUT-PATTERN: how the one in the background ended.
waited() {
    ended "$2"
    code=$? output=$(<"$3") errors=
    expect "$1" "$4" "$5" ""
}
neighbours=0

for pair in "x86_64 x86_64" "i386 i386" "x86_64 i386"; do
    read -r arch other <<<"$pair"
    if ! "out/$arch/mini" --version >/dev/null 2>&1 || ! "out/$other/mini" --version >/dev/null 2>&1; then
        skip "$pair: neighbours" "this machine does not run both"
        continue
    fi
    net=$work/net-$arch-$other
    guest=out/guests/neighbours

    start $arch echo
    first=$child first_out=$child_out
    launch $other --sharenet "$net" $guest ask
    expect "$pair: 2000 frames go to another process's guest and come back undamaged" 0 "slot 1
2000 back, 0 damaged, 0 lost" ""
    waited "$pair: and that one has seen them all" "$first" "$first_out" 0 "slot 0
echoed 2001 frames"
    check "$pair: the file has one page, and nobody in it" "$(tr -d '\0' <"$net" | wc -c) $(stat -c %s "$net")" = "0 4096"
    [[ $arch == "$other" ]] || continue

    # Anybody may connect, as often as he likes: here somebody without permission for the file.
    if [[ $(id -u) == 0 ]] && command -v setpriv >/dev/null && command -v perl >/dev/null; then
        start $arch echo
        first=$child first_out=$child_out
        address=$(printf 'mini-lguest/%s/%x/0' "$(stat -c %D "$net")" "$(stat -c %i "$net")")
        : >"$work/connections"
        # shellcheck disable=SC2016
        setpriv --reuid=65534 --regid=65534 --clear-groups perl -MSocket -e '
            my ($made, $to) = (0, pack_sockaddr_un("\0$ARGV[0]"));
            $SIG{TERM} = sub { print "$made\n"; exit };
            $| = 1; print "here\n";
            while (1) {
                socket(my $s, AF_UNIX, SOCK_SEQPACKET, 0) or next;
                fcntl($s, 4, 2048);
                $made++ if connect($s, $to);
            }' "$address" >"$work/connections" 2>&1 &
        stranger=$!
        until [[ -s $work/connections ]]; do kill -0 $stranger 2>/dev/null || break; done
        launch $arch --sharenet "$net" $guest ask
        expect "$arch: while a stranger connects all the time two guests talk, and lose nothing" 0 "slot 1
2000 back, 0 damaged, 0 lost" ""
        waited "$arch: and the one that he connects to has heard nothing of it" "$first" "$first_out" 0 "slot 0
echoed 2001 frames"
        kill $stranger
        wait $stranger 2>/dev/null
        connections=$(tail -n 1 "$work/connections")
        check "$arch: he did connect" "${connections:-0}" -gt 100
    else
        skip "$arch: a stranger who connects all the time" "not root, or no setpriv and perl"
    fi

    # A PC's card has no driver, and a member of the network comes, sends and ends.
    clang=$(dirname "$(readlink -f "$(command -v swiftc)")")/clang
    if "$clang" -DSTAYS -DDRIVES_NOT -target i386-linux-gnu -nostdlib -static -fuse-ld=lld \
        -Wl,--image-base=0x100000,-e,start -o "$work/idle" Tests/system/offloads.S 2>/dev/null \
        && command -v perl >/dev/null; then
        idle_net=$work/net-idle-$arch
        "out/$arch/mini-launch" --engine builtin --sharenet "$idle_net" "$work/idle" </dev/null >"$work/idle-out-$arch" 2>&1 &
        child=$!
        for _ in {1..1200}; do
            [[ -s $work/idle-out-$arch ]] && break
            sleep 0.05
        done
        # The lock is struct flock of 64 bits, on the byte of slot 5.
        # shellcheck disable=SC2016
        sent=$(perl -MSocket -e '
            my $address = "\0$ARGV[1]";
            open(my $file, "+<", $ARGV[0]) or die;
            my $lock = pack("s s x4 q q l x4", 1, 0, 5, 1, 0);
            fcntl($file, 6, $lock) or die;
            socket(my $s, AF_UNIX, SOCK_SEQPACKET, 0) or die;
            bind($s, pack_sockaddr_un("$address<5.1")) or die;
            connect($s, pack_sockaddr_un($address)) or die;
            print send($s, "\xFF" x 60, 0);
            select(undef, undef, undef, 0.2);' \
            "$idle_net" "$(printf 'mini-lguest/%s/%x/0' "$(stat -c %D "$idle_net")" "$(stat -c %i "$idle_net")")")
        read -r -a before <"/proc/$child/stat"
        sleep 1
        read -r -a after <"/proc/$child/stat"
        check "$arch: a member that has sent and ended costs a guest without a driver nothing" \
            $((after[13] + after[14] - before[13] - before[14])) -le 4
        check "$arch: it did send" "${sent:-0}" = 60
        kill $child
        wait $child 2>/dev/null
    else
        skip "$arch: a member that ends while a guest has no driver" "no perl, or no guest can be linked here (lld)"
    fi

    # One that is killed while it sends, one that is killed while it receives.
    start $arch echo
    first=$child first_out=$child_out
    start $arch flood
    sleep 0.3
    kill -KILL $child
    wait $child 2>/dev/null
    launch $arch --sharenet "$net" $guest ask
    expect "$arch: a sender that is killed does not harm the receiver, and its slot is free again" 0 \
        "slot 1
2000 back, 0 damaged, 0 lost" ""
    waited "$arch: the receiver goes on to its end" "$first" "$first_out" 0 "slot 0
echoed *[0-9][0-9][0-9][0-9] frames"
    start $arch echo
    first=$child
    start $arch flood
    sleep 0.3
    kill -KILL $first
    wait $first 2>/dev/null
    waited "$arch: a receiver that is killed does not harm the sender" $child "$child_out" 0 "slot 1
some of many taken"

    # One that never reads: the sender is not stopped by it.
    start $arch deaf
    first=$child
    launch $arch --sharenet "$net" $guest flood
    expect "$arch: a neighbour that does not read does not stop the sender" 0 "slot 1
some of many taken" ""
    read -r -a before <"/proc/$first/stat"
    sleep 1
    read -r -a after <"/proc/$first/stat"
    check "$arch: a halted guest with frames waiting costs nothing" \
        $((after[13] + after[14] - before[13] - before[14])) -le 4
    launch $arch --sharenet "$net" $guest crossing
    expect "$arch: a section that leaves its page ends the guest that sends it" 4 "slot 1" \
        "mini-launch: the guest died: bad DMA entry: 60@0x*"
    kill $first
    wait $first 2>/dev/null
    launch $arch --sharenet "$net" $guest foreign
    expect "$arch: another's key cannot be bound" 0 "slot 0
another's key: 0" ""
    if command -v perl >/dev/null; then
        : >"$work/held"
        # shellcheck disable=SC2016
        perl -MSocket -e '
            socket(my $s, AF_UNIX, SOCK_SEQPACKET, 0) or die;
            bind($s, pack_sockaddr_un("\0$ARGV[0]")) or die;
            $| = 1; print "held\n"; sleep 600' \
            "$(printf 'mini-lguest/%s/%x/0' "$(stat -c %D "$net")" "$(stat -c %i "$net")")" >"$work/held" 2>&1 &
        holder=$!
        until [[ -s $work/held ]]; do kill -0 $holder 2>/dev/null || break; done
        launch $arch --sharenet "$net" $guest foreign
        expect "$arch: a slot whose socket's address a stranger holds is passed over" 0 "slot 1
another's key: 0" ""
        kill $holder
        wait $holder 2>/dev/null
    else
        skip "$arch: a stranger who holds an address" "no perl"
    fi

    start $arch echo
    first=$child first_out=$child_out
    launch $arch --sharenet "$net" $guest hostile
    expect "$arch: a hundred thousand odd records" 0 "slot 1
a hundred thousand records" ""
    launch $arch --sharenet "$net" $guest ask
    expect "$arch: after them the network is as good as before" 0 "slot 1
2000 back, 0 damaged, 0 lost" ""
    waited "$arch: for both" "$first" "$first_out" 0 "slot 0
echoed *[0-9][0-9][0-9][0-9] frames"

    printf 'not a network' >"$work/text"
    launch $arch --sharenet "$work/text" $guest
    expect "$arch: a file that is no network" 3 "" \
        "mini-launch: network file \"$work/text\" has 13 bytes: it should be empty or have 4096"
    launch $arch --sharenet "$work" $guest
    expect "$arch: a directory as network" 3 "" "mini-launch: network file \"$work\" is not a regular file"
    launch $arch --sharenet "$net" --sharenet "$net" $guest
    expect "$arch: one network twice" 2 "" "mini-launch: network file \"$net\" was given twice"
done
