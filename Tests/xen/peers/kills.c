/* One end of a vchan is killed at a moment of chance, again and again; the other end is `mini-grant pipe`, and must not say
 * that all is well when something was lost.
 *   kills ROUNDS SEED
 * Each round draws who is killed (ours, or a program on libxenvchan: vchan.c), which end it has and whether it sends or
 * receives, how many bytes there are, and when it is killed. What arrived has to be the beginning of what was sent; 0 of the end that
 * is left means that it is all of it. A line for each fault, at the end `N rounds, N faults: ...`; the code is 1 if there was one. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <xenstore.h>

enum { longest = 3000000, chunk = 65536 };
static const char sent[] = "/tmp/kills.sent", arrived[] = "/tmp/kills.arrived", said[] = "/tmp/kills.said";
static unsigned char bytes[longest];
static uint64_t state;

static uint64_t chance(uint64_t below) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % below;
}

static void check(int good, const char *what) {
    if (!good) fprintf(stderr, "kills: %s: %s\n", what, strerror(errno)), exit(2);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000u + (uint64_t)time.tv_nsec / 1000;
}

/* Starts a program with these files. */
static pid_t start(char *const *words, int input, int output, int errors) {
    pid_t child = fork();
    check(child >= 0, "fork");
    if (child) return child;
    dup2(input, 0), dup2(output, 1), dup2(errors, 2);
    for (int number = 3; number < 64; number++) close(number);
    execvp(words[0], words);
    _exit(127);
}

static int file(const char *name, int flags) {
    int number = open(name, flags | O_CLOEXEC, 0600);
    check(number >= 0, name);
    return number;
}

static off_t size_of(const char *name) {
    struct stat status;
    return stat(name, &status) ? 0 : status.st_size;
}

/* How many bytes came, if they are the first of those that were sent; -1 for others. */
static long long compare(off_t length) {
    static unsigned char came[longest];
    off_t size = size_of(arrived);
    if (size > length) return -1;
    int number = file(arrived, O_RDONLY);
    for (off_t done = 0; done < size;) {
        ssize_t part = read(number, came + done, (size_t)(size - done));
        check(part > 0, arrived);
        done += part;
    }
    close(number);
    return memcmp(came, bytes, (size_t)size) ? -1 : size;
}

/* A child's end, waited for until a moment; -1 if it goes on. */
static int end_of(pid_t child, uint64_t until) {
    for (;;) {
        int status;
        if (waitpid(child, &status, WNOHANG) == child)
            return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        if (now() > until) return -1;
        usleep(1000);
    }
}

