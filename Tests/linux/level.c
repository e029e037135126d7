// level: what the instructions of x86-64-v2 compute, beside what plain code computes of the same. Says nothing but their names
// where the processor lacks one. Built with -march=x86-64-v2.

#include <cpuid.h>
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { COUNT = 4096 };
static uint8_t data[COUNT + 16];

static void tell(const char *name, uint64_t by_one, uint64_t by_other) {
    printf("%s %016llx %s\n", name, (unsigned long long)by_one, by_one == by_other ? "same" : "different");
}

static void fill(void) {
    uint64_t state = 1;
    for (int i = 0; i < COUNT; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        // Few kinds of bytes, zeros and negative ones among them.
        uint8_t byte = (uint8_t)(state >> 56);
        data[i] = byte % 5 ? byte : (uint8_t)("a\0z\x80"[byte & 3]);
    }
}

static uint64_t word(int place) {
    uint64_t value;
    memcpy(&value, data + place, 8);
    return value;
}

static uint64_t mix(uint64_t sum, uint64_t value) { return (sum ^ value) * 0x9E3779B97F4A7C15u; }

static uint64_t mix_all(uint64_t sum, __m128i value) {
    return mix(mix(sum, (uint64_t)_mm_extract_epi64(value, 0)), (uint64_t)_mm_extract_epi64(value, 1));
}

static void count_bits(void) {
    uint64_t one = 0, other = 0;
    for (int i = 0; i < COUNT; i += 8) {
        volatile uint64_t left = word(i);
        one += (uint64_t)_mm_popcnt_u64(left);
        for (int bit = 0; bit < 64; bit++) other += left >> bit & 1;
    }
    tell("popcnt", one, other);
}

static void checksum(void) {
    uint64_t one = 0xFFFFFFFF;
    uint32_t other = 0xFFFFFFFF;
    for (int i = 0; i < COUNT - 8; i += 9) {
        one = _mm_crc32_u64(one, word(i));
        one = _mm_crc32_u8((uint32_t)one, data[i + 8]);
        for (int k = 0; k < 9; k++) {
            other ^= data[i + k];
            for (int bit = 0; bit < 8; bit++) other = other >> 1 ^ (other & 1 ? 0x82F63B78 : 0);
        }
    }
    tell("crc32", one, other);
}

static void shuffle(void) {
    uint64_t one = 0, other = 0;
    for (int i = 0; i < COUNT - 32; i += 7) {
        __m128i from = _mm_loadu_si128((const void *)(data + i)), by = _mm_lddqu_si128((const void *)(data + i + 16));
        uint8_t result[16];
        for (int k = 0; k < 16; k++) {
            uint8_t index = data[i + 16 + k];
            result[k] = index & 0x80 ? 0 : data[i + (index & 15)];
        }
        one = mix_all(one, _mm_shuffle_epi8(from, by));
        other = mix_all(other, _mm_loadu_si128((const void *)result));
        // The pair's bytes from the fifth on; their absolute values.
        for (int k = 0; k < 16; k++) result[k] = (uint8_t)((int8_t)data[i + 5 + k] < 0 ? -data[i + 5 + k] : data[i + 5 + k]);
        one = mix_all(one, _mm_abs_epi8(_mm_alignr_epi8(by, from, 5)));
        other = mix_all(other, _mm_loadu_si128((const void *)result));
    }
    tell("pshufb", one, other);
}

static void compare_strings(void) {
    uint64_t one = 0, other = 0;
    for (int i = 0; i < COUNT - 32; i += 3) {
        // The first of "a" to "z"; with an end, then by lengths.
        enum { RANGES = _SIDD_UBYTE_OPS | _SIDD_CMP_RANGES | _SIDD_LEAST_SIGNIFICANT };
        __m128i text = _mm_loadu_si128((const void *)(data + i)), range = _mm_cvtsi32_si128('a' | 'z' << 8);
        one = mix(one, (uint64_t)_mm_cmpistri(range, text, RANGES));
        one = mix(one, (uint64_t)_mm_cmpestri(range, 2, text, i % 20, RANGES));
        int first = 16, limited = 16, ended = 0;
        for (int k = 15; k >= 0; k--) {
            int is_letter = data[i + k] >= 'a' && data[i + k] <= 'z';
            if (is_letter && k < i % 20) limited = k;
        }
        for (int k = 0; k < 16; k++) {
            ended |= !data[i + k];
            if (!ended && first == 16 && data[i + k] >= 'a' && data[i + k] <= 'z') first = k;
        }
        other = mix(mix(other, (uint64_t)first), (uint64_t)limited);
    }
    tell("pcmpistri", one, other);
}

