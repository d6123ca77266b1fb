/* SPDX-License-Identifier: MIT */
/*
 * The way from one process to the next, to be inlined where processes suspend: each frame between a
 * blocking call and the switch costs a mispredicted return when the process comes back, more than
 * the switch itself. Included by sched.c, process.c and send.c only.
 */
#ifndef RUSMI_OTP_SWITCH_H
#define RUSMI_OTP_SWITCH_H

#include "otp/mailbox_inline.h"
#include "otp/sched.h"
#include "otp/trace.h"

/* A busy worker looks at descriptors, timers and the queue from outside every so many processes, or
 * sooner where they take long (look_around). */
#define RUSMI_LOOK_EVERY 64u
/* Times in a row that a process may be handed the worker before those in the ring. */
#define RUSMI_HANDED_MAX 1000u
/* Posted drivers wait for at most so much work of processes, so that many posts make one run. */
#define RUSMI_WORK_MAX 96u

/* ---- queues ---------------------------------------------------------------------------------- */

/* The worker's own end of its ring; false if it is full. */
static inline bool rusmi_ring_push(struct rusmi_worker *worker, struct rusmi_process *proc)
{
    uint32_t tail =
        atomic_load_explicit(&worker->tail, memory_order_relaxed); /* relaxed: only we write it */
    /* acquire: pairs with the thieves' exchange of head: they have read the places that we write
     * again */
    uint32_t head = atomic_load_explicit(&worker->head, memory_order_acquire);

    if (tail - head >= RUSMI_RUNQ_LEN) {
        return false;
    }
    /* relaxed: published by tail */
    atomic_store_explicit(&worker->ring[tail % RUSMI_RUNQ_LEN], proc, memory_order_relaxed);
    /* release: pairs with the acquire of tail in ring_steal */
    atomic_store_explicit(&worker->tail, tail + 1, memory_order_release);
    return true;
}

static inline struct rusmi_process *rusmi_ring_pop(struct rusmi_worker *worker)
{
    uint32_t tail =
        atomic_load_explicit(&worker->tail, memory_order_relaxed); /* relaxed: only we write it */
    uint32_t head = atomic_load_explicit(&worker->head,
                                         memory_order_acquire); /* acquire: as in rusmi_ring_push */

    while (head != tail) {
        /* relaxed: we wrote it */
        struct rusmi_process *proc =
            atomic_load_explicit(&worker->ring[head % RUSMI_RUNQ_LEN], memory_order_relaxed);

        /* acq_rel: against thieves, who do the same */
        if (atomic_compare_exchange_weak_explicit(&worker->head, &head, head + 1,
                                                  memory_order_acq_rel, memory_order_acquire)) {
            return proc;
        }
    }
    return NULL;
}

static inline void rusmi_queue_last(struct rusmi_worker *worker, struct rusmi_process *proc)
{
    if (worker->pool->kit != NULL) {
        rusmi_kit_ready(worker->pool, proc);
    } else if (!rusmi_ring_push(worker, proc)) {
        rusmi_sched_inject(worker->pool, proc);
    }
}

/* ---- the process that runs next -------------------------------------------------------------- */

/*
 * What a process has woken last runs next on its worker: it is warm, and the two often wait for
 * each other. `next` is the worker's own, so that taking it costs no atomic operation; but a
 * process that holds the worker would keep it there for ever. So the watchdog may take it. Their
 * agreement is one-sided: the worker says with plain stores that it is inside, and looks whether it
 * has been seized; the watchdog says that it seizes, has all threads pass a barrier, and only then
 * looks whether the worker is inside. If it is, it runs, and nothing has to be taken.
 */
static inline void rusmi_next_enter(struct rusmi_worker *worker)
{
    for (;;) {
        /* relaxed: ordered by the barrier that the watchdog imposes, here only against the
         * compiler */
        atomic_store_explicit(&worker->inside, 1, memory_order_relaxed);
        atomic_signal_fence(memory_order_seq_cst);
        /* acquire: pairs with the watchdog's release after it has taken the process */
        if (atomic_load_explicit(&worker->seized, memory_order_acquire) == 0) {
            return;
        }
        /* release: as below */
        atomic_store_explicit(&worker->inside, 0, memory_order_release);
        rusmi_thread_yield();
    }
}

static inline void rusmi_next_leave(struct rusmi_worker *worker)
{
    /* release: pairs with the watchdog's acquire, so that it sees what was put into `next` */
    atomic_store_explicit(&worker->inside, 0, memory_order_release);
}

/* Put a process there; returns the one that was there before, or NULL. */
static inline struct rusmi_process *rusmi_next_swap(struct rusmi_worker *worker,
                                                    struct rusmi_process *proc)
{
    struct rusmi_process *before;

    rusmi_next_enter(worker);
    /* relaxed, both: see above */
    before = atomic_load_explicit(&worker->next, memory_order_relaxed);
    atomic_store_explicit(&worker->next, proc, memory_order_relaxed);
    rusmi_next_leave(worker);
    return before;
}

