// The memory functions that the compilers call by name, for the release that
// has no C library. The string instructions are fast on every processor that matters
// here, and take no room.
#ifdef MINI_FREESTANDING
typedef __SIZE_TYPE__ size_t;

void *memcpy(void *restrict to, const void *restrict from, size_t count) {
    void *result = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
    return result;
}

void *memmove(void *to, const void *from, size_t count) {
    if ((size_t)to - (size_t)from >= count) return memcpy(to, from, count);
    void *result = to;
    char *last_to = (char *)to + count - 1;
    const char *last_from = (const char *)from + count - 1;
    __asm__ volatile("std; rep movsb; cld"
                     : "+D"(last_to), "+S"(last_from), "+c"(count)
                     :
                     : "memory");
    return result;
}

void *memset(void *to, int byte, size_t count) {
    void *result = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(byte) : "memory");
    return result;
}

int memcmp(const void *left, const void *right, size_t count) {
    const unsigned char *l = left, *r = right;
    for (; count; count--, l++, r++)
        if (*l != *r) return *l - *r;
    return 0;
}

// The Swift runtime's two ways to the heap, which is in Linux/Heap.swift.
long mini_heap_allocate(long size);
void mini_heap_release(long address);

int posix_memalign(void **result, size_t alignment, size_t size) {
    long address = alignment <= 16 ? mini_heap_allocate((long)size) : 0;
    *result = (void *)address;
    return address ? 0 : 12;  // ENOMEM
}

void free(void *block) {
    if (block) mini_heap_release((long)block);
}
#endif
