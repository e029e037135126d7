// Times what a program says: heard WORDS WORDS PROGRAM ARGUMENTS... runs it with its output in a pipe, and prints the milliseconds
// from in front of its exec to the first words in what it says, to the second ones, and to its end; -1 for what did not come.
// A static program for amd64 without a C library, so that it runs in an initramfs that has nothing else.

#include "CShim.h"

enum { READ = 0, WRITE = 1, CLOSE = 3, PIPE = 22, DUP2 = 33, FORK = 57, EXECVE = 59, EXIT = 60, WAIT4 = 61, CLOCK_GETTIME = 228 };
enum { MONOTONIC = 1 };

// CShim's memory functions come with the release's heap, which nothing here uses.
long mini_heap_allocate(long size) { return size & 0; }
void mini_heap_release(long address) { (void)address; }

static long milliseconds(void) {
    long time[2] = {0, 0};
    mini_syscall(CLOCK_GETTIME, MONOTONIC, (long)time, 0, 0, 0, 0);
    return time[0] * 1000 + time[1] / 1000000;
}

static void tell(long number, char end) {
    char digits[24];
    long at = sizeof digits, rest = number < 0 ? -number : number;
    digits[--at] = end;
    do digits[--at] = '0' + rest % 10;
    while ((rest /= 10));
    if (number < 0) digits[--at] = '-';
    mini_syscall(WRITE, 1, (long)(digits + at), sizeof digits - at, 0, 0, 0);
}

int main(void) {
    long count = mini_argument_count();
    if (count < 4 || count > 64) return 2;
    const char *words[2] = {mini_argument(1), mini_argument(2)}, *arguments[64] = {0};
    for (long n = 3; n < count; n++) arguments[n - 3] = mini_argument(n);
    int ends[2];
    if (mini_syscall(PIPE, (long)ends, 0, 0, 0, 0, 0) < 0) return 1;
    long start = milliseconds(), child = mini_syscall(FORK, 0, 0, 0, 0, 0, 0);
    if (child < 0) return 1;
    if (child == 0) {
        mini_syscall(DUP2, ends[1], 1, 0, 0, 0, 0);
        mini_syscall(DUP2, ends[1], 2, 0, 0, 0, 0);
        mini_syscall(CLOSE, ends[0], 0, 0, 0, 0, 0);
        mini_syscall(CLOSE, ends[1], 0, 0, 0, 0, 0);
        mini_syscall(EXECVE, (long)arguments[0], (long)arguments, (long)mini_environment(), 0, 0, 0);
        mini_syscall(EXIT, 127, 0, 0, 0, 0, 0);
    }
    mini_syscall(CLOSE, ends[1], 0, 0, 0, 0, 0);
    static char heard[4096];
    long found[2] = {-1, -1}, matched[2] = {0, 0}, got;
    while ((got = mini_syscall(READ, ends[0], (long)heard, sizeof heard, 0, 0, 0)) > 0) {
        long now = milliseconds() - start;
        for (long at = 0; at < got; at++) {
            for (int n = 0; n < 2; n++) {
                if (found[n] >= 0) continue;
                matched[n] = heard[at] == words[n][matched[n]] ? matched[n] + 1 : heard[at] == words[n][0];
                if (!words[n][matched[n]]) found[n] = now;
            }
        }
    }
    mini_syscall(WAIT4, child, 0, 0, 0, 0, 0);
    tell(found[0], ' ');
    tell(found[1], ' ');
    tell(milliseconds() - start, '\n');
    return 0;
}
