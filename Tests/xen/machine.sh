# A real Xen in QEMU, made of Debian 12 packages that are downloaded and unpacked into out/xen,
# never installed: hypervisor, kernel, toolstack, and the libraries that the peers link with.
# Sourced by Tests/xen.sh and Tests/xen/run.sh after root=. docs/XEN_BENCH.md tells how to use it.
# shellcheck shell=bash disable=SC2154

xen=$root/out/xen
xen_packages=(
    xen-hypervisor-4.17-amd64 xen-utils-4.17 xen-utils-common xenstore-utils libxen-dev busybox-static
    libxencall1 libxendevicemodel1 libxenevtchn1 libxenforeignmemory1 libxengnttab1 libxenhypfs1
    libxenmisc4.17 libxenstore4 libxentoolcore1 libxentoollog1
    libc6 libgcc-s1 libyajl2 libuuid1 zlib1g liblzma5 libzstd1
)
xen_modules=(xen-gntdev xen-gntalloc xen-evtchn xen-privcmd xenfs)
debian_libraries=usr/lib/x86_64-linux-gnu

# The reason why there is no Xen here, for a SKIP line; empty while nothing is missing.
export xen_missing=

xen_kernel_package() { apt-cache depends linux-image-amd64 2>/dev/null | awk '$1 == "Depends:" { print $2; exit }'; }

