# shellcheck shell=bash
# How the tests in shell tell what they found: a line each, and how many at the end.
passed=0 failed=0 skipped=0

ok() { passed=$((passed + 1)) && echo "ok    $1"; }

# not_ok SENTENCE [LINE...]: what was seen instead stands below.
not_ok() {
    failed=$((failed + 1))
    echo "FAIL  $1"
    shift
    (($# == 0)) || printf '      %s\n' "$@"
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
