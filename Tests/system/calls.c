// calls LOG COMMAND WORDS...: runs the command and appends to LOG, once each, the system calls
// that it and its children make after a seccomp filter was set, in the words of docs/sandbox.md. Which
// file a descriptor is of shows in its name: disk*, net*, kernel*, initrd*, timeline*. Ends with the command's code.
// With CALLS_OF=grant they are called as for mini-grant.
// With CALLS_INSTEAD="NUMBER ARGUMENTS..." the first such call is made into another one, as somebody
// would make it who has taken the process over.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { most = 4096 };
static struct process {
    pid_t number;
    int entered;    // inside a call
    int filtering;  // inside the call that sets a filter
    int filtered;
} processes[most];
static int process_count;

static struct process *find(pid_t number) {
    for (int i = 0; i < process_count; i++)
        if (processes[i].number == number) return processes + i;
    for (int i = 0; i < process_count; i++)
        if (processes[i].number == 0) {
            processes[i] = (struct process){.number = number};
            return processes + i;
        }
    if (process_count == most) exit(99);
    processes[process_count] = (struct process){.number = number};
    return processes + process_count++;
}

static const char *log_name;
static int of_grant;
static char seen[1024][96];
static int seen_count;

static void note(const char *line) {
    for (int i = 0; i < seen_count; i++)
        if (!strcmp(seen[i], line)) return;
    if (seen_count == 1024) exit(99);
    snprintf(seen[seen_count++], sizeof *seen, "%s", line);
    FILE *log = fopen(log_name, "a");
    if (!log) exit(99);
    fprintf(log, "%s\n", line);
    fclose(log);
}

// What a descriptor is, as the page calls it.
static const char *role(pid_t number, int descriptor) {
    static char path[64], target[512], standard[512];
    if (descriptor == -1) return "no file";
    if (descriptor == 0) return "input";
    if (descriptor == 1) return "output";
    if (descriptor == 2) return "errors";
    snprintf(path, sizeof path, "/proc/%d/fd/%d", number, descriptor);
    ssize_t count = readlink(path, target, sizeof target - 1);
    if (count < 0) return "unknown";
    target[count] = 0;
    // Standard input, output or error, opened once more.
    snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", number, descriptor);
    unsigned flags = 0;
    FILE *info = fopen(path, "r");
    if (info) {
        if (fscanf(info, "pos: %*d flags: %o", &flags) != 1) flags = 0;
        fclose(info);
    }
    static const char *const streams[] = {"input", "output", "errors"};
    if (strncmp(target, "socket:", 7) && strncmp(target, "anon_inode:", 11))
        for (int stream = 0; stream < 3; stream++) {
            snprintf(path, sizeof path, "/proc/%d/fd/%d", number, stream);
            ssize_t length = readlink(path, standard, sizeof standard - 1);
            if (length < 0) continue;
            standard[length] = 0;
            if (!strcmp(standard, target) && ((flags & O_ACCMODE) == O_RDONLY) == (stream == 0)) return streams[stream];
        }
    char *name = strrchr(target, '/');
    name = name ? name + 1 : target;
    if (strstr(target, "signalfd")) return "signals";
    if (!strcmp(target, "/dev/net/tun")) return "tap";
    if (!strncmp(target, "socket:", 7)) return "socket";
    if (!strncmp(target, "/dev/xen/", 9)) return !strcmp(name, "xenbus") ? "store" : name;
    if (!strncmp(target, "pipe:", 5)) return "assistant";
    if (of_grant) return !strcmp(target, "/dev/null") ? "nothing" : *target == '/' ? "file" : "unknown";
    if (!strncmp(name, "disk", 4)) return "disk";
    if (!strncmp(name, "net", 3)) return "network";
    if (!strncmp(name, "timeline", 8)) return "timeline";
    if (!strncmp(name, "kernel", 6) || !strncmp(name, "initrd", 6)) return "file";
    return "unknown";
}

