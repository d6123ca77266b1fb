/* SPDX-License-Identifier: MIT */
/*
 * The scheduler loop: what a worker does next, how it gives way, and how it goes to sleep. See
 * otp/sched.h and docs/design/processes.md.
 */
#include "otp/sched.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/prng.h"
#include "otp/fault.h"
#include "otp/switch.h"
#include "platform/barrier.h"
#include "platform/clock.h"
#include "platform/futex.h"
#include "platform/thread.h"

#include <errno.h>

/* ... unless it has done so within this time. */
#define LOOK_NS ((uint64_t)20000)
/* It should look again after so long at the latest. */
#define LOOK_LATE_NS ((uint64_t)40000)
/* So many processes or drivers in one worker's queue are worth stealing. */
#define SURPLUS 2u
/* A driver that was left to another worker is run here if that has not got on for so long. */
#define AWAY_NS ((uint64_t)200000)
/* For how long a thief watches a ring before it takes from it. */
#define STEAL_NS ((uint64_t)4000)
/* Drivers that one turn runs at most, so that processes get theirs. */
#define TURN_MAX 32
/* A worker thread's stack: drivers run on it, with QUIC, TLS and their buffers. */
#define WORKER_STACK ((size_t)2 * 1024 * 1024)
/* How often the watchdog looks while anything runs. */
#define WATCH_NS  ((uint64_t)10 * 1000 * 1000)
#define NS_PER_MS ((uint64_t)1000000)

_Thread_local RUSMI_TLS_MODEL struct rusmi_worker *rusmi_tls_worker;

#if !RUSMI_WORKER_SELF_INLINE
/* The barrier keeps compilers from finding out that it is pure and from remembering its result
 * across a switch. */
__attribute__((noinline)) struct rusmi_worker *rusmi_worker_self(void)
{
    __asm__ volatile("" ::: "memory");
    return rusmi_tls_worker;
}
#endif

/* ---- queues ---------------------------------------------------------------------------------- */

void rusmi_sched_inject(rusm_pool *pool, struct rusmi_process *proc)
{
    rusmi_lock_take(&pool->inject_lock);
    proc->next_free = NULL;
    if (pool->inject_head == NULL) {
        pool->inject_head = proc;
    } else {
        pool->inject_tail->next_free = proc;
    }
    pool->inject_tail = proc;
    (void)atomic_fetch_add(&pool->inject_len, 1);
    rusmi_lock_give(&pool->inject_lock);
}

static struct rusmi_process *take_injected(rusm_pool *pool)
{
    struct rusmi_process *proc;

    if (atomic_load(&pool->inject_len) == 0) {
        return NULL;
    }
    rusmi_lock_take(&pool->inject_lock);
    proc = pool->inject_head;
    if (proc != NULL) {
        pool->inject_head = proc->next_free;
        (void)atomic_fetch_sub(&pool->inject_len, 1);
    }
    rusmi_lock_give(&pool->inject_lock);
    return proc;
}

static uint32_t ring_len(struct rusmi_worker *worker)
{
    return atomic_load(&worker->tail) - atomic_load(&worker->head);
}

/* Take half of another worker's ring: one is returned, the others go to ours, which is empty. */
static struct rusmi_process *ring_steal(struct rusmi_worker *thief, struct rusmi_worker *victim)
{
    /* acquire, both: pair with the victim's release of tail and with other takers of head */
    uint32_t head = atomic_load_explicit(&victim->head, memory_order_acquire);

