#!/usr/bin/env bash
# Debian's own kernels, started by mini-launch as a person starts them: on the software processors, and on
# KVM, which QEMU's software emulation has. What cannot be had is skipped, with the reason. With words: only these parts
# of Tests/linux.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# shellcheck source=Tests/results.sh
source Tests/results.sh
# shellcheck source=tools/debian.sh
source tools/debian.sh

# initrd ARCH BUSYBOX OUT TABLE [MORE...]: mini as process 1, with a table, and busybox.
initrd() {
    local arch=$1 busybox=$2 out=$3 table=$4
    shift 4
    printf '%s\n' "$table" >"$out.table"
    "out/x86_64/mini-pack" --dir /proc --dir /sys --dir /dev --dir /run --dir /tmp --link /bin/sh=busybox "$out" \
        "out/$arch/mini=/init,0755" "$busybox=/bin/busybox,0755" "$out.table=/etc/mini.table" "$@"
}

# launch ARCH WORDS...: runs mini-launch; sets $output, $errors, $code. The line ends of a serial port go.
launch() {
    local arch=$1
    shift
    timeout 600 "out/$arch/mini-launch" "$@" </dev/null >"$work/out" 2>"$work/err"
    code=$?
    output=$(tr -d '\r' <"$work/out") errors=$(<"$work/err")
}

# expect SENTENCE CODE OUTPUT-PATTERN ERROR-PATTERN: bash patterns over the last launch.
expect() {
    # shellcheck disable=SC2053
    if [[ $code == "$2" && $output == $3 && $errors == $4 ]]; then
        ok "$1"
    else
        not_ok "$1" "exit $code (wanted $2)" "output: ${output: -600}" "errors: ${errors: -300}"
    fi
}

parts=("$@")
((${#parts[@]})) || parts=(software devices kvm)
for part in "${parts[@]}"; do
    # shellcheck source=/dev/null
    source "Tests/linux/$part.sh"
done

results_end
