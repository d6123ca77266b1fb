/* SPDX-License-Identifier: MIT */
/**
 * @file
 * For those who connect other event sources to the schedulers: librusm-cluster's links are made of
 * these calls. It is the counterpart of Erlang's linked-in drivers (OTP, erl_driver(3erl));
 * programs made of processes do not need it.
 */
#ifndef RUSM_OTP_DRIVER_H
#define RUSM_OTP_DRIVER_H

#include <rusm/err.h>
#include <rusm/otp/message.h>
#include <rusm/otp/process.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/** The monotonic clock, or the virtual clock of a deterministic pool. Threads: any. Never goes
 * back. */
RUSM_API rusm_time rusm_now(void);

/**
 * Set what rusm_err_detail() tells the calling process or thread; returns err, so that a failing
 * path is one line: `return rusm_set_err_detail(RUSM_EINVAL, "port %d is out of range", port);`
 *
 * Threads: any. Limits: the text is cut at 255 bytes.
 */
RUSM_API rusm_err rusm_set_err_detail(rusm_err err, const char *format, ...) RUSM_PRINTF(2, 3);

/**
 * End the calling process here if it has been killed.
 *
 * A call that is woken with RUSM_EKILLED first undoes what it began, and then calls this, which
 * does not return in a process. In an entered thread, and when nobody killed it, it does nothing.
 *
 * Threads: any.
 */
RUSM_API void rusm_checkpoint(void);

/**
 * Count n units of work for the calling process, as receives and sends do (Erlang's
 * erlang:bump_reductions/1): once its budget is used up, others get a turn. No effect in an
 * ordinary thread. A killed process may end here.
 *
 * Threads: any.
 */
RUSM_API void rusm_bump_reductions(unsigned n);

/* ---- waiters: block a process or a thread until somebody wakes it
 * --------------------------------------- */

/** Something that one process or thread waits on, once or many times. Counts references. */
typedef struct rusm_waiter rusm_waiter;

/** Make a waiter with one reference. Errors: RUSM_ENOMEM */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_waiter_new(rusm_waiter **out_waiter);
/** Take another reference. Threads: any. */
RUSM_API rusm_waiter *rusm_waiter_hold(rusm_waiter *waiter);
/** Give a reference back; the last one frees the waiter. NULL is allowed. Threads: any. */
RUSM_API void rusm_waiter_drop(rusm_waiter *waiter);

/**
 * Block until rusm_waiter_wake() has been called since the last wait that returned RUSM_OK.
 *
 * Suspends a process; blocks an ordinary thread, entered or not. One waits at a time.
 *
 * Errors:  RUSM_ETIMEOUT
 *          RUSM_EKILLED   the process is being killed: clean up, then rusm_checkpoint()
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_waiter_wait(rusm_waiter *waiter, int64_t timeout_ms);

/** Let the current or the next wait return RUSM_OK; many wakes count as one. Threads: any. Never
 * blocks. */
RUSM_API void rusm_waiter_wake(rusm_waiter *waiter);

/* ---- drivers: work that one thread at a time does, driven by a descriptor, a timer and requests
 * ---------- */

/** A driver. Its run function is executed by at most one thread at a time, on a stack of a
 * scheduler thread. */
typedef struct rusm_driver rusm_driver;

/** How a driver is made. */
typedef struct rusm_driver_config {
    size_t size;       /**< sizeof(rusm_driver_config) */
    const char *label; /**< for logs, copied; NULL: none */
    void (*run)(
        void *arg,
        rusm_time now_ns);     /**< there is work; must not block; may make processes runnable */
    void (*closed)(void *arg); /**< called once, last, after rusm_driver_close() */
    void *arg;
} rusm_driver_config;

/**
 * Make a driver on the pool of runtime rt.
 *
 * Owns:    the caller, until rusm_driver_close(). cfg is copied; cfg->arg must live until `closed`.
 * Errors:  RUSM_EINVAL, RUSM_ENOMEM, RUSM_ECLOSED
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_driver_new(rusm_driver **out_driver, rusm_runtime *rt,
                                                  const rusm_driver_config *cfg);

/**
 * Ask for a run soon. Many posts before a run count as one; a post during a run leads to another
 * run.
 *
 * What the poster wrote before is visible to the run. On a scheduler thread the run comes when the
 * present process suspends or has run for a while, so that many posts make one run (batching); if
 * the thread has nothing else to do, that is at once. From an ordinary thread it wakes a scheduler
 * if all are asleep.
 *
 * Threads: any. Never blocks, never runs the driver itself.
 */
