/* SPDX-License-Identifier: MIT */
/**
 * @file
 * A task: a process that computes one result for the process that started it (Elixir's Task, OTP's
 * rpc:async_call/4).
 */
#ifndef RUSM_OTP_TASK_H
#define RUSM_OTP_TASK_H

#include <rusm/err.h>
#include <rusm/otp/process.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/** What a task does: RUSM_OK with a result in *out_result (NULL: none), or an error, which
 * rusm_task_await() then returns. */
typedef rusm_err (*rusm_task_fn)(void *arg, rusm_msg **out_result);

/** A task of the process that started it. A value; only that process may await it, once. */
typedef struct rusm_task {
    rusm_pid pid;
    rusm_ref ref;
} rusm_task;

/**
 * Start a task, linked to the caller: it ends when the caller ends.
 *
 * A task that crashes does not end the caller with it: rusm_task_await() says what happened.
 *
 * Owns:    arg must live until the task has ended. cfg may be NULL.
 * Threads: in context.
 * Errors:  as rusm_spawn_with()
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_task_start(rusm_task *out_task, rusm_task_fn fn, void *arg,
                                                  const rusm_spawn_config *cfg);

/**
 * Wait for a task's result.
 *
 * The result does not lie in the mailbox: no receive meets it, and none has to be made for it. The
 * call returns when the task has ended. After RUSM_ETIMEOUT it goes on and may be awaited again.
 *
 * Owns:    the caller owns *out_result, which is NULL for a task without one; out_result may be
 *          NULL.
 * Threads: the process that started it.
 * Errors:  what the task returned
 *          RUSM_ETIMEOUT  it has not finished yet
 *          RUSM_ENOPROC   it ended without a result; rusm_err_detail() says why
 *          RUSM_EINVAL    it is no task of the caller, or was awaited already
 *          RUSM_ENOCONTEXT, RUSM_EKILLED
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_task_await(rusm_task *task, int64_t timeout_ms,
                                                  rusm_msg **out_result);

/** Kill a task and forget its result; a monitor on its pid tells when it has ended. No effect if it
 * was awaited. Threads: the process that started it. */
RUSM_API void rusm_task_cancel(rusm_task *task);

RUSM_END_DECLS

#endif
