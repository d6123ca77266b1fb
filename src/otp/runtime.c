/* SPDX-License-Identifier: MIT */
/*
 * Pools and runtimes: made, found, stopped. The default pool of the OS process starts with its
 * first runtime and ends with its last.
 *
 * Stopping: no new process begins once `stopping` is set (a spawn counts itself first and looks
 * afterwards), every process is killed, and `live` reaches 0 when the last has given its slot back.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "otp/fault.h"
#include "otp/park.h"
#include "otp/sched.h"
#include "platform/clock.h"
#include "platform/futex.h"
#include "platform/random.h"

#include <rusm/test.h>
#include <string.h>
#include <unistd.h>

#define STACK_DEFAULT   ((size_t)65536)
#define PROCESSES_MAX   ((size_t)4194304)
#define SPIN_US_DEFAULT 50
#define BLOCKING_MAX    64
#define HOLD_MS         10
#define THREADS_MAX     1024u
/* Processes that a worker reserves at a time. */
#define RESERVE 32u

/* All runtimes of the OS process by incarnation, and the default pool. */
static struct {
    pthread_rwlock_t table_lock;
    struct rusmi_map runtimes; /* under table_lock */
    struct rusmi_lock lock;
    rusm_pool *pool; /* this and the next under lock */
    unsigned pool_users;
} all = {
    /* A runtime that is to go is not kept by a stream of senders. */
    .table_lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP,
    .lock = RUSMI_LOCK_INIT,
};

/* How often the calling thread holds the table: the lock itself may not be taken twice. */
static _Thread_local unsigned tls_held;

/* ---- pools ----------------------------------------------------------------------------------- */

void rusm_pool_config_init(rusm_pool_config *cfg)
{
    *cfg = (rusm_pool_config){.size = sizeof(*cfg),
                              .stack_size = STACK_DEFAULT,
                              .processes_max = PROCESSES_MAX,
                              .spin_us = SPIN_US_DEFAULT,
                              .blocking_max = BLOCKING_MAX,
                              .hold_ms = HOLD_MS};
}

static void free_arrays(rusm_pool *pool)
{
    rusmi_free(pool->looks);
    rusmi_free(pool->watchdog_seen);
    rusmi_free(pool->workers);
    rusmi_free(pool);
}

static void pool_free(rusm_pool *pool)
{
    rusmi_depot_drop();
    rusmi_timers_fini(&pool->timers);
    rusmi_fds_fini(pool);
    rusmi_poll_fini(&pool->poll);
    rusmi_slots_fini(pool);
    rusmi_lock_fini(&pool->inject_lock);
    rusmi_drivers_fini(&pool->drivers);
    for (unsigned i = 0; i < pool->workers_len; i++) {
        rusmi_drivers_fini(&pool->workers[i].drivers);
    }
    rusmi_lock_fini(&pool->runtimes_lock);
    free_arrays(pool);
}

/* What can fail to be made. False: all is freed, the pool too. */
static bool make_parts(rusm_pool *pool)
{
    size_t len = pool->workers_len;

    pool->workers = rusmi_zalloc_aligned(len, sizeof(*pool->workers), 64);
    pool->watchdog_seen = rusmi_zalloc_array(len, sizeof(*pool->watchdog_seen));
    pool->looks = rusmi_zalloc_array(len * len, sizeof(*pool->looks));
    if (pool->workers == NULL || pool->watchdog_seen == NULL || pool->looks == NULL ||
        rusmi_slots_init(pool) != RUSM_OK) {
        free_arrays(pool);
        return false;
    }
    if (!rusmi_timers_init(&pool->timers, pool->workers_len + 1)) {
        rusmi_slots_fini(pool);
        free_arrays(pool);
        return false;
    }
    if (rusmi_poll_init(&pool->poll) != 0) {
        rusmi_timers_fini(&pool->timers);
        rusmi_slots_fini(pool);
        free_arrays(pool);
        return false;
    }
    return true;
}

