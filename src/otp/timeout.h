/* SPDX-License-Identifier: MIT */
/*
 * The time-out of a process's waits: see timeout.c.
 */
#ifndef RUSMI_OTP_TIMEOUT_H
#define RUSMI_OTP_TIMEOUT_H

#include "otp/timer.h"

#include <rusm/types.h>

struct rusmi_process;

/* All zero: never used. */
struct rusmi_timeout {
    /* the owner, and who fires */
    struct rusmi_timer timer;
    _Atomic uint64_t until; /* of the present wait, or the one before; 0: for ever */
    _Atomic uint64_t armed; /* when the timer fires; 0: perhaps not at all */
    /* the owner */
    bool used; /* the timer has ever been set */
};

/* The running process is about to wait until deadline (RUSMI_NEVER: for ever): see to it that it is
 * woken then. */
void rusmi_timeout_begin(struct rusmi_process *proc, rusm_time deadline);
/* Take it back: it is not firing and will not. */
void rusmi_timeout_end(struct rusmi_process *proc);

#endif
