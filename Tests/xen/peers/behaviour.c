/* What the kernel's gntdev, gntalloc and event channels answer, call by call: the behaviour that the grant client
 * and its model in the unit tests rest on, measured again on the kernel at hand. One result a row, as library.sh
 * prints them.
 *   behaviour pv|pvh DOMAIN REF,REF,REF,REF READONLY-REF STRANGER-REF
 * DOMAIN has granted four writable pages, one read-only, and one (STRANGER-REF) to a domain that is not this one. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xengnttab.h>
#include <xen/evtchn.h>
#include <xen/gntalloc.h>
#include <xen/gntdev.h>

enum { page = 4096, read_write = PROT_READ | PROT_WRITE };

static int pv;
static uint32_t domain, writable[4], readonly, stranger;
static const uint32_t unused = 0x3ff0;
static char why[200];

/* A row's statement: EXPRESSION must be VALUE, else the row ends here and says what it was. */
#define WANT(expression, value)                                                                              \
    do {                                                                                                     \
        long is = (long)(expression), must = (long)(value);                                                  \
        if (is != must) {                                                                                    \
            snprintf(why, sizeof why, "line %d: %s is %ld, not %ld", __LINE__, #expression, is, must);       \
            return 0;                                                                                        \
        }                                                                                                    \
    } while (0)

/* --- the calls; each returns 0 or the errno ------------------------------------------------------------- */

static int device(void) { return open("/dev/xen/gntdev", O_RDWR | O_CLOEXEC); }

static uint64_t place; /* the index that the last MAP returned */

static int map_of(int fd, uint32_t owner, const uint32_t *references, uint32_t count) {
    static struct {
        struct ioctl_gntdev_map_grant_ref head;
        struct ioctl_gntdev_grant_ref more[3];
    } request;
    memset(&request, 0, sizeof request);
    request.head.count = count;
    struct ioctl_gntdev_grant_ref *list = request.head.refs;
    for (uint32_t i = 0; i < count && i < 4; i++) list[i] = (struct ioctl_gntdev_grant_ref){owner, references[i]};
    if (ioctl(fd, IOCTL_GNTDEV_MAP_GRANT_REF, &request)) return errno;
    place = request.head.index;
    return 0;
}
static int map(int fd, const uint32_t *references, uint32_t count) { return map_of(fd, domain, references, count); }

static int unmap(int fd, uint64_t index, uint32_t count) {
    struct ioctl_gntdev_unmap_grant_ref request = {.index = index, .count = count};
    return ioctl(fd, IOCTL_GNTDEV_UNMAP_GRANT_REF, &request) ? errno : 0;
}

static char *memory; /* what the last mmap returned, until drop() */
static size_t size;

static int pages(int fd, uint64_t index, uint32_t count, int protection, int flags) {
    void *result = mmap(NULL, (size_t)count * page, protection, flags, fd, (off_t)index);
    if (result == MAP_FAILED) return errno;
    memory = result, size = (size_t)count * page;
    return 0;
}
static void drop(void) {
    munmap(memory, size);
    memory = NULL;
}
static int shared(int fd, uint64_t index, uint32_t count) { return pages(fd, index, count, read_write, MAP_SHARED); }

static int notify(int fd, uint64_t index, uint32_t action, uint32_t port) {
    struct ioctl_gntdev_unmap_notify request = {.index = index, .action = action, .event_channel_port = port};
    return ioctl(fd, IOCTL_GNTDEV_SET_UNMAP_NOTIFY, &request) ? errno : 0;
}

static int offset_of(int fd, const char *address, uint64_t *index, uint32_t *count) {
    struct ioctl_gntdev_get_offset_for_vaddr request = {.vaddr = (uintptr_t)address};
    if (ioctl(fd, IOCTL_GNTDEV_GET_OFFSET_FOR_VADDR, &request)) return errno;
    *index = request.offset, *count = request.count;
    return 0;
}

/* GRANT_COPY of `length` bytes at `offset` of a grant into (or, reversed, out of) a local buffer: the status. */
static char local[2 * page];
static int copy(uint32_t owner, uint32_t reference, uint16_t offset, uint16_t length, int reversed) {
    struct gntdev_grant_copy_segment segment = {.len = length};
    __typeof__(&segment.source) foreign = reversed ? (void *)&segment.dest : &segment.source;
    __typeof__(&segment.source) buffer = reversed ? &segment.source : (void *)&segment.dest;
    foreign->foreign.ref = reference, foreign->foreign.offset = offset, foreign->foreign.domid = (domid_t)owner;
    buffer->virt = local;
    segment.flags = reversed ? GNTCOPY_dest_gref : GNTCOPY_source_gref;
    struct ioctl_gntdev_grant_copy request = {.count = 1, .segments = &segment};
    int fd = device(), result = ioctl(fd, IOCTL_GNTDEV_GRANT_COPY, &request), error = errno;
    close(fd);
    return result ? error : segment.status;
}
/* A byte of a grant as its owner sees it now, without mapping it. */
static int byte_of(uint32_t reference, uint16_t offset) {
    return copy(domain, reference, offset, 1, 0) ? -1 : (unsigned char)local[0];
}

/* --- a touch that may end in a signal: 0 or the signal ----------------------------------------------------- */

static sigjmp_buf away;
static void caught(int number) { siglongjmp(away, number); }
static int touch(volatile char *address) {
    int number = sigsetjmp(away, 1);
    if (number == 0) (void)*address;
    return number;
}
/* The same in a child of fork. */
static int child_touch(volatile char *address) {
    pid_t child = fork();
    if (child == 0) _exit(touch(address));
    int status;
    waitpid(child, &status, 0);
    return WEXITSTATUS(status);
}

/* --- events: an event channel of this domain to itself ------------------------------------------------------ */

static int events, near, far; /* what is sent at `far` is read at `near` */

/* 1 if `near` got an event; waits at most `milliseconds`. */
static int event(int milliseconds) {
    struct pollfd poller = {events, POLLIN, 0};
    int seen = 0;
    while (poll(&poller, 1, milliseconds) == 1) {
        uint32_t port;
        if (read(events, &port, 4) != 4 || write(events, &port, 4) != 4) break;
        if ((int)port == near) seen = 1;
        milliseconds = 0;
    }
    return seen;
}

static void open_events(void) {
    events = open("/dev/xen/evtchn", O_RDWR | O_CLOEXEC);
    struct ioctl_evtchn_bind_unbound_port unbound = {DOMID_SELF};
    near = ioctl(events, IOCTL_EVTCHN_BIND_UNBOUND_PORT, &unbound);
    struct ioctl_evtchn_bind_interdomain bound = {DOMID_SELF, (unsigned)near};
    far = ioctl(events, IOCTL_EVTCHN_BIND_INTERDOMAIN, &bound);
    if (near <= 0 || far <= 0) perror("evtchn"), exit(1);
    event(100);
}

/* --- the rows: 1, or 0 and `why`; each gets a device of its own ---------------------------------------------- */

static int indices(int fd) {
    WANT(map(fd, writable, 1), 0);
    WANT(place, 0);
    WANT(map(fd, writable, 2), 0);
    WANT(place, 1 * page);
    WANT(map(fd, writable, 1), 0);
    WANT(place, 3 * page);
    WANT(unmap(fd, page, 2), 0);
    WANT(map(fd, writable, 1), 0);
    WANT(place, page);
    return 1;
}
static int counts(int fd) {
    WANT(map(fd, writable, 0), EINVAL);
    WANT(map(fd, writable, 65537), EINVAL);
    return 1;
}
static int unreadable(int fd) {
    WANT(ioctl(fd, IOCTL_GNTDEV_MAP_GRANT_REF, (void *)16) ? errno : 0, EFAULT);
    return 1;
}
static int bad_references(int fd) {
    WANT(map(fd, &unused, 1), 0);
    WANT(shared(fd, place, 1), EINVAL);
    WANT(map(fd, &stranger, 1), 0);
    WANT(shared(fd, place, 1), EINVAL);
    WANT(map_of(fd, 4242, writable, 1), 0);
    WANT(shared(fd, place, 1), EINVAL);
    WANT(map_of(fd, DOMID_SELF, writable, 1), 0);
    WANT(shared(fd, place, 1), EINVAL);
    return 1;
}
static int copy_tells(int fd) {
    (void)fd;
    WANT(copy(domain, writable[0], 0, page, 0), 0);
    WANT(copy(domain, unused, 0, page, 0), GNTST_bad_gntref);
    WANT(copy(4242, writable[0], 0, page, 0), GNTST_bad_domain);
    WANT(copy(domain, stranger, 0, page, 0), GNTST_general_error);
    WANT(copy(domain, readonly, 0, page, 1), GNTST_general_error);
    return 1;
}
static int truncation(int fd) {
    WANT(map_of(fd, 0x10000 | domain, writable, 1), 0);
    WANT(shared(fd, place, 1), 0);
    return 1;
}
static int wrong_mmap(int fd) {
    WANT(map(fd, writable, 2), 0);
    WANT(shared(fd, 7 * page, 2), EINVAL);
    WANT(shared(fd, place, 3), EINVAL);
    WANT(shared(fd, place, 1), EINVAL);
    WANT(shared(fd, place + page, 1), EINVAL);
    return 1;
}
static int second_mmap(int fd) {
    WANT(map(fd, writable, 1), 0);
    WANT(shared(fd, place, 1), 0);
    WANT(shared(fd, place, 1), EINVAL);
    drop();
    WANT(shared(fd, place, 1), EINVAL);
    return 1;
}
static int after_failure(int fd) {
    WANT(map(fd, &readonly, 1), 0);
    WANT(shared(fd, place, 1), EINVAL);
    WANT(pages(fd, place, 1, PROT_READ, MAP_SHARED), EINVAL);
    WANT(unmap(fd, place, 1), 0);
    WANT(map(fd, &readonly, 1), 0);
    WANT(pages(fd, place, 1, PROT_READ, MAP_SHARED), 0);
    return 1;
}
static int private_mmap(int fd) {
    WANT(map(fd, writable, 1), 0);
    WANT(pages(fd, place, 1, read_write, MAP_PRIVATE), EINVAL);
    WANT(pages(fd, place, 1, PROT_READ, MAP_PRIVATE), 0);
    WANT(touch(memory), 0);
    return 1;
}
static int readonly_grant(int fd) {
    WANT(map(fd, &readonly, 1), 0);
    WANT(shared(fd, place, 1), EINVAL);
    return 1;
}
static int one_bad(int fd) {
    uint32_t references[3] = {writable[0], unused, writable[1]};
    WANT(map(fd, references, 3), 0);
    WANT(shared(fd, place, 3), EINVAL);
    return 1;
}
static int readonly_descriptor(int fd) {
    (void)fd;
    int other = open("/dev/xen/gntdev", O_RDONLY | O_CLOEXEC);
    int mapped = map(other, writable, 1), refused = shared(other, place, 1);
    int readable = pages(other, place, 1, PROT_READ, MAP_SHARED);
    close(other);
    WANT(mapped, 0);
    WANT(refused, EACCES);
    WANT(readable, 0);
    drop();
    return 1;
}
static int wrong_unmap(int fd) {
    WANT(map(fd, writable, 2), 0);
    WANT(unmap(fd, 9 * page, 2), ENOENT);
    WANT(unmap(fd, 0, 1), ENOENT);
    WANT(unmap(fd, 0, 2), 0);
    WANT(unmap(fd, 0, 2), ENOENT);
    return 1;
}
static int unmap_any(int fd) {
    WANT(map(fd, writable, 2), 0);
    WANT(unmap(fd, 0, 0), 0);
    WANT(unmap(fd, 0, 2), ENOENT);
    return 1;
}
static int unmap_mapped(int fd) {
    WANT(map(fd, writable, 1), 0);
    WANT(shared(fd, place, 1), 0);
    WANT(unmap(fd, place, 1), 0);
    WANT(touch(memory), 0);
    memory[5] = 77;
    WANT(byte_of(writable[0], 5), 77);
    drop();
    return 1;
}
static int offsets(int fd) {
    uint64_t index;
    uint32_t count;
    WANT(map(fd, writable, 1), 0);
    WANT(map(fd, writable, 3), 0);
    WANT(shared(fd, place, 3), 0);
    WANT(offset_of(fd, memory, &index, &count), 0);
    WANT(index, page);
    WANT(count, 3);
    WANT(offset_of(fd, memory + page + 5, &index, &count), 0);
    WANT(index, page);
    WANT(count, 3);
    WANT(offset_of(fd, local, &index, &count), EINVAL);
    return 1;
}
static int closed(int fd) {
    (void)fd;
    int other = device();
    int mapped = map(other, writable, 1), got = shared(other, place, 1);
    close(other);
    WANT(mapped, 0);
    WANT(got, 0);
    WANT(touch(memory), 0);
    drop();
    return 1;
}
static int wrong_notify(int fd) {
    WANT(notify(fd, 0, UNMAP_NOTIFY_CLEAR_BYTE, 0), ENOENT);
    WANT(map(fd, writable, 1), 0);
    WANT(shared(fd, place, 1), 0);
    WANT(notify(fd, place + page, UNMAP_NOTIFY_CLEAR_BYTE, 0), ENOENT);
    WANT(notify(fd, place, 8, 0), EINVAL);
    WANT(notify(fd, place, UNMAP_NOTIFY_SEND_EVENT, 1000), EINVAL);
    drop();
    WANT(map(fd, &readonly, 1), 0);
    WANT(pages(fd, place, 1, PROT_READ, MAP_SHARED), 0);
    WANT(notify(fd, place, UNMAP_NOTIFY_CLEAR_BYTE, 0), EINVAL);
    return 1;
}
static int event_at_unmap(int fd) {
    WANT(map(fd, writable, 1), 0);
    WANT(shared(fd, place, 1), 0);
    WANT(notify(fd, place, UNMAP_NOTIFY_SEND_EVENT, (uint32_t)far), 0);
    drop();
    WANT(event(300), 0);
    WANT(unmap(fd, place, 1), 0);
    WANT(event(60000), 1);
    return 1;
}
static int event_at_close(int fd) {
    (void)fd;
    int other = device();
    int mapped = map(other, writable, 1), got = shared(other, place, 1);
    int armed = notify(other, place, UNMAP_NOTIFY_SEND_EVENT, (uint32_t)far);
    drop();
    int early = event(300);
    close(other);
    WANT(mapped, 0);
    WANT(got, 0);
    WANT(armed, 0);
    WANT(early, 0);
    WANT(event(60000), 1);
    return 1;
}
static int event_at_kill(int fd) {
    (void)fd;
    int ready[2];
    char answer = 0;
    WANT(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        int other = device();
        if (map(other, writable, 1) || shared(other, place, 1)) _exit(1);
        memory[9] = 99;
        if (notify(other, place + 9, UNMAP_NOTIFY_SEND_EVENT | UNMAP_NOTIFY_CLEAR_BYTE, (uint32_t)far)) _exit(1);
        if (write(ready[1], "+", 1) == 1) pause();
        _exit(1);
    }
    close(ready[1]);
    ssize_t got = read(ready[0], &answer, 1);
    close(ready[0]);
    int before = byte_of(writable[0], 9), early = event(300);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    WANT(got, 1);
    WANT(before, 99);
    WANT(early, 0);
    WANT(event(60000), 1);
    WANT(byte_of(writable[0], 9), 0);
    return 1;
}
static int missing_calls(int fd) {
    static uint64_t any[8];
    WANT(ioctl(fd, IOCTL_GNTDEV_SET_MAX_GRANTS, any) ? errno : 0, ENOTTY);
    WANT(ioctl(fd, IOCTL_GNTDEV_DMABUF_EXP_FROM_REFS, any) ? errno : 0, ENOTTY);
    WANT(ioctl(fd, IOCTL_GNTDEV_DMABUF_EXP_WAIT_RELEASED, any) ? errno : 0, ENOTTY);
    WANT(ioctl(fd, IOCTL_GNTDEV_DMABUF_IMP_TO_REFS, any) ? errno : 0, ENOTTY);
    WANT(ioctl(fd, IOCTL_GNTDEV_DMABUF_IMP_RELEASE, any) ? errno : 0, ENOTTY);
    return 1;
}
static int copy_nowhere(int fd) {
    struct gntdev_grant_copy_segment segment = {.len = 16, .flags = GNTCOPY_source_gref};
    segment.source.foreign.ref = writable[0], segment.source.foreign.domid = (domid_t)domain;
    segment.dest.virt = (void *)16;
    struct ioctl_gntdev_grant_copy request = {.count = 1, .segments = &segment};
    WANT(ioctl(fd, IOCTL_GNTDEV_GRANT_COPY, &request) ? errno : 0, EFAULT);
    return 1;
}
static int copy_limits(int fd) {
    struct gntdev_grant_copy_segment segment = {.len = 16};
    segment.source.virt = local, segment.dest.virt = local + page;
    struct ioctl_gntdev_grant_copy request = {.count = 1, .segments = &segment};
    WANT(ioctl(fd, IOCTL_GNTDEV_GRANT_COPY, &request) ? errno : 0, EINVAL);
    WANT(copy(domain, writable[0], page - 8, 16, 0), EINVAL);
    WANT(copy(domain, writable[0], page - 16, 16, 0), 0);
    return 1;
}

/* gntalloc: allocations are granted to domain 0 and never used. */
static int allocate(int fd, uint32_t count, uint64_t *index) {
    struct ioctl_gntalloc_alloc_gref *request = calloc(1, sizeof *request + 4 * (size_t)count);
    request->flags = GNTALLOC_FLAG_WRITABLE, request->count = count;
    int error = ioctl(fd, IOCTL_GNTALLOC_ALLOC_GREF, request) ? errno : 0;
    *index = request->index;
    free(request);
    return error;
}
static int deallocate(int fd, uint64_t index, uint32_t count) {
    struct ioctl_gntalloc_dealloc_gref request = {.index = index, .count = count};
    return ioctl(fd, IOCTL_GNTALLOC_DEALLOC_GREF, &request) ? errno : 0;
}
static int allocation_limit(int unused_device) {
    (void)unused_device;
    uint64_t index;
    int fd = open("/dev/xen/gntalloc", O_RDWR | O_CLOEXEC), error = allocate(fd, 1025, &index);
    close(fd);
    WANT(error, ENOSPC);
    return 1;
}
static int allocation_errors(int unused_device) {
    (void)unused_device;
    uint64_t index;
    int fd = open("/dev/xen/gntalloc", O_RDWR | O_CLOEXEC), got = allocate(fd, 2, &index);
    int as_private = pages(fd, index, 2, PROT_READ, MAP_PRIVATE), elsewhere = shared(fd, index + 64 * page, 1);
    int first = deallocate(fd, index, 2), second = deallocate(fd, index, 2);
    close(fd);
    WANT(got, 0);
    WANT(as_private, EINVAL);
    WANT(elsewhere, ENOENT);
    WANT(first, 0);
    WANT(second, EINVAL);
    return 1;
}

/* What PV and PVH do not do alike. */
static int protected_later(int fd) {
    WANT(map(fd, writable, 1), 0);
    WANT(shared(fd, place, 1), 0);
    WANT(mprotect(memory, page, PROT_READ), 0);
    WANT(touch(memory), pv ? SIGBUS : 0);
    return 1;
}
static int mapped_without_access(int fd) {
    WANT(map(fd, writable, 1), 0);
    WANT(pages(fd, place, 1, PROT_NONE, MAP_SHARED), 0);
    WANT(touch(memory), pv ? 0 : SIGSEGV);
    return 1;
}
static int forked(int fd) {
    WANT(map(fd, writable, 1), 0);
    WANT(shared(fd, place, 1), 0);
    WANT(child_touch(memory), pv ? SIGSEGV : 0);
    return 1;
}
static int moved(int fd) {
    WANT(map(fd, writable, 1), 0);
    WANT(shared(fd, place, 1), 0);
    char *room = mmap(NULL, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *after = mremap(memory, page, page, MREMAP_MAYMOVE | MREMAP_FIXED, room);
    WANT(after == room, 1);
    memory = after;
    WANT(touch(memory), pv ? SIGBUS : 0);
    return 1;
}
static int byte_cleared(int fd) {
    WANT(map(fd, writable, 1), 0);
    WANT(shared(fd, place, 1), 0);
    memory[3] = 55;
    WANT(notify(fd, place + 3, UNMAP_NOTIFY_CLEAR_BYTE, 0), 0);
    drop();
    WANT(byte_of(writable[0], 3), pv ? 0 : 55);
    WANT(unmap(fd, place, 1), 0);
    WANT(byte_of(writable[0], 3), 0);
    return 1;
}
static int not_needed(int fd) {
    WANT(map(fd, writable, 1), 0);
    WANT(shared(fd, place, 1), 0);
    WANT(madvise(memory, page, MADV_DONTNEED), 0);
    WANT(touch(memory), SIGBUS);
    return 1;
}

static const struct {
    const char *name;
    int (*row)(int fd);
} rows[] = {
    {"MAP: indices first-fit, and used again", indices},
    {"MAP of none or of more than 65536: EINVAL", counts},
    {"MAP, argument unreadable: EFAULT", unreadable},
    {"a bad reference or domain: MAP succeeds, mmap EINVAL", bad_references},
    {"GRANT_COPY tells a bad reference, a bad domain, no permission", copy_tells},
    {"MAP cuts a domain off to 16 bits", truncation},
    {"mmap of an unknown index, another count, a part: EINVAL", wrong_mmap},
    {"a second mmap of an index: EINVAL, after munmap too", second_mmap},
    {"mmap after a failed mmap: EINVAL until UNMAP and MAP", after_failure},
    {"private mmap: writable EINVAL, read-only works", private_mmap},
    {"writable mmap of a read-only grant: EINVAL", readonly_grant},
    {"one bad reference among three: EINVAL", one_bad},
    {"read-only descriptor: writable mmap EACCES", readonly_descriptor},
    {"UNMAP, wrong index or count, or twice: ENOENT", wrong_unmap},
    {"UNMAP with count 0 matches any", unmap_any},
    {"UNMAP while mapped: the pages stay", unmap_mapped},
    {"GET_OFFSET_FOR_VADDR in the middle; elsewhere EINVAL", offsets},
    {"close while mapped: the mapping stays", closed},
    {"NOTIFY: ENOENT and EINVAL", wrong_notify},
    {"SEND_EVENT fires at UNMAP, not at munmap", event_at_unmap},
    {"SEND_EVENT fires at close", event_at_close},
    {"SEND_EVENT and CLEAR_BYTE after SIGKILL", event_at_kill},
    {"SET_MAX_GRANTS and DMABUF calls: ENOTTY", missing_calls},
    {"GRANT_COPY local to local, or across a page's end: EINVAL", copy_limits},
    {"GRANT_COPY to where there is no memory: EFAULT", copy_nowhere},
    {"gntalloc beyond 1024 pages: ENOSPC", allocation_limit},
    {"gntalloc: private EINVAL, bad index ENOENT, freed twice EINVAL", allocation_errors},
    {"mprotect after mmap", protected_later},
    {"mmap PROT_NONE", mapped_without_access},
    {"the child of a fork", forked},
    {"mremap", moved},
    {"when CLEAR_BYTE takes effect", byte_cleared},
    {"MADV_DONTNEED: SIGBUS", not_needed},
};

int main(int count, char **words) {
    if (count != 6) return fputs("usage: see the head of behaviour.c\n", stderr), 2;
    pv = !strcmp(words[1], "pv");
    domain = (uint32_t)atoi(words[2]);
    char *word = words[3];
    for (int i = 0; i < 4; i++) writable[i] = (uint32_t)strtoul(word, &word, 10), word++;
    readonly = (uint32_t)atoi(words[4]), stranger = (uint32_t)atoi(words[5]);
    signal(SIGSEGV, caught);
    signal(SIGBUS, caught);
    open_events();
    int bad = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int fd = device();
        if (fd < 0) return perror("/dev/xen/gntdev"), 1;
        memory = NULL;
        if (rows[i].row(fd)) {
            printf("PASS %s kernel: %s\n", words[1], rows[i].name);
        } else {
            printf("FAIL %s kernel: %s: %s\n", words[1], rows[i].name, why);
            bad = 1;
        }
        if (memory) drop();
        close(fd);
        fflush(stdout);
    }
    return bad;
}
