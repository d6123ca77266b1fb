/* SPDX-License-Identifier: MIT */
/* What calls, servers and tasks share. */
#ifndef RUSMI_GEN_CALL_H
#define RUSMI_GEN_CALL_H

#include <rusm/err.h>
#include <rusm/otp/message.h>
#include <rusm/otp/reason.h>

struct rusmi_process;

/* RUSM_ENOPROC with a detail that says why `who` has ended. */
rusm_err rusmi_ended(const char *who, const rusm_reason *reason);

/*
 * Put a message into the mailbox of a process of any runtime of this OS process. It is freed if
 * that fails. self: who sends, or NULL. Errors: as rusm_deliver(); RUSM_EINVAL if there is no such
 * runtime.
 */
rusm_err rusmi_call_deliver(struct rusmi_process *self, rusm_pid to, rusm_msg *msg,
                            int64_t timeout_ms);

#endif
