/* SPDX-License-Identifier: MIT */
/* Timers that send messages: see rusm/otp/timer.h and after.c. */
#ifndef RUSMI_OTP_AFTER_H
#define RUSMI_OTP_AFTER_H

struct rusmi_process;

/* Cancel and free all timers of a process that ends; none is firing afterwards. The thread that
 * winds it up. */
void rusmi_after_end(struct rusmi_process *proc);

#endif
