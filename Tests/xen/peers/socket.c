/* The program at a local socket, for the tests of `mini-grant pipe --socket`.
 *   socket connect PATH   standard input to the socket, then the end; the socket to standard output
 *   socket listen PATH    takes one peer: the socket to standard output until its end, then 2,000,000 bytes
 *                              that `vchan make` prints, and the end */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void check(int good, const char *what) {
    if (!good) perror(what), exit(1);
}

static void copy(int from, int to) {
    static char data[65536];
    for (ssize_t size; (size = read(from, data, sizeof data)) > 0;)
        for (ssize_t done = 0; done < size;) {
            ssize_t part = write(to, data + done, (size_t)(size - done));
            check(part > 0, "write");
            done += part;
        }
}

int main(int count, char **words) {
    if (count != 3) return 2;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, words[2], sizeof address.sun_path - 1);
    int end = socket(AF_UNIX, SOCK_STREAM, 0);
    if (!strcmp(words[1], "listen")) {
        check(!bind(end, (void *)&address, sizeof address) && !listen(end, 1), words[2]);
        int peer = accept(end, NULL, NULL);
        check(peer >= 0, "accept");
        copy(peer, 1);
        FILE *answer = popen("vchan make 2000000", "r");
        check(answer != NULL, "vchan");
        copy(fileno(answer), peer);
        return 0;
    }
    for (int tries = 0; connect(end, (void *)&address, sizeof address); tries++) {
        check(tries < 6000, words[2]);
        usleep(50000);
    }
    copy(0, end);
    check(!shutdown(end, SHUT_WR), "shutdown");
    copy(end, 1);
    return 0;
}
