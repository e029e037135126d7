# shellcheck shell=bash
# How the tests in shell tell what they found: a line each, and how many at the end.
passed=0 failed=0 skipped=0
# Whatever the caller has: tests look at files' modes and times and at what programs say, and make scripts with names of files.
umask 022
export LC_ALL=C TZ=UTC0
[[ ${TMPDIR-} != *[[:space:]]* ]] || unset TMPDIR

# What `--version` says.
# shellcheck disable=SC2034
mini_version=$(sed -n 's/.*let version: StaticString = "\(.*\)"/\1/p' Sources/Mini/Commands/Applet.swift)

# without_spaces: $root by a name that has none.
without_spaces() {
    # shellcheck disable=SC2154
    [[ $root != *[[:space:]]* ]] || { ln -s "$root" "$work/checkout" && root=$work/checkout; }
}

# work_end: $work is gone, with what an interrupted run has left mounted or set up there.
work_end() {
    # Not by a child that is ended before it has become its program: bash runs this there, too.
    [[ -n $work && $BASHPID == "$$" ]] || return 0
    local device place
    while read -r _ place _; do [[ $place != "$work"/* ]] || umount -l "$place"; done <<<"$(</proc/self/mounts)"
    while read -r device place; do
        [[ $place != "$work"/* ]] || losetup --detach "$device"
    done < <(losetup --noheadings --output NAME,BACK-FILE 2>/dev/null)
    rm -rf --one-file-system "$work"
}

# Where MINI_TIMES names a file, it gets the seconds that each result took, with the result.
result_clock=${EPOCHREALTIME/[.,]/}
timed() {
    [[ -n ${MINI_TIMES-} ]] || return 0
    local now=${EPOCHREALTIME/[.,]/}
    printf '%d.%03d %s\n' $(((now - result_clock) / 1000000)) $(((now - result_clock) / 1000 % 1000)) "$1" >>"$MINI_TIMES"
    result_clock=$now
}

ok() {
    passed=$((passed + 1))
    echo "ok    $1"
    timed "$1"
}

# not_ok SENTENCE [LINE...]: what was seen instead stands below.
not_ok() {
    failed=$((failed + 1))
    echo "FAIL  $1"
    timed "$1"
    shift
    (($# == 0)) || printf '%s\n' "$@" | sed 's/^/      /'
}

# skip WHAT [REASON]
skip() { skipped=$((skipped + 1)) && echo "SKIP  $1${2:+: $2}"; }

# check SENTENCE CONDITION...: the condition is a test(1) expression.
check() {
    local sentence=$1
    shift
    if [ "$@" ]; then ok "$sentence"; else not_ok "$sentence" "$*"; fi
}

# The last line; false if a test failed.
results_end() {
    echo "$passed passed, $failed failed, $skipped skipped"
    ((failed == 0))
}
