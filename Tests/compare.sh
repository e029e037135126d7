#!/usr/bin/env bash
# The same guests, with the same input and disks, on every host that there is: the same console
# text, the same errors, codes and disks, but for times. Called by `./build.sh compare`, which has
# built everything; docs/compare.md tells how to have a real /dev/lguest take part.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
root=$PWD
# shellcheck source=Tests/results.sh
source Tests/results.sh
work=$(mktemp -d) && work=$(realpath "$work") || exit
trap work_end EXIT
without_spaces

# What may differ: times, and lines that come at a moment of their own; what a kernel says of the
# processor, which is another one; where files lie. And bit 0 of a page fault's error code: the
# kernel's host fills the tables that the processor sees when a page is first used, so the fault
# that a guest is told of may have found nothing there, whatever the guest's own tables say.
plain() {
    sed -n '/^##### begin/,/^##### end/p' | tr -d '\r' |
        sed -E -e 's/ in [0-9]+ ms/ in N ms/; s/differ by -?[0-9]+ ms/differ by N ms/; s/^(wall clock).*/\1/' \
            -e 's/^((INIT|READY) )[0-9.]+/\1N/; s/(BIOS-provided|delay loop).*/\1/' \
            -e 's/^\[ *[0-9.]+\] //; s/(vector 14, error) 3/\1 2/; s/(vector 14, error) 5/\1 4/; s/(vector 14, error) 7/\1 6/' \
            -e '/^(CPU|CPU[0-9]): |^Intel |^Detected |^Time: |^Switched to high resolution|clocksource|^Using IPI/d' \
            -e '/^Enabling (fast FPU|unmasked SIMD)|^Compat vDSO|^Checking |processor honours/d' \
            -e "s|$root/out/guests/||; s|/x/||"
}

# cases FOLDER LAUNCH ERA GUESTS: the script that runs them, on standard output.
cases() {
    printf "FILES='%s' LAUNCH='%s' ERA='%s' GUESTS='%s'\n" "$@"
    cat Tests/compare/cases.sh
}

# compare SENTENCE FILE FILE
compare() {
    if ! grep -q '^===' "$2" || ! grep -q '^##### end' "$2"; then
        not_ok "$1" "the cases did not come to their end: $(tail -n 3 "$2")"
    elif diff -u "$2" "$3" >"$work/difference"; then
        ok "$1: $(grep -c '^===' "$2") launches"
    else
        not_ok "$1" "$(head -n 60 "$work/difference")"
    fi
}

for folder in "${MINI_KERNELS:-/nonexistent}"/era[2-9]*; do
    [[ ! -e $folder ]] || skip "${folder##*/}" "the cases are for eras 0 to 1c"
done
for era in 0 1a 1 1b 1c; do
    folder=$work/era$era kernels=${MINI_KERNELS:-/nonexistent}
    guests=
    mkdir -p "$folder"
    if [[ -e $kernels/era$era/vmlinux || -e $kernels/era$era/bzImage ]]; then
        cp "$kernels/era$era/"{vmlinux,bzImage} "$kernels/initrd.cpio.gz" "$folder" 2>/dev/null
    elif [[ $era != 1 ]]; then
        continue
    else
        skip "Linux" "MINI_KERNELS does not name a folder with kernels"
    fi
    if [[ $era == 1 ]]; then
        guests=yes
        find out/guests -maxdepth 1 -type f -exec cp {} "$folder" \;
    fi

    for arch in x86_64 i386; do
        if ! "out/$arch/mini-launch" --version >/dev/null 2>&1; then
            skip "$arch" "this machine does not run $arch programs"
            continue
        fi
        mkdir -p "$work/run"
        cases "$folder" "$root/out/$arch/mini-launch --engine builtin" $era "$guests" >"$work/script"
        (cd "$work/run" && sh "$work/script") 2>&1 | plain | sed "s|$folder/||" >"$work/$arch-$era"
        rm -rf "$work/run"
    done
    [[ -e $work/i386-$era ]] && compare "era $era: the built-in host on x86_64 and i386" "$work/x86_64-$era" "$work/i386-$era"

    if [[ -z ${MINI_HOST:-} ]]; then
        [[ $era == 1 ]] && skip "a real /dev/lguest" "MINI_HOST does not name a command that starts one"
        continue
    fi
    cases /x "mini mini-launch --engine lguest" $era "$guests" >"$work/script"
    sed -i '1i cd /tmp' "$work/script"
    # shellcheck disable=SC2086
    $MINI_HOST era$era "$root/out/i386/mini" "$work/script" "$folder"/* </dev/null 2>&1 | plain >"$work/device-$era"
    compare "era $era: /dev/lguest and the built-in host" "$work/x86_64-$era" "$work/device-$era"
done
results_end
