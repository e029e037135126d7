// The C that Swift cannot do without: the system call instruction, start-up,
// and the kernel's ABI structures. No logic lives here.
//
// Sources: the kernel's uapi headers (asm/unistd_{32,64}.h, asm/stat.h,
// asm/termbits.h, asm/signal.h, linux/signalfd.h, linux/poll.h, linux/if.h,
// linux/un.h, linux/socket.h, asm/fcntl.h); the tests hold the
// numbers and layouts against them.
#ifndef MINI_CSHIM_H
#define MINI_CSHIM_H

typedef unsigned char mini_u8;
typedef unsigned short mini_u16;
typedef unsigned int mini_u32;
typedef unsigned long long mini_u64;

// OUT of a byte, for who may: ioperm(2).
static inline void mini_port_output(mini_u16 port, mini_u8 value) {
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

// One system call, of up to six arguments. The kernel's own result: a value, or
// -errno in -4095...-1.
long mini_syscall(long number, long a1, long a2, long a3, long a4, long a5, long a6);

// The stack that the kernel handed to the program: argc, argv, NULL, envp, NULL, auxv.
extern long *mini_initial_stack;
long mini_argument_count(void);
const char *mini_argument(long index);
// The environment: NULL-terminated, as the kernel left it.
const char *const *mini_environment(void);

// The address of the return stub that the kernel wants as SA_RESTORER.
void mini_signal_return(void);

// The stack of the handler that restores the terminal after a fault.
#define MINI_RESCUE_STACK_SIZE 32768
void *mini_rescue_stack(void);

struct mini_timespec {
    long seconds;
    long nanoseconds;
};

struct mini_pollfd {
    int descriptor;
    short events;
    short returned;
};

// struct termios as TCGETS and TCSETS take it: the kernel's, not the C library's.
struct mini_termios {
    mini_u32 input;
    mini_u32 output;
    mini_u32 control;
    mini_u32 local;
    mini_u8 line;
    mini_u8 characters[19];
};

// struct sigaction of rt_sigaction.
struct mini_sigaction {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    mini_u64 mask;
};

// The head of struct signalfd_siginfo (128 bytes in all).
struct mini_signalfd_siginfo {
    mini_u32 number;
    int failure;
    int code;
    mini_u32 process;
    mini_u8 rest[112];
};

// The waker of a guest on /dev/lguest: a thread that does nothing but this. It has no run-time
// library behind it, so all that it needs stands here; see waker.c and Linux/WakerThread.swift.
#define MINI_WAKER_LIMIT 62
struct mini_waker {
    int identity;  // the thread's number; the kernel makes it 0 when the thread has gone
    int device;    // BREAK is written here,
    int signal;    // unless this is not 0: then it is sent to the launcher's thread
    int process, owner;
    int control;   // where a struct mini_watch is read when it should watch others
    volatile int failure;  // an errno that the thread met, or 0
    // The launcher runs the guest; the thread waits until it has looked.
    int runs, waits;
    long poll, read, write, kill, futex, exit;  // numbers of the system calls
};

// The launcher runs its guest from now on, or does not. Whether the thread waits: one of the two sees what the other does.
static inline int mini_waker_run(struct mini_waker *waker, int runs) {
    __atomic_store_n(&waker->runs, runs, __ATOMIC_SEQ_CST);
    return __atomic_load_n(&waker->waits, __ATOMIC_SEQ_CST);
}
// It need not wait any longer. Where a futex(2) wakes it.
static inline long mini_waker_free(struct mini_waker *waker) {
    __atomic_store_n(&waker->waits, 0, __ATOMIC_SEQ_CST);
    return (long)&waker->waits;
}

// What the waker is to watch; one record of its control pipe.
struct mini_watch {
    mini_u32 count;
    int descriptors[MINI_WAKER_LIMIT];
};

// Starts it with the call clone(2): `number` and `flags` are the call's, `stack` is the upper
// end of the thread's own stack. The thread's number or -errno.
long mini_start_waker(long number, long flags, void *stack, struct mini_waker *waker);

// A signal handler that does nothing: a signal with this handler ends a call that waits.
void mini_ignore_signal(int signal);

// One x87 instruction on the real x87. `form` is (opcode - 0xD8) * 64 + (modrm - 0xC0) for
// the register forms, (opcode - 0xD8) * 8 + reg for the memory forms, whose operand is at
// `operand`. The first returns what the instruction left in eax (FNSTSW AX; upper half
// undefined); the second loads EFLAGS before and returns EFLAGS after.
mini_u32 mini_x87_register(mini_u32 form);
mini_u32 mini_x87_register_flags(mini_u32 form, mini_u32 flags);
void mini_x87_memory(mini_u32 form, void *operand);

#if defined(__x86_64__)
// DIV of 128 bits by 64; `high` is less than the divisor.
static inline mini_u64 mini_divide(mini_u64 high, mini_u64 low, mini_u64 divisor, mini_u64 *remainder) {
    mini_u64 quotient;
    __asm__("divq %4" : "=a"(quotient), "=d"(*remainder) : "0"(low), "1"(high), "rm"(divisor) : "cc");
    return quotient;
}

#endif

// Whether this processor has MMX, SSE and SSE2.
static inline mini_u32 mini_has_vectors(void) {
#if defined(__x86_64__)
    return 1;
#else
    mini_u32 a = 1, b, c = 0, d;
    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return (d >> 23 & 1) && (d >> 25 & 3) == 3;
#endif
}

// Whether this processor has all that x86-64-v2 adds: SSE3, SSSE3, SSE4.1, SSE4.2, POPCNT. (Nearly all since 2011.)
static inline mini_u32 mini_has_level2(void) {
    mini_u32 all = 1 << 0 | 1 << 9 | 1 << 19 | 1 << 20 | 1 << 23;
    mini_u32 a = 1, b, c = 0, d;
    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return (c & all) == all;
}

// One SSE instruction with xmm0, loaded from `destination` and stored there, and xmm1, loaded from `source`;
// rax is `general` before, and is returned. Forms: see sse.S. With `control` the instruction runs under that MXCSR,
// which must have all exceptions masked, and its flags are added there.
mini_u64 mini_sse(mini_u32 form, void *destination, const void *source, mini_u64 general, mini_u32 *control);

// struct ifreq: an interface's name, and 24 bytes (16 on i386) that depend on the request.
struct mini_ifreq {
    mini_u8 name[16];
    union {
        short flags;
        int index;
        struct {
            mini_u16 family;
            mini_u8 data[14];
        } address;
        unsigned long size[sizeof(long) == 8 ? 3 : 4];
    } of;
};

// struct ethtool_drvinfo: what drives an interface.
struct mini_drvinfo {
    mini_u32 command;
    mini_u8 driver[32];
    mini_u8 versions[64];
    mini_u8 bus[32];
    mini_u8 rest[64];
};

// struct sockaddr_un.
struct mini_sockaddr_un {
    mini_u16 family;
    mini_u8 path[108];
};

// struct msghdr of sendmsg and recvmsg.
struct mini_msghdr {
    unsigned long name;
    int name_length;
    unsigned long vector;
    unsigned long vector_count;
    unsigned long control;
    unsigned long control_length;
    unsigned int flags;
};

// struct ucred of SO_PEERCRED.
struct mini_ucred {
    int process;
    mini_u32 user;
    mini_u32 group;
};

// struct flock of fcntl, with offsets of the machine's word.
struct mini_flock {
    short type;
    short whence;
    long start;
    long length;
    int process;
};

#if defined(__x86_64__)
// struct stat of fstat.
struct mini_stat {
    mini_u64 device, inode, links;
    mini_u32 mode, user, group, padding0;
    mini_u64 special;
    long long size;
    long long block_size, blocks;
    mini_u64 times[6];
    long long unused[3];
};
#else
// struct stat64 of fstat64.
struct mini_stat {
    mini_u64 device;
    mini_u32 padding0, inode32;
    mini_u32 mode, links, user, group;
    mini_u64 special;
    mini_u32 padding1;
    long long size __attribute__((packed, aligned(4)));
    mini_u32 block_size;
    mini_u64 blocks __attribute__((packed, aligned(4)));
    mini_u32 times[6];
    mini_u64 inode __attribute__((packed, aligned(4)));
};
#endif

#include "Atomic.h"
#include "Xen.h"

#endif
