// The C that Swift cannot do without: the system call instruction, start-up,
// and the kernel's ABI structures. No logic lives here.
//
// Sources: the kernel's uapi headers (asm/unistd_{32,64}.h, asm/stat.h,
// asm/termbits.h, asm/signal.h, linux/signalfd.h, linux/poll.h); the tests hold the
// numbers and layouts against them.
#ifndef MINI_CSHIM_H
#define MINI_CSHIM_H

typedef unsigned char mini_u8;
typedef unsigned short mini_u16;
typedef unsigned int mini_u32;
typedef unsigned long long mini_u64;

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
    mini_u8 rest[124];
};

// One x87 instruction on the real x87. `form` is (opcode - 0xD8) * 64 + (modrm - 0xC0) for
// the register forms, (opcode - 0xD8) * 8 + reg for the memory forms, whose operand is at
// `operand`. The first returns what the instruction left in eax (FNSTSW AX; upper half
// undefined); the second loads EFLAGS before and returns EFLAGS after.
mini_u32 mini_x87_register(mini_u32 form);
mini_u32 mini_x87_register_flags(mini_u32 form, mini_u32 flags);
void mini_x87_memory(mini_u32 form, void *operand);

// struct sockaddr_un.
struct mini_sockaddr_un {
    mini_u16 family;
    mini_u8 path[108];
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