/* Everything but the threads; NULL without memory or descriptors. */
static rusm_pool *pool_make(const rusm_pool_config *cfg, struct rusmi_kit *kit)
{
    rusm_pool *pool = rusmi_zalloc(sizeof(*pool));

    if (pool == NULL) {
        return NULL;
    }
    pool->cfg = *cfg;
    pool->parks = cfg->park_idle_ms != 0 && kit == NULL && rusmi_park_possible();
    pool->workers_len = kit != NULL ? 1 : cfg->threads == 0 ? rusmi_thread_cpus() : cfg->threads;
    pool->workers_started = pool->workers_len;
    if (!make_parts(pool)) {
        return NULL;
    }
    rusmi_lock_init(&pool->inject_lock);
    rusmi_drivers_init(&pool->drivers);
    for (unsigned i = 0; i < pool->workers_len; i++) {
        rusmi_drivers_init(&pool->workers[i].drivers);
        pool->workers[i].index = i;
        pool->workers[i].looks = &pool->looks[(size_t)i * pool->workers_len];
    }
    rusmi_lock_init(&pool->runtimes_lock);
    rusmi_list_init(&pool->runtimes);
    rusmi_fds_init(pool);
    rusmi_blocking_init(&pool->blocking);
    pool->kit = kit;
    /* A small limit is exact; of a large one each worker may have a little part unused. */
    pool->reserve = cfg->processes_max / 1024 / pool->workers_len >= RESERVE ? RESERVE : 1;
    return pool;
}

rusm_err rusmi_pool_new(rusm_pool **out_pool, const rusm_pool_config *cfg, struct rusmi_kit *kit)
{
    rusm_pool_config defaults;
    rusm_pool *pool;
    rusm_err err;

    rusm_pool_config_init(&defaults);
    if (cfg == NULL) {
        cfg = &defaults;
    }
    if (out_pool == NULL || cfg->size != sizeof(*cfg) || cfg->threads > THREADS_MAX ||
        cfg->processes_max < 1 || cfg->stack_size < 1) {
        return rusm_set_err_detail(
            RUSM_EINVAL, "the pool's config is not initialised or a value is out of range");
    }
    pool = pool_make(cfg, kit);
    if (pool == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "no memory or descriptors for a pool");
    }
    rusmi_depot_hold();
    rusmi_faults_hold();
    err = rusmi_sched_start(pool);
    if (err == RUSM_OK) {
        err = rusmi_park_start(pool);
        if (err != RUSM_OK) {
            rusmi_sched_stop(pool);
        }
    }
    if (err != RUSM_OK) {
        rusmi_faults_release();
        pool_free(pool);
        return err;
    }
    *out_pool = pool;
    return RUSM_OK;
}

rusm_err rusm_pool_new(rusm_pool **out_pool, const rusm_pool_config *cfg)
{
    return rusmi_pool_new(out_pool, cfg, NULL);
}

void rusm_pool_del(rusm_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    rusmi_assert(rusmi_list_empty(&pool->runtimes));
    rusmi_assert(rusmi_worker_self() == NULL);
    rusmi_blocking_fini(&pool->blocking); /* before what its threads may wake */
    rusmi_sched_stop(pool);
    rusmi_park_stop(pool);
    rusmi_faults_release();
    rusmi_assert(atomic_load(&pool->drivers_alive) == 0);
    if (pool->kit != NULL) {
        rusmi_kit_del(pool);
    }
    pool_free(pool);
}

/* The default pool, with one more user. */
static rusm_err default_pool_hold(rusm_pool **out_pool)
{
    rusm_err err = RUSM_OK;

    rusmi_lock_take(&all.lock);
    if (all.pool == NULL) {
        err = rusm_pool_new(&all.pool, NULL);
        if (err == RUSM_OK) {
            all.pool->is_default = true;
        }
    }
    if (err == RUSM_OK) {
        all.pool_users++;
        *out_pool = all.pool;
    }
    rusmi_lock_give(&all.lock);
    return err;
}

