# shellcheck shell=bash disable=SC2154
# The small i386 kernels of Tests/Guests, and the native side of the differential test. Sourced by build.sh.

guests() {
    local out=out/guests source name objects=() units=() flags=("${clang_flags[@]}" -march=i586)
    local common=Tests/Guests/Common target=i686-unknown-none-elf
    mkdir -p "$out/objects"
    for source in "$common"/*.S "$common"/*.c Sources/CShim/division.c; do
        local object
        object=$out/objects/$(basename "$source").o
        if [[ ! $object -nt $source || ! $object -nt build.sh || ! $object -nt tools/guests.sh ]]; then
            "$(tool clang)" -target $target "${flags[@]}" -I"$common/include" -c "$source" -o "$object" || return
        fi
        objects+=("$object")
    done
    mapfile -t units < <(find "$common" -name '*.swift' | LC_ALL=C sort)
    local told=
    for source in Tests/Guests/*.swift; do
        name=$(basename "$source" .swift)
        [[ $out/$name -nt $source && $out/$name -nt build.sh && $out/$name -nt tools/guests.sh ]] &&
            [[ -z $(find "$common" Sources/CShim/division.c -newer "$out/$name" -type f) ]] && continue
        [[ -n $told ]] || say "build.sh: building the guests"
        told=1
        mkdir -p "$out/objects/$name"
        cp "$source" "$out/objects/$name/main.swift"
        swiftc -target $target -Xcc -march=i586 "${swift_flags[@]}" -I "$common/include" -module-name Guest \
            -c "${units[@]}" "$out/objects/$name/main.swift" -o "$out/objects/$name/guest.o" || return
        "$(tool ld.lld)" -m elf_i386 "${link_flags[@]}" -T "$common/guest.ld" -o "$out/$name" "${objects[@]}" \
            "$out/objects/$name/guest.o" || return
    done
}

oracle() {
    oracle64 || return
    [[ out/oracle -nt Tests/Oracle/oracle.c && out/oracle -nt build.sh && out/oracle -nt tools/guests.sh ]] && return
    mkdir -p out
    "$(tool clang)" -target i686-unknown-none-elf "${clang_flags[@]}" -march=pentium4 -c Tests/Oracle/oracle.c -o out/oracle.o || return
    "$(tool ld.lld)" -m elf_i386 -static --image-base=0x56000000 -z noexecstack -o out/oracle out/oracle.o
}

# The native side of the 64-bit differential test, an ordinary program.
oracle64() {
    [[ $(uname -m) == x86_64 ]] || return 0
    [[ out/oracle64 -nt Tests/Oracle/oracle64.c && out/oracle64 -nt tools/guests.sh ]] && return
    mkdir -p out
    "$(tool clang)" -O1 -Wall -Wextra -Werror -o out/oracle64 Tests/Oracle/oracle64.c
}
