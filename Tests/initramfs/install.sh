# What is installed and packaged, and the hooks for the tools that make a distribution's initramfs:
# run by Debian's own in a chroot, and booted. Sourced by initramfs.sh.
# shellcheck shell=bash disable=SC2154

names() { (cd "$1" && find . ! -type d | LC_ALL=C sort); }

# --- ./build.sh install -------------------------------------------------------------------------------

for arch in x86_64 i386; do
    rm -rf "$work/dest" "$work/opt"
    ./build.sh install DESTDIR="$work/dest" PREFIX=/usr $arch >"$work/log" 2>&1
    check "$arch: install succeeds" "$?" = 0
    names "$work/dest" | grep -v /man/ >"$work/lines"
    cat >"$work/installed" <<'EOF'
./usr/bin/mini
./usr/bin/mini-grant
./usr/bin/mini-init
./usr/bin/mini-launch
./usr/bin/mini-pack
./usr/lib/dracut/modules.d/95mini/module-setup.sh
./usr/lib/dracut/modules.d/95mini/premount.sh
./usr/lib/initcpio/hooks/mini
./usr/lib/initcpio/install/mini
./usr/share/bash-completion/completions/mini
./usr/share/bash-completion/completions/mini-grant
./usr/share/bash-completion/completions/mini-init
./usr/share/bash-completion/completions/mini-launch
./usr/share/bash-completion/completions/mini-pack
./usr/share/fish/vendor_completions.d/mini-grant.fish
./usr/share/fish/vendor_completions.d/mini-init.fish
./usr/share/fish/vendor_completions.d/mini-launch.fish
./usr/share/fish/vendor_completions.d/mini-pack.fish
./usr/share/fish/vendor_completions.d/mini.fish
./usr/share/initramfs-tools/hooks/mini
./usr/share/initramfs-tools/scripts/init-premount/mini
./usr/share/zsh/vendor-completions/_mini
EOF
    same "$arch: install puts binary, links and hooks where they belong" "$work/installed" "$work/lines"
    missing=
    for page in docs/*.[18]; do [[ -e $work/dest/usr/share/man/man${page##*.}/${page##*/} ]] || missing+=" $page"; done
    check "$arch: every manual page is installed" -z "$missing"
    if "out/$arch/mini" --version >/dev/null 2>&1; then
        check "$arch: what is installed runs" "$("$work/dest/usr/bin/mini-pack" --version)" = "mini-pack $mini_version"
    fi
    PREFIX=/opt/mini ./build.sh install $arch DESTDIR="$work/opt" >"$work/log" 2>&1
    check "$arch: another prefix: hooks among the administrator's, which take mini from there" \
        "$(grep -lr '=/opt/mini/bin' "$work/opt" | wc -l)$(ls "$work/opt/etc" | tr '\n' ' ')" = "3initcpio initramfs-tools "
done
./build.sh install WHERE=/ >"$work/log" 2>&1
check "a word that install does not know is refused" "$?$(<"$work/log")" = \
    "1build.sh: install takes DESTDIR=FOLDER, PREFIX=/FOLDER, x86_64 or i386, not WHERE=/"

# --- Manual pages and completion -----------------------------------------------------------------------

if command -v mandoc >/dev/null; then
    check "the manual pages are as mandoc wants them" "$(mandoc -Tlint -Wwarning docs/*.[18])" = ""
else
    skip "the manual pages are as mandoc wants them" "mandoc is not installed"
fi

# completed WORDS...: what bash offers for the last of WORDS.
completed() {
    # shellcheck disable=SC2016
    PATH=$root/out/x86_64:$PATH bash -c '. contrib/completion/mini.bash
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _mini; echo "${COMPREPLY[*]}"' bash "$@"
}
if out/x86_64/mini --version >/dev/null 2>&1; then
    check "bash completes applets" "$(completed mini mini-)" = "mini-launch mini-grant mini-pack mini-init"
    check "and options" "$(completed mini-launch --m) $(completed mini mini-pack --d)" = "--memory --dir"
    check "and subcommands with their options" "$(completed mini-grant st) $(completed mini-grant map --d)" = \
        "store --domain --deadline"
    check "and verbs of the store" "$(completed mini-grant store wai)" = wait
    check "and an argument from a list" "$(completed mini-launch --engine b)" = builtin
    check "and where = stands between, which is a word for bash" \
        "$(completed mini-launch --engine = k) $(completed mini-launch --sandbox =) $(completed mini-grant pipe --sandbox r)" = \
        "kvm on require require"
    check "and one more verb" "$(completed mini-grant store set /a 1 --and rm)" = rm
else
    skip "completion" "this machine does not run x86_64 programs"
fi
if command -v fish >/dev/null && out/x86_64/mini --version >/dev/null 2>&1; then
    check "fish completes options and verbs" "$(PATH=$root/out/x86_64:$PATH fish -c 'source contrib/completion/mini.fish
        complete -C "mini-launch --mem"; complete -C "mini-grant store wai"' | cut -f1 | tr '\n' ' ')" = "--memory wait "
