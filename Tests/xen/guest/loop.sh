# PV dom0 alone: it grants pages to itself and maps them.
run mini --version
expect "mini runs in dom0" 0 "mini *" ""

# What the kernel answers, for PV.
head -c 16384 /dev/urandom >/tmp/pages
granter 0 /tmp/pages && writable=$references
granter 0 /tmp/pages readonly && readonly=${references%%,*}
granter 77 /tmp/pages && stranger=${references%%,*}
report behaviour pv 0 "$writable" "$readonly" "$stranger"
end_granters

for command in map copy share probe store pipe; do . /tests/$command.sh; done
