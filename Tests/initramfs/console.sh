# What a machine says on its console, and whether that is what it should say. Sourced by initramfs.sh.
# shellcheck shell=bash disable=SC2034,SC2154

# read_console: what a machine has said, from standard input: $work/lines has the console's lines but the kernel's
# own, $end the kernel's last words.
read_console() {
    tr -d '\r' >"$work/console"
    # The firmware's escape sequences are not ours either.
    grep -avE '^\[ *[0-9]+\.[0-9]+\] |^$' "$work/console" | sed 's/\x1b[^a-zA-Z]*[a-zA-Z]//g' >"$work/lines"
    end=$(grep -aoE 'reboot: .*' "$work/console" | tail -n 1)
}

# boot SECONDS MEBIBYTES INITRAMFS WORDS...: boots, and reads the console; $code is QEMU's.
boot() {
    machine_boot "$arch" "$@" </dev/null >"$work/console.raw" 2>&1
    code=$?
    read_console <"$work/console.raw"
}

# booted SENTENCE END LINE...: the machine ended so, by itself, and these lines were on the console in this order
# (bash patterns).
booted() {
    local sentence=$1 wanted=$2 line found
    shift 2
    if [[ $code != 0 || $end != "$wanted" ]]; then
        not_ok "$arch kernel: $sentence" "QEMU's code $code, the kernel's end \"$end\" (wanted \"$wanted\")" \
            "$(tail -n 12 "$work/console")"
        return
    fi
    exec 5<"$work/lines"
    for line; do
        found=
        while IFS= read -r -u 5 found; do
            # shellcheck disable=SC2053
            [[ $found == $line ]] && break
            found=
        done
        if [[ -z $found ]]; then
            exec 5<&-
            not_ok "$arch kernel: $sentence" "not on the console, or too early: $line" "$(tail -n 40 "$work/lines")"
            return
        fi
    done
    exec 5<&-
    ok "$arch kernel: $sentence"
}

off="reboot: Power down" again="reboot: Restarting system"