else
    skip "fish completes options and verbs" "fish is not installed"
fi
if command -v zsh >/dev/null; then
    check "the file for zsh is a script of zsh" "$(zsh -n contrib/completion/_mini 2>&1)" = ""
else
    skip "the file for zsh is a script of zsh" "zsh is not installed"
fi

# --- ./build.sh deb ----------------------------------------------------------------------------------

if ! ./build.sh deb >"$work/log" 2>&1; then
    not_ok "./build.sh deb" "$(tail -n 3 "$work/log")"
fi
for name in amd64 i386; do
    package=$(compgen -G "out/mini_*_$name.deb")
    check "$name: the package is one of mini for $name, and depends on nothing" \
        "$(dpkg-deb -f "$package" Package Architecture Depends | tr '\n' ' ')" = "Package: mini Architecture: $name "
    check "$name: everything in it belongs to root" "$(dpkg-deb -c "$package" | grep -vc ' root/root ')" = 0
    mv "$package" "$work/first.$name.deb"
done
find out/deb -type f -exec touch {} +
./build.sh deb >"$work/log" 2>&1 || not_ok "./build.sh deb, once more" "$(tail -n 3 "$work/log")"
for name in amd64 i386; do
    check "made again, the package for $name is the same, byte for byte" \
        "$(cmp "$work/first.$name.deb" "$(compgen -G "out/mini_*_$name.deb")" 2>&1)" = ""
done
if command -v lintian >/dev/null; then
    said=$(lintian --fail-on error,warning out/mini_*_amd64.deb 2>&1)
    check "lintian has no error or warning" "$?$(grep -E '^[EW]:' <<<"$said")" = 0
else
    skip "lintian has no error or warning" "lintian is not installed"
fi

# --- hooks -------------------------------------------------------------------------------------------

