# mini-grant $command (map or copy) in PV dom0, against pages that libxengnttab's gntalloc side grants.

head -c 16384 /dev/urandom >/tmp/pages
cp /tmp/pages /tmp/original
granter 0 /tmp/pages && writable=$references first=${references%%,*}
granter 0 /tmp/original readonly && readonly=$references

run mini-grant $command --domain 0 --ref "$writable" --out /tmp/copy
check "$command --out writes four pages" "$code $(cmp /tmp/copy /tmp/original 2>&1)" = "0 "
mini-grant $command --domain 0 --ref "$readonly" >/tmp/copy
check "$command writes to standard output, read-only grants too" "$(cmp /tmp/copy /tmp/original 2>&1)" = ""
mini-grant $command --domain 0 --ref "$writable" --offset 0xffa --length 13 >/tmp/copy
tail -c +4091 /tmp/original | head -c 13 >/tmp/part
check "$command --offset --length crosses a page's end" "$(cmp /tmp/copy /tmp/part 2>&1)" = ""
xenstore-write /test/domain 0 /test/references "$writable"
run mini-grant $command --domain @/test/domain --ref @/test/references --out /tmp/copy
check "$command takes domain and references from the store" "$code $(cmp /tmp/copy /tmp/original 2>&1)" = "0 "
xenstore-rm /test

head -c 16384 /dev/urandom >/tmp/new
run mini-grant $command --domain 0 --ref "$writable" --in /tmp/new
grants map 0 "$writable" /tmp/copy
check "$command --in fills the pages" "$code $(cmp /tmp/copy /tmp/new 2>&1)" = "0 "
printf 'seven b' | mini-grant $command --domain 0 --ref "$writable" --in - --offset 4093 --length 7
grants map 0 "$writable" /tmp/copy
{ head -c 4093 /tmp/new && printf 'seven b' && tail -c +4101 /tmp/new; } >/tmp/part
check "$command --in --offset fills a part and no more" "$(cmp /tmp/copy /tmp/part 2>&1)" = ""
head -c 100 /dev/urandom >/tmp/short
run mini-grant $command --domain 0 --ref "$first" --in /tmp/short --length 200
expect "$command from a file that is too short" "[12]" "" "mini-grant: *"

# What is refused, with its line and code.
run mini-grant $command --domain 0 --ref 16368
expect "$command of a reference that is none" 4 "" "mini-grant: grant 16368 of domain 0: no such grant"
run mini-grant $command --domain 0 --ref "$first,16368"
expect "$command names the bad reference among good ones" 4 "*" "mini-grant: grant 16368 of domain 0: no such grant"
run mini-grant $command --domain 4242 --ref 8
expect "$command of a domain that is not there" 4 "" "mini-grant: *domain 4242: no such domain"
run mini-grant $command --domain 0x7ff0 --ref 8
expect "$command of domain 0x7ff0" 2 "" "mini-grant: *"
run mini-grant $command --domain 0x10000 --ref "$first"
expect "$command of a domain that the kernel would cut off" 2 "" "mini-grant: *"
run mini-grant $command --domain 0 --ref "${readonly%%,*}" --in /tmp/new --length 4096
expect "$command --in of a read-only grant" 4 "" "mini-grant: grant ${readonly%%,*} of domain 0: *"
run mini-grant $command --domain 0 --ref "$first,$first"
expect "$command of a repeated reference" 2 "" "mini-grant: *"
run mini-grant $command --domain 0 --ref ""
expect "$command of no reference" 2 "" "mini-grant: *"
run mini-grant $command --domain 0 --ref "$first" --offset 4096 --length 1
expect "$command beyond the pages" 2 "" "mini-grant: *"
run mini-grant $command --domain 0 --ref @/test/none
expect "$command of references that the store does not have" 4 "" "mini-grant: *\"/test/none\"*(ENOENT)"
run mini-grant $command --domain 0 --ref "$first" --out /dev/full
expect "$command onto a full disk" 1 "" "mini-grant: cannot write \"/dev/full\": no space left on device (ENOSPC)"
run mini-grant $command --domain 0 --ref "$first" --in /tmp/none
expect "$command from a file that is not there" 1 "" "mini-grant: cannot open \"/tmp/none\": no such file (ENOENT)"
mv /dev/xen/gntdev /dev/xen/away
run mini-grant $command --domain 0 --ref "$first"
expect "$command without gntdev's node" 3 "" "mini-grant: cannot open \"/dev/xen/gntdev\": no such device; *"
mv /dev/xen/away /dev/xen/gntdev
run su -s /bin/sh nobody -c "mini-grant $command --domain 0 --ref $first"
expect "$command by somebody who may not open gntdev" 1 "" "mini-grant: cannot open \"/dev/xen/gntdev\": *(EACCES)"

end_granters
check "the granter has in its pages what $command --in put there" "$(cmp /tmp/pages /tmp/part 2>&1)" = ""
