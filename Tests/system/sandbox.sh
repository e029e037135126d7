# The sandbox: what a running launcher still has, the calls that it makes beside the tables of
# docs/sandbox.md, and what happens to somebody who has taken it over. Sourced by system.sh.

# tool NAME: makes the program of Tests/system in $work.
tool() {
    local clang
    clang=$(dirname "$(readlink -f "$(command -v swiftc)")")/clang
    [[ -x $clang ]] || clang=cc
    "$clang" -O2 -o "$work/$1" "Tests/system/$1.c"
}
tool deny

status() { awk -v name="$1:" '$1 == name { $1 = ""; print substr($0, 2) }' "/proc/$child/status"; }
limit() { awk -v name="$1" 'index($0, name) == 1 { print $(NF - 2), $(NF - 1) }' "/proc/$child/limits"; }

for arch in x86_64 i386; do
    if ! "out/$arch/mini" --version >/dev/null 2>&1; then
        skip "$arch: sandbox" "this machine does not run $arch programs"
        continue
    fi
    running "out/$arch/mini-launch" out/guests/echo
    check "$arch: a running launcher is filtered, and no program that it starts gets privileges" \
        "$(status Seccomp) $(status NoNewPrivs)" = "2 1"
    check "$arch: it has no capabilities, nor can it get any" \
        "$(status CapInh) $(status CapPrm) $(status CapEff) $(status CapAmb)" = \
        "0000000000000000 0000000000000000 0000000000000000 0000000000000000"
    check "$arch: it leaves no core" "$(limit 'Max core file size')" = "0 0"
    check "$arch: it can have no more descriptors than it has" "$(limit 'Max open files')" = "6 6"
    if [[ $(id -u) == 0 ]]; then
        check "$arch: whoever started it as root, it is nobody, in no group" \
            "$(status Uid) / $(status Gid) / $(status Groups)" = \
            "65534 65534 65534 65534 / 65534 65534 65534 65534 / "
        check "$arch: and has nothing in the bounding set" "$(status CapBnd)" = 0000000000000000
        # Input, output, errors, the input's pipe once more, signals, and the kernel for a restart.
        check "$arch: descriptors that were handed to it are closed" "$(find "/proc/$child/fd" -type l | wc -l)" = 6
    else
        skip "$arch: the user of a launcher that root started, and its descriptors" "needs root"
    fi
    place=
    if maps=$(cat "/proc/$child/maps" 2>/dev/null) && [[ -n $maps ]]; then
        check "$arch: no page is writable and executable" "$(grep -c ' .wx' <<<"$maps")" = 0
        # Pages of the program: its code and constants, constants that were moved, variables.
        check "$arch: constants that hold addresses cannot be written any more" \
            "$(awk '/mini$/ { print $2 }' <<<"$maps" | sort | uniq -c | awk '{ printf "%s ", $2 }')" = \
            "r--p r-xp rw-p "
        place=$(awk '/mini$/ { print $1; exit }' <<<"$maps")
    else
        skip "$arch: what of the program's pages can be written" "its maps cannot be read here"
    fi
    kill -TERM $child
    wait $child
    check "$arch: and it ends when told" $? = 143
    exec 8>&-
    if [[ $arch == x86_64 && (-z $place || $(</proc/sys/kernel/randomize_va_space) != [12]) ]]; then
        skip "$arch: each time it lies at another place" "its maps cannot be read here, or this kernel has one place for all"
    elif [[ $arch == x86_64 ]]; then
        running "out/$arch/mini-launch" out/guests/echo
        check "$arch: each time it lies at another place" "$(awk '/mini$/ { print $1; exit }' "/proc/$child/maps")" != "$place"
        kill -TERM $child
        wait $child
    fi
    exec 8>&-

    launch $arch --no-sandbox out/guests/hello
    expect "$arch: --no-sandbox is told" 0 "hello from ring 1" \
        "mini-launch: no sandbox: the guest runs with all our rights"
    launch $arch --sandbox=require out/guests/hello
    expect "$arch: --sandbox=require with a kernel that filters" 0 "hello from ring 1" ""
    launch $arch --sandbox=none out/guests/hello
    expect "$arch: a sandbox of an unknown kind" 2 "" \
        "mini-launch: unknown sandbox \"none\": it is on or require"
    launch $arch -v out/guests/hello
    expect "$arch: -v says how many calls are left" 0 "*" "*mini-launch: sandbox: [1-9]* system calls*"
    again "out/$arch/mini-launch"
    expect "$arch: a restart opens nothing: the kernel's name is gone" 0 $'again\nagain\nagain' ""

    # In a container whose filter refuses calls that it does not know.
    if [[ ! -x $work/deny ]]; then
        skip "$arch: in a filter that refuses calls" "no C compiler"
        continue
    fi
    running "$work/deny" 1 436 "out/$arch/mini-launch" out/guests/echo
    if [[ $(id -u) == 0 ]]; then
        check "$arch: descriptors are closed where a filter refuses close_range" "$(find "/proc/$child/fd" -type l | wc -l)" = 6
    fi
    kill -TERM $child
    wait $child
    exec 8>&-
    truncate -s 1M "$work/disk-denied-$arch"
    for round in once twice; do
        timeout 60 "$work/deny" 1 436 "out/$arch/mini-launch" --block "$work/disk-denied-$arch" out/guests/block write \
            </dev/null >"$work/out" 2>"$work/err"
        code=$? output=$(<"$work/out") errors=$(<"$work/err")
        expect "$arch: nor does the assistant of a disk keep it there: launched $round" 0 "*writes that failed: 0" ""
    done
    # clock_gettime, which kernels without times of 32 bits lack for i386.
    timeout 60 "$work/deny" 38 228:265 "out/$arch/mini-launch" out/guests/hello </dev/null >"$work/out" 2>"$work/err"
    code=$? output=$(<"$work/out") errors=$(<"$work/err")
    expect "$arch: without a clock it ends" 1 "" "mini: cannot read the clock: not implemented by this kernel (ENOSYS)*"
    # socket.
    timeout 60 "$work/deny" 97 41:102 "out/$arch/mini-launch" --sharenet "$work/net-denied" out/guests/hello \
        </dev/null >"$work/out" 2>"$work/err"
    code=$? output=$(<"$work/out") errors=$(<"$work/err")
    expect "$arch: what a shared network lacks is told" 1 "" \
        "mini-launch: cannot take part in a shared network: address family not supported (EAFNOSUPPORT)"
    # fork.
    timeout 60 "$work/deny" 11 57:2 "out/$arch/mini-launch" --block "$work/disk-denied-$arch" out/guests/block write \
        </dev/null >"$work/out" 2>"$work/err"
    code=$? output=$(<"$work/out") errors=$(<"$work/err")
    expect "$arch: a disk is written where no process can be started" 0 "*writes that failed: 0" ""
    timeout 60 "$work/deny" 11 57:2 "out/$arch/mini-pack" "$work/denied-$arch" Tests/system/deny.c=f
    check "$arch: and so is an archive" $? = 0
