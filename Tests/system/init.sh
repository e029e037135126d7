# Process 1, in a process namespace of its own, where the kernel ends the namespace's first process
# instead of the machine: with SIGINT for power-off and halt, with SIGHUP for a reboot. Real
# machines are in Tests/initramfs. Sourced by system.sh.

for arch in ${archs:-x86_64 i386}; do
    if ! unshare --user --map-root-user --pid --fork --mount true 2>/dev/null; then
        skip "$arch: process 1" "no user namespaces can be made here (there are none in a chroot)"
        continue
    fi
    if [[ ! -d /sys/kernel ]]; then
        skip "$arch: process 1" "/sys is not mounted, so that no namespace may mount its own"
        continue
    fi
    if ! "out/$arch/mini" --version >/dev/null 2>&1; then
        skip "$arch: process 1" "this machine does not run $arch programs"
        continue
    fi

    # --- the table -----------------------------------------------------------------------------

    boot "$arch" $'run /bin/echo one\n# a comment\n\nrun /bin/echo "two  words" # more\n' \
        "quiet mini.run=\"/bin/echo 'three  words'\" root=/dev/none"
    booted "the file's statements, then the command line's" $powered_off \
        $'one\ntwo  words\nthree  words\n'"$off"
    boot "$arch" '' "BOOT_IMAGE=/k \"mini.run=/bin/echo \\'two  words\\'\""
    booted "the backslashes that GRUB puts before quotation marks are taken off" $powered_off $'two  words\n'"$off"
    boot "$arch" $'on-error halt\nrun /bin/true\n  lod /x\n' 'mini.on-error=poweroff mini.wat'
    booted "an error is told with line and column, and nothing is carried out" $powered_off \
        "mini-init: $work/table:3:3: there is no statement \"lod\"
mini-init: /proc/cmdline:1:*: there is no statement \"wat\"
$off"
    boot "$arch" '' 'mini.on-error=reboot'
    booted "a table without statements is an error" $rebooted \
        $'mini-init: /proc/cmdline:1:1: the table has no statement\nmini-init: rebooting'
    boot "$arch" $'on-error poweroff\nlaunch --memory 16\n'
    booted "the words of a guest are looked at before anything is done" $powered_off \
        "mini-init: $work/table:2:1: mini-launch: no kernel is named; --help tells how to use this
$off"
    boot "$arch" $'verbose\nat-end reboot\nrun /bin/true'
    booted "verbose says each statement; at-end reboots" $rebooted \
        "mini-init: $work/table:3:1: run /bin/true
mini-init: rebooting"

    # --- what statements do --------------------------------------------------------------------

    mkdir -p "$work/mounted"
    boot "$arch" "mount none $work/mounted tmpfs mode=700,ro
run /bin/grep -o $work/mounted.tmpfs.ro /proc/self/mounts"
    booted "a file system is mounted with its options" $powered_off "$work/mounted tmpfs ro"$'\n'"$off"
    mkdir -p "$work/bound"
    boot "$arch" "mount none $work/mounted tmpfs mode=700,nosuid
mount $work/mounted $work/bound none bind,ro,nodev
run /bin/grep -o $work/bound.tmpfs.ro,nosuid,nodev /proc/self/mounts
run /bin/grep -o $work/mounted.tmpfs.rw,nosuid /proc/self/mounts"
    booted "a folder is bound with options of its own and those of where it comes from" $powered_off \
        "$work/bound tmpfs ro,nosuid,nodev"$'\n'"$work/mounted tmpfs rw,nosuid"$'\n'"$off"
    boot "$arch" "mount none $work/mounted tmpfs mode=700,nosuid,nodev,noexec
mount none $work/mounted none remount,ro
run /bin/grep -o $work/mounted.tmpfs.ro,nosuid,nodev,noexec /proc/self/mounts
mount none $work/mounted none remount,size=64k,rw,exec
run /bin/grep -o $work/mounted.tmpfs.rw,nosuid,nodev,relatime,size=64k /proc/self/mounts"
    booted "a remount keeps what is so there unless it takes it back by name" $powered_off \
        "$work/mounted tmpfs ro,nosuid,nodev,noexec"$'\n'"$work/mounted tmpfs rw,nosuid,nodev,relatime,size=64k"$'\n'"$off"
    boot "$arch" "mount none $work/mounted tmpfs mode=700,private
