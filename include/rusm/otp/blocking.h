/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Blocking work: processes that have a thread of their own, so that a call that blocks in the
 * system, or a long computation, holds no scheduler (OTP's dirty schedulers).
 */
#ifndef RUSM_OTP_BLOCKING_H
#define RUSM_OTP_BLOCKING_H

#include <rusm/err.h>
#include <rusm/otp/process.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/**
 * Spawn a process that runs fn(arg) on a thread of its own, from a pool of at most
 * rusm_pool_config.blocking_max threads; more wait in order for a thread.
 *
 * It is a process like any other, with pid, mailbox, links and monitors, and every rusm call works
 * in it. It can not be ended from outside while it runs: a kill, an exit or the stop of its runtime
 * makes its blocking rusm calls return RUSM_EKILLED, and rusm_checkpoint() end it. One that is
 * killed before it has a thread ends when it gets one, and does not run. rusm_exit(), rusm_crash()
 * and rusm_checkpoint() leave its frames by longjmp(3): not from within a callback of a library
 * that holds locks. Its stack is the thread's (8 MiB), cfg->stack_size is not used.
 *
 * Owns:    arg stays the caller's. rt may be NULL in context; cfg may be NULL.
 * Threads: any. Never blocks.
 * Errors:  as rusm_spawn_with(); RUSM_ESYS no thread could be started; RUSM_EINVAL also on a pool
 *          with blocking_max 0 and on a pool of the test kit
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_spawn_blocking(rusm_runtime *rt, rusm_process_fn fn,
                                                      void *arg, const rusm_spawn_config *cfg,
                                                      rusm_pid *out_pid);

RUSM_END_DECLS

#endif
