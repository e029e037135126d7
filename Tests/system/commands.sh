# Words of the command line, and what is wrong with them or with the files that they name.
# Sourced by system.sh.

# refused SENTENCE CODE LINE WORDS...: mini-launch refuses WORDS with exactly this line.
refused() {
    local sentence=$1 wanted=$2 line=$3
    shift 3
    launch "$arch" "$@"
    if [[ $code == "$wanted" && -z $output && $errors == "mini-launch: $line" ]]; then
        ok "$arch: $sentence"
    else
        not_ok "$arch: $sentence" "exit $code (wanted $wanted)" "output: ${output:0:300}" \
            "errors: ${errors:0:300}" "wanted: mini-launch: $line"
    fi
}

guest=$root/out/guests/hello

# A kernel with the memory of its last segment made 8 MiB.
if command -v readelf >/dev/null; then
    last_header=$(readelf -lW "$guest" | awk '$1 == "LOAD" { n = NR - first } /Type / { first = NR + 1 } END { print n }')
    cp "$guest" "$work/large"
    printf '\x00\x00\x80\x00' | dd of="$work/large" bs=1 seek=$((52 + 32 * last_header + 20)) conv=notrunc 2>/dev/null
fi
: >"$work/empty"
printf '#!/bin/sh\necho hello\n' >"$work/script"
head -c 5000 "$guest" >"$work/cut"
truncate -s 100M "$work/large-initrd"
long=$(head -c 2048 /dev/zero | tr '\0' x)

