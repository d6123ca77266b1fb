/* SPDX-License-Identifier: MIT */
/* A lock for short critical sections that neither block nor switch processes. */
#ifndef RUSMI_PLATFORM_LOCK_H
#define RUSMI_PLATFORM_LOCK_H

#include <pthread.h>
#include <stdbool.h>

struct rusmi_lock {
    pthread_mutex_t impl;
};

static inline void rusmi_lock_init(struct rusmi_lock *lock)
{
    (void)pthread_mutex_init(&lock->impl, NULL);
}

static inline void rusmi_lock_fini(struct rusmi_lock *lock)
{
    (void)pthread_mutex_destroy(&lock->impl);
}

static inline void rusmi_lock_take(struct rusmi_lock *lock)
{
    (void)pthread_mutex_lock(&lock->impl);
}

static inline bool rusmi_lock_try(struct rusmi_lock *lock)
{
    return pthread_mutex_trylock(&lock->impl) == 0;
}

static inline void rusmi_lock_give(struct rusmi_lock *lock)
{
    (void)pthread_mutex_unlock(&lock->impl);
}

#endif
