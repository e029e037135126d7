# Networks through a tap, with the guest that answers whoever asks. Sourced by system.sh. All of it
# happens in a network namespace of its own, with interfaces that nobody else sees.

# Inside: answer ADDRESS COUNT SIZE WINDOW: datagrams to the guest and back, how many came back and how
# many of those were damaged; end ADDRESS.
cat >"$work/inside.sh" <<'EOF'
ip link set lo up
launch() { "$arch_out/mini-launch" "$@" </dev/null & child=$!; }
# until_said PATTERN FILE [LINES]: waits until so many lines say it, or the launch is over.
until_said() { until (($(grep -c "$1" "$2") >= ${3-1})) || ! kill -0 $child 2>/dev/null; do sleep 0.05; done; }
# The guest is there when it answers.
answer() {
    local address=$1 try got
    shift
    for try in {1..600}; do
        [[ $("$datagrams" "$address" 1 64 1 2>/dev/null) == "1 0 "* ]] && break
        sleep 0.1
    done
    got=$("$datagrams" "$address" "$@") && cut -d' ' -f1,2 <<<"$got"
}
# Says the end until the guest has heard it.
end() {
    local try
    for try in {1..600}; do
        echo off >"/dev/udp/$1/9"
        sleep 0.1
        [[ -e /proc/$child/stat && $(<"/proc/$child/stat") != *") Z "* ]] || return
    done 2>/dev/null
}
EOF

if ! unshare --net true 2>/dev/null; then
    skip "networks" "no network namespace can be made here (not root?)"
elif ! command -v ip >/dev/null; then
    skip "networks" "no ip command (package iproute2)"
elif ! unshare --net ip tuntap add dev tap9 mode tap 2>/dev/null; then
    skip "networks" "no tap can be made here (/dev/net/tun)"
else
    clang=$(dirname "$(readlink -f "$(command -v swiftc)")")/clang
    [[ -x $clang ]] || clang=cc
    export datagrams=$work/datagrams
    "$clang" -O2 -o "$datagrams" Tests/bench/datagrams.c
    export offloads=$work/offloads features=$work/features
    "$clang" -O2 -o "$features" Tests/system/features.c
    for words in "" -DSTAYS; do
        "$clang" ${words:+"$words"} -target i386-linux-gnu -nostdlib -static -fuse-ld=lld -Wl,--image-base=0x100000,-e,start \
            -o "$offloads$words" Tests/system/offloads.S 2>/dev/null
    done
    for arch in x86_64 i386; do
        if ! "out/$arch/mini" --version >/dev/null 2>&1; then
            skip "$arch: networks" "this machine does not run $arch programs"
            continue
        fi
        export arch_out=$root/out/$arch said=$work/out told=$work/err
        guest=$root/out/guests/responder
        inside="source $work/inside.sh;"

        # shellcheck disable=SC2016
        in_namespace "$inside"'launch --tunnet 10.7.0.1 '"$guest"'
            answer 10.7.0.2 100 1472 1; ip -o -4 addr show dev tap0; end 10.7.0.2; wait $child; echo code $?
            ip -o link show | grep -c tap'
        expect "$arch: --tunnet ADDRESS: the host has the address, the guest answers, the tap goes with the guest" 1 \
            "slot 1, open
@(9[0-9]|100) 0
*inet 10.7.0.1/8*
0 frames, 0 bytes
code 0
0" ""
        in_namespace "$inside"'launch --tunnet 10.7.0.1 '"$guest"'
            answer 10.7.0.2 5000 1472 64; answer 10.7.0.2 2000 4 8; end 10.7.0.2; wait $child'
        expect "$arch: thousands of frames, several at a time, come back undamaged" 0 "slot 1, open
@(4[89][0-9][0-9]|5000) 0
@(19[0-9][0-9]|2000) 0
0 frames, 0 bytes" ""

        # A bridge with an address and two guests on it.
        in_namespace "$inside"'ip link add br0 type bridge && ip addr add 10.8.0.1/24 dev br0 && ip link set br0 up
            launch --tunnet bridge:br0,02:00:00:00:00:09 '"$guest"'
            answer 10.8.0.2 50 1000 4; ip -o link show master br0; end 10.8.0.2; wait $child'
        expect "$arch: --tunnet bridge:NAME,ADDRESS: the guest is behind the bridge" 0 \
            "slot 1, open
@(4[5-9]|50) 0
*tap0*UP*master br0*02:00:00:00:00:09*
0 frames, 0 bytes" ""

        # A tap that was there before and stays.
        in_namespace "$inside"'ip tuntap add dev guest7 mode tap && ip addr add 10.9.0.1/24 dev guest7 && ip link set guest7 up
            for round in 1 2; do
                launch --tap guest7 '"$guest"'; answer 10.9.0.2 50 1000 4; end 10.9.0.2; wait $child
            done; ip -o link show guest7 | grep -c guest7
            launch --tap guest7 '"$guest"'; answer 10.9.0.2 50 1000 4
            "$arch_out/mini-launch" --tap guest7 '"$guest"' 2>&1 & wait $!
            kill -KILL $child; wait $child 2>/dev/null; sleep 0.1
            launch --tap guest7 '"$guest"'; answer 10.9.0.2 50 1000 4; end 10.9.0.2; wait $child'
        expect "$arch: --tap NAME: a tap of somebody else's, one guest at a time, free again after SIGKILL" 0 "slot 1, open