mount none $work/mounted none shared
run /bin/grep -c $work/mounted.*shared: /proc/self/mountinfo
try mount none /nowhere none remount,ro
try mount none $work none private
try mount /nowhere/disk $work/bound auto"
    booted "propagation is set, and what keeps a mount from it is told" $powered_off \
        "1
*:4:5: cannot mount \"none\" as none on \"/nowhere\": no such file (ENOENT)
*:5:5: cannot mount \"none\" as none on \"$work\": the folder is no mount point (EINVAL)
*:6:5: cannot mount \"/nowhere/disk\" as auto on \"$work/bound\": no such file (ENOENT)
$off"
    printf 'longer than what is written\nand more\n' >"$work/value"
    boot "$arch" "set $work/value a 'b  c'"
    check "$arch: process 1: set writes a value in place of what was there" "$(<"$work/value")" = "a b  c"
    boot "$arch" $'on-error poweroff\nset /nowhere/x 1\nrun /bin/echo not reached'
    booted "a failed statement ends the rest" $powered_off \
        "mini-init: $work/table:2:1: cannot set \"/nowhere/x\": no such file (ENOENT)
$off"
    boot "$arch" $'on-error poweroff\ntry set /nowhere/x 1\nrun /bin/echo reached'
    booted "what is only tried does not" $powered_off "*ENOENT*reached"$'\n'"$off"
    boot "$arch" $'on-error poweroff\nload /bin/true'
    booted "what is no module is refused" $powered_off "*: cannot load module \"/bin/true\": *$off"
    boot "$arch" $'on-error poweroff\nwait file /nowhere/x deadline=300ms'
    booted "waiting for a file ends at its deadline" $powered_off \
        "*\"/nowhere/x\" has not appeared in time*$off"
    rm -f "$work/late"
    boot "$arch" "start /bin/sh -c 'sleep 0.3; echo here >$work/late.new; mv $work/late.new $work/late'
wait file $work/late deadline=300
run /bin/cat $work/late"
    booted "waiting for a file ends when it is there" $powered_off $'here\n'"$off"

    # --- programs ------------------------------------------------------------------------------

    boot "$arch" "run mini-launch $root/out/guests/hello"
    booted "an applet runs without a file of its own" $powered_off "*$off"
    boot "$arch" "launch $root/out/guests/hello"
    booted "a guest is launched" $powered_off $'hello from ring 1\n'"$off"
    boot "$arch" $'on-error poweroff\n'"launch $root/out/guests/panic"
    booted "a guest's death is an error" $powered_off "*mini-launch: the guest died: *
mini-init: $work/table:2:1: \"mini-launch\" ended with code 4
$off"
    boot "$arch" $'on-error reboot\nrun /bin/sh -c "exit 3"'
    booted "a program's code is told" $rebooted "*table:2:1: \"/bin/sh\" ended with code 3"$'\n'"mini-init: rebooting"
    boot "$arch" $'on-error reboot\nrun /bin/sh -c \'kill -9 $$\''
    booted "a program's signal is told" $rebooted "*\"/bin/sh\" was ended by signal 9"$'\n'"mini-init: rebooting"
    boot "$arch" $'on-error poweroff\nrun /nowhere/x'
    booted "a program that is not there" $powered_off \
        "mini-init: cannot run \"/nowhere/x\": no such file (ENOENT)"$'\n'"*ended with code 127"$'\n'"$off"
    front="env -u PATH" boot "$arch" $'on-error poweroff\nrun printenv PATH'
    booted "programs have a PATH where process 1 was handed none" $powered_off \
        $'/sbin:/bin:/usr/sbin:/usr/bin\n'"$off"
    boot "$arch" $'on-error poweroff\nrun printenv PATH'
    booted "and the one that it was handed" $powered_off "$PATH"$'\n'"$off"
    rm -f "$work/early"
    boot "$arch" "start /bin/sh -c 'until [ -e $work/early ]; do sleep 0.05; done; echo late'
run /bin/sh -c 'echo early; : >$work/early'"
    booted "a started program goes on beside the rest, and is waited for at the end" $powered_off \
        $'early\nlate\n'"$off"
    boot "$arch" $'exec /bin/sh -c "echo I am $$; exit 7"'
    booted "exec becomes the program" 7 "I am 1"
    boot "$arch" $'on-error poweroff\nexec /nowhere/x'
    booted "exec of nothing is an error, and process 1 lives" $powered_off \
        "*: cannot run \"/nowhere/x\": no such file (ENOENT)"$'\n'"$off"
    boot "$arch" "try exec /nowhere/x
