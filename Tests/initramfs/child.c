// What process 1 starts in the tests: its first word says what it does. A static program without a C
// library, so that it runs in an initramfs that has nothing else.

#include "CShim.h"

#if defined(__x86_64__)
enum {
    READ = 0, WRITE = 1, OPEN = 2, CLOSE = 3, MMAP = 9, SIGMASK = 14, PAUSE = 34, NANOSLEEP = 35, GETPID = 39,
    FORK = 57, EXECVE = 59, EXIT = 60, KILL = 62, FTRUNCATE = 77, MKDIR = 83, GETPPID = 110, REBOOT = 169, GETDENTS64 = 217
};
#else
enum {
    READ = 3, WRITE = 4, OPEN = 5, CLOSE = 6, MMAP = 192, SIGMASK = 175, PAUSE = 29, NANOSLEEP = 162, GETPID = 20,
    FORK = 2, EXECVE = 11, EXIT = 1, KILL = 37, MKDIR = 39, FTRUNCATE = 93, GETPPID = 64, REBOOT = 88, GETDENTS64 = 220
};
#endif

// CShim's memory functions come with the release's heap, which nothing here uses.
long mini_heap_allocate(long size) { return size & 0; }
void mini_heap_release(long address) { (void)address; }

static char line[8192];
static long length;

static void text(const char *words) {
    while (*words) line[length++] = *words++;
}

static void put(void) {
    line[length++] = '\n';
    mini_syscall(WRITE, 1, (long)line, length, 0, 0, 0);
    length = 0;
}

static long number(const char *digits) {
    long value = 0;
    for (; *digits >= '0' && *digits <= '9'; digits++) value = value * 10 + *digits - '0';
    return value;
}

static void decimal(long value) {
    char digits[24];
    int count = 0;
    do digits[count++] = '0' + value % 10;
    while ((value /= 10));
    while (count) line[length++] = digits[--count];
}

static void sleep(long milliseconds) {
    long time[2] = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    mini_syscall(NANOSLEEP, (long)time, 0, 0, 0, 0, 0);
}

static long load(const char *path, char *buffer, long size) {
    long file = mini_syscall(OPEN, (long)path, 0, 0, 0, 0, 0), count = 0, more;
    if (file < 0) return -1;
    while (count < size - 1 && (more = mini_syscall(READ, file, (long)buffer + count, size - 1 - count, 0, 0, 0)) > 0)
        count += more;
    mini_syscall(CLOSE, file, 0, 0, 0, 0, 0);
    buffer[count] = 0;
    return count;
}

// The lines of a file that begin with one of the words, all without words: "FILE line".
static int show(const char *path, char **prefixes) {
    static char buffer[65536];
    long count = load(path, buffer, sizeof buffer);
    for (char *from = buffer; count > 0 && *from;) {
        char *to = from;
        while (*to && *to != '\n') to++;
        int isWanted = !*prefixes;
        for (char **prefix = prefixes; *prefix; prefix++) {
            const char *p = *prefix, *f = from;
            while (*p && *p == *f) p++, f++;
            isWanted |= !*p;
        }
        if (isWanted) {
            text(path);
            text(" ");
            for (char *at = from; at < to && length < 4096; at++) line[length++] = *at;
            put();
        }
        from = *to ? to + 1 : to;
    }
    return count < 0;
}

// The kernel's log, all of it: "LOG microseconds words".
static int showLog(void) {
    static char record[8192];
    // O_NONBLOCK: the end is not waited for. A read gives one record, "level,number,microseconds,flags;words".
    long file = mini_syscall(OPEN, (long)"/dev/kmsg", 04000, 0, 0, 0, 0), count;
    while ((count = mini_syscall(READ, file, (long)record, sizeof record - 1, 0, 0, 0)) > 0) {
        char *from = record;
        record[count] = 0;
        for (int commas = 0; commas < 2 && *from;) commas += *from++ == ',';
        text("LOG ");
        for (; *from && *from != ','; from++) line[length++] = *from;
        while (*from && *from != ';') from++;
        text(" ");
        for (from += *from == ';'; *from && *from != '\n' && length < 4096; from++) line[length++] = *from;
        put();
    }
    return file < 0;
}

// Children that end, of process 1 and not of whoever started them.
static void orphans(long count) {
    if (mini_syscall(FORK, 0, 0, 0, 0, 0, 0)) return;
    for (long i = 0; i < count; i++)
        if (!mini_syscall(FORK, 0, 0, 0, 0, 0, 0)) {
            sleep(i % 50);
            mini_syscall(EXIT, i % 3, 0, 0, 0, 0, 0);
        }
    mini_syscall(EXIT, 0, 0, 0, 0, 0, 0);
}

// How many processes there are that process 1 is the parent of, and how many of them are dead.
static void children(long *all, long *dead) {
    static char entries[32768], stat[512], path[64];
    long directory = mini_syscall(OPEN, (long)"/proc", 0, 0, 0, 0, 0), count;
    *all = *dead = 0;
    while ((count = mini_syscall(GETDENTS64, directory, (long)entries, sizeof entries, 0, 0, 0)) > 0)
        for (long at = 0; at < count; at += *(mini_u16 *)(entries + at + 16)) {
            const char *name = entries + at + 19;
            if (*name < '0' || *name > '9') continue;
            char *end = path;
            for (const char *p = "/proc/"; *p;) *end++ = *p++;
            while (*name) *end++ = *name++;
            for (const char *p = "/stat"; *p;) *end++ = *p++;
            *end = 0;
            if (load(path, stat, sizeof stat) < 0) continue;
            char *state = stat;
            while (*state && *state != ')') state++;
            if (!*state || number(state + 4) != 1) continue;
            *all += 1;
            *dead += state[2] == 'Z';
        }
    mini_syscall(CLOSE, directory, 0, 0, 0, 0, 0);
}

