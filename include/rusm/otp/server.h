/* SPDX-License-Identifier: MIT */
/**
 * @file
 * The generic server (OTP, gen_server(3)): a process with a state that answers calls, takes casts
 * and hears everything else, written as a table of functions.
 */
#ifndef RUSM_OTP_SERVER_H
#define RUSM_OTP_SERVER_H

#include <rusm/err.h>
#include <rusm/otp/call.h>
#include <rusm/otp/process.h>
#include <rusm/otp/reason.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/**
 * What a server does. All run in the server's process, one at a time, and may use every rusm call.
 * They borrow the message: the loop frees it when they return.
 */
typedef struct rusm_server_ops {
    size_t size; /**< sizeof(rusm_server_ops) */
    /** Make the state; an error makes rusm_server_start() fail with it. NULL: the state is arg. */
    rusm_err (*init)(void *arg, void **out_state);
    /** A call: answer with rusm_reply(rusm_msg_from(request), ...), now or later. Required. */
    void (*call)(void *state, rusm_msg *request);
    /** A cast. NULL: casts go to info. */
    void (*cast)(void *state, rusm_msg *msg);
    /** Any other message: data, downs, exits (if it traps them), timers. NULL: they are freed and
     * counted in rusm_runtime_stats.messages_unexpected. */
    void (*info)(void *state, rusm_msg *msg);
    /**
     * The server ends in an orderly way: rusm_server_stop(), rusm_exit(), rusm_exit_with(), or, if
     * it traps exits, the end of its parent. Not when it is killed, crashes, or does not trap: use
     * rusm_at_exit() for what must happen always. NULL: nothing to do.
     */
    void (*terminate)(void *state, const rusm_reason *reason);
} rusm_server_ops;

/**
 * Start a server, linked to the caller, and wait until its init has returned.
 *
 * Owns:    ops must live as long as the server; arg stays the caller's. cfg may be NULL; its link
 *          is taken as true.
 * Threads: in context.
 * Errors:  what init returned; then the server has ended, and no exit comes from it
 *          RUSM_ETIMEOUT  init did not return in time: the server was killed
 *          RUSM_ENOPROC   it ended during init; rusm_err_detail() says why
 *          and those of rusm_spawn_with()
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_server_start(const rusm_server_ops *ops, void *arg,
                                                    const rusm_spawn_config *cfg,
                                                    int64_t timeout_ms, rusm_pid *out_pid);

/** Be a server from here on: for a process that was spawned otherwise, such as a supervisor's
 * child. Returns never; the process ends with it. In context of a process. */
RUSM_API RUSM_NORETURN void rusm_server_run(const rusm_server_ops *ops, void *arg);

/** End the calling server in an orderly way with that reason, from any of its functions: terminate
 * runs, then the process ends. In a process that is no server it is rusm_exit_with(). */
RUSM_API RUSM_NORETURN void rusm_server_exit(const rusm_reason *reason);

/**
 * Ask a server, here or on another node, to end with reason normal, and wait until it has (OTP,
 * gen_server:stop/3). It ends when it has handled the messages that came before; neither a full
 * mailbox nor what it traps matters. On another node the request is dropped, and counted there, if
 * its mailbox holds twice mailbox_bytes_max.
 *
 * Threads: in context; not the server itself.
 * Errors:  RUSM_ENOPROC   it had ended before
 *          RUSM_ETIMEOUT  it has not ended yet; it goes on trying
 *          RUSM_ENONODE   there is no link to its node
 *          RUSM_ENOLINK   the link was lost; whether it has ended is not known
 *          RUSM_EPERM     this node is an observer
 *          RUSM_EPROTO    its node speaks an older protocol
 *          RUSM_EINVAL, RUSM_ENOCONTEXT, RUSM_ENOMEM
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_server_stop(rusm_pid server, int64_t timeout_ms);

RUSM_END_DECLS

#endif
