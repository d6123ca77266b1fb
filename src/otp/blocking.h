/* SPDX-License-Identifier: MIT */
/*
 * The threads of a pool on which blocking work is done: jobs, in order, on at most
 * rusm_pool_config.blocking_max threads (docs/design/io.md). A thread is started when a job finds
 * none idle, ends after ten idle seconds, and is joined by whoever starts the next or ends the
 * pool.
 *
 * A job is either a process (rusm_spawn_blocking) or work of the library's own, such as a look-up
 * of a name. The record of a job is its owner's; only the fields here are the queue's.
 */
#ifndef RUSMI_OTP_BLOCKING_H
#define RUSMI_OTP_BLOCKING_H

#include "base/list.h"
#include "platform/lock.h"

#include <rusm/err.h>
#include <rusm/otp/runtime.h>

#include <stdatomic.h>
#include <stdbool.h>

/* Of each thread: what rusm/otp/blocking.h promises to foreign libraries. */
#define RUSMI_BLOCKING_STACK_LEN ((size_t)8 << 20)

struct rusmi_process;

struct rusmi_job {
    struct rusmi_job *next;
    /* Do it; it frees the record. dropped: the pool ends, and it is not to be done. */
    void (*run)(struct rusmi_job *job, bool dropped);
    struct rusmi_process *proc; /* of rusm_spawn_blocking(); NULL: none */
};

struct rusmi_blocking {
    struct rusmi_lock lock;
    /* under lock */
    struct rusmi_job *first, **last;
    unsigned queued;
    unsigned reserved; /* jobs that are about to be queued */
    unsigned threads;  /* started and not ended */
    unsigned idle;     /* of those: without a job, and so free for one that is queued */
    bool closing;
    struct rusmi_list running, ended; /* struct rusmi_blocking_thread */

    rusm_time idle_ns;      /* how long a thread waits for a job; constant */
    _Atomic uint32_t calls; /* idle threads sleep on it; grows with each job */
};

void rusmi_blocking_init(struct rusmi_blocking *blocking);
/* End its threads, and wait until they have ended. */
void rusmi_blocking_fini(struct rusmi_blocking *blocking);
/* Make sure that a thread will come for one more job, then queue it or take it back. Any thread;
 * neither blocks. Errors: RUSM_EINVAL a pool without such threads, RUSM_ENOMEM, RUSM_ESYS */
rusm_err rusmi_blocking_reserve(rusm_pool *pool);
void rusmi_blocking_unreserve(rusm_pool *pool);
void rusmi_blocking_queue(rusm_pool *pool, struct rusmi_job *job);
/* The job that will run a process, reserved; then queue it with its proc set, or cancel it. */
rusm_err rusmi_blocking_process(rusm_pool *pool, struct rusmi_job **out_job);
/* NULL is allowed. */
void rusmi_blocking_process_cancel(rusm_pool *pool, struct rusmi_job *job);

#endif
