# 64-bit and 32-bit kernels on KVM: a Debian kernel in QEMU's software emulation of a processor with SVM (L1) runs mini-launch,
# which starts Debian's kernels (L2). Sourced by Tests/linux.sh.
# shellcheck shell=bash disable=SC2154

# kvm_machine OUT SCRIPT FILE...: boots L1 with these files; busybox's shell runs the script there. The console goes to OUT.
# no_timer_check: see Tests/initramfs/machine.sh.
kvm_machine() {
    local out=$1 script=$2 folder=$root/out/debian module modules=()
    shift 2
    {
        echo 'mount -t devtmpfs dev /dev 2>/dev/null; mount -t proc proc /proc; mount -t sysfs sys /sys'
        for module in virt/lib/irqbypass arch/x86/kvm/kvm; do echo "insmod /modules/$(basename $module).ko"; done
        # QEMU's nested paging is wrong for a PAE guest.
        echo 'insmod /modules/kvm-amd.ko ${npt:+npt=$npt}'
        # What KVM has to say of a guest would come between the letters of what is looked for.
        echo 'echo 1 >/proc/sys/kernel/printk'
        cat "$script"
        echo 'echo; echo end of L1; poweroff -f'
    } >"$work/l1.sh"
    for module in virt/lib/irqbypass arch/x86/kvm/kvm arch/x86/kvm/kvm-amd; do
        modules+=("$folder/cloud/modules/kernel/$module.ko=/modules/$(basename $module).ko")
    done
    initrd x86_64 "$folder/busybox-amd64/busybox" "$work/l1" 'run /bin/busybox sh /l1.sh' "$work/l1.sh=/l1.sh" \
        out/x86_64/mini=/bin/mini-launch,0755 out/i386/mini=/i386/mini-launch,0755 "${modules[@]}" "$@" || return
    timeout 900 qemu-system-x86_64 -accel tcg -cpu EPYC,+svm,+npt -m 1024 -nodefaults -display none -serial stdio \
        -no-reboot -kernel "$folder/cloud/vmlinuz" -initrd "$work/l1" \
        -append "console=ttyS0 quiet panic=-1 no_timer_check cryptomgr.notests=1 mitigations=off${npt:+ npt=$npt}" </dev/null 2>"$out.errors" |
        tr -d '\r' >"$out"
}

# said SENTENCE PATTERN: is it on L1's console?
said() {
    if grep -q -- "$2" "$work/console"; then ok "$1"; else
        not_ok "$1" "$(grep '^\[.*[0-9]\]$' "$work/console")" "$(tail -n 12 "$work/console" | cut -c1-200)"
    fi
}

kvm() {
    local folder=$root/out/debian
    command -v qemu-system-x86_64 >/dev/null || { skip "kernels on KVM" "qemu-system-x86_64 is not installed" && return; }
    debian_kernel amd64 cloud-amd64 "$folder/cloud" virt/lib/irqbypass.ko arch/x86/kvm/kvm{,-amd}.ko &&
        debian_busybox amd64 "$folder/busybox-amd64" && debian_kernel i386 686 "$folder/686" &&
        debian_busybox i386 "$folder/busybox-i386" || { skip "kernels on KVM" "$debian_missing" && return; }
    initrd x86_64 "$folder/busybox-amd64/busybox" "$work/wide" $'run /bin/busybox uname -m\ntry run /bin/busybox sh -c "exit 42"\nexit'
    initrd i386 "$folder/busybox-i386/busybox" "$work/narrow" $'run /bin/busybox uname -m\nexit 43'
    initrd i386 "$folder/busybox-i386/busybox" "$work/again" $'at-end reboot\nrun /bin/busybox echo begins anew'
    # What cannot be made is not tried.
    : >"$work/unified.efi"
    echo quiet >"$work/words"
    unified_image amd64 "$work/unified.efi" ".cmdline=$work/words" ".initrd=$work/wide" ".linux=$folder/cloud/vmlinuz" ||
        skip "a unified kernel image on KVM" "$debian_missing"
    cat >"$work/script" <<'EOF'
PATH=/bin
for program in mini-launch /i386/mini-launch; do
    $program --engine kvm --verbose --guest-exit --initrd /wide /cloud quiet
    echo "[$program cloud: $?]"
done
mini-launch --engine kvm --guest-exit --initrd /narrow /686 quiet
echo "[686: $?]"
mini-launch --check /cloud
if [ -s /unified.efi ]; then
    mini-launch --engine kvm --guest-exit --memory 4G /unified.efi
    echo "[unified: $?]"
fi
mini-launch --engine kvm --initrd /again /686 quiet </dev/null >/again.log 2>&1 &
guest=$!
until [ "$(busybox grep -c 'begins anew' /again.log)" -ge 2 ]; do kill -0 $guest 2>/dev/null || break; busybox sleep 1; done
kill -TERM $guest 2>/dev/null
wait $guest
echo "[restart: $?, $(busybox grep -c 'begins anew' /again.log)]"
mini-launch /cloud quiet
echo "[panic: $?]"
busybox cp /wide /cut
mini-launch --engine kvm --initrd /cut /cloud </dev/null >/cut.log 2>&1 &
guest=$!
until busybox grep -q 'Linux version' /cut.log; do kill -0 $guest 2>/dev/null || break; busybox sleep 0.1; done
: >/cut
wait $guest
echo "[cut: $?, $(busybox grep -c 'mini-launch: "/cut" became shorter while it was in use' /cut.log)]"
EOF
    kvm_machine "$work/console" "$work/script" "$folder/cloud/vmlinuz=/cloud" "$folder/686/vmlinuz=/686" \
        "$work/wide=/wide" "$work/narrow=/narrow" "$work/again=/again" "$work/unified.efi=/unified.efi"
    said "a 64-bit kernel runs a program on KVM, whose code comes out" '^\[mini-launch cloud: 42\]'
    said "the i386 build starts it, too" '^\[/i386/mini-launch cloud: 42\]'
    said "the sandbox has the calls that KVM needs, and is entered" 'mini-launch: sandbox: [0-9]* system calls'
    said "a 32-bit kernel runs on KVM" '^\[686: 43\]'
    [[ ! -s $work/unified.efi ]] || said "a unified kernel image is started on KVM, with memory from 4 GiB on" '^\[unified: 42\]'
    said "a guest on KVM that reboots starts again, inside the sandbox, and ends when told" '^\[restart: 143, [2-9]\]'
    said "--check says that KVM would run it" '^engine  *KVM\|^engine  */dev/kvm$'
    said "a panic on KVM ends with code 4" '^\[panic: 4\]'
    said "and with its reason" '^mini-launch: the guest died: Kernel panic - not syncing: '
    said "an initrd that becomes shorter before a kernel on KVM has unpacked it ends that with a line" '^\[cut: 1, 1\]'
}

kvm
