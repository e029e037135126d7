# mini-grant store, against xenstored and the xenstore-* tools.

run mini-grant store set /test/one first /test/two "second value"
check "store set is seen by xenstore-read" "$code $(xenstore-read /test/one /test/two | tr '\n' ' ')" = "0 first second value "
xenstore-write /test/three third
run mini-grant store get /test/three /test/one
expect "store get" 0 "third first" ""
run mini-grant store get domid
expect "store get of a relative path" 0 "0" ""
run mini-grant store list /test
expect "store list" 0 "one two three" ""
mini-grant store list --full / >/tmp/ours
xenstore-ls -f / >/tmp/theirs
check "store list --full / is what xenstore-ls -f writes" "$(sort /tmp/ours >/tmp/a; sort /tmp/theirs >/tmp/b; cmp /tmp/a /tmp/b 2>&1; wc -l </tmp/a | awk '{ print ($1 > 10) }')" = 1
head -c 2048 /dev/zero | tr '\0' x >/tmp/long
run mini-grant store set /test/long "$(cat /tmp/long)"
mini-grant store get --raw /test/long >/tmp/copy
check "store: a value of 2048 bytes" "$(cmp /tmp/long /tmp/copy 2>&1)" = ""
head -c 5000 /dev/zero | tr '\0' x >/tmp/long
run mini-grant store set /test/long "$(cat /tmp/long)"
expect "store: a value that no message can hold" 2 "" "mini-grant: *"
run mini-grant store set /test/bytes 'a\x01\n\xffz'
check "store set of bytes that are no text" "$(xenstore-read -R /test/bytes | hexdump -ve '1/1 "%02x "')" = "61 01 0a ff 7a "
run mini-grant store get /test/bytes
expect "store get of bytes that are no text" 0 'a\\001\\n\\xffz' ""
check "  as xenstore-read writes them" "$(mini-grant store get /test/bytes)" = "$(xenstore-read /test/bytes)"
run mini-grant store mkdir /test/folder
expect "store mkdir" 0 "" ""
run mini-grant store chmod /test/folder n0 r3
run mini-grant store chmod /test/folder
expect "store chmod" 0 "n0 r3" ""
check "store chmod is seen by xenstore-ls" "$(xenstore-ls -fp /test | grep -c 'folder = ""  *(n0,r3)')" = 1
for path in /test /test/folder /test/none; do
    xenstore-exists $path
    theirs=$?
    mini-grant store exists $path
    check "store exists $path as xenstore-exists" $? = $theirs
done
mini-grant store ls -fp /test | grep -v '^/test/bytes ' >/tmp/ours
xenstore-ls -fp /test | grep -v '^/test/bytes ' >/tmp/theirs
check "store ls -fp is what xenstore-ls writes, spaces aside" "$(tr -s ' .' ' ' </tmp/ours | sort | md5sum)" = "$(tr -s ' .' ' ' </tmp/theirs | sort | md5sum)"
xenstore-write /test/deep/one 1
run mini-grant store chmod -r /test/deep n0 r5
check "store chmod -r" "$code $(xenstore-ls -fp /test/deep | grep -c '(n0,r5)')" = "0 1"
run mini-grant store list .
expect "store list of the own folder" 0 "*domid*" ""
run mini-grant store get /test/one --and set /test/one 1 --and get /test/none
expect "store --and: nothing, if something fails" 4 "" 'mini-grant: cannot read "/test/none": no such entry (ENOENT)'
run mini-grant store read /test/one --and write /test/one -1 --and rm -t /test/deep/one
expect "store --and: all, otherwise" 0 first ""
check "  as xenstore-read sees it" "$(xenstore-read /test/one) $(xenstore-exists /test/deep; echo $?)" = "-1 1"
run mini-grant store set /test/one first
run mini-grant store rm /test/folder /test/long
expect "store rm" 0 "" ""
run mini-grant store get /test/folder
expect "store get of what is not there" 4 "" "mini-grant: *\"/test/folder\"*(ENOENT)"
run mini-grant store set //test x
expect "store set of a path that is none" 2 "" "mini-grant: *"

# Waiting: woken by a change, not by looking again; a deadline ends it.
(sleep 0.5 && xenstore-write /test/later now) &
run mini-grant store wait --deadline 300 /test/later
expect "store wait prints the value that comes" 0 "now" ""
(sleep 0.3 && xenstore-write /test/later soon && sleep 0.3 && xenstore-write /test/later last) &
run mini-grant store wait --value last --deadline 300 /test/later
expect "store wait --value" 0 "last" ""
(sleep 0.3 && xenstore-rm /test/later) &
run mini-grant store wait --gone --deadline 300 /test/later
expect "store wait --gone" 0 "" ""
run mini-grant store wait --deadline 1 /test/never
expect "store wait, nothing comes" 5 "" "mini-grant: *"
rm -f /tmp/output
(until [ -s /tmp/output ]; do sleep 0.05; done && xenstore-write /test/one changed && xenstore-write /test/deep/er x) &
run mini-grant store watch --count 3 --deadline 300 /test
expect "store watch prints what changes" 0 "/test /test/one /test/deep*" ""
wait
xenstore-rm /test
