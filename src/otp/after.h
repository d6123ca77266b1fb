/* SPDX-License-Identifier: MIT */
/* Timers that send messages: see rusm/otp/timer.h and after.c. */
#ifndef RUSMI_OTP_AFTER_H
#define RUSMI_OTP_AFTER_H

#include <stdint.h>

struct rusmi_process;

/* An interval that has more overdue ticks than that skips all but the newest. */
#define RUSMI_OVERDUE_MAX 1000

/* Cancel and free all timers of a process that ends; none is firing afterwards. The thread that
 * winds it up. */
void rusmi_after_end(struct rusmi_process *proc);
/*
 * When the tick after the one of at_ns is due: at the next step of the interval, which is at least
 * 1, unless the OS process was stopped for so long that it is better not to catch up; then
 * *out_skipped ticks are left out.
 */
uint64_t rusmi_after_next(uint64_t at_ns, uint64_t interval_ns, uint64_t now_ns,
                          uint64_t *out_skipped);

#endif
