// The oracle of the 64-bit differential test: a process that runs instruction sequences on the machine's own processor and
// tells what they did. Like oracle.c, but for 64-bit code and with a C library:
//
//   [ read batch -> int3 -> case, trap, case, trap ... -> write results ]
//
// A case is entered and left by signals alone: whatever trap ends it raises one, the handler notes the outcome from the
// interrupted context, puts the next case's registers there and returns into it.
//
// Tests/MiniTests/Processor/LongOracle.swift speaks the other side of the protocol.

#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/ucontext.h>
#include <unistd.h>

enum {
    MAGIC = 0x3436494D,
    CODE_MAX = 240,
    DATA = 0x10000000,
    DATA_SIZE = 0x2000,
    CODE = 0x20000000,
    CODE_SIZE = 0x1000,
    BATCH_MAX = 512,
};

// rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 to r15; then rip, rflags.
struct test_case {
    uint64_t registers[18];
    uint64_t vectors[32];
    uint32_t control, code_length;
    uint8_t code[CODE_MAX];
};

struct result {
    uint64_t registers[18];
    uint64_t vectors[32];
    uint32_t control, trap, error, signal;
    uint64_t address;
    uint8_t data[DATA_SIZE];
};

static const int places[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                               REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static struct test_case cases[BATCH_MAX];
static struct result results[BATCH_MAX];
static uint32_t count, current;
static int running, ticks;
static gregset_t home;
static uint8_t image[DATA_SIZE];

static int receive(void *to, size_t size) {
    uint8_t *next = to;
    while (size) {
        ssize_t got = read(0, next, size);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return 0;
        next += got;
        size -= (size_t)got;
    }
    return 1;
}

static void transmit(const void *from, size_t size) {
    const uint8_t *next = from;
    while (size) {
        ssize_t put = write(1, next, size);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) _exit(3);
        next += put;
        size -= (size_t)put;
    }
}

static void begin(ucontext_t *context) {
    const struct test_case *test = &cases[current];
    memcpy((void *)DATA, image, DATA_SIZE);
    memset((void *)CODE, 0xCC, CODE_SIZE);
    memcpy((void *)test->registers[16], test->code, test->code_length);
    greg_t *registers = context->uc_mcontext.gregs;
    for (int i = 0; i < 16; i++) registers[places[i]] = (greg_t)test->registers[i];
    registers[REG_RIP] = (greg_t)test->registers[16];
    registers[REG_EFL] = (greg_t)test->registers[17];
    memcpy(context->uc_mcontext.fpregs->_xmm, test->vectors, sizeof test->vectors);
    context->uc_mcontext.fpregs->mxcsr = test->control;
    // As FNINIT leaves the x87; its registers are empty.
    context->uc_mcontext.fpregs->cwd = 0x37F;
    context->uc_mcontext.fpregs->swd = 0;
    context->uc_mcontext.fpregs->ftw = 0;
    ticks = 0;
}

static void finish(int signal, const ucontext_t *context) {
    struct result *result = &results[current];
    const greg_t *registers = context->uc_mcontext.gregs;
    for (int i = 0; i < 16; i++) result->registers[i] = (uint64_t)registers[places[i]];
    result->registers[16] = (uint64_t)registers[REG_RIP];
    result->registers[17] = (uint64_t)registers[REG_EFL];
    memcpy(result->vectors, context->uc_mcontext.fpregs->_xmm, sizeof result->vectors);
    result->control = context->uc_mcontext.fpregs->mxcsr;
    result->trap = (uint32_t)registers[REG_TRAPNO];
    result->error = (uint32_t)registers[REG_ERR];
    result->address = (uint64_t)registers[REG_CR2];
    result->signal = (uint32_t)signal;
    memcpy(result->data, (void *)DATA, DATA_SIZE);
}

static void handle(int signal, siginfo_t *information, void *argument) {
    (void)information;
    ucontext_t *context = argument;
    if (signal == SIGVTALRM && (!running || ++ticks < 5)) return;
    if (!running) {
        if (signal != SIGTRAP) _exit(4);
        memcpy(home, context->uc_mcontext.gregs, sizeof home);
        running = 1;
        return begin(context);
    }
    finish(signal, context);
    if (++current < count) return begin(context);
    memcpy(context->uc_mcontext.gregs, home, sizeof home);
    context->uc_mcontext.fpregs->mxcsr = 0x1F80;
    running = 0;
}

int main(void) {
    enum { ALL = PROT_READ | PROT_WRITE | PROT_EXEC, KIND = MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS };
    if (mmap((void *)DATA, DATA_SIZE, PROT_READ | PROT_WRITE, KIND, -1, 0) == MAP_FAILED ||
        mmap((void *)CODE, CODE_SIZE, ALL, KIND, -1, 0) == MAP_FAILED)
        return 2;
    stack_t stack = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};
    sigaltstack(&stack, 0);
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigfillset(&action.sa_mask);
    static const int signals[] = {SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGVTALRM};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &action, 0);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, 0);
    struct itimerval timer = {{0, 5000}, {0, 5000}};
    setitimer(ITIMER_VIRTUAL, &timer, 0);
    uint32_t hello[2] = {MAGIC, sizeof(struct result)};
    transmit(hello, sizeof hello);
    if (!receive(image, sizeof image)) return 0;
    while (receive(&count, sizeof count)) {
        if (!count || count > BATCH_MAX) return 5;
        if (!receive(cases, count * sizeof *cases)) return 0;
        current = 0;
        __asm__ volatile("int3" : : : "memory", "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11",
                         "r12", "r13", "r14", "r15");
        transmit(results, count * sizeof *results);
    }
    return 0;
}
