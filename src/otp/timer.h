/* SPDX-License-Identifier: MIT */
/*
 * Timers of a pool: a 4-ary heap of entries embedded in what they belong to. Whoever polls fires
 * those that are due. A timer's function is called under the heap's lock and must do no more than
 * wake a process or post a driver.
 */
#ifndef RUSMI_OTP_TIMER_H
#define RUSMI_OTP_TIMER_H

#include "platform/lock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rusmi_timer {
    uint64_t at_ns;
    size_t index; /* place in the heap + 1; 0: not set */
    void (*fire)(struct rusmi_timer *timer);
};

struct rusmi_timers {
    struct rusmi_lock lock;
    struct rusmi_timer **heap;
    size_t len, cap;
    _Atomic uint64_t next_ns; /* the earliest, UINT64_MAX without one */
};

void rusmi_timers_init(struct rusmi_timers *timers);
void rusmi_timers_fini(struct rusmi_timers *timers);
/* Set or move a timer. False: no memory; the timer is not set. *out_first: it is now the earliest.
 */
bool rusmi_timers_set(struct rusmi_timers *timers, struct rusmi_timer *timer, uint64_t at_ns,
                      bool *out_first);
/* Take it back; on return it is not firing and will not. */
void rusmi_timers_cancel(struct rusmi_timers *timers, struct rusmi_timer *timer);
/* Fire what is due; true if anything was. */
bool rusmi_timers_run(struct rusmi_timers *timers, uint64_t now_ns);
/* The earliest time; UINT64_MAX without one. */
uint64_t rusmi_timers_next(const struct rusmi_timers *timers);

#endif
