#!/bin/sh
# Runs what /etc/mini/premount was when the initramfs was made.

modprobe -q -a xen-gntdev xen-gntalloc xen-evtchn
/etc/mini/premount || echo "mini: /etc/mini/premount ended with code $?" >&2
