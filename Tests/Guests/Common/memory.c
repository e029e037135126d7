// The functions that compilers call by name.
typedef __SIZE_TYPE__ size_t;
void *memcpy(void *to, const void *from, size_t count) {
    void *result = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
    return result;
}
void *memset(void *to, int byte, size_t count) {
    void *result = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(byte) : "memory");
    return result;
}
void *memmove(void *to, const void *from, size_t count) {
    if ((size_t)to - (size_t)from >= count) return memcpy(to, from, count);
    unsigned char *t = (unsigned char *)to + count;
    const unsigned char *f = (const unsigned char *)from + count;
    while (count--) *--t = *--f;
    return to;
}
// A guest of ours owns no heap: Swift code in it must not allocate.
int posix_memalign(void **result, size_t alignment, size_t size) {
    (void)result, (void)alignment, (void)size;
    __asm__ volatile("ud2");
    return 12;
}
void free(void *block) { (void)block; }
