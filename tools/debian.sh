# shellcheck shell=bash disable=SC2154
# Kernels and programs of Debian's packages, of the machine's own release: downloaded and unpacked, never installed. Sourced
# after root=, by build.sh and by tests.

# Why something is not to be had, for a line or a SKIP.
export debian_missing=
debian_state=$root/out/debian

# thrice COMMAND...: until it succeeds, three times at most. A mirror may fail for a moment.
thrice() { "$@" || { sleep 2 && "$@"; } || { sleep 4 && "$@"; }; }

# debian_own ARCH: is it the machine's own architecture, of which apt knows packages?
debian_own() {
    [[ $(dpkg --print-architecture 2>/dev/null) == "$1" ]] && apt-cache show "linux-image-$1" >/dev/null 2>&1
}

# debian_apt ARCH COMMAND...: apt-COMMAND; where the machine's own lists do not do, with a state of its own: the
# system's architectures and indices stay as they are.
debian_apt() {
    local arch=$1 command=$2 state=$debian_state/apt-$1
    shift 2
    # As root apt would download as user _apt, who may not be able to write here.
    local options=(-o APT::Sandbox::User=root -qq)
    if ! debian_own "$arch"; then
        mkdir -p "$state/lists/partial" "$state/archives/partial"
        options+=(-o "APT::Architecture=$arch" -o "APT::Architectures=$arch" -o "Dir::State::Lists=$state/lists"
            -o "Dir::Cache=$state" -o Dir::State::status=/dev/null)
    fi
    "apt-$command" "${options[@]}" "$@"
}

# debian_download ARCH FOLDER PACKAGE: a package whose name may stand for a newer one's; prints its file.
debian_download() {
    local arch=$1 folder=$2 name=$3 package try tool
    for tool in apt-get apt-cache dpkg-deb; do
        command -v $tool >/dev/null || { debian_missing="there is no $tool to download Debian packages with" && return 1; }
    done
    mkdir -p "$folder"
    for try in 1 2 3; do
        # Of several sources one may fail that the package does not come from.
        debian_own "$arch" || debian_apt "$arch" get update >"$folder/log" 2>&1
        package=$name
        [[ $name != linux-image-* ]] ||
            package=$(debian_apt "$arch" cache depends "$name" 2>/dev/null | awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }')
        # Where no list is missing there is none.
        [[ -n $package ]] || grep -qs '^E:\|Failed to fetch' "$folder/log" || break
        [[ -n $package ]] && (cd "$folder" && debian_apt "$arch" get download "$package") >"$folder/log" 2>&1 && break
        [[ $(id -u) != 0 ]] || ! debian_own "$arch" || apt-get update -qq >/dev/null 2>&1
        sleep $((try * 2))
    done
    [[ -n $package ]] || { debian_missing="this release has no $name for $arch" && return 1; }
    compgen -G "$folder/${package}_*.deb" ||
        { debian_missing="cannot download $name for $arch: $(tail -n 1 "$folder/log")" && return 1; }
}

# debian_new DEBOOTSTRAP FOLDER [WORDS...]: a Debian as this machine's own is, and from where that comes, in a new folder.
debian_new() {
    local program=$1 folder=$2 mirror suite
    shift 2
    # Others, too, offer a release of this name.
    read -r mirror suite < <(apt-get indextargets --format '$(SITE) $(RELEASE) $(CREATED_BY) $(COMPONENT) $(ORIGIN)' |
        awk '$3 == "Packages" && $4 == "main" && $5 == "Debian" && $2 !~ /-/ { print $1, $2; exit }')
    [[ -n $suite ]] || { debian_missing="apt has no Debian" && return 1; }
    thrice debian_bootstrap "$@" ||
        { debian_missing="debootstrap has failed: $(tail -n 1 "$folder.log")" && return 1; }
}
debian_bootstrap() {
    rm -rf "$folder"
    "$program" --variant=minbase "$@" "$suite" "$folder" "$mirror" >"$folder.log" 2>&1
}

# debian_alone FOLDER COMMAND...: runs it while nobody else makes the folder.
debian_alone() {
    local folder=$1 lock code=0
    shift
    mkdir -p "$(dirname "$folder")"
    exec {lock}>"$folder.lock"
    flock "$lock"
    "$@" || code=1
    exec {lock}>&-
    return $code
}

# debian_kernel ARCH FLAVOUR FOLDER [MODULE...]: the folder with vmlinuz, config, version, and modules, these few.
debian_kernel() { debian_alone "$3" debian_make_kernel "$@"; }
debian_make_kernel() {
    local arch=$1 flavour=$2 folder=$3 package found
    shift 3
    # Other modules may be wanted than the last time.
    if [[ -e $folder/fetched && $(<"$folder/fetched") == "$*" ]]; then return 0; fi
    rm -rf "$folder"
    # Not in a subshell, which would keep the reason to itself.
    debian_download "$arch" "$folder" "linux-image-$flavour" >/dev/null || return 1
    # From Debian 14 on the image, the modules and the configuration have packages of their own, which this one depends on.
    for package in $(dpkg-deb -f "$(compgen -G "$folder/linux-image-*.deb")" Depends | tr -s ', ' '\n' |
        grep -E '^linux-(binary|modules|base)-[0-9]'); do
        debian_download "$arch" "$folder" "$package" >/dev/null || return 1
    done
    for package in "$folder"/*.deb; do
        # Each has only some of them.
        dpkg-deb --fsys-tarfile "$package" |
            tar -x -C "$folder" --wildcards './boot/vmlinuz-*' '*/modules/*/vmlinuz' './boot/config-*' '*/modules/*/config' \
                '*/modules.builtin*' '*/modules.order' "${@/#/*/kernel/}" 2>>"$folder/log" || true
        rm -f "$package"
    done
    found=$(compgen -G "$folder/usr/lib/modules/*" || compgen -G "$folder/lib/modules/*") &&
        mv "$found" "$folder/modules" && basename "$found" >"$folder/version" &&
        mv "$(compgen -G "$folder/boot/vmlinuz-*" || echo "$folder/modules/vmlinuz")" "$folder/vmlinuz" &&
        mv "$(compgen -G "$folder/boot/config-*" || echo "$folder/modules/config")" "$folder/config" ||
        { debian_missing="cannot unpack linux-image-$flavour for $arch: $(tail -n 1 "$folder/log")" && return 1; }
    for package in "$@"; do
        [[ -e $folder/modules/kernel/$package ]] ||
            { debian_missing="linux-image-$flavour for $arch has no module $package" && return 1; }
    done
    rm -rf "${folder:?}/boot" "${folder:?}/lib" "${folder:?}/usr"
    echo "$*" >"$folder/fetched"
}

# debian_busybox ARCH FOLDER: the folder with busybox, which needs no library.
debian_busybox() { debian_alone "$2" debian_make_busybox "$@"; }
debian_make_busybox() {
    local arch=$1 folder=$2
    [[ ! -e $folder/busybox ]] || return 0
    rm -rf "$folder"
    debian_download "$arch" "$folder" busybox-static >/dev/null || return 1
    dpkg-deb --fsys-tarfile "$(compgen -G "$folder/busybox-static_*.deb")" |
        tar -x -O --wildcards '*/bin/busybox' >"$folder/busybox.new" && [[ -s $folder/busybox.new ]] ||
        { debian_missing="cannot unpack busybox-static for $arch" && return 1; }
    chmod +x "$folder/busybox.new"
    rm -f "$folder"/*.deb
    mv "$folder/busybox.new" "$folder/busybox"
}
