# What a stub domain's start-up script does, carried out by process 1 in a process namespace of its own: words that are looked
# up, conditions, descriptors, sockets, network devices. The store of a real Xen is in Tests/xen/guest. Sourced by
# system.sh.

clang=$(dirname "$(readlink -f "$(command -v swiftc)")")/clang
[[ -x $clang ]] || clang=clang

# ends_after COUNT TEXT [COMMAND]: writes a script for process 1 to run, which ends the machine after the command when so many
# lines with TEXT have been printed.
ends_after() {
    printf '%s\n' "until [ \$(grep -c '$2' $work/out) -ge $1 ]; do sleep 0.05; done" "${3:-:}" \
        'kill -USR2 1' 'sleep 1000' >"$work/ends"
}

for arch in ${archs:-x86_64 i386}; do
    if ! unshare --user --map-root-user --pid --fork --mount true 2>/dev/null || ! "out/$arch/mini" --version >/dev/null 2>&1 || [[ ! -d /sys/kernel ]]; then
        skip "$arch: a stub domain's start" "this machine has no namespaces for us, has no /sys mounted, or does not run $arch programs"
        continue
    fi

    # --- words and conditions -------------------------------------------------------------------

    printf 'two  words\n' >"$work/value"
    boot "$arch" "run /bin/echo \"x@{file:$work/value}\" '@{file:y}' @{file:/nowhere:-usual} @{file:/nowhere:-}"
    booted "words come from files, with defaults" $powered_off "xtwo  words @{file:y} usual"$'\n'"$off"
    boot "$arch" $'on-error poweroff\nrun /bin/echo not  @{file:/nowhere}'
    booted "what a word is to come from and is not there is told with its column" $powered_off \
        "mini-init: $work/table:2:20: cannot read \"/nowhere\": no such file (ENOENT)"$'\n'"$off"
    boot "$arch" $'on-error poweroff\nrun /bin/echo not\nrun x @{a/../b}'
    booted "a path with .. is told before anything is started" $powered_off \
        "mini-init: $work/table:3:7: \"a/../b\" is not a path without .. in it"$'\n'"$off"
    boot "$arch" "if file $work/value
run /bin/echo yes
else
run /bin/echo no
end
if exists device/console/1
run /bin/echo yes
else
run /bin/echo no
end"
    booted "a condition on a store that is not there is false and says why once" $powered_off \
        $'yes\n'"mini-init: $work/table:6:1: cannot open \"/dev/xen/xenbus\": *"$'\nno\n'"$off"
    check "$arch: process 1: that is one line" "$(grep -c xenbus "$work/out")" = 1

    # --- descriptors ----------------------------------------------------------------------------

    boot "$arch" "run 3<$work/value 4>$work/copy 5>>$work/copy /bin/sh -c 'cat <&3 >&4; echo more >&5'
run <$work/copy /bin/cat"
    booted "a program finds open what stands in front of it" $powered_off $'two  words\nmore\n'"$off"
    boot "$arch" "run A=one 3<$work/value B='two  words' C=3=3 A=1 /bin/sh -c 'echo \"\$A \$B \$C\"; cat <&3'
try run XENSTORED_PATH=/nowhere/x mini-grant store get a
exec A=b /bin/sh -c 'echo \$A \${B-none} \${MINI_INIT_PROGRAM-none}; exit 7'"
    booted "variables are given to a program, an applet and what process 1 becomes, and to nobody else" 7 \
        $'1 two  words 3=3\ntwo  words\n*"/nowhere/x"*\nb none none'
    boot "$arch" $'on-error poweroff\nrun 3</nowhere/x /bin/true'
    booted "what cannot be opened is told with its column" $powered_off \
        "mini-init: $work/table:2:5: cannot open \"/nowhere/x\": no such file (ENOENT)*$off"
    boot "$arch" $'start >pipe:p 2>&1 /bin/sh -c "echo through; echo errors >&2"\nrun <pipe:p /bin/cat'
    booted "a pipe leads from one program to another and ends with it" $powered_off $'through\nerrors\n'"$off"
    boot "$arch" $'on-error poweroff\nif file /nowhere/agent\nstart >pipe:log /nowhere/agent\nend\nrun <pipe:log /bin/cat'
    booted "who reads finds the end of a pipe whose other program was skipped" $powered_off "$off"
    boot "$arch" $'try start >pipe:log /bin/echo @{file:/nowhere}\nrun <pipe:log /bin/cat\nrun /bin/echo next'
    booted "who reads finds the end of a pipe whose other program has not been started" $powered_off \
        "mini-init: $work/table:1:31: cannot read \"/nowhere\": no such file (ENOENT)"$'\nnext\n'"$off"
    boot "$arch" $'start >pipe:log /bin/sh -c "seq 100000"\ntry run <pipe:log /bin/cat @{file:/nowhere}'
    booted "who writes does not wait for a program that has not been started" $powered_off \
        "mini-init: $work/table:2:28: cannot read \"/nowhere\": no such file (ENOENT)*$off"
    boot "$arch" "start 3<$work/value 4>$work/copy 5>>$work/copy >pipe:p /bin/sh -c 'cat <&3; echo state >&4; echo more >&5'
