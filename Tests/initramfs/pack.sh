# What mini-pack writes, read by GNU cpio and by kernels. Sourced by initramfs.sh.
# shellcheck shell=bash disable=SC2154

# A tree with one of everything.
tree=$work/tree
mkdir -p "$tree/etc/deep/deeper" "$tree/empty" "$tree/name with space"
printf 'some words\n' >"$tree/etc/words"
printf 'x' >"$tree/etc/deep/deeper/one"
: >"$tree/etc/nothing"
head -c 3000001 /dev/zero | tr '\0' 'z' >"$tree/large"
printf '\1\2\3' >"$tree/name with space/three"
ln -s ../etc/words "$tree/empty/link"
ln "$tree/etc/deep/deeper/one" "$tree/another one"
ln "$tree/etc/nothing" "$tree/also nothing"
ln -s /nowhere "$tree/dangling"
mkfifo "$tree/pipe"
chmod 4755 "$tree/etc/words"
chmod 600 "$tree/etc/nothing"
chmod 1777 "$tree/empty"

# pack ARCH WORDS...: runs mini-pack; sets $output, $errors, $code.
pack() {
    local arch=$1
    shift
    timeout 600 "$root/out/$arch/mini-pack" "$@" </dev/null >"$work/out" 2>"$work/err"
    code=$?
    errors=$(<"$work/err")
}

# refused SENTENCE CODE LINE WORDS...: mini-pack refuses WORDS with exactly this line, and leaves no file.
refused() {
    local sentence=$1 wanted=$2 line=$3
    shift 3
    rm -rf "$work/made" && mkdir "$work/made"
    pack "$arch" "$@"
    if [[ $code == "$wanted" && ! -s $work/out && $errors == "mini-pack: $line" && -z $(ls "$work/made") ]]; then
        ok "$arch: $sentence"
    else
        not_ok "$arch: $sentence" "exit $code (wanted $wanted)" "errors: ${errors:0:300}" "wanted: mini-pack: $line" \
            "left: $(ls "$work/made")"
    fi
}

options=(--dir "sys,555" --dir /proc --node /dev/console=c:5:1 --node "disk,640=b:259:70000" --node fifo=p
    --link /bin/sh=../mini/busybox=x)
files=("$tree=/" "$tree/etc/words=second,0644" "$tree/etc=/etc.copy/")

# listing FOLDER: the lines that list.c would write of it.
listing() {
    (cd "$1" && find . -mindepth 1 -print0 | while IFS= read -r -d '' path; do
        mode=$(printf '%o' "0x$(stat -c %f "$path")")
        size=$(stat -c %s "$path") sum=0 major=0 minor=0 target=
        if [[ -L $path ]]; then
            target=" $(readlink "$path")"
        elif [[ -d $path ]]; then
            size=0
        elif [[ -f $path ]]; then
            sum=$(cksum <"$path" | cut -d' ' -f1)
        elif [[ -b $path || -c $path ]]; then
            major=$((0x$(stat -c %t "$path"))) minor=$((0x$(stat -c %T "$path")))
        fi
        echo "LIST $mode $(stat -c '%u %g' "$path") $size $(stat -c %Y "$path") $major $minor $sum ${path#./}$target"
    done) | LC_ALL=C sort
}

# Without the times of what is no file: cpio does not set a link's, the kernel has a console of its own.
times() { awk '$2 !~ /^100/ { $6 = 0 } { print }' | LC_ALL=C sort; }

