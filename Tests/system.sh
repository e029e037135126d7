#!/usr/bin/env bash
# System tests: the built binaries as a person runs them, with the guests of Tests/Guests.
# Each test says what must be true; a test that cannot run says why it was skipped.
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

for part in Tests/system/*.sh; do
    # shellcheck source=/dev/null
    source "$part"
done

results_end