run <pipe:p /bin/cat
run <$work/copy /bin/cat"
    booted "a program with a pipe has its other descriptors as well" $powered_off $'two  words\nstate\nmore\n'"$off"
    rm -f "$work/go"
    boot "$arch" "start >pipe:log /bin/sh -c 'echo not yet; echo I am ready now; until [ -e $work/go ]; do sleep 0.02; done; echo later'
wait line log ready deadline=600
run /bin/echo next
run /bin/touch $work/go"
    booted "a line of a program's output is waited for; the rest still comes" $powered_off \
        $'not yet\nI am ready now\nnext\nlater\n'"$off"
    boot "$arch" $'on-error poweroff\nstart >pipe:log /bin/echo other\nwait line log ready deadline=600'
    booted "a program that ends without that line is told of" $powered_off \
        $'other\n'"mini-init: $work/table:3:1: the pipe \"log\" has ended before a line had \"ready\" in it"$'\n'"$off"
    rm -f "$work/saved"
    printf '%s\n' "trap 'sleep 0.3; echo last words; echo >$work/saved; exit' TERM" 'echo ready' \
        'while :; do sleep 0.1; done' >"$work/script"
    boot "$arch" "grace 300s
start >pipe:log /bin/sh $work/script
wait line log ready deadline=600
run /bin/sh -c 'kill -USR2 1; sleep 1000'"
    booted "a program's last words go through its pipe" $powered_off "ready*last words"$'\n'"$off"
    check "$arch: process 1: and it comes to its end" -e "$work/saved"
    boot "$arch" $'grace 300s\nrespawn >pipe:log /bin/sh -c "echo ready; sleep 100"\nwait line log ready deadline=600
run /bin/sh -c "kill -USR2 1; sleep 1000"'
    booted "a pipe of a program that would be started again ends with the machine" $powered_off $'ready\n'"$off"
    boot "$arch" $'on-error poweroff\nvital >pipe:log 2>&1 /bin/sh -c "echo no disk; exit 1"
wait socket /nowhere/s deadline=600
wait line log ready'
    booted "what a lost program has written is shown, though nobody has read it yet" $powered_off \
        "*ended with code 1"$'\nno disk\n'"$off"
    boot "$arch" $'on-error poweroff\nwait socket /nowhere/s deadline=250ms'
    booted "a socket that nobody listens on: the deadline is in milliseconds" $powered_off \
        "*:2:1: nobody has listened on \"/nowhere/s\" in time"$'\n'"$off"
    if "$clang" -O2 -o "$work/receive" "$root/Tests/system/receive.c" 2>"$work/err"; then
        rm -f "$work/s"
        boot "$arch" "on-error poweroff
start $work/receive $work/s
wait socket $work/s deadline=600
send $work/s >$work/passed '{\"execute\":\"add-fd\"}' expect='\"fdset-id\"' deadline=600
run /bin/cat $work/passed"
        booted "an open file goes through a socket, and the answer is waited for" $powered_off \
            $'received {"execute":"add-fd"}\nfrom the receiver\n'"$off"
        rm -f "$work/s"
        boot "$arch" "on-error poweroff