static const struct {
    int wide, narrow;
    const char *name;
    enum { plain, of_file, map, control, lock, timer, own_kill, socket_call, make_socket, ask_socket, of_memory, twice, listened, ended } kind;
} table[] = {
    {0, 3, "read", of_file},          {1, 4, "write", of_file},        {3, 6, "close", plain},
    {5, 197, "fstat", of_file},       {8, 140, "lseek", of_file},      {9, 192, "mmap", map},
    {11, 91, "munmap", plain},        {14, 175, "rt_sigprocmask", plain}, {15, 173, "rt_sigreturn", plain}, {16, 54, "ioctl", control},
    {17, 180, "pread64", of_file},    {18, 181, "pwrite64", of_file},
    {19, 145, "readv", of_file},      {20, 146, "writev", of_file},    {38, 104, "setitimer", timer},
    {41, 359, "socket", make_socket}, {42, 362, "connect", plain},     {43, -1, "accept", listened},
    {28, 219, "madvise", of_memory},  {33, 63, "dup2", twice},         {48, 373, "shutdown", ended},
    {46, 370, "sendmsg", plain},      {47, 372, "recvmsg", plain},     {49, 361, "bind", plain},
    {50, 363, "listen", plain},       {55, 365, "getsockopt", ask_socket}, {62, 37, "kill", own_kill},
    {72, 55, "fcntl", lock},          {74, 118, "fsync", of_file},     {75, 148, "fdatasync", of_file},
    {228, 265, "clock_gettime", plain}, {231, 252, "exit_group", plain}, {318, 355, "getrandom", plain},
    {271, 309, "ppoll", plain},       {-1, 102, "socketcall", socket_call},
};

// A 32-bit word of the process's: what socketcall's second argument points at.
static unsigned word(pid_t number, unsigned long place, unsigned index) {
    return (unsigned)ptrace(PTRACE_PEEKDATA, number, (void *)(place + 4 * index), 0);
}

static const char *option(unsigned level, unsigned name) {
    static char text[64];
    snprintf(text, sizeof text, "getsockopt(%s, %s)", level == 1 ? "SOL_SOCKET" : "other",
             name == 17 ? "SO_PEERCRED" : name == 77 ? "SO_PEERPIDFD" : "other");
    return text;
}

static const char *made(unsigned family, unsigned kind) {
    static char text[64];
    snprintf(text, sizeof text, "socket(%s, %s)", family == 1 ? "AF_UNIX" : "other",
             kind == 5 ? "SOCK_SEQPACKET" : kind == 1 ? "SOCK_STREAM" : "other");
    return text;
}

