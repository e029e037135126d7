/* How fast bytes go through a vchan: both ends, and the relay on Debian's libxenvchan that `mini-grant pipe` is
 * measured against. It does what vchan-socket-proxy does, with a buffer as large as the ring in place of 8 KiB.
 *   throughput pour BYTES                  writes so many bytes to standard output
 *   throughput swallow                     reads standard input to its end; prints the bytes and KB/s
 *   throughput server|client DOMAIN PATH RING pour BYTES
 *   throughput server|client DOMAIN PATH RING swallow
 *   throughput server|client DOMAIN PATH RING relay    standard input and output, until the one or the vchan ends
 * KB/s are those from the first bytes that arrive to the end. A client tries for ten seconds. */
#include <errno.h>
#include <fcntl.h>
#include <libxenvchan.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { chunk = 65536 };
static unsigned char data[chunk];

static void check(int good, const char *what) {
    if (!good) fprintf(stderr, "throughput: %s: %s\n", what, strerror(errno)), exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static struct libxenvchan *open_vchan(int is_server, int domain, const char *path, size_t ring) {
    struct libxenvchan *vchan = NULL;
    if (is_server) vchan = libxenvchan_server_init(NULL, domain, path, ring, ring);
    for (int tries = 0; !is_server && !vchan && tries < 1000; tries++) {
        vchan = libxenvchan_client_init(NULL, domain, path);
        if (!vchan) usleep(10000);
    }
    check(vchan != NULL, path);
    vchan->blocking = -1; /* a field of one bit */
    while (is_server && libxenvchan_is_open(vchan) == 2) libxenvchan_wait(vchan);
    return vchan;
}

/* Of standard input or output, or of the vchan. */
static ssize_t get(struct libxenvchan *vchan) {
    return vchan ? libxenvchan_read(vchan, data, chunk) : read(0, data, chunk);
}
static ssize_t put(struct libxenvchan *vchan, size_t size) {
    return vchan ? libxenvchan_write(vchan, data, size) : write(1, data, size);
}

static int pour(struct libxenvchan *vchan, uint64_t bytes) {
    while (bytes > 0) {
        ssize_t part = put(vchan, bytes < chunk ? (size_t)bytes : chunk);
        check(part > 0, "write");
        bytes -= (uint64_t)part;
    }
    if (vchan) libxenvchan_close(vchan);
    return 0;
}

static int swallow(struct libxenvchan *vchan) {
    double since = 0;
    uint64_t first = 0, bytes = 0;
    for (ssize_t part; (part = get(vchan)) > 0; bytes += (uint64_t)part)
        if (!bytes) since = now(), first = (uint64_t)part;
    printf("%llu %.0f\n", (unsigned long long)bytes, (double)(bytes - first) / (now() - since) / 1e3);
    return 0;
}

/* Bytes on their way in one direction. */
struct way {
    unsigned char bytes[chunk];
    size_t start, size;
};

static int relay(struct libxenvchan *vchan) {
    static struct way to, from;
    vchan->blocking = 0;
    fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
    fcntl(1, F_SETFL, fcntl(1, F_GETFL) | O_NONBLOCK);
    for (int is_over = 0;;) {
        /* As much as there is without waiting. */
        for (int moved = 1; moved;) {
            moved = 0;
            if (!to.size && !is_over) {
                ssize_t part = read(0, to.bytes, chunk);
                is_over = part == 0 || (part < 0 && errno != EAGAIN);
                if (part > 0) to.start = 0, to.size = (size_t)part, moved = 1;
            }
            if (to.size) {
                int part = libxenvchan_write(vchan, to.bytes + to.start, to.size);
                if (part < 0) return 0;
                if (part > 0) to.start += (size_t)part, to.size -= (size_t)part, moved = 1;
            }
            if (!from.size && libxenvchan_data_ready(vchan)) {
                int part = libxenvchan_read(vchan, from.bytes, chunk);
                if (part > 0) from.start = 0, from.size = (size_t)part, moved = 1;
            }
            if (from.size) {
                ssize_t part = write(1, from.bytes + from.start, from.size);
                if (part < 0 && errno != EAGAIN) return 0;
                if (part > 0) from.start += (size_t)part, from.size -= (size_t)part, moved = 1;
            }
        }
        if (is_over && !to.size) return libxenvchan_close(vchan), 0;
        if (!from.size && libxenvchan_is_open(vchan) != 1 && !libxenvchan_data_ready(vchan)) return 0;
        struct pollfd pollers[3] = {{libxenvchan_fd_for_select(vchan), POLLIN, 0},
                                    {to.size ? -1 : 0, POLLIN, 0},
                                    {from.size ? 1 : -1, POLLOUT, 0}};
        poll(pollers, 3, -1);
        if (pollers[0].revents) libxenvchan_wait(vchan);
    }
}

int main(int count, char **words) {
    if (count == 3 && !strcmp(words[1], "pour")) return pour(NULL, strtoull(words[2], NULL, 10));
    if (count == 2 && !strcmp(words[1], "swallow")) return swallow(NULL);
    if (count < 6) return fputs("usage: see the head of throughput.c\n", stderr), 2;
    struct libxenvchan *vchan =
        open_vchan(!strcmp(words[1], "server"), atoi(words[2]), words[3], (size_t)atol(words[4]));
    if (!strcmp(words[5], "relay")) return relay(vchan);
    if (!strcmp(words[5], "swallow")) return swallow(vchan);
    return count == 7 ? pour(vchan, strtoull(words[6], NULL, 10)) : 2;
}
