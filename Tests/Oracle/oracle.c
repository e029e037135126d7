// The oracle of the differential test: a 32-bit process that runs instruction sequences on the
// machine's own processor and tells what they did. It has no C library.
//
//   read image -> [ read batch -> int3 -> case, trap, case, trap ... -> write results ]
//
// A case is entered and left by signals alone: whatever trap ends it raises one, the handler
// notes the outcome from the interrupted context, puts the next case's registers in the same
// context and returns into it. Sequences that never end are cut off by a timer; a filter lets
// no system call through that does not come from the oracle itself.
//
// Tests/MiniTests/DifferentialOracle.swift speaks the other side of the protocol.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;

// --- protocol ---------------------------------------------------------------------------------

enum {
    MAGIC = 0x494E494D,
    CODE_MAX = 192,
    // The memory of a case: three areas, one after the other in the image.
    DATA = 0x10000000,  // three pages to write, one to read
    DATA_SIZE = 0x4000,
    DATA_WRITABLE = 0x3000,
    STACK = 0x10008000,
    STACK_SIZE = 0x2000,
    CODE = 0x20000000,
    CODE_SIZE = 0x2000,
    IMAGE_SIZE = DATA_SIZE + STACK_SIZE + CODE_SIZE,
};

struct test_case {
    u32 registers[8];  // eax, ecx, edx, ebx, esp, ebp, esi, edi
    u32 eip, eflags;
    u16 fs, gs;
    u32 code_length;
    u8 code[CODE_MAX];  // at eip
};

struct result {
    u32 registers[8];
    u32 eip, eflags;
    u16 es, cs, ss, ds, fs, gs;
    u32 signal, trap, error, address;
    u8 x87[108];  // as FNSAVE stores it
    u32 changes;  // that many pairs follow: word index in the image, new value
};

// --- system calls -----------------------------------------------------------------------------

static int call(int number, int a, int b, int c, int d, int e, int f) {
    struct {
        int number, f;
    } words = {number, f};
    int result;
    __asm__ volatile(
        "pushl %%ebp\n\t"
        "movl 4(%%eax), %%ebp\n\t"
        "movl (%%eax), %%eax\n\t"
        "int $0x80\n\t"
        "popl %%ebp"
        : "=a"(result)
        : "a"(&words), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
        : "memory");
    return result;
}

enum {
    EXIT = 1, READ = 3, WRITE = 4, SETITIMER = 104, MPROTECT = 125, PRCTL = 172, SIGACTION = 174, SIGMASK = 175,
    SIGALTSTACK = 186, MMAP2 = 192, SET_THREAD_AREA = 243,
};

static void leave(int code) {
    for (;;) call(EXIT, code, 0, 0, 0, 0, 0);
}

static void check(int result) {
    if (result < 0 && result > -4096) leave(2);
}

static int receive(void *to, u32 count) {
    u8 *next = to;
    while (count) {
        int got = call(READ, 0, (int)next, (int)count, 0, 0, 0);
        if (got == -4) continue;
        if (got <= 0) return 0;
        next += got;
        count -= (u32)got;
    }
    return 1;
}

static void send(const void *from, u32 count) {
    const u8 *next = from;
    while (count) {
        int put = call(WRITE, 1, (int)next, (int)count, 0, 0, 0);
        if (put == -4) continue;
        if (put <= 0) leave(3);
        next += put;
        count -= (u32)put;
    }
}

void *memcpy(void *to, const void *from, u32 count) {
    void *result = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
    return result;
}

void *memset(void *to, int byte, u32 count) {
    void *result = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(byte) : "memory");
    return result;
}

// --- memory of a case ---------------------------------------------------------------------------

static u32 image[IMAGE_SIZE / 4];

static const struct {
    u32 address, size;
} areas[] = {{DATA, DATA_SIZE}, {STACK, STACK_SIZE}, {CODE, CODE_SIZE}};

static void prepare_memory(void) {
    enum { ALL = 7, READ_EXECUTE = 5, FIXED_PRIVATE_ANONYMOUS = 0x100032 };
    const u8 *from = (const u8 *)image;
    for (u32 i = 0; i < 3; i++) {
        check(call(MMAP2, (int)areas[i].address, (int)areas[i].size, ALL,
                   FIXED_PRIVATE_ANONYMOUS, -1, 0));
        memcpy((void *)areas[i].address, from, areas[i].size);
        from += areas[i].size;
    }
    check(call(MPROTECT, DATA + DATA_WRITABLE, DATA_SIZE - DATA_WRITABLE, READ_EXECUTE, 0, 0, 0));
}

