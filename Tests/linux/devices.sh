# A PC's devices with Debian's own drivers: disks, random numbers and a console, on the software processor. Sourced by Tests/linux.sh.
# shellcheck shell=bash disable=SC2154

devices() {
    local folder=$root/out/debian/686-devices arch module loads=() packed=()
    local modules=(drivers/virtio/virtio{,_ring,_pci_legacy_dev,_pci_modern_dev,_pci} drivers/block/virtio_blk
        drivers/char/hw_random/virtio-rng drivers/char/virtio_console net/core/failover drivers/net/net_failover
        drivers/net/virtio_net)
    debian_kernel i386 686 "$folder" "${modules[@]/%/.ko}" && debian_busybox i386 "$root/out/debian/busybox-i386" ||
        { skip "devices with Debian's drivers" "$debian_missing" && return; }
    for module in "${modules[@]}"; do
        loads+=("busybox insmod /modules/${module##*/}.ko")
        packed+=("$folder/modules/kernel/$module.ko=/modules/${module##*/}.ko")
    done
    {
        printf '%s\n' "export PATH=/bin" "${loads[@]}"
        cat <<'END'
echo "serial $(busybox cat /sys/block/vda/serial), read-only $(busybox cat /sys/block/vda/ro) $(busybox cat /sys/block/vdb/ro)"
echo "sum $(busybox md5sum </dev/vda)"
busybox dd if=/dev/vda of=/dev/vdb bs=64k conv=fsync 2>/dev/null && echo copied
busybox dd if=/dev/zero of=/dev/vda bs=512 count=1 conv=fsync 2>/dev/null || echo refused
echo "random bytes $(busybox dd if=/dev/hwrng bs=16 count=1 2>/dev/null | busybox wc -c)"
if busybox [ -e /dev/hvc0 ]; then echo "by the virtio console" >/dev/hvc0; fi
END
    } >"$work/devices.sh"
    initrd i386 "$root/out/debian/busybox-i386/busybox" "$work/initrd" 'run /bin/busybox sh /devices.sh' \
        "$work/devices.sh=/devices.sh" "${packed[@]}"
    head -c 3000000 /dev/urandom >"$work/a.img"
    truncate -s $((3000000 / 512 * 512)) "$work/a.img"
    local sum
    sum=$(md5sum <"$work/a.img")
    for arch in x86_64 i386; do
        rm -f "$work/b.img" && truncate -s 3M "$work/b.img"
        launch $arch --engine builtin --block "$work/a.img,ro" --block "$work/b.img" --initrd "$work/initrd" \
            "$folder/vmlinuz" quiet
        expect "$arch: a guest reads a disk, copies it to another, cannot write to a read-only one, and has random numbers" 0 \
            "*serial a.img, read-only 1 0*sum $sum*copied*refused*random bytes 16*" ""
        if cmp -s -n "$(stat -c %s "$work/a.img")" "$work/a.img" "$work/b.img"; then
            ok "$arch: what it wrote is in the file"
        else
            not_ok "$arch: what it wrote is in the file" "$(cmp "$work/a.img" "$work/b.img" 2>&1)"
        fi
    done
    launch x86_64 --engine builtin --console virtio --block "$work/a.img,ro" --block "$work/b.img" --initrd "$work/initrd" \
        "$folder/vmlinuz" quiet
    expect "a virtio console's text comes out beside the serial port's" 0 "*by the virtio console*" ""

    # Two guests on one Ethernet: one answers, and stays until the other has gone. (A guest that is gone sends nothing anew,
    # and what it has sent last may have been lost: the other would wait for it for ever.)
    {
        printf '%s\n' "export PATH=/bin" "${loads[@]}"
        cat <<'END'
number=$1 other=$2
busybox ifconfig eth0 10.9.0.$number netmask 255.255.255.0 up
until busybox ping -c 1 -W 1 10.9.0.$other >/dev/null; do :; done
echo "10.9.0.$other answers, my address is $(busybox cat /sys/class/net/eth0/address)"
if [ $number = 1 ]; then
    busybox nc -l -p 7 -e busybox cat
    while busybox ping -c 3 -W 5 10.9.0.$other >/dev/null; do :; done
else
    busybox dd if=/dev/urandom of=/bytes bs=1k count=300 2>/dev/null
    until busybox nc 10.9.0.$other 7 </bytes >/back && [ -s /back ]; do busybox sleep 0.1; done
    busybox cmp /bytes /back && echo "300 kB came back"
fi
END
    } >"$work/share.sh"
    local number pids=()
    for number in 1 2; do
        initrd i386 "$root/out/debian/busybox-i386/busybox" "$work/initrd$number" "run /bin/busybox sh /share.sh $number $((3 - number))" \
            "$work/share.sh=/share.sh" "${packed[@]}"
        arch=x86_64
        ((number == 1)) || arch=i386
        timeout 600 "out/$arch/mini-launch" --engine builtin --sharenet "$work/share.net" --initrd "$work/initrd$number" \
            "$folder/vmlinuz" quiet </dev/null >"$work/share$number" 2>&1 &
        pids+=($!)
    done
    wait "${pids[0]}"
    code=$?
    wait "${pids[1]}"
    code="$code $?"
    local said
    said=$(cat "$work/share1" "$work/share2")
    if [[ $code == "0 0" && $said == *"10.9.0.2 answers, my address is 52:54:00:"*":00:0"[01]*"10.9.0.1 answers"*"300 kB came back"* ]]; then
        ok "two guests of the same file reach each other, both ways"
    else
        not_ok "two guests of the same file reach each other, both ways" "exit $code" "${said: -600}"
    fi
}

devices
