# PV dom0 alone: it grants pages to itself and maps them.
run mini --version
expect "mini runs in dom0" 0 "mini *" ""
