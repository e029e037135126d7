#!/bin/bash
# Module of dracut: puts mini into the initramfs, with what is in /etc/mini. See contrib/README.md of mini.
# shellcheck disable=SC2154

mini_folder=/usr/bin

check() {
    require_binaries "$mini_folder/mini" || return 1
    # By itself only where there is something to put in.
    [[ -e $dracutsysrootdir/etc/mini/mini.table || -e $dracutsysrootdir/etc/mini/root ||
        -e $dracutsysrootdir/etc/mini/premount ]] || return 255
}

depends() {
    return 0
}

installkernel() {
    hostonly='' instmods xen-gntdev xen-gntalloc xen-evtchn
}

install() {
    local applet
    inst_binary "$mini_folder/mini"
    for applet in launch grant pack init; do
        ln -sf mini "$initdir$mini_folder/mini-$applet"
    done
    if [[ -e $dracutsysrootdir/etc/mini/mini.table ]]; then
        inst_simple /etc/mini/mini.table /etc/mini.table
    fi
    if [[ -d $dracutsysrootdir/etc/mini/root ]]; then
        # Not cp: /bin, /sbin and /lib may be symbolic links there, and stay.
        tar -C "$dracutsysrootdir/etc/mini/root" -cf - . |
            tar -C "$initdir" --no-overwrite-dir --keep-directory-symlink -xpf -
    fi
    if [[ -e $dracutsysrootdir/etc/mini/premount ]]; then
        inst /etc/mini/premount
        chmod 755 "$initdir/etc/mini/premount"
        inst_hook pre-trigger 50 "$moddir/premount.sh"
    fi
}
