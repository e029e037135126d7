# mini-grant map in PV dom0, against pages that libxengnttab's gntalloc side grants.

head -c 16384 /dev/urandom >/tmp/pages
cp /tmp/pages /tmp/original
granter 0 /tmp/pages && writable=$references first=${references%%,*}
granter 0 /tmp/original readonly && readonly=$references

run mini-grant map --domain 0 --ref "$writable" --out /tmp/copy
check "map --out writes four pages" "$code $(cmp /tmp/copy /tmp/original 2>&1)" = "0 "
mini-grant map --domain 0 --ref "$readonly" >/tmp/copy
check "map writes to standard output, read-only grants too" "$(cmp /tmp/copy /tmp/original 2>&1)" = ""
mini-grant map --domain 0 --ref "$writable" --offset 0xffa --length 13 >/tmp/copy
tail -c +4091 /tmp/original | head -c 13 >/tmp/part
check "map --offset --length crosses a page's end" "$(cmp /tmp/copy /tmp/part 2>&1)" = ""
mini-grant map --domain 0 --ref "$writable" --hexdump >/tmp/copy
check "map --hexdump is what hexdump -C writes" "$(hexdump -C /tmp/original | cmp - /tmp/copy 2>&1)" = ""

head -c 16384 /dev/urandom >/tmp/new
run mini-grant map --domain 0 --ref "$writable" --in /tmp/new
grants map 0 "$writable" /tmp/copy
check "map --in fills the pages" "$code $(cmp /tmp/copy /tmp/new 2>&1)" = "0 "
printf 'seven b' | mini-grant map --domain 0 --ref "$writable" --in - --offset 4093 --length 7
grants map 0 "$writable" /tmp/copy
check "map --in --offset fills a part and no more" \
    "$(head -c 4093 /tmp/new | cat - /dev/null >/tmp/part; printf 'seven b' >>/tmp/part; tail -c +4101 /tmp/new >>/tmp/part; cmp /tmp/copy /tmp/part 2>&1)" = ""

# What is refused, with its line and code.
run mini-grant map --domain 0 --ref 16368
expect "map of a reference that is none" 4 "" "mini-grant: grant 16368 of domain 0: no such grant"
run mini-grant map --domain 0 --ref "$first,16368"
expect "map names the bad reference among good ones" 4 "" "mini-grant: grant 16368 of domain 0: no such grant"
run mini-grant map --domain 4242 --ref 8
expect "map of a domain that is not there" 4 "" "mini-grant: *domain 4242: no such domain"
run mini-grant map --domain 0x7ff0 --ref 8
expect "map of domain 0x7ff0" 2 "" "mini-grant: *"
run mini-grant map --domain 0x10000 --ref "$first"
expect "map of a domain that the kernel would cut off" 2 "" "mini-grant: *"
run mini-grant map --domain 0 --ref "${readonly%%,*}" --write
expect "map --write of a read-only grant" 4 "" "mini-grant: grant ${readonly%%,*} of domain 0: granted for reading only"
run mini-grant map --domain 0 --ref "$first,$first"
expect "map of a repeated reference" 2 "" "mini-grant: *"
run mini-grant map --domain 0 --ref ""
expect "map of no reference" 2 "" "mini-grant: *"
run mini-grant map --domain 0 --ref "$first" --offset 4096 --length 1
expect "map beyond the pages" 2 "" "mini-grant: *"
run mini-grant map --domain 0 --ref "$first" --out /dev/full
expect "map onto a full disk" 1 "" "mini-grant: cannot write \"/dev/full\": no space left on device (ENOSPC)"
run mini-grant map --domain 0 --ref "$first" --in /tmp/none
expect "map from a file that is not there" 1 "" "mini-grant: cannot open \"/tmp/none\": no such file (ENOENT)"
mv /dev/xen/gntdev /dev/xen/away
run mini-grant map --domain 0 --ref "$first"
expect "map without gntdev" 3 "" "mini-grant: cannot open \"/dev/xen/gntdev\": *mount devtmpfs on /dev"
mv /dev/xen/away /dev/xen/gntdev
run /bin/busybox su -s /bin/sh nobody -c "mini-grant map --domain 0 --ref $first"
expect "map by somebody who may not open gntdev" 1 "" "mini-grant: cannot open \"/dev/xen/gntdev\": *(EACCES)"

end_granters
check "the granter has in its pages what map --in put there" "$(cmp /tmp/pages /tmp/part 2>&1)" = ""