static void describe(pid_t number, const struct __ptrace_syscall_info *info) {
    char line[96];
    const __typeof__(info->entry.args[0]) *a = info->entry.args;
    int wide = info->arch == AUDIT_ARCH_X86_64;
    unsigned index = 0, count = sizeof table / sizeof *table;
    while (index < count && (int)info->entry.nr != (wide ? table[index].wide : table[index].narrow)) index++;
    if (index == count) {
        snprintf(line, sizeof line, "call %d", (int)info->entry.nr);
        note(line);
        return;
    }
    const char *name = table[index].name, *what = 0;
    switch (table[index].kind) {
    case plain: snprintf(line, sizeof line, "%s()", name); break;
    case of_file:
        what = role(number, (int)a[0]);
        // Of the sockets of a shared network nobody knows the numbers before.
        if (!of_grant && !strcmp(name, "readv") && !strcmp(what, "socket")) what = "";
        snprintf(line, sizeof line, "%s(%s)", name, what);
        break;
    case map: {
        const char *of = role(number, (int)a[4]);
        snprintf(line, sizeof line, "mmap(%s, %s)", a[2] & ~3 ? "PROT_EXEC" : "no PROT_EXEC",
                 strcmp(of, "network") ? of : "file");
        break;
    }
    case of_memory: snprintf(line, sizeof line, "madvise(%s)", a[2] == 10 ? "MADV_DONTFORK" : "other"); break;
    case twice:
        snprintf(line, sizeof line, "dup2(%s, %s)", a[0] > 2 ? "nothing" : "other", a[1] == 1 ? "output" : "other");
        break;
    case listened: snprintf(line, sizeof line, "accept(%s)", of_grant ? "listener" : ""); break;
    case ended: snprintf(line, sizeof line, "shutdown(%s)", role(number, (int)a[0])); break;
    case control:
        if (of_grant && a[1] != 0x540F && a[1] != 0x5421) {
            static const char *const of_gntdev[16] = {[0] = "MAP_GRANT_REF", [1] = "UNMAP_GRANT_REF",
                                                      [7] = "SET_UNMAP_NOTIFY", [8] = "GRANT_COPY"};
            static const char *const of_gntalloc[16] = {[5] = "ALLOC_GREF", [6] = "DEALLOC_GREF",
                                                        [7] = "SET_UNMAP_NOTIFY"};
            static const char *const of_evtchn[16] = {
                [1] = "BIND_INTERDOMAIN", [2] = "BIND_UNBOUND_PORT", [3] = "UNBIND", [4] = "NOTIFY", [5] = "RESET"};
            const char *device = role(number, (int)a[0]);
            const char *const *names = !strcmp(device, "gntdev") ? of_gntdev
                                     : !strcmp(device, "gntalloc") ? of_gntalloc
                                     : !strcmp(device, "evtchn") ? of_evtchn : 0;
            what = names && (a[1] & 0xF0) == 0 ? names[a[1] & 15] : 0;
            snprintf(line, sizeof line, "ioctl(%s, %s)", device, what ? what : "other");
            break;
        }
        what = a[1] == 0x5401 ? "TCGETS" : a[1] == 0x5402 ? "TCSETS" : a[1] == 0x540F ? "TIOCGPGRP"
             : a[1] == 0x540A ? "TCXONC" : a[1] == 0x5411 ? "TIOCOUTQ" : a[1] == 0x5421 ? "FIONBIO"
             : a[1] == 0x400454D0 ? "TUNSETOFFLOAD" : "other";
        if (a[1] == 0x5421) snprintf(line, sizeof line, "ioctl(FIONBIO)");
        // Messages are written to a terminal as the guest's output is.
        else snprintf(line, sizeof line, "ioctl(%s, %s)", (int)a[0] == 2 ? "output" : role(number, (int)a[0]), what);
        break;
    case lock:
        snprintf(line, sizeof line, "fcntl(%s, %s)", role(number, (int)a[0]),
                 a[1] == 5 ? "F_GETLK" : a[1] == 1031 ? "F_SETPIPE_SZ" : a[1] == 1032 ? "F_GETPIPE_SZ" : "other");
        break;
    case timer: snprintf(line, sizeof line, "setitimer(%s)", (int)a[0] ? "other" : "ITIMER_REAL"); break;
    case own_kill: {
        int signal = (int)a[1];
        snprintf(line, sizeof line, "kill(%s, %s)", (int)a[0] == number ? "itself" : "other",
                 signal == SIGTSTP ? "SIGTSTP" : signal == SIGILL ? "SIGILL" : signal == SIGBUS ? "SIGBUS"
                 : signal == SIGFPE ? "SIGFPE" : signal == SIGALRM ? "SIGALRM" : signal == SIGSEGV ? "SIGSEGV" : "other");
        break;
    }
    case make_socket:
        snprintf(line, sizeof line, "%s", made((unsigned)a[0], (unsigned)a[1]));
        break;
    case ask_socket:
        snprintf(line, sizeof line, "%s", option((unsigned)a[1], (unsigned)a[2]));
        break;
    case socket_call: {
        static const char *const names[] = {
            0, 0, "bind()", "connect()", "listen()", "accept()", 0, 0, 0, 0, 0, 0,
            0, "shutdown()", 0, 0, "sendmsg()", "recvmsg()"};
        what = a[0] == 1 ? made(word(number, a[1], 0), word(number, a[1], 1))
             : a[0] == 15 ? option(word(number, a[1], 1), word(number, a[1], 2))
             : a[0] < sizeof names / sizeof *names && names[a[0]] ? names[a[0]] : "socketcall(other)";
        snprintf(line, sizeof line, "%s", what);
        break;
    }
    }
    note(line);
}