for arch in x86_64 i386; do
    if ! "out/$arch/mini" --version >/dev/null 2>&1; then
        skip "$arch: mini-pack" "this machine does not run $arch programs"
        continue
    fi
    pack $arch "${options[@]}" "$work/$arch.cpio" "${files[@]}"
    check "$arch: an archive of a tree, links and nodes" "$code$errors" = 0
    check "$arch: its length is a multiple of 512" $(($(stat -c %s "$work/$arch.cpio") % 512)) = 0
    pack $arch "${options[@]}" - "${files[@]}"
    same "$arch: to standard output, the same bytes" "$work/$arch.cpio" "$work/out"
    cp -a "$tree" "$work/again"
    find "$work/again" -exec touch -h -d '2001-02-03' {} +
    (cd "$work" && umask 077 && "$root/out/$arch/mini-pack" --link bin/sh=../mini/busybox=x --node fifo=p \
        --node disk,640=b:259:70000 --dir proc --dir sys,0555 --node dev//console=c:5:1 again.cpio again/etc=/etc.copy \
        again/etc/words=./second,644 again=/)
    same "$arch: other folder, times, order and umask, the same bytes" "$work/$arch.cpio" "$work/again.cpio"
    rm -rf "$work/again" "$work/again.cpio"

    if command -v cpio >/dev/null; then
        SOURCE_DATE_EPOCH=1234567890 pack $arch - "$tree/etc"
        check "$arch: SOURCE_DATE_EPOCH is the time of every member" "$(cpio -tv --quiet <"$work/out" 2>/dev/null |
            awk '{ members++ } !/ Feb 13  *2009 / { others++ } END { print (members > 1), others + 0 }')" = "1 0"
        check "$arch: cpio lists it without complaint" "$(cpio -t --quiet <"$work/$arch.cpio" 2>&1 >/dev/null)" = ""
        cpio -t --quiet <"$work/$arch.cpio" >"$work/order"
        check "$arch: members are in the order of their bytes" "$(LC_ALL=C sort -c "$work/order" 2>&1)" = ""
    else
        skip "$arch: cpio lists it, with the time of SOURCE_DATE_EPOCH" "cpio is not installed"
    fi

    refused "no archive" 2 "no archive is named; --help tells how to use this"
    refused "nothing to pack" 2 "nothing to pack is named; --help tells how to use this" "$work/made/a"
    refused "no such file" 1 "cannot examine \"$work/none\": no such file (ENOENT)" "$work/made/a" "$work/none"
    refused "a way out of the archive" 2 "cannot pack to \"a/../b\": it leads out of the archive" "$work/made/a" "$tree/large=a/../b"
    refused "two members for one place" 2 "the archive has two members \"a\"" "$work/made/a" "$tree/large=a" "$tree/etc/words=./a"
    refused "a member in a file" 2 "the archive has members in \"a\", which is no directory" \
        "$work/made/a" "$tree/large=a" "$tree/etc/words=a/b"
    refused "an empty place" 2 "an empty path is no place in the archive: / is the root" "$work/made/a" "$tree="
    refused "a link with a directory's path" 2 "cannot pack to \"bin/\": only a directory's path ends in a slash" \
        --link bin/=x "$work/made/a"
    refused "a file whose size says nothing" 3 \
        'cannot pack "/proc/version": it does not have the bytes that its size says, as files of /proc and /sys; copy it first' \
        "$work/made/a" "$tree/large" /proc/version
    refused "the name that ends an archive" 2 "cannot pack to \"TRAILER!!!\": that name ends an archive" \
        "$work/made/a" "$tree/large=/TRAILER!!!"
    refused "a node that is none" 2 "--node of \"dev/x=d:1:2\" is not PATH=c:MAJOR:MINOR, b:… or p" \
        --node dev/x=d:1:2 "$work/made/a"
    refused "a link without a target" 2 "--link of \"sh=\" is not PATH=TARGET" --link sh= "$work/made/a"
    long=$(head -c 4096 /dev/zero | tr '\0' x)
    ends=${long:0:40}...${long:0:37}
    refused "a path that the kernel would not read" 2 \
        "cannot pack to \"$ends\": a path of 4096 bytes is too long: at most 4095 fit" "$work/made/a" "$tree/large=$long"
    refused "a name that no file system takes" 2 \
        "cannot pack to \"$ends\": a name of 256 bytes is too long: at most 255 fit" --dir "${long:0:256}" "$work/made/a"
    truncate -s 4G "$work/huge"
    refused "a file that the format cannot hold" 3 \
        "cannot pack \"$work/huge\": its 4294967296 bytes are too many, the format ends at 4 GiB" "$work/made/a" "$work/huge"
    rm "$work/huge"
    refused "a folder that is not there" 1 "cannot create \"$work/made/no/a\": no such file (ENOENT)" "$work/made/no/a" "$tree/large"
    SOURCE_DATE_EPOCH=4294967296 refused "a time that the format cannot hold" 2 \
        'SOURCE_DATE_EPOCH of "4294967296" is not a number of seconds that the format can hold' "$work/made/a" "$tree/large"
    refused "a device that is full" 1 'cannot write "/dev/full": no space left on device (ENOSPC)' /dev/full "$tree/large"
    check "$arch: a device stays one" "$(stat -c %F /dev/full)" = "character special file"
    for trapped in '' XFSZ; do
        (ulimit -f 1024 && { [[ -z $trapped ]] || trap '' XFSZ; } && exec "out/$arch/mini-pack" "$work/made/a" "$tree/large") \
            2>"$work/err"
        check "$arch: a file that may not grow is told, and nothing is left${trapped:+, with the signal ignored}" \
            "$?$(<"$work/err")$(ls -A "$work/made")" = "1mini-pack: cannot write \"$work/made/a\": file too large (EFBIG)"
    done

    cp "$work/$arch.cpio" "$tree/old.cpio"
    pack $arch "$tree/old.cpio" "$tree=/" "$tree/old.cpio=old"
    check "$arch: the archive is not packed into itself, and the old one stays" "$code$errors" = \
        "3mini-pack: cannot pack \"$tree/old.cpio\": it is the archive"
    same "$arch: a failure leaves the old archive" "$work/$arch.cpio" "$tree/old.cpio"
    pack $arch "${options[@]}" "$tree/old.cpio" "$tree=/" "$tree/etc/words=second,0644" "$tree/etc=/etc.copy/"
    check "$arch: of a directory that is packed the archive is left out" "$code$errors" = \
        "0mini-pack: left out \"$tree/old.cpio\": it is the archive"
    same "$arch: and a second run gives the same bytes" "$work/$arch.cpio" "$tree/old.cpio"
    out/$arch/mini-pack "${options[@]}" - "${files[@]}" >"$tree/old.cpio" 2>/dev/null
    same "$arch: through standard output as well" "$work/$arch.cpio" "$tree/old.cpio"
    rm "$tree/old.cpio"

    truncate -s 256M "$work/holes"
    (ulimit -v 32768 && exec "out/$arch/mini-pack" - "$work/holes=a") | wc -c >"$work/count"
    check "$arch: a file of 256 MiB passes through 32 MiB of memory" "$(<"$work/count")" = $(((256 << 20) + 512))
    # It takes seconds: time for a signal, even where others have the processors.
    truncate -s 2G "$work/holes"
    "out/$arch/mini-pack" "$work/made/a" "$work/holes" &
    child=$!
    while kill -0 $child 2>/dev/null && [[ -z $(find "$work/made" -size +1M) ]]; do sleep 0.01; done
    kill -TERM $child
    wait $child
    check "$arch: SIGTERM in the midst leaves no file" "$?$(ls "$work/made")" = 143
    rm "$work/holes"