static void pool_drop(rusm_pool *pool)
{
    bool last = false;

    if (!pool->is_default) {
        return;
    }
    rusmi_lock_take(&all.lock);
    if (--all.pool_users == 0) {
        all.pool = NULL;
        last = true;
    }
    rusmi_lock_give(&all.lock);
    if (last) {
        rusm_pool_del(pool);
    }
}

/* ---- runtimes -------------------------------------------------------------------------------- */

void rusm_runtime_config_init(rusm_runtime_config *cfg)
{
    *cfg = (rusm_runtime_config){.size = sizeof(*cfg)};
}

__attribute__((noinline)) void rusmi_runtimes_hold(void)
{
    if (tls_held++ == 0) {
        (void)pthread_rwlock_rdlock(&all.table_lock);
    }
}

__attribute__((noinline)) void rusmi_runtimes_release(void)
{
    if (--tls_held == 0) {
        (void)pthread_rwlock_unlock(&all.table_lock);
    }
}

rusm_runtime *rusmi_runtime_find(uint64_t incarnation)
{
    struct rusmi_map_entry *entry =
        rusmi_map_find(&all.runtimes, &incarnation, sizeof(incarnation));

    return entry == NULL ? NULL : rusmi_container(entry, rusm_runtime, by_incarnation);
}

struct rusmi_process *rusmi_runtime_find_process(rusm_pid pid, rusm_runtime **out_rt)
{
    *out_rt = rusmi_runtime_find(pid.incarnation);
    return *out_rt == NULL ? NULL : rusmi_process_find((*out_rt)->pool, pid.serial);
}

/* Put it into the tables. False without memory. */
static bool publish(rusm_runtime *rt)
{
    bool ok;

    (void)pthread_rwlock_wrlock(&all.table_lock);
    ok = rusmi_map_insert(&all.runtimes, &rt->by_incarnation, &rt->incarnation,
                          sizeof(rt->incarnation));
    (void)pthread_rwlock_unlock(&all.table_lock);
    if (ok) {
        rusmi_lock_take(&rt->pool->runtimes_lock);
        rusmi_list_push(&rt->pool->runtimes, &rt->node);
        rusmi_lock_give(&rt->pool->runtimes_lock);
    }
    return ok;
}

static void withdraw(rusm_runtime *rt)
{
    (void)pthread_rwlock_wrlock(&all.table_lock);
    rusmi_map_remove(&all.runtimes, &rt->by_incarnation);
    if (all.runtimes.len == 0) {
        rusmi_map_fini(&all.runtimes);
    }
    (void)pthread_rwlock_unlock(&all.table_lock);
    rusmi_lock_take(&rt->pool->runtimes_lock);
    rusmi_list_remove(&rt->node);
    rusmi_lock_give(&rt->pool->runtimes_lock);
}

static void runtime_free(rusm_runtime *rt)
{
    rusmi_groups_fini(&rt->groups);
    rusmi_fars_fini(&rt->fars);
    rusmi_map_fini(&rt->registry.names);
    rusmi_lock_fini(&rt->registry.lock);
    rusmi_free(rt->shards);
    pool_drop(rt->pool);
    rusmi_free(rt);
}

