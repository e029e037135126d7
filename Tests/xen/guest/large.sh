# A share of 64 MiB in PV dom0. The last of the parts: dom0's grant table stays as large as it has become, and others try
# references beyond its end.

# shares COMMAND...: starts a share; sets $shared.
shares() {
    rm -f /tmp/shared
    "$@" >/tmp/shared 2>/tmp/errors &
    shared=$!
    until [ -s /tmp/shared ]; do sleep 0.05; done
}

# Published in ranges or parts as the kernel's free references lie: mapped and compared.
echo 20000 >/sys/module/xen_gntalloc/parameters/limit
head -c 67108864 /dev/urandom >/tmp/large
began=$(cut -d' ' -f1 /proc/uptime)
shares mini-grant share --domain 0 --in /tmp/large --publish /shared/large --hold
run mini-grant store wait /shared/large
mini-grant map --domain 0 --ref @/shared/large 2>/tmp/errors | cmp - /tmp/large >/tmp/output 2>&1
check "share of 64 MiB, mapped by @PATH and compared" "$? $(cat /tmp/output)" = "0 "
echo "64 MiB: published, mapped, compared in $(cut -d' ' -f1 /proc/uptime | awk -v b="$began" '{ print $1 - b }') s, entry \"$(xenstore-read /shared/large | head -c 40)\""
kill $shared
wait $shared
check "share of 64 MiB: SIGTERM is its normal end" $? = 0
check "share of 64 MiB leaves nothing in the store" "$(xenstore-exists /shared/large; echo $?)" = 1
rm /tmp/large
echo 1024 >/sys/module/xen_gntalloc/parameters/limit
xenstore-rm /shared
