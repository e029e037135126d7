// Measures a 64-bit processor from a program that runs on it: each loop of wide.S for half a second or more, by the
// kernel's clock. A static program without a C library. Prints "NAME million-instructions-a-second" a line.

#include "CShim.h"

enum { WRITE = 1, CLOCK_GETTIME = 228, MONOTONIC = 1 };

// CShim's memory functions come with the release's heap, which nothing here uses.
long mini_heap_allocate(long size) { return size & 0; }
void mini_heap_release(long address) { (void)address; }

void loop_integer(long rounds), loop_memory(long rounds), loop_calls(long rounds), loop_copy(long rounds);

static long now(void) {
    long time[2] = {0, 0};
    mini_syscall(CLOCK_GETTIME, MONOTONIC, (long)time, 0, 0, 0, 0);
    return time[0] * 1000000000 + time[1];
}

static void tell(const char *name, long number) {
    char line[64], digits[24];
    long length = 0, count = 0;
    while (*name) line[length++] = *name++;
    line[length++] = ' ';
    do digits[count++] = '0' + number % 10;
    while ((number /= 10));
    while (count) line[length++] = digits[--count];
    line[length++] = '\n';
    mini_syscall(WRITE, 1, (long)line, length, 0, 0, 0);
}

static void measure(const char *name, long instructions, void (*loop)(long)) {
    for (long rounds = 100000;; rounds *= 2) {
        long start = now();
        loop(rounds);
        long elapsed = now() - start;
        if (elapsed < 500000000) continue;
        return tell(name, rounds * instructions / (elapsed / 1000));
    }
}

int main(void) {
    measure("integer", 10, loop_integer);
    measure("memory", 10, loop_memory);
    measure("calls", 15, loop_calls);
    measure("copy", 8, loop_copy);
    return 0;
}