for arch in x86_64 i386; do
    if ! "out/$arch/mini" --version >/dev/null 2>&1; then
        skip "$arch: bad input" "this machine does not run $arch programs"
        continue
    fi
    refused "no kernel" 2 "no kernel is named; --help tells how to use this"
    refused "no such file" 1 "cannot open \"$work/none\": no such file (ENOENT)" "$work/none"
    refused "a directory" 3 "cannot start \"$work\": a directory" "$work"
    refused "an empty file" 3 "cannot start \"$work/empty\": an empty file" "$work/empty"
    refused "a shell script" 3 "cannot start \"$work/script\": not a kernel: a shell script" "$work/script"
    refused "a device" 3 "cannot start \"/dev/null\": not a regular file" /dev/null
    refused "memory of 0" 2 "memory of 0 MiB is too small: a guest needs at least 2 MiB" 0 "$guest"
    refused "memory of 3 GiB" 2 "memory of 3072 MiB is too large: a guest can have at most 2046 MiB" 3G "$guest"
    refused "memory of 12x" 2 "memory of \"12x\" is not a size: digits, then nothing, K, M or G" 12x "$guest"
    refused "memory of 512K" 2 "memory of \"512K\" is not a whole number of MiB" 512K "$guest"
    refused "an unknown option" 2 "unknown option \"--disk\"; --help lists them" --disk=root "$guest"
    refused "an unknown engine" 2 "unknown engine \"xen\": it is auto, kvm, lguest, builtin or software" --engine xen "$guest"
    refused "a missing argument" 2 "option --initrd needs an argument" --initrd
    refused "a command line that the kernel would not read" 2 \
        "the kernel's command line is too long: 2048 bytes, at most 2047 fit" "$guest" "$long"
    refused "no such initrd" 1 "cannot open \"$work/none\": no such file (ENOENT)" --initrd "$work/none" "$guest"
    refused "a directory as initrd" 3 "initrd \"$work\" is a directory" --initrd "$work" "$guest"
    refused "an empty initrd" 3 "initrd \"$work/empty\" is an empty file" --initrd "$work/empty" "$guest"
    if [[ -s /sys/kernel/notes ]]; then
        unmapped='"/sys/kernel/notes" cannot be mapped, as files of /proc and /sys: copy it first'
        refused "a file of /sys" 3 "$unmapped" /sys/kernel/notes
        refused "a file of /sys as initrd" 3 "$unmapped" --initrd /sys/kernel/notes "$guest"
    fi
    if [[ $arch == x86_64 ]]; then
        refused "the engine lguest for a 64-bit program" 1 \
            "cannot use \"/dev/lguest\": only 32-bit kernels have it, and this is the 64-bit build of mini" \
            --engine lguest "$guest"
    elif [[ ! -e /dev/lguest ]]; then
        refused "the engine lguest where there is none" 1 \
            "cannot use \"/dev/lguest\": no such file (ENOENT); is the kernel's module lg loaded?" \
            --engine lguest "$guest"
    fi

    if [[ -e $work/large ]]; then
        launch $arch 4 "$work/large"
        expect "$arch: memory smaller than the kernel" 3 "" \
            "mini-launch: cannot start \"$work/large\": it needs [0-9]* MiB of memory, the guest has 4 MiB"
    else
        skip "$arch: memory smaller than the kernel" "there is no readelf to make such a kernel with (package binutils)"
    fi
    launch $arch --initrd "$work/large-initrd" "$guest"
    expect "$arch: an initrd larger than the memory" 3 "" \
        "mini-launch: initrd \"$work/large-initrd\" of 104857600 bytes is too large: 64 MiB of memory leave [0-9]* bytes for it"
    launch $arch "$work/cut"
    expect "$arch: an ELF file cut off" 3 "" "mini-launch: cannot start \"$work/cut\": an ELF file cut off at byte 5000: *"
    launch $arch /bin/bash
    expect "$arch: a program" 3 "" "mini-launch: cannot start \"/bin/bash\": *"
    errors=$(ulimit -v 262144 && "out/$arch/mini-launch" 512 "$guest" 2>&1 >/dev/null)
    code=$? output=
    expect "$arch: too little memory of the host's" 1 "" \
        "mini-launch: cannot get 512 MiB of memory for the guest: out of memory (ENOMEM)"

    # What nobody but its owner may read, root neither: as somebody else.
    if [[ $(id -u) == 0 ]] && command -v setpriv >/dev/null; then
        cp "out/$arch/mini" "$work/mini-launch"
        cp "$guest" "$work/private"
        chmod 755 "$work" "$work/mini-launch"
        chmod 600 "$work/private"
        errors=$(setpriv --reuid 65534 --regid 65534 --clear-groups "$work/mini-launch" "$work/private" 2>&1 >/dev/null)
        code=$? output=
        expect "$arch: a file that may not be read" 1 "" \
            "mini-launch: cannot open \"$work/private\": permission denied (EACCES)"
    else
        skip "$arch: a file that may not be read" "needs root and setpriv"
    fi

    launch $arch --check "$guest"
    expect "$arch: --check tells what a kernel is and does not start it" 0 \
        "format       ELF*lguest era   1*entry        0xc01*page offset  0xc0000000*segment 0*" ""
    launch $arch --verbose 32 "$guest"
    expect "$arch: --verbose tells on standard error what is done" 0 "hello from ring 1" \
        "mini-launch: engine: the built-in host*entry 0xc01*memory of 32 MiB*"
    launch $arch --help
    expect "$arch: --help prints options and exit codes" 0 "Usage: mini-launch*--memory SIZE*128+n*" ""
    # Those of the subcommands and verbs are among them.
    {
        for words in "" mini-launch mini-init mini-pack mini-grant; do echo "$words"; done
        for words in mini-grant "mini-grant store" "mini-grant event"; do
            # shellcheck disable=SC2086
            out/$arch/mini $words --help | sed -nE "s/^  ([a-z]+) .*/$words \1/p"
        done
    } | while read -r words; do
        # shellcheck disable=SC2086
        out/$arch/mini $words --help | awk -v of="$words" 'length > 80 { print of ": " $0 } END { if (NR < 3) print of ": no help" }'
    done >"$work/wide"
    check "$arch: no line of a help is wider than 80 columns" "$(<"$work/wide")" = ""
    check "$arch: mini lists its applets" "$(out/$arch/mini | grep -c '^  mini-')" = 4

    errors=$("out/$arch/mini-pack" "$work/piped.cpio" "$guest=init" <(echo table)=etc/mini.table 2>&1)
    code=$? output=
    expect "$arch: what a shell has open is not packed without its bytes" 3 "" \
        "mini-pack: cannot pack \"/dev/fd/*\": it is an open pipe or device, not a file; copy it first"
    errors=$(echo table | "out/$arch/mini-pack" "$work/piped.cpio" /dev/stdin=etc/mini.table 2>&1)
    check "$arch: nor is a pipe as standard input" "$?$errors" = \
        "3mini-pack: cannot pack \"/dev/stdin\": it is an open pipe or device, not a file; copy it first"
    "out/$arch/mini-pack" - /dev/stdin=etc/mini.table <"$work/script" | grep -ca "echo hello" >/dev/null
    check "$arch: a file as standard input is packed" "${PIPESTATUS[*]}" = "0 0"

    printf 'these words are no store' >"$work/no-store"
    errors=$(XENSTORED_PATH=$work/no-store "out/$arch/mini-grant" store get /a 2>&1)
    check "$arch: a file that is named as the store and is none gets no request" "$?$errors$(<"$work/no-store")" = \
        "3mini-grant: cannot open \"$work/no-store\": no such device; XENSTORED_PATH names another filethese words are no store"

    errors=$(XENSTORED_PATH=$work/none "out/$arch/mini-grant" store get /a 2>&1)
    check "$arch: of a store that is not where the environment says, the line says so" "$?$errors" = \
        "1mini-grant: cannot open XENSTORED_PATH \"$work/none\": no such file (ENOENT)"

    # Stopped while it writes, and told to end; once more where it had come to its own end by then.
    truncate -s 1G "$work/large-member"
    for signal in USR1:138 XCPU:152 ALRM:142 PIPE:141; do
        for _ in {1..20}; do
            mkdir "$work/packed"
            "out/$arch/mini-pack" "$work/packed/a.cpio" "$work/large-member=x" &
            child=$!
            until [[ -n $(ls -A "$work/packed") ]] || ! kill -0 $child 2>/dev/null; do sleep 0.01; done
            kill -STOP $child
            kill -"${signal%:*}" $child
            kill -CONT $child
            wait $child 2>/dev/null
            code=$? left=$(ls -A "$work/packed")
            rm -r "$work/packed"
            ((code == 0)) || break
        done 2>/dev/null
        check "$arch: an archive that SIG${signal%:*} ends leaves nothing" "$code $left" = "${signal#*:} "
    done

    if command -v prlimit >/dev/null; then
        errors=$(prlimit --core=0 --as=4194304 "out/$arch/mini-pack" - out/guests/hello=f{10000..29999} 2>&1 >/dev/null)
        check "$arch: it is told when there is no memory for what it keeps in mind" "$?$errors" = "132mini: out of memory"
    else
        skip "$arch: it is told when there is no memory for what it keeps in mind" "needs prlimit"
    fi

    if command -v perl >/dev/null; then
        timeout 60 perl -e 'alarm 1; exec @ARGV' "out/$arch/mini-launch" out/guests/spinforever </dev/null >"$work/out" 2>&1
        check "$arch: an alarm that whoever started it has set ends it" "$?" = 142
    else
        skip "$arch: an alarm from before" "needs perl"
    fi

    # Standard descriptors that whoever started it left closed.
    output=$(timeout 600 out/$arch/mini-launch "$guest" <&- 2>&1)
    check "$arch: a closed standard input is an input that ends" "$output" = "hello from ring 1"
    errors=$(timeout 600 out/$arch/mini-launch "$guest" 2>&1 >&- </dev/null)
    check "$arch: a closed standard output is told" \
        "$errors" = "mini-launch: cannot write the guest's output: bad file descriptor (EBADF)"

    printf 'one\ntwo\noff\n' | timeout 600 out/$arch/mini-launch out/guests/echo 2>&1 |
        timeout 600 out/$arch/mini-launch out/guests/echo >"$work/out" 2>&1
    check "$arch: two guests in one pipeline" "$(tail -n 3 "$work/out" | tr '\n' ' ')" = "one two off "
done
