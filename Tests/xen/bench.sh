# mini-grant beside C programs on libxengnttab and libxenvchan, on a real Xen in QEMU. Sourced by
# Tests/bench.sh, whose row and ratio it uses. Ratios are above 1 where ours is faster.
# shellcheck shell=bash disable=SC2154

root=$PWD
# shellcheck source=Tests/xen/machine.sh
source Tests/xen/machine.sh

# thousandth NUMBER: nanoseconds as microseconds, KB as MB.
thousandth() { awk -v n="$1" 'BEGIN { printf "%.1f", n / 1000 }'; }
millionth() { awk -v n="$1" 'BEGIN { printf "%.3f", n / 1000000 }'; }

# xen_row NAME OURS THEIRS: one BENCH line of Tests/xen/guest/bench.sh as a row of the table.
xen_row() {
    local words ours=$2 theirs=$3 ratio
    ratio=$(ratio "$3" "$2")
    case $1 in
    map1) words="map + touch + unmap of 1 page, us" ;;
    map32) words="map + touch + unmap of 32 pages, us" ;;
    copy1) words="grant copy of 4 KiB, us" ;;
    copy32) words="grant copy of 32 x 4 KiB, us" ;;
    process) words="mini-grant map --out of 1 page, whole process, ms" ;;
    share-map) words="16 MiB share into a file, map, ms" ;;
    share-copy) words="16 MiB share into a file, copy, ms" ;;
    start) words="a stub domain's start, /init to its first program, ms" ;;
    vchan-in-*) words="pipe to libxenvchan, rings of ${1##*-}, MB/s" ;;
    base-in-*) words="  to it, beside the other build's, rings of ${1##*-}, MB/s" ;;
    base-out-*) words="  from it, beside the other build's, rings of ${1##*-}, MB/s" ;;
    vchan-out-*) words="pipe from libxenvchan, rings of ${1##*-}, MB/s" ;;
    *) words=$1 ;;
    esac
    case $1 in
    start) ours=$(millionth "$2") theirs=$(millionth "$3") ;;
    map* | copy*) ours=$(thousandth "$2") theirs=$(thousandth "$3") ;;
    vchan* | base*) ours=$(thousandth "$2") theirs=$(thousandth "$3") ratio=$(ratio "$2" "$3") ;;
    esac
    row "$words" "$ours" "$theirs" "$ratio"
}

if xen_make; then
    while read -r mark name ours theirs; do
        theirs=${theirs//$'\r'/}
        case $mark in
        BENCH) xen_row "$name" "$ours" "$theirs" ;;
        FAIL) echo "$mark $name $ours $theirs" ;;
        esac
    done < <(xen_boot 1200 tests=${BENCH_PARTS:-bench+start+throughput} starts=21 </dev/null 2>&1 | tee "$xen/console.log")
    grep -q '^END throughput' "$xen/console.log" || echo "SKIP  the rest of the figures on Xen: see out/xen/console.log"
else
    echo "SKIP  figures on a real Xen: $xen_missing"
fi
