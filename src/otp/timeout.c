/* SPDX-License-Identifier: MIT */
/*
 * The time-out of a process's waits (docs/design/timers.md).
 *
 * Nearly all waits end before their time-out: a call waits for five seconds and is answered in a
 * microsecond. So the timer is not taken back after the wait, and not moved when the next wait ends
 * later than it is set; only when it ends earlier. When it fires before the time of the present
 * wait, it sets itself to that, and wakes nobody. A process that calls over and over pays for a
 * timer once per time-out, not once per call.
 *
 * `armed` is 0 or not later than the timer is set, or else its owner is just setting it. The owner
 * first says `until`, then looks at `armed`; who fires first clears `armed`, then looks at `until`;
 * sequentially consistent, so one of them sees the other, and a wait has a timer that is not later.
 */
#include "otp/timeout.h"

#include "base/list.h"
#include "otp/sched.h"

static void fired(struct rusmi_timer *timer)
{
    struct rusmi_timeout *timeout = rusmi_container(timer, struct rusmi_timeout, timer);
    struct rusmi_process *proc = rusmi_container(timeout, struct rusmi_process, timeout);
    uint64_t until;

    atomic_store(&timeout->armed, 0);
    until = atomic_load(&timeout->until);
    if (until > timer->at_ns) {
        atomic_store(&timeout->armed, until);
        rusmi_timers_again(&proc->pool->timers, timer, until);
    } else if (until != 0) {
        rusmi_process_wake(proc);
    }
}

void rusmi_timeout_begin(struct rusmi_process *proc, rusm_time deadline)
{
    struct rusmi_timeout *timeout = &proc->timeout;
    uint64_t armed;

    if (deadline == RUSMI_NEVER) {
        /* relaxed: who reads the old one wakes the process for nothing */
        if (atomic_load_explicit(&timeout->until, memory_order_relaxed) != 0) {
            atomic_store_explicit(&timeout->until, 0, memory_order_relaxed);
        }
        return;
    }
    atomic_store(&timeout->until, deadline);
    armed = atomic_load(&timeout->armed);
    if (armed == 0 || armed > deadline) {
        timeout->timer.fire = fired;
        timeout->used = true;
        atomic_store(&timeout->armed, deadline);
        rusmi_sched_set_timer(proc->pool, &timeout->timer, deadline);
    }
}

void rusmi_timeout_end(struct rusmi_process *proc)
{
    struct rusmi_timeout *timeout = &proc->timeout;

    if (timeout->used) {
        (void)rusmi_timers_cancel(&proc->pool->timers, &timeout->timer);
        timeout->used = false;
        /* relaxed, both: nobody else looks until it is set again */
        atomic_store_explicit(&timeout->until, 0, memory_order_relaxed);
        atomic_store_explicit(&timeout->armed, 0, memory_order_relaxed);
    }
}