// Waits until process 1 has taken away every child but the caller and `others`.
static int reaped(long others) {
    long all = 0, dead = 0;
    for (int try = 0; try < 6000; try++) {
        children(&all, &dead);
        if (all == 1 + others && !dead) {
            text("reaped");
            put();
            return 0;
        }
        sleep(50);
    }
    text("children left: ");
    decimal(all);
    text(" dead: ");
    decimal(dead);
    put();
    return 1;
}

// As process 1, for the bench: tells the kernel's log that it runs. The first time and the third it then becomes
// /init, the second time itself again; the fourth time it shows the log and is the end of the machine.
static int started(void) {
    long log = mini_syscall(OPEN, (long)"/dev/kmsg", 1, 0, 0, 0, 0), turn = 1;
    mini_syscall(WRITE, log, (long)"STATEMENT of a C program\n", 25, 0, 0, 0);
    static char folder[] = "/turn1";
    for (; mini_syscall(MKDIR, (long)folder, 0700, 0, 0, 0, 0); folder[5]++) turn++;
    static char *again[] = {"/first", "started", 0}, *init[] = {"/init", 0}, *none[] = {0};
    if (turn < 4) {
        char **next = turn == 2 ? again : init;
        return mini_syscall(EXECVE, (long)next[0], (long)next, (long)none, 0, 0, 0);
    }
    showLog();
    return mini_syscall(REBOOT, 0xFEE1DEAD, 672274793, 0x4321FEDC, 0, 0, 0);
}

static void ignoreTerminate(void) {
    // Held back for good is as good as ignored.
    mini_u64 mask = 1ULL << 14;
    mini_syscall(SIGMASK, 0, (long)&mask, 0, 8, 0, 0);
}

// Makes a file of so many MiB that has no byte yet.
static int sparse(const char *path, long mebibytes) {
    long file = mini_syscall(OPEN, (long)path, 0101, 0600, 0, 0, 0);
    return mini_syscall(FTRUNCATE, file, mebibytes << 20, 0, 0, 0, 0) != 0;
}

// Makes a root of a folder: this program as /sbin/init, and places for what moves along.
static int populate(const char *root) {
    static const char *folders[] = {"/dev", "/proc", "/sys", "/run", "/sbin", 0};
    static char path[256], buffer[65536];
    for (const char **folder = folders; ; folder++) {
        char *end = path;
        for (const char *p = root; *p;) *end++ = *p++;
        for (const char *p = *folder ? *folder : "/sbin/init"; *p;) *end++ = *p++;
        *end = 0;
        if (!*folder) break;
        mini_syscall(MKDIR, (long)path, 0755, 0, 0, 0, 0);
    }
    long from = mini_syscall(OPEN, (long)"/proc/self/exe", 0, 0, 0, 0, 0), count, total = 0;
    long to = mini_syscall(OPEN, (long)path, 0101, 0755, 0, 0, 0);
    while ((count = mini_syscall(READ, from, (long)buffer, sizeof buffer, 0, 0, 0)) > 0)
        total += mini_syscall(WRITE, to, (long)buffer, count, 0, 0, 0);
    mini_syscall(CLOSE, to, 0, 0, 0, 0, 0);
    return total <= 0;
}

// The init of the root that was switched to: says what it finds, and is the end of the machine.
static int newRoot(void) {
    text("process ");
    decimal(mini_syscall(GETPID, 0, 0, 0, 0, 0, 0));
    text(" on a new root");
    put();
    show("/proc/self/mounts", (char *[]){"none / ", "devtmpfs ", "proc ", "sysfs ", "tmpfs /run", 0});
    show("/proc/meminfo", (char *[]){"MemFree:", 0});
    show("/proc/self/status", (char *[]){"SigBlk:", "SigIgn:", 0});
    return mini_syscall(REBOOT, 0xFEE1DEAD, 672274793, 0x4321FEDC, 0, 0, 0);
}

static int is(const char *word, const char *other) {
    while (*word && *word == *other) word++, other++;
    return *word == *other;
}

int main(int count, char **words) {
    const char *verb = count > 1 ? words[1] : "", *first = count > 2 ? words[2] : "";
    if (is(verb, "say")) {
        for (int i = 2; i < count; i++) text(words[i]), text(i + 1 < count ? " " : "");
        put();
        return 0;
    }
    if (is(verb, "show")) return show(first, words + 3);
    if (is(verb, "sparse")) return sparse(first, number(words[3]));
    if (is(verb, "populate")) return populate(first);
    if (is(verb, "new-root")) return newRoot();
    if (is(verb, "log")) return showLog();
    if (is(verb, "exit")) return number(first);
    if (is(verb, "signal")) mini_syscall(KILL, mini_syscall(GETPID, 0, 0, 0, 0, 0, 0), number(first), 0, 0, 0, 0);
    if (is(verb, "init")) return mini_syscall(KILL, 1, number(first), 0, 0, 0, 0) != 0;
    if (is(verb, "orphans")) return orphans(number(first)), 0;
    if (is(verb, "reaped")) return reaped(number(first));
    if (is(verb, "eat"))
        for (;;) {
            // MAP_POPULATE: until there is nothing left.
            mini_syscall(MMAP, 0, 1 << 20, 3, 0x8022, -1, 0);
        }
    if (is(verb, "started")) return started();
    if (is(verb, "stubborn")) ignoreTerminate();
    for (;;) mini_syscall(PAUSE, 0, 0, 0, 0, 0, 0);
}
