# Initrds of mini and busybox for Debian's kernels, and a machine with KVM: a Debian kernel in QEMU's software emulation of a
# processor with SVM (L1). Sourced by Tests/linux.sh and Tests/bench.sh, which set root and work.
# shellcheck shell=bash disable=SC2154

# shellcheck source=tools/debian.sh
source tools/debian.sh

# initrd ARCH BUSYBOX OUT TABLE [MORE...]: mini as process 1, with a table, and busybox.
initrd() {
    local arch=$1 busybox=$2 out=$3 table=$4
    shift 4
    printf '%s\n' "$table" >"$out.table"
    "out/x86_64/mini-pack" --dir /proc --dir /sys --dir /dev --dir /run --dir /tmp --link /bin/sh=busybox "$out" \
        "out/$arch/mini=/init,0755" "$busybox=/bin/busybox,0755" "$out.table=/etc/mini.table" "$@"
}

# kvm_machine_files: what kvm_machine boots, below out/debian. False, and $debian_missing, where that cannot be had.
kvm_machine_files() {
    debian_kernel amd64 cloud-amd64 "$root/out/debian/cloud" virt/lib/irqbypass.ko arch/x86/kvm/kvm{,-amd}.ko &&
        debian_busybox amd64 "$root/out/debian/busybox-amd64"
}

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
