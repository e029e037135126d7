#!/usr/bin/env bash
# The fuzzers of Tests/Fuzz: the cases that were kept, and then new ones. Without an argument as many as in
# every test run, always the same; with a number of seconds so long for each target, from a seed of its own,
# and what ends a run is kept in out/crashes.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
seconds=${1:-}

# shellcheck source=Tests/results.sh
source Tests/results.sh

# finds_nothing PREFIX SENTENCE COMMAND...: where the command ends well, what it says is the result, after PREFIX; else it is
# shown below SENTENCE.
finds_nothing() {
    local prefix=$1 sentence=$2 said
    shift 2
    if said=$("$@" 2>&1); then ok "$prefix$said"; else not_ok "$sentence" "$said"; fi
}

crashes=out/crashes
mkdir -p "$crashes"
for arch in x86_64 i386; do
    fuzz=out/$arch/fuzz
    # The runner itself: cases that end their process are told, kept, and end it again; the others are taken.
    rm -f "$crashes"/trap-*
    said=$("$fuzz" trap --usual --crashes "$crashes" 2>&1)
    code=$?
    kept=("$crashes"/trap-crash-*)
    "$fuzz" trap --replay "${kept[0]}" 2>/dev/null
    if [[ $code == 1 && $? == 70 && ${said##*: } == "2000 cases, ${#kept[@]} crashes, 0 hangs"* ]]; then
        ok "$arch: a case that ends its process is kept, and ends it again"
    else
        not_ok "$arch: a case that ends its process is kept, and ends it again" "$said"
    fi
    rm -f "$crashes"/trap-*
    for target in $("$fuzz" --list); do
        for file in Tests/Fuzz/kept/"$target"-*; do
            [[ -e $file ]] || continue
            said=$(timeout -s KILL 120 "$fuzz" "$target" --replay "$file" 2>&1)
            code=$?
            sentence="$arch: ${file##*/} is taken"
            if ((code == 0)); then ok "$sentence"; else not_ok "$sentence" "$said" "$code"; fi
        done
        if [[ -n $seconds ]]; then
            seed=$RANDOM$RANDOM
            how=(--seed "$seed" --seconds "$seconds")
        else
            how=(--usual --seed 1)
        fi
        # In the checked build, where there is one, what only it can see.
        if [[ $target == @(guests|systems|longs) && -n $seconds && -x $fuzz-checked ]]; then
            finds_nothing "checked build: " "$arch: the checked build finds nothing in $target" \
                "$fuzz-checked" "$target" "${how[@]}" --crashes "$crashes"
        fi
        finds_nothing "" "$arch: no case of $target ends or stops a run" "$fuzz" "$target" "${how[@]}" --crashes "$crashes"
    done
done
results_end
