#!/usr/bin/env bash
# Tests of an initramfs: the archives that mini-pack writes, and what Debian's own kernels, booted in
# QEMU, do with them. A machine that cannot have QEMU or the packages skips
# those and says why. With words: only these parts of Tests/initramfs.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

passed=0 failed=0 skipped=0
ok() { passed=$((passed + 1)) && echo "ok    $1"; }
not_ok() {
    failed=$((failed + 1))
    echo "FAIL  $1"
    shift
    printf '      %s\n' "$@"
}
skip() { skipped=$((skipped + 1)) && echo "SKIP  $1: $2"; }

# check SENTENCE CONDITION...: the condition is a test(1) expression.
check() {
    local sentence=$1
    shift
    if [ "$@" ]; then ok "$sentence"; else not_ok "$sentence" "$*"; fi
}

# same SENTENCE FILE FILE: two files are equal; else the first lines that are not.
same() {
    if cmp -s "$2" "$3"; then ok "$1"; else not_ok "$1" "$(diff "$2" "$3" | head -n 12)"; fi
}

# shellcheck source=Tests/initramfs/machine.sh
source Tests/initramfs/machine.sh
# shellcheck source=Tests/initramfs/console.sh
source Tests/initramfs/console.sh

parts=("$@")
((${#parts[@]})) || parts=(pack boot ends install)
for part in "${parts[@]}"; do
    # shellcheck source=/dev/null
    source "Tests/initramfs/$part.sh"
done

echo "$passed passed, $failed failed, $skipped skipped"
((failed == 0))
