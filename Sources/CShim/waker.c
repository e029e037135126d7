// The waker's thread: sleeps until something that it watches is readable, then waits until the launcher says that it has
// looked. If that runs the guest, BREAK is written to the lguest device, which blocks the thread until then. Where the
// device has no BREAK the launcher is sent a signal, again
// each millisecond: the first can come just before it is where a signal ends anything. The thread shares
// everything with the launcher and so ends with it, however that ends. It is C, and small,
// because it runs beside the Swift code: it may use no heap and nothing with a state.
// Source: docs/abi/lguest.md 1.5 (BREAK), 1.8.
#include "CShim.h"

enum { interrupted = 4, readable = 1, request_break = 3 };

static const struct mini_timespec again = {0, 1000000};

// Defined in call.S: clone(2), and a call of `function` on the new stack.
long mini_start_thread(long number, long flags, void *stack, int *identity,
                       void (*function)(struct mini_waker *), struct mini_waker *argument);

static void wake(struct mini_waker *waker) {
    struct mini_pollfd polled[1 + MINI_WAKER_LIMIT];
    const mini_u32 request[2] = {request_break, 1};
    struct mini_watch watch;
    mini_u32 count = 1;
    long result;

    polled[0].descriptor = waker->control;
    polled[0].events = readable;
    for (;;) {
        result = mini_syscall(waker->poll, (long)polled, (long)count, 0, 0, 0, 0);
        if (result == -interrupted) continue;
        if (result > 0 && polled[0].returned) {
            // Others to watch, or the launcher has closed its end: the thread's end as well.
            result = mini_syscall(waker->read, waker->control, (long)&watch, sizeof watch, 0, 0, 0);
            if (result == -interrupted) continue;
            if (result != sizeof watch || watch.count > MINI_WAKER_LIMIT) break;
            for (count = 1; count <= watch.count; count++) {
                int number = watch.descriptors[count - 1];
                // A complement: nothing but an error, or that the other end was closed.
                polled[count].descriptor = number < 0 ? ~number : number;
                polled[count].events = number < 0 ? 0 : readable;
            }
            continue;
        }
        if (result < 0) waker->failure = (int)-result;
        __atomic_store_n(&waker->waits, 1, __ATOMIC_SEQ_CST);
        while (__atomic_load_n(&waker->waits, __ATOMIC_SEQ_CST)) {
            const int runs = __atomic_load_n(&waker->runs, __ATOMIC_SEQ_CST);
            if (runs && waker->signal) {
                mini_syscall(waker->kill, waker->process, waker->owner, waker->signal, 0, 0, 0);
            } else if (runs) {
                result = mini_syscall(waker->write, waker->device, (long)request, sizeof request, 0, 0, 0);
                // Whoever cannot wake watches nothing more until it is told to again. (A guest
                // that is dead, ENOENT, needs no waking.)
                if (result < 0 && result != -interrupted) count = 1;
                if (count == 1) mini_waker_free(waker);
                if (!__atomic_load_n(&waker->waits, __ATOMIC_SEQ_CST)) break;
            }
            // FUTEX_WAIT, for as long as it is 1.
            mini_syscall(waker->futex, (long)&waker->waits, 0, 1, runs ? (long)&again : 0, 0, 0);
        }
        if (waker->failure) count = 1;
    }
    mini_syscall(waker->exit, 0, 0, 0, 0, 0, 0);
}

long mini_start_waker(long number, long flags, void *stack, struct mini_waker *waker) {
    return mini_start_thread(number, flags, stack, &waker->identity, wake, waker);
}

void mini_ignore_signal(int signal) { (void)signal; }
