#!/usr/bin/env bash
# Tests of an initramfs: the archives that mini-pack writes, and what Debian's own kernels, booted in
# QEMU, do with them. A machine that cannot have QEMU or the packages skips
# those and says why. With words: only these parts of Tests/initramfs.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
root=$PWD
# shellcheck source=Tests/results.sh
source Tests/results.sh
work=$(mktemp -d) && work=$(realpath "$work") || exit
trap work_end EXIT

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

results_end