RUSM_API void rusm_driver_post(rusm_driver *driver);

/**
 * Run the driver whenever fd is ready for events (RUSM_FD_READ, RUSM_FD_WRITE; level-triggered: the
 * run that leaves it ready is run again). events 0 takes fd out; do that before closing it. Several
 * descriptors may be attached.
 *
 * Threads: within run, or any thread before the first post or descriptor.
 * Errors:  RUSM_ESYS, RUSM_ENOMEM
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_driver_set_fd(rusm_driver *driver, int fd, unsigned events);

/**
 * Whether a descriptor was reported ready since the last call: lets a run that was posted for
 * another reason spare itself a read that would find nothing. What is not read is reported again.
 *
 * Threads: within run.
 */
RUSM_API bool rusm_driver_take_ready(rusm_driver *driver);

/** Run the driver at that time (rusm_now() scale); 0: no timer. Replaces the last. Threads: as
 * rusm_driver_set_fd(). */
RUSM_API void rusm_driver_set_timer(rusm_driver *driver, rusm_time at_ns);

/**
 * End a driver. `closed` is called exactly once, on a scheduler thread, when no run is or will be
 * executed; then the driver is gone. Detach descriptors before. A post that comes after this call
 * is a bug of the caller.
 *
 * Threads: any, within run too. Never blocks.
 */
RUSM_API void rusm_driver_close(rusm_driver *driver);

/* ---- delivery from elsewhere
 * ------------------------------------------------------------------------------ */

/** Set who a message is from, before it is delivered. Threads: the owner of msg. */
RUSM_API void rusm_msg_set_sender(rusm_msg *msg, rusm_pid sender);

/**
 * Let a message count against the bytes from elsewhere that a mailbox may hold
 * (rusm_runtime_watch_mailboxes()), from its delivery until it is received. Delivery can then fail
 * with RUSM_EFULL. Threads: the owner of msg.
 */
RUSM_API void rusm_msg_set_far(rusm_msg *msg);

/**
 * Put a message, sender set, into the mailbox of a process of rt.
 *
 * Owns:    takes msg on RUSM_OK; on any error the caller still owns it.
 * Threads: any. Never blocks.
 * Errors:  RUSM_ENOPROC
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_deliver(rusm_runtime *rt, uint64_t serial, rusm_msg *msg);

/** As rusm_deliver(), to a registered name of name_len bytes (need not end in NUL). Errors:
 * RUSM_ENONAME */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_deliver_name(rusm_runtime *rt, const char *name,
                                                    size_t name_len, rusm_msg *msg,
                                                    rusm_pid *out_pid);

/**
 * Be told when a mailbox of rt becomes crowded and when it no longer is.
 *
 * fn(arg, pid, true) once a mailbox holds more than `high` messages, or messages from elsewhere
 * (rusm_msg_set_far()) of more than half of far_bytes_max bytes; fn(arg, pid, false) once it is
 * down to `low` messages and a quarter of the bytes again, or its process has ended. The two
 * alternate for a pid, and no call is lost, but calls for one pid may come from different threads.
 *
 * fn runs on the thread that pushed or took the message and must neither block nor send.
 *
 * Threads: before the first process of rt is spawned. fn NULL switches it off.
 */
RUSM_API void rusm_runtime_watch_mailboxes(rusm_runtime *rt, uint32_t high, uint32_t low,
                                           uint64_t far_bytes_max,
                                           void (*fn)(void *arg, rusm_pid pid, bool crowded),
                                           void *arg);

/** Set what a message is, before it is delivered: a kind without a reason, with the number of its
 * reference (0: none). Threads: the owner of msg. */
RUSM_API void rusm_msg_set_kind(rusm_msg *msg, rusm_msg_kind kind, uint64_t ref_number);

/* ---- other nodes
 * ------------------------------------------------------------------------------ */

