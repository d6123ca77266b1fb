/* SPDX-License-Identifier: MIT */
/*
 * Execution contexts: a stack with a place to go on, and the switch between two of them.
 *
 * A switch saves the callee-saved registers on the stack that is left and swaps the stack pointer
 * (context_x86_64.S, context_aarch64.S; ucontext elsewhere). The floating point environment and the
 * signal mask are not switched. The context that is entered learns from which one, because a
 * process may come back on another thread than it left on: nothing that was read from a
 * thread-local before a switch, errno included, is good after it.
 *
 * The address and thread sanitizers are told of each switch here.
 */
#ifndef RUSMI_PLATFORM_CONTEXT_H
#define RUSMI_PLATFORM_CONTEXT_H

#include "platform/tools.h"

#include <stddef.h>

struct rusmi_context {
    void *sp; /* where it goes on, while it is suspended */
#if RUSMI_ASAN
    void *fake_stack;
    const void *stack_low; /* of a thread's own context: learnt at the first switch away */
    size_t stack_len;
#endif
#if RUSMI_TSAN
    void *fiber;
#endif
};

/* The context of the calling thread itself, before its first switch. */
void rusmi_context_init_thread(struct rusmi_context *context);
/* A context that will run fn(arg), which never returns, on the stack [low, top); top is aligned
 * to 16. */
void rusmi_context_init(struct rusmi_context *context, void *low, void *top, void (*fn)(void *),
                        void *arg);
/* After a context was left for the last time. */
void rusmi_context_fini(struct rusmi_context *context);

/* Swap stack pointers; returns, in the context entered, the token given by who left. */
void *rusmi_context_swap(void **save_sp, void *load_sp, void *token);

#if defined(__x86_64__) && !defined(RUSMI_CONTEXT_UCONTEXT) && !RUSMI_ASAN && !RUSMI_TSAN
#define RUSMI_CONTEXT_INLINE 1
/*
 * rusmi_context_swap() without a call: then the return predictor is as the caller of this function
 * left it, and one whose callers all come from one place is predicted right. The registers that a
 * callee saves are on the stack meanwhile, in the order of context_x86_64.S; all others are lost.
 */
static inline __attribute__((always_inline)) void
rusmi_context_switch_inline(struct rusmi_context *from, struct rusmi_context *to)
{
    void **save = &from->sp;
    void *load = to->sp, *token = from;

    __asm__ volatile("leaq 1f(%%rip), %%rcx\n\t"
                     "pushq %%rcx\n\t"
                     "pushq %%rbp\n\t"
                     "pushq %%rbx\n\t"
                     "pushq %%r12\n\t"
                     "pushq %%r13\n\t"
                     "pushq %%r14\n\t"
                     "pushq %%r15\n\t"
                     "movq %%rsp, (%%rdi)\n\t"
                     "movq %%rsi, %%rsp\n\t"
                     "movq %%rdx, %%rax\n\t"
                     "popq %%r15\n\t"
                     "popq %%r14\n\t"
                     "popq %%r13\n\t"
                     "popq %%r12\n\t"
                     "popq %%rbx\n\t"
                     "popq %%rbp\n\t"
                     "popq %%rcx\n\t"
                     "jmpq *%%rcx\n"
                     "1:"
                     : "+D"(save), "+S"(load), "+d"(token)
                     :
                     : "rax", "rcx", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3",
                       "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
                       "xmm13", "xmm14", "xmm15", "memory", "cc");
}
#else
#define RUSMI_CONTEXT_INLINE        0
#define rusmi_context_switch_inline rusmi_context_switch
#endif

#if RUSMI_ASAN || RUSMI_TSAN
void rusmi_context_switch(struct rusmi_context *from, struct rusmi_context *to);
/* As rusmi_context_switch(), from a context that is never entered again. */
void rusmi_context_leave(struct rusmi_context *from, struct rusmi_context *to);
#else
static inline void rusmi_context_switch(struct rusmi_context *from, struct rusmi_context *to)
{
    (void)rusmi_context_swap(&from->sp, to->sp, from);
}

static inline void rusmi_context_leave(struct rusmi_context *from, struct rusmi_context *to)
{
    (void)rusmi_context_swap(&from->sp, to->sp, from);
}
#endif

#endif
