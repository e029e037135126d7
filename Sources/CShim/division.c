// 64-bit division and shifts for 32-bit processors: what compilers call by name where the processor has no instruction
// for it, and a C library or libgcc would have the function. The tests build the same lines under names of ours, and
// compare them with the processor.
//
// The steps are those of H. S. Warren, Hacker's Delight, chapter 9: one or two of the processor's own divisions of 64
// bits by 32, none of which overflows.
#include "Division.h"

// `high`:`low` divided by `divisor`, which is greater than `high`.
static inline mini_u32 divide_64_by_32(mini_u32 high, mini_u32 low, mini_u32 divisor, mini_u32 *remainder) {
    mini_u32 quotient;
    __asm__("divl %4" : "=a"(quotient), "=d"(*remainder) : "0"(low), "1"(high), "rm"(divisor) : "cc");
    return quotient;
}

// Once, not in each of its callers.
__attribute__((noinline)) static mini_u64 divide(mini_u64 dividend, mini_u64 divisor, mini_u64 *remainder) {
    mini_u32 divisor_high = (mini_u32)(divisor >> 32), high = (mini_u32)(dividend >> 32), rest;
    if (!divisor_high) {
        // As on paper, a digit of 32 bits at a time. A divisor of 0 is the processor's trap.
        mini_u32 first = divide_64_by_32(0, high, (mini_u32)divisor, &rest);
        mini_u32 second = divide_64_by_32(rest, (mini_u32)dividend, (mini_u32)divisor, &rest);
        *remainder = rest;
        return (mini_u64)first << 32 | second;
    }
    // The quotient has one digit. Half of the dividend by the divisor's upper 32 bits, moved to the top, is that or one more.
    unsigned shift = (unsigned)__builtin_clz(divisor_high);
    mini_u64 half = dividend >> 1;
    mini_u32 top = (mini_u32)(divisor << shift >> 32);
    mini_u32 estimate = divide_64_by_32((mini_u32)(half >> 32), (mini_u32)half, top, &rest);
    mini_u64 quotient = (mini_u64)estimate << shift >> 31;
    if (quotient) quotient--;
    *remainder = dividend - quotient * divisor;
    if (*remainder >= divisor) {
        quotient++;
        *remainder -= divisor;
    }
    return quotient;
}

// Of a signed number, as C has it: the quotient is cut towards zero, the remainder has the dividend's sign.
static mini_u64 magnitude(mini_s64 value) { return value < 0 ? 0 - (mini_u64)value : (mini_u64)value; }
static mini_s64 with_sign(mini_u64 value, int negative) { return (mini_s64)(negative ? 0 - value : value); }

mini_u64 MINI_WIDE(udivdi3)(mini_u64 dividend, mini_u64 divisor) {
    mini_u64 remainder;
    return divide(dividend, divisor, &remainder);
}

mini_u64 MINI_WIDE(umoddi3)(mini_u64 dividend, mini_u64 divisor) {
    mini_u64 remainder;
    divide(dividend, divisor, &remainder);
    return remainder;
}

mini_s64 MINI_WIDE(divdi3)(mini_s64 dividend, mini_s64 divisor) {
    mini_u64 remainder, quotient = divide(magnitude(dividend), magnitude(divisor), &remainder);
    return with_sign(quotient, (dividend < 0) != (divisor < 0));
}

mini_s64 MINI_WIDE(moddi3)(mini_s64 dividend, mini_s64 divisor) {
    mini_u64 remainder;
    divide(magnitude(dividend), magnitude(divisor), &remainder);
    return with_sign(remainder, dividend < 0);
}

// Shifts by 0 to 63, in two halves: on 64 bits at once the compiler could make a call of this very function.
static mini_u64 joined(mini_u32 high, mini_u32 low) { return (mini_u64)high << 32 | low; }

mini_u64 MINI_WIDE(ashldi3)(mini_u64 value, int count) {
    mini_u32 high = (mini_u32)(value >> 32), low = (mini_u32)value;
    if (count >= 32) return joined(low << (count - 32), 0);
    return count ? joined(high << count | low >> (32 - count), low << count) : value;
}

mini_u64 MINI_WIDE(lshrdi3)(mini_u64 value, int count) {
    mini_u32 high = (mini_u32)(value >> 32), low = (mini_u32)value;
    if (count >= 32) return joined(0, high >> (count - 32));
    return count ? joined(high >> count, low >> count | high << (32 - count)) : value;
}

mini_s64 MINI_WIDE(ashrdi3)(mini_s64 value, int count) {
    mini_u32 high = (mini_u32)((mini_u64)value >> 32), low = (mini_u32)value, sign = (mini_u32)((int)high >> 31);
    if (count >= 32) return (mini_s64)joined(sign, (mini_u32)((int)high >> (count - 32)));
    return count ? (mini_s64)joined((mini_u32)((int)high >> count), low >> count | high << (32 - count)) : value;
}