start $work/receive $work/s datagrams
wait socket $work/s deadline=600
send $work/s '<6>boot' deadline=600"
        booted "a socket of datagrams is waited for, and takes a message" $powered_off $'received <6>boot\n'"$off"
    else
        skip "$arch: process 1: an open file goes through a socket" "no C compiler: $(head -n 1 "$work/err")"
    fi

    # --- programs beside each other ---------------------------------------------------------------

    boot "$arch" $'at-end reboot\nstart /bin/sleep 100\nvital /bin/sleep 0.1'
    booted "the machine ends with a vital program" $rebooted "mini-init: rebooting"
    boot "$arch" $'on-error poweroff\nat-end reboot\nvital /bin/sh -c "exit 3"\nrun /bin/sleep 100'
    booted "and as on-error says if that did not end well" $powered_off \
        "*:3:1: \"/bin/sh\" ended with code 3"$'\n'"$off"
    rm -f "$work/away"
    printf '%s\n' "setsid sh -c ': >$work/away; exec sleep 100' &" \
        "until [ -e $work/away ]; do sleep 0.05; done" 'sleep 0.2' >"$work/script"
    ends_after 1 'forked away' 'sleep 1'
    boot "$arch" "respawn /bin/sh $work/script
start /bin/sleep 1
run /bin/sh $work/ends"
    booted "a program that forks away is told of, once, and is not started again" $powered_off \
        "mini-init: $work/table:1:1: \"/bin/sh\" has forked away: process * (*) goes on without it; *"$'\n'"$off"
    check "$arch: process 1: that is one line" "$(grep -c 'forked away' "$work/out")" = 1
    ends_after 3 again
    boot "$arch" "respawn /bin/sh -c 'echo again; sleep 0.2'
run /bin/sh -c 'setsid sleep 100 & exit 0'
run /bin/sh $work/ends"
    check "$arch: process 1: a daemon that somebody else has left behind is not taken for the service's" \
        "$(grep -c 'forked away' "$work/out") $(($(grep -c again "$work/out") > 2))" = "0 1"

    # --- the network --------------------------------------------------------------------------------

    spaces=--net
    boot "$arch" $'on-error poweroff\nlink lo address=127.0.0.1/8 up\nlink lo address=10.9.0.1/24 address=fd00::1/64
route 10.10.0.0/16 dev=lo
run /bin/sh -c "while read a b c d; do echo $a $b $c; done </proc/net/route"'
    booted "addresses and routes are set by process 1's own means" $powered_off "*lo 00000A0A 00000000*$off"
    boot "$arch" $'on-error poweroff\nlink lo address=10.9.0.1/24 address=10.8.0.1/24 up
run /bin/sh -c "for a in 10.9.0.1 10.8.0.1; do grep -q $a /proc/net/fib_trie && echo $a; done"'
    booted "a device gets each address that is written" $powered_off $'10.9.0.1\n10.8.0.1\n'"$off"
    boot "$arch" $'on-error poweroff\nlink none0 up deadline=250ms'
    booted "a device that does not come is told of" $powered_off \
        "mini-init: $work/table:2:1: the device \"none0\" has not come in time"$'\n'"$off"
    boot "$arch" $'on-error poweroff\nlink lo up bridge=nobr'
    booted "a bridge that is not there is told of, and not the device" $powered_off \
        "mini-init: $work/table:2:1: cannot plug \"lo\" into the bridge \"nobr\": no such device (ENODEV)"$'\n'"$off"
    boot "$arch" $'at-end reboot\nlink lo up keep\nrun /bin/sh -c "echo done; (sleep 0.5; echo late) &"'
    booted "who keeps a device set up ends when nobody else is left" $rebooted $'done\nlate\nmini-init: rebooting'
    boot "$arch" $'at-end reboot\nlink lo up keep\nshell /bin/echo done'
    booted "which a shell of the table is as well" $rebooted $'done\nmini-init: rebooting'
    boot "$arch" $'try bridge br9\nrun /bin/sh -c "grep -c br9 /proc/net/dev; true"'
    if [[ $output == 1* ]]; then
        boot "$arch" $'on-error poweroff\nbridge br9\nbridge br9\nlink br9 mac=02:00:00:00:00:09 address=10.9.0.1/24 up
route default via=10.9.0.2
run /bin/sh -c "while read a b c d; do echo $a $b $c; done </proc/net/route"'
        booted "a bridge is made, with its addresses and a way out" $powered_off "*br9 00000000 0200090A*$off"
        boot "$arch" $'on-error poweroff\nbridge br8\nbridge br9\ntry bridge lo\ntry link br8 bridge=br9'
        booted "what is no bridge is not taken for one, and none goes into another" $powered_off \
            "mini-init: $work/table:4:5: cannot make the bridge \"lo\": there is a device of this name that is no bridge
mini-init: $work/table:5:5: cannot plug \"br8\" into the bridge \"br9\": a bridge does not go into another
$off"
    else
        skip "$arch: process 1: a bridge is made" "this kernel has none for us: ${output%%$'\n'*}"
    fi
    unset spaces
done
