/* SPDX-License-Identifier: MIT */
/*
 * Faults of processes: a memory fault, a stack overflow or an abort() in a process prints which one
 * it was and where; then the OS process aborts, or, with contain_faults, only that process ends
 * (docs/design/processes.md). A failed assertion of the library is never contained: what it says of
 * processes can not be trusted any more (base/assert.h).
 *
 * The handlers are installed while there is a pool. A fault that is not a process's goes to the
 * handler that was there before. Under the address and thread sanitizers nothing is installed: they
 * tell more.
 */
#ifndef RUSMI_OTP_FAULT_H
#define RUSMI_OTP_FAULT_H

#include "otp/sched.h"

/* A pool begins, and ends. */
void rusmi_faults_hold(void);
void rusmi_faults_release(void);
/* A thread on which processes run begins, and ends: the result, and the stack before it, are for
 * the end. */
void *rusmi_faults_thread_init(stack_t *out_old);
void rusmi_faults_thread_fini(void *stack, const stack_t *old);

#endif