// --- output -------------------------------------------------------------------------------------

static u8 output[1 << 17];
static u32 output_length;

static void put(const void *from, u32 count) {
    if (output_length + count > sizeof output) {
        send(output, output_length);
        output_length = 0;
    }
    memcpy(output + output_length, from, count);
    output_length += count;
}

// Notes every word that differs from the image and puts the image's back.
static u32 changes[2 * IMAGE_SIZE / 4];

static u32 collect_changes(void) {
    u32 count = 0, index = 0;
    for (u32 i = 0; i < 3; i++) {
        u32 *live = (u32 *)areas[i].address, *end = live + areas[i].size / 4;
        for (; live < end; live++, index++) {
            if (*live == image[index]) continue;
            changes[2 * count] = index;
            changes[2 * count + 1] = *live;
            count++;
            *live = image[index];
        }
    }
    return count;
}

// --- cases --------------------------------------------------------------------------------------

// The kernel's struct sigcontext for i386 (asm/sigcontext.h), the argument of a handler.
struct context {
    u16 gs, gs_high, fs, fs_high, es, es_high, ds, ds_high;
    u32 edi, esi, ebp, esp, ebx, edx, ecx, eax;
    u32 trap, error, eip;
    u16 cs, cs_high;
    u32 eflags, esp_at_signal;
    u16 ss, ss_high;
    u8 *x87;
    u32 old_mask, address;
};

enum { BATCH_MAX = 512, SIGVTALRM = 26, MAX_TICKS = 5 };

static struct test_case cases[BATCH_MAX];
static u32 case_count, current;
static int running, ticks;
static struct context home;

static void place(const struct test_case *test, int fill) {
    u8 *live = (u8 *)test->eip;
    u8 *base = (u8 *)image + DATA_SIZE + STACK_SIZE + (test->eip - CODE);
    for (u32 i = 0; i < test->code_length; i++)
        live[i] = base[i] = fill ? 0xCC : test->code[i];
}

static void begin(struct context *context) {
    const struct test_case *test = &cases[current];
    place(test, 0);
    context->eax = test->registers[0];
    context->ecx = test->registers[1];
    context->edx = test->registers[2];
    context->ebx = test->registers[3];
    context->esp = test->registers[4];
    context->ebp = test->registers[5];
    context->esi = test->registers[6];
    context->edi = test->registers[7];
    context->eip = test->eip;
    context->eflags = test->eflags;
    context->cs = home.cs;
    context->ss = home.ss;
    context->ds = context->es = home.ds;
    context->fs = test->fs;
    context->gs = test->gs;
    ticks = 0;
}

static void finish(int signal, const struct context *context) {
    struct result result = {
        .registers = {context->eax, context->ecx, context->edx, context->ebx, context->esp,
                      context->ebp, context->esi, context->edi},
        .eip = context->eip,
        .eflags = context->eflags,
        .es = context->es, .cs = context->cs, .ss = context->ss,
        .ds = context->ds, .fs = context->fs, .gs = context->gs,
        .signal = (u32)signal,
        .trap = context->trap,
        .error = context->error,
        .address = context->address,
    };
    if (context->x87) memcpy(result.x87, context->x87, sizeof result.x87);
    result.changes = collect_changes();
    place(&cases[current], 1);
    put(&result, sizeof result);
    put(changes, result.changes * 8);
}

static void handle(int signal, struct context by_value) {
    // It is the kernel's own, not a copy: what is written there is what sigreturn takes. The
    // compiler must not know that it is an argument, whose last values nobody reads.
    struct context *context = &by_value;
    __asm__ volatile("" : "+r"(context) : : "memory");
    // AC, ID and NT are still the case's: the first would stop us, the others go to the next case.
    __asm__ volatile("pushl $2; popfl" : : : "cc");
    if (signal == SIGVTALRM && (!running || ++ticks < MAX_TICKS)) {
        // sigreturn leaves those three as they are.
        __asm__ volatile("pushl %0; popfl" : : "r"((context->eflags & 0x244000) | 2) : "cc");
        return;
    }
    if (!running) {
        // The int3 of run_batch.
        if (signal != 5) leave(4);
        home = *context;
        running = 1;
        begin(context);
        return;
    }
    finish(signal, context);
    if (++current < case_count) {
        begin(context);
    } else {
        u8 *x87 = context->x87;
        *context = home;
        context->x87 = x87;
        running = 0;
    }
}