static const char *instead;

static void replace(pid_t number, int wide) {
    struct user_regs_struct registers;
    unsigned long long words[7] = {0};
    char *rest = (char *)instead;
    for (int i = 0; i < 7 && *rest; i++) words[i] = strtoull(rest, &rest, 0);
    instead = 0;
    if (ptrace(PTRACE_GETREGS, number, 0, &registers)) exit(99);
    registers.orig_rax = words[0];
    if (wide) {
        registers.rdi = words[1], registers.rsi = words[2], registers.rdx = words[3];
        registers.r10 = words[4], registers.r8 = words[5], registers.r9 = words[6];
    } else {
        registers.rbx = words[1], registers.rcx = words[2], registers.rdx = words[3];
        registers.rsi = words[4], registers.rdi = words[5], registers.rbp = words[6];
    }
    // The kernel looks through the filter after this stop (since 4.8).
    if (ptrace(PTRACE_SETREGS, number, 0, &registers)) exit(99);
}

static void look(struct process *process) {
    struct __ptrace_syscall_info info;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, process->number, sizeof info, &info) <= 0) return;
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
        int number = (int)info.entry.nr, wide = info.arch == AUDIT_ARCH_X86_64;
        if (process->filtered && instead) replace(process->number, wide);
        else if (process->filtered) describe(process->number, &info);
        process->filtering = number == (wide ? 317 : 354) ||
                             (number == (wide ? 157 : 172) && info.entry.args[0] == 22);
    } else if (info.op == PTRACE_SYSCALL_INFO_EXIT && process->filtering) {
        process->filtering = 0;
        if (!info.exit.is_error) process->filtered = 1;
    }
}

int main(int count, char **words) {
    if (count < 3) return 2;
    log_name = words[1];
    instead = getenv("CALLS_INSTEAD");
    of_grant = getenv("CALLS_OF") != 0;
    const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
                         PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
    pid_t first = fork();
    if (first == 0) {
        raise(SIGSTOP);
        execvp(words[2], words + 2);
        _exit(127);
    }
    // Whoever reads what the program writes, or writes what it reads, is told of the program's end of it, not of ours.
    for (int stream = 0; stream < 2; stream++) dup2(open("/dev/null", O_RDWR | O_CLOEXEC), stream);
    int status;
    if (first < 0 || waitpid(first, &status, WUNTRACED) != first) return 99;
    if (ptrace(PTRACE_SEIZE, first, 0, options)) return 99;
    kill(first, SIGCONT);
    find(first);
    int code = 99;
    for (;;) {
        pid_t number = waitpid(-1, &status, __WALL);
        if (number < 0) {
            if (errno == EINTR) continue;
            return code;
        }
        struct process *process = find(number);
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            if (number == first) code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            process->number = 0;
            continue;
        }
        int signal = WSTOPSIG(status), event = status >> 16;
        long deliver = 0;
        if (signal == (SIGTRAP | 0x80)) {
            look(process);
        } else if (event == PTRACE_EVENT_STOP) {
            if (signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU) {
                // Stopped by job control: it stays so until somebody continues it.
                ptrace(PTRACE_LISTEN, number, 0, 0);
                continue;
            }
        } else if (event == 0) {
            deliver = signal;
        }
        ptrace(PTRACE_SYSCALL, number, 0, deliver);
    }
}
