# The guests of eras 2 and later, a row of Tests/Guests/Eras/eras.table each: the image is recognised, and the guest finds what
# a host and a launcher of its era had. Each asks the one before it across a shared network. Sourced by system.sh.

tap_missing=
if ! unshare --net true 2>/dev/null; then
    tap_missing="no network namespace can be made here (not root?)"
elif ! unshare --net -- out/x86_64/mini-launch --tunnet 10.7.0.1 out/guests/hello </dev/null >/dev/null 2>&1; then
    tap_missing="no tap can be made here (/dev/net/tun)"
fi
[[ -z $tap_missing ]] || skip "guests of eras 2 and later: taps" "$tap_missing"
mapfile -t rows < <(grep '^[0-9]' Tests/Guests/Eras/eras.table)
check "there are guests of eras 2 and later" "${#rows[@]}" -ge 14
for arch in x86_64 i386; do
    if ! "out/$arch/mini" --version >/dev/null 2>&1; then
        skip "$arch: guests of eras 2 and later" "this machine does not run $arch programs"
        continue
    fi
    before=${rows[-1]%% *}
    for row in "${rows[@]}"; do
        IFS='|' read -r words cli vmcall system_call <<<"$row"
        read -r name release _ _ _ data _ _ _ devices _ <<<"$words"
        guest=out/guests/eras/$name

        launch $arch --check "$guest"
        expect "$arch, era $name: the image is recognised" 0 "*Linux version $release (*
lguest era*   ${name%-pae}
*" ""

        # Each guest has 8 MiB, which they count on.
        rm -f "$work/net"
        printf 'abcdefgh' >"$work/disk" && truncate -s 8192 "$work/disk"
        "out/$arch/mini-launch" --memory 8 --sharenet "$work/net" "out/guests/eras/$before" answer </dev/null >/dev/null 2>&1 &
        answering=$!
        timeout 600 "out/$arch/mini-launch" --memory 8 --block "$work/disk" --sharenet "$work/net" "$guest" \
            <<<"some keys" >"$work/out" 2>"$work/err"
        code=$?
        kill $answering 2>/dev/null
        wait $answering 2>/dev/null
        output=$(<"$work/out") errors=$(<"$work/err")
        clock="waited, and came" random="32 bytes"
        barrier=
        [[ $data == tables ]] && clock=came
        [[ $devices == counted ]] && barrier=", behind a barrier 0"
        [[ $devices == fields ]] && random=none
        expect "$arch, era $name: calls, traps, interrupts, console, disk, random numbers, a network with era $before" 0 "early text
console: interrupt
data: as they should be
ring: done
segment: loaded
cli: $cli
vmcall: $vmcall
system call: $system_call
clock: $clock
quiet: afterwards
disk: 16 sectors, read 0, interrupt, begins with abcdefgh, written 0, read again 0, ends with abcdefgh$barrier, beyond the end 1, no request 2
random: $random
network: answered
heard: some keys" "mini-launch: the guest cannot read disk \"*\": it asked for sectors beyond the end"
        check "$arch, era $name: what it wrote is on the disk" "$(tail -c +2041 "$work/disk" | head -c 8 | tr -d "\0")" = hgfedcba

        if [[ -z $tap_missing ]]; then
            timeout 600 unshare --net -- "out/$arch/mini-launch" --memory 8 --tunnet 10.7.0.1 "$guest" ask </dev/null >"$work/out" 2>"$work/err"
            code=$?
            output=$(<"$work/out") errors=$(<"$work/err")
            expect "$arch, era $name: across a tap the host answers" 0 "early text
console: interrupt
network: answered" ""
        fi

        launch $arch --memory 8 --no-reboot "$guest" restart
        expect "$arch, era $name: its restart ends with code 5 where none is wanted" 5 "early text
console: interrupt
Restarting system." "mini-launch: the guest asked for a reboot"
        launch $arch --memory 8 "$guest" panic
        expect "$arch, era $name: its panic ends with its words and code 4" 4 "early text
console: interrupt" "mini-launch: the guest died: CRASH: Kernel panic - as it was asked for"
        launch $arch --memory 8 "$guest" through
        if [[ $devices == fields ]]; then
            expect "$arch, era $name: a page that is written through ends it" 4 "*" "mini-launch: the guest died: bad page table entry"
        else
            expect "$arch, era $name: a page may be written through" 0 "*written through: yes*" ""
        fi
        before=$name
    done
done
