/* The cycles of Tests/xen/bench/main.swift on libxengnttab: grantbench DOMAIN REF,... (32 of them). Each line is a
 * cycle's name and its nanoseconds, the least of twenty runs. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <xengnttab.h>

enum { page = 4096, most = 32 };

static xengnttab_handle *handle;
static uint32_t domain, references[most];
_Alignas(page) static char buffer[most * page];

static void must(int good, const char *what) {
    if (!good) perror(what), exit(1);
}

static void map(unsigned count) {
    volatile char *pages = xengnttab_map_domain_grant_refs(handle, count, domain, references, PROT_READ);
    must(pages != NULL, "map");
    for (unsigned i = 0; i < count; i++) (void)pages[i * page];
    must(xengnttab_unmap(handle, (void *)pages, count) == 0, "unmap");
}

static void copy(unsigned count) {
    xengnttab_grant_copy_segment_t segments[most];
    memset(segments, 0, sizeof segments);
    for (unsigned i = 0; i < count; i++) {
        segments[i].source.foreign.ref = references[i];
        segments[i].source.foreign.domid = (uint16_t)domain;
        segments[i].dest.virt = buffer + i * page;
        segments[i].len = page;
        segments[i].flags = GNTCOPY_source_gref;
    }
    must(xengnttab_grant_copy(handle, count, segments) == 0, "copy");
    for (unsigned i = 0; i < count; i++) must(segments[i].status == 0, "copy of a page");
}

static void measure(const char *name, void (*cycle)(unsigned), unsigned pages, int cycles) {
    long long least = 0;
    for (int run = 0; run < 20; run++) {
        struct timespec start, end;
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (int i = 0; i < cycles; i++) cycle(pages);
        clock_gettime(CLOCK_MONOTONIC, &end);
        long long time = ((end.tv_sec - start.tv_sec) * 1000000000LL + end.tv_nsec - start.tv_nsec) / cycles;
        if (run == 0 || time < least) least = time;
    }
    printf("%s %lld\n", name, least);
}

int main(int count, char **words) {
    if (count != 3) return 2;
    domain = (uint32_t)atoi(words[1]);
    char *word = words[2];
    for (int i = 0; i < most; i++) references[i] = (uint32_t)strtoul(word, &word, 10), word++;
    handle = xengnttab_open(NULL, 0);
    must(handle != NULL, "gntdev");
    memset(buffer, 1, sizeof buffer);
    measure("map1", map, 1, 100);
    measure("map32", map, 32, 50);
    measure("copy1", copy, 1, 500);
    measure("copy32", copy, 32, 100);
    void *pages = xengnttab_map_domain_grant_refs(handle, most, domain, references, PROT_READ);
    must(pages && !memcmp(pages, buffer, sizeof buffer), "the copy has other bytes");
    return 0;
}
