/* SPDX-License-Identifier: MIT */
/*
 * The handler runs on the scheduler thread's alternate stack, with the process's frames below it as
 * the fault left them. To end only the process it lets the kernel return not to the faulting
 * instruction but to a function at the top of the process's own stack, whose frames are condemned;
 * from there the process ends as any other does. The kernel restores the signal mask on that way.
 *
 * Ending a process in the middle of an instruction frees nothing that it held: a lock of the heap,
 * for one, stays taken. That is why containing is off by default.
 */
#include "otp/fault.h"

#include "base/assert.h"
#include "otp/blocking.h"
#include "platform/fault.h"
#include "platform/tools.h"
#include "platform/vm.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FAULTS_HANDLED (!RUSMI_ASAN && !RUSMI_TSAN)

/* Of a thread for blocking work: more than the frame that began the process, and more than what the
 * thread has above that. */
#define THREAD_FRAME_MAX ((uintptr_t)4 * 1024)
#define THREAD_TOP_MAX   ((uintptr_t)256 * 1024)

/* Of the process that runs on this thread for blocking work; a worker has it in its record. */
static _Thread_local rusm_reason thread_fault;

static struct {
    pthread_mutex_t lock;
    unsigned pools;                            /* under lock */
    struct sigaction old[RUSMI_FAULT_SIGNALS]; /* written while there is no pool */
} faults = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Do what would have been done without us. */
static void chain(int signal, siginfo_t *info, void *ucontext)
{
    const struct sigaction *old = NULL;

    for (size_t i = 0; i < RUSMI_FAULT_SIGNALS; i++) {
        if (rusmi_fault_signals[i] == signal) {
            old = &faults.old[i];
        }
    }
    if (old == NULL) {
        return;
    }
    if ((old->sa_flags & SA_SIGINFO) != 0) {
        old->sa_sigaction(signal, info, ucontext);
    } else if (old->sa_handler != SIG_DFL && old->sa_handler != SIG_IGN) {
        old->sa_handler(signal);
    } else if (old->sa_handler == SIG_DFL || info->si_code > 0) {
        struct sigaction plain = {.sa_handler = SIG_DFL};

        /* The instruction faults again, and the kernel does the rest; a signal that was sent is
         * sent again. */
        (void)sigaction(signal, &plain, NULL);
        if (info->si_code <= 0) {
            (void)raise(signal);
        }
    }
}

static void say(const struct rusmi_process *proc, const rusm_reason *reason, uintptr_t pc,
                bool is_panic)
{
    char why[RUSM_REASON_TEXT_MAX + 64];
    char text[RUSM_NAME_MAX * 2 + sizeof(why) + 64];
    const char *label = proc->label == NULL ? "" : proc->label;
    int len;

    /* No allocation and no lock: numbers and strings only. The label may be read without its lock,
     * as only the end of this very process frees it. */
    (void)rusm_reason_format(reason, why, sizeof(why));
    len = snprintf(text, sizeof(text), "rusm: process <%s.%llu>%s%s: %s\n", proc->runtime->name,
                   (unsigned long long)proc->own_serial, label[0] == '\0' ? "" : " ", label,
                   is_panic ? "an assertion of the library failed; that is never contained" : why);
    if (len > 0) {
        ssize_t written = write(STDERR_FILENO, text, (size_t)len);

        (void)written;
    }
    rusmi_fault_backtrace(STDERR_FILENO, pc);
}

/* End the OS process, after the handler of SIGABRT that was there before had its turn. */
static _Noreturn void give_up(void)
{
    for (size_t i = 0; i < RUSMI_FAULT_SIGNALS; i++) {
        if (rusmi_fault_signals[i] == SIGABRT) {
            (void)sigaction(SIGABRT, &faults.old[i], NULL);
        }
    }
    abort();
}

/* The stack of a process. That of blocking work is the thread's: it is known as far as the thread
 * had come when the process began. */
struct stack {
    uintptr_t low, top;             /* where the stack pointer is */
    uintptr_t guard_low, guard_end; /* what it touches when it overflows */
    uintptr_t land;                 /* below all that the end of the process still needs */
};

static struct stack stack_of(const struct rusmi_process *proc)
{
    size_t len, page = rusmi_vm_page();
    uintptr_t low;

    if (proc->unwind != NULL) {
        uintptr_t first = (uintptr_t)proc->unwind; /* in the first frame */

        low = first - RUSMI_BLOCKING_STACK_LEN;
        return (struct stack){.low = low,
                              .top = first,
                              .guard_low = low - page,
                              .guard_end = low + THREAD_TOP_MAX,
                              .land = first - THREAD_FRAME_MAX};
    }
    low = (uintptr_t)rusmi_slot_stack(proc, &len);
    return (struct stack){.low = low - page,
                          .top = low + len,
                          .guard_low = low - page,
                          .guard_end = low,
                          .land = low + len};
}

