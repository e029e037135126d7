#include "CShim.h"

long *mini_initial_stack;

long mini_argument_count(void) { return mini_initial_stack ? mini_initial_stack[0] : 0; }

const char *mini_argument(long index) { return (const char *)mini_initial_stack[1 + index]; }

const char *const *mini_environment(void) {
    return mini_initial_stack ? (const char *const *)(mini_initial_stack + 1 + mini_initial_stack[0] + 1) : 0;
}

void *mini_rescue_stack(void) {
    static char stack[MINI_RESCUE_STACK_SIZE] __attribute__((aligned(64)));
    return stack;
}

#ifndef MINI_FREESTANDING
// Under a C library its start-up hands the arguments to every constructor; the
// kernel's block lies just below argv.
__attribute__((constructor)) static void remember(int argc, char **argv, char **envp) {
    (void)argc;
    (void)envp;
    mini_initial_stack = (long *)argv - 1;
}
#endif