    for (;;) {
        uint32_t tail = atomic_load_explicit(&victim->tail, memory_order_acquire);
        uint32_t count = (tail - head + 1) / 2;
        struct rusmi_process *taken[RUSMI_RUNQ_LEN / 2 + 1];

        if (tail == head || tail - head > RUSMI_RUNQ_LEN) {
            return NULL; /* empty, or head was read long before tail: not worth another try */
        }
        for (uint32_t i = 0; i < count; i++) {
            /* relaxed: valid only if head is still where it was, which the exchange proves */
            taken[i] = atomic_load_explicit(&victim->ring[(head + i) % RUSMI_RUNQ_LEN],
                                            memory_order_relaxed);
        }
        /* acq_rel: release pairs with the victim's acquire of head before it writes these places
         * again */
        if (atomic_compare_exchange_strong_explicit(&victim->head, &head, head + count,
                                                    memory_order_acq_rel, memory_order_acquire)) {
            for (uint32_t i = 1; i < count; i++) {
                if (!rusmi_ring_push(thief, taken[i])) {
                    rusmi_sched_inject(thief->pool, taken[i]);
                }
            }
            return taken[0];
        }
    }
}

/* The watchdog: take what waits for a worker that a process holds. */
static struct rusmi_process *next_seize(struct rusmi_worker *worker)
{
    struct rusmi_process *proc = NULL;

    atomic_store(&worker->seized, 1);
    rusmi_barrier_all();
    /* acquire: pairs with the release in next_leave() */
    if (atomic_load_explicit(&worker->inside, memory_order_acquire) == 0) {
        /* relaxed, both: see above */
        proc = atomic_load_explicit(&worker->next, memory_order_relaxed);
        atomic_store_explicit(&worker->next, NULL, memory_order_relaxed);
    }
    /* release: pairs with the acquire in next_enter() */
    atomic_store_explicit(&worker->seized, 0, memory_order_release);
    return proc;
}

void rusmi_sched_queue(rusm_pool *pool, struct rusmi_process *proc)
{
    rusmi_queue(rusmi_worker_self(), pool, proc);
}

void rusmi_sched_queue_outside(rusm_pool *pool, struct rusmi_process *proc)
{
    if (pool->kit != NULL) {
        rusmi_kit_ready(pool, proc);
        return;
    }
    rusmi_sched_inject(pool, proc);
    rusmi_sched_notify(pool);
}

void rusmi_sched_leave(struct rusmi_process *proc, enum rusmi_leave leave)
{
    rusmi_leave(rusmi_worker_self(), proc, leave);
}

void rusmi_sched_arrive(void)
{
    struct rusmi_worker *worker = rusmi_worker_self();

    if (worker->left != NULL) {
        rusmi_finish_leaving(worker);
    }
}

/* ---- sleeping and waking --------------------------------------------------------------------- */

/* More than that worker can do at once, or it can do nothing at all: worth another's time. */
static bool has_surplus_of(struct rusmi_worker *worker)
{
    uint32_t least = atomic_load(&worker->hold) == RUSMI_HOLD_RELIEVED ? 1 : SURPLUS;

    return ring_len(worker) >= least ||
           atomic_load(&worker->drivers.len) >= (atomic_load(&worker->idle) != 0 ? 1 : least);
}

static bool has_surplus(rusm_pool *pool)
{
    if (atomic_load(&pool->inject_len) != 0 || atomic_load(&pool->drivers.len) != 0 ||
        atomic_load(&pool->stop)) {
        return true;
    }
    for (unsigned i = 0; i < pool->workers_len; i++) {
        if (has_surplus_of(&pool->workers[i])) {
            return true;
        }
    }
    return false;
}

/* Anything that waits to be run, in the pool or with any worker. */
static bool has_work(rusm_pool *pool)
{
    if (has_surplus(pool)) {
        return true;
    }
    for (unsigned i = 0; i < pool->workers_len; i++) {
        if (ring_len(&pool->workers[i]) != 0 || atomic_load(&pool->workers[i].drivers.len) != 0) {
            return true;
        }
    }
    return false;
}

/*
 * Whether a thief should take from that worker now. That it has something is not yet a reason: if
 * its ring moves on by its length in a few microseconds, taking something, with all the cache lines
 * that go with it, costs both more than it helps.
 */