static void round_numbers(void) {
    uint64_t one = 0, other = 0;
    for (int i = 0; i < COUNT - 8; i += 8) {
        double value = (double)((int64_t)word(i) >> 40) / 8;
        int64_t whole = (int64_t)value, down = whole - ((double)whole > value);
        int32_t truncated;
        one = mix(one, (uint64_t)(int64_t)_mm_cvtsd_f64(_mm_floor_sd(_mm_setzero_pd(), _mm_set_sd(value))));
        __asm__("fldl %1\n\tfisttpl %0" : "=m"(truncated) : "m"(value) : "st");
        one = mix(one, (uint64_t)(int64_t)truncated);
        other = mix(mix(other, (uint64_t)down), (uint64_t)whole);
    }
    tell("roundsd", one, other);
}

static void add_numbers(void) {
    uint64_t one = 0, other = 0;
    for (int i = 0; i < COUNT - 32; i += 16) {
        float numbers[4], sum = 0;
        int32_t products[4];
        for (int k = 0; k < 4; k++) {
            numbers[k] = (float)(int8_t)data[i + k];
            sum += numbers[k] * numbers[k];
            products[k] = (int32_t)((uint32_t)word(i + 4 * k) * 1000003u);
        }
        __m128 all = _mm_loadu_ps(numbers), squares = _mm_mul_ps(all, all);
        squares = _mm_hadd_ps(squares, squares);
        one = mix(one, (uint64_t)_mm_cvtss_f32(_mm_hadd_ps(squares, squares)));
        one = mix(one, (uint64_t)_mm_cvtss_f32(_mm_dp_ps(all, all, 0xF1)));
        other = mix(mix(other, (uint64_t)sum), (uint64_t)sum);
        one = mix_all(one, _mm_mullo_epi32(_mm_loadu_si128((const void *)(data + i)), _mm_set1_epi32(1000003)));
        other = mix_all(other, _mm_loadu_si128((const void *)products));
    }
    tell("dpps", one, other);
}

static void exchange(void) {
    static unsigned __int128 memory = 0xFFFFFFFFFFFFFF00;
    uint64_t failed = 0;
    // Counts by 1 over the lower half's end; each second time it expects what is not there.
    for (int i = 0; i < 1000; i++) {
        uint64_t low = (uint64_t)memory ^ (uint64_t)(i & 1), high = (uint64_t)(memory >> 64);
        uint8_t is_equal;
        __asm__ volatile("lock cmpxchg16b %0\n\tsete %1"
                         : "+m"(memory), "=q"(is_equal), "+a"(low), "+d"(high)
                         : "b"(low + 1), "c"(high + (low == UINT64_MAX))
                         : "cc");
        failed += !is_equal;
    }
    tell("cmpxchg16b", (uint64_t)memory << 32 | (uint64_t)(memory >> 64) << 16 | failed, 0xF4ull << 32 | 1ull << 16 | 500);
}

int main(void) {
    static const struct {
        const char *name;
        unsigned bit;
    } features[] = {{"sse3", 0}, {"ssse3", 9}, {"cx16", 13}, {"sse4.1", 19}, {"sse4.2", 20}, {"popcnt", 23}};
    unsigned a, b, c, d, missing = 0;
    __cpuid(1, a, b, c, d);
    for (unsigned i = 0; i < sizeof features / sizeof *features; i++) {
        printf("%s %s\n", features[i].name, c >> features[i].bit & 1 ? "offered" : "missing");
        missing |= ~c & 1u << features[i].bit;
    }
    if (missing) return 0;
    fill();
    count_bits();
    checksum();
    shuffle();
    compare_strings();
    round_numbers();
    add_numbers();
    exchange();
    return 0;
}