/** What passes between processes of different nodes beside messages (docs/design/remote.md). */
typedef enum rusm_signal_kind {
    RUSM_SIGNAL_LINK = 1,          /**< number: version of the link */
    RUSM_SIGNAL_UNLINK = 2,        /**< number: version of the link */
    RUSM_SIGNAL_UNLINKED = 3,      /**< the answer to an unlink, with its number */
    RUSM_SIGNAL_MONITOR = 4,       /**< number: of the watcher's reference */
    RUSM_SIGNAL_DEMONITOR = 5,     /**< number: of the watcher's reference */
    RUSM_SIGNAL_EXIT = 6,          /**< `from` was linked and has ended; reason */
    RUSM_SIGNAL_DOWN = 7,          /**< `from` was monitored and has ended; number, reason */
    RUSM_SIGNAL_ASK_EXIT = 8,      /**< rusm_exit_process(), rusm_kill(); reason */
    RUSM_SIGNAL_BORN_LINKED = 9,   /**< `from` was spawned for `to`, linked; number: of its
                                        reference */
    RUSM_SIGNAL_BORN_WATCHED = 10, /**< the same, but monitored */
    RUSM_SIGNAL_STOP = 11,         /**< rusm_server_stop(); reason */
} rusm_signal_kind;

/** A signal. */
typedef struct rusm_signal {
    rusm_signal_kind kind;
    rusm_pid from, to;
    uint64_t number;
    const rusm_reason *reason; /**< NULL unless the kind has one; valid during the call */
} rusm_signal;

/** What passes between the ends of a stream on two nodes (docs/design/streams.md). */
typedef enum rusm_stream_signal_kind {
    RUSM_STREAM_OFFER = 1,  /**< an end is handed over, in a message from one process to another */
    RUSM_STREAM_DATA = 2,   /**< bytes; or none: the writing end that was offered is in place */
    RUSM_STREAM_CREDIT = 3, /**< number: the position up to which may be written */
    RUSM_STREAM_END = 4,    /**< number: 1 the end here was closed, 2 it was lost */
} rusm_stream_signal_kind;

/** A signal of a stream. */
typedef struct rusm_stream_signal {
    rusm_stream_signal_kind kind;
    rusm_pid from, to; /**< the processes of an offer; else the incarnations alone count */
    uint64_t stream;   /**< of an offer: the number of the stream; else twice that number, and one
                            more if who sends this has offered it */
    uint64_t number;   /**< of credit and end */
    bool writing;      /**< of an offer: the writing end goes over */
    size_t capacity;   /**< of an offer: of the buffer */
    size_t used;       /**< of an offer: bytes that are written and not read; of a reading end they
                            are the first of data */
    const void *data;  /**< of data and offer; valid during the call */
    size_t len;
    const void *via; /**< going out: for rusm_stream_signal_is_late() */
} rusm_stream_signal;

/** What a runtime asks when it meets a pid of another incarnation. */
typedef struct rusm_router {
    /**
     * Carry a message, of whatever kind. Takes msg on RUSM_OK. While there is no room the caller is
     * suspended for up to timeout_ms (RUSM_ETIMEOUT); 0: RUSM_EAGAIN at once.
     */
    rusm_err (*send)(void *arg, rusm_pid from, rusm_pid to, rusm_msg *msg, int64_t timeout_ms);
    /**
     * Carry a signal, in order with the messages of the same sender to the same receiver. It does
     * not block, and nothing is lost silently: what can not be carried ends the link to that node,
     * so that rusm_runtime_node_down() follows. Called with no lock of the runtime held.
     * RUSM_EPERM: this node may not; RUSM_ENONODE: it has no link to that one.
     */
    rusm_err (*signal)(void *arg, const rusm_signal *signal);
    /** The name of the node of that incarnation; false if it is not known. */
    bool (*node_name)(void *arg, uint64_t incarnation, char *buf, size_t buf_len);
    /** There is something for rusm_runtime_group_take(), and there was nothing before. Called on
     * any thread, with no lock held; must not block. NULL: never called. */
    void (*groups_changed)(void *arg);
    /** Send one copy of len bytes for the members of a group on the node of that incarnation;
     * timeout_ms as for `send`. NULL: other nodes are passed over. */
    rusm_err (*group_send)(void *arg, rusm_pid from, uint64_t incarnation, const char *group,
                           const void *data, size_t len, int64_t timeout_ms);
    /**
     * Carry a signal of a stream: an offer in order with the messages of its two processes, the
     * others of one stream in order with each other. Offers and data wait for room as `send` does;
     * data without bytes, credit and end do not block, as with `signal`. What was refused with
     * rusm_stream_signal_is_late() must not be carried. NULL: ends stay on their node.
     */
    rusm_err (*stream)(void *arg, const rusm_stream_signal *signal, int64_t timeout_ms);
} rusm_router;

