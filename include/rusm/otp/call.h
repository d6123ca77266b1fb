/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Requests with an answer, and without (OTP, gen_server:call/3 and cast/2). Any process can answer
 * a call: it is a message of kind RUSM_MSG_CALL. rusm/otp/server.h is a loop that does.
 */
#ifndef RUSM_OTP_CALL_H
#define RUSM_OTP_CALL_H

#include <rusm/err.h>
#include <rusm/otp/message.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/** Who waits for the answer to a call: what a server keeps to answer later. A value. */
typedef struct rusm_from {
    rusm_pid pid; /**< the caller */
    rusm_ref ref; /**< its call */
} rusm_from;

/**
 * Send a request to a process and wait for its answer.
 *
 * The server is monitored meanwhile: if it ends, or has ended, the call fails at once. An answer
 * that comes after the time allowed is dropped and counted (rusm_runtime_stats.replies_late), so
 * it never turns up in a later receive. Other messages stay in the mailbox, in order, and are not
 * looked at.
 *
 * Owns:    nothing; the bytes are copied. The caller owns *out_reply; it may be NULL if the answer
 *          does not matter.
 * Threads: in context. Suspends the calling process only. A process can not call itself.
 * Errors:  RUSM_ETIMEOUT  no answer in time
 *          RUSM_ENOPROC   the server has ended; rusm_err_detail() says why
 *          RUSM_EINVAL    the zero pid, or the caller itself
 *          RUSM_ENONODE   the server's node is not connected
 *          RUSM_ENOLINK   the link to it was lost before the answer came
 *          RUSM_EMSGSIZE  to another node: over RUSM_MESSAGE_MAX
 *          RUSM_EFULL     the server's mailbox refused the request
 *          RUSM_ENOCONTEXT, RUSM_ENOMEM, RUSM_EKILLED
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_call(rusm_pid server, const void *data, size_t len,
                                            int64_t timeout_ms, rusm_msg **out_reply);

/** Like rusm_call(), to a registered name of the caller's runtime; also RUSM_ENONAME. */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_call_name(const char *server, const void *data, size_t len,
                                                 int64_t timeout_ms, rusm_msg **out_reply);

/** Who waits for the answer to a message of kind RUSM_MSG_CALL; zero for any other message. */
RUSM_API rusm_from rusm_msg_from(const rusm_msg *request);

/**
 * Answer a call.
 *
 * It counts as the answer if it comes from the node that was called or from the caller's own:
 * nobody else can answer in its place.
 *
 * Success means that the answer was sent; if the caller no longer waits it is dropped there. A
 * second answer to the same call is dropped likewise.
 *
 * Owns:    nothing; the bytes are copied.
 * Threads: any thread, any process: not only the one that was called.
 *          To a caller on another node in context, which is suspended while there is no room.
 * Errors:  RUSM_ENOPROC   the caller has ended; of another node: that was restarted since
 *          RUSM_ENONODE   the caller's node is not connected
 *          RUSM_EINVAL, RUSM_ENOMEM
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_reply(rusm_from from, const void *data, size_t len);

/** Like rusm_send(), but the message has kind RUSM_MSG_CAST: a request without an answer. Errors:
 * as rusm_send() */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_cast(rusm_pid server, const void *data, size_t len);

/** Like rusm_send_name(), but the message has kind RUSM_MSG_CAST. Errors: as rusm_send_name() */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_cast_name(const char *server, const void *data, size_t len);

RUSM_END_DECLS

#endif
