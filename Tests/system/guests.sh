# The guests of Tests/Guests on the built-in host. Sourced by system.sh.

# A 64-bit kernel that is nothing but this code, as \xNN.
tiny_kernel() {
    local at='\x00\x00\x00\x01\x00\x00\x00\x00' size='\x00\x01\x00\x00\x00\x00\x00\x00' none='\x00\x00\x00\x00\x00\x00\x00\x00'
    {
        printf '\x7fELF\x02\x01\x01\x00'"$none"'\x02\x00\x3e\x00\x01\x00\x00\x00\x78\x00\x00\x01\x00\x00\x00\x00\x40\x00\x00\x00\x00\x00\x00\x00'
        printf "$none"'\x00\x00\x00\x00\x40\x00\x38\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x05\x00\x00\x00'
        printf "$none"'\x00\x00\x00\x81\xff\xff\xff\xff'"$at$size$size$none"
        printf "$2"'Linux version 6.1.0 (a test)\n'
        head -c 256 /dev/zero
    } | head -c 256 >"$1"
}

for arch in x86_64 i386; do
    if ! "out/$arch/mini" --version >/dev/null 2>&1; then
        skip "$arch: guests" "this machine does not run $arch programs"
        continue
    fi
    launch $arch out/guests/hello
    expect "$arch: a guest prints a line and powers off" 0 "hello from ring 1" ""
    launch $arch out/guests/panic
    expect "$arch: a guest's crash ends with its words and code 4" 4 "" \
        "mini-launch: *CRASH: Kernel panic - this guest is made to*"
    launch $arch out/guests/undefined
    expect "$arch: a trap without a handler ends the guest" 4 "" "*unhandled trap 6 at 0xc01*"
    launch $arch out/guests/spin
    expect "$arch: a spinning guest gets its clock" 0 "20 interrupts of 5 ms while spinning in [1-9][0-9][0-9]* ms" ""
    launch $arch out/guests/sleep
    expect "$arch: a halted guest is woken by its clock" 0 "slept 4 times 250 ms in [1-9][0-9][0-9][0-9]* ms" ""
    launch $arch out/guests/flood
    check "$arch: a megabyte of output arrives whole" \
        "$(awk '{ if ($1 != NR - 1 || length($0) != 51) bad = 1 } END { print NR, bad + 0 }' "$work/out")" = "20000 0"
    launch $arch out/guests/paging
    expect "$arch: page faults have their codes and addresses, entries their bits" 0 "absent, read: fault: vector 14, error 0, address 0xf0000000
0x12345678
entry 0x00000023
entry 0x00000063
read-only, write:
fault: vector 14, error 3, address 0xf0001004
written: 0x00000063
across two pages, the second absent:
fault: vector 14, error 2, address 0xf0003000
written: 0xaabbccdd" ""
    launch $arch out/guests/ring3
    expect "$arch: ring 3 is a cage" 0 "vector 128, error 0, from ring 3 to ring 1
vector 13, error 0, from ring 3 to ring 1
vector 13, error 250, from ring 3 to ring 1
vector 14, error 5, from ring 3 to ring 1
  address 0xf0001000
vector 14, error 7, from ring 3 to ring 1
  address 0xf0002000
vector 128, error 0, from ring 3 to ring 1
left ring 3 with 7, back in ring 1" ""
    launch $arch out/guests/ring
    expect "$arch: the asynchronous ring keeps its order" 0 "one two three four and the synchronous one
slots: 255 255 255 255 255 " ""
    launch $arch out/guests/gates
    expect "$arch: interrupt gates close interrupts, trap gates do not" 0 "interrupt gate, open before
  in the handler interrupts are closed, the frame says open
  afterwards open
interrupt gate, closed before
  in the handler interrupts are closed, the frame says closed
  afterwards closed
trap gate, open before
  in the handler interrupts are open, the frame says open
  afterwards open" ""
    launch $arch out/guests/clock
    expect "$arch: the clocks agree" 0 "wall clock *they differ by ?([0-9])[0-9] ms" ""
    launch $arch out/guests/demo
    expect "$arch: the demo shows where it is and powers off" 0 "*ring *1 (a kernel*Powering off." ""
    printf 'one\ntwo\noff\n' | timeout 600 "out/$arch/mini-launch" out/guests/echo >"$work/out" 2>&1
    check "$arch: input from a pipe reaches the guest" "$(tail -n 3 "$work/out" | tr '\n' ' ')" = "one two off "
    (timeout 600 "out/$arch/mini-launch" out/guests/flood; echo $? >"$work/code") 2>/dev/null | head -n 1 >/dev/null
    check "$arch: a closed output pipe ends it with the code of SIGPIPE" "$(<"$work/code")" = 141
done

# What kernels for newer processors die of, often before they can say a word.
if out/x86_64/mini --version >/dev/null 2>&1; then
    tiny_kernel "$work/newer" '\xc4\xe2\x71\xf7\xd2\xf4'
    launch x86_64 --engine builtin "$work/newer"
    expect "a kernel that wants what is not offered does not ask for a reboot by its triple fault" 4 "" \
        "mini-launch: the guest died: it wanted an instruction that its processor does not offer: c4e271f7d2f4*, at 0x1000078"
    # lidt; the instruction; hlt. Behind it vector 6's gate, to the hlt, and what lidt loads.
    tiny_kernel "$work/newer" '\x0f\x01\x1d\x19\x00\x00\x00\xc4\xe2\x71\xf7\xd2\xf4\x90\x90\x90\x84\x00\x10\x00\x00\x8e\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\xff\x0f\x28\x00\x00\x01\x00\x00\x00\x00'
    launch x86_64 --engine builtin "$work/newer"
    expect "nor has it powered itself off where it halts for it" 4 "" \
        "mini-launch: the guest died: it wanted an instruction*c4e271f7d2*, at 0x100007f"
    tiny_kernel "$work/older" '\xf4'
    launch x86_64 --engine builtin "$work/older"
    expect "one that halts has, and that it said nothing is said" 0 "" \
        "mini-launch: the guest said nothing on its serial port; --console screen shows what it says on a screen"
    launch x86_64 --engine builtin "$work/older" quiet
    expect "of one that was told to be quiet it is not" 0 "" ""
else
    skip "a kernel for newer processors" "this machine does not run x86_64 programs"
fi
