# The README's stub domain, line by line as it is printed there, in an empty folder. /guests/readme.sh has the lines.

. /tests/stublibrary.sh

# Where Debian has what the lines take.
release=$(uname -r)
mkdir -p "/lib/modules/$release/kernel/drivers/xen" /boot /tmp/readme/mini/out/guests /tmp/readme/stub
ln -s /modules/xen-gntdev.ko "/lib/modules/$release/kernel/drivers/xen/"
ln -s /guests/vmlinux "/boot/vmlinuz-$release"
ln -s /guests/demo /tmp/readme/mini/out/guests/demo

check "the README has a stub domain" "$(grep -c '^xl create' /guests/readme.sh)" = 1
# Nobody types at the console; it ends with the domain.
(cd /tmp/readme/stub && timeout 600 sh -e /guests/readme.sh </dev/console >/tmp/readme/output 2>&1)
name=stub
gone
cp /tmp/guest-stub.log /tmp/guest-readme.log
name=readme
said "the README's stub domain starts the guest that domain 0 has granted" \
    "*running under mini-launch*" "Powering off." "mini-init: powering off"
tr -d '\r' </tmp/readme/output >/tmp/readme/shown
# The last line is reached only if those before it have ended well; what `xl console` ends with is Xen's own business.
check "all of its lines do what they say, and its console is seen where they are typed" \
    "$(grep -c 'running under mini-launch' /tmp/readme/shown)" = 1 || tail -n 5 /tmp/readme/shown
