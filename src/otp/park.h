/* SPDX-License-Identifier: MIT */
/*
 * Parking: the pages of a process that has waited for long are given back; see park.c and
 * docs/design/parking.md.
 */
#ifndef RUSMI_OTP_PARK_H
#define RUSMI_OTP_PARK_H

#include "otp/sched.h"

/* In `doing` of a control block: it is receiving, and was so when the parker last looked. Lists
 * show both as receiving. */
#define RUSMI_DOING_LONG 64

/* Whether this machine and build can park at all. */
bool rusmi_park_possible(void);
/* Start and stop the thread that parks. A pool that does not park has none. */
rusm_err rusmi_park_start(rusm_pool *pool);
void rusmi_park_stop(rusm_pool *pool);
/* Look at all processes once, and park those that were waiting at the last look too. Returns how
 * many were marked or parked. For tests: the thread does this. */
uint64_t rusmi_park_pass(rusm_pool *pool);

#endif
