# Files that others cut short while they are mapped. Sourced by system.sh.

wait_for() { # wait_for COMMAND...: until it succeeds, a minute at the most
    for _ in {1..600}; do "$@" 2>/dev/null && return; sleep 0.1; done
    return 1
}
has_line() { grep -q -- "$2" "$1"; }

for arch in x86_64 i386; do
    if ! "out/$arch/mini" --version >/dev/null 2>&1; then
        skip "$arch: files that become shorter" "this machine does not run $arch programs"
        continue
    fi
    # The guest goes on in its own pages, which are the file's, when a key arrives.
    mkfifo "$work/keys-$arch"
    for starter in "" "env --block-signal"; do
        cp out/guests/echo "$work/cut-$arch"
        # What an earlier one has said is not this one's.
        rm -f "$work/out" "$work/err"
        $starter "out/$arch/mini-launch" --engine builtin "$work/cut-$arch" <"$work/keys-$arch" >"$work/out" 2>"$work/err" &
        pid=$!
        exec 7>"$work/keys-$arch"
        wait_for has_line "$work/out" echo
        : >"$work/cut-$arch"
        printf 'x' >&7
        (wait_for has_line "$work/err" . || kill $pid) &
        wait $pid
        code=$?
        exec 7>&-
        output=$(<"$work/out") errors=$(<"$work/err")
        expect "$arch: a kernel that becomes shorter under its guest ends it with a line${starter:+, also where all signals were held back}" \
            1 "*" "mini-launch: \"$work/cut-$arch\" became shorter while it was in use"
    done

    # The launcher itself takes the guest's name off the network at the end.
    : >"$work/net-$arch"
    rm -f "$work/out" "$work/err"
    "out/$arch/mini-launch" --engine builtin --sharenet "$work/net-$arch" out/guests/echo \
        <"$work/keys-$arch" >"$work/out" 2>"$work/err" &
    pid=$!
    exec 7>"$work/keys-$arch"
    wait_for has_line "$work/out" echo
    : >"$work/net-$arch"
    printf 'off\n' >&7
    exec 7>&-
    wait $pid
    code=$?
    output=$(<"$work/out") errors=$(<"$work/err")
    expect "$arch: a network file that becomes shorter harms neither guest nor launcher" 0 "echo*" ""
    rm -f "$work/keys-$arch"
done
