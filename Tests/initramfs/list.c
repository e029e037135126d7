// An init that tells what a kernel made of an initramfs, and powers off: for each file but those of
// devtmpfs a line "LIST mode owner group size time major:minor checksum path target", the checksum being cksum(1)'s.

#include "CShim.h"

#if defined(__x86_64__)
enum { READ = 0, WRITE = 1, OPEN = 2, CLOSE = 3, LSTAT = 6, READLINK = 89, GETDENTS64 = 217, REBOOT = 169 };
#else
enum { READ = 3, WRITE = 4, OPEN = 5, CLOSE = 6, LSTAT = 196, READLINK = 85, GETDENTS64 = 220, REBOOT = 88 };
#endif

// CShim's memory functions come with the release's heap, which nothing here uses.
long mini_heap_allocate(long size) { return size & 0; }
void mini_heap_release(long address) { (void)address; }

static char line[12288];
static long length;

static void text(const char *words) {
    while (*words) line[length++] = *words++;
}

static void number(mini_u64 value, unsigned radix) {
    char digits[24];
    int count = 0;
    do digits[count++] = '0' + (mini_u32)value % radix;
    while ((value = (mini_u32)value / radix));
    while (count) line[length++] = digits[--count];
    line[length++] = ' ';
}

static void put(void) {
    line[length++] = '\n';
    for (long done = 0; done < length;) done += mini_syscall(WRITE, 1, (long)line + done, length - done, 0, 0, 0);
    length = 0;
}

static mini_u32 step(mini_u32 sum, mini_u8 byte) {
    sum ^= (mini_u32)byte << 24;
    for (int bit = 0; bit < 8; bit++) sum = sum >> 31 ? sum << 1 ^ 0x04C11DB7 : sum << 1;
    return sum;
}

static mini_u32 checksum(const char *path) {
    static mini_u8 buffer[65536];
    mini_u32 sum = 0, size = 0;
    long count, file = mini_syscall(OPEN, (long)path, 0, 0, 0, 0, 0);
    while ((count = mini_syscall(READ, file, (long)buffer, sizeof buffer, 0, 0, 0)) > 0) {
        for (long i = 0; i < count; i++) sum = step(sum, buffer[i]);
        size += count;
    }
    for (mini_u32 rest = size; rest; rest >>= 8) sum = step(sum, rest);
    mini_syscall(CLOSE, file, 0, 0, 0, 0, 0);
    return ~sum;
}

static void tell(const char *path, const struct mini_stat *status) {
    char target[4096] = {0};
    mini_u32 kind = status->mode & 0170000, special = status->special;
    int isNode = kind == 0020000 || kind == 0060000;
    text("LIST ");
    number(status->mode, 8);
    number(status->user, 10);
    number(status->group, 10);
    // A directory's size is the file system's own matter.
    number(kind == 0040000 ? 0 : status->size, 10);
#if defined(__x86_64__)
    number(status->times[2], 10);
#else
    number(status->times[2], 10);
#endif
    number(isNode ? special >> 8 & 0xFFF : 0, 10);
    number(isNode ? (special & 0xFF) | (special >> 12 & 0xFFF00) : 0, 10);
    number(kind == 0100000 ? checksum(path) : 0, 10);
    text(path + 1);
    if (kind == 0120000) {
        mini_syscall(READLINK, (long)path, (long)target, sizeof target - 1, 0, 0, 0);
        text(" ");
        text(target);
    }
    put();
}

static void walk(char *path, long end) {
    mini_u8 buffer[8192];
    path[end] = 0;
    long count, file = mini_syscall(OPEN, (long)(end ? path : "/"), 0, 0, 0, 0, 0);
    while ((count = mini_syscall(GETDENTS64, file, (long)buffer, sizeof buffer, 0, 0, 0)) > 0)
        for (long at = 0; at < count; at += *(mini_u16 *)(buffer + at + 16)) {
            const char *name = (const char *)buffer + at + 19;
            if (name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]))) continue;
            long last = end;
            path[last++] = '/';
            while (*name) path[last++] = *name++;
            path[last] = 0;
            struct mini_stat status;
            mini_syscall(LSTAT, (long)path, (long)&status, 0, 0, 0, 0);
            tell(path, &status);
            if ((status.mode & 0170000) == 0040000) walk(path, last);
        }
    mini_syscall(CLOSE, file, 0, 0, 0, 0, 0);
}

int main(void) {
    static char path[8192];
    walk(path, 0);
    text("END");
    put();
    mini_syscall(REBOOT, 0xFEE1DEAD, 672274793, 0x4321FEDC, 0, 0, 0);
    for (;;) {}
}
