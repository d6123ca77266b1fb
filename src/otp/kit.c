/* SPDX-License-Identifier: MIT */
/*
 * The test kit's pool: no threads, virtual time, and an order drawn from a seed; see rusm/test.h.
 *
 * Whoever steps the pool is its first worker for that long. What can run is kept in an array from
 * which one is drawn, in place of the queues; room for it is made when a process begins. Time
 * passes only when nothing can run.
 */
#include <rusm/test.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/prng.h"
#include "otp/fault.h"
#include "otp/sched.h"

#define START_NS  ((rusm_time)1000000000)
#define NS_PER_MS ((rusm_time)1000000)
/* A process gives way at one of so many of its rusm calls. */
#define INTERRUPT_ONE_IN 4u

struct rusmi_kit {
    struct rusmi_prng prng;
    rusm_time now;
    struct rusmi_process **ready;
    size_t ready_len, ready_cap;
    bool adopted;    /* a thread has been the worker: its signal stack is set */
    bool deadlocked; /* the last wait of a thread was given up */
};

rusm_time rusmi_kit_now(const rusm_pool *pool)
{
    return pool->kit->now;
}

rusm_time rusm_test_now(const rusm_pool *pool)
{
    return pool->kit->now;
}

uint64_t rusm_test_random(rusm_pool *pool, uint64_t below)
{
    return below == 0 ? 0 : rusmi_prng_below(&pool->kit->prng, below);
}

bool rusmi_kit_interrupts(rusm_pool *pool)
{
    return rusmi_prng_below(&pool->kit->prng, INTERRUPT_ONE_IN) == 0;
}

bool rusmi_kit_reserve(rusm_pool *pool)
{
    struct rusmi_kit *kit = pool->kit;
    size_t need = (size_t)atomic_load(&pool->reserved) + 1;
    size_t cap = kit->ready_cap == 0 ? 64 : kit->ready_cap;
    struct rusmi_process **ready;

    while (cap < need) {
        cap *= 2;
    }
    if (cap == kit->ready_cap) {
        return true;
    }
    ready = rusmi_realloc(kit->ready, cap * sizeof(struct rusmi_process *));
    if (ready == NULL) {
        return false;
    }
    kit->ready = ready;
    kit->ready_cap = cap;
    return true;
}

void rusmi_kit_ready(rusm_pool *pool, struct rusmi_process *proc)
{
    struct rusmi_kit *kit = pool->kit;

    rusmi_assert(kit->ready_len < kit->ready_cap);
    kit->ready[kit->ready_len++] = proc;
}

/* Draw one of those that can run. */
static struct rusmi_process *draw(struct rusmi_kit *kit)
{
    size_t at = (size_t)rusmi_prng_below(&kit->prng, kit->ready_len);
    struct rusmi_process *proc = kit->ready[at];

    kit->ready[at] = kit->ready[--kit->ready_len];
    return proc;
}

/* Whether a driver of either list was run. */
static bool run_driver(rusm_pool *pool)
{
    return rusmi_drivers_run(&pool->workers[0].drivers, 1, pool->kit->now) ||
           rusmi_drivers_run(&pool->drivers, 1, pool->kit->now);
}

bool rusm_test_step(rusm_pool *pool)
{
    struct rusmi_kit *kit = pool->kit;
    bool ran = true;

    rusmi_assert(kit != NULL && rusmi_worker_self() == NULL);
    rusmi_sched_adopt(&pool->workers[0], true);
    if (!kit->adopted) {
        pool->workers[0].fault_stack = rusmi_faults_thread_init(&pool->workers[0].fault_stack_old);
        kit->adopted = true;
    }
    if (kit->ready_len == 0 || rusmi_prng_below(&kit->prng, 2) == 0) {
        ran = run_driver(pool);
    } else {
        ran = false;
    }
    if (!ran && kit->ready_len != 0) {
        rusmi_sched_run(&pool->workers[0], draw(kit));
        ran = true;
    }
    rusmi_sched_adopt(&pool->workers[0], false);
    return ran;
}

uint64_t rusm_test_run(rusm_pool *pool, uint64_t steps_max)
{
    uint64_t steps = 0;

    while (steps < steps_max && rusm_test_step(pool)) {
        steps++;
    }
    return steps;
}

/* Go to the next timer, if it is not after `until`, and fire what is due. */
static bool next_timer(rusm_pool *pool, rusm_time until)
{
    struct rusmi_kit *kit = pool->kit;
    rusm_time next = rusmi_timers_next(&pool->timers);

    if (next == UINT64_MAX || next > until) {
        return false;
    }
    if (next > kit->now) {
        kit->now = next;
    }
    rusmi_sched_adopt(&pool->workers[0], true);
    (void)rusmi_timers_run(&pool->timers, kit->now);
    rusmi_sched_adopt(&pool->workers[0], false);
    return true;
}

uint64_t rusm_test_advance(rusm_pool *pool, int64_t span_ms)
{
    struct rusmi_kit *kit = pool->kit;
    rusm_time until = kit->now + (rusm_time)(span_ms < 0 ? 0 : span_ms) * NS_PER_MS;
    uint64_t steps = rusm_test_run(pool, UINT64_MAX);

    while (next_timer(pool, until)) {
        steps += rusm_test_run(pool, UINT64_MAX);
    }
    kit->now = until;
    return steps;
}

void rusmi_kit_suspend(struct rusmi_process *proc, rusm_time deadline)
{
    rusm_pool *pool = proc->pool;
    struct rusmi_kit *kit = pool->kit;

    kit->deadlocked = false;
    while (!rusmi_process_woken(proc) && kit->now < deadline) {
        if (rusm_test_step(pool)) {
            continue;
        }
        if (next_timer(pool, deadline)) {
            continue;
        }
        if (deadline == RUSMI_NEVER) {
            kit->deadlocked = true;
            break;
        }
        kit->now = deadline;
    }
}

bool rusmi_kit_deadlocked(const rusm_pool *pool)
{
    return pool->kit != NULL && pool->kit->deadlocked;
}

rusm_err rusm_test_pool_new(rusm_pool **out_pool, uint64_t seed, const rusm_pool_config *cfg)
{
    struct rusmi_kit *kit;
    rusm_err err;

    if (out_pool == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "there is nowhere to put the pool");
    }
    kit = rusmi_zalloc(sizeof(*kit));
    if (kit == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    kit->prng.state = seed;
    kit->now = START_NS;
    err = rusmi_pool_new(out_pool, cfg, kit);
    if (err != RUSM_OK) {
        rusmi_free(kit);
    }
    return err;
}

void rusmi_kit_del(rusm_pool *pool)
{
    if (pool->kit->adopted) {
        rusmi_faults_thread_fini(pool->workers[0].fault_stack, &pool->workers[0].fault_stack_old);
    }
    rusmi_cache_drain(&pool->workers[0].cache);
    rusmi_free(pool->kit->ready);
    rusmi_free(pool->kit);
}
