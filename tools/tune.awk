# Reads what swiftc made of mini, as LLVM's words, and says to clang which functions count for their speed: those
# that `types` names, blanks between, as Type or Type.function. Those are not made as small as can be, and keep their code to themselves. Of all
# others, what they have in common is taken out later (the machine outliner), and they need no frame pointers: 4 % of the
# x86_64 program go so. Done to all of it, it costs the execution loop half of its speed.
#
# Traps of one function may be one, but where speed counts (it costs the loop a twentieth): swiftc keeps them apart for debuggers, by an
# empty piece of assembly in front of each.
# Nothing is put into them either, nor are they put into others, but by swiftc: a function that counts for its size and is called
# once would be copied into the loop.
# The execution loops begin at the start of a cache line: where they begin was seen to change the loops of `bench`.
# And the functions that are called most take care of their caller's registers themselves, where the convention exists
# (`preserving`: x86_64): what would be saved around each of 7,000 calls is saved in four functions.
BEGIN {
    if (preserving) callees = "swift_(retain|release)(_n)?|mini_syscall"
    count = split(types, names, " ")
    for (i = 1; i <= count; i++) {
        # Of a type alone all functions, of "Type.function" those of that name, of types inside it, too.
        if ((dot = index(names[i], ".")) > 0) {
            method = substr(names[i], dot + 1)
            names[i] = substr(names[i], 1, dot - 1)
            methods[i] = "V" length(method) method
        }
        prefixes[i] = "$e4Mini" length(names[i]) names[i]
    }
}
/^define / {
    group = "70"
    for (i = 1; i <= count; i++) {
        # A name in quotes, or without.
        at = index($0, "@")
        if (!index(substr($0, at, length(prefixes[i]) + 2), prefixes[i])) continue
        if (methods[i] == "" || index($0, methods[i])) group = "80"
    }
    if (/Mini(4|8Long)CoreV7executeAA/) sub(/ \{$/, " align 64 {")
    if (match($0, / #[0-9]+/)) $0 = substr($0, 1, RSTART + 1) group substr($0, RSTART + 2)
}
group == "70" && /asm sideeffect "", "n"\(i32 [0-9]+\)/ { next }
group == "80" && / call swiftcc / && match($0, /\)( #[0-9]+)?(, ![^)]*)?$/) {
    $0 = substr($0, 1, RSTART) " noinline" substr($0, RSTART + 1)
}
callees != "" && /@(swift_re|mini_sys)/ && match($0, "(ptr|void|i64) @(" callees ")\\(") {
    if (/^(define|declare) / || /call /) $0 = substr($0, 1, RSTART - 1) "preserve_mostcc " substr($0, RSTART)
}
/^attributes #/ {
    print
    number = $2
    sub(/^#/, "", number)
    body = $0
    sub(/^[^{]*\{/, "", body)
    small = body
    sub(/"frame-pointer"="all"/, "\"frame-pointer\"=\"none\"", small)
    gsub(/minsize |optsize /, "", body)
    print "attributes #70" number " = { \"mini\" " small
    print "attributes #80" number " = { noinline \"nooutline\" " body
    next
}
{ print }
