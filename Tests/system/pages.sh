# shellcheck shell=bash
# The commands and tables that README and pages print, as they print them: a block is one that is indented by four
# spaces or fenced (Markdown), or between .nf and .fi, .EX and .EE (manual pages). Commands run in a folder of their own, whose
# mounts and network are nobody else's; tables are looked at by mini-init --check. What is no command is listed here by its
# page and its first words, and what needs another machine with the reason: a block that is in neither list fails.
# Sourced by system.sh.

# blocks PAGE: its blocks, each behind a line of "\001LINE KIND"; continued lines are joined.
blocks() {
    awk -v roff="$([[ $1 == *.md ]] || echo 1)" '
        function begin(kind) { if (!open) printf "\001%d %s\n", NR, kind; open = 1 }
        roff && /^\.(nf|EX)/ { on = 1; next }
        roff && /^\.(fi|EE)/ { on = 0; open = 0; next }
        roff && on { gsub(/\\-/, "-"); sub(/^ +/, ""); if ($0 != "") { begin("indented"); print }; next }
        roff { next }
        /^```/ { fence = !fence; open = 0; kind = substr($0, 4); next }
        fence { if (kind == "mermaid") next; begin("fenced"); print; next }
        /^    / { begin("indented"); print substr($0, 5); next }
        { open = 0 }' "$1" | sed -e ':a' -e '/\\$/{N;s/\\\n */ /;ba' -e '}'
}

# no_command PAGE TEXT: true for what is printed to be read.
no_command() {
    case $1:$2 in
    docs/TOUR.md:*mini-launch*Commands/*) ;; # a picture
    docs/TOUR.md:*Launcher\ ---*) ;;
    docs/TOUR.md:*the\ lguest\ contract*) ;;
    docs/*BENCH.md:figure\ *) ;;
    docs/boot-table.md:table\ * | docs/boot-table.md:parameter\ *) ;; # a grammar
    *:rdinit=*) ;; # words for a kernel
    docs/compare.md:\ *COMMAND\ era*) ;; # another's command line
    docs/original-command-line.md:lguest\ *) ;;
    docs/real-lguest.md:mini-launch:\ cannot\ *) ;; # messages
    *) return 1 ;;
    esac
}

# needs_more TEXT: why a block or line is not run on this machine; fails if it is.
needs_more() {
    case $1 in
    *"xl create "*) echo "it needs Xen: Tests/xen runs the same lines" ;;
    "./build.sh run xen"*) echo "it starts a Xen and a prompt: Tests/xen.sh does" ;;
    "Tests/xen.sh loop"*) echo "it needs Xen: a part of Tests/xen.sh" ;;
    out/*/fuzz\ *) echo "it is built by ./build.sh fuzz: Tests/fuzz.sh runs it" ;;
    "./build.sh test"*) echo "it is what this is a part of" ;;
    *--tunnet*) [[ -c /dev/net/tun ]] && return 1 || echo "there is no /dev/net/tun" ;;
    qemu-system-x86_64*)
        command -v qemu-system-x86_64 >/dev/null || { echo "QEMU is not installed" && return; }
        [[ -e $scratch/out/debian/cloud/vmlinuz ]] && return 1
        echo "no Debian kernel: $debian_missing"
        ;;
    *" /boot/vmlinuz"*) [[ -r /boot/vmlinuz ]] && return 1 || echo "there is no /boot/vmlinuz" ;;
    *out/debian/*)
        [[ -e $scratch/out/debian/cloud/vmlinuz && -e $scratch/out/debian/busybox-amd64/busybox ]] && return 1
        echo "no Debian kernel or busybox: $debian_missing"
        ;;
    "./build.sh deb"*) command -v dpkg-deb >/dev/null && return 1 || echo "there is no dpkg-deb" ;;
    mini-grant\ *) [[ ! -e /dev/xen ]] && return 1 || echo "this machine is a domain of Xen: it would do what it says" ;;
    *) return 1 ;;
    esac
}

# prepare: a folder with what the commands name.
prepare() {
    scratch=$work/pages
    mkdir -p "$scratch/out" "$scratch/tree"
    local name
    for name in Sources Tests tools contrib docs build.sh README.md LICENSE; do ln -s "$(realpath "$root/$name")" "$scratch/$name"; done
    cp -a out/x86_64 out/i386 out/guests "$scratch/out/"
    for name in vmlinux bzImage; do cp out/guests/hello "$scratch/$name"; done
    cp out/x86_64/mini "$scratch/mini"
    for name in initrd.gz i.gz root.cpio.gz page log; do head -c 4096 /dev/zero >"$scratch/$name"; done
    truncate -s 1M "$scratch/root.img"
    # What `./build.sh run linux` would fetch; there is no network in the scratch folder.
    if debian_kernel amd64 cloud-amd64 "$root/out/debian/cloud" && debian_busybox amd64 "$root/out/debian/busybox-amd64"; then
        mkdir -p "$scratch/out/debian"
        cp -a "$root"/out/debian/{cloud,busybox-amd64} "$scratch/out/debian/"
    fi
    printf 'on-error poweroff\nlaunch /vmlinux\n' >"$scratch/boot.table"
    echo x >"$scratch/tree/file"
}

# in_scratch COMMAND: with a /tmp and a network that are gone afterwards. A TMPDIR may lie in the /tmp of before.
in_scratch() {
    # shellcheck disable=SC2016
    PAGES=$scratch timeout 300 unshare "${apart[@]}" bash -c 'mount --bind "$PAGES" /mnt && mount -t tmpfs none /tmp && cd /mnt || exit 99
        unset TMPDIR; PATH=/mnt/out/x86_64:$PATH; set -o pipefail; eval "$1"; code=$?; wait $! || code=$?; exit $code' - "$1" </dev/null >"$work/out" 2>"$work/err"
}

run_line() {
    local place=$1 line=$2 why
    if why=$(needs_more "$line"); then
        skip "$place: $line" "$why"
        return
    fi
    in_scratch "$line"
    code=$?
    # The kernel counts ticks at its start, and panics when others have kept the emulator waiting.
    if [[ $line == qemu-* ]] && grep -qa "timer doesn't work" "$work/out"; then
        in_scratch "$line"
        code=$?
    fi
    errors=$(tail -n 3 "$work/err")
    # Not on Xen: the words have been understood, and that is all that can be seen here.
    [[ $line == mini-grant\ * && $code == 3 ]] && code=0
    # What a boot is to come to stands on its screen.
    [[ $line == qemu-* ]] && ! grep -qa "Powering off" "$work/out" && code=1 errors=$(tail -n 3 "$work/out")
    if ((code == 0)); then ok "$place: $line"; else not_ok "$place: $line" "exit $code" "$errors"; fi
}

run_block() {
    local page=$1 place=$1:$2 kind=$3 text=$4 first why line
    read -r first _ <<<"$text"
    if no_command "$page" "$text"; then return; fi
    if [[ " $statements " == *" $first "* ]]; then
        printf '%s' "$text" >"$work/table"
        output=$(out/x86_64/mini-init --check "$work/table" 2>&1)
        check "$place: a table that is right" "$? $output" = "0 $output"
    elif why=$(needs_more "$text"); then
        skip "$place: the block of $(wc -l <<<"$text") lines" "$why"
    elif [[ $kind == fenced ]]; then
        not_ok "$place: a block that is no table, and not known as something else" "${text:0:200}"
    else
        while IFS= read -r line; do run_line "$place" "$line"; done <<<"${text%$'\n'}"
    fi
}

apart=(-m -n)
[[ $(id -u) == 0 ]] || apart=(-r -m -n)
# What a line of a table begins with, as its page has it.
statements=$(sed -nE 's/^(\| )?`([a-z-]+)[ `].*/\2/p' docs/boot-table.md | sort -u | paste -sd' ')
if ! unshare "${apart[@]}" mount -t tmpfs none /tmp 2>/dev/null; then
    skip "the commands of the pages" "this machine does not let us have mounts of our own"
else
    prepare
    for page in README.md contrib/README.md Tests/Fuzz/README.md docs/*.md docs/*.[18]; do
        number='' kind='' text=''
        while IFS= read -r line; do
            if [[ $line == $'\001'* ]]; then
                [[ -z $text ]] || run_block "$page" "$number" "$kind" "$text"
                read -r number kind <<<"${line:1}"
                text=''
            else
                text+=$line$'\n'
            fi
        done < <(blocks "$page")
        [[ -z $text ]] || run_block "$page" "$number" "$kind" "$text"
    done
    rm -rf "$scratch"
fi
