/* The other side of a vchan, on Debian's libxenvchan, for the tests, and checked data for both sides.
 *   vchan make BYTES                       writes that many bytes of a known sequence to standard output
 *   vchan check BYTES                      reads standard input to its end: exactly these bytes? prints them and MB/s
 *   vchan server|client DOMAIN PATH send BYTES     sends the sequence and closes
 *   vchan server|client DOMAIN PATH receive BYTES  receives until the other side closes, and checks
 *   vchan server|client DOMAIN PATH answer BYTES   receives and checks so many, then sends as many, then waits for the end
 *   vchan server|client DOMAIN PATH relay          standard input into the vchan, the vchan to standard output
 * A client tries again for five minutes while there is no server. */
#include <errno.h>
#include <libxenvchan.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { chunk = 65536, ring = 65536 };

static void check(int good, const char *what) {
    if (!good) fprintf(stderr, "vchan: %s: %s\n", what, strerror(errno)), exit(1);
}

/* --- the sequence: 64-bit words of a multiplicative generator, so that no two places look alike --------------- */

struct sequence {
    uint64_t state, done;
};

static void step(struct sequence *sequence) {
    sequence->state = sequence->state * 6364136223846793005u + 1442695040888963407u;
}

/* The next `size` bytes; `done` may stand inside a word. */
static void next(struct sequence *sequence, unsigned char *bytes, size_t size) {
    unsigned char *end = bytes + size;
    unsigned inside = sequence->done % 8;
    sequence->done += size;
    for (; inside > 0 && inside < 8 && bytes < end; inside++) *bytes++ = (unsigned char)(sequence->state >> 8 * inside);
    for (; end - bytes >= 8; bytes += 8) {
        step(sequence);
        memcpy(bytes, &sequence->state, 8);
    }
    if (bytes == end) return;
    step(sequence);
    memcpy(bytes, &sequence->state, (size_t)(end - bytes));
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static unsigned char data[chunk], wanted[chunk];

/* What arrives, compared with the sequence; prints the result and returns the exit code. */
struct arrival {
    struct sequence sequence;
    double since;
    uint64_t wrong;
};
static void arrived(struct arrival *arrival, size_t size) {
    if (arrival->sequence.done == 0) arrival->since = now();
    uint64_t place = arrival->sequence.done;
    next(&arrival->sequence, wanted, size);
    if (!arrival->wrong && memcmp(data, wanted, size)) arrival->wrong = place + 1;
}
static int verdict(const struct arrival *arrival, uint64_t bytes) {
    double seconds = now() - arrival->since;
    if (arrival->wrong) return printf("wrong bytes at or after %llu\n", (unsigned long long)arrival->wrong - 1), 1;
    if (arrival->sequence.done != bytes)
        return printf("%llu bytes, not %llu\n", (unsigned long long)arrival->sequence.done, (unsigned long long)bytes), 1;
    return printf("%llu bytes, %.1f MB/s\n", (unsigned long long)bytes, (double)bytes / seconds / 1e6), 0;
}

/* --- standard input and output ------------------------------------------------------------------------------- */

static void put(const unsigned char *bytes, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t part = write(1, bytes + done, size - done);
        check(part > 0, "standard output");
        done += (size_t)part;
    }
}

static int make(uint64_t bytes) {
    struct sequence sequence = {0};
    while (sequence.done < bytes) {
        size_t size = bytes - sequence.done < chunk ? (size_t)(bytes - sequence.done) : chunk;
        next(&sequence, data, size);
        put(data, size);
    }
    return 0;
}

static int check_input(uint64_t bytes) {
    struct arrival arrival = {0};
    ssize_t size;
    while ((size = read(0, data, chunk)) > 0) arrived(&arrival, (size_t)size);
    return verdict(&arrival, bytes);
}

/* --- the vchan ---------------------------------------------------------------------------------------------------- */