/* On the stack of a process that is to end, whose frames are condemned. */
static void land(void *arg)
{
    struct rusmi_process *proc = arg;
    struct rusmi_worker *worker = rusmi_worker_self();

    rusmi_process_end(proc, worker == NULL ? &thread_fault : &worker->fault);
}

/* A fault of a process: say it, and end the process if it can be ended. */
static bool end_process(struct rusmi_worker *worker, struct rusmi_process *proc,
                        const struct rusmi_fault *fault, void *ucontext)
{
    rusm_reason *reason = worker == NULL ? &thread_fault : &worker->fault;
    struct stack stack = stack_of(proc);
    bool is_there = fault->sp >= stack.low && fault->sp <= stack.top;
    bool is_panic = fault->is_abort && is_there &&
                    rusmi_is_panic((const void *)fault->sp, (const void *)stack.top);

    *reason = (rusm_reason){
        .kind = RUSM_REASON_FAULT, .signal = fault->signal, .address = (uint64_t)fault->address};
    if ((fault->signal == SIGSEGV || fault->signal == SIGBUS) &&
        fault->address >= stack.guard_low && fault->address < stack.guard_end) {
        reason->kind = RUSM_REASON_STACK_OVERFLOW;
    }
    say(proc, reason, fault->pc, is_panic);
    /* A process that is on another stack than its own, or that is ending already, is beyond help.
     */
    return proc->pool->cfg.contain_faults && !is_panic && is_there &&
           (worker == NULL || worker->left == NULL) &&
           rusmi_fault_divert(ucontext, (void *)stack.land, land, proc);
}

static void on_fault(int signal, siginfo_t *info, void *ucontext)
{
    struct rusmi_worker *worker = rusmi_worker_self();
    struct rusmi_process *proc = rusmi_process_self();
    struct rusmi_fault fault;

    if (proc != NULL && proc->is_thread && proc->unwind == NULL) {
        proc = NULL; /* a thread of the program, which entered */
    }
    rusmi_fault_decode(signal, info, ucontext, &fault);
    if (proc == NULL || (fault.raised && !fault.is_abort)) {
        chain(signal, info, ucontext);
    } else if (!end_process(worker, proc, &fault, ucontext)) {
        if (!fault.is_abort) {
            give_up();
        }
        chain(signal, info, ucontext); /* when this returns, the abort() under way goes on */
    }
}

void rusmi_faults_hold(void)
{
    struct sigaction mine = {.sa_flags = SA_SIGINFO | SA_ONSTACK};

    if (!FAULTS_HANDLED) {
        return;
    }
    mine.sa_sigaction = on_fault;
    (void)sigemptyset(&mine.sa_mask);
    (void)pthread_mutex_lock(&faults.lock);
    if (faults.pools++ == 0) {
        rusmi_fault_backtrace_prepare();
        for (size_t i = 0; i < RUSMI_FAULT_SIGNALS; i++) {
            (void)sigaction(rusmi_fault_signals[i], NULL, &faults.old[i]);
            (void)sigaction(rusmi_fault_signals[i], &mine, NULL);
        }
    }
    (void)pthread_mutex_unlock(&faults.lock);
}

void rusmi_faults_release(void)
{
    if (!FAULTS_HANDLED) {
        return;
    }
    (void)pthread_mutex_lock(&faults.lock);
    rusmi_assert(faults.pools > 0);
    if (--faults.pools == 0) {
        for (size_t i = 0; i < RUSMI_FAULT_SIGNALS; i++) {
            struct sigaction now;

            /* Somebody who has set a handler since keeps it. */
            if (sigaction(rusmi_fault_signals[i], NULL, &now) == 0 &&
                (now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == on_fault) {
                (void)sigaction(rusmi_fault_signals[i], &faults.old[i], NULL);
            }
        }
    }
    (void)pthread_mutex_unlock(&faults.lock);
}

void *rusmi_faults_thread_init(stack_t *out_old)
{
    thread_fault.kind = RUSM_REASON_FAULT; /* so that the thread has it before a handler needs it */
    return FAULTS_HANDLED ? rusmi_fault_stack_set(out_old) : NULL;
}

void rusmi_faults_thread_fini(void *stack, const stack_t *old)
{
    rusmi_fault_stack_drop(stack, old);
}
