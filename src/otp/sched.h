/* SPDX-License-Identifier: MIT */
/*
 * The scheduler: a pool of worker threads that run processes and drivers
 * (docs/design/processes.md).
 *
 * Each worker has a queue of runnable processes and one of posted drivers, from which others steal
 * when they have nothing, but only a surplus: what one worker can do at once stays with it, so that
 * an unloaded exchange never changes its thread. One thread at a time polls for descriptors
 * and timers; it is a worker that has nothing else to do, or, now and then, a busy one. Idle
 * workers spin for a moment, then one sleeps in the poll and the others on their own futex. Nobody
 * is woken for work that the awake ones can take soon: waking a core costs tens of microseconds.
 */
#ifndef RUSMI_OTP_SCHED_H
#define RUSMI_OTP_SCHED_H

#include "base/list.h"
#include "base/map.h"
#include "otp/blocking.h"
#include "otp/cache.h"
#include "otp/group.h"
#include "otp/log.h"
#include "otp/process.h"
#include "otp/remote.h"
#include "otp/timer.h"
#include "platform/lock.h"
#include "platform/poll.h"
#include "platform/thread.h"

#include <rusm/otp/runtime.h>

#include <signal.h>
#include <stdatomic.h>

/* Processes in a worker's own queue; a power of two. More overflow into the pool's queue. */
#define RUSMI_RUNQ_LEN 256
/* Slots in one block of stacks, and their number's bits. */
#define RUSMI_BLOCK_BITS  8
#define RUSMI_BLOCK_SLOTS (1u << RUSMI_BLOCK_BITS)
/* Stack size classes: 16 KiB << class, up to 1 GiB. */
#define RUSMI_CLASSES   17
#define RUSMI_STACK_MIN ((size_t)16384)
#define RUSMI_FREE_CACHE                                                                           \
    128 /* free slots that a worker keeps for itself, per class 0..CACHED_CLASSES */
#define RUSMI_CACHED_CLASSES 4
#define RUSMI_STRIPES        64 /* locks for rarely changed parts of control blocks */
/* Receives and sends of a process before others get a turn: Erlang's reductions in spirit. */
#define RUSMI_BUDGET 2000

/* Posted drivers, in order. */
struct rusmi_drivers {
    struct rusmi_lock lock;
    struct rusmi_list list; /* under lock */
    _Atomic uint32_t len;   /* written under lock */
    uint32_t put;           /* that were ever put in; under lock */
    _Atomic uint32_t taken; /* that were ever taken out; written under lock */
};

/* Whether a process holds a worker. The watchdog moves it from PROCESS to RELIEVED, the worker does
 * the rest. */
enum rusmi_hold {
    RUSMI_HOLD_NONE,     /* it is in its loop */
    RUSMI_HOLD_PROCESS,  /* a process runs on it */
    RUSMI_HOLD_RELIEVED, /* for so long that it does not count as awake: others poll, and may take
                            even its last */
};

/* How a process gives its worker to another. */
enum rusmi_leave {
    RUSMI_LEAVE_WAIT,  /* until it is woken; not at all if there is something new */
    RUSMI_LEAVE_YIELD, /* others are before it */
    RUSMI_LEAVE_END,   /* for good */
};

/* What a worker that has nothing to do saw of another's ring. */
struct rusmi_look {
    uint64_t at_ns;
    uint32_t head;
    /* the last driver that we put into its list */
    bool away;
    uint32_t away_put;   /* how many had been put in with it */
    uint64_t away_since; /* since when it has not begun another process; 0: not looked yet */
    uint64_t away_switches;
};

struct rusmi_worker {
    rusm_pool *pool;
    unsigned index;
    struct rusmi_thread thread;

    /* the worker and thieves, atomic */
    _Alignas(64) _Atomic uint32_t head; /* thieves and the worker take here, by compare-and-swap */
    _Atomic uint32_t tail;              /* the worker alone */
    struct rusmi_process *_Atomic ring[RUSMI_RUNQ_LEN];

    /* the worker alone, and the watchdog as sched.c says */
    _Alignas(64) struct rusmi_process *_Atomic next; /* woken last, runs next */
    _Atomic uint32_t inside;
    _Atomic uint32_t seized;

