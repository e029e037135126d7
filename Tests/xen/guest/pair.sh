# dom0 and a second domain of type $type: what each grants, the other maps.
start_domain "$type" || return 0
there 'mini --version'
check "mini runs in a $type domain" "$code $output" = "0 $(mini --version)"

# What the kernel answers there.
head -c 16384 /dev/urandom >/tmp/pages
granter "$domain" /tmp/pages && writable=$references
granter "$domain" /tmp/pages readonly && readonly=${references%%,*}
granter 0 /tmp/pages && stranger=${references%%,*}
report remote "$domain" "behaviour $type 0 $writable $readonly $stranger"
end_granters

. /tests/pairmap.sh
. /tests/pairpipe.sh
# The last: it destroys the domain.
. /tests/pairend.sh
