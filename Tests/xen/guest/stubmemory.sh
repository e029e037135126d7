# What process 1 has of its own while it holds 256 grants, and how little memory a stub domain does with.

. /tests/stublibrary.sh

# kibibytes FIELD: of process 1, as the domain's console shows it; empty without.
kibibytes() { awk -v field="$1:" '$1 == field { print $2; exit }' /tmp/said; }

memory=112
for type in pv pvh; do
    stub "holder-$type" "$type" domu.cpio "rdinit=/bin/mini-init mini.load=/modules/xen-gntdev.ko mini.on-error=poweroff
 mini.wait=\"store data/pages deadline=600s\" mini.grant=\"pages 0 @data/pages hold\"
 mini.run=\"/bin/busybox cat /proc/1/smaps_rollup\" mini.run=\"/bin/busybox grep -c gntdev /proc/1/maps\""
    head -c 1048576 /dev/urandom >/tmp/stub.pages
    granter "$domain" /tmp/stub.pages readonly && xenstore-write "$data/pages" "$references"
    gone
    end_granters
    said "$type: process 1 holds 256 grants in one mapping" "Pss_Anon:*" "1" "mini-init: powering off"
    own=$(kibibytes Pss_Anon)
    check "$type: process 1 has less than 1 MiB of its own then ($own KiB; with its program and what is granted, 1024, \
$(kibibytes Rss) KiB)" "${own:-9999}" -lt 1024
done