    /* the worker alone */
    /* relaxed: the watchdog looks at it, too */
    struct rusmi_process *_Atomic current;
    struct rusmi_process *left;   /* has been switched away from, which is not finished */
    enum rusmi_leave leave;       /* how it left */
    struct rusmi_cache cache;     /* free messages */
    unsigned handed;              /* times in a row that `next` came before the ring */
    uint64_t looked_ns;           /* when it last looked around */
    uint64_t look_from_ns;        /* when look_in began; 0: not known */
    unsigned look_in, look_every; /* it looks after so many processes; what look_in begins with */
    unsigned look_ran;            /* processes since it last asked whether others should help */
    uint32_t looked_head;         /* and where its ring began then */
    int *errno_place;             /* of the thread */
    struct rusmi_context context; /* of the scheduler loop */
    rusm_reason fault;            /* of the process that runs, see fault.c */
    void *fault_stack;            /* the alternate signal stack */
    stack_t fault_stack_old;      /* and the one before */
    int budget;
    unsigned work; /* units since drivers had a turn */
    bool look_now; /* whatever look_in says */
    bool in_driver;
    uint64_t steal_seed;
    struct rusmi_look *looks; /* at each worker */
    unsigned away;            /* of these, how many have a driver of ours */
    uint64_t searched_ns;     /* when it last looked at them all */
    struct rusmi_process *free[RUSMI_CACHED_CLASSES];
    unsigned free_len[RUSMI_CACHED_CLASSES];
    unsigned reserve; /* processes that it may begin without asking */

    /* any thread */
    struct rusmi_drivers drivers; /* posted by what ran here */
    _Atomic uint32_t hold;        /* enum rusmi_hold */
    _Atomic uint32_t park;        /* 0: asleep or going to; 1: woken */
    _Atomic uint32_t asleep;      /* on the futex */
    _Atomic uint32_t idle;        /* it looks for work, or sleeps */
    _Atomic uint64_t switches;    /* for the watchdog: grows while the worker gets on; relaxed */
};

/* What the watchdog remembers of a worker. */
struct rusmi_watched {
    uint64_t switches; /* when it looked last */
    uint64_t since_ns; /* since when that has been so, at the latest */
    bool told;         /* of the process that holds it */
};

struct rusmi_fd_watch;

/* One of the locks for parts of control blocks, with a cache line for itself: each end of a process
 * takes one. */
struct rusmi_stripe {
    struct rusmi_lock lock;
    char padding[64 - sizeof(struct rusmi_lock)];
};

/* A block of RUSMI_BLOCK_SLOTS stacks. */
struct rusmi_block {
    char *_Atomic base; /* NULL until it is mapped */
    char *controls;     /* the first control block; the others follow ... */
    size_t stride;      /* ... at this distance */
    size_t stack_size;
    bool guarded;
};

struct rusm_pool {
    rusm_pool_config cfg;
    struct rusmi_worker *workers;
    unsigned workers_len, workers_started;
    bool is_default;

    /* What every message and spawn reads and hardly anything writes; the padding keeps what is
     * written off these cache lines. */
    bool hands_over;  /* workers keep the process that is to run next to themselves */
    bool parks;       /* control blocks are not on the stacks */
    unsigned reserve; /* how many processes a worker reserves at a time */
    _Atomic uint32_t stop;
    _Atomic uint32_t blocks_len; /* written under slots_lock */
    struct rusmi_block *blocks;
    size_t blocks_max;
    struct rusmi_kit *kit;    /* NULL, but on a pool of the test kit: see kit.c */
    struct rusmi_look *looks; /* the workers': a row each */
    char padding[64];

    /* slots */
    struct rusmi_lock slots_lock;
    struct rusmi_process *free[RUSMI_CLASSES]; /* under slots_lock */
    _Atomic uint64_t reserved; /* processes, threads included, that may exist: those that do, and
                                  what workers keep in reserve */
    char more_padding[64];
    struct rusmi_stripe stripes[RUSMI_STRIPES];
    struct rusmi_lock crowd_stripes[RUSMI_STRIPES]; /* see send.c */

    /* work from outside the workers, and what they can not hold */
    struct rusmi_lock inject_lock;
    struct rusmi_process *inject_head, *inject_tail; /* linked by next_free; under inject_lock */
    _Atomic uint32_t inject_len;

    struct rusmi_drivers drivers; /* posted by other threads */
    _Atomic uint32_t drivers_alive;

    struct rusmi_blocking blocking;

    struct rusmi_poll poll;
    _Atomic uint32_t polling;      /* 1: a thread is the poller */
    _Atomic uint32_t poll_blocked; /* 1: and it sleeps in the poll */
    _Atomic uint64_t poll_until;   /* until when it sleeps there; 0: it does not */
    struct rusmi_timers timers;
    struct rusmi_lock fds_lock;
    struct rusmi_fd_watch **fds; /* by descriptor, see fd.c; under fds_lock */
    size_t fds_cap;
    uint32_t fd_number; /* of the last watch; under fds_lock */

