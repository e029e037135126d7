# The files that the build makes. Sourced by system.sh.

# of_headers ARCH: what readelf says of the file.
of_headers() {
    local arch=$1 file=out/$1/mini headers relocated
    headers=$(readelf -lW "$file")
    check "$arch: no interpreter, and no library is needed" \
        "$(grep -c INTERP <<<"$headers") $(readelf -dW "$file" | grep -c NEEDED)" = "0 0"
    # On i386 nothing is relocated at the start, so that what is constant lies among what nobody can write.
    relocated=$(readelf -SW "$file" | grep -cE ' \.(data\.rel\.ro|got|init_array)[ .]')
    check "$arch: what is constant after the start is made so" \
        "$(grep -c GNU_RELRO <<<"$headers")" = "$((relocated > 0))"
    [[ $arch == i386 ]] || check "$arch: there is some of it" "$relocated" -gt 0
    check "$arch: no segment is writable and executable" "$(grep -cE 'LOAD.* RWE' <<<"$headers")" = 0
    check "$arch: the stack is not executable" "$(grep -cE 'GNU_STACK.* RW ' <<<"$headers")" = 1
    check "$arch: stripped" "$(readelf -SW "$file" | grep -c symtab)" = 0
    # Guest memory at address 0 must end in front of it.
    [[ $arch != i386 ]] || check "i386: the program begins where LguestEngine.swift says" \
        "$(awk '$1 == "LOAD" { print $3; exit }' <<<"$headers")" \
        = "0x$(sed -n 's/.*let programStart: UInt32 = 0x\([0-9A-Fa-f_]*\).*/\1/p' Sources/Mini/Launcher/LguestEngine.swift | tr -d _)"
    [[ $arch != x86_64 ]] || check "x86_64: the program lies wherever the kernel puts it, and its code is not changed for that" \
        "$(readelf -hW "$file" | grep -c 'Type: *DYN') $(readelf -dW "$file" | grep -c TEXTREL)" = "1 0"
}

for arch in x86_64 i386; do
    if command -v readelf >/dev/null; then of_headers $arch; else
        skip "$arch: what the headers of the file say" "there is no readelf (package binutils)"
    fi
    file=out/$arch/mini
    check "$arch: at most 1 MiB ($(stat -c %s "$file") bytes)" "$(stat -c %s "$file")" -le 1048576
    for applet in mini-launch mini-grant mini-pack mini-init; do
        check "$arch: $applet is a link to mini" "$(readlink "out/$arch/$applet")" = mini
    done
done

# SSE2 would not run on the Pentium III that a real /dev/lguest is met on. Where there is SSE2, guests' instructions use it: sse.S.
objdump=$(dirname "$(readlink -f "$(command -v swiftc)")")/llvm-objdump
[[ -x $objdump ]] || objdump=objdump
# The linker makes the code of the program as a whole, so it is the program that is looked at.
with_sse() { "$objdump" -d "$1" | grep -c xmm; }
check "i386: no SSE register is used but by sse.S" "$(with_sse out/i386/mini)" = "$(with_sse out/i386/objects/sse.S.o)"
check "i386: and sse.S uses some" "$(with_sse out/i386/objects/sse.S.o)" -gt 0

# Two builds from two folders are the same, byte for byte. That for i386 is made by the same steps.
mkdir -p "$work/elsewhere"
cp -r Package.swift Sources build.sh tools "$work/elsewhere/"
if (cd "$work/elsewhere" && ./build.sh x86_64) >"$work/log" 2>&1; then
    if cmp -s out/x86_64/mini "$work/elsewhere/out/x86_64/mini"; then
        ok "x86_64: two builds from two folders are byte-identical"
    else
        not_ok "x86_64: two builds from two folders are byte-identical"
    fi
else
    not_ok "a build in another folder succeeds" "$(tail -n 3 "$work/log")"
fi

# Structures of the kernel's, as CShim has them, on both architectures.
clang=$(dirname "$(readlink -f "$(command -v swiftc)")")/clang
[[ -x $clang ]] || clang=clang
# The C library's list of what it lacks on 32 bits is in a package that nothing else here wants; none of it matters.
mkdir -p "$work/include/gnu"
: >"$work/include/gnu/stubs-32.h"
for target in x86_64 i686; do
    if "$clang" -target $target-linux-gnu -fsyntax-only -Wall -ISources/CShim/include -isystem "$work/include" -isystem /usr/include \
        -isystem /usr/include/x86_64-linux-gnu Tests/ABI/structures.c >"$work/log" 2>&1; then
        ok "$target: structures are as the kernel's headers have them"
    else
        not_ok "$target: structures are as the kernel's headers have them" "$(head -n 5 "$work/log")"
    fi
done

# A choice of parts: what is not in it is not there.
if (cd "$work/elsewhere" && ./build.sh --parts pack,grant,init x86_64) >"$work/log" 2>&1; then
    built=$work/elsewhere/out/x86_64
    check "--parts grant,init,pack: the version names them" \
        "$("$built/mini" --version)" = "mini $mini_version (grant, pack, init)"
    check "they have commands, the others have none" "$(cd "$built" && echo mini-*)" = "mini-grant mini-init mini-pack"
    "$built/mini" mini-launch /dev/null >/dev/null 2>"$work/err"
    check "a part that is not in is no applet" "$? $(<"$work/err")" = "2 mini: there is no applet \"mini-launch\"; --help lists them"
    check "nothing of the launcher is in the file" "$(grep -c -a "guest died" "$built/mini")" = 0
    check "which is in the whole program" "$(grep -c -a "guest died" out/x86_64/mini)" -gt 0
    check "it is smaller" "$(($(stat -c %s "$built/mini") < $(stat -c %s out/x86_64/mini) * 2 / 3))" = 1
else
    not_ok "a build of some parts succeeds" "$(tail -n 3 "$work/log")"
fi
for list in "" "," launch,nonsense nonsense; do
    (cd "$work/elsewhere" && touch Sources/Mini/main.swift && ./build.sh --parts "$list") >"$work/out" 2>"$work/err"
    code=$?
    check "--parts \"$list\" is refused in one line, and builds nothing" "$code $(wc -l <"$work/err") $(grep -c 'launch grant pack init' "$work/err")" = "2 1 1"
done
