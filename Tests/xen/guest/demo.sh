# `./build.sh run xen` without a terminal: what prompt.sh offers, once.
show() {
    echo "# $*"
    "$@"
}
start_domain pv >/dev/null
show xl list
grant_there
echo "Domain $domain has granted the pages $references to dom0."
show mini-grant map --domain "$domain" --ref "$references" --hexdump >/tmp/demo 2>&1
head -n 6 /tmp/demo

echo "# The README's stub domain:"
. /tests/readme.sh