static struct libxenvchan *open_vchan(int is_server, int domain, const char *path) {
    struct libxenvchan *vchan = NULL;
    if (is_server) vchan = libxenvchan_server_init(NULL, domain, path, ring, ring);
    for (int tries = 0; !is_server && !vchan && tries < 6000; tries++) {
        vchan = libxenvchan_client_init(NULL, domain, path);
        if (!vchan) usleep(50000);
    }
    check(vchan != NULL, path);
    vchan->blocking = -1; /* a field of one bit */
    /* A server waits for its client: 2 is "not yet". */
    while (is_server && libxenvchan_is_open(vchan) == 2) libxenvchan_wait(vchan);
    return vchan;
}

static int send_all(struct libxenvchan *vchan, uint64_t bytes) {
    struct sequence sequence = {0};
    while (sequence.done < bytes) {
        size_t size = bytes - sequence.done < chunk ? (size_t)(bytes - sequence.done) : chunk;
        next(&sequence, data, size);
        for (size_t done = 0; done < size;) {
            int part = libxenvchan_write(vchan, data + done, size - done);
            check(part > 0, "write");
            done += (size_t)part;
        }
    }
    libxenvchan_close(vchan);
    return 0;
}

static int receive_all(struct libxenvchan *vchan, uint64_t bytes) {
    struct arrival arrival = {0};
    int size;
    while ((size = libxenvchan_read(vchan, data, chunk)) > 0) arrived(&arrival, (size_t)size);
    return verdict(&arrival, bytes);
}

/* What a server of questions does: it cannot be told that a question has ended, but by its length. */
static int answer(struct libxenvchan *vchan, uint64_t bytes) {
    struct arrival arrival = {0};
    struct sequence sequence = {0};
    int size;
    while (arrival.sequence.done < bytes && (size = libxenvchan_read(vchan, data, chunk)) > 0) arrived(&arrival, (size_t)size);
    while (sequence.done < bytes) {
        size_t part = bytes - sequence.done < chunk ? (size_t)(bytes - sequence.done) : chunk;
        next(&sequence, data, part);
        for (size_t done = 0; done < part;) {
            int sent = libxenvchan_write(vchan, data + done, part - done);
            check(sent > 0, "write");
            done += (size_t)sent;
        }
    }
    while (libxenvchan_is_open(vchan) == 1) libxenvchan_wait(vchan);
    return verdict(&arrival, bytes);
}

/* Ends when the vchan is closed by the other side, or standard input is at its end. */
static int relay(struct libxenvchan *vchan) {
    vchan->blocking = 0;
    int input_open = 1;
    for (;;) {
        int size;
        while ((size = libxenvchan_read(vchan, data, chunk)) > 0) put(data, (size_t)size);
        if (libxenvchan_is_open(vchan) != 1 && libxenvchan_data_ready(vchan) == 0) return 0;
        if (!input_open) return libxenvchan_close(vchan), 0;
        struct pollfd pollers[2] = {{libxenvchan_fd_for_select(vchan), POLLIN, 0}, {0, POLLIN, 0}};
        poll(pollers, 2, -1);
        if (pollers[0].revents) libxenvchan_wait(vchan);
        if (!pollers[1].revents) continue;
        ssize_t got = read(0, data, chunk);
        input_open = got > 0;
        vchan->blocking = -1; /* a field of one bit */
        for (ssize_t done = 0; done < got;) {
            int part = libxenvchan_write(vchan, data + done, (size_t)(got - done));
            check(part > 0, "write");
            done += part;
        }
        vchan->blocking = 0;
    }
}

int main(int count, char **words) {
    if (count == 3 && !strcmp(words[1], "make")) return make(strtoull(words[2], NULL, 10));
    if (count == 3 && !strcmp(words[1], "check")) return check_input(strtoull(words[2], NULL, 10));
    if (count < 5) return fputs("usage: see the head of vchan.c\n", stderr), 2;
    struct libxenvchan *vchan = open_vchan(!strcmp(words[1], "server"), atoi(words[2]), words[3]);
    if (!strcmp(words[4], "relay")) return relay(vchan);
    uint64_t bytes = strtoull(words[count - 1], NULL, 10);
    if (!strcmp(words[4], "answer")) return answer(vchan, bytes);
    return strcmp(words[4], "send") ? receive_all(vchan, bytes) : send_all(vchan, bytes);
}