/**
 * A node is connected: from here on processes of rt can link to and monitor its processes.
 *
 * Each node that is up has a table of its own. Processes of that node may watch at most watches_max
 * times here (links and monitors).
 *
 * Threads: any; calls for one incarnation in order.
 * Errors:  RUSM_ENOMEM, RUSM_EEXIST
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_runtime_node_up(rusm_runtime *rt, uint64_t incarnation,
                                                       size_t watches_max);

/**
 * The link to a node was lost: every link and monitor between its processes and those of rt is
 * broken, and who has to hear of it is told, with that reason (*noconnection* and why). When it
 * returns all of that is in the mailboxes. No effect if it is not up.
 *
 * Threads: any; no signal or message of that node may be delivered at the same time or afterwards.
 */
RUSM_API void rusm_runtime_node_down(rusm_runtime *rt, uint64_t incarnation,
                                     const rusm_reason *reason);

/** That incarnation will never come back: a newer one has taken its name. Its pids are answered
 * with *noproc* from now on. The last 4,096 are remembered. Threads: any. */
RUSM_API void rusm_runtime_node_past(rusm_runtime *rt, uint64_t incarnation);

/**
 * A signal from a node that is up has come, in its order; signal->from.incarnation is that node's.
 *
 * A signal that means nothing (any more) is ignored; one to a process that has ended is answered
 * through the router.
 *
 * Threads: any, one at a time for each node.
 * Errors:  RUSM_EFULL   the node has as many watches here as it may: end the link
 *          RUSM_ENOMEM  it had no effect: end the link
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_signal_deliver(rusm_runtime *rt, const rusm_signal *signal);

/**
 * Whether the connection that a signal of a stream is meant for has been lost. A router asks this
 * after it has found the connection that it would use: no later one is to carry the signal.
 *
 * Threads: any.
 */
RUSM_API bool rusm_stream_signal_is_late(const rusm_stream_signal *signal);

/**
 * A signal of a stream has come from a node that is up, in its order; signal->from.incarnation is
 * that node's.
 *
 * An offer for which there is no room (RUSM_FAR_STREAMS_MAX, RUSM_FAR_STREAM_BYTES_MAX,
 * rusm_runtime_set_offered_max()) is refused and counted (rusm_runtime_stats.streams_refused).
 *
 * Threads: any, one at a time for each node.
 * Errors:  RUSM_ENOPROC, RUSM_EFULL  an offer was dropped: its receiver has ended, or has no room
 *          RUSM_EPROTO               the peer lies, rusm_err_detail() says how: end the link
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_stream_deliver(rusm_runtime *rt,
                                                      const rusm_stream_signal *signal);

/**
 * Bound what ends of streams that other nodes offered hold, of all nodes together: their records,
 * and the buffers of reading ends, until they are closed here. Offers beyond it are refused as
 * above. Without this call there is no bound.
 *
 * Threads: any.
 */
RUSM_API void rusm_runtime_set_offered_max(rusm_runtime *rt, size_t max);

/** What they hold now; *out_peak: the most that it was. Threads: any. */
RUSM_API size_t rusm_runtime_offered(rusm_runtime *rt, size_t *out_peak);

/**
 * Prepare a link (or a monitor) of the caller with a process that the node of that incarnation is
 * asked to spawn. Its number goes there with the request.
 *
 * Owns:    the tie is the caller's until rusm_tie_bind(), or the caller or the link to the node
 *          ends.
 * Threads: in context.
 * Errors:  RUSM_ENONODE, RUSM_ENOMEM, RUSM_ENOCONTEXT
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_tie_prepare(uint64_t incarnation, bool is_link,
                                                   uint64_t *out_number);

/**
 * The process that was asked for is pid; or (the zero pid) there is none.
 *
 * Threads: in context, of who prepared it; one spawn at a time.
 * Errors:  RUSM_ENOLINK  the link to the node was lost since it was prepared: there is no tie, and
 *                        nothing was told
 *          RUSM_ENOCONTEXT
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_tie_bind(uint64_t number, rusm_pid pid);

/** From here on every process that the caller spawns is monitored by it from its beginning. The
 * downs come into its mailbox. Threads: in context. */
RUSM_API void rusm_watch_spawns(void);

/**
 * The caller, which has rusm_watch_spawns() on, has spawned pid for the process `asker` of another
 * node: make the ties that it prepared (numbers; 0: none), and tell it. If pid has ended, the asker
 * is told why.
 *
 * Threads: in context. Errors: RUSM_ENOMEM, RUSM_EFULL no ties were made; RUSM_EKILLED
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_tie_newborn(rusm_pid pid, rusm_pid asker,
                                                   uint64_t link_number, uint64_t monitor_number);

/** Set or (NULL) remove the router of a runtime. Removing waits until no thread is in a router
 * call. Threads: ordinary. */
