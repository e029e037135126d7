# 64-bit and 32-bit kernels on KVM: a Debian kernel in QEMU's software emulation of a processor with SVM (L1) runs mini-launch,
# which starts Debian's kernels (L2). Sourced by Tests/linux.sh.
# shellcheck shell=bash disable=SC2154

# said SENTENCE PATTERN: is it on L1's console?
said() {
    if grep -q -- "$2" "$work/console"; then ok "$1"; else
        not_ok "$1" "$(grep '^\[.*[0-9]\]$' "$work/console")" "$(tail -n 12 "$work/console" | cut -c1-200)"
    fi
}

kvm() {
    local folder=$root/out/debian
    command -v qemu-system-x86_64 >/dev/null || { skip "kernels on KVM" "qemu-system-x86_64 is not installed" && return; }
    kvm_machine_files && debian_kernel i386 686 "$folder/686" &&
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
