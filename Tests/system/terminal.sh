# mini-launch at a terminal: raw mode while the guest runs, and the terminal as before on every
# way out. script(1) makes the terminal; what runs at it is a shell script that notes the
# settings before, during and after. Sourced by system.sh.

# at_terminal KEYS SCRIPT: runs SCRIPT (bash) at a terminal of its own. KEYS is a shell command whose output is
# typed; in it, `noted NAME` waits until SCRIPT has written NAME down. In SCRIPT, `note NAME` writes the terminal's
# settings down, `start WORDS...` is mini-launch with its process number in the file pid, `started` waits until its guest
# has said something, `taken` until the terminal is not as it was before; `pends` is true while it has yet to hear a signal.
at_terminal() {
    rm -rf "$work/at"
    mkdir "$work/at"
    cat >"$work/at/script" <<EOF
cd $work/at
note() { stty -g <\$tty >\$1; }
until_true() { for _ in {1..2400}; do eval "\$1" 2>/dev/null && return; sleep 0.05; done; }
started() { until_true 'grep -q . screen && [[ -s pid ]]'; }
taken() { until_true '[[ \$(stty -g <\$tty) != "\$(<before)" ]]'; }
pends() { grep -q '^S[hi][dg]Pnd:.*[1-9a-f]' /proc/\$(<pid)/status; }
start() { bash -c 'echo \$\$ >pid; exec "\$0" "\$@"' $root/out/x86_64/mini-launch "\$@"; }
tty=\$(tty)
note before
$2
note after
EOF
    (eval "$1" && noted after) |
        timeout 600 script -qefc "bash $work/at/script" /dev/null >"$work/at/screen" 2>&1
}

noted() { for _ in {1..2400}; do [[ -s $work/at/$1 ]] && return; sleep 0.05; done; }

# was NAME: the settings that SCRIPT noted under NAME.
was() { cat "$work/at/$1" 2>/dev/null; }
raw() { [[ -n $(was "$1") && $(was "$1") != "$(was before)" ]] && echo raw || echo as before; }
result() { cat "$work/at/code" 2>/dev/null; }

# after_all SENTENCE CODE: the last guest ended so, with the terminal raw before and restored.
after_all() {
    if [[ $(result) == "$2" && $(raw during) == raw && -n $(was after) && $(was after) == "$(was before)" ]]; then
        ok "$1"
    else
        not_ok "$1" "exit $(result) (wanted $2)" "before: $(was before)" "during: $(was during)" \
            "after:  $(was after)" "screen: $(head -c 300 "$work/at/screen")"
    fi
}

echo_guest=$root/out/guests/echo

if ! command -v script >/dev/null || ! command -v stty >/dev/null; then
    skip "at a terminal" "needs script(1) and stty(1)"
else
    meanwhile='(started; taken; note during'
    at_terminal 'noted during; printf "off\r"' "$meanwhile) & start $echo_guest; echo \$? >code; wait"
    after_all "at a terminal: a power-off" 0
    at_terminal 'noted during; printf "\003\003\003"' "$meanwhile) & start $echo_guest; echo \$? >code; wait"
    after_all "at a terminal: three ^C leave" 6
    at_terminal 'noted during; printf "\003\003\003"' "$meanwhile) & start $root/out/guests/spinforever; echo \$? >code; wait"
    after_all "at a terminal: three ^C leave a guest that never listens" 6
    at_terminal 'noted during; printf "\003"; sleep 0.2; printf "\003x\003"; sleep 1; printf "off\r"; sleep 0.2; printf "\roff\r"' \
        "$meanwhile) & start $echo_guest; echo \$? >code; wait"
    after_all "at a terminal: ^C with other keys in between are the guest's" 0

    for signal in HUP:129 INT:130 QUIT:131 SEGV:139 BUS:135 USR1:138 PIPE:141 TERM:143 ABRT:134 TRAP:133 PWR:158 SYS:159 ALRM:142 RTMAX:192; do
        at_terminal true "$meanwhile; kill -${signal%:*} \$(<pid)) & start $echo_guest; echo \$? >code; wait"
        after_all "at a terminal: SIG${signal%:*} ends it" "${signal#*:}"
    done
    at_terminal true "$meanwhile; stty cols 90 rows 30 <\$tty; kill -WINCH \$(<pid); until_true '! pends'; kill -TERM \$(<pid)) &
        start $echo_guest; echo \$? >code; wait; stty \$(<before) <\$tty"
    after_all "at a terminal: a change of its size does no harm" 143

    at_terminal true "$root/out/x86_64/mini-launch --memory 0 $echo_guest; echo \$? >code; cp before during; echo x >>during"
    after_all "at a terminal: a refused start does not touch it" 2

    # Job control: stopped and continued, and begun in the background.
    at_terminal true "set -m
        (started; taken; note during; kill -TSTP \$(<pid)) &
        start $echo_guest; echo \$? >stopped; note while-stopped
        (taken; note again; kill -TERM \$(<pid)) & fg %?exec; echo \$? >code; wait"
    check "at a terminal: stopping gives it back" "$(was while-stopped)" = "$(was before)"
    check "at a terminal: going on takes it again" "$(was again)" = "$(was during)"
    after_all "at a terminal: stopped, continued and ended" 143
    # Another of its job sets the terminal in the background, as a pager does: all of them are stopped, and go on.
    at_terminal true "set -m
        start $echo_guest | (until_true '[[ -s pid ]]'; sleep 0.5; stty echo <\$tty; exec cat) &
        until_true 'grep \"^State:.T\" /proc/\$(<pid)/status >stopped'
        (until_true 'grep \"^State:.[RS]\" /proc/\$(<pid)/status >goes-on'; kill -TERM \$(<pid)) & fg %1; wait"
    check "at a terminal: it is stopped with another of its job, and goes on with it" -s "$work/at/stopped" -a -s "$work/at/goes-on"
    at_terminal true "set -m
        start $echo_guest & started; note background
        (taken; note during; kill -TERM \$(<pid)) & fg %1; echo \$? >code; wait"
    check "at a terminal: in the background it is left alone" "$(was background)" = "$(was before)"
    after_all "at a terminal: brought to the foreground it is taken" 143
fi
