/* SPDX-License-Identifier: MIT */
#include "platform/fault.h"

#include <stdio.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__has_include)
#if __has_include(<execinfo.h>)
#include <execinfo.h>
#define FAULT_BACKTRACE 1
#endif
#endif

/* A backtrace and its symbols need more than MINSIGSTKSZ. */
#define FAULT_STACK_LEN ((size_t)64 * 1024)
/* Of a stack that overflowed both ends tell something: who recurses, and who began it. */
#define FAULT_FRAMES_MAX  2048
#define FAULT_FRAMES_HEAD 32
#define FAULT_FRAMES_TAIL 16

const int rusmi_fault_signals[RUSMI_FAULT_SIGNALS] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

void rusmi_fault_decode(int signal, const siginfo_t *info, const void *ucontext,
                        struct rusmi_fault *out_fault)
{
    const ucontext_t *context = ucontext;

    *out_fault = (struct rusmi_fault){
        .signal = signal,
        .raised = info->si_code <= 0, /* SI_USER, SI_TKILL and their like: sigaction(2) */
    };
    if (!out_fault->raised) {
        out_fault->address = (uintptr_t)info->si_addr;
    }
    out_fault->is_abort =
        signal == SIGABRT && info->si_code == SI_TKILL && info->si_pid == getpid();
#if defined(__x86_64__)
    out_fault->sp = (uintptr_t)context->uc_mcontext.gregs[REG_RSP];
    out_fault->pc = (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    out_fault->sp = (uintptr_t)context->uc_mcontext.sp;
    out_fault->pc = (uintptr_t)context->uc_mcontext.pc;
#else
    (void)context;
#endif
}

bool rusmi_fault_divert(void *ucontext, void *top, void (*fn)(void *), void *arg)
{
    ucontext_t *context = ucontext;
    uintptr_t sp = (uintptr_t)top & ~(uintptr_t)63;

#if defined(__x86_64__)
    /* As after a call: the return address, which is never used, takes eight bytes. */
    sp -= sizeof(uintptr_t);
    *(uintptr_t *)sp = 0;
    context->uc_mcontext.gregs[REG_RSP] = (greg_t)sp;
    context->uc_mcontext.gregs[REG_RBP] = 0;
    context->uc_mcontext.gregs[REG_RDI] = (greg_t)arg;
    context->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)fn;
    return true;
#elif defined(__aarch64__)
    context->uc_mcontext.sp = sp;
    context->uc_mcontext.regs[0] = (uintptr_t)arg;
    context->uc_mcontext.regs[29] = 0;
    context->uc_mcontext.regs[30] = 0;
    context->uc_mcontext.pc = (uintptr_t)fn;
    return true;
#else
    (void)context;
    (void)sp;
    (void)fn;
    (void)arg;
    return false;
#endif
}

void *rusmi_fault_stack_set(stack_t *out_old)
{
    void *stack =
        mmap(NULL, FAULT_STACK_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stack_t mine = {.ss_sp = stack, .ss_size = FAULT_STACK_LEN};

    if (stack == MAP_FAILED) {
        return NULL;
    }
    if (sigaltstack(&mine, out_old) != 0) {
        (void)munmap(stack, FAULT_STACK_LEN);
        return NULL;
    }
    return stack;
}

void rusmi_fault_stack_drop(void *stack, const stack_t *old)
{
    if (stack != NULL) {
        (void)sigaltstack(old, NULL);
        (void)munmap(stack, FAULT_STACK_LEN);
    }
}

void rusmi_fault_backtrace_prepare(void)
{
#ifdef FAULT_BACKTRACE
    /* The first call loads the unwinder, which a signal handler must not. */
    void *frame;

    (void)backtrace(&frame, 1);
#endif
}

void rusmi_fault_backtrace(int fd, uintptr_t pc)
{
#ifdef FAULT_BACKTRACE
    void *frames[FAULT_FRAMES_MAX];
    int len = backtrace(frames, FAULT_FRAMES_MAX);
    int first = 0;

    while (first < len && (uintptr_t)frames[first] != pc) {
        first++;
    }
    first = first == len ? 0 : first; /* not found: everything is better than nothing */
    if (len - first <= FAULT_FRAMES_HEAD + FAULT_FRAMES_TAIL) {
        backtrace_symbols_fd(frames + first, len - first, fd);
    } else {
        char text[64];
        int text_len = snprintf(text, sizeof(text), "... %d calls between ...\n",
                                len - first - FAULT_FRAMES_HEAD - FAULT_FRAMES_TAIL);

        backtrace_symbols_fd(frames + first, FAULT_FRAMES_HEAD, fd);
        (void)!write(fd, text, (size_t)text_len);
        backtrace_symbols_fd(frames + len - FAULT_FRAMES_TAIL, FAULT_FRAMES_TAIL, fd);
    }
#else
    (void)fd;
    (void)pc;
#endif
}
