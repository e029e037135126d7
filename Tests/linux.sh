#!/usr/bin/env bash
# Debian's own kernels, started by mini-launch as a person starts them: on the software processors, and on
# KVM, which QEMU's software emulation has. What cannot be had is skipped, with the reason. With words: only these parts
# of Tests/linux.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
root=$PWD
# shellcheck source=Tests/results.sh
source Tests/results.sh
work=$(mktemp -d) && work=$(realpath "$work") || exit
trap work_end EXIT
# shellcheck source=Tests/linux/machine.sh
source Tests/linux/machine.sh

# launch ARCH WORDS...: runs mini-launch; sets $output, $errors, $code. The line ends of a serial port go.
launch() {
    local arch=$1
    shift
    timeout 600 "out/$arch/mini-launch" "$@" </dev/null >"$work/out" 2>"$work/err"
    code=$?
    output=$(tr -d '\r' <"$work/out") errors=$(<"$work/err")
}

# expect SENTENCE CODE OUTPUT-PATTERN ERROR-PATTERN: bash patterns over the last launch.
expect() {
    # shellcheck disable=SC2053
    if [[ $code == "$2" && $output == $3 && $errors == $4 ]]; then
        ok "$1"
    else
        not_ok "$1" "exit $code (wanted $2)" "output: ${output: -600}" "errors: ${errors: -300}"
    fi
}

# unified_image ARCH OUT SECTION=FILE...: a unified kernel image as Debian has it: systemd's program for EFI firmware with these
# sections behind its own.
unified_image() {
    local stub=$root/out/debian/stub-$1 out=$2 part words=() address=$((0x2000000))
    command -v objcopy >/dev/null || { debian_missing="there is no objcopy" && return 1; }
    debian_alone "$stub" unified_stub "$1" "$stub" || return
    shift 2
    for part in "$@"; do
        words+=(--add-section "$part" --change-section-vma "${part%%=*}=$address")
        address=$(((address + $(stat -L -c %s "${part#*=}") + 0xFFFF) & ~0xFFFF))
    done
    objcopy "${words[@]}" "$stub/stub" "$out"
}
unified_stub() {
    [[ ! -e $2/stub ]] || return 0
    debian_download "$1" "$2" systemd-boot-efi >/dev/null || return 1
    dpkg-deb --fsys-tarfile "$2"/systemd-boot-efi_*.deb | tar -x -O --wildcards '*/linux*.efi.stub' >"$2/new" 2>"$2/log" && [[ -s $2/new ]] ||
        { debian_missing="cannot unpack systemd-boot-efi for $1: $(tail -n 1 "$2/log")" && return 1; }
    rm -f "$2"/*.deb
    mv "$2/new" "$2/stub"
}

parts=("$@")
((${#parts[@]})) || parts=(software devices kvm)
for part in "${parts[@]}"; do
    # shellcheck source=/dev/null
    source "Tests/linux/$part.sh"
done

results_end
