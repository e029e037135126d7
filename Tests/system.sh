#!/usr/bin/env bash
# System tests: the built binaries as a person runs them, with the guests of Tests/Guests.
# Each test says what must be true; a test that cannot run says why it was skipped. With words: only these files of
# Tests/system, with what is built.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
root=$PWD
# shellcheck source=Tests/results.sh
source Tests/results.sh
work=$(mktemp -d) && work=$(realpath "$work") || exit
trap work_end EXIT
without_spaces
# shellcheck source=tools/debian.sh
source tools/debian.sh

# launch ARCH WORDS...: runs mini-launch without input; sets $output, $errors, $code.
launch() {
    local arch=$1
    shift
    timeout 600 "$root/out/$arch/mini-launch" "$@" </dev/null >"$work/out" 2>"$work/err"
    code=$?
    output=$(<"$work/out") errors=$(<"$work/err")
}

# expect SENTENCE CODE OUTPUT-PATTERN ERROR-PATTERN: bash patterns over the last launch.
expect() {
    # shellcheck disable=SC2053
    if [[ $code == "$2" && $output == $3 && $errors == $4 ]]; then
        ok "$1"
    else
        not_ok "$1" "exit $code (wanted $2)" "output: ${output:0:300}" "errors: ${errors:0:300}"
    fi
}

# ended CHILD: waits for it, ten minutes at most; its code is the result.
ended() {
    local tries=0
    while [[ $'\n'$(jobs -rp)$'\n' == *$'\n'$1$'\n'* ]]; do
        ((tries++ < 12000)) || { kill "$1" && break; }
        sleep 0.05
    done
    wait "$1" 2>/dev/null
}

# --- in the background, with an input of its own ---------------------------------------------------------

# printed COUNT: waits until the one in the background has printed so many lines.
printed() { for _ in {1..600}; do (($(wc -l <"$work/out") >= $1)) && break; sleep 0.05; done; }

# running COMMAND WORDS...: in the background, with descriptor 8 as its input and further ones that are not
# its business; $child when it has printed something.
running() {
    rm -f "$work/hold"
    mkfifo "$work/hold"
    : >"$work/out"
    "$@" <"$work/hold" >"$work/out" 2>"$work/err" 7</dev/null 9</etc/passwd &
    child=$!
    exec 8>"$work/hold"
    printed 1
}

# again COMMAND WORDS...: a guest that is started three times, and its kernel's file gone meanwhile. $kernel: another one than
# lguest's.
again() {
    cp "${kernel:-out/guests/again}" "$work/kernel"
    running "$@" "$work/kernel"
    rm "$work/kernel"
    for round in 2 3; do printf x >&8; printed $round; done
    printf o >&8
    wait $child
    code=$? output=$(<"$work/out") errors=$(<"$work/err")
    exec 8>&-
}

# --- in namespaces of its own ------------------------------------------------------------------------------

# in_namespace SCRIPT WORDS...: runs a bash script where it may make interfaces.
# Datagrams may be lost on the way, a few of them; none may be damaged.
in_namespace() {
    timeout 600 unshare --net -- bash -c "$@" </dev/null >"$work/out" 2>"$work/err"
    code=$?
    output=$(<"$work/out") errors=$(<"$work/err")
}

# boot ARCH TABLE [KERNEL COMMAND LINE]: process 1 carries out the table; sets $output and $code. With words in $front
# these start it.
boot() {
    printf '%s' "mini.table=$work/table ${3-}" >"$work/cmdline"
    printf '%s' "$2" >"$work/table"
    local binary=$root/out/$1/mini-init
    # The shell's own word about the signal is dropped.
    # shellcheck disable=SC2016
    (timeout -k 5 600 unshare ${spaces:+$spaces} --user --map-root-user --pid --fork --mount --kill-child sh -c '
        mount -t proc proc /proc && mount --bind "$1" /proc/cmdline && exec $3 "$2"
    ' sh "$work/cmdline" "$binary" "${front-}" </dev/null >"$work/out" 2>&1; exit $?) 2>/dev/null
    code=$?
    output=$(<"$work/out")
}

# booted SENTENCE CODE PATTERN: a bash pattern over the last boot's output.
booted() {
    # shellcheck disable=SC2053
    if [[ $code == "$2" && $output == $3 ]]; then
        ok "$arch: process 1: $1"
    else
        not_ok "$arch: process 1: $1" "exit $code (wanted $2)" "output: ${output:0:600}"
    fi
}
# What the ends of a machine look like.
# shellcheck disable=SC2034
powered_off=130 rebooted=129
# shellcheck disable=SC2034
off="mini-init: powering off"

parts=("$@")
((${#parts[@]})) || { parts=(Tests/system/*.sh) && parts=("${parts[@]##*/}"); }
for part in "${parts[@]}"; do
    # shellcheck source=/dev/null
    source "Tests/system/${part%.sh}.sh"
done

results_end
