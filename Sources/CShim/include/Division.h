// 64-bit arithmetic that a 32-bit processor has no instruction for; see division.c.
#ifndef MINI_DIVISION_H
#define MINI_DIVISION_H

#include "CShim.h"

typedef long long mini_s64;

// In the release for 32 bits the names that compilers call; elsewhere names of ours, for the tests.
#if defined(MINI_FREESTANDING) && defined(__i386__)
#define MINI_WIDE(name) __##name
#else
#define MINI_WIDE(name) mini_##name
#endif

mini_u64 MINI_WIDE(udivdi3)(mini_u64 dividend, mini_u64 divisor);
mini_u64 MINI_WIDE(umoddi3)(mini_u64 dividend, mini_u64 divisor);
mini_s64 MINI_WIDE(divdi3)(mini_s64 dividend, mini_s64 divisor);
mini_s64 MINI_WIDE(moddi3)(mini_s64 dividend, mini_s64 divisor);
mini_u64 MINI_WIDE(ashldi3)(mini_u64 value, int count);
mini_u64 MINI_WIDE(lshrdi3)(mini_u64 value, int count);
mini_s64 MINI_WIDE(ashrdi3)(mini_s64 value, int count);

#endif
