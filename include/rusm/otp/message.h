/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Messages: bytes with a sender and a kind. It does not say what the bytes mean.
 *
 * A message belongs to the process that made or received it, until it is sent on or deleted; it is
 * freed when that process ends. Only the owner may touch it. To give a message to another process,
 * send it.
 */
#ifndef RUSM_OTP_MESSAGE_H
#define RUSM_OTP_MESSAGE_H

#include <rusm/err.h>
#include <rusm/otp/reason.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/** What a message is. Plain rusm_receive() takes all of them, in the order in which they came. */
typedef enum rusm_msg_kind {
    RUSM_MSG_DATA = 0,    /**< rusm_send() */
    RUSM_MSG_EXIT = 1,    /**< a linked process ended, or rusm_exit_process(): for those that trap
                           exits; no bytes, rusm_msg_reason() says why */
    RUSM_MSG_DOWN = 2,    /**< a monitored process ended; no bytes, rusm_msg_reason() says why */
    RUSM_MSG_CALL = 3,    /**< rusm_call(): to be answered with rusm_reply() */
    RUSM_MSG_CAST = 4,    /**< rusm_cast() */
    RUSM_MSG_TIMER = 5,   /**< rusm_send_after(), rusm_send_interval() */
    RUSM_MSG_REPLY = 6,   /**< the answer to a call; only rusm_call() sees it */
    RUSM_MSG_JOIN = 7,    /**< a process joined a monitored group; the bytes are the group's name */
    RUSM_MSG_LEAVE = 8,   /**< a process left a monitored group, or ended */
    RUSM_MSG_NODE_UP = 9, /**< a node came up, for who called rusm_monitor_nodes() */
    RUSM_MSG_NODE_DOWN = 10,     /**< the link to a node was lost, and why */
    RUSM_MSG_NAME_CONFLICT = 11, /**< a global name went to another process; the bytes are the name,
                                    the sender is its owner now */
} rusm_msg_kind;

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

/** The bytes of a message, aligned for any type; writable by whoever owns the message, except those
 * of a message that was sent to a group (rusm/otp/group.h): all members share them. */
RUSM_API void *rusm_msg_data(const rusm_msg *msg);

/** How many bytes a message has. */
RUSM_API size_t rusm_msg_len(const rusm_msg *msg);

/** Who sent it; the zero pid if it came from a thread that is no process. Never taken from the
 * payload. */
RUSM_API rusm_pid rusm_msg_sender(const rusm_msg *msg);

/** What a message is. */
RUSM_API rusm_msg_kind rusm_msg_get_kind(const rusm_msg *msg);

/** The reference of a down, call, reply, timer, join or leave message; the zero reference of any
 * other. */
RUSM_API rusm_ref rusm_msg_ref(const rusm_msg *msg);

/** Why the sender of an exit or down message ended; NULL for any other kind. Owns: nothing; valid
 * as long as the message. */
RUSM_API const rusm_reason *rusm_msg_reason(const rusm_msg *msg);

RUSM_END_DECLS

#endif
