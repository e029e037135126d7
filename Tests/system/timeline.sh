# shellcheck shell=bash
# --timeline: what is in the file after a launch, after restarts, after a guest that did not start; and the
# files that cannot have one. Sourced by system.sh.

# happened: the names of what happened, each once, in their order.
happened() { sed -nE '/"ph":"M"/d; s/^\{"name":"([^"]*)".*/\1/p' "$work/timeline" | awk '!seen[$0]++' | paste -sd' '; }

for arch in x86_64 i386; do
    if ! "out/$arch/mini" --version >/dev/null 2>&1; then
        skip "$arch: timelines" "this machine does not run $arch programs"
        continue
    fi
    trace=$work/timeline
    launch $arch --timeline "$trace" out/guests/hello
    expect "$arch: a launch with a timeline is as any other" 0 "hello from ring 1" ""
    check "$arch: the timeline has its phases, what the guest did, and its end" "$(happened)" = \
        "engine memory image unpacking devices guest sandbox first instruction first output"
    check "$arch: and how it ended" "$(grep -c '"outcome":"the guest powered itself off"' "$trace")" = 1
    if command -v python3 >/dev/null; then
        check "$arch: a reader of JSON takes it" \
            "$(python3 -c 'import json, sys; print(len(json.load(open(sys.argv[1]))["traceEvents"]) > 10)' "$trace")" = True
    else
        skip "$arch: a reader of JSON takes the timeline" "python3 is not installed"
    fi
    truncate -s 1M "$work/disk-timeline"
    launch $arch --sandbox=require --timeline="$trace" --block "$work/disk-timeline" out/guests/block write check
    check "$arch: a disk's first use is in it, in the sandbox" \
        "$(grep -c '"name":"first use","ph":"i","s":"t","pid":1,"tid":4,' "$trace")" = 1
    check "$arch: a disk that can be written is no larger for it" "$(stat -c %s "$work/disk-timeline")" = 1048576

    # A guest that asks for a reboot after each key, three times.
    again "out/$arch/mini-launch" --timeline "$trace"
    check "$arch: restarts are in it" "$(grep -c '"name":"first instruction"' "$trace")" = 3

    launch $arch --verbose out/guests/hello
    check "$arch: --verbose ends with it, as five lines" "$(tail -n 5 <<<"$errors" | sed 's/[0-9.]\{4,\}/T/g')" = "\
mini-launch: timeline, in milliseconds since the start:
mini-launch: ready: engine T, memory T, image T, unpacking T, devices T, guest T, sandbox T
mini-launch: first instruction T
mini-launch: first output T
mini-launch: end T: the guest powered itself off"

    echo "no kernel" >"$work/no-kernel"
    launch $arch --timeline "$trace" "$work/no-kernel"
    check "$arch: a guest that does not start has one, too" "$code $(grep -c '"name":"no start".*cannot start' "$trace")" = "3 1"

    cp out/guests/hello "$work/kernel-timeline"
    launch $arch --timeline "$work/kernel-timeline" "$work/kernel-timeline"
    expect "$arch: the kernel is not written over" 2 "" "mini-launch: timeline \"$work/kernel-timeline\" is the kernel itself"
    check "$arch: it is as it was" "$(cmp "$work/kernel-timeline" out/guests/hello 2>&1)" = ""
    # FILE is forgotten: the kernel stands in its place, and a word of its own in the kernel's.
    launch $arch --timeline "$work/kernel-timeline" quiet
    expect "$arch: what is no timeline is not written over" 2 "" "mini-launch: timeline \"$work/kernel-timeline\" is there and is no timeline: remove it first"
    check "$arch: it is as it was, too" "$(cmp "$work/kernel-timeline" out/guests/hello 2>&1)" = ""
    launch $arch --timeline - out/guests/hello
    expect "$arch: standard output is the guest's" 2 "" "mini-launch: timeline \"-\" is the guest's console: name a file"
    launch $arch --timeline /dev/full out/guests/hello
    expect "$arch: a device is refused before the guest starts" 1 "" "mini-launch: timeline \"/dev/full\" is not a regular file"
    launch $arch --timeline "$work/none/t" out/guests/hello
    expect "$arch: so is a file that cannot be made" 1 "" "mini-launch: cannot write timeline *: no such file (ENOENT)"
    launch $arch --timeline "$work/out" out/guests/hello
    expect "$arch: and the guest's own output" 2 "" "mini-launch: timeline * is the launcher's output itself"
    if command -v flock >/dev/null; then
        said=$(flock "$trace" "out/$arch/mini-launch" --timeline "$trace" out/guests/hello 2>&1 </dev/null; echo $?)
        check "$arch: and one that somebody else has locked, as another launch does" "$said" = \
            "mini-launch: timeline \"$trace\" is in use by another process: each launch needs a file of its own
1"
    else
        skip "$arch: a timeline that somebody else has locked" "there is no flock (package util-linux)"
    fi
    said=$( (ulimit -f 0 && exec "out/$arch/mini-launch" --timeline "$trace" out/guests/hello) 2>&1 </dev/null |
        cat; echo "${PIPESTATUS[0]}")
    check "$arch: a timeline that may not grow is told, and the launch has failed" "$said" = "hello from ring 1
mini-launch: cannot write timeline \"$trace\": file too large (EFBIG)
1"
    # A file system that is full.
    if mkdir -p "$work/full" && mount -t tmpfs -o size=4k none "$work/full" 2>/dev/null; then
        head -c 4096 /dev/zero >"$work/full/zeros"
        launch $arch --timeline "$work/full/t" out/guests/hello
        expect "$arch: a timeline that finds no room is told, and the launch has failed" 1 "hello from ring 1" \
            "mini-launch: cannot write timeline *: no space left on device (ENOSPC)"
        umount "$work/full"
    else
        skip "$arch: a timeline on a full file system" "a tmpfs cannot be mounted here"
    fi
done