# Downloads and unpacks what out/xen lacks. False, and $xen_missing, where that cannot be.
xen_fetch() {
    local tool
    for tool in qemu-system-x86_64 xz dpkg; do
        command -v "$tool" >/dev/null || { xen_missing="$tool is not installed" && return 1; }
    done
    [[ -e $xen/fetched && $(<"$xen/fetched") == "${xen_packages[*]}" ]] && return 0
    command -v apt-get >/dev/null || { xen_missing="no apt-get to download Debian packages with" && return 1; }
    local kernel
    kernel=$(xen_kernel_package)
    if [[ -z $kernel && $(id -u) == 0 ]]; then
        apt-get update -qq >"$xen/fetch.log" 2>&1
        kernel=$(xen_kernel_package)
    fi
    [[ -n $kernel ]] || { xen_missing="apt knows no package linux-image-amd64" && return 1; }
    rm -rf "$xen/packages" "$xen/root"
    mkdir -p "$xen/packages" "$xen/root"
    # As root apt would download as user _apt, who may not be able to write here.
    local try done_with=1
    for try in 1 2 3; do
        (cd "$xen/packages" && apt-get -o APT::Sandbox::User=root download -qq "$kernel" "${xen_packages[@]}") \
            >"$xen/fetch.log" 2>&1 && done_with=0 && break
        # The lists may be older than what the mirror has now.
        [[ $(id -u) != 0 ]] || apt-get update -qq >/dev/null 2>&1
        sleep $((try * 2))
    done
    ((done_with == 0)) || { xen_missing="apt-get download failed: $(tail -n 1 "$xen/fetch.log")" && return 1; }
    local package
    for package in "$xen"/packages/*.deb; do
        dpkg -x "$package" "$xen/root" || { xen_missing="cannot unpack $package" && return 1; }
    done
    rm -rf "$xen/packages"
    cp -P "$xen/root/lib/x86_64-linux-gnu"/lib*.so.* "$xen/root/$debian_libraries/"
    gunzip -c "$xen"/root/boot/xen-4.17-amd64.gz >"$xen/hypervisor" && xen_unpack_kernel &&
        echo "${xen_packages[*]}" >"$xen/fetched"
}

# The ELF inside the bzImage (its place stands in the boot header), which Xen starts seconds sooner.
xen_unpack_kernel() {
    local image sectors offset length
    image=$(compgen -G "$xen/root/boot/vmlinuz-*")
    sectors=$(od -An -tu1 -j497 -N1 "$image")
    read -r offset length < <(od -An -tu4 -j584 -N8 "$image")
    tail -c +$(((sectors + 1) * 512 + offset + 1)) "$image" | head -c "$length" |
        xz -dcq --single-stream >"$xen/vmlinux" || [[ $(head -c 4 "$xen/vmlinux") == $'\x7fELF' ]] ||
        { xen_missing="cannot unpack $image" && return 1; }
}

# --- file systems ---------------------------------------------------------------------------------

# busybox, mini, the peers and the modules: the whole of the second domain, and a part of dom0.
xen_tree_common() {
    local tree=$1 module
    mkdir -p "$tree"/{bin,dev,proc,sys,run,tmp,modules,tests}
    cp "$xen/root/bin/busybox" "$tree/bin/busybox"
    cp "${MINI_OUT:-$root/out}/x86_64/mini" "$tree/bin/mini"
    # Another build, where somebody wants to compare with it.
    [[ -z ${MINI_BASE:-} ]] || cp "$MINI_BASE" "$tree/bin/mini-base"
    # The bench's program, where `build.sh bench` has made it.
    [[ ! -e ${MINI_OUT:-$root/out}/x86_64/grantbench ]] ||
        cp "${MINI_OUT:-$root/out}/x86_64/grantbench" "$tree/bin/mini-grantbench"
    for module in mini-launch mini-grant mini-init mini-pack; do ln -sf mini "$tree/bin/$module"; done
    for module in "${xen_modules[@]}"; do
        cp "$(find "$xen/root/lib/modules" -name "$module.ko")" "$tree/modules/"
    done
    cp "$root"/Tests/xen/guest/* "$root/docs/sandbox.md" "$tree/tests/"
    find "$xen/peers" -maxdepth 1 -type f -exec cp -t "$tree/bin" {} + 2>/dev/null
    mv "$tree/tests/init" "$tree/init"
    chmod 755 "$tree/init" "$tree"/tests/*
}

# xen_pack TREE ARCHIVE
xen_pack() {
    (cd "$1" && find . | LC_ALL=C sort | "$xen/root/bin/busybox" cpio -o -H newc 2>/dev/null) >"$2"
}

# xen_stub FOLDER: what a stub domain is made of: mini and two modules, once with a table in it. And a
# guest for it to start.
xen_stub() {
    local out=${MINI_OUT:-$root/out} module files
    files=("$out/x86_64/mini=init")
    for module in xen-gntdev xen-evtchn; do files+=("$dom0/modules/$module.ko=$module.ko"); done
    # What a kernel that is asked for its end starts.
    "$out/x86_64/mini-pack" --link sbin/poweroff=/init --link sbin/reboot=/init "$1/stub.cpio" "${files[@]}"
    "$out/x86_64/mini-pack" "$1/stubtable.cpio" "${files[@]}" "$root/Tests/xen/stub.table=etc/mini.table"
    for module in xen-gntalloc dummy; do files+=("$(find "$xen/root/lib/modules" -name "$module.ko")=$module.ko"); done
    "$out/x86_64/mini-pack" "$1/stubwires.cpio" "${files[@]}" "$xen/root/bin/busybox=bin/busybox" \
        "$root/Tests/xen/wires.sh=wires.sh" "$root/Tests/xen/wires.table=etc/mini.table"
    [[ ! -e $out/guests/demo ]] || cp "$out/guests/demo" "$1/"
    xen_start "$1/start.cpio"
    xen_device_model "$1/qemu.cpio"
    # What the README says to type.
    sed -n '/^## A stub domain of Xen/,/^## [^A]/s/^    //p' "$root/README.md" >"$1/readme.sh"
}

# xen_device_model ARCHIVE: a stub domain with the smallest QEMU of Debian's qemu-system-x86, where that is installed.
xen_device_model() {
    local qemu library out=${MINI_OUT:-$root/out} module files=()
    qemu=$(command -v qemu-system-x86_64-microvm) && ldd "$qemu" >/dev/null 2>&1 || return 0
    for module in xen-gntdev xen-gntalloc xen-evtchn; do files+=("$dom0/modules/$module.ko=$module.ko"); done
    # Where its loader looks for them, whichever folder this machine has them in.
    while read -r library; do files+=("$(readlink -f "$library")=${library#/}"); done < <(ldd "$qemu" | grep -o '/[^ ]*')
    "$out/x86_64/mini-pack" "$1" "$out/x86_64/mini=init" "$qemu=bin/qemu" "$root/Tests/xen/qemu.table=etc/mini.table" "${files[@]}"
}

# xen_start ARCHIVE: a stub domain that starts in two ways by turns, with mini-init and with a shell's script.
xen_start() {
    local tree=$xen/tree/start library name
    mkdir -p "$tree"/{bin,lib64,dev,proc,sys,run,etc} "$tree/$debian_libraries"
    ln -s usr/lib "$tree/lib"
    cp "$xen/root/bin/busybox" "${MINI_OUT:-$root/out}/x86_64/mini" "$xen/peers/turns" "$xen/root/usr/bin/xenstore" "$tree/bin/"
    for name in sh mount sort; do ln -s busybox "$tree/bin/$name"; done
    for name in read list; do ln -s xenstore "$tree/bin/xenstore-$name"; done
    cp -L "$xen"/root/lib64/ld-linux-x86-64.so.2 "$tree/lib64/"
    for library in xenstore xentoolcore c; do cp -P "$xen/root/$debian_libraries/lib$library".so.* "$tree/$debian_libraries/"; done
    cp "$root/Tests/xen/start.script" "$tree/"
    cp "$root/Tests/xen/start.table" "$tree/etc/mini.table"
    ln -s bin/turns "$tree/init"
    xen_pack "$tree" "$1"
}

# out/xen/domu.cpio, and out/xen/dom0.cpio with it, the kernel and the toolstack inside.
xen_initramfs() {
    local work=$xen/tree library
    rm -rf "$work"
    xen_tree_common "$work/domu"
    xen_pack "$work/domu" "$xen/domu.cpio"

    local dom0=$work/dom0 bin=$xen/root/usr/lib/xen-4.17/bin
    xen_tree_common "$dom0"
    mkdir -p "$dom0"/{lib64,etc/xen,var/lib/xen,var/log/xen,guests} "$dom0/$debian_libraries"
    ln -s ../run "$dom0/var/run"
    ln -s ../run "$dom0/var/lock"
    ln -s usr/lib "$dom0/lib"
    cp "$bin"/{xl,xenstored,xenconsoled,xen-init-dom0} "$xen"/root/usr/bin/xenstore "$dom0/bin/"
    # xl runs them by their whole names.
    mkdir -p "$dom0/usr/lib/xen-4.17/bin"
    cp "$bin"/{libxl-save-helper,xenconsole} "$dom0/usr/lib/xen-4.17/bin/"
    for library in read write list rm ls chmod exists watch; do ln -s xenstore "$dom0/bin/xenstore-$library"; done
    cp -L "$xen"/root/lib64/ld-linux-x86-64.so.2 "$dom0/lib64/"
    cp -P "$xen/root/$debian_libraries"/lib{xen*,xlutil,yajl,c,gcc_s,uuid,z,lzma,zstd}.so.* "$dom0/$debian_libraries/"
    : >"$dom0/etc/xen/xl.conf"
    cp "$xen/vmlinux" "$dom0/guests/vmlinux"
    cp "$xen/domu.cpio" "$dom0/guests/"
    xen_stub "$dom0/guests"
    xen_pack "$dom0" "$xen/dom0.cpio"
    rm -rf "$work"
}

# --- the machine ------------------------------------------------------------------------------------

# xen_boot SECONDS WORDS...: boots dom0 with WORDS on its command line; serial console on standard
# input and output; 124 when the time is up. qemu64 with SVM runs PV and PVH domains. The guards of Xen and Linux against
# processors' faults take an eighth of an emulated processor's time.
xen_boot() {
    local seconds=$1
    shift
    # A comma in -initrd parts the files, so no name of a folder may stand there.
    (cd "$xen" && exec timeout --foreground "$seconds" qemu-system-x86_64 -machine pc,accel=tcg \
        -cpu qemu64,+svm,+npt -m 1024 -smp 1 -nodefaults -display none -serial stdio -no-reboot -pidfile qemu.pid -kernel hypervisor \
        -append "console=com1 com1=115200,8n1 dom0_mem=512M,max:512M loglvl=error guest_loglvl=error spec-ctrl=no xpti=no" \
        -initrd "vmlinux console=hvc0 panic=-1 quiet cryptomgr.notests=1 mitigations=off $*,dom0.cpio")
}

# xen_boot_watched SECONDS WORDS...: the same, but for a machine that hangs, whose last line is HANGS, or that has said nothing
# for so long: how long it takes in all is the affair of those who keep it waiting. Seen: QEMU at rest for ever, its
# processor halted and no timer set. Xen looks at its clocks every second, so one that lives uses some of our processor's time.
# What it says is written to $xen/console.log by whoever reads it.
xen_boot_watched() {
    local boot before now still=0 limit=$1 size said='' spoke=$SECONDS
    shift
    rm -f "$xen/qemu.pid"
    xen_boot $((10 * limit)) "$@" &
    boot=$!
    while kill -0 $boot 2>/dev/null; do
        before=${now-}
        now=$(awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$(<"$xen/qemu.pid")/stat")
        if [[ -n $now && $now == "$before" ]]; then still=$((still + 1)); else still=0; fi
        size=$(stat -c %s "$xen/console.log")
        [[ $size == "$said" ]] || said=$size spoke=$SECONDS
        ((still < 60 && SECONDS - spoke < limit)) || kill -KILL "$(<"$xen/qemu.pid")"
        sleep 2
    done 2>/dev/null
    wait $boot
    ((still < 60)) || echo HANGS
}

# --- the peers: C programs on Debian's Xen libraries, static so that the second domain needs no library ------

xen_peers() {
    local clang source
    clang=$(dirname "$(readlink -f "$(command -v swiftc)")")/clang
    [[ -x $clang ]] || clang=clang
    mkdir -p "$xen/peers"
    for source in "$root"/Tests/xen/peers/*.c "$root/Tests/bench/measure.c" "$root/Tests/system/calls.c"; do
        "$clang" -static -O2 -Wall -Wextra -Werror -I "$xen/root/usr/include" -s -o "$xen/peers/$(basename "$source" .c)" \
            "$source" -L "$xen/root/$debian_libraries" \
            -Wl,--start-group -lxenvchan -lxengnttab -lxenevtchn -lxenstore -lxentoolcore -lxentoollog -Wl,--end-group ||
            return 1
    done
}

# xen_make: everything that a boot needs.
xen_make() {
    mkdir -p "$xen"
    xen_fetch && { xen_peers || { xen_missing="the peers do not compile" && return 1; }; } && xen_initramfs
}
