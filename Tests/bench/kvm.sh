# shellcheck shell=bash disable=SC2154
# A 64-bit kernel on KVM beside kvmtool, in turns in one machine: a Debian kernel in QEMU's software emulation
# (Tests/linux/machine.sh).
# Sourced by Tests/bench.sh. kvmtool is `lkvm`, a static program, on the PATH or in the folder that MINI_PEERS names.

beside_kvmtool() {
    local folder=$root/out/debian peer work=$out/kvm turns=5 ours theirs column name
    # An empty MINI_PEERS names no folder.
    peer=$(PATH=${MINI_PEERS:+$MINI_PEERS:}$PATH command -v lkvm) ||
        { echo "SKIP  kvmtool beside ours: there is no lkvm on the PATH or in MINI_PEERS" && return; }
    ! head -c 1024 "$peer" | grep -aq ld-linux ||
        { echo "SKIP  kvmtool beside ours: $peer is not static, and its machine has no libraries" && return; }
    [[ -n $qemu ]] || { echo "SKIP  kvmtool beside ours: qemu-system-x86_64 is not installed" && return; }
    kvm_machine_files || { echo "SKIP  kvmtool beside ours: $debian_missing" && return; }
    mkdir -p "$work"
    machine_build amd64 "$out/heard" Tests/bench/heard.c || { echo "FAIL  Tests/bench/heard.c does not compile" && return; }
    printf 'at-end reboot\nrun /bin/busybox true\n' >"$out/kvm.table"
    out/x86_64/mini-pack "$out/kvm.cpio" out/x86_64/mini=init "$folder/busybox-amd64/busybox=bin/busybox" \
        "$out/kvm.table=etc/mini.table"
    # Each gives its own words first; these are what ours gives and kvmtool does not, and the other way round.
    cat >"$work/script" <<EOF
PATH=/bin
export HOME=/
words='earlyprintk=serial cryptomgr.notests=1 noisapnp tsc=reliable mitigations=off'
n=0
while [ \$n -lt $turns ]; do
    echo "[ours \$(heard 'Linux version' 'as init process' /bin/mini-launch --engine kvm --no-reboot --memory 256 \\
        --initrd /initrd /cloud \$words </dev/null)]"
    echo "[theirs \$(heard 'Linux version' 'as init process' /bin/lkvm run --name peer --console serial --network mode=none \\
        -c 1 -m 256 -i /initrd -k /cloud -p "console=ttyS0 \$words" </dev/null)]"
    n=\$((n + 1))
done
EOF
    kvm_machine "$out/kvm.console" "$work/script" "$folder/cloud/vmlinuz=/cloud" "$out/kvm.cpio=/initrd" \
        "$out/heard=/bin/heard,0755" "$peer=/bin/lkvm,0755" ||
        { echo "FAIL  kvmtool beside ours: the machine did not come to its end" && return; }
    # least WHO COLUMN
    least() {
        tr -d '[]' <"$out/kvm.console" |
            awk -v who="$1" -v column="$2" '$1 == who && NF == 4 && $column >= 0 { print $column }' | sort -n | head -n 1
    }
    while IFS='|' read -r column name; do
        ours=$(least ours "$column") theirs=$(least theirs "$column")
        row "61c on KVM, exec to $name, ms" "${ours:-none}" "${theirs:-none}" "$(ratio "${theirs:-0}" "${ours:-0}")"
    done <<'EOF'
2|its first words
3|init
4|the end
EOF
    row "size of out/x86_64/mini and of lkvm, bytes" "$(stat -c %s out/x86_64/mini)" "$(stat -L -c %s "$peer")" ""
}

beside_kvmtool
