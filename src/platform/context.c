/* SPDX-License-Identifier: MIT */
#include "platform/context.h"

#include <stdint.h>

#if RUSMI_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if RUSMI_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#if !defined(RUSMI_CONTEXT_UCONTEXT) && !defined(__x86_64__) && !defined(__aarch64__)
#define RUSMI_CONTEXT_UCONTEXT 1
#endif

/* What a new stack holds for the first entry. */
struct start {
    void (*fn)(void *);
    void *arg;
    struct rusmi_context *context;
};

/* First frame on a new stack; `from` is who entered it. */
__attribute__((noreturn, used)) void rusmi_context_start(struct start *start,
                                                         struct rusmi_context *from);

void rusmi_context_start(struct start *start, struct rusmi_context *from)
{
#if RUSMI_ASAN
    __sanitizer_finish_switch_fiber(NULL, &from->stack_low, &from->stack_len);
#else
    (void)from;
#endif
    start->fn(start->arg);
    __builtin_trap();
}

#ifdef RUSMI_CONTEXT_UCONTEXT

#include <ucontext.h>

/* A suspended context is this record on its own stack. */
struct saved {
    ucontext_t ucontext;
    void *token;
    struct start *start;
};

static void ucontext_start(unsigned high, unsigned low)
{
    struct saved *saved = (struct saved *)(((uintptr_t)high << 16 << 16) | (uintptr_t)low);

    rusmi_context_start(saved->start, saved->token);
}

void *rusmi_context_swap(void **save_sp, void *load_sp, void *token)
{
    struct saved mine, *other = load_sp;

    *save_sp = &mine;
    other->token = token;
    (void)swapcontext(&mine.ucontext, &other->ucontext);
    return mine.token;
}

static void *prepare(char *low, char *top, struct start *start)
{
    struct saved *saved = (struct saved *)((uintptr_t)(top - sizeof(*saved)) & ~(uintptr_t)63);

    (void)getcontext(&saved->ucontext);
    saved->ucontext.uc_stack.ss_sp = low;
    saved->ucontext.uc_stack.ss_size = (size_t)((char *)saved - low);
    saved->ucontext.uc_link = NULL;
    saved->start = start;
    makecontext(&saved->ucontext, (void (*)(void))ucontext_start, 2,
                (unsigned)((uintptr_t)saved >> 16 >> 16), (unsigned)(uintptr_t)saved);
    return saved;
}

#else

/* In context_<cpu>.S: calls rusmi_context_start(start, token). */
void rusmi_context_trampoline(void);

static void *prepare(char *low, char *top, struct start *start)
{
    uintptr_t *sp = (uintptr_t *)(void *)top;

    (void)low;
#if defined(__x86_64__)
    /* What rusmi_context_swap pops: r15 r14 r13 r12 rbx rbp, then the address to go to. */
    *--sp = 0; /* ends a backtrace */
    *--sp = (uintptr_t)rusmi_context_trampoline;
    *--sp = 0;                /* rbp */
    *--sp = 0;                /* rbx */
    *--sp = (uintptr_t)start; /* r12 */
    *--sp = 0;
    *--sp = 0;
    *--sp = 0;
#else
    /* The frame of rusmi_context_swap: x19..x30, d8..d15. */
    sp -= 20;
    for (int i = 0; i < 20; i++) {
        sp[i] = 0;
    }
    sp[0] = (uintptr_t)start;                     /* x19 */
    sp[11] = (uintptr_t)rusmi_context_trampoline; /* x30 */
#endif
    return sp;
}

#endif

void rusmi_context_init_thread(struct rusmi_context *context)
{
    *context = (struct rusmi_context){0};
#if RUSMI_TSAN
    context->fiber = __tsan_get_current_fiber();
#endif
}

void rusmi_context_init(struct rusmi_context *context, void *low, void *top, void (*fn)(void *),
                        void *arg)
{
    struct start *start =
        (struct start *)((uintptr_t)((char *)top - sizeof(*start)) & ~(uintptr_t)15);

#if RUSMI_ASAN
    /* The last user of the stack may have left it in the middle of its frames. */
    __asan_unpoison_memory_region(low, (size_t)((char *)top - (char *)low));
#endif
    *start = (struct start){.fn = fn, .arg = arg, .context = context};
    *context = (struct rusmi_context){.sp = prepare(low, (char *)start, start)};
#if RUSMI_ASAN
    context->stack_low = low;
    context->stack_len = (size_t)((char *)top - (char *)low);
#endif
#if RUSMI_TSAN
    context->fiber = __tsan_create_fiber(0);
#endif
}

void rusmi_context_fini(struct rusmi_context *context)
{
#if RUSMI_TSAN
    __tsan_destroy_fiber(context->fiber);
    context->fiber = NULL;
#else
    (void)context;
#endif
}

#if RUSMI_ASAN || RUSMI_TSAN

static inline __attribute__((always_inline)) void
switch_told(struct rusmi_context *from, struct rusmi_context *to, void **fake_stack)
{
    struct rusmi_context *back;

#if RUSMI_ASAN
    __sanitizer_start_switch_fiber(fake_stack, to->stack_low, to->stack_len);
#else
    (void)fake_stack;
#endif
#if RUSMI_TSAN
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
    back = rusmi_context_swap(&from->sp, to->sp, from);
#if RUSMI_ASAN
    __sanitizer_finish_switch_fiber(from->fake_stack, &back->stack_low, &back->stack_len);
#else
    (void)back;
#endif
}

#if RUSMI_TSAN
/* The entry and the exit of an instrumented frame would be counted on different fibers. */
__attribute__((no_sanitize("thread")))
#endif
void rusmi_context_switch(struct rusmi_context *from, struct rusmi_context *to)
{
#if RUSMI_ASAN
    switch_told(from, to, &from->fake_stack);
#else
    switch_told(from, to, NULL);
#endif
}

#if RUSMI_TSAN
__attribute__((no_sanitize("thread")))
#endif
void rusmi_context_leave(struct rusmi_context *from, struct rusmi_context *to)
{
    switch_told(from, to, NULL);
}

#endif
