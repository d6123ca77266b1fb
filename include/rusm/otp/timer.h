/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Timers that send messages (OTP, erlang:send_after/3 and timer:send_interval/3).
 *
 * The accuracy is that of a tick: a timer never fires early, and at most a quarter of a millisecond
 * late while schedulers are free.
 */
#ifndef RUSM_OTP_TIMER_H
#define RUSM_OTP_TIMER_H

#include <rusm/err.h>
#include <rusm/otp/message.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/**
 * Send a copy of len bytes to a process of this runtime after delay_ms.
 *
 * The message has kind RUSM_MSG_TIMER, the caller as sender, and the timer's reference. The timer
 * belongs to the caller: it is cancelled when the caller ends.
 *
 * Owns:    nothing; the bytes are copied. out_ref may be NULL.
 * Threads: in context. Never blocks.
 * Errors:  RUSM_EINVAL    delay_ms is negative, or to is not a process of this runtime
 *          RUSM_ENOMEM, RUSM_ENOCONTEXT
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_send_after(rusm_pid to, const void *data, size_t len,
                                                  int64_t delay_ms, rusm_ref *out_ref);

/**
 * Send a copy of len bytes every interval_ms, first after one interval, until cancelled or until
 * either process ends. The times do not drift. A tick for which there is no memory is skipped and
 * counted in rusm_runtime_stats.timers_skipped, and so are all but the newest when more than a
 * thousand are overdue, as after the OS process was stopped; one that comes while the tick before
 * lies unread in the receiver's mailbox is still sent.
 *
 * Errors:  as rusm_send_after(); RUSM_EINVAL if interval_ms is less than 1
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_send_interval(rusm_pid to, const void *data, size_t len,
                                                     int64_t interval_ms, rusm_ref *out_ref);

/**
 * Cancel a timer of the calling process.
 *
 * After this call the timer sends nothing more; what it sent before may lie in the mailbox.
 *
 * Threads: the process that set it.
 * Errors:  RUSM_ENONAME   there is no such timer of the caller: it has fired, or was cancelled
 *          RUSM_ENOCONTEXT
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_cancel_timer(rusm_ref ref);

/** How long until a timer of the caller fires, in milliseconds rounded up. Returns: a negative
 * rusm_err as rusm_cancel_timer() if there is none. */
RUSM_API RUSM_MUST_CHECK ptrdiff_t rusm_timer_left_ms(rusm_ref ref);

RUSM_END_DECLS

#endif