static bool is_worth_stealing(struct rusmi_worker *thief, struct rusmi_worker *victim, uint64_t now)
{
    struct rusmi_look *look = &thief->looks[victim->index];
    uint32_t len = ring_len(victim), head, passed;

    if (atomic_load(&victim->hold) == RUSMI_HOLD_RELIEVED) {
        return len != 0;
    }
    if (len < SURPLUS || now - look->at_ns < STEAL_NS) {
        return false;
    }
    head = atomic_load(&victim->head);
    passed = head - look->head;
    look->at_ns = now;
    look->head = head;
    return passed < len;
}

static struct rusmi_process *steal(struct rusmi_worker *worker)
{
    rusm_pool *pool = worker->pool;
    uint64_t now = rusmi_clock_now();
    struct rusmi_prng prng = {worker->steal_seed++};
    unsigned first = (unsigned)rusmi_prng_below(&prng, pool->workers_len);

    for (unsigned i = 0; i < pool->workers_len; i++) {
        struct rusmi_worker *victim = &pool->workers[(first + i) % pool->workers_len];
        struct rusmi_process *proc = victim == worker || !is_worth_stealing(worker, victim, now)
                                         ? NULL
                                         : ring_steal(worker, victim);

        if (proc != NULL) {
            return proc;
        }
    }
    return NULL;
}

/* Whether a worker other than this one, which runs, is at work: then that one polls. */
static bool others_work(rusm_pool *pool)
{
    return atomic_load(&pool->awake) - atomic_load(&pool->searching) > 1;
}

/* Wake one worker that sleeps, the one in the poll first: it is the warmest. False if none sleeps.
 */
static bool wake_one(rusm_pool *pool)
{
    if (atomic_load(&pool->poll_blocked) != 0) {
        rusmi_poll_wake(&pool->poll);
        return true;
    }
    if (atomic_load(&pool->sleepers) == 0) {
        return false;
    }
    for (unsigned i = 0; i < pool->workers_len; i++) {
        struct rusmi_worker *worker = &pool->workers[i];
        uint32_t asleep = 1;

        if (atomic_compare_exchange_strong(&worker->asleep, &asleep, 0)) {
            atomic_store(&worker->park, 1);
            rusmi_futex_wake(&worker->park, 1);
            return true;
        }
    }
    return false;
}

void rusmi_sched_notify(rusm_pool *pool)
{
    /* A worker that searches looks again after it has stopped searching, before it sleeps: it will
     * see the work. */
    if (atomic_load(&pool->searching) == 0) {
        (void)wake_one(pool);
    }
}

void rusmi_sched_set_timer(rusm_pool *pool, struct rusmi_timer *timer, uint64_t at_ns)
{
    struct rusmi_worker *worker = rusmi_worker_self();
    bool own = worker != NULL && worker->pool == pool;
    uint64_t until;

    rusmi_timers_set(&pool->timers, own ? worker->index : pool->workers_len, timer, at_ns);
    /* A poll that sleeps for longer must be told, once: until it wakes others need not. */
    until = atomic_load(&pool->poll_until);
    while (at_ns < until) {
        if (atomic_compare_exchange_strong(&pool->poll_until, &until, 0)) {
            rusmi_poll_wake(&pool->poll);
            return;
        }
    }
}

/* ---- polling --------------------------------------------------------------------------------- */

/* As the poller: wait until deadline, then make what is ready run. True if there was anything. */
static bool poll_as_poller(rusm_pool *pool, uint64_t deadline)
{
    uint64_t keys[RUSMI_POLL_MAX];
    size_t count =
        rusmi_poll_wait(&pool->poll, deadline == 0 ? 0 : rusmi_clock_now(), deadline, keys);
    bool any = count > 0;

    for (size_t i = 0; i < count; i++) {
        rusmi_fds_ready(pool, keys[i]);
    }
    return any;
}

static bool run_timers(rusm_pool *pool)
{
    return rusmi_timers_next(&pool->timers) != UINT64_MAX &&
           rusmi_timers_run(&pool->timers, rusmi_clock_now());
}

