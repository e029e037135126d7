# `./build.sh run xen` on a terminal: a prompt in dom0, beside a domain that has granted two pages.
echo "starting a second domain ..."
start_domain pv >/dev/null
grant_there
cat <<END

This is dom0 of Xen $(cat /sys/hypervisor/version/major).$(cat /sys/hypervisor/version/minor) in QEMU. Domain $domain has granted the pages $references to it. Try:
  mini-grant map --domain $domain --ref $references --hexdump
  mini-grant --help
  remote $domain 'COMMAND'        runs a command in domain $domain
  exit                         powers off

END
setsid cttyhack sh
