/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Looking at processes and counters of a runtime, in pages, without stopping anything.
 */
#ifndef RUSM_OTP_INFO_H
#define RUSM_OTP_INFO_H

#include <rusm/err.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/** What a process is doing. Values appear on the wire. */
typedef enum rusm_process_state {
    RUSM_PROCESS_RUNNABLE = 0, /**< waits for a scheduler thread */
    RUSM_PROCESS_RUNNING = 1,
    RUSM_PROCESS_RECEIVING = 2, /**< suspended in a receive */
    RUSM_PROCESS_WAITING = 3,   /**< suspended for a descriptor, a timer or a reply */
    RUSM_PROCESS_EXITING = 4,
    RUSM_PROCESS_THREAD = 5, /**< an ordinary thread that entered the runtime */
} rusm_process_state;

/** The name of a state, such as "receiving". Owns: nothing; the text is constant. */
RUSM_API const char *rusm_process_state_name(rusm_process_state state);

/** One process, as it was at some moment during the call. */
typedef struct rusm_process_info {
    rusm_pid pid;
    rusm_process_state state;
    uint64_t mailbox_len;  /**< messages not yet received */
    uint64_t reductions;   /**< work done: receives and sends, Erlang's measure in spirit */
    uint64_t memory_bytes; /**< address space of the stack and what the process holds beside it */
    uint64_t links;        /**< processes that it is linked to */
    uint64_t monitors;     /**< processes that it monitors */
    uint64_t monitored_by; /**< monitors on it */
    uint64_t heap_bytes;   /**< of those in memory_bytes: rusm_alloc() */
    uint64_t dropped;      /**< messages that its full mailbox refused or dropped */
    uint64_t function;     /**< address of the function that it was spawned with; 0: a thread */
    bool trap_exit;
    char label[RUSM_NAME_MAX + 1];
    char name[RUSM_NAME_MAX + 1]; /**< one of its registered names; empty if it has none */
} rusm_process_info;

/**
 * List processes of a runtime, a page at a time.
 *
 * Start with *cursor 0; call again with what the call left in it until it is 0 again. A process
 * that lives during the whole listing appears exactly once; one that starts or ends meanwhile may
 * or may not appear. No lock is held over a page: the runtime goes on.
 *
 * Owns:    nothing; infos is the caller's array of infos_max records. rt may be NULL in context.
 * Threads: any. Never blocks.
 * Returns: how many records were written, or a negative rusm_err: RUSM_EINVAL, RUSM_ENOCONTEXT
 */
RUSM_API RUSM_MUST_CHECK ptrdiff_t rusm_process_list(rusm_runtime *rt, uint64_t *cursor,
                                                     rusm_process_info *infos, size_t infos_max);

/** Look at one local process. Threads: any. Errors: RUSM_ENOPROC, RUSM_EINVAL */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_process_get_info(rusm_pid pid, rusm_process_info *out_info);

/** What joins a process to another one. */
typedef enum rusm_process_tie_kind {
    RUSM_PROCESS_TIE_LINK = 0,      /**< they are linked */
    RUSM_PROCESS_TIE_MONITORS = 1,  /**< it monitors the other one */
    RUSM_PROCESS_TIE_MONITORED = 2, /**< the other one monitors it */
} rusm_process_tie_kind;

/** A link or a monitor of a process. */
typedef struct rusm_process_tie {
    rusm_process_tie_kind kind;
    rusm_pid other;
    rusm_ref ref; /**< of a monitor; the zero reference of a link */
} rusm_process_tie;

/** Ties that one call of rusm_process_get_ties() shows at most. */
#define RUSM_PROCESS_TIES_MAX 1024

/**
 * Look at the links and monitors of a local process, in no order, as they were at one moment: links
 * and monitors that it made first, then those on it.
 *
 * Owns:    nothing; ties is the caller's array of ties_max records.
 * Threads: any. Never blocks.
 * Limits:  RUSM_PROCESS_TIES_MAX are written at most
 * Returns: how many there are, which may be more than were written, or a negative rusm_err:
 *          RUSM_ENOPROC, RUSM_EINVAL
 */
RUSM_API RUSM_MUST_CHECK ptrdiff_t rusm_process_get_ties(rusm_pid pid, rusm_process_tie *ties,
                                                         size_t ties_max);

/** Counters of a runtime since it started. */
typedef struct rusm_runtime_stats {
    uint64_t processes;            /**< alive now */
    uint64_t spawned;              /**< ever started */
    uint64_t exited;               /**< ever ended */
    uint64_t crashed;              /**< of those: crash, fault or stack overflow */
    uint64_t messages_unread;      /**< freed unread, because their receiver ended */
    uint64_t sends_noproc;         /**< refused: the receiver had ended */
    uint64_t sends_noname;         /**< refused: nobody had the name */
    uint64_t sends_full;           /**< refused or dropped: the mailbox was full */
    uint64_t copies_skipped;       /**< of sends to groups, for whole nodes: the link was full and
                                        the sender would not wait, or no memory */
    uint64_t replies_late;         /**< answers to calls that nobody waited for any more */
    uint64_t messages_unexpected;  /**< that a generic server has no function for */
    uint64_t timers_skipped;       /**< ticks of intervals for which there was no memory, or far
                                        too late */
    uint64_t stream_bytes_dropped; /**< written, and the reader closed */
    uint64_t streams_refused;      /**< offered by other nodes, beyond the limits or the memory */
    uint64_t accepts_delayed;      /**< accepts that waited for descriptors or memory */
    uint64_t parked;               /**< processes of the pool that are parked now */
    uint64_t schedulers_held;      /**< times that a process held a scheduler for too long */
} rusm_runtime_stats;

/** Read the counters of a runtime; rt may be NULL in context. Threads: any. Errors: RUSM_ENOCONTEXT
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_runtime_get_stats(rusm_runtime *rt,
                                                         rusm_runtime_stats *out_stats);

RUSM_END_DECLS

#endif
