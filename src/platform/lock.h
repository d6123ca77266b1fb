/* SPDX-License-Identifier: MIT */
/*
 * A lock for short critical sections that neither block nor switch processes: one word, one
 * exchange each way while nobody competes, a short spin and then the futex when somebody does (U.
 * Drepper, "Futexes Are Tricky", mutex 2).
 *
 * Word: 0 free, 1 taken, 2 taken and somebody may sleep.
 */
#ifndef RUSMI_PLATFORM_LOCK_H
#define RUSMI_PLATFORM_LOCK_H

#include "platform/futex.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct rusmi_lock {
    _Atomic(uint32_t) word;
};

#define RUSMI_LOCK_INIT                                                                            \
    {                                                                                              \
        0                                                                                          \
    }

/* The way when somebody holds it. */
void rusmi_lock_wait(struct rusmi_lock *lock);

static inline void rusmi_lock_init(struct rusmi_lock *lock)
{
    atomic_init(&lock->word, 0);
}

static inline void rusmi_lock_fini(struct rusmi_lock *lock)
{
    (void)lock;
}

static inline bool rusmi_lock_try(struct rusmi_lock *lock)
{
    uint32_t free_word = 0;

    /* acquire: pairs with the release in rusmi_lock_give */
    return atomic_compare_exchange_strong_explicit(&lock->word, &free_word, 1, memory_order_acquire,
                                                   memory_order_relaxed);
}

static inline void rusmi_lock_take(struct rusmi_lock *lock)
{
    if (!rusmi_lock_try(lock)) {
        rusmi_lock_wait(lock);
    }
}

static inline void rusmi_lock_give(struct rusmi_lock *lock)
{
    /* release: pairs with the acquire in rusmi_lock_try and rusmi_lock_wait */
    if (atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2) {
        rusmi_futex_wake(&lock->word, 1);
    }
}

#endif
