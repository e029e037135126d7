# Measures: each line is BENCH, a figure's name, ours and the peer's, for Tests/xen/bench.sh. dom0 maps its own grants.

# better FILE...: of each name the least figure.
better() { sort -k1,1 -k2,2n "$@" | awk '!seen[$1]++'; }

head -c 131072 /dev/urandom >/tmp/pages
granter 0 /tmp/pages
for turn in 1 2 3; do
    grantbench 0 "$references" >>/tmp/theirs
    mini-grantbench 0 "$references" >>/tmp/ours
done
better /tmp/ours >/tmp/a
better /tmp/theirs >/tmp/b
awk 'NR == FNR { ours[$1] = $2; next } { print $1, ours[$1], $2 }' /tmp/a /tmp/b >/tmp/both
sed 's/^/BENCH /' /tmp/both

for turn in 1 2 3; do
    echo "process $(measure 51 mini-grant map --domain 0 --ref "${references%%,*}" --out /tmp/copy)" >>/tmp/process.ours
    echo "process $(measure 51 grants map 0 "${references%%,*}" /tmp/copy)" >>/tmp/process.theirs
done
echo "BENCH process $(better /tmp/process.ours | cut -d' ' -f2) $(better /tmp/process.theirs | cut -d' ' -f2)"
end_granters

# 16 MiB, four times what gntalloc gives by itself.
echo 8192 >/sys/module/xen_gntalloc/parameters/limit
head -c 16777216 /dev/urandom >/tmp/pages
granter 0 /tmp/pages
least() { sort -n "$@" | head -n 1; }
for turn in 1 2 3; do
    measure 5 grants map 0 "$references" /tmp/copy | cut -d' ' -f1 >>/tmp/share.theirs
    for command in map copy; do
        measure 5 mini-grant $command --domain 0 --ref "$references" --out /tmp/copy | cut -d' ' -f1 >>/tmp/share.$command
        cmp /tmp/pages /tmp/copy || fail "mini-grant $command of 16 MiB" "other bytes"
    done
done
for command in map copy; do echo "BENCH share-$command $(least /tmp/share.$command) $(least /tmp/share.theirs)"; done
end_granters
