// Ends processes at random moments: term RUNS LONGEST OUTPUT COMMAND WORDS... starts the command RUNS
// times, sends SIGTERM after a time of up to LONGEST milliseconds, and waits. OUTPUT is what the command
// writes to: `null`, a `pipe` or a terminal (`pty`) that nobody reads. Prints how long the end took, in
// milliseconds (median, the 99th of a hundred, the longest), and how the command ended: with code 143, by the
// signal itself (before it was ready for one), before the signal came, or otherwise. Code 1 for an "otherwise" or for
// more than 100 ms.
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int ascending(const void *left, const void *right) {
    double l = *(const double *)left, r = *(const double *)right;
    return l < r ? -1 : l > r;
}

static double milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

// Opens what the command writes to; *kept is our end of it.
static int output(const char *kind, int *kept) {
    int ends[2];
    *kept = -1;
    if (!strcmp(kind, "null")) return open("/dev/null", O_RDWR | O_CLOEXEC);
    if (!strcmp(kind, "pipe")) {
        if (pipe2(ends, O_CLOEXEC)) return -1;
        *kept = ends[0];
        return ends[1];
    }
    *kept = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (*kept < 0 || grantpt(*kept) || unlockpt(*kept)) return -1;
    return open(ptsname(*kept), O_RDWR | O_NOCTTY | O_CLOEXEC);
}

int main(int count, char **words) {
    if (count < 5) return 2;
    int runs = atoi(words[1]), coded = 0, signalled = 0, early = 0, other = 0, waited = 0;
    double longest = atof(words[2]);
    double *times = calloc(runs + 1, sizeof *times);
    if (runs < 1 || !times) return 2;
    unsigned seed = getenv("SEED") ? (unsigned)atoi(getenv("SEED")) : 1;
    for (int run = 0; run < runs; run++) {
        int kept, to = output(words[3], &kept);
        if (to < 0) return 2;
        pid_t child = vfork();
        if (child == 0) {
            dup2(to, 0);
            dup2(to, 1);
            if (!getenv("LOUD")) dup2(open("/dev/null", O_WRONLY), 2);
            execvp(words[4], words + 4);
            _exit(127);
        }
        if (child < 0) return 2;
        double pause = longest * rand_r(&seed) / RAND_MAX;
        struct timespec rest = {(time_t)(pause / 1e3), (long)(pause * 1e6) % 1000000000};
        nanosleep(&rest, 0);
        int status;
        if (waitpid(child, &status, WNOHANG) == child) {
            early++;
        } else {
            double start = milliseconds();
            kill(child, SIGTERM);
            // Nobody is ever ended by SIGKILL: whoever does not end is told, and waited for.
            while (waitpid(child, &status, 0) != child) {}
            times[waited++] = milliseconds() - start;
            if (WIFEXITED(status) && WEXITSTATUS(status) == 143) coded++;
            else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM) signalled++;
            else if (WIFEXITED(status) && WEXITSTATUS(status) == 0) early++;
            else other++, printf("run %d, after %.3f ms: status %x\n", run, pause, status);
        }
        close(to);
        if (kept >= 0) close(kept);
    }
    qsort(times, waited, sizeof *times, ascending);
    double most = waited ? times[waited - 1] : 0;
    printf("%d runs: median %.3f ms, 99%% %.3f ms, longest %.3f ms; code 143: %d, SIGTERM: %d, ended before: %d, other: %d\n",
           runs, waited ? times[waited / 2] : 0, waited ? times[waited * 99 / 100] : 0, most, coded, signalled, early, other);
    return other || most > 100;
}
