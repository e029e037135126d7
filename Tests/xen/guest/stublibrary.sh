# What the parts with stub domains are written with: domains in which mini is the only program, or at least process 1.

devices="mini.load=/xen-gntdev.ko mini.load=/xen-evtchn.ko"

# stub NAME TYPE INITRAMFS WORDS: makes a stub domain; sets $domain. What it says goes to /tmp/guest-NAME.log.
stub() {
    name=$1 words=$(echo "$4" | tr -d '\n')
    # What a PV domain takes.
    [ "$2 $((${#words} < 950))" != "pv 0" ] || fail "$1 fits on a command line" "${#words}"
    cat >/tmp/stub.cfg <<END
name = "$1"
type = "$2"
kernel = "/guests/vmlinux"
ramdisk = "/guests/$3"
memory = ${memory:-96}
on_reboot = "destroy"
extra = 'console=hvc0 quiet panic=-1 cryptomgr.notests=1 mitigations=off $words'
END
    xl create -q /tmp/stub.cfg >/tmp/create 2>&1 || { fail "$1 starts" "$(tr '\n' ' ' </tmp/create)" && return 1; }
    domain=$(xl domid "$1") data=/local/domain/$domain/data
}

# gone: waits until the stub domain has ended, however busy the machine is; sets $reason to Xen's for it: 0 for off, 1 for a reboot, 3 for a crash.
gone() {
    local tries=0
    # Seldom: each look takes time of the one processor from the domain that is looked for.
    while xl domid "$name" >/dev/null 2>&1 && [ $tries -lt 900 ]; do sleep 1 && tries=$((tries + 1)); done
    reason=$(sed -n 's/.*has shut down, reason code \([0-9]*\).*/\1/p' "/var/log/xen/xl-$name.log")
    xl destroy "$name" 2>/dev/null
}

# said NAME LINE...: these were on the stub domain's console, in this order (shell patterns).
said() {
    local what=$1 line
    shift
    tr -d '\r' <"/tmp/guest-$name.log" >/tmp/said
    while read -r line; do
        # shellcheck disable=SC2254
        case $line in $1) shift && [ $# -gt 0 ] || break ;; esac
    done </tmp/said
    if [ $# = 0 ]; then pass "$what"; else fail "$what" "not said: $1; but: $(tail -n 12 /tmp/said | tr '\n' '|')"; fi
}

# awaits NAME [VERB]: a page of dom0's and a port, as `grants await` has them, or `grants VERB`; what comes of them goes to
# /tmp/stub.NAME.
awaits() {
    rm -f "/tmp/stub.$1"
    grants "${2:-await}" "$domain" 17 600 >"/tmp/stub.$1" &
    eval "awaiting_$1=$!"
    until [ -s "/tmp/stub.$1" ]; do sleep 0.05; done
    read -r reference port <"/tmp/stub.$1"
}
# came NAME: waits for it, and prints what has come.
came() {
    eval "wait \$awaiting_$1"
    tail -n 1 "/tmp/stub.$1"
}
