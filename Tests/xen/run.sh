#!/usr/bin/env bash
# A real Xen for a person: a prompt in dom0 beside a second domain. Without a terminal, a short demo.
# Called by `./build.sh run xen`.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
# shellcheck source=Tests/xen/machine.sh
source Tests/xen/machine.sh

xen_make || { echo "run xen: cannot boot Xen here: $xen_missing" >&2 && exit 1; }
if [[ -t 0 && -t 1 ]]; then
    saved=$(stty -g)
    trap 'stty "$saved"' EXIT
    # Raw, so that ^C reaches dom0 and not QEMU.
    stty raw -echo
    xen_boot 86400 tests=prompt
else
    xen_boot 300 tests=demo </dev/null
fi
