/* SPDX-License-Identifier: MIT */
/*
 * Waiters. `signalled` is what is told, `sleeper` who is to be woken; both are written before the
 * other is read, on either side (sequentially consistent), so that a wake is seen by the waiter or
 * the waiter by the waker.
 */
#include "base/mem.h"
#include "otp/sched.h"
#include "platform/clock.h"
#include "platform/futex.h"

struct rusm_waiter {
    _Atomic uint32_t refs;
    _Atomic uint32_t signalled; /* also the futex of threads that have entered no runtime */
    struct rusmi_process *_Atomic sleeper;
};

rusm_err rusm_waiter_new(rusm_waiter **out_waiter)
{
    rusm_waiter *waiter = rusmi_zalloc(sizeof(*waiter));

    if (waiter == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    atomic_init(&waiter->refs, 1);
    *out_waiter = waiter;
    return RUSM_OK;
}

rusm_waiter *rusm_waiter_hold(rusm_waiter *waiter)
{
    /* relaxed: the caller has a reference already */
    (void)atomic_fetch_add_explicit(&waiter->refs, 1, memory_order_relaxed);
    return waiter;
}

void rusm_waiter_drop(rusm_waiter *waiter)
{
    /* acq_rel: what was done with a reference happens before the free by the last one */
    if (waiter != NULL && atomic_fetch_sub_explicit(&waiter->refs, 1, memory_order_acq_rel) == 1) {
        rusmi_free(waiter);
    }
}

void rusm_waiter_wake(rusm_waiter *waiter)
{
    struct rusmi_process *sleeper;

    /* The sleeper may go on, end, and take its pool with it, before it is touched below. */
    rusmi_runtimes_hold();
    atomic_store(&waiter->signalled, 1);
    sleeper = atomic_load(&waiter->sleeper);
    if (sleeper != NULL) {
        rusmi_process_wake(
            sleeper); /* control blocks are type-stable: at worst a wake-up for nothing */
    } else {
        rusmi_futex_wake(&waiter->signalled, 1);
    }
    rusmi_runtimes_release();
}

static rusm_err thread_wait(rusm_waiter *waiter, rusm_time deadline)
{
    while (atomic_exchange(&waiter->signalled, 0) == 0) {
        if (rusmi_clock_now() >= deadline) {
            return RUSM_ETIMEOUT;
        }
        rusmi_futex_wait(&waiter->signalled, 0, deadline);
    }
    return RUSM_OK;
}

rusm_err rusm_waiter_wait(rusm_waiter *waiter, int64_t timeout_ms)
{
    struct rusmi_process *self = rusmi_process_self();
    rusm_time deadline = rusmi_deadline(timeout_ms);
    rusm_err err;

    if (self == NULL) {
        return thread_wait(waiter, deadline);
    }
    atomic_store(&waiter->sleeper, self);
    for (;;) {
        rusmi_process_attend(self);
        if (atomic_exchange(&waiter->signalled, 0) != 0) {
            err = RUSM_OK;
            break;
        }
        if (rusmi_process_killed(self)) {
            err = RUSM_EKILLED;
            break;
        }
        if (rusmi_pool_now(self->pool) >= deadline) {
            err = RUSM_ETIMEOUT;
            break;
        }
        rusmi_process_suspend(self, RUSM_PROCESS_WAITING, deadline);
        if (self->is_thread && rusmi_kit_deadlocked(self->pool)) {
            err = rusmi_process_deadlocked();
            break;
        }
    }
    atomic_store(&waiter->sleeper, NULL);
    return err;
}
