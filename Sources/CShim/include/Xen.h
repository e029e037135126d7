// Structures of Xen's devices: gntdev, gntalloc, evtchn, privcmd. Where the last member is an array of one,
// the kernel takes as many as the structure's count says.
//
// Sources: uapi xen/gntdev.h, xen/gntalloc.h, xen/evtchn.h and Xen's own xen/sys/*.h; the tests
// hold sizes and offsets against both, for x86_64 and for i386.
#ifndef MINI_XEN_H
#define MINI_XEN_H

struct mini_grant {
    mini_u32 domain, reference;
};

struct mini_gntdev_map {
    mini_u32 count, padding;
    mini_u64 index;
    struct mini_grant grants[1];
};

struct mini_gntdev_unmap {
    mini_u64 index;
    mini_u32 count, padding;
};

struct mini_gntdev_offset {
    mini_u64 address, index;
    mini_u32 count, padding;
};

// Of gntdev and of gntalloc.
struct mini_unmap_notify {
    mini_u64 index;
    mini_u32 action, port;
};

// Each side of a copy is an address here, or (low bits first) 32 bits of grant reference, 16 of
// offset in the page and 16 of domain.
struct mini_copy_segment {
    mini_u64 source, destination;
    mini_u16 length, flags;
    short status;
};

struct mini_gntdev_copy {
    mini_u32 count;
    unsigned long segments;
};

struct mini_dmabuf_wait {
    mini_u32 descriptor, milliseconds;
};

struct mini_gntalloc_allocate {
    mini_u16 domain, flags;
    mini_u32 count;
    mini_u64 index;
    mini_u32 references[1];
};

struct mini_gntalloc_free {
    mini_u64 index;
    mini_u32 count;
};

struct mini_evtchn_interdomain {
    mini_u32 domain, port;
};

// Of privcmd: a hypercall, as it goes down.
struct mini_hypercall {
    mini_u64 number, arguments[5];
};

// Of Xen itself: struct xen_domctl (public/domctl.h) as far as getdomaininfo fills it.
struct mini_domain_information {
    mini_u32 command, version;
    mini_u16 domain, padding[3];
    mini_u16 found, more;
    mini_u32 flags;
    mini_u64 rest[15];
};

#endif
