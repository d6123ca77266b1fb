/* SPDX-License-Identifier: MIT */
/* Threads of the library's own. All signals except those of faults are blocked in them, so that the
 * program's handlers run on the program's threads. */
#ifndef RUSMI_PLATFORM_THREAD_H
#define RUSMI_PLATFORM_THREAD_H

#include <pthread.h>
#include <stddef.h>

struct rusmi_thread {
    pthread_t impl;
};

/* Start a thread with that much stack; name is cut at 15 bytes. 0 or a positive errno value. */
int rusmi_thread_start(struct rusmi_thread *thread, void *(*fn)(void *), void *arg,
                       size_t stack_len, const char *name);
void rusmi_thread_join(struct rusmi_thread *thread);
/* How many CPUs this OS process may use; at least 1. */
unsigned rusmi_thread_cpus(void);
/* Let another thread have the CPU. */
void rusmi_thread_yield(void);
/* Tell the CPU that the caller spins. */
static inline void rusmi_thread_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

#endif