@(4[5-9]|50) 0
0 frames, 0 bytes
slot 1, open
@(4[5-9]|50) 0
0 frames, 0 bytes
1
slot 1, open
@(4[5-9]|50) 0
mini-launch: tap \"guest7\" is in use by another process: device or resource busy (EBUSY)
slot 1, open
@(4[5-9]|50) 0
0 frames, 0 bytes" "*"

        # It is left as it was, by a guest that ends and by one that is ended.
        if [[ -x $offloads-DSTAYS ]]; then
            # shellcheck disable=SC2016
            in_namespace "$inside"'ip tuntap add dev last7 mode tap && ip link set last7 up; "$features" last7
                launch --engine builtin --tap last7 "$offloads"; wait $child; echo code $?; "$features" last7
                launch --engine builtin --tap last7 "$offloads-DSTAYS"
                until_said ^on "$said" 2; "$features" last7
                kill $child; wait $child; echo code $?; "$features" last7'
            expect "$arch: a tap that stays has nothing of what a PC's guest took, however that ended" 0 "0 0
on
code 0
0 0
on
1 1
code 143
0 0" "*"
        else
            skip "$arch: a tap that stays has nothing of what a PC's guest took" "no guest can be linked here (lld)"
        fi

        # While the guest's interface is down frames are dropped, and nothing spins.
        in_namespace "$inside"'launch --tunnet 10.7.0.1 '"$guest"' closed
            until_said closed "$said"
            for n in {1..50}; do echo x >/dev/udp/10.7.0.2/7; done 2>/dev/null
            read -r -a before <"/proc/$child/stat"; sleep 1; read -r -a after <"/proc/$child/stat"
            echo ticks $((after[13] + after[14] - before[13] - before[14])); kill $child; wait $child; echo code $?'
        expect "$arch: a guest whose interface is down costs nothing" 0 "slot 1, closed
ticks [0-4]
code 143" "*"

        # The tap is taken away under the guest.
        in_namespace "$inside"'launch --tunnet 10.7.0.1 '"$guest"'; answer 10.7.0.2 10 100 1
            ip link del tap0; until_said "is gone" "$told"; read -r -a before <"/proc/$child/stat"; sleep 1; read -r -a after <"/proc/$child/stat"
            echo ticks $((after[13] + after[14] - before[13] - before[14])); kill $child; wait $child; echo code $?'
        expect "$arch: a guest whose tap is taken away goes on" 0 "slot 1, open
@(9|10) 0
ticks [0-4]
code 143" "mini-launch: the guest's network is gone: tap \"tap0\": file descriptor in bad state (EBADFD)"

        in_namespace '"$@"' - "out/$arch/mini-launch" --tunnet bridge:none9 "$guest"
        expect "$arch: no such bridge" 1 "" "mini-launch: cannot put a tap on bridge \"none9\": no such device (ENODEV)"
        # /sys is of another network namespace here.
        in_namespace '"$@"' - "out/$arch/mini-launch" --tap lo "$guest"
        expect "$arch: an interface that is no tap" 1 "" "mini-launch: tap \"lo\" is not a tap: it is an interface of another kind: invalid argument (EINVAL)"
        in_namespace 'ip tuntap add dev tun5 mode tun && "$@"' - "out/$arch/mini-launch" --tap tun5 "$guest"
        expect "$arch: a tun in a tap's place" 1 "" "mini-launch: tap \"tun5\" is a tun, which has no Ethernet frames: *: invalid argument (EINVAL)"
        in_namespace '"$@"' - "out/$arch/mini-launch" --tap mine9 --tap mine9 "$guest"
        expect "$arch: one tap twice" 2 "" "mini-launch: tap \"mine9\" was given twice"
        in_namespace '"$@"' - "out/$arch/mini-launch" --tunnet 10.0.0.256 "$guest"
        expect "$arch: an address that is none" 2 "" \
            "mini-launch: \"10.0.0.256\" is not the address of a host: four numbers with dots between"
        if command -v setpriv >/dev/null; then
            cp "out/$arch/mini" "$work/mini-launch" && cp "$guest" "$work/public" && chmod 755 "$work" "$work/public"
            in_namespace '"$@"' - setpriv --reuid 65534 --regid 65534 --clear-groups "$work/mini-launch" --tunnet 10.0.0.1 "$work/public"
            expect "$arch: a tap without permission" 1 "" "mini-launch: cannot * \"*\": * (E*)"
        else
            skip "$arch: a tap without permission" "needs setpriv"
        fi
    done
fi
