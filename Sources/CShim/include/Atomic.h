// Words and bytes that another processor or domain changes at the same time, of which
// Swift without its library cannot be sure how often it touches them. Each function is one access.
// On x86 loads and stores keep their order, and a read-modify-write is a full barrier.
#ifndef MINI_ATOMIC_H
#define MINI_ATOMIC_H

static inline mini_u32 mini_load32(const void *at) {
    return __atomic_load_n((const mini_u32 *)at, __ATOMIC_ACQUIRE);
}
static inline void mini_store32(void *at, mini_u32 value) {
    __atomic_store_n((mini_u32 *)at, value, __ATOMIC_RELEASE);
}
static inline mini_u16 mini_load16(const void *at) {
    return __atomic_load_n((const mini_u16 *)at, __ATOMIC_ACQUIRE);
}
static inline mini_u8 mini_load8(const void *at) {
    return __atomic_load_n((const mini_u8 *)at, __ATOMIC_ACQUIRE);
}
static inline void mini_store8(void *at, mini_u8 value) {
    __atomic_store_n((mini_u8 *)at, value, __ATOMIC_RELEASE);
}
// Both return what was there before.
static inline mini_u8 mini_or8(void *at, mini_u8 bits) {
    return __atomic_fetch_or((mini_u8 *)at, bits, __ATOMIC_SEQ_CST);
}
static inline mini_u8 mini_and8(void *at, mini_u8 bits) {
    return __atomic_fetch_and((mini_u8 *)at, bits, __ATOMIC_SEQ_CST);
}
// Writes a word that is still the old one; 0 if it is not.
static inline int mini_replace32(void *at, mini_u32 old, mini_u32 value) {
    return __atomic_compare_exchange_n(
        (mini_u32 *)at, &old, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

#endif
