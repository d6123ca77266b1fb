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