run /bin/sh -c 'kill -TERM 1; sleep 1000'"
    booted "and still hears signals" $rebooted "* (ENOENT)"$'\n'"mini-init: rebooting"
    boot "$arch" $'on-error poweroff\nexec /bin/true\nrun /bin/true'
    booted "what is behind exec is an error" $powered_off \
        "*table:3:1: nothing after exec is carried out"$'\n'"$off"
    boot "$arch" $'on-error poweroff\nswitch-root /etc /bin/true'
    booted "switch-root wants another file system" $powered_off "*is no file system of its own*$off"
    boot "$arch" $'on-error poweroff\nswitch-root // /bin/true'
    booted "the root is no new root, which is known before anything is started" $powered_off \
        "*table:2:13: * is not a new root: it is the one that there is*$off"

    # --- children ------------------------------------------------------------------------------

    front="env --ignore-signal=CHLD" boot "$arch" $'on-error poweroff\nrun /bin/sh -c "exit 3"'
    booted "a child's end is seen where whoever started process 1 ignored SIGCHLD" $powered_off \
        "*table:2:1: \"/bin/sh\" ended with code 3"$'\n'"$off"
    # Each of 300 is left to process 1 by a shell that ends at once. None of them is there for ever, dead or alive.
    if command -v ps >/dev/null; then
        boot "$arch" "run /bin/sh -c 'i=0; while [ \$i -lt 300 ]; do (exec sleep 0.2 &) ; i=\$((i+1)); done'
run /bin/sh -c 'while ps -e -o comm= | grep -q sleep; do sleep 0.1; done; ps -e -o stat= | grep -c Z; true'"
        booted "hundreds of orphans are taken away" $powered_off $'0\n'"$off"
    else
        skip "$arch: process 1: hundreds of orphans are taken away" "there is no ps to see them with (package procps)"
    fi
    rm -f "$work/ready"
    boot "$arch" "grace 500ms
start /bin/sh -c 'trap \"\" TERM; echo deaf; : >$work/ready; sleep 1000; sleep 1000'
run /bin/sh -c 'until [ -e $work/ready ]; do sleep 0.05; done; kill -USR2 1; sleep 1000'"
    booted "a child that ignores SIGTERM is killed after the grace" $powered_off $'deaf\n'"$off"
    rm -f "$work/ready"
    boot "$arch" "grace 300s
start /bin/sh -c 'trap \"echo told; exit\" TERM; : >$work/ready; while :; do sleep 0.1; done'
run /bin/sh -c 'until [ -e $work/ready ]; do sleep 0.05; done; kill -TERM 1; sleep 1000'"
    booted "SIGTERM to process 1 reboots, and children are told" $rebooted $'*told\nmini-init: rebooting'
    for signal in INT:$rebooted USR1:$powered_off USR2:$powered_off PWR:$powered_off; do
        boot "$arch" "run /bin/sh -c 'kill -${signal%:*} 1; sleep 1000'"
        booted "SIG${signal%:*}" "${signal#*:}" "mini-init: *ing*"
    done
    boot "$arch" "run /bin/sh -c 'kill -HUP 1; kill -SEGV 1; kill -KILL 1; kill -PIPE 1; echo alive'"
    booted "other signals change nothing" $powered_off $'alive\n'"$off"
    : >"$work/starts"
    boot "$arch" "respawn /bin/sh -c 'cut -d\" \" -f1 /proc/uptime >>$work/starts'
run /bin/sh -c 'while [ \$(wc -l <$work/starts) -lt 4 ]; do sleep 0.1; done; kill -USR2 1; sleep 1000'"
    # At once, and after 0.1, 0.2, 0.4 seconds, by a clock with hundredths.
    check "$arch: process 1: a service that ends at once is started again, ever later" \
        "$(awk 'NR > 1 && NR < 5 { if ($1 - last < 0.05 * 2 ^ (NR - 1) - 0.015) early++ } { last = $1 }
            END { print (NR >= 4), early + 0 }' "$work/starts")" = "1 0"
done
