/* SPDX-License-Identifier: MIT */
/*
 * Blocking work: see rusm/otp/blocking.h and otp/blocking.h.
 *
 * The invariant, under the lock: while jobs are queued or reserved there is an idle thread for each
 * of them, or there are as many threads as there may be (or as the system gave). An idle thread
 * only ends when it is not needed for that. So a queued job is always found by some thread, sooner
 * or later.
 */
#include <rusm/otp/blocking.h>

#include "base/assert.h"
#include "base/mem.h"
#include "otp/blocking.h"
#include "otp/fault.h"
#include "otp/sched.h"
#include "platform/clock.h"
#include "platform/futex.h"

#include <rusm/otp/driver.h>

#include <string.h>

/* Long enough to bridge the gaps of a busy program, short enough to give memory back. */
#define IDLE_NS ((rusm_time)10 * 1000 * 1000 * 1000)

struct rusmi_blocking_thread {
    struct rusmi_list node; /* in running or ended, under the lock */
    struct rusmi_thread thread;
    struct rusmi_blocking *blocking;
};

/* ---- the threads ----------------------------------------------------------------------------- */

/* Under the lock: the next job, for a thread that is idle and then no longer. */
static struct rusmi_job *job_take(struct rusmi_blocking *blocking)
{
    struct rusmi_job *job = blocking->first;

    if (job != NULL) {
        blocking->first = job->next;
        if (blocking->first == NULL) {
            blocking->last = &blocking->first;
        }
        blocking->queued--;
        blocking->idle--;
    }
    return job;
}

/* Under the lock: whether an idle thread may end. */
static bool is_spare(const struct rusmi_blocking *blocking)
{
    return blocking->idle > blocking->queued + blocking->reserved;
}

/* Wait for a job; NULL: end. Counted as idle on entry; on NULL counted as ended. */
static struct rusmi_job *job_wait(struct rusmi_blocking *blocking)
{
    rusm_time until = rusmi_clock_now() + blocking->idle_ns;
    struct rusmi_job *job;

    rusmi_lock_take(&blocking->lock);
    for (;;) {
        uint32_t calls;

        job = job_take(blocking);
        if (job != NULL) {
            break;
        }
        if (rusmi_clock_now() >= until) {
            until = is_spare(blocking) ? 0 : rusmi_clock_now() + blocking->idle_ns;
        }
        if (blocking->closing || until == 0) {
            blocking->idle--;
            blocking->threads--;
            break;
        }
        /* Read under the lock: a job that is queued from here on changes it. */
        calls = atomic_load(&blocking->calls);
        rusmi_lock_give(&blocking->lock);
        rusmi_futex_wait(&blocking->calls, calls, until);
        rusmi_lock_take(&blocking->lock);
    }
    rusmi_lock_give(&blocking->lock);
    return job;
}

static void *thread_main(void *arg)
{
    struct rusmi_blocking_thread *thread = arg;
    struct rusmi_blocking *blocking = thread->blocking;
    struct rusmi_job *job;
    stack_t old;
    void *stack = rusmi_faults_thread_init(&old);

    while ((job = job_wait(blocking)) != NULL) {
        job->run(job, false);
        rusmi_lock_take(&blocking->lock);
        blocking->idle++;
        rusmi_lock_give(&blocking->lock);
    }
    rusmi_faults_thread_fini(stack, &old);
    rusmi_lock_take(&blocking->lock);
    rusmi_list_remove(&thread->node);
    rusmi_list_push(&blocking->ended, &thread->node);
    rusmi_lock_give(&blocking->lock);
    return NULL;
}

/* Under the lock: the threads that have ended, to be joined without it. */
static void take_ended(struct rusmi_blocking *blocking, struct rusmi_list *out_ended)
{
    rusmi_list_init(out_ended);
    while (!rusmi_list_empty(&blocking->ended)) {
        struct rusmi_list *node = blocking->ended.next;

        rusmi_list_remove(node);
        rusmi_list_push(out_ended, node);
    }
}

/* They have left their loop: this waits for no more than their last instructions. */
static void join(struct rusmi_list *ended)
{
    while (!rusmi_list_empty(ended)) {
        struct rusmi_blocking_thread *thread =
            rusmi_container(ended->next, struct rusmi_blocking_thread, node);

        rusmi_list_remove(&thread->node);
        rusmi_thread_join(&thread->thread);
        rusmi_free(thread);
    }
}