done

if ! tool calls; then
    skip "sandbox: calls" "no C compiler"
elif [[ $(id -u) != 0 ]]; then
    skip "sandbox: calls" "needs root, to see which file a descriptor is of"
else
    # Each feature of the page once, under the tracer.
    log=$work/calls.log
    traced=("$work/calls" "$log" out/x86_64/mini-launch)
    : >"$log"
    features=("every launch" restarts "a timeline" "a disk" "a disk that can be written")
    again "${traced[@]}" --timeline "$work/timeline-calls"
    # A kernel that is cut short while its guest runs.
    cp out/guests/echo "$work/kernel-cut"
    running "${traced[@]}" "$work/kernel-cut"
    : >"$work/kernel-cut"
    printf x >&8
    wait $child
    exec 8>&-
    cp out/guests/block "$work/kernel-block"
    truncate -s 1M "$work/disk-calls" "$work/disk-two"
    timeout 60 "${traced[@]}" --block "$work/disk-calls" --block "$work/disk-two,ro" "$work/kernel-block" write check \
        </dev/null >/dev/null 2>&1

    if command -v script >/dev/null && command -v stty >/dev/null; then
        features+=("a terminal" "a terminal for output or messages")
        # The launcher's number is in the file pid, what it has printed on the screen.
        cat >"$work/at-terminal" <<EOF