done

if [[ $(id -u) != 0 ]] || ! command -v cpio >/dev/null; then
    skip "unpacked by cpio" "needs root and cpio"
else
    mkdir "$work/unpacked"
    (cd "$work/unpacked" && cpio -idm --quiet <"$work/x86_64.cpio")
    # They are sorted by times as well, which are another second's where the machine is busy.
    timeless() { listing "$1" | cut -d' ' -f1-5,7- | LC_ALL=C sort; }
    timeless "$tree" >"$work/source"
    timeless "$work/unpacked" | grep -vE ' (bin|bin/sh .*|dev|dev/console|disk|fifo|proc|second|sys|etc.copy.*)$' >"$work/members"
    same "a tree that cpio unpacks is the one that was packed, but for its times" "$work/source" "$work/members"

    # Two archives one after the other, the second compressed: what kernels make of them is what
    # cpio makes of them. /dev and /root are in every kernel.
    for arch in amd64 i386; do
        machine_make $arch && machine_build $arch "$work/list" Tests/initramfs/list.c ||
            { skip "$arch kernel: unpacks an archive" "$machine_missing" && continue; }
        out/x86_64/mini-pack - "$work/list=init" | gzip -n >"$work/init.cpio.gz"
        cat "$work/x86_64.cpio" "$work/init.cpio.gz" >"$work/both.cpio"
        rm -rf "$work/expected" && mkdir "$work/expected"
        (cd "$work/expected" && cpio -idm --quiet <"$work/x86_64.cpio" && gzip -dc "$work/init.cpio.gz" | cpio -idm --quiet)
        listing "$work/expected" | times >"$work/lines"
        machine_boot $arch 900 192 "$work/both.cpio" </dev/null 2>&1 | tr -d '\r' >"$work/console"
        check "$arch kernel: the init that was packed ran to its end" "$(grep -c '^END' "$work/console")" = 1
        grep '^LIST ' "$work/console" | grep -v ' root$' | times >"$work/lines.kernel"
        same "$arch kernel: unpacks what was packed: modes, owners, nodes, links, bytes, times of files" \
            "$work/lines" "$work/lines.kernel"
    done
fi
