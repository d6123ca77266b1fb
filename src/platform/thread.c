/* SPDX-License-Identifier: MIT */
#include "platform/thread.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>

int rusmi_thread_start(struct rusmi_thread *thread, void *(*fn)(void *), void *arg,
                       size_t stack_len, const char *name)
{
    pthread_attr_t attr;
    sigset_t all, old;
    char short_name[16];
    int err = pthread_attr_init(&attr);

    if (err != 0) {
        return err;
    }
    (void)sigfillset(&all);
    (void)sigdelset(&all, SIGSEGV);
    (void)sigdelset(&all, SIGBUS);
    (void)sigdelset(&all, SIGFPE);
    (void)sigdelset(&all, SIGILL);
    (void)sigdelset(&all, SIGABRT);
    (void)sigdelset(&all, SIGTRAP);
    (void)sigdelset(&all, SIGPROF);
    err = pthread_attr_setstacksize(&attr, stack_len);
    if (err == 0) {
        (void)pthread_sigmask(SIG_BLOCK, &all, &old);
        err = pthread_create(&thread->impl, &attr, fn, arg);
        (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    (void)pthread_attr_destroy(&attr);
    if (err == 0) {
        (void)snprintf(short_name, sizeof(short_name), "%s", name);
        (void)pthread_setname_np(thread->impl, short_name);
    }
    return err;
}

void rusmi_thread_join(struct rusmi_thread *thread)
{
    (void)pthread_join(thread->impl, NULL);
}

unsigned rusmi_thread_cpus(void)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) != 0 || CPU_COUNT(&set) < 1) {
        return 1;
    }
    return (unsigned)CPU_COUNT(&set);
}

void rusmi_thread_yield(void)
{
    (void)sched_yield();
}
