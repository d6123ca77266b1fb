/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Messages: bytes with a sender. It does not say what the bytes mean.
 */
#ifndef RUSM_OTP_MESSAGE_H
#define RUSM_OTP_MESSAGE_H

#include <rusm/err.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/**
 * Make a message of len bytes, whose contents are not set.
 *
 * Header and bytes are one allocation, so a message that is built in place is never copied on its
 * way to a process of the same node.
 *
 * Owns:    the caller owns the message, until a send takes it or rusm_msg_del() frees it.
 * Threads: any. Never blocks.
 * Limits:  len is bounded by memory; what crosses a link by RUSM_MESSAGE_MAX.
 * Errors:  RUSM_ENOMEM
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_msg_new(rusm_msg **out_msg, size_t len);

/** Free a message; NULL is allowed. Threads: any. Never blocks. */
RUSM_API void rusm_msg_del(rusm_msg *msg);

/** The bytes of a message, aligned for any type; writable by whoever owns the message. */
RUSM_API void *rusm_msg_data(const rusm_msg *msg);

/** How many bytes a message has. */
RUSM_API size_t rusm_msg_len(const rusm_msg *msg);

/** Who sent it; the zero pid if it came from a thread that is no process. Never taken from the
 * payload. */
RUSM_API rusm_pid rusm_msg_sender(const rusm_msg *msg);

RUSM_END_DECLS

#endif