    _Atomic uint32_t sleepers; /* workers on their futex */
    _Atomic uint32_t
        awake; /* workers that are neither there nor in a blocked poll; the watchdog waits on it */
    _Atomic uint32_t searching; /* workers that look for work before they sleep */
    struct rusmi_thread watchdog;
    _Atomic uint32_t held; /* workers that the watchdog took out of `awake`: HOLD_RELIEVED */
    _Atomic uint32_t watchdog_asleep;
    struct rusmi_watched *watchdog_seen; /* the watchdog's, one per worker */

    struct rusmi_lock runtimes_lock;
    struct rusmi_list runtimes;

    _Atomic uint64_t parked; /* processes whose pages are away */
    struct rusmi_thread parker;
};

/*
 * The worker that is the calling thread; NULL elsewhere. A process changes threads at a switch, so
 * the compiler must not remember the answer, nor the address of the variable: see
 * platform/context.h.
 */
#define RUSMI_TLS_MODEL __attribute__((tls_model("initial-exec")))
extern _Thread_local RUSMI_TLS_MODEL struct rusmi_worker *rusmi_tls_worker;

#if defined(__x86_64__) && !RUSMI_ASAN && !RUSMI_TSAN
#define RUSMI_WORKER_SELF_INLINE 1
static inline struct rusmi_worker *rusmi_worker_self(void)
{
    struct rusmi_worker *worker;

    __asm__ volatile("movq rusmi_tls_worker@gottpoff(%%rip), %0\n\t"
                     "movq %%fs:(%0), %0"
                     : "=r"(worker));
    return worker;
}
#else
#define RUSMI_WORKER_SELF_INLINE 0
struct rusmi_worker *rusmi_worker_self(void);
#endif

static inline struct rusmi_process *rusmi_worker_current(const struct rusmi_worker *worker)
{
    /* relaxed: the worker reads what it wrote; the watchdog checks what it finds */
    return atomic_load_explicit(&worker->current, memory_order_relaxed);
}

static inline void rusmi_worker_set_current(struct rusmi_worker *worker, struct rusmi_process *proc)
{
    atomic_store_explicit(&worker->current, proc, memory_order_relaxed); /* relaxed: as above */
}

/* Queue a process that has been made to run. Any thread. */
void rusmi_sched_queue(rusm_pool *pool, struct rusmi_process *proc);
/* The same from a thread that is no worker of the pool. */
void rusmi_sched_queue_outside(rusm_pool *pool, struct rusmi_process *proc);
/* Put it into the queue that all workers look at. */
void rusmi_sched_inject(rusm_pool *pool, struct rusmi_process *proc);
/* Leave the processor; returns when the process runs again, on whatever thread. Its own call. */
void rusmi_sched_leave(struct rusmi_process *proc, enum rusmi_leave leave);
/* The first thing on a new stack: finish what whoever was there before had begun. */
void rusmi_sched_arrive(void);
/* Work was added from outside the workers: make sure somebody sees it. */
void rusmi_sched_notify(rusm_pool *pool);
/* Set a timer of the pool, and see to it that the poller knows. Can not fail. */
void rusmi_sched_set_timer(rusm_pool *pool, struct rusmi_timer *timer, uint64_t at_ns);
rusm_err rusmi_sched_start(rusm_pool *pool);
void rusmi_sched_stop(rusm_pool *pool);

/* Run a process on the calling thread, which is that worker: for the test kit. */
void rusmi_sched_run(struct rusmi_worker *worker, struct rusmi_process *proc);
/* Be that worker, or no worker again. */
void rusmi_sched_adopt(struct rusmi_worker *worker, bool adopt);

/* Bring back the pages of a process that is about to run. */
void rusmi_unpark(struct rusmi_process *proc);

/* ---- kit.c ---- */
rusm_time rusmi_kit_now(const rusm_pool *pool);
/* Room for one more process among those that can run; false without memory. */
bool rusmi_kit_reserve(rusm_pool *pool);
/* It can run. */
void rusmi_kit_ready(rusm_pool *pool, struct rusmi_process *proc);
/* A thread that has entered waits: step the pool until it is woken, or nothing ever will. */
void rusmi_kit_suspend(struct rusmi_process *proc, rusm_time deadline);
/* Whether the running process gives way here, drawn from the seed. */
bool rusmi_kit_interrupts(rusm_pool *pool);
/* After a thread's wait: whether it was given up because nothing could ever end it. */
bool rusmi_kit_deadlocked(const rusm_pool *pool);
void rusmi_kit_del(rusm_pool *pool);

