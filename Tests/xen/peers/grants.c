/* The other side of a grant, on Debian's libxengnttab and libxenevtchn, for the tests.
 *   grants share DOMAIN FILE [readonly]   grants FILE's pages; prints their references; holds them until SIGTERM
 *                                         and then writes the pages back to FILE
 *   grants map DOMAIN REF,... FILE        maps the pages and writes them to FILE
 *   grants fill DOMAIN REF,... FILE       maps the pages and fills them from FILE
 *   grants await DOMAIN BYTE SECONDS      grants a page of 0xff and offers an event channel; prints "REF PORT"; then waits
 *                                         for the event, then for the byte to become 0: "event BYTE-VALUE", or "none
 *                                         BYTE-VALUE" when the time is up without an event
 *   grants ring DOMAIN BYTE SECONDS       the same, but waits for the event alone
 *   grants observe DOMAIN BYTE SECONDS FILE  offers an event channel, prints its port; maps the page whose reference
 *                                         comes to stand in FILE, prints "mapped BYTE-VALUE"; then waits as `await`
 *   grants hold DOMAIN REF BYTE PORT      maps a page with both notifications armed, prints "held", then sleeps */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <xenevtchn.h>
#include <xengnttab.h>

enum { page = 4096, most = 4096 };

static void check(int good, const char *what) {
    if (!good) perror(what), exit(1);
}

static uint32_t parse(char *text, uint32_t *references) {
    uint32_t count = 0;
    for (char *word = strtok(text, ","); word && count < most; word = strtok(NULL, ","))
        references[count++] = (uint32_t)strtoul(word, NULL, 0);
    return count;
}

static void transfer(const char *path, char *memory, size_t size, int to_file) {
    int file = open(path, to_file ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY, 0600);
    check(file >= 0, path);
    for (size_t done = 0; done < size;) {
        ssize_t part = to_file ? write(file, memory + done, size - done) : read(file, memory + done, size - done);
        check(part >= 0, path);
        if (part == 0) break;
        done += (size_t)part;
    }
    close(file);
}

static int share(uint32_t domain, const char *path, int writable) {
    static uint32_t references[most];
    int file = open(path, O_RDONLY);
    check(file >= 0, path);
    int count = (int)((lseek(file, 0, SEEK_END) + page - 1) / page);
    close(file);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    xengntshr_handle *handle = xengntshr_open(NULL, 0);
    check(handle != NULL, "gntalloc");
    char *pages = xengntshr_share_pages(handle, domain, count, references, writable);
    check(pages != NULL, "share");
    transfer(path, pages, (size_t)count * page, 0);
    for (int i = 0; i < count; i++) printf("%s%u", i ? "," : "", references[i]);
    printf("\n");
    fflush(stdout);
    int caught;
    sigwait(&set, &caught);
    transfer(path, pages, (size_t)count * page, 1);
    return xengntshr_unshare(handle, pages, (uint32_t)count);
}

static int map(uint32_t domain, char *words, const char *path, int to_file) {
    static uint32_t references[most];
    uint32_t count = parse(words, references);
    xengnttab_handle *handle = xengnttab_open(NULL, 0);
    check(handle != NULL, "gntdev");
    int protection = to_file ? PROT_READ : PROT_READ | PROT_WRITE;
    char *pages = xengnttab_map_domain_grant_refs(handle, count, domain, references, protection);
    check(pages != NULL, "map");
    transfer(path, pages, count * (size_t)page, to_file);
    return xengnttab_unmap(handle, pages, count);
}

/* Waits for an event, and with `cleared` for the byte: on PVH the event comes a moment before the byte is cleared. */
static int report(xenevtchn_handle *events, volatile unsigned char *byte, int seconds, int cleared) {
    struct pollfd poller = {xenevtchn_fd(events), POLLIN, 0};
    time_t end = time(NULL) + seconds;
    int seen = poll(&poller, 1, seconds * 1000) == 1;
    while (seen && cleared && *byte && time(NULL) <= end) usleep(10000);
    printf("%s %d\n", seen ? "event" : "none", *byte);
    return 0;
}

static int await(uint32_t domain, unsigned byte, int seconds, int cleared) {
    uint32_t reference;
    xengntshr_handle *shared = xengntshr_open(NULL, 0);
    xenevtchn_handle *events = xenevtchn_open(NULL, 0);
    check(shared && events, "open");
    volatile unsigned char *memory = xengntshr_share_pages(shared, domain, 1, &reference, 1);
    check(memory != NULL, "share");
    memset((void *)memory, 0xff, page);
    int port = xenevtchn_bind_unbound_port(events, domain);
    check(port > 0, "bind");
    printf("%u %d\n", reference, port);
    fflush(stdout);
    return report(events, memory + byte, seconds, cleared);
}

static int observe(uint32_t domain, unsigned byte, int seconds, const char *path) {
    xengnttab_handle *handle = xengnttab_open(NULL, 0);
    xenevtchn_handle *events = xenevtchn_open(NULL, 0);
    check(handle && events, "open");
    int port = xenevtchn_bind_unbound_port(events, domain);
    check(port > 0, "bind");
    printf("%d\n", port);
    fflush(stdout);
    unsigned reference = 0;
    for (int tries = 0; tries < 20 * seconds && !reference; tries++) {
        FILE *file = fopen(path, "r");
        if (file && fscanf(file, "%u\n", &reference) != 1) reference = 0;
        if (file) fclose(file);
        if (!reference) usleep(50000);
    }
    volatile unsigned char *memory = xengnttab_map_grant_ref(handle, domain, reference, PROT_READ);
    check(memory != NULL, "map");
    printf("mapped %d\n", memory[byte]);
    fflush(stdout);
    return report(events, memory + byte, seconds, 1);
}

static int hold(uint32_t domain, uint32_t reference, uint32_t byte, uint32_t port) {
    xengnttab_handle *handle = xengnttab_open(NULL, 0);
    check(handle != NULL, "gntdev");
    xenevtchn_handle *events = xenevtchn_open(NULL, 0);
    check(events != NULL, "evtchn");
    int own = xenevtchn_bind_interdomain(events, domain, port);
    check(own > 0, "bind");
    void *memory = xengnttab_map_grant_ref_notify(handle, domain, reference, PROT_READ | PROT_WRITE, byte,
                                                  (evtchn_port_t)own);
    check(memory != NULL, "map");
    printf("held\n");
    fflush(stdout);
    pause();
    return 0;
}

int main(int count, char **words) {
    const char *verb = count > 1 ? words[1] : "";
    uint32_t domain = count > 2 ? (uint32_t)atoi(words[2]) : 0;
    if (count >= 4 && !strcmp(verb, "share")) return share(domain, words[3], count < 5);
    if (count == 5 && !strcmp(verb, "map")) return map(domain, words[3], words[4], 1);
    if (count == 5 && !strcmp(verb, "fill")) return map(domain, words[3], words[4], 0);
    if (count == 5 && !strcmp(verb, "await")) return await(domain, (unsigned)atoi(words[3]), atoi(words[4]), 1);
    if (count == 5 && !strcmp(verb, "ring")) return await(domain, (unsigned)atoi(words[3]), atoi(words[4]), 0);
    if (count == 6 && !strcmp(verb, "observe"))
        return observe(domain, (unsigned)atoi(words[3]), atoi(words[4]), words[5]);
    if (count == 6 && !strcmp(verb, "hold"))
        return hold(domain, (uint32_t)atoi(words[3]), (uint32_t)atoi(words[4]), (uint32_t)atoi(words[5]));
    return fputs("usage: see the head of grants.c\n", stderr), 2;
}