/* Look at descriptors and timers without waiting, unless another thread is just doing that. */
static bool poll_now(rusm_pool *pool)
{
    uint32_t idle = 0;
    bool any = false;

    if (atomic_load(&pool->polling) == 0 &&
        atomic_compare_exchange_strong(&pool->polling, &idle, 1)) {
        any = poll_as_poller(pool, 0);
        atomic_store(&pool->polling, 0);
    }
    /* The clock costs as much as a switch: while descriptors keep the worker going, timers are
     * looked
     * at when it looks around, every few dozen processes. */
    if (!any) {
        any = run_timers(pool);
    }
    return any;
}

static void wake_watchdog(rusm_pool *pool)
{
    if (atomic_exchange(&pool->watchdog_asleep, 0) != 0) {
        rusmi_futex_wake(&pool->watchdog_asleep, 1);
    }
}

/* Sleep in the poll, as the last worker that was awake. */
static void sleep_polling(rusm_pool *pool)
{
    uint32_t idle = 0;
    uint64_t until;

    if (!atomic_compare_exchange_strong(&pool->polling, &idle, 1)) {
        return; /* somebody looks just now, or sleeps there: look again */
    }
    atomic_store(&pool->poll_blocked, 1);
    until = rusmi_timers_next(&pool->timers);
    atomic_store(&pool->poll_until, until);
    /* The next timer is read again after poll_until is set: one that comes later wakes the poll. */
    if (!has_work(pool) && rusmi_timers_next(&pool->timers) >= until) {
        (void)poll_as_poller(pool, until);
    }
    atomic_store(&pool->poll_until, 0);
    atomic_store(&pool->poll_blocked, 0);
    atomic_store(&pool->polling, 0);
}

static void sleep_parked(struct rusmi_worker *worker)
{
    rusm_pool *pool = worker->pool;
    uint32_t asleep = 1;

    atomic_store(&worker->park, 0);
    atomic_store(&worker->asleep, 1);
    (void)atomic_fetch_add(&pool->sleepers, 1);
    if (!has_surplus(pool)) {
        while (atomic_load(&worker->park) == 0) {
            rusmi_futex_wait(&worker->park, 0, UINT64_MAX);
        }
    }
    (void)atomic_compare_exchange_strong(&worker->asleep, &asleep, 0);
    (void)atomic_fetch_sub(&pool->sleepers, 1);
}

/*
 * The last worker awake sleeps in the poll, all others on their futex: so somebody polls
 * whenever all sleep.
 */
