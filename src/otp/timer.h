/* SPDX-License-Identifier: MIT */
/*
 * Timers of a pool: hierarchical timing wheels of entries embedded in what they belong to
 * (docs/design/timers.md).
 *
 * There is a wheel per worker and one for all other threads, each under its own lock; a timer lies
 * in that of the thread that set it. A wheel has 7 levels of 256 slots; a slot of level 0 is a tick
 * of 1,024 ns, one of each other level as long as all of the level below. A timer lies at the level
 * of the highest digit (to the base of 256) in which its tick differs from the wheel's, so that
 * what is at a level is due before all that is above it, and within a level the order of slots is
 * that of time. When the time of a slot comes its timers move down, at most once per level.
 *
 * The tick only sorts: a timer fires when its own time has come, never earlier, and those of one
 * tick in the order in which they were set.
 *
 * Threads: set and cancel of one timer are serialised by its owner; anything else may happen at
 * once. A timer's function is called by whoever polls, under the lock of the wheel. It may call
 * rusmi_timers_again() for its own timer and no other function of this file; it must not block, and
 * the memory of the timer may be gone when it returns. Setting allocates nothing and can not fail.
 */
#ifndef RUSMI_OTP_TIMER_H
#define RUSMI_OTP_TIMER_H

#include "platform/lock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rusmi_timer {
    uint64_t at_ns;                  /* under the wheel's lock, and the owner while it is not set */
    struct rusmi_timer *next, *prev; /* in the list of its slot; NULL at its ends */
    uint16_t place;                  /* number of the slot + 1; 0: not set */
    uint16_t wheel;                  /* that it is, or was, in; written by the owner alone */
    void (*fire)(struct rusmi_timer *timer);
};

struct rusmi_timer_wheel;

struct rusmi_timers {
    struct rusmi_timer_wheel *wheels;
    unsigned wheels_len;
    _Atomic uint32_t running; /* 1: a thread fires timers */
};

/* False: no memory. */
bool rusmi_timers_init(struct rusmi_timers *timers, unsigned wheels_len);
void rusmi_timers_fini(struct rusmi_timers *timers);
/* Set or move a timer, into that wheel. The owner. */
void rusmi_timers_set(struct rusmi_timers *timers, unsigned wheel, struct rusmi_timer *timer,
                      uint64_t at_ns);
/* Set the timer whose function is running once more. Only within that function. */
void rusmi_timers_again(struct rusmi_timers *timers, struct rusmi_timer *timer, uint64_t at_ns);
/* Take it back; on return it is not firing and will not. True if it was set. The owner. */
bool rusmi_timers_cancel(struct rusmi_timers *timers, struct rusmi_timer *timer);
/* When it is due; false if it is not set. The owner. */
bool rusmi_timers_get(struct rusmi_timers *timers, const struct rusmi_timer *timer,
                      uint64_t *out_at_ns);
/*
 * Fire what is due, in the order of time, up to a bound that keeps the caller's other work alive:
 * true if there was anything to do, and then there may be more. False at once if another thread is
 * at it. now_ns is less than UINT64_MAX.
 */
bool rusmi_timers_run(struct rusmi_timers *timers, uint64_t now_ns);
/*
 * Nothing fires before this; UINT64_MAX if nothing is set. It may be too early after timers were
 * cancelled or moved: running at that time brings a later one.
 */
uint64_t rusmi_timers_next(const struct rusmi_timers *timers);

#endif
