# mini-grant probe in PV dom0.
run mini-grant probe
expect "probe finds everything" 0 "xen *4.17* guest *PV gntdev */dev/xen/gntdev, at most 65536 grants* copy *yes dmabuf *no* gntalloc */dev/xen/gntalloc, at most 1024 pages* evtchn */dev/xen/evtchn xenbus */dev/xen/xenbus" ""
run mini-grant probe --json
expect "probe --json" 0 '{"xen":true,"version":"4.17*"gntdev":{"usable":true,"limit":65536},"copy":true,"dmabuf":false,*' ""
rmmod xen_gntalloc
run mini-grant probe
expect "probe names the module that is missing" 3 "*gntalloc */dev/xen/gntalloc*the kernel module xen-gntalloc brings it*" ""
insmod /modules/xen-gntalloc.ko
