/* SPDX-License-Identifier: MIT */
#include "platform/lock.h"

#include "platform/thread.h"

/* About the length of a critical section; a holder that takes longer has lost its CPU. */
#define SPINS 100

void rusmi_lock_wait(struct rusmi_lock *lock)
{
    for (int i = 0; i < SPINS; i++) {
        rusmi_thread_pause();
        /* relaxed: only a hint that trying is worth it */
        if (atomic_load_explicit(&lock->word, memory_order_relaxed) == 0 && rusmi_lock_try(lock)) {
            return;
        }
    }
    /* acquire: pairs with the release in rusmi_lock_give; 2 stays, as others may sleep too */
    while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0) {
        rusmi_futex_wait(&lock->word, 2, UINT64_MAX);
    }
}
