#!/usr/bin/env bash
# Tests on a real Xen, booted in QEMU (docs/XEN_BENCH.md): each word names a part of Tests/xen/guest, all of
# them run in one boot. A machine that cannot have QEMU or the packages skips them and says why.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
root=$PWD
# shellcheck source=Tests/xen/machine.sh
source Tests/xen/machine.sh

# shellcheck source=Tests/results.sh
source Tests/results.sh

parts=("$@")
((${#parts[@]})) || parts=(loop kills start sandbox pv pvh saved stub qemu stubwires stubfaults stubmemory readme large)

if ! xen_make; then
    skip "a real Xen: $xen_missing"
else
    # What dom0's parts print: results, and at a part's end how many there were.
    : >"$xen/console.log"
    left=("${parts[@]}") ended=' '
    for _ in 1 2 3; do
        part='' results=0 again=
        while IFS= read -r line; do
            # What was written over on a line, as a program does that tells how far it is, does not count.
            # (The serial line ends each with two carriage returns.)
            while [[ $line == *$'\r' ]]; do line=${line%$'\r'}; done
            line=${line##*$'\r'}
            printf '%s\n' "$line" >&3
            case $line in
            'PART '*) part=${line#PART } results=0 ;;
            'PASS '*) results=$((results + 1)) && ok "xen $part: ${line#PASS }" ;;
            'FAIL '*) results=$((results + 1)) && not_ok "xen $part: ${line#FAIL }" ;;
            'SKIP '*) results=$((results + 1)) && skip "xen $part: ${line#SKIP }" ;;
            'END '*)
                [[ $line == "END $part $results" ]] || not_ok "xen $part: $results results arrived, the part says: $line"
                ended+="$part "
                ;;
            # Xen counts ticks at its start, and panics when others have kept the emulator waiting.
            HANGS | *"timer doesn't work"*) again=$line ;;
            esac
        done 3>>"$xen/console.log" < <(xen_boot_watched 3600 \
            "tests=$(IFS=+ && echo "${left[*]}")${MINI_KILLS:+ kills=$MINI_KILLS}" </dev/null 2>&1)
        left=()
        for part in "${parts[@]}"; do [[ $ended == *" $part "* ]] || left+=("$part"); done
        [[ -n $again && ${#left[@]} != 0 ]] || break
        echo "the emulated machine has failed ($again); once more: ${left[*]}"
    done
    for part in "${left[@]}"; do not_ok "xen $part: did not come to its end; the console is in out/xen/console.log"; done
fi

results_end