static void go_to_sleep(struct rusmi_worker *worker)
{
    rusm_pool *pool = worker->pool;
    bool last = atomic_fetch_sub(&pool->awake, 1) == 1;

    if (last && atomic_load(&pool->poll_blocked) == 0) {
        sleep_polling(pool);
    } else {
        sleep_parked(worker);
    }
    (void)atomic_fetch_add(&pool->awake, 1);
    (void)rusmi_timers_run(&pool->timers, rusmi_clock_now());
    wake_watchdog(pool);
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* No process holds the worker from here on. It is not told after each process: the next one follows
 * at once, and the exchange costs as much as the switch. */
static void unhold(struct rusmi_worker *worker)
{
    rusm_pool *pool = worker->pool;

    /* relaxed: we set it, and the exchange finds out what the watchdog has made of it */
    if (atomic_load_explicit(&worker->hold, memory_order_relaxed) != RUSMI_HOLD_NONE &&
        atomic_exchange(&worker->hold, RUSMI_HOLD_NONE) == RUSMI_HOLD_RELIEVED) {
        (void)atomic_fetch_add(&pool->awake, 1);
        (void)atomic_fetch_sub(&pool->held, 1);
    }
}

static void run(struct rusmi_worker *worker, struct rusmi_process *proc)
{
    /* relaxed, all three: the watchdog's; nothing depends on it */
    if (atomic_load_explicit(&worker->hold, memory_order_relaxed) == RUSMI_HOLD_NONE) {
        atomic_store_explicit(&worker->hold, RUSMI_HOLD_PROCESS, memory_order_relaxed);
    }
    rusmi_begin_run(worker, proc);
    rusmi_context_switch(&worker->context, &proc->context);
    rusmi_worker_set_current(worker, NULL);
    if (atomic_load_explicit(&worker->hold, memory_order_relaxed) == RUSMI_HOLD_RELIEVED) {
        unhold(worker);
    }
    rusmi_finish_leaving(worker);
}

void rusmi_sched_run(struct rusmi_worker *worker, struct rusmi_process *proc)
{
    run(worker, proc);
}

void rusmi_sched_adopt(struct rusmi_worker *worker, bool adopt)
{
    rusmi_tls_worker = adopt ? worker : NULL;
    if (adopt) {
        worker->errno_place = &errno;
        rusmi_context_init_thread(&worker->context);
    }
}

static bool run_drivers(struct rusmi_worker *worker)
{
    uint64_t began = rusmi_clock_now(), took;
    bool any;

    worker->work = 0;
    unhold(worker);
    any = rusmi_drivers_run(&worker->drivers, TURN_MAX, began);
    any = rusmi_drivers_run(&worker->pool->drivers, TURN_MAX, 0) || any;
    if (any) {
        took = rusmi_clock_now() - began;
        if (worker->look_from_ns != 0) {
            worker->look_from_ns += took; /* which tells how long processes take */
        }
        /* Drivers that took their time, and may have posted themselves again: descriptors do not
         * wait for dozens of such turns. */
        worker->look_now = worker->look_now || took >= RUSMI_DRIVERS_NS;
    }
    return any;
}

/*
 * After how many processes to look next. Dozens that only pass messages take as long as one look;
 * where each computes for a while, what comes meanwhile should not wait for dozens.
 */
static void set_look(struct rusmi_worker *worker, uint64_t now)
{
    unsigned ran = worker->look_every - worker->look_in + 1;
    uint64_t took = worker->look_from_ns == 0 ? 0 : now - worker->look_from_ns;
    uint64_t every = took == 0 ? worker->look_every : ran * LOOK_LATE_NS / took;
    unsigned most =
        worker->look_every < RUSMI_LOOK_EVERY / 2 ? 2 * worker->look_every : RUSMI_LOOK_EVERY;

    worker->look_every = every < 1 ? 1 : every > most ? most : (unsigned)every;
    worker->look_in = worker->look_every;
    worker->look_from_ns = now;
    worker->look_ran += ran;
    worker->look_now = false;
}

void rusmi_sched_away(struct rusmi_worker *worker, struct rusmi_worker *home, uint32_t put)
{
    struct rusmi_look *look = &worker->looks[home->index];

    worker->away += look->away ? 0 : 1;
    look->away = true;
    look->away_put = put;
    look->away_since = 0;
}

/*
 * A worker in whose list a driver waits that this one has put there, and that has been in the same
 * process or driver for AWAY_NS. NULL: none. One that gets on comes to it, as to its own.
 */
static struct rusmi_worker *overdue(struct rusmi_worker *worker, uint64_t now)
{
    rusm_pool *pool = worker->pool;

    for (unsigned i = 0; worker->away != 0 && i < pool->workers_len; i++) {
        struct rusmi_look *look = &worker->looks[i];
        struct rusmi_worker *home = &pool->workers[i];
        /* relaxed: a look that is late costs one that comes sooner */
        uint64_t switches = atomic_load_explicit(&home->switches, memory_order_relaxed);

        if (!look->away) {
            continue;
        }
        if ((int32_t)(atomic_load(&home->drivers.taken) - look->away_put) >= 0) {
            look->away = false;
            worker->away--;
        } else if (look->away_since == 0 || switches != look->away_switches) {
            look->away_since = now;
            look->away_switches = switches;
        } else if (now - look->away_since >= AWAY_NS) {
            return home;
        }
    }
    return NULL;
}

/* Run one such driver here. */
static bool fetch_away(struct rusmi_worker *worker)
{
    struct rusmi_worker *other = worker->away == 0 ? NULL : overdue(worker, rusmi_clock_now());

    if (other == NULL) {
        return false;
    }
    unhold(worker);
    return rusmi_drivers_run(&other->drivers, 1, 0);
}

/* Take a driver from a worker that has more than it can run at once. */
static bool steal_driver(struct rusmi_worker *worker)
{
    rusm_pool *pool = worker->pool;

    if (fetch_away(worker)) {
        return true;
    }
    for (unsigned i = 0; i < pool->workers_len; i++) {
        struct rusmi_worker *victim = &pool->workers[i];

        if (victim != worker && has_surplus_of(victim) &&
            rusmi_drivers_run(&victim->drivers, 1, 0)) {
            return true;
        }
    }
    return false;
}

/* Wake another worker if there is more than this one gets done. As a thief would see it: waking it
 * for what is done before it is awake costs both. */
static void share_surplus(struct rusmi_worker *worker)
{
    rusm_pool *pool = worker->pool;
    uint32_t head = atomic_load(&worker->head);

    if (atomic_load(&pool->searching) == 0 && has_surplus(pool) &&
        (ring_len(worker) == 0 ||
         head - worker->looked_head < ring_len(worker) * (LOOK_NS / STEAL_NS))) {
        (void)wake_one(pool);
    }
    worker->looked_head = head;
    worker->look_ran = 0;
}

/* What a worker that has been busy for a while does now and then. Processes that only pass
 * messages make dozens of switches in the time that one look at the descriptors takes. */
static void look_around(struct rusmi_worker *worker)
{
    rusm_pool *pool = worker->pool;
    uint64_t now = rusmi_clock_now();

    set_look(worker, now);
    if (now - worker->looked_ns < LOOK_NS) {
        return;
    }
    worker->looked_ns = now;
    (void)poll_now(pool);
    /* Where processes take long, drivers do not wait for RUSMI_WORK_MAX of work. */
    if (worker->look_every < RUSMI_LOOK_EVERY && rusmi_drivers_wait(worker)) {
        (void)run_drivers(worker);
    }
    (void)run_timers(pool);
    (void)fetch_away(worker);
    /* Of drivers each takes as long as dozens of processes. */
    if (worker->look_ran >= RUSMI_LOOK_EVERY || atomic_load(&worker->drivers.len) >= SURPLUS) {
        share_surplus(worker);
    }
}

/* Something to run or done: false if there is nothing at all right now. */
static bool work_once(struct rusmi_worker *worker)
{
    rusm_pool *pool = worker->pool;
    struct rusmi_process *proc = NULL;

    /* One that gives way has computed, or has been passing messages for long. */
    if (worker->look_in > 1 && worker->leave != RUSMI_LEAVE_YIELD && !worker->look_now) {
        worker->look_in--;
    } else {
        look_around(worker);
        proc = take_injected(pool);
    }
    if (worker->work >= RUSMI_WORK_MAX && rusmi_drivers_wait(worker)) {
        (void)run_drivers(worker);
    }
    if (proc == NULL) {
        proc = rusmi_take_own(worker);
    }
    if (proc == NULL && rusmi_drivers_wait(worker) && run_drivers(worker)) {
        return true;
    }
    if (proc == NULL) {
        proc = take_injected(pool);
    }
    if (proc != NULL) {
        run(worker, proc);
        return true;
    }
    if (!others_work(pool) && poll_now(pool)) {
        return true;
    }
    proc = steal(worker);
    if (proc != NULL) {
        run(worker, proc);
        return true;
    }
    return steal_driver(worker);
}

/* Something that a worker which searches should take. */
static bool has_surplus_for(struct rusmi_worker *worker, uint64_t now)
{
    rusm_pool *pool = worker->pool;

    /* Its own: another may have put a driver there. */
    if (atomic_load(&pool->inject_len) != 0 || atomic_load(&pool->drivers.len) != 0 ||
        atomic_load(&worker->drivers.len) != 0 || atomic_load(&pool->stop)) {
        return true;
    }
    /* Each look at another's ring takes a cache line from it that it needs for every process. */
    if (now - worker->searched_ns < STEAL_NS) {
        return false;
    }
    worker->searched_ns = now;
    for (unsigned i = 0; i < pool->workers_len; i++) {
        struct rusmi_worker *victim = &pool->workers[i];

        if (victim != worker && (is_worth_stealing(worker, victim, now) ||
                                 atomic_load(&victim->drivers.len) >= SURPLUS)) {
            /* So that the thief, who looks once more, finds the same. */
            worker->looks[victim->index].at_ns = 0;
            worker->looks[victim->index].head = atomic_load(&victim->head);
            return true;
        }
    }
    return false;
}

/* Nothing to do: look for a while, then sleep. */
static void idle(struct rusmi_worker *worker)
{
    rusm_pool *pool = worker->pool;
    uint64_t until = rusmi_clock_now() + (uint64_t)pool->cfg.spin_us * 1000;
    uint64_t now;
    bool found;

    unhold(worker);
    worker->look_in = worker->look_every;
    worker->look_from_ns = 0;
    atomic_store(&worker->idle, 1);
    (void)atomic_fetch_add(&pool->searching, 1);
    do {
        for (int i = 0; i < 16; i++) {
            rusmi_thread_pause();
        }
        now = rusmi_clock_now();
        /*
         * We are counted as searching: whoever is awake and is not, works, and keeps what it
         * can do.
         */
        found = atomic_load(&pool->awake) != atomic_load(&pool->searching)
                    ? has_surplus_for(worker, now)
                    : has_work(pool) || poll_now(pool);
        found = found || (worker->away != 0 && overdue(worker, now) != NULL);
    } while (!found && (now < until || worker->away != 0));
    (void)atomic_fetch_sub(&pool->searching, 1);
    if (!found) {
        go_to_sleep(worker);
    }
    atomic_store(&worker->idle, 0);
}

static void *worker_main(void *arg)
{
    struct rusmi_worker *worker = arg;

    rusmi_tls_worker = worker;
    worker->errno_place = &errno;
    rusmi_context_init_thread(&worker->context);
    worker->fault_stack = rusmi_faults_thread_init(&worker->fault_stack_old);
    while (atomic_load(&worker->pool->stop) == 0) {
        if (!work_once(worker)) {
            idle(worker);
        }
    }
    rusmi_cache_drain(&worker->cache);
    rusmi_faults_thread_fini(worker->fault_stack, &worker->fault_stack_old);
    rusmi_tls_worker = NULL;
    return NULL;
}

/* ---- the watchdog ---------------------------------------------------------------------------- */

/*
 * A process holds its worker for longer than a watch: what waits goes on without that worker. A
 * worker that sleeps is woken for it; only when every worker is held does the watchdog itself
 * poll and run drivers.
 */
static void relieve(rusm_pool *pool, struct rusmi_worker *held)
{
    uint32_t hold = RUSMI_HOLD_PROCESS;

    struct rusmi_process *proc = pool->hands_over ? next_seize(held) : NULL;

    if (proc != NULL) {
        rusmi_sched_inject(pool, proc);
    }
    if (atomic_compare_exchange_strong(&held->hold, &hold, RUSMI_HOLD_RELIEVED)) {
        (void)atomic_fetch_add(&pool->held, 1);
        (void)atomic_fetch_sub(&pool->awake, 1);
    }
    if (atomic_load(&pool->poll_blocked) != 0 && !has_surplus(pool)) {
        return; /* nothing waits for it, and somebody polls */
    }
    if (!wake_one(pool)) {
        (void)poll_now(pool);
        (void)rusmi_drivers_run(&pool->drivers, TURN_MAX, 0);
        (void)rusmi_drivers_run(&held->drivers, TURN_MAX, 0);
    }
}

/* In this order: relieve() raises `held` before it lowers `awake`. */
static bool nobody_runs(rusm_pool *pool)
{
    return atomic_load(&pool->awake) == 0 && atomic_load(&pool->held) == 0;
}

/* Look at one worker. */
static void watch(rusm_pool *pool, struct rusmi_worker *worker, struct rusmi_watched *seen)
{
    /* relaxed, both: a worker that looks held by mistake costs one wake-up */
    uint64_t switches = atomic_load_explicit(&worker->switches, memory_order_relaxed);
    uint64_t now = rusmi_clock_now();
    struct rusmi_process *proc;

    if (switches != seen->switches ||
        atomic_load_explicit(&worker->hold, memory_order_relaxed) == RUSMI_HOLD_NONE) {
        *seen = (struct rusmi_watched){.switches = switches, .since_ns = now};
        return;
    }
    relieve(pool, worker);
    proc = rusmi_worker_current(worker);
    if (!seen->told && proc != NULL &&
        now - seen->since_ns >= (uint64_t)pool->cfg.hold_ms * NS_PER_MS) {
        seen->told = true;
        rusmi_log_long(pool, proc, (now - seen->since_ns) / NS_PER_MS);
    }
}

static void *watchdog_main(void *arg)
{
    rusm_pool *pool = arg;

    while (atomic_load(&pool->stop) == 0) {
        if (nobody_runs(pool)) {
            atomic_store(&pool->watchdog_asleep, 1);
            if (nobody_runs(pool) && atomic_load(&pool->stop) == 0) {
                rusmi_futex_wait(&pool->watchdog_asleep, 1, UINT64_MAX);
            }
            atomic_store(&pool->watchdog_asleep, 0);
        }
        rusmi_futex_wait(&pool->stop, 0, rusmi_clock_now() + WATCH_NS);
        for (unsigned i = 0; i < pool->workers_len; i++) {
            watch(pool, &pool->workers[i], &pool->watchdog_seen[i]);
        }
    }
    return NULL;
}

/* ---- start and stop -------------------------------------------------------------------------- */

static rusm_err not_started(int rc)
{
    return rusm_set_err_detail(RUSM_ESYS, "a scheduler thread could not be started (error %d)", rc);
}

rusm_err rusmi_sched_start(rusm_pool *pool)
{
    unsigned started = 0;
    int rc;

    atomic_store(&pool->awake, pool->workers_len);
    /* The thread sanitizer does not see what the one-sided barrier orders. */
    pool->hands_over = !RUSMI_TSAN && pool->kit == NULL && rusmi_barrier_prepare();
    for (unsigned i = 0; i < pool->workers_len; i++) {
        pool->workers[i].pool = pool; /* all, before the first one looks at the others */
        pool->workers[i].index = i;
        pool->workers[i].look_in = pool->workers[i].look_every = RUSMI_LOOK_EVERY;
    }
    if (pool->kit != NULL) {
        return RUSM_OK;
    }
    rc = rusmi_thread_start(&pool->watchdog, watchdog_main, pool, WORKER_STACK, "rusm-watchdog");
    if (rc != 0) {
        return not_started(rc);
    }
    for (; started < pool->workers_len; started++) {
        struct rusmi_worker *worker = &pool->workers[started];

        rc = rusmi_thread_start(&worker->thread, worker_main, worker, WORKER_STACK, "rusm-worker");
        if (rc != 0) {
            pool->workers_started = started;
            rusmi_sched_stop(pool);
            return not_started(rc);
        }
    }
    return RUSM_OK;
}

void rusmi_sched_stop(rusm_pool *pool)
{
    if (pool->kit != NULL) {
        return;
    }
    atomic_store(&pool->stop, 1);
    rusmi_futex_wake(&pool->stop, 2); /* the watchdog and the parker */
    wake_watchdog(pool);
    rusmi_poll_wake(&pool->poll);
    for (unsigned i = 0; i < pool->workers_started; i++) {
        atomic_store(&pool->workers[i].park, 1);
        rusmi_futex_wake(&pool->workers[i].park, 1);
        rusmi_thread_join(&pool->workers[i].thread);
    }
    rusmi_thread_join(&pool->watchdog);
}