/* ---- process.c ---- */
/* Whether the pool may have one more process: then it is counted. */
bool rusmi_pool_reserve(rusm_pool *pool);
void rusmi_pool_unreserve(rusm_pool *pool);
/* One more in a counter of the caller's shard. */
void rusmi_shard_count(_Atomic uint64_t *counter);

/* ---- slots.c ---- */
rusm_err rusmi_slots_init(rusm_pool *pool);
void rusmi_slots_fini(rusm_pool *pool);
/* A free slot for a stack of at least so many bytes; its control block is that of a new life but
 * for fn and names. */
rusm_err rusmi_slot_take(rusm_pool *pool, size_t stack_size, struct rusmi_process **out_proc);
void rusmi_slot_give(rusm_pool *pool, struct rusmi_process *proc);
struct rusmi_lock *rusmi_slot_stripe(rusm_pool *pool, const struct rusmi_process *proc);
/* The control block of a slot by its number; NULL beyond what was ever used. */
struct rusmi_process *rusmi_slot_at(rusm_pool *pool, uint32_t slot);
static inline uint32_t rusmi_slots_used(const rusm_pool *pool)
{
    /* acquire: pairs with the release in map_block */
    return atomic_load_explicit(&pool->blocks_len, memory_order_acquire) << RUSMI_BLOCK_BITS;
}

/* The control block takes so much of a stack's top. */
#define RUSMI_CONTROL_LEN ((sizeof(struct rusmi_process) + 63) & ~(size_t)63)

static inline struct rusmi_process *rusmi_block_slot(const struct rusmi_block *block,
                                                     uint32_t index)
{
    /* The caller has seen blocks_len, or a serial, after the block was published. */
    return (struct rusmi_process *)(void *)(block->controls + index * block->stride);
}

static inline struct rusmi_process *rusmi_slot_at_inline(rusm_pool *pool, uint32_t slot)
{
    return slot >= rusmi_slots_used(pool)
               ? NULL
               : rusmi_block_slot(&pool->blocks[slot >> RUSMI_BLOCK_BITS],
                                  slot & (RUSMI_BLOCK_SLOTS - 1));
}

/* Whether overflows of its stack meet a guard page. */
bool rusmi_block_guarded(const struct rusmi_process *proc);
/* The lowest usable address of a process's stack. */
void *rusmi_slot_stack(const struct rusmi_process *proc, size_t *out_size);

/* ---- driver.c ---- */
void rusmi_drivers_init(struct rusmi_drivers *drivers);
void rusmi_drivers_fini(struct rusmi_drivers *drivers);
/* A descriptor of the driver is ready: note it, and post. */
void rusmi_driver_ready(rusm_driver *driver);
/* The worker has put a driver into the list of home, the `put`th of it: it sees to it that it
 * runs. */
void rusmi_sched_away(struct rusmi_worker *worker, struct rusmi_worker *home, uint32_t put);
/* Run posted drivers of a list, at most `most` or for about RUSMI_DRIVERS_NS; true if any was. now
 * 0: look at the clock. */
#define RUSMI_DRIVERS_NS ((rusm_time)100 * 1000)
bool rusmi_drivers_run(struct rusmi_drivers *drivers, int most, rusm_time now);

/* ---- fd.c ---- */
void rusmi_fds_init(rusm_pool *pool);
void rusmi_fds_fini(rusm_pool *pool);
rusm_err rusmi_fds_watch_driver(rusm_pool *pool, int fd, unsigned events, rusm_driver *driver);
/* Something is ready: wake who waits for it. */
void rusmi_fds_ready(rusm_pool *pool, uint64_t key);

/* ---- runtime.c ---- */
/* As rusm_pool_new(); kit not NULL: without threads. Takes kit on RUSM_OK. */
rusm_err rusmi_pool_new(rusm_pool **out_pool, const rusm_pool_config *cfg, struct rusmi_kit *kit);
struct rusmi_name_table {
    struct rusmi_lock lock;
    struct rusmi_map names;
};

/*
 * Counters of a runtime that each spawn and each end changes: one set per worker, so that workers
 * do not fight for a cache line, and one for all other threads. `begun` is counted before it is
 * looked whether the runtime stops; `gone` is the last that an end does.
 */
struct rusmi_shard {
    _Alignas(64) _Atomic uint64_t begun, gone;
    _Atomic uint64_t spawned, exited, crashed, unread;
};

struct rusm_runtime {
    struct rusmi_list node;                /* in the pool's list, under runtimes_lock */
    struct rusmi_map_entry by_incarnation; /* in the table of all runtimes */
    rusm_pool *pool;
    uint64_t incarnation;
    char name[RUSM_NAME_MAX + 1];
    struct rusmi_name_table registry;
    struct rusmi_groups groups;
    struct rusmi_fars fars;
    struct rusmi_log log;

