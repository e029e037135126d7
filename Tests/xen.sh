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
    part='' results=0 ended=' '
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
        esac
    # Xen counts ticks at its start, and panics when others have kept the emulator waiting.
    done 3>"$xen/console.log" < <(for _ in 1 2 3; do
        xen_boot 3600 "tests=$(IFS=+ && echo "${parts[*]}")${MINI_KILLS:+ kills=$MINI_KILLS}" </dev/null 2>&1 | tee "$xen/boot.log"
        grep -aq "timer doesn't work" "$xen/boot.log" || break
    done)
    for part in "${parts[@]}"; do
        [[ $ended == *" $part "* ]] || not_ok "xen $part: did not come to its end; the console is in out/xen/console.log"
    done
fi

results_end
