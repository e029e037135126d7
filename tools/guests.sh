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
    guests_of_eras
}

# The guests of eras 2 and later: one source, and a row of its own for each (Tests/Guests/Eras/eras.table). Called by guests.
guests_of_eras() {
    local eras=Tests/Guests/Eras parts=() words=() name release call gate ring data start end gdt devices tables rest
    local made=$out/objects/eras/made
    [[ -e $made && -z $(find $eras "$common" build.sh tools/guests.sh -newer "$made" -type f) ]] && return
    [[ -n $told ]] || say "build.sh: building the guests"
    mkdir -p "$out/eras" "$out/objects/eras"
    mapfile -t units < <(find "$eras" -name '*.swift' | LC_ALL=C sort)
    swiftc -target $target -Xcc -march=i586 "${swift_flags[@]}" -I "$common/include" -I $eras/include -module-name Guest \
        -c "$common/Text.swift" "${units[@]}" -o "$out/objects/eras/guest.o" || return
    parts=("$out/objects/"{traps.S,memory.c,division.c}.o "$out/objects/eras/guest.o")
    while read -r name release call gate ring data start end gdt devices tables rest; do
        [[ $name == [0-9]* ]] || continue
        words=("CALL_$call" "CALL_$gate" "RING_$ring" "DATA_$data" "START_$start" "END_$end" "GDT_$gdt" "DEVICES_$devices"
            "TABLES_$tables")
        "$(tool clang)" -target $target "${flags[@]}" "-DRELEASE=\"$release\"" "${words[@]/#/-D}" \
            -c "$eras/start.S" -o "$out/objects/eras/start.o" || return
        "$(tool ld.lld)" -m elf_i386 "${link_flags[@]}" -T "$common/guest.ld" \
            --defsym=era_entry=guest_entry-0xC0000000 -e era_entry -o "$out/eras/$name" \
            "$out/objects/eras/start.o" "${parts[@]}" || return
    done < <(tr '[:lower:]' '[:upper:]' <$eras/eras.table | sed 's/^\([^ ]*\)/\L\1/')
    : >"$made"
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