# inside WORDS...: runs in the chroot, which has no TMPDIR of ours; sets $output and $code.
inside() {
    output=$(env -u TMPDIR PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$chroot" "$@" 2>&1 </dev/null)
    code=$?
}
# What the chroot has, without what tools write down for themselves.
everything() { (cd "$chroot" && find . -xdev ! -path './var/*' ! -path './tmp/*' ! -path './proc/*' ! -path './sys/*' | LC_ALL=C sort); }

if ! machine_chroot; then
    skip "the package and the hooks in a Debian" "$machine_missing"
else
    chroot=$machines/chroot version=$(<"$machines/amd64/version")
    rm -rf "$chroot/etc/mini" "$chroot"/tmp/*
    inside dpkg --purge mini
    everything >"$work/before"
    cp out/mini_*_amd64.deb "$chroot/tmp/mini.deb"
    inside dpkg -i /tmp/mini.deb
    check "the package installs" "$code" = 0
    inside mini-launch --version
    check "and what it installs runs" "$output" = "mini-launch $mini_version"

    inside mkinitramfs -o /tmp/none "$version"
    inside sh -c 'mkdir -p /tmp/x && cd /tmp/x && unmkinitramfs /tmp/none . && find . -path "*bin/mini" -o -path "*bin/mini-*" -o -path "*/mini" -o -path "*etc/mini*"'
    check "initramfs-tools: without /etc/mini nothing is added" "$output" = "./scripts/init-premount/mini"
    inside dracut --force --no-kernel --no-hostonly --kver "$version" /tmp/none
    inside lsinitrd /tmp/none
    check "dracut: without /etc/mini nothing is added" "$(grep -cE 'bin/mini|etc/mini|premount' <<<"$output")" = 0

    # /bin is a symbolic link in the images; and nobody has made the script executable.
    mkdir -p "$chroot/etc/mini/root/guests" "$chroot/etc/mini/root/bin"
    printf '#!/bin/sh\n' >"$chroot/etc/mini/root/bin/mytool"
    chmod 755 "$chroot/etc/mini/root/bin/mytool"
    cp out/guests/hello "$chroot/etc/mini/root/guests/hello"
    printf 'on-error poweroff\nlaunch --memory 8 /guests/hello\nload /lib/modules/%s/kernel/drivers/net/dummy.ko\n' "$version" \
        >"$chroot/etc/mini/mini.table"
    # What it is good for, and then the end, as there is no root file system.
    cat >"$chroot/etc/mini/premount" <<'EOF'
#!/bin/sh
mini-grant map --domain 0 --ref 8 --hexdump
mini-launch --memory 8 /guests/hello
echo o >/proc/sysrq-trigger
sleep 10
EOF
    chmod 644 "$chroot/etc/mini/premount"
    wanted="etc/mini.table etc/mini/premount guests/hello usr/bin/mini usr/bin/mini-grant usr/bin/mini-init usr/bin/mini-launch usr/bin/mini-pack usr/bin/mytool "

    grep -q '^dummy$' "$chroot/etc/initramfs-tools/modules" || echo dummy >>"$chroot/etc/initramfs-tools/modules"
    inside mkinitramfs -o /tmp/tools.img "$version"
    check "initramfs-tools: mkinitramfs succeeds" "$code" = 0
    inside sh -c 'rm -rf /tmp/x && mkdir /tmp/x && cd /tmp/x && unmkinitramfs /tmp/tools.img . && find . -type f -o -type l'
    found=$(sed 's|^\./||' <<<"$output" | grep -xE "$(tr ' ' '|' <<<"${wanted% }")" | LC_ALL=C sort | tr '\n' ' ')
    check "initramfs-tools: the image has mini, its links, the table, the files and the program" "$found" = "$wanted"
    check "initramfs-tools: and the modules for grants" "$(grep -cE 'xen-(gntdev|gntalloc|evtchn)\.ko' <<<"$output")" = 3

    inside dracut --force --no-hostonly --no-hostonly-cmdline --drivers dummy --kver "$version" /tmp/dracut.img
    check "dracut: it succeeds" "$code" = 0
    inside lsinitrd /tmp/dracut.img
    found=$(awk '{ print $9 }' <<<"$output" | grep -xE "$(tr ' ' '|' <<<"${wanted% }")" | LC_ALL=C sort | tr '\n' ' ')
    check "dracut: the image has mini, its links, the table, the files and the program" "$found" = "$wanted"
    check "dracut: and the modules for grants" "$(grep -cE 'xen-(gntdev|gntalloc|evtchn)\.ko' <<<"$output")" = 3

    for image in tools dracut; do
        machine_boot amd64 900 512 "$chroot/tmp/$image.img" rdinit=/usr/bin/mini-init </dev/null 2>&1 | tr -d '\r' >"$work/console"
        check "$image image, rdinit=/usr/bin/mini-init: the table is carried out" \
            "$(grep -aoE '^hello from ring 1|mini-init: [a-z ]*off|reboot: Power down' "$work/console" | tr '\n' ' ')" = \
            "hello from ring 1 mini-init: powering off reboot: Power down "
        machine_boot amd64 900 512 "$chroot/tmp/$image.img" root=/dev/none </dev/null 2>&1 | tr -d '\r' >"$work/console"
        check "$image image, started as ever: the program runs before the root is looked for" \
            "$(grep -aoE '^mini-grant: .*not run on Xen|^hello from ring 1|reboot: Power down' "$work/console" | tr '\n' ' ')" = \
            "mini-grant: cannot open \"/dev/xen/gntdev\": this machine does not run on Xen hello from ring 1 reboot: Power down "
    done

    rm -rf "$chroot/etc/mini" "$chroot"/tmp/*
    inside dpkg --remove mini
    check "the package is removed" "$code" = 0
    everything >"$work/after"
    same "and leaves nothing behind" "$work/before" "$work/after"
fi

# Played: mkinitcpio's functions, and another place for /etc/mini.
played=$work/mkinitcpio
mkdir -p "$played/etc"
printf '#!/bin/sh\necho yes\n' >"$played/etc/premount"
sed "s|/etc/mini|$played/etc|g" contrib/mkinitcpio/install/mini >"$played/mini"
# built HOOKS...: what the image has of units.
built() {
    (
        BUILDROOT=$played/root _hooks=("$@")
        rm -rf "$BUILDROOT"
        add_binary() {
            # What it brings has the mode that it had.
            [[ $# == 1 ]] || { echo "$*" >>"$played/binaries" && install -Dm644 "$1" "$BUILDROOT$2"; }
        }
        add_module() { :; }
        add_runscript() { :; }
        add_file() { install -Dm755 "$1" "$BUILDROOT$2"; }
        add_symlink() { mkdir -p "$BUILDROOT${1%/*}" && ln -sfn "$2" "$BUILDROOT$1"; }
        # shellcheck disable=SC1091
        source "$played/mini" && build && cd "$BUILDROOT" && find . -name '*.service' | LC_ALL=C sort
    )
}
check "mkinitcpio: without the systemd hook there is no unit" "$(built base udev mini)" = ""
check "mkinitcpio: with it a unit runs premount before the root file system is looked for" \
    "$(built base systemd mini | tr '\n' ' ')$(grep -cE '^(Before=initrd-root-device.target|ExecStart=.*/premount)$' \
        "$played/root/usr/lib/systemd/system/sysinit.target.wants/mini-premount.service")" = \
    "./usr/lib/systemd/system/mini-premount.service ./usr/lib/systemd/system/sysinit.target.wants/mini-premount.service 2"
check "mkinitcpio: what runs there comes with its libraries, and is executable" \
    "$(sort -u "$played/binaries") $(stat -c %a "$played/root$played/etc/premount")" = \
    "$played/etc/premount $played/etc/premount 755"
for script in contrib/mkinitcpio/install/mini contrib/dracut/95mini/module-setup.sh; do
    check "$script is a script of bash" "$(bash -n $script 2>&1)" = ""
done
