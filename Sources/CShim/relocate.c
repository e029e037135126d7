// What a loader would do for the release, which has none: the program lies at a place that the kernel
// chose, so every address that stands in its data has to be moved there; and then what is constant
// from here on is made so (RELRO). It runs before everything else and may use nothing that is
// itself to be moved. Sources: elf(5), the generic ABI's DT_RELR.
#ifdef MINI_FREESTANDING
#include "CShim.h"

enum { load = 1, dynamic = 2, read_only = 0x6474E552, relr = 36, relr_size = 35, readable = 1 };

struct header {
    mini_u8 identification[16];
    mini_u16 type, machine;
    mini_u32 version;
    unsigned long entry, segments, sections;
    mini_u32 flags;
    mini_u16 size, segment_size, segment_count;
};

#if defined(__x86_64__)
struct segment {
    mini_u32 type, flags;
    unsigned long offset, address, physical, file_size, size, alignment;
};
enum { protect = 10 };
#else
struct segment {
    mini_u32 type;
    unsigned long offset, address, physical, file_size, size;
    mini_u32 flags, alignment;
};
enum { protect = 125 };
#endif

// The linker's name for the start of the file where it lies in memory.
extern const struct header __ehdr_start __attribute__((visibility("hidden")));

// A word of DT_RELR is the address of a word to move, or, if it is odd, a map of the words after the last.
static void move(unsigned long by, const unsigned long *entry, unsigned long size) {
    unsigned long *place = 0;
    for (const unsigned long *end = entry + size / sizeof *entry; entry < end; entry++) {
        unsigned long bits = *entry;
        if (bits & 1) {
            for (unsigned long *word = place; bits >>= 1; word++)
                if (bits & 1) *word += by;
            place += 8 * sizeof bits - 1;
        } else {
            place = (unsigned long *)(by + bits);
            *place++ += by;
        }
    }
}

void mini_relocate(void) {
    const struct header *header = &__ehdr_start;
    const struct segment *segments = (const struct segment *)((const char *)header + header->segments);
    unsigned long by = 0;
    for (int i = 0; i < header->segment_count; i++)
        if (segments[i].type == load && segments[i].offset == 0) by = (unsigned long)header - segments[i].address;
    for (int i = 0; i < header->segment_count; i++) {
        if (segments[i].type != dynamic) continue;
        const unsigned long(*entry)[2] = (const void *)(by + segments[i].address);
        unsigned long start = 0, size = 0;
        for (; (*entry)[0]; entry++) {
            if ((*entry)[0] == relr) start = (*entry)[1];
            if ((*entry)[0] == relr_size) size = (*entry)[1];
        }
        move(by, (const unsigned long *)(by + start), size);
    }
    for (int i = 0; i < header->segment_count; i++) {
        if (segments[i].type != read_only) continue;
        unsigned long start = by + segments[i].address;
        unsigned long end = (start + segments[i].size + 4095) & ~4095ul;
        start &= ~4095ul;
        mini_syscall(protect, (long)start, (long)(end - start), readable, 0, 0, 0);
    }
}
#endif
