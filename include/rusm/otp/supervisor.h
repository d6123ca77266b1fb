/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Supervisors (OTP, supervisor(3)): processes that start others, and start them again when they
 * end.
 */
#ifndef RUSM_OTP_SUPERVISOR_H
#define RUSM_OTP_SUPERVISOR_H

#include <rusm/err.h>
#include <rusm/otp/process.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/** Which children are restarted when one of them ends. */
typedef enum rusm_strategy {
    RUSM_ONE_FOR_ONE = 0,        /**< that child */
    RUSM_ONE_FOR_ALL = 1,        /**< all: the others are stopped first */
    RUSM_REST_FOR_ONE = 2,       /**< that child and those that were started after it */
    RUSM_SIMPLE_ONE_FOR_ONE = 3, /**< that child; all children are made at run time from one spec */
} rusm_strategy;

/** When a child is restarted. */
typedef enum rusm_restart {
    RUSM_PERMANENT = 0, /**< always */
    RUSM_TRANSIENT = 1, /**< unless it ended orderly: normal or shutdown */
    RUSM_TEMPORARY = 2, /**< never; its spec is forgotten when it ends */
} rusm_restart;

/**
 * One child. Give either fn, the body of a process, or start, which is run by the supervisor and
 * returns the pid of a process that it spawned with a link to its caller (rusm_server_start(),
 * rusm_supervisor_start()) and that is ready when it returns.
 */
typedef struct rusm_child_spec {
    size_t size;    /**< sizeof(rusm_child_spec), set by init */
    const char *id; /**< names the child within its supervisor; copied; 1 to RUSM_NAME_MAX bytes.
                       Unused under simple_one_for_one */
    rusm_process_fn fn;
    rusm_err (*start)(void *arg, rusm_pid *out_pid);
    void *arg; /**< stays the caller's, must live as long as the spec */
    rusm_restart restart;
    int64_t shutdown_ms; /**< how long it may take to end when asked, then it is killed (5,000).
                            0: killed at once; RUSM_INFINITY: never killed, for supervisors */
    bool is_supervisor;  /**< for lists only */
    const rusm_spawn_config *spawn; /**< how fn is spawned: label, name, stack. NULL: defaults, with
                                       the id as label. Copied, strings too */
} rusm_child_spec;

/** Fill spec with the defaults: permanent, 5,000 ms. Threads: any. */
RUSM_API void rusm_child_spec_init(rusm_child_spec *spec);

/** How a supervisor is made. Fill it with rusm_supervisor_config_init() first. */
typedef struct rusm_supervisor_config {
    size_t size; /**< sizeof(rusm_supervisor_config), set by init */
    rusm_strategy strategy;
    uint32_t max_restarts;   /**< so many restarts (3; UINT32_MAX: any number) ... */
    uint32_t seconds;        /**< ... within so many seconds (5) are allowed; with one more the
                              supervisor stops all children and ends with *shutdown* */
    uint32_t backoff_min_ms; /**< how long the second restart of a child in a row waits; doubled
                                with each, up to backoff_max_ms; back to none once it has lived for
                                backoff_max_ms. 0: no back-off (0) */
    uint32_t backoff_max_ms; /**< (10,000) */
    const rusm_child_spec *children; /**< started in this order, stopped in reverse. Copied. Under
                                        simple_one_for_one: exactly one, the template */
    size_t children_len;
    const char *name; /**< registered name and label of the supervisor; NULL: none */
} rusm_supervisor_config;

/** Fill cfg with the defaults: one_for_one, 3 restarts in 5 s, no back-off. Threads: any. */
RUSM_API void rusm_supervisor_config_init(rusm_supervisor_config *cfg);

