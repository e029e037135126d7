# The launcher's own memory while a guest runs, as the kernel shows it: nothing that can be written can be
# executed, and guest memory, tables and decoded code lie each between pages that nobody may touch.
# Sourced by system.sh.

for arch in x86_64 i386; do
    if ! "out/$arch/mini" --version >/dev/null 2>&1; then
        skip "$arch: the launcher's memory" "this machine does not run $arch programs"
        continue
    fi
    coproc guest { exec "$root/out/$arch/mini-launch" --engine builtin 4 "$root/out/guests/echo" 2>/dev/null; }
    # shellcheck disable=SC2154
    launcher=$guest_PID
    read -r -t 60 line <&"${guest[0]}"
    if maps=$(cat "/proc/$launcher/maps" 2>/dev/null) && [[ -n $line && -n $maps ]]; then
        check "$arch: no memory of the launcher can be written and executed" "$(grep -c ' .wx' <<<"$maps")" -eq 0
        # Guest memory is several areas where a file is mapped into it.
        guarded=$(awk '{
            split($1, place, "-")
            if (end != place[1]) { opened = 0; areas = 0 }
            if ($2 == "---p") { if (opened && areas) count++; opened = 1; areas = 0 }
            else if ($2 == "rw-p") areas++
            else opened = 0
            end = place[2]
        } END { print count + 0 }' <<<"$maps")
        check "$arch: guest memory, its map, the tables and the arena lie between guards" "$guarded" -ge 4
    else
        skip "$arch: the launcher's memory" "its maps cannot be read here"
    fi
    kill "$launcher" 2>/dev/null
    wait "$launcher" 2>/dev/null
done
