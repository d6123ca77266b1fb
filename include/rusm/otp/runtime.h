/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Pools of scheduler threads and the runtimes on them: start, enter from an ordinary thread, stop.
 */
#ifndef RUSM_OTP_RUNTIME_H
#define RUSM_OTP_RUNTIME_H

#include <rusm/err.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/** How a pool is made. Fill it with rusm_pool_config_init() first. */
typedef struct rusm_pool_config {
    size_t size;           /**< sizeof(rusm_pool_config), set by init: lets the record grow */
    unsigned threads;      /**< scheduler threads; 0: one per CPU that this OS process may use */
    size_t stack_size;     /**< default stack of a process, bytes of address space (65,536) */
    size_t processes_max;  /**< live processes in all runtimes of the pool (4,194,304) */
    uint32_t spin_us;      /**< how long an idle thread looks for work before it sleeps (50) */
    unsigned blocking_max; /**< threads of rusm_spawn_blocking() (64) */
    uint32_t hold_ms;      /**< a process that holds its scheduler thread for longer is logged and
                         counted (10; schedulers are looked at every 10 ms) */
    uint32_t park_idle_ms; /**< a process that has waited in a receive for so long, and up to twice
                              that, gives its stack pages back until it is woken; 0: never (0).
                              While it is parked nothing may point into its stack: whoever reads or
                              writes there meets a fault. No effect under the sanitizers, and
                              before Linux 6.13 */
    bool contain_faults; /**< a fault or abort() in a process ends that process, not the OS process;
                         what it held, locks too, stays held (false) */
} rusm_pool_config;

/** Fill cfg with the defaults. Threads: any. */
RUSM_API void rusm_pool_config_init(rusm_pool_config *cfg);

/**
 * Start a pool of scheduler threads.
 *
 * Most programs never call this: rusm_runtime_new() with no pool uses one default pool per OS
 * process, which starts with the first runtime and ends with the last.
 *
 * Owns:    the caller owns the pool and ends it with rusm_pool_del(). cfg is copied; NULL:
 *          defaults.
 * Threads: any ordinary thread.
 * Errors:  RUSM_ESYS    a thread or a mapping could not be made
 *          RUSM_EINVAL, RUSM_ENOMEM
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_pool_new(rusm_pool **out_pool, const rusm_pool_config *cfg);

/**
 * Stop the threads of a pool and free it; NULL is allowed. Its runtimes must have been deleted
 * before: a pool that still has one is a bug and aborts.
 *
 * Threads: an ordinary thread, never a process. Waits for the scheduler threads to end.
 */
RUSM_API void rusm_pool_del(rusm_pool *pool);

/** How a runtime is made. Fill it with rusm_runtime_config_init() first. */
typedef struct rusm_runtime_config {
    size_t size;      /**< sizeof(rusm_runtime_config), set by init */
    rusm_pool *pool;  /**< NULL: the default pool of this OS process */
    const char *name; /**< for pids and logs, copied; NULL: "local" */
} rusm_runtime_config;

/** Fill cfg with the defaults. Threads: any. */
RUSM_API void rusm_runtime_config_init(rusm_runtime_config *cfg);

/**
 * Start a runtime: an empty namespace of processes with a fresh random incarnation.
 *
 * Owns:    the caller owns the runtime and ends it with rusm_runtime_del(). cfg is copied; NULL:
 *          defaults.
 * Threads: any ordinary thread.
 * Errors:  RUSM_EINVAL, RUSM_ENOMEM, RUSM_ESYS
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_runtime_new(rusm_runtime **out_rt,
                                                   const rusm_runtime_config *cfg);

/**
 * Kill every process of a runtime, refuse new ones, and wait until all have ended and nothing of
 * them is left.
 *
 * A process that never suspends (an endless loop without a rusm call) can not be ended from
 * outside; the call then gives up after timeout_ms and may be called again.
 *
 * Threads: an ordinary thread that has not entered this runtime.
 * Errors:  RUSM_ETIMEOUT  processes are still running; rusm_err_detail() names one
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_runtime_stop(rusm_runtime *rt, int64_t timeout_ms);

/**
 * Stop a runtime, wait for as long as that takes, and free it; NULL is allowed.
 *
 * Threads: an ordinary thread that has not entered this runtime. Drivers of the runtime must be
 * closed.
 */
RUSM_API void rusm_runtime_del(rusm_runtime *rt);

/** The incarnation of a runtime: the first word of all its pids. */
RUSM_API uint64_t rusm_runtime_incarnation(const rusm_runtime *rt);

/** The name of a runtime. Owns: nothing; valid as long as the runtime. */
RUSM_API const char *rusm_runtime_name(const rusm_runtime *rt);

/** The runtime that the calling process or entered thread belongs to; NULL outside. */
RUSM_API rusm_runtime *rusm_runtime_self(void);

/**
 * Make the calling ordinary thread a process of rt, with a pid and a mailbox of its own.
 *
 * Until rusm_thread_leave() every call that a process may make works from this thread too and
 * blocks it where it would have suspended a process. The thread can not be killed: if somebody
 * tries, or the runtime stops, its blocking calls return RUSM_EKILLED and it should leave.
 *
 * Threads: an ordinary thread that has entered no runtime.
 * Errors:  RUSM_EINVAL   the caller is a process, or the thread has entered already
 *          RUSM_ECLOSED  the runtime is stopping
 *          RUSM_EFULL, RUSM_ENOMEM
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_thread_enter(rusm_runtime *rt, const char *label);

/** End the process that the calling thread became; unread messages are freed. No effect if it never
 * entered. */
RUSM_API void rusm_thread_leave(void);

RUSM_END_DECLS

#endif