void sigreturn(void);
__asm__(
    "sigreturn:\n\t"
    "popl %eax\n\t"
    "movl $119, %eax\n\t"
    "int $0x80\n");

static u8 handler_stack[1 << 16] __attribute__((aligned(16)));

static void prepare_signals(void) {
    struct {
        void (*handler)();
        u32 flags;
        void (*restorer)(void);
        u32 mask[2];
    } action = {(void (*)())handle, 0x0C000000, sigreturn, {~0u, ~0u}};  // RESTORER | ONSTACK
    struct {
        void *start;
        int flags;
        u32 size;
    } stack = {handler_stack, 0, sizeof handler_stack};
    check(call(SIGALTSTACK, (int)&stack, 0, 0, 0, 0, 0));
    // ILL, TRAP, BUS, FPE, SEGV, STKFLT, VTALRM, SYS.
    static const int signals[] = {4, 5, 7, 8, 11, 16, SIGVTALRM, 31};
    for (u32 i = 0; i < sizeof signals / sizeof *signals; i++)
        check(call(SIGACTION, signals[i], (int)&action, 0, 8, 0, 0));
    // Of the process' own time: a busy machine is no endless sequence.
    // Whoever started us may have blocked the timer's.
    static const u32 none[2];
    check(call(SIGMASK, 2, (int)none, 0, 8, 0, 0));
    static const int interval[] = {0, 5000, 0, 5000};
    check(call(SETITIMER, 1, (int)interval, 0, 0, 0, 0));
}

// Three segments beside the flat ones, with the GDT's indices 12...14: see
// DifferentialMachine.swift, which has the same.
static void prepare_segments(void) {
    struct {
        u32 index, base, limit, flags;
    } segments[] = {
        // 32-bit, data, byte limit: useable | seg_32bit
        {12, DATA + 0x100, 0x7FF, 0x41},
        // expand down (contents 1): offsets 0x800... are the valid ones
        {13, DATA + 0x100, 0x7FF, 0x41 | 1 << 1},
        // to read only
        {14, DATA + 0x1000, 0xFFF, 0x41 | 1 << 3},
    };
    for (u32 i = 0; i < 3; i++) check(call(SET_THREAD_AREA, (int)&segments[i], 0, 0, 0, 0, 0));
}

extern u8 text_start[] __asm__("__executable_start"), text_end[] __asm__("etext");

// Only the oracle's own text may make system calls: a case that runs into one gets SIGSYS.
static void prepare_filter(void) {
    struct filter {
        u16 code;
        u8 yes, no;
        u32 k;
    } program[] = {
        {0x20, 0, 0, 8},                     // load the instruction pointer's low half
        {0x35, 0, 2, (u32)text_start},       // below the text?
        {0x35, 1, 0, (u32)text_end},         // above it?
        {0x06, 0, 0, 0x7FFF0000},            // allow
        {0x06, 0, 0, 0x00030000},            // trap
    };
    struct {
        u16 length;
        struct filter *program;
    } filter = {5, program};
    check(call(PRCTL, 38, 1, 0, 0, 0, 0));
    check(call(PRCTL, 22, 2, (int)&filter, 0, 0, 0));
}

static void run_batch(void) {
    current = 0;
    __asm__ volatile("int3" : : : "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5",
                     "xmm6", "xmm7", "st");
}

__attribute__((force_align_arg_pointer, used)) static void oracle(void) {
    u32 hello[4] = {MAGIC, 0, 0, sizeof(struct result)};
    __asm__ volatile("movl %%cs, %0; movl %%ds, %1" : "=r"(hello[1]), "=r"(hello[2]));
    send(hello, sizeof hello);
    if (!receive(image, sizeof image)) leave(0);
    prepare_memory();
    prepare_segments();
    prepare_signals();
    prepare_filter();
    while (receive(&case_count, 4)) {
        if (!case_count || case_count > BATCH_MAX) leave(5);
        if (!receive(cases, case_count * sizeof *cases)) leave(0);
        run_batch();
        send(output, output_length);
        output_length = 0;
    }
    leave(0);
}

__asm__(
    ".globl _start\n"
    "_start: xorl %ebp, %ebp\n\t"
    "call oracle\n");