/**
 * Start a supervisor, linked to the caller, and wait until its children have started.
 *
 * It traps exits. It ends when its parent does, after stopping its children in reverse order.
 *
 * Owns:    cfg and all specs are copied; their arg must live as long as the supervisor.
 * Threads: in context.
 * Errors:  RUSM_EINVAL    the config or a spec is not valid, or two have one id
 *          the error of a child that did not start; then those before it were stopped again
 *          and those of rusm_spawn_with()
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_supervisor_start(const rusm_supervisor_config *cfg,
                                                        rusm_pid *out_pid);

/**
 * Stop a supervisor: its children in reverse order, then itself, with reason shutdown; wait for
 * that. From a process that is linked to it the link is taken away first.
 *
 * Threads: in context; not from one of its children.
 * Errors:  RUSM_ENOPROC, RUSM_ETIMEOUT (it goes on), RUSM_EINVAL (also: it is of another node),
 *          RUSM_ENOCONTEXT, RUSM_ENOMEM
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_supervisor_stop(rusm_pid supervisor, int64_t timeout_ms);

/**
 * Add a child and start it.
 *
 * Under simple_one_for_one give spec NULL: the template with that arg is started. Otherwise arg is
 * not used.
 *
 * The supervisor answers these calls between restarts; all wait for at most timeout_ms.
 *
 * Threads: in context; not from the supervisor itself.
 * Errors:  RUSM_EEXIST    a child has the id
 *          RUSM_EINVAL    the spec is not valid, or does not fit the strategy; the supervisor is of
 *                         another node, where addresses of functions mean nothing
 *          RUSM_ENOPROC   the supervisor has ended
 *          RUSM_ETIMEOUT, RUSM_ENOMEM, and the error of a child that did not start
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_supervisor_start_child(rusm_pid supervisor,
                                                              const rusm_child_spec *spec,
                                                              void *arg, int64_t timeout_ms,
                                                              rusm_pid *out_pid);

/** Stop a child; its spec stays, except that of a temporary one. Errors: RUSM_ENONAME there is no
 * such child; others as rusm_supervisor_start_child() */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_supervisor_terminate_child(rusm_pid supervisor,
                                                                  const char *id,
                                                                  int64_t timeout_ms);

/** Stop a child of a simple_one_for_one supervisor by its pid. Errors: as
 * rusm_supervisor_terminate_child() */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_supervisor_terminate_pid(rusm_pid supervisor, rusm_pid child,
                                                                int64_t timeout_ms);

/** Start a child again that was terminated or is waiting. Errors: RUSM_EEXIST it runs;
 * RUSM_ENONAME; others as rusm_supervisor_start_child() */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_supervisor_restart_child(rusm_pid supervisor, const char *id,
                                                                int64_t timeout_ms,
                                                                rusm_pid *out_pid);

/** Forget the spec of a child that does not run. Errors: RUSM_EEXIST it runs; RUSM_ENONAME; others
 * as rusm_supervisor_start_child() */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_supervisor_delete_child(rusm_pid supervisor, const char *id,
                                                               int64_t timeout_ms);

/** Numbers of a supervisor (OTP, supervisor:count_children/1). */
typedef struct rusm_child_count {
    uint64_t specs;       /**< children, running or not */
    uint64_t active;      /**< running */
    uint64_t supervisors; /**< of those specs: supervisors */
    uint64_t restarts;    /**< ever made */
} rusm_child_count;

/** Count the children of a supervisor. Errors: as rusm_supervisor_start_child() */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_supervisor_count(rusm_pid supervisor, int64_t timeout_ms,
                                                        rusm_child_count *out_count);

/** One child of a supervisor. */
typedef struct rusm_child_info {
    char id[RUSM_NAME_MAX + 1];
    rusm_pid pid; /**< zero: it does not run */
    rusm_restart restart;
    bool is_supervisor;
    bool is_waiting; /**< it waits for its back-off, or its last start failed */
    uint64_t restarts;
} rusm_child_info;

/**
 * List children in start order, a page at a time: start with *cursor 0, go on until it is 0 again.
 *
 * Returns: how many records were written, or a negative rusm_err as rusm_supervisor_start_child()
 */
RUSM_API RUSM_MUST_CHECK ptrdiff_t rusm_supervisor_list(rusm_pid supervisor, uint64_t *cursor,
                                                        rusm_child_info *infos, size_t infos_max,
                                                        int64_t timeout_ms);

RUSM_END_DECLS

#endif