RUSM_API void rusm_runtime_set_router(rusm_runtime *rt, const rusm_router *router, void *arg);

/* ---- members of groups on several nodes
 * ------------------------------------------------------------------- */

/** A process of this runtime that has joined or left a group. */
typedef struct rusm_group_change {
    char group[RUSM_NAME_MAX + 1];
    uint64_t serial;
    bool joined;
} rusm_group_change;

/**
 * Begin to keep the changes of local members for rusm_runtime_group_take(), first of all that each
 * present one has joined; or (false) stop, drop what was not taken, and forget all remote members.
 *
 * Threads: any. Never blocks.
 */
RUSM_API void rusm_runtime_group_follow(rusm_runtime *rt, bool on);

/**
 * Take the oldest changes that were kept, at most changes_max. Those of one process in one group
 * are in order; the end of a process is one for each of its groups. Nothing is ever left out.
 *
 * Threads: any; one at a time, if the order matters. Never blocks.
 * Returns: how many were written
 */
RUSM_API size_t rusm_runtime_group_take(rusm_runtime *rt, rusm_group_change *changes,
                                        size_t changes_max);

/**
 * Enter a process of another node as a member, which those who monitor the group hear of. It stays
 * until one of the next two calls. No effect if it is one.
 *
 * Threads: any. Never blocks. group has group_len bytes, which are a valid name.
 * Errors:  RUSM_EINVAL  pid is of this runtime
 *          RUSM_ENOMEM
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_runtime_group_remote_add(rusm_runtime *rt, const char *group,
                                                                size_t group_len, rusm_pid pid);
/** Take it out again; no effect if it is none. Threads: any. Never blocks, never fails. */
RUSM_API void rusm_runtime_group_remote_del(rusm_runtime *rt, const char *group, size_t group_len,
                                            rusm_pid pid);
/** Take at most members_max members of that node out of their groups; true: none is left. Threads:
 * any. Never blocks, never fails. */
RUSM_API bool rusm_runtime_group_remote_drop_some(rusm_runtime *rt, uint64_t incarnation,
                                                  size_t members_max);
/** Take all members of that node out of their groups. Threads: any. Never blocks, never fails. */
RUSM_API void rusm_runtime_group_remote_drop(rusm_runtime *rt, uint64_t incarnation);

/**
 * Give a message from elsewhere, sender set, to the local members of a group.
 *
 * Owns:    takes msg, unless the result is negative
 * Threads: any. Never blocks.
 * Returns: to how many (those whose mailbox is full and refuses are not counted), or RUSM_ENONAME:
 *          the group has no local member; RUSM_ENOMEM: nobody got it
 */
RUSM_API RUSM_MUST_CHECK ptrdiff_t rusm_runtime_group_deliver(rusm_runtime *rt, const char *group,
                                                              size_t group_len, rusm_msg *msg);

/** Attach a pointer to a runtime (the node that it belongs to), and read it. Threads: any. */
RUSM_API void rusm_runtime_set_owner(rusm_runtime *rt, void *owner);
/** The pointer set by rusm_runtime_set_owner(), or NULL. Threads: any. */
RUSM_API void *rusm_runtime_get_owner(const rusm_runtime *rt);

/** Somebody who wants to know of one process's end. Embedded in the watcher's own memory. */
typedef struct rusm_exit_watch {
    void (*fn)(void *arg, rusm_pid pid, const rusm_reason *reason); /**< must not block */
    void *arg;
    rusm_pid pid; /* set by rusm_watch_exit(); the fields below are the library's */
    struct rusm_exit_watch *next, *prev;
} rusm_exit_watch;

/**
 * Call watch->fn when local process pid ends: exactly once, after its names are released and before
 * its pid is dead to rusm_is_alive() for good.
 *
 * Owns:    watch stays the caller's and must live until fn has been called or rusm_unwatch_exit()
 *          returned.
 * Threads: any.
 * Errors:  RUSM_ENOPROC  it has ended; fn is not called
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_watch_exit(rusm_exit_watch *watch, rusm_pid pid);

/** Take a watch back: true if fn was not and will not be called; false if it has been or is being
 * called now. */
RUSM_API bool rusm_unwatch_exit(rusm_exit_watch *watch);

RUSM_END_DECLS

#endif