tty=\$(tty)
until_true() { for _ in {1..12000}; do "\$@" && break; sleep 0.05; done; }
started() { [[ -s $work/pid ]] && grep -q echo "$work/screen"; }
raw() { stty -a <\$tty | grep -q -- -icanon; }
# By this call the terminal is as before. A SIGCONT that comes too early is lost.
stops() { grep -qF 'kill(itself, SIGTSTP)' "$log"; }
goes_on() { kill -CONT \$(<"$work/pid"); sleep 0.05; raw; }
launch() { $work/calls $log bash -c 'echo \$\$ >$work/pid; exec $root/out/x86_64/mini-launch $root/out/guests/echo'; }
EOF
        # An input without an end: at the end of its input script(1) types ^D, which can end the guest before anybody has looked.
        mkfifo "$work/silence"
        exec 8<>"$work/silence"
        on_terminal() {
            rm -f "$work/pid"
            : >"$work/screen"
            { cat "$work/at-terminal" && echo "$1"; } >"$work/on-terminal"
            timeout 900 script -qefc "bash $work/on-terminal" /dev/null <"${2:-$work/silence}" >"$work/screen" 2>&1 8>&-
        }
        for signal in SEGV ILL BUS FPE; do
            on_terminal "(until_true started; until_true raw; kill -$signal \$(<$work/pid)) & launch; wait"
        done
        on_terminal "set -m; launch & until_true started
            (until_true raw; kill -TSTP \$(<$work/pid); until_true stops; until_true goes_on
            kill -TERM \$(<$work/pid)) & fg %1; wait"
        # Left by three ^C, typed when the guest has the terminal.
        mkfifo "$work/keys"
        (exec 9>"$work/keys" && until grep -qs raw "$work/ready" || [[ -e $work/left ]]; do sleep 0.05; done && printf '\3\3\3' >&9
            until [[ -e $work/left ]]; do sleep 0.05; done) &
        on_terminal "(until_true started; until_true raw; echo raw >$work/ready) & launch; : >$work/left; wait" "$work/keys"
        : >"$work/left"
        wait
        exec 8>&-
    fi

    # rows FEATURE...: the page's calls of these.
    rows() {
        for feature; do
            awk -F'|' -v name=" $feature " '/<!-- launch -->/ { on = 1 } /<!-- end -->/ { on = 0 }
                on && $2 == name { print $3 }' docs/sandbox.md
        done | grep -o '`[^`]*`' | tr -d '`' | LC_ALL=C sort -u
    }
    # seen FEATURE...: what was seen is what the page has for these, no more and no less.
    seen() { diff <(rows "$@") <(LC_ALL=C sort -u "$log") >"$work/difference"; }
    if seen "${features[@]}"; then
        ok "the calls of the page are those that a trace sees: ${features[*]}"
    else
        not_ok "the calls of the page are those that a trace sees: ${features[*]}" \
            "$(grep '^[<>]' "$work/difference" | sed 's/^</only on the page:/; s/^>/only in the trace:/')"
    fi

    # of_feature GUEST FEATURE [FEATURE...]: of what was seen, all of the first row, and else only what the others and every
    # launch may.
    of_feature() {
        local differences
        LC_ALL=C sort -u "$log" >"$work/feature-calls"
        differences=$(
            rows "$2" | LC_ALL=C comm -23 - "$work/feature-calls" | sed 's/^/only on the page: /'
            rows "every launch" restarts "${@:2}" | LC_ALL=C comm -13 - "$work/feature-calls" | sed 's/^/only in the trace: /'
        )
        if [[ -z $differences ]]; then ok "$1: the calls of the page are those that a trace sees: $2"; else
            not_ok "$1: the calls of the page are those that a trace sees: $2" "$differences"
        fi
    }
    linker=$(dirname "$(readlink -f "$(command -v swiftc)")")/clang
    "$linker" -target i386-linux-gnu -nostdlib -static -fuse-ld=lld -Wl,--image-base=0x100000,-e,start \
        -o "$work/again-pc" Tests/system/again.S 2>/dev/null
    for arch in x86_64 i386; do
        if ! "out/$arch/mini" --version >/dev/null 2>&1; then
            skip "$arch: calls of networks, random numbers and a PC's guest" "this machine does not run $arch programs"
            continue
        fi
        log=$work/calls-share-$arch net=$work/net-calls-$arch
        member=("$work/calls" "$log" "out/$arch/mini-launch" --sharenet "$net" out/guests/neighbours)
        : >"$log"
        : >"$work/out"
        "${member[@]}" echo </dev/null >"$work/out" 2>&1 &
        child=$!
        printed 1
        timeout 600 "${member[@]}" ask </dev/null >/dev/null 2>&1
        ended $child
        of_feature $arch "a shared network"

        # Cards of virtio, and random numbers: a guest of era 5 that uses all that it has, and one that answers it.
        log=$work/calls-card-$arch net=$work/net-cards-$arch
        member=("$work/calls" "$log" "out/$arch/mini-launch" --memory 8 --sharenet "$net")
        : >"$log"
        rm -f "$work/disk-card" && truncate -s 8192 "$work/disk-card"
        "${member[@]}" out/guests/eras/4d answer </dev/null >/dev/null 2>&1 &
        child=$!
        timeout 600 "${member[@]}" --block "$work/disk-card" out/guests/eras/5 <<<"some keys" >/dev/null 2>&1
        kill -TERM "$(pgrep -P $child)"
        wait $child
        of_feature $arch "a card on a shared network" "random numbers" "a disk" "a disk that can be written"
        of_feature $arch "random numbers" "a card on a shared network" "a disk" "a disk that can be written"

        # A PC's restarts.
        if [[ -x $work/again-pc ]]; then
            log=$work/calls-pc-$arch
            : >"$log"
            kernel=$work/again-pc again "$work/calls" "$log" "out/$arch/mini-launch" --engine builtin
            expect "$arch: a PC's restart opens nothing: the kernel's name is gone" 0 $'again\nagain\nagain' ""
            of_feature "$arch, a PC's guest" restarts
        else
            skip "$arch: calls of a PC's guest" "no guest can be linked here (lld)"
        fi

        if [[ ! -x ${datagrams-} ]]; then
            skip "$arch: calls of a tap" "no tap can be made here"
            continue
        fi
        export log=$work/calls-tap-$arch calls=$work/calls arch_out=$root/out/$arch said=$work/out
        : >"$log"
        for words in "" closed; do
            # shellcheck disable=SC2016
            in_namespace "source $work/inside.sh"'
                "$calls" "$log" "$arch_out/mini-launch" --tunnet 10.7.0.1 '"$root/out/guests/responder $words"' </dev/null &
                child=$!
                until_said slot "$said"
                if [[ -z "'"$words"'" ]]; then answer 10.7.0.2 100 1000 4 >/dev/null; end 10.7.0.2; wait $child; exit; fi
                for n in {1..50}; do echo x >/dev/udp/10.7.0.2/7; done 2>/dev/null
                until_said "read(tap)" "$log"
                kill $(pgrep -P $child); wait $child'
        done
        of_feature $arch "a tap"

        [[ -x ${offloads-} ]] || continue
        log=$work/calls-offloads-$arch
        : >"$log"
        in_namespace 'ip tuntap add dev last7 mode tap && ip link set last7 up && "$@"' - \
            "$calls" "$log" "out/$arch/mini-launch" --engine builtin --tap last7 "$offloads"
        of_feature $arch "a tap of a PC's" "a tap"
    done

    # Told to end while its guest writes: it does not wait for the disk, for which no signal ends a wait.
    truncate -s 1G "$work/disk-told"
    log=$work/calls-told
    : >"$log"
    "$work/calls" "$log" out/x86_64/mini-launch --block "$work/disk-told" out/guests/block write </dev/null >/dev/null 2>&1 &
    child=$!
    while ! grep -q 'writev(disk)' "$log" && kill -0 $child 2>/dev/null; do sleep 0.05; done
    kill -TERM "$(pgrep -P $child)"
    wait $child
    check "a launch that a signal ends waits for no disk" "$? $(grep -c '(assistant)' "$log")" = "143 0"

    # instead ARCH NUMBER ARGUMENTS...: what becomes of a launcher that makes this call.
    instead() {
        local arch=$1
        shift
        CALLS_INSTEAD="$*" timeout 60 "$work/calls" /dev/null "out/$arch/mini-launch" out/guests/hello \
            </dev/null >/dev/null 2>&1
        code=$?
    }
    while read -r arch what words; do
        if ! "out/$arch/mini" --version >/dev/null 2>&1; then
            skip "$arch: who takes it over and tries $what is ended" "this machine does not run $arch programs"
            continue
        fi
        # shellcheck disable=SC2086
        instead "$arch" $words
        check "$arch: who takes it over and tries $what is ended by SIGSYS" "$code" = 159
    done <<'ATTEMPTS'
x86_64 open 2 0 0
x86_64 openat 257 -100 0 0
x86_64 execve 59 0 0 0
x86_64 fork 57
x86_64 clone 56 17 0 0 0 0
x86_64 ptrace 101 0 1
x86_64 a-socket-of-the-network 41 2 1 0
x86_64 a-signal-for-process-1 62 1 15
x86_64 a-signal-for-its-group 62 0 15
x86_64 executable-memory 9 0 4096 7 0x22 -1 0
x86_64 memory-made-executable 10 0x400000 4096 5
x86_64 a-file-mapped-that-it-has-not 9 0 4096 1 2 77 0
x86_64 typing-into-the-terminal 16 0 0x5412 0
x86_64 a-write-to-the-kernel-file 1 4 0 0
x86_64 io_uring_setup 425 1 0
x86_64 a-call-of-x32 0x40000000 0 0 0
x86_64 prctl 157 22 0
i386 open 5 0 0
i386 execve 11 0 0 0
i386 a-socket 102 1 0
i386 a-signal-for-process-1 37 1 15
i386 executable-memory 192 0 4096 7 0x22 -1 0
i386 memory-made-executable 125 0x70000000 4096 5
ATTEMPTS
fi
