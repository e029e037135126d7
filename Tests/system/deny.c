// deny ERRNO CALLS COMMAND WORDS...: runs the command behind a seccomp filter, as of a container, that answers some system calls
// with this errno. CALLS: NUMBER or NUMBER:NUMBER, with commas between: a call's number of x86_64, and of i386.
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { most = 64 };
static struct sock_filter code[8 * most];
static unsigned short count;

static void add(unsigned short operation, unsigned char yes, unsigned char no, unsigned int word) {
    code[count++] = (struct sock_filter){operation, yes, no, word};
}

// On this architecture, these calls.
static void deny(unsigned int architecture, const unsigned int *numbers, unsigned char numbers_count, int error) {
    add(BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, arch));
    add(BPF_JMP | BPF_JEQ | BPF_K, 0, 1 + 2 * numbers_count, architecture);
    add(BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < numbers_count; i++) {
        add(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, numbers[i]);
        add(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | error);
    }
}

int main(int argc, char **argv) {
    unsigned int wide[most], narrow[most];
    unsigned char calls = 0;
    if (argc < 4) return 2;
    for (char *next = argv[2]; *next && calls < most; calls++) {
        wide[calls] = narrow[calls] = strtoul(next, &next, 10);
        if (*next == ':') narrow[calls] = strtoul(next + 1, &next, 10);
        if (*next == ',') next++;
    }
    deny(AUDIT_ARCH_X86_64, wide, calls, atoi(argv[1]));
    deny(AUDIT_ARCH_I386, narrow, calls, atoi(argv[1]));
    add(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {count, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
        perror("deny");
        return 99;
    }
    execvp(argv[3], argv + 3);
    perror(argv[3]);
    return 127;
}