rusm_err rusm_runtime_new(rusm_runtime **out_rt, const rusm_runtime_config *cfg)
{
    const char *name = cfg == NULL || cfg->name == NULL ? "local" : cfg->name;
    uint64_t random[3];
    rusm_runtime *rt;
    rusm_err err = RUSM_OK;

    if (out_rt == NULL || (cfg != NULL && cfg->size != sizeof(*cfg)) ||
        !rusmi_name_valid(name, strlen(name))) {
        return rusm_set_err_detail(
            RUSM_EINVAL, "the runtime's config is not initialised or its name is not valid");
    }
    rt = rusmi_zalloc(sizeof(*rt));
    if (rt == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    do {
        if (!rusmi_random(random, sizeof(random))) {
            rusmi_free(rt);
            return rusm_set_err_detail(RUSM_ESYS, "the system gives no random numbers");
        }
    } while (random[0] == 0);
    if (cfg != NULL && cfg->pool != NULL) {
        rt->pool = cfg->pool;
    } else {
        err = default_pool_hold(&rt->pool);
    }
    if (err != RUSM_OK) {
        rusmi_free(rt);
        return err;
    }
    rt->incarnation = random[0];
    memcpy(rt->name, name, strlen(name) + 1);
    rusmi_list_init(&rt->node);
    rusmi_lock_init(&rt->registry.lock);
    rusmi_map_init(&rt->registry.names, random[1], random[2]);
    rusmi_groups_init(&rt->groups, random[1], random[2]);
    rusmi_fars_init(&rt->fars, random[1], random[2]);
    atomic_init(&rt->offered_max, SIZE_MAX);
    rt->shards = rusmi_zalloc_aligned(rt->pool->workers_len + 1, sizeof(*rt->shards), 64);
    if (rt->shards == NULL || !publish(rt)) {
        runtime_free(rt);
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    *out_rt = rt;
    return RUSM_OK;
}

struct rusmi_shard *rusmi_runtime_shard(rusm_runtime *rt)
{
    struct rusmi_worker *worker = rusmi_worker_self();

    return &rt->shards[worker != NULL && worker->pool == rt->pool ? worker->index
                                                                  : rt->pool->workers_len];
}

uint64_t rusmi_runtime_live(const rusm_runtime *rt)
{
    uint64_t begun = 0, gone = 0;

    /* Those that have gone are counted first: then equal sums mean that nobody was left. */
    for (unsigned i = 0; i <= rt->pool->workers_len; i++) {
        gone += atomic_load(&rt->shards[i].gone);
    }
    for (unsigned i = 0; i <= rt->pool->workers_len; i++) {
        begun += atomic_load(&rt->shards[i].begun);
    }
    return begun - gone;
}

void rusmi_runtime_left(rusm_runtime *rt)
{
    _Atomic uint32_t *left = &rt->left;
    bool stopping = atomic_load(&rt->stopping) != 0;

    if (stopping) {
        (void)atomic_fetch_add(left, 1);
    }
    (void)atomic_fetch_add(&rusmi_runtime_shard(rt)->gone, 1);
    if (stopping) {
        /* Only an address is used from here on: whoever waited may have freed the runtime already.
         */
        rusmi_futex_wake(left, 64);
    }
}

/* Kill what lives now. Processes that were spawned before `stopping` and are not in their slot yet
 * come next time. */
static void kill_all(rusm_runtime *rt)
{
    uint32_t used = rusmi_slots_used(rt->pool);

    for (uint32_t slot = 0; slot < used && rusmi_runtime_live(rt) != 0; slot++) {
        struct rusmi_process *proc = rusmi_slot_at(rt->pool, slot);
        uint64_t serial = atomic_load(&proc->serial);

        if (serial != 0 && atomic_load(&proc->owner_incarnation) == rt->incarnation) {
            rusm_err err = rusm_kill((rusm_pid){rt->incarnation, serial});

            (void)err; /* it ended by itself: as good */
        }
    }
}

/* Name one process that does not end, for the error text. */
static void name_survivor(rusm_runtime *rt)
{
    rusm_process_info info;
    char text[RUSM_PID_TEXT_MAX + RUSM_NAME_MAX];
    uint64_t cursor = 0;

    if (rusm_process_list(rt, &cursor, &info, 1) == 1) {
        (void)rusm_pid_format(info.pid, text, sizeof(text));
        (void)rusm_set_err_detail(RUSM_ETIMEOUT, "process %s %s is still running", text,
                                  info.label);
    } else {
        (void)rusm_set_err_detail(RUSM_ETIMEOUT, "a process is still ending");
    }
}

rusm_err rusm_runtime_stop(rusm_runtime *rt, int64_t timeout_ms)
{
    rusm_time deadline = rusmi_deadline(timeout_ms);
    uint32_t left;

    atomic_store(&rt->stopping, 1);
    while ((void)(left = atomic_load(&rt->left)), rusmi_runtime_live(rt) != 0) {
        rusm_time now = rusmi_clock_now();
        rusm_time again = now + 10 * 1000 * 1000; /* for those that were just being spawned */

        if (now >= deadline) {
            name_survivor(rt);
            return RUSM_ETIMEOUT;
        }
        kill_all(rt);
        if (rt->pool->kit != NULL) {
            if (rusm_test_run(rt->pool, UINT64_MAX) == 0) {
                name_survivor(rt); /* a thread that has entered: only it can leave */
                return RUSM_ETIMEOUT;
            }
            continue;
        }
        rusmi_futex_wait(&rt->left, left, again < deadline ? again : deadline);
    }
    return RUSM_OK;
}

void rusm_runtime_del(rusm_runtime *rt)
{
    if (rt == NULL) {
        return;
    }
    while (rusm_runtime_stop(rt, RUSM_INFINITY) != RUSM_OK) {
    }
    rusmi_log_close(rt);
    rusmi_assert(atomic_load(&rt->drivers) == 0);
    withdraw(rt);
    runtime_free(rt);
}

uint64_t rusm_runtime_incarnation(const rusm_runtime *rt)
{
    return rt->incarnation;
}

const char *rusm_runtime_name(const rusm_runtime *rt)
{
    return rt->name;
}

rusm_runtime *rusm_runtime_self(void)
{
    struct rusmi_process *self = rusmi_process_self();

    return self == NULL ? NULL : self->runtime;
}

rusm_runtime *rusmi_runtime_resolve(rusm_runtime *rt)
{
    if (rt == NULL) {
        rt = rusm_runtime_self();
        if (rt == NULL) {
            (void)rusm_set_err_detail(RUSM_ENOCONTEXT, "%s", rusm_err_text(RUSM_ENOCONTEXT));
        }
    }
    return rt;
}

/* ---- what a node hangs on a runtime ---------------------------------------------------------- */

void rusm_runtime_set_owner(rusm_runtime *rt, void *owner)
{
    atomic_store(&rt->owner, owner);
}

void *rusm_runtime_get_owner(const rusm_runtime *rt)
{
    return atomic_load(&rt->owner);
}

void rusm_runtime_set_router(rusm_runtime *rt, const rusm_router *router, void *arg)
{
    if (router != NULL) {
        rt->router_arg = arg;
        atomic_store(&rt->router, router);
        return;
    }
    atomic_store(&rt->router, NULL);
    /* A caller counts itself before it reads the router, so none is left that could still use it.
     */
    for (uint32_t calls; (calls = atomic_load(&rt->router_calls)) != 0;) {
        rusmi_futex_wait(&rt->router_calls, calls, rusmi_clock_now() + 10 * 1000 * 1000);
    }
}

void rusm_runtime_watch_mailboxes(rusm_runtime *rt, uint32_t high, uint32_t low,
                                  uint64_t far_bytes_max,
                                  void (*fn)(void *arg, rusm_pid pid, bool crowded), void *arg)
{
    if (fn == NULL) {
        atomic_store(&rt->crowd_high, 0);
        /* A call is made under a stripe that was taken while the watching was on: wait for it. */
        for (size_t i = 0; i < RUSMI_STRIPES; i++) {
            rusmi_lock_take(&rt->pool->crowd_stripes[i]);
            rusmi_lock_give(&rt->pool->crowd_stripes[i]);
        }
        return;
    }
    /* relaxed: before the first process */
    atomic_store_explicit(&rt->far_bytes_max,
                          far_bytes_max > INT64_MAX ? INT64_MAX : (int64_t)far_bytes_max,
                          memory_order_relaxed);
    rt->crowd_fn = fn;
    rt->crowd_arg = arg;
    atomic_store(&rt->crowd_low, low);
    atomic_store(&rt->crowd_high, high);
}
