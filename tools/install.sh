# shellcheck shell=bash disable=SC2154
# An initramfs, what gets installed, and Debian packages of it. Sourced by build.sh.

# out/ARCH/initramfs.cpio: mini as the init, and the demo guest for it to start.
initramfs() {
    local arch
    [[ " ${mini_parts[*]} " == *" pack "*init* ]] || wrong "an initramfs is made of the parts pack and init"
    for arch in x86_64 i386; do
        SOURCE_DATE_EPOCH=0 out/x86_64/mini-pack out/$arch/initramfs.cpio "out/$arch/mini=init,755" out/guests/demo=demo,755 || return
        say "out/$arch/initramfs.cpio: $(stat -c %s out/$arch/initramfs.cpio) bytes"
    done
}

# install_files ARCH DESTDIR PREFIX: what is built of ARCH, links, manual pages, and the hooks of contrib/.
install_files() {
    local arch=$1 destdir=$2 prefix=$3 page applet
    local bin=$destdir$prefix/bin man=$destdir$prefix/share/man
    # Where a distribution's own files are, or those of its administrator.
    local tools=$destdir/usr/share/initramfs-tools cpio=$destdir/usr/lib/initcpio
    [[ $prefix == /usr ]] || tools=$destdir/etc/initramfs-tools cpio=$destdir/etc/initcpio
    install -D -m 755 "out/$arch/mini" "$bin/mini"
    for applet in "${mini_parts[@]/#/mini-}"; do
        ln -sf mini "$bin/$applet"
        page=$(echo docs/"$applet".[18])
        install -D -m 644 "$page" "$man/man${page##*.}/${page##*/}"
    done
    install -D -m 644 docs/mini.1 "$man/man1/mini.1"
    install -D -m 755 -t "$tools/hooks" contrib/initramfs-tools/hooks/mini
    install -D -m 755 -t "$tools/scripts/init-premount" contrib/initramfs-tools/scripts/init-premount/mini
    install -D -m 755 -t "$destdir/usr/lib/dracut/modules.d/95mini" contrib/dracut/95mini/*.sh
    install -D -m 644 -t "$cpio/install" contrib/mkinitcpio/install/mini
    install -D -m 644 -t "$cpio/hooks" contrib/mkinitcpio/hooks/mini
    install -D -m 644 contrib/completion/mini.bash "$destdir$prefix/share/bash-completion/completions/mini"
    for applet in "${mini_parts[@]/#/mini-}"; do
        ln -sf mini "$destdir$prefix/share/bash-completion/completions/$applet"
    done
    install -D -m 644 -t "$destdir$prefix/share/zsh/vendor-completions" contrib/completion/_mini
    install -D -m 644 -t "$destdir$prefix/share/fish/vendor_completions.d" contrib/completion/mini.fish
    for applet in "${mini_parts[@]/#/mini-}"; do
        ln -sf mini.fish "$destdir$prefix/share/fish/vendor_completions.d/$applet.fish"
    done
    # The hooks take mini from where it is installed.
    sed -i "s|=/usr/bin\\b|=$prefix/bin|" "$tools/hooks/mini" "$cpio/install/mini" \
        "$destdir/usr/lib/dracut/modules.d/95mini/module-setup.sh"
}

# install_all [DESTDIR=…] [PREFIX=…] [ARCH]: also from the environment, as make has it.
install_all() {
    local destdir=${DESTDIR-} prefix=${PREFIX:-/usr/local} arch word
    arch=$(uname -m)
    [[ $arch == i?86 ]] && arch=i386
    for word; do
        case $word in
        DESTDIR=*) destdir=${word#*=} ;;
        PREFIX=/*) prefix=${word#*=} ;;
        x86_64 | i386) arch=$word ;;
        *) die "install takes DESTDIR=FOLDER, PREFIX=/FOLDER, x86_64 or i386, not $word" ;;
        esac
    done
    build_changed "$arch"
    install_files "$arch" "${destdir%/}" "${prefix%/}"
}

# last_commit FORMAT ELSE: of the last commit; a copy of the sources may have none.
last_commit() { git log -1 --format="$1" 2>/dev/null || echo "$2"; }

# deb: out/mini_VERSION_amd64.deb and out/mini_VERSION_i386.deb; the same commit gives the same bytes.
deb() {
    build_changed x86_64 i386
    need deb
    local version arch name folder epoch maintainer
    epoch=${SOURCE_DATE_EPOCH:-$(last_commit %ct 1767225600)}
    maintainer="${DEBFULLNAME:-$(last_commit %an mini)} <${DEBEMAIL:-$(last_commit %ae mini@localhost.localdomain)}>"
    version=$(sed -n 's/.*let version: StaticString = "\(.*\)"/\1/p' Sources/Mini/Commands/Applet.swift)
    for arch in x86_64 i386; do
        name=$arch
        [[ $arch == x86_64 ]] && name=amd64
        folder=out/deb/$name
        rm -rf "$folder"
        (umask 022 && deb_folder "$arch" "$name" "$version" "$folder" "$epoch" "$maintainer")
        # Those of another version go.
        rm -f out/mini_*_"$name.deb"
        SOURCE_DATE_EPOCH=$epoch dpkg-deb --root-owner-group -Zxz --build "$folder" "out/mini_${version}_$name.deb" >/dev/null
        say "out/mini_${version}_$name.deb: $(stat -c %s "out/mini_${version}_$name.deb") bytes"
    done
}

# deb_folder ARCH NAME VERSION FOLDER EPOCH MAINTAINER: what the package of an architecture is made of.
deb_folder() {
    local arch=$1 name=$2 version=$3 folder=$4 epoch=$5 maintainer=$6 documents=$4/usr/share/doc/mini
    install_files "$arch" "$folder" /usr
    mkdir -p "$folder/DEBIAN" "$documents"
    find "$folder/usr/share/man" -type f -exec gzip -9n {} +
    install -m 644 contrib/README.md "$documents/README.hooks.md"
    # LICENSE as a field's value: its lines begin with a space, empty ones have a dot.
    {
        printf '%s\n' 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/' '' 'Files: *' \
            "Copyright: $(sed -n 's/^Copyright (c) //p' LICENSE)" 'License: 0BSD'
        sed -e '1,/^Copyright/d' LICENSE | sed -e '/./,$!d' -e 's/^$/./' -e 's/^/ /'
    } >"$documents/copyright"
    printf 'mini (%s) unstable; urgency=medium\n\n  * See README.md.\n\n -- %s  %s\n' "$version" "$maintainer" \
        "$(LC_ALL=C date -u -d "@$epoch" -R)" | gzip -9n >"$documents/changelog.gz"
    mkdir -p "$folder/usr/share/lintian/overrides"
    # It is meant to run where there is no library.
    printf 'mini: statically-linked-binary [usr/bin/mini]\n' >"$folder/usr/share/lintian/overrides/mini"
    cat >"$folder/DEBIAN/control" <<EOF
Package: mini
Version: $version
Architecture: $name
Maintainer: $maintainer
Section: admin
Priority: optional
Installed-Size: $(du -sk --apparent-size "$folder" | cut -f1)
Description: launcher of small Linux guests, client of Xen's grants, init of an initramfs
 One static program with several commands: it starts Linux kernels, today's and
 those that speak lguest, on any machine and without privilege; maps, shares
 and copies pages between domains of Xen; is process 1 of an initramfs and
 carries out a boot table; and makes such an initramfs.
EOF
    # An initramfs that has mini gets the new one.
    echo "activate-noawait update-initramfs" >"$folder/DEBIAN/triggers"
    (cd "$folder" && find usr -type f | LC_ALL=C sort | xargs md5sum >DEBIAN/md5sums)
    find "$folder" -exec touch -h -d "@$epoch" {} +
}