    _Atomic uint32_t stopping;
    struct rusmi_shard *shards; /* of the workers, and one more */
    _Atomic uint32_t left;      /* what rusm_runtime_stop() sleeps on: changes when one has gone */
    _Atomic uint64_t noproc, noname;
    _Atomic uint64_t copies_skipped;
    _Atomic uint64_t full, late, unexpected, timers_skipped, stream_dropped, accepts_delayed, held;
    _Atomic uint64_t streams_refused;
    _Atomic size_t offered, offered_peak; /* bytes for ends of streams that other nodes offered */
    _Atomic size_t offered_max;
    _Atomic uint32_t drivers; /* not yet closed */

    void *_Atomic owner;
    const struct rusm_router *_Atomic router;
    void *router_arg;
    _Atomic uint32_t router_calls;

    _Atomic uint32_t crowd_high, crowd_low; /* 0: off; calls are made under a crowd stripe */
    _Atomic int64_t far_bytes_max;          /* of one mailbox */
    void (*crowd_fn)(void *arg, rusm_pid pid, bool crowded);
    void *crowd_arg;
};

/*
 * Keep every runtime of this OS process, and its pool, from being freed: for threads that touch a
 * runtime, or a control block, which is not their own. May be nested; no switch to another process
 * may happen before the release.
 */
void rusmi_runtimes_hold(void);
void rusmi_runtimes_release(void);
/* The runtime of an incarnation in this OS process, or NULL. While held. */
rusm_runtime *rusmi_runtime_find(uint64_t incarnation);
/* The control block that has, or once had, the process with that pid, and its runtime; NULL if
 * there is none here. While held. */
struct rusmi_process *rusmi_runtime_find_process(rusm_pid pid, rusm_runtime **out_rt);
/* The counters for the calling thread. */
struct rusmi_shard *rusmi_runtime_shard(rusm_runtime *rt);
/* Processes that have begun and not gone: exact once no more can begin, else of some moment. */
uint64_t rusmi_runtime_live(const rusm_runtime *rt);
/* A process of rt has ended and given its slot back. The runtime may be gone after this. */
void rusmi_runtime_left(rusm_runtime *rt);
/* rt, or for NULL the caller's; NULL with the detail set if there is none. */
rusm_runtime *rusmi_runtime_resolve(rusm_runtime *rt);

/* ---- registry.c ---- */
void rusmi_registered_release(rusm_runtime *rt, struct rusmi_process *proc);
/* One of its names into buf (RUSM_NAME_MAX + 1 bytes); empty if it has none. */
void rusmi_registered_first(rusm_runtime *rt, struct rusmi_process *proc, uint64_t serial,
                            char *buf);
bool rusmi_registered_find(rusm_runtime *rt, const char *text, size_t len, rusm_pid *out_pid);

/* ---- watch.c ---- */
/* Take the watches of an ending process, under its stripe. */
rusm_exit_watch *rusmi_watches_take(struct rusmi_process *proc);
void rusmi_watches_fire(rusm_exit_watch *first, rusm_pid pid, const rusm_reason *reason);

/* ---- send.c ---- */
/* As the router's function of the same name; RUSM_ENONODE without one. From a process of rt, or for
 * what does not block with no lock held. */
rusm_err rusmi_route_stream(rusm_runtime *rt, const rusm_stream_signal *signal, int64_t timeout_ms);
/* Give the router of rt a signal. No lock may be held. Errors: see struct rusm_router. */
rusm_err rusmi_route_signal(rusm_runtime *rt, const rusm_signal *signal);
/* To a process of another node or runtime; msg is taken on RUSM_OK. Suspends for up to timeout_ms,
 * while there is no room. */
rusm_err rusmi_send_far(struct rusmi_process *self, rusm_pid to, rusm_msg *msg, int64_t timeout_ms);
/* Ask it for the name of a node; false if it is not known. */
bool rusmi_route_name(struct rusmi_process *self, uint64_t incarnation, char *buf, size_t buf_len);
/* As the router's functions of the same name; RUSM_ENONODE without a router that has it. */
void rusmi_route_groups_changed(rusm_runtime *rt);
rusm_err rusmi_route_group_send(rusm_runtime *rt, uint64_t incarnation, const char *group,
                                const void *data, size_t len, int64_t timeout_ms);
/* A message was taken from proc's mailbox, or it was closed: look whether it is no longer crowded.
 */
void rusmi_crowd_taken(struct rusmi_process *proc, bool closed);

#endif