int main(int count, char **words) {
    if (count != 3) return fputs("usage: kills ROUNDS SEED\n", stderr), 2;
    int rounds = atoi(words[1]), faults = 0, whole = 0, partial = 0, nothing = 0, codes[256] = {0};
    state = strtoull(words[2], NULL, 10);
    for (int index = 0; index < longest; index++) bytes[index] = (unsigned char)chance(256);
    struct xs_handle *store = xs_open(0);
    check(store != NULL, "the store");
    /* How long a transfer takes from its start, as far as is known. */
    uint64_t usual = 300000;
    for (int round = 1; round <= rounds; round++) {
        int is_ours = chance(2) == 0, serves = chance(2) == 0, sends = chance(2) == 0, expects = chance(2) == 0;
        off_t length = (off_t)(1 + (chance(4) ? chance(longest) : chance(chunk)));
        char path[64], number[32];
        snprintf(path, sizeof path, "/kills/%d", round);
        snprintf(number, sizeof number, "%lld", (long long)length);
        int source = file(sent, O_RDWR | O_CREAT | O_TRUNC);
        for (off_t done = 0; done < length;) {
            ssize_t part = write(source, bytes + done, (size_t)(length - done));
            check(part > 0, sent);
            done += part;
        }
        lseek(source, 0, SEEK_SET);
        int target = file(arrived, O_WRONLY | O_CREAT | O_TRUNC), log = file(said, O_WRONLY | O_CREAT | O_TRUNC);
        int null = file("/dev/null", O_RDWR), never[2];
        check(!pipe2(never, O_CLOEXEC), "pipe");
        char *role = serves ? "server" : "client", *other = serves ? "client" : "server";
        char mine[16], theirs[16];
        snprintf(mine, sizeof mine, "--%s", role), snprintf(theirs, sizeof theirs, "--%s", other);
        char *ours[] = {"mini-grant", "pipe", mine, "--domain", "0", "--path", path, "--deadline", "60", NULL};
        char *library[] = {"vchan", role, "0", path, "relay", NULL};
        /* With what libxenvchan sends, no silence of a slow machine is the end. */
        char *left[] = {"mini-grant", "pipe", theirs, "--domain", "0", "--path", path, "--deadline", "2", "--linger",
                        sends ? "60" : "0", !sends || !expects ? NULL : "--expect", number, NULL};
        /* What sends has its bytes in a file that ends; a receiver on libxenvchan has an input that does not. */
        int victims_input = sends ? source : is_ours ? null : never[0];
        pid_t victim = start(is_ours ? ours : library, victims_input, sends ? null : target, null);
        pid_t survivor = start(left, sends ? null : source, sends ? target : null, log);
        uint64_t began = now();
        /* In a half of the rounds from the first byte on. */
        int is_late = chance(2) == 0;
        while (is_late && size_of(arrived) == 0 && now() - began < 2000000) usleep(200);
        uint64_t moment = now() + chance(is_late ? usual / 2 : usual);
        int code = -1;
        /* Until then it may have come to its end. */
        while (now() < moment && (code = end_of(survivor, 0)) < 0) usleep(100);
        kill(victim, SIGKILL);
        waitpid(victim, NULL, 0);
        if (code < 0)
            code = end_of(survivor, now() + 60000000);
        else
            usual = usual * 7 / 8 + (now() - began) / 8;
        long long came = compare(length);
        if (code < 0) kill(survivor, SIGKILL), waitpid(survivor, NULL, 0);
        /* What a program on libxenvchan has taken out of its ring, it may have had in its hands. */
        off_t in_hands = is_ours || sends ? 0 : chunk;
        char line[256] = "";
        int text = file(said, O_RDONLY);
        if (read(text, line, sizeof line - 1) < 0) line[0] = 0;
        close(text);
        /* libxenvchan's sender cannot say that it has sent all: a line tells that, once something has come. */
        int may_lack = !is_ours && sends && !expects && (came == 0 || strstr(line, "cannot say whether that was all"));
        const char *fault = NULL;
        if (code < 0) fault = "the other end does not end";
        else if (came < 0) fault = "other bytes arrived";
        else if (code == 0 && !may_lack && came + in_hands < length) fault = "0, and not all has arrived";
        else if (code == 5 && came > 0) fault = "5, and something has arrived";
        else if (code != 0 && code != 4 && code != 5) fault = "another code";
        if (fault) {
            faults++;
            printf("FAULT round %d: %s (%s %s that %s is killed, %lld of %lld bytes, code %d: %s)\n", round, fault,
                   is_ours ? "our" : "libxenvchan's", role, sends ? "sends" : "receives", came, (long long)length, code, line);
        }
        codes[code < 0 ? 255 : code]++;
        if (came == length)
            whole++;
        else if (came > 0)
            partial++;
        else
            nothing++;
        close(source), close(target), close(log), close(null), close(never[0]), close(never[1]);
        xs_rm(store, XBT_NULL, path);
    }
    printf("%d rounds, %d faults: ended with 0 %d times, with 4 %d, with 5 %d; all had arrived %d times, a part %d, nothing %d\n",
           rounds, faults, codes[0], codes[4], codes[5], whole, partial, nothing);
    return faults != 0;
}
