# shellcheck shell=bash disable=SC2154
# ./build.sh test fresh: the README's two commands on a Debian that has nothing but the toolchain, made by debootstrap. All
# that it mounts is in a mount namespace of its own and gone with it. Sourced by build.sh.

test_fresh() {
    local folder=$root/out/fresh toolchain_root
    [[ $(id -u) == 0 ]] || die "test fresh makes another root and needs to be root"
    command -v git >/dev/null || die "test fresh works on a clean clone and needs git"
    toolchain_root=$(dirname "$toolchain")
    [[ $toolchain == */usr && $toolchain_root != / ]] || die "test fresh wants a toolchain in a folder of its own, not in $toolchain"
    need fresh
    mkdir -p "$root/out"
    if [[ ! -e $folder.base/made ]]; then
        say "build.sh: making a Debian"
        debian_new debootstrap "$folder.base" || die "cannot make a fresh Debian: $debian_missing"
        : >"$folder.base/made"
    fi
    rm -rf "$folder"
    cp -a "$folder.base" "$folder"
    rm "$folder/made"
    apt-config dump | grep '^Acquire::' >"$folder/etc/apt/apt.conf.d/90fresh" || true
    cp /etc/resolv.conf "$folder/etc/resolv.conf"
    git clone -q --no-hardlinks "$root" "$folder/root/mini"
    [[ -z $(git status --porcelain) ]] || say "build.sh: what is not committed is not in the clone"
    mkdir -p "$folder$toolchain_root" "$folder/was"
    unshare --mount --propagation private bash -euc '
        mount --bind "$1" "$1"
        mount --bind "$2" "$1$2"
        mount --rbind /dev "$1/dev"
        mount -t proc proc "$1/proc"
        mount --rbind /sys "$1/sys"
        cd "$1"
        # Not chroot: there the kernel makes no user namespaces.
        pivot_root . was
        exec env -i HOME=/root TERM=dumb PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:"$3" /bin/bash -euc "
            umount -l /was
            cd /root/mini
            ./build.sh run </dev/null
            ./build.sh test"
    ' fresh "$folder" "$toolchain_root" "$toolchain/bin"
}
