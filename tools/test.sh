# shellcheck shell=bash disable=SC2154
# ./build.sh test [PART...] [WORDS FOR swift test...]: all parts run, whatever becomes of the others, in three lanes beside
# each other, as each waits now and then. What they say is shown in order; a summary comes last. Sourced by build.sh.

# Services of systemd and programs of Python are started with SIGPIPE ignored, which a shell cannot change.
usual_signals=(env "--default-signal=PIPE,XFSZ,XCPU,ALRM,USR1,USR2,PWR")
test_parts=(lint unit system compare initramfs linux xen fuzz)
logs=$root/out/test

# --- the parts, each a function that says `ok`, `FAIL` and `SKIP` ------------------------------------------

lint() {
    # shellcheck source=Tests/results.sh
    source Tests/results.sh
    check_lint "swift format has nothing to say" swift format lint --strict -r Sources Tests Package.swift
    if ! command -v shellcheck >/dev/null; then
        skip "shellcheck" "shellcheck is not installed"
    else
        check_lint "shellcheck: bash" shellcheck -S warning build.sh .ci/run tools/*.sh Tests/*.sh Tests/xen/*.sh Tests/initramfs/*.sh Tests/linux/*.sh \
            contrib/dracut/95mini/*.sh contrib/mkinitcpio/*/mini contrib/initramfs-tools/hooks/mini \
            contrib/initramfs-tools/scripts/*/mini contrib/completion/mini.bash
        # Pieces of system.sh and bench.sh, which set what they use.
        check_lint "shellcheck: pieces of other scripts" shellcheck -S warning -s bash -e SC2034,SC2154 Tests/system/*.sh \
            Tests/bench/{kvm,pc,wide}.sh
        check_lint "shellcheck: cases that run in any shell" shellcheck -S warning -s sh -e SC2154 Tests/compare/cases.sh
        check_lint "shellcheck: a machine with /dev/lguest" shellcheck -S warning -s sh Tests/bench/device.sh
        # The parts are pieces of one script.
        check_lint "shellcheck: what runs on Xen" shellcheck -S warning -s dash -e SC1090,SC2034,SC2154 Tests/xen/guest/*
    fi
    local part
    for part in "${all_parts[@]}"; do check_lint "--parts $part: it compiles by itself" check_part "$part"; done
    results_end
}
check_lint() {
    local sentence=$1 said
    shift
    if said=$("$@" 2>&1); then ok "$sentence"; else not_ok "$sentence" "$said"; fi
}

# The debug build: it takes a third of the time that the optimised one takes to compile, and some minutes to run. One test
# after the other: who closes a descriptor twice is seen to do so, as nobody else opens one in between, and the other
# lanes have use for the second processor.
build_unit() { swift build --build-tests "${unit_flags[@]}"; }
# What SwiftPM looks for tests in is the index; nobody looks for the toolchain's modules there.
unit_flags=(-Xswiftc -index-ignore-system-modules)
unit() {
    local words=("$@")
    ((${#words[@]})) || words=(--skip-build)
    [[ " ${words[*]} " != *" release "* ]] || words+=(-Xswiftc -enable-testing)
    MINI_XEN_HEADERS=$(xen_headers) MINI_OUT=$root/out MINI_ORACLE=$root/out/oracle \
        SWIFT_BACKTRACE=enable=yes,color=no,interactive=no,threads=crashed,registers=none,images=none,limit=64,top=0 \
        "${usual_signals[@]}" swift test --no-parallel "${unit_flags[@]}" "${words[@]}"
}

run_test_part() {
    case $1 in
    lint) lint ;;
    unit) unit "${test_words[@]}" ;;
    # Built beside what the other parts wait for.
    fuzz) (fuzzers) && "${usual_signals[@]}" Tests/fuzz.sh ;;
    *) "${usual_signals[@]}" "Tests/$1.sh" ;;
    esac
}

# --- running them ----------------------------------------------------------------------------------------

# run_lane PART...: those of them that are wanted, one after the other.
run_lane() {
    local part code began
    for part; do
        [[ " $wanted_parts " == *" $part "* ]] || continue
        began=$SECONDS code=0
        MINI_TIMES=$logs/$part.times run_test_part "$part" >>"$logs/$part.log" 2>&1 </dev/null || code=$?
        echo "$code $((SECONDS - began))" >"$logs/$part.end"
    done
}

# in_background FUNCTION WORDS...: in a process group of its own, so that all of it can be ended; sets $background.
in_background() {
    set -m
    "$@" &
    background=$!
    set +m
    test_groups+=("$background")
}
# What runs below timeout(1) and script(1) is in groups of their own: it is known by its parents.
end_groups() {
    local group below
    mapfile -t below < <(cat /proc/[0-9]*/stat 2>/dev/null | awk -v groups=" ${test_groups[*]} " -v self=$$ '
        { pid = $1; sub(/.*\) /, ""); parent[pid] = $2 }
        END { for (pid in parent) for (up = parent[pid]; up > 1; up = (up in parent) ? parent[up] : 0)
            if (parent[up] == self && index(groups, " " up " ")) { print pid; break } }')
    for group in "${test_groups[@]}"; do kill -TERM -- "-$group" 2>/dev/null || true; done
    ((!${#below[@]})) || kill -TERM "${below[@]}" 2>/dev/null || true
}

# show PART PID: what the part says, while it says it; of the unit tests what is worth a look.
show() {
    printf '\n== %s ==\n' "$1"
    [[ -e $logs/$1.log ]] || : >"$logs/$1.log"
    local drop='^$'
    [[ $1 != unit ]] || drop='^(◇|✔ (Test|Suite) .* passed|\[[0-9]+/[0-9]+\]|$)'
    (while [[ ! -e $logs/$1.end ]] && kill -0 "$2" 2>/dev/null; do sleep 0.2; done) &
    local over=$!
    tail -n +1 -s 0.2 -f --pid=$over "$logs/$1.log" 2>/dev/null | grep -aEv --line-buffered "$drop" || true
    wait "$over" 2>/dev/null || true
}

# count PART: sets $passed, $failed and $skipped from what it said; a part that did not come to its end has failed once.
count() {
    local log=$logs/$1.log code seconds
    read -r code seconds 2>/dev/null <"$logs/$1.end" || code=1 seconds=0
    part_seconds=$seconds
    [[ -e $log ]] || : >"$log"
    if [[ $1 == unit ]]; then
        # Lines of tests can have others' words in them; that about the whole run comes last, and by itself.
        local all
        all=$(sed -nE 's/^(✔|✘) Test run with ([0-9]+) tests? .*/\2/p' "$log" | tail -n 1)
        failed=$(grep -aE '^✘ Test .* failed after' "$log" | grep -vc '^✘ Test run with ' || true)
        skipped=$(grep -acE '^➜ +Test .* skipped' "$log" || true)
        passed=$((${all:-0} - failed - skipped))
        ((passed > 0)) || passed=0
        grep -qaE '^✔ Test run with ' "$log" || ((failed)) || failed=1
    else
        passed=$(grep -ac '^ok    ' "$log" || true)
        failed=$(grep -ac '^FAIL  ' "$log" || true)
        skipped=$(grep -ac '^SKIP  ' "$log" || true)
    fi
    ((code == 0 || failed)) || failed=1
}

# The ten slowest tests, of all parts.
slowest() {
    {
        for part; do [[ ! -e $logs/$part.times ]] || sed "s/^\([0-9.]*\) /\1 $part: /" "$logs/$part.times"; done
        [[ ! -e $logs/unit.log ]] ||
            sed -nE 's/^(✔|✘) +(Test .*) (passed|failed) after ([0-9.]+) seconds.*/\4 unit: \2/p' "$logs/unit.log" | grep -v 'Test run with'
    } | sort -rn | head -n 10 | awk '{ seconds = $1; $1 = ""; printf "  %6.1f s %s\n", seconds, substr($0, 1, 150) }'
}

# Why the unit tests did not come to their end, and where.
unit_trouble() {
    local log=$logs/unit.log
    [[ -e $log ]] && ! grep -qaE '^(✔|✘) Test run with ' "$log" || return 0
    grep -aE 'Fatal error|Program crashed|unexpected signal|(^|: )error: |^ *[0-9]+ .* in miniPackageTests' "$log" | head -n 20 |
        cut -c1-300 | sed 's/^/unit: /' || true
}

summary() {
    local part passed failed skipped part_seconds all=(0 0 0)
    printf '\n== summary ==\n%-12s %7s %7s %7s %8s\n' part passed failed skipped seconds
    for part; do
        count "$part"
        all=($((all[0] + passed)) $((all[1] + failed)) $((all[2] + skipped)))
        printf '%-12s %7d %7d %7d %8d\n' "$part" "$passed" "$failed" "$skipped" "$part_seconds"
    done
    printf '%-12s %7d %7d %7d %8d\n\nslowest:\n' "all" "${all[@]}" "$SECONDS"
    # `head` ends the pipe early.
    slowest "$@" || true
    for part; do
        if [[ -e $logs/$part.log ]]; then
            grep -aE '^(FAIL  |SKIP  |✘ Test .*(failed after|recorded an issue)|➜ +Test )' "$logs/$part.log" | grep -v 'Test run with' | cut -c1-300 |
                sed "s/^/$part: /"
        fi
    done || true
    unit_trouble
    echo "${all[0]} passed, ${all[1]} failed, ${all[2]} skipped"
    ((all[1] == 0))
}

# needs PART...: is one of these wanted?
needs() {
    local part
    for part; do [[ " $wanted_parts " != *" $part "* ]] || return 0; done
    return 1
}

test_all() {
    local parts=() part
    test_words=() test_groups=()
    while (($#)) && [[ $1 != -* ]]; do
        [[ " ${test_parts[*]} fresh " == *" $1 "* ]] || { say "build.sh: no such part of the tests: $1; there are ${test_parts[*]} fresh" && exit 2; }
        parts+=("$1")
        shift
    done
    if [[ " ${parts[*]} " == *" fresh "* ]]; then
        ((${#parts[@]} == 1 && $# == 0)) || { say "build.sh: test fresh stands alone" && exit 2; }
        test_fresh
        return
    fi
    test_words=("$@")
    # Words for `swift test` mean the unit tests.
    ((${#parts[@]} || !$#)) || parts=(unit)
    ((${#parts[@]})) || parts=("${test_parts[@]}")
    wanted_parts="${parts[*]}"
    if (($#)) && ! needs unit; then say "build.sh: $1 is for the part unit" && exit 2; fi

    rm -rf "$logs"
    mkdir -p "$logs"
    if needs unit; then need toolchain build unit; else need toolchain build; fi
    want "${parts[@]}"
    trap end_groups EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM

    local lanes=() builder=
    # The two of them have use for two processors, and most parts wait for them alone.
    if needs unit system compare initramfs linux xen fuzz; then (build_changed x86_64 i386) || die "the build has failed"; fi
    if needs unit && ((!${#test_words[@]})); then
        say "build.sh: building the unit tests"
        in_background build_unit >"$logs/unit.log" 2>&1
        builder=$background
    fi
    if needs unit system compare initramfs linux xen fuzz; then (guests && oracle && initramfs) || die "the build has failed"; fi
    # About as long as each other. What fetches and boots Debian's kernels stands in one lane.
    in_background run_lane xen lint
    lanes[0]=$background
    in_background run_lane system compare initramfs linux
    lanes[1]=$background
    local last=(unit fuzz)
    if [[ -n $builder ]] && ! wait "$builder"; then
        # What an earlier build has left is not what was asked for.
        say "build.sh: the unit tests do not compile"
        echo "1 0" >"$logs/unit.end"
        last=(fuzz)
    fi
    in_background run_lane "${last[@]}"
    lanes[2]=$background
    for part in "${parts[@]}"; do
        case $part in
        xen | lint) show "$part" "${lanes[0]}" ;;
        system | compare | initramfs | linux) show "$part" "${lanes[1]}" ;;
        *) show "$part" "${lanes[2]}" ;;
        esac
    done
    # They have ended, and their numbers may be others' by now.
    wait "${lanes[@]}" 2>/dev/null || true
    test_groups=()
    summary "${parts[@]}"
}
