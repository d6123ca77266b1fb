/* SPDX-License-Identifier: MIT */
/*
 * Memory faults: what the kernel tells a signal handler about one, and how to go on elsewhere.
 *
 * Who handles which fault is decided by the caller; nothing is kept here.
 */
#ifndef RUSMI_PLATFORM_FAULT_H
#define RUSMI_PLATFORM_FAULT_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rusmi_fault {
    int signal;
    uintptr_t address; /* that was touched, or the instruction; 0 if it was raised */
    uintptr_t sp;      /* stack pointer at that moment; 0 if it is not known on this CPU */
    uintptr_t pc;      /* and the instruction, likewise */
    bool raised;       /* sent by somebody (kill(2)), not caused by an instruction */
    bool is_abort;     /* abort(), and so assert(): raised by this OS process for this thread */
};

/* The signals that faults come as. */
#define RUSMI_FAULT_SIGNALS 5
extern const int rusmi_fault_signals[RUSMI_FAULT_SIGNALS];

void rusmi_fault_decode(int signal, const siginfo_t *info, const void *ucontext,
                        struct rusmi_fault *out_fault);
/* Let the handler return into fn(arg), which never returns, on the stack that ends at top; false:
 * not known for this CPU. */
bool rusmi_fault_divert(void *ucontext, void *top, void (*fn)(void *), void *arg);

/* An alternate signal stack for the calling thread; NULL without memory. `old` is for the drop. */
void *rusmi_fault_stack_set(stack_t *out_old);
void rusmi_fault_stack_drop(void *stack, const stack_t *old);

/* Write the calls that lead to the instruction pc, which a signal handler was called for, to a
 * descriptor: the handler's own are left out. Names where the dynamic symbols have them, otherwise
 * object and offset, for addr2line(1). Prepare it outside of a handler. */
void rusmi_fault_backtrace_prepare(void);
void rusmi_fault_backtrace(int fd, uintptr_t pc);

#endif