/* Under the lock, which the new thread waits for: start one more, counted as idle. */
static rusm_err thread_start(struct rusmi_blocking *blocking)
{
    struct rusmi_blocking_thread *thread = rusmi_zalloc(sizeof(*thread));
    int rc;

    if (thread == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    thread->blocking = blocking;
    rc = rusmi_thread_start(&thread->thread, thread_main, thread, RUSMI_BLOCKING_STACK_LEN,
                            "rusm-block");
    if (rc != 0) {
        rusmi_free(thread);
        return rusm_set_err_detail(RUSM_ESYS, "a thread for blocking work: %s", strerror(rc));
    }
    rusmi_list_push(&blocking->running, &thread->node);
    blocking->threads++;
    blocking->idle++;
    return RUSM_OK;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

void rusmi_blocking_init(struct rusmi_blocking *blocking)
{
    rusmi_lock_init(&blocking->lock);
    blocking->first = NULL;
    blocking->last = &blocking->first;
    blocking->queued = blocking->reserved = blocking->threads = blocking->idle = 0;
    blocking->closing = false;
    rusmi_list_init(&blocking->running);
    rusmi_list_init(&blocking->ended);
    blocking->idle_ns = IDLE_NS;
    atomic_init(&blocking->calls, 0);
}

/* A thread that has not been joined; NULL: none. */
static struct rusmi_blocking_thread *any_thread(struct rusmi_blocking *blocking)
{
    struct rusmi_list *node;

    rusmi_lock_take(&blocking->lock);
    node = rusmi_list_empty(&blocking->ended) ? &blocking->running : &blocking->ended;
    node = rusmi_list_empty(node) ? NULL : node->next;
    rusmi_lock_give(&blocking->lock);
    return node == NULL ? NULL : rusmi_container(node, struct rusmi_blocking_thread, node);
}

void rusmi_blocking_fini(struct rusmi_blocking *blocking)
{
    struct rusmi_blocking_thread *thread;
    struct rusmi_job *job;

    rusmi_lock_take(&blocking->lock);
    blocking->closing = true;
    job = blocking->first;
    blocking->first = NULL;
    blocking->last = &blocking->first;
    blocking->queued = 0;
    rusmi_lock_give(&blocking->lock);
    while (job != NULL) {
        struct rusmi_job *next = job->next;

        job->run(job, true);
        job = next;
    }
    (void)atomic_fetch_add(&blocking->calls, 1);
    rusmi_futex_wake(&blocking->calls, INT32_MAX);
    /* Nobody starts threads any more. A thread moves its own record at its end, which joining waits
     * for. */
    while ((thread = any_thread(blocking)) != NULL) {
        rusmi_thread_join(&thread->thread);
        rusmi_lock_take(&blocking->lock);
        rusmi_list_remove(&thread->node);
        rusmi_lock_give(&blocking->lock);
        rusmi_free(thread);
    }
    rusmi_lock_fini(&blocking->lock);
}

rusm_err rusmi_blocking_reserve(rusm_pool *pool)
{
    struct rusmi_blocking *blocking = &pool->blocking;
    struct rusmi_list ended;
    rusm_err err = RUSM_OK;

    if (pool->kit != NULL || pool->cfg.blocking_max == 0) {
        return rusm_set_err_detail(RUSM_EINVAL, "this pool has no threads for blocking work");
    }
    rusmi_lock_take(&blocking->lock);
    take_ended(blocking, &ended);
    if (!is_spare(blocking) && blocking->threads < pool->cfg.blocking_max) {
        err = thread_start(blocking);
    }
    /* With some thread the job is done, if later. */
    if (err != RUSM_OK && blocking->threads != 0) {
        err = RUSM_OK;
    }
    if (err == RUSM_OK) {
        blocking->reserved++;
    }
    rusmi_lock_give(&blocking->lock);
    join(&ended);
    return err;
}

void rusmi_blocking_unreserve(rusm_pool *pool)
{
    rusmi_lock_take(&pool->blocking.lock);
    pool->blocking.reserved--;
    rusmi_lock_give(&pool->blocking.lock);
}

void rusmi_blocking_queue(rusm_pool *pool, struct rusmi_job *job)
{
    struct rusmi_blocking *blocking = &pool->blocking;

    job->next = NULL;
    rusmi_lock_take(&blocking->lock);
    rusmi_assert(!blocking->closing && blocking->reserved > 0);
    blocking->reserved--;
    blocking->queued++;
    *blocking->last = job;
    blocking->last = &job->next;
    (void)atomic_fetch_add(&blocking->calls, 1);
    rusmi_lock_give(&blocking->lock);
    rusmi_futex_wake(&blocking->calls, 1);
}

/* ---- processes ------------------------------------------------------------------------------- */

static void run_process(struct rusmi_job *job, bool dropped)
{
    struct rusmi_process *proc = job->proc;

    /* A pool ends after its runtimes, and they after their processes. */
    rusmi_assert(!dropped);
    rusmi_free(job);
    rusmi_process_run_here(proc);
}

rusm_err rusmi_blocking_process(rusm_pool *pool, struct rusmi_job **out_job)
{
    struct rusmi_job *job = rusmi_zalloc(sizeof(*job));
    rusm_err err;

    if (job == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    job->run = run_process;
    err = rusmi_blocking_reserve(pool);
    if (err != RUSM_OK) {
        rusmi_free(job);
        return err;
    }
    *out_job = job;
    return RUSM_OK;
}

void rusmi_blocking_process_cancel(rusm_pool *pool, struct rusmi_job *job)
{
    if (job != NULL) {
        rusmi_blocking_unreserve(pool);
        rusmi_free(job);
    }
}

rusm_err rusm_spawn_blocking(rusm_runtime *rt, rusm_process_fn fn, void *arg,
                             const rusm_spawn_config *cfg, rusm_pid *out_pid)
{
    static const struct rusmi_spawn_more more = {.blocking = true};

    return rusmi_spawn_more(rt, fn, arg, cfg, &more, out_pid);
}