/* What this worker has itself, in the order in which it is to run. */
static inline struct rusmi_process *rusmi_take_own(struct rusmi_worker *worker)
{
    struct rusmi_process *proc;

    /* relaxed: only we put something there, and that it was taken away shows below */
    if (atomic_load_explicit(&worker->next, memory_order_relaxed) == NULL) {
        return rusmi_ring_pop(worker);
    }
    if (++worker->handed > RUSMI_HANDED_MAX) {
        worker->handed = 0;
        proc = rusmi_ring_pop(worker);
        if (proc != NULL) {
            return proc;
        }
    }
    proc = rusmi_next_swap(worker, NULL);
    return proc != NULL ? proc : rusmi_ring_pop(worker);
}

/* Queue a process that has been made to run; worker: that the caller is, or NULL. */
static inline void rusmi_queue(struct rusmi_worker *worker, rusm_pool *pool,
                               struct rusmi_process *proc)
{
    if (worker == NULL || worker->pool != pool) {
        rusmi_sched_queue_outside(pool, proc);
        return;
    }
    /* What a driver or the poll wakes has no claim to be before others. */
    if (rusmi_worker_current(worker) != NULL && pool->hands_over) {
        proc = rusmi_next_swap(worker, proc);
    }
    if (proc != NULL) {
        rusmi_queue_last(worker, proc);
    }
}

/* ---- the switch ------------------------------------------------------------------------------ */

/* Finish the suspension of the process that was just switched away from: only now, with its
 * registers saved, may others run it. */
static inline void rusmi_finish_leaving(struct rusmi_worker *worker)
{
    struct rusmi_process *left = worker->left;

    worker->left = NULL;
    if (worker->leave == RUSMI_LEAVE_WAIT) {
        if (rusmi_box_wait(&left->mailbox)) {
            return;
        }
    } else if (worker->leave == RUSMI_LEAVE_END) {
        rusmi_process_finish(left);
        return;
    }
    rusmi_queue_last(worker, left); /* it was woken meanwhile, or only gave way */
}

/* The worker begins to run proc. */
static inline void rusmi_begin_run(struct rusmi_worker *worker, struct rusmi_process *proc)
{
    /* relaxed, both: lists and the watchdog look at them, nothing depends on it */
    atomic_store_explicit(&proc->doing, RUSM_PROCESS_RUNNING, memory_order_relaxed);
    atomic_store_explicit(&worker->switches,
                          atomic_load_explicit(&worker->switches, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    if (__builtin_expect(proc->parked != NULL, 0)) {
        rusmi_unpark(proc);
    }
    rusmi_worker_set_current(worker, proc);
    worker->budget = RUSMI_BUDGET;
    if (rusmi_traced(proc)) {
        rusmi_trace_in(proc);
    }
}

static inline void rusmi_end_run(struct rusmi_worker *worker)
{
    worker->work += 1 + (unsigned)(RUSMI_BUDGET - worker->budget);
}

static inline bool rusmi_drivers_wait(struct rusmi_worker *worker)
{
    return atomic_load(&worker->drivers.len) != 0 || atomic_load(&worker->pool->drivers.len) != 0;
}

/*
 * The process to switch to at once, without the loop in between; NULL if the loop is wanted, for
 * what it does beside running processes, or has nothing to run.
 */
static inline struct rusmi_process *rusmi_take_direct(struct rusmi_worker *worker)
{
    rusm_pool *pool = worker->pool;

    /* relaxed: the watchdog's wish may be seen later */
    if (worker->look_in <= 1 || worker->look_now || pool->kit != NULL ||
        atomic_load_explicit(&worker->hold, memory_order_relaxed) != RUSMI_HOLD_PROCESS ||
        (worker->work >= RUSMI_WORK_MAX && rusmi_drivers_wait(worker))) {
        return NULL;
    }
    worker->look_in--;
    return rusmi_take_own(worker);
}

/* Leave the processor; returns when the process runs again, on whatever thread. */
static inline __attribute__((always_inline)) void
rusmi_leave(struct rusmi_worker *worker, struct rusmi_process *proc, enum rusmi_leave leave)
{
    struct rusmi_process *next = NULL;

    rusmi_end_run(worker);
    if (rusmi_traced(proc)) {
        rusmi_trace_out(proc);
    }
    proc->saved_errno = *worker->errno_place;
    worker->left = proc;
    worker->leave = leave;
    if (leave == RUSMI_LEAVE_WAIT) {
        next = rusmi_take_direct(worker);
    }
    if (next != NULL) {
        rusmi_begin_run(worker, next);
    }
    rusmi_context_switch_inline(&proc->context, next != NULL ? &next->context : &worker->context);
    worker = rusmi_worker_self();
    if (worker->left != NULL) {
        rusmi_finish_leaving(worker);
    }
    *worker->errno_place = proc->saved_errno;
}

#endif
