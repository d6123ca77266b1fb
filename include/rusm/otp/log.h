/* SPDX-License-Identifier: MIT */
/**
 * @file
 * The lifecycle log: what starts and ends, and why. Off by default.
 */
#ifndef RUSM_OTP_LOG_H
#define RUSM_OTP_LOG_H

#include <rusm/err.h>
#include <rusm/otp/reason.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/** What is logged; each level includes those before it. */
typedef enum rusm_log_level {
    RUSM_LOG_OFF = 0,
    RUSM_LOG_CRASH = 1, /**< crashes, faults, stack overflows; supervisors that give up; processes
                           that hold a scheduler for too long */
    RUSM_LOG_KILL = 2,  /**< also processes that were killed */
    RUSM_LOG_EXIT = 3,  /**< also labelled processes that end orderly */
    RUSM_LOG_SPAWN = 4, /**< also labelled processes that start */
} rusm_log_level;

/** What an entry is about. */
typedef enum rusm_log_event {
    RUSM_LOG_EVENT_SPAWN = 0,
    RUSM_LOG_EVENT_EXIT = 1,   /**< reason says how */
    RUSM_LOG_EVENT_LONG = 2,   /**< a process holds a scheduler; number: for how many ms */
    RUSM_LOG_EVENT_CENSUS = 3, /**< number: how many with this label are alive */
    RUSM_LOG_EVENT_NOTE = 4,   /**< words of the library; number: entries that were withheld */
} rusm_log_event;

/** One entry. What it points to is valid during the call only. */
typedef struct rusm_log_entry {
    size_t size; /**< sizeof(rusm_log_entry) */
    rusm_log_event event;
    rusm_log_level level;
    rusm_time at_ns; /**< rusm_now() scale */
    const char *runtime;
    rusm_pid pid;
    const char *label;         /**< empty if it has none */
    const rusm_reason *reason; /**< RUSM_LOG_EVENT_EXIT, else NULL */
    uint64_t number;
    int64_t change;   /**< RUSM_LOG_EVENT_CENSUS: since the last census */
    const char *text; /**< all of it in words, for people */
} rusm_log_entry;

/**
 * Where entries go. Called by one thread at a time, on any thread of the library, for short: it
 * must not make rusm calls that block. It runs outside of any process, so what it sends has no
 * sender.
 * Entries that it causes itself are not written, but counted. */
typedef void (*rusm_log_fn)(void *arg, const rusm_log_entry *entry);

/**
 * Choose what is logged for a runtime, from now on.
 *
 * Processes without a label are logged from RUSM_LOG_CRASH and RUSM_LOG_KILL on, but their spawns
 * and orderly ends are not: anonymous processes come and go by the million.
 *
 * A runtime writes at most 100 entries in a second; how many more there were is told in a note.
 *
 * Threads: any.
 * Errors:  RUSM_EINVAL      there is no such level
 *          RUSM_ECLOSED     the runtime is stopping
 *          RUSM_ENOCONTEXT  rt is NULL outside a context
 *          RUSM_ENOMEM
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_log_set_level(rusm_runtime *rt, rusm_log_level level);

/**
 * Replace the log function of this OS process; NULL: the default one, which writes aligned lines
 * to standard error, coloured on a terminal.
 *
 * Threads: any. When it returns the old function is not running any more and will not be called.
 */
RUSM_API void rusm_log_set_fn(rusm_log_fn fn, void *arg);

/**
 * Log every period_ms how many processes of each label are alive, if that changed; 0: no census. It
 * needs level RUSM_LOG_EXIT or above to be seen, and counts only processes that were spawned while
 * it is on.
 *
 * Threads: any. Limits: 256 labels; the rest are counted together as "(others)".
 * Errors:  RUSM_EINVAL, RUSM_ENOMEM, RUSM_ECLOSED, RUSM_ENOCONTEXT
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_log_set_census(rusm_runtime *rt, int64_t period_ms);

RUSM_END_DECLS

#endif
