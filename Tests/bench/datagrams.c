// Datagrams to port 7 of a host that sends them back, so many at a time; each has its number
// and a pattern, and is compared when it returns.
//   datagrams ADDRESS COUNT SIZE WINDOW
// prints: datagrams back, damaged, seconds, MB a second in each direction, overtaken by others.
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void fill(unsigned char *data, unsigned size, unsigned number) {
    for (unsigned i = 0; i < size; i++) data[i] = (unsigned char)(i * 7 + number * 13);
    if (size >= sizeof number) memcpy(data, &number, sizeof number);
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    unsigned count = strtoul(argv[2], 0, 0), size = strtoul(argv[3], 0, 0), window = strtoul(argv[4], 0, 0);
    static unsigned char data[65536], wanted[65536];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(7)};
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    if (s < 0 || size > sizeof data || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1 ||
        connect(s, (struct sockaddr *)&to, sizeof to))
        return perror("datagrams"), 1;
    int room = 4 << 20;
    setsockopt(s, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    unsigned sent = 0, back = 0, bad = 0, late = 0, next = 0;
    double start = now();
    while (next < count) {
        while (sent < count && sent - next < window) {
            fill(data, size, sent);
            if (send(s, data, size, 0) != (ssize_t)size) break;
            sent++;
        }
        struct pollfd p = {.fd = s, .events = POLLIN};
        if (poll(&p, 1, 3000) == 0) {
            next = sent;  // the rest of the window is lost
            if (sent == count) break;
            continue;
        }
        ssize_t got = recv(s, data, sizeof data, 0);
        if (got < 0) return perror("datagrams"), 1;
        unsigned number = 0;
        if (got >= (ssize_t)sizeof number) memcpy(&number, data, sizeof number);
        fill(wanted, size, number);
        back++;
        if (got != (ssize_t)size || number >= sent || memcmp(data, wanted, size)) bad++;
        else if (number < next) late++;
        else next = number + 1;
    }
    double seconds = now() - start;
    printf("%u %u %.3f %.1f %u\n", back, bad, seconds, back * (double)size / 1e6 / seconds, late);
    return 0;
}
