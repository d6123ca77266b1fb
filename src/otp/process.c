/* SPDX-License-Identifier: MIT */
/*
 * The life of a process: it suspends, is woken, killed, and ends. Its beginning is in spawn.c.
 */
#include "otp/process.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "otp/after.h"
#include "otp/blocking.h"
#include "otp/park.h"
#include "otp/sched.h"
#include "otp/trace.h"
#include "platform/clock.h"
#include "platform/futex.h"
#include "platform/stack.h"
#include "platform/vm.h"

#include <rusm/otp/link.h>
#include <rusm/otp/registry.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_MS ((rusm_time)1000000)
/* Reference numbers that a thread takes at a time. */
#define REFS_PIECE 4096

/* Where the end of blocking work goes to: the frame of its thread that runs it. */
struct rusmi_unwind {
    jmp_buf place;
    rusm_reason reason;
};

/* The process that an ordinary thread has become. */
static _Thread_local struct rusmi_process *tls_entered;

/* ---- small questions ------------------------------------------------------------------------- */

/* The pool on which the caller runs, as a process, a driver, or an entered thread; or NULL. */
static const rusm_pool *pool_here(void)
{
    struct rusmi_worker *worker = rusmi_worker_self();

    return worker != NULL ? worker->pool : tls_entered != NULL ? tls_entered->pool : NULL;
}

rusm_time rusmi_pool_now(const rusm_pool *pool)
{
    return pool->kit == NULL ? rusmi_clock_now() : rusmi_kit_now(pool);
}

rusm_time rusm_now(void)
{
    const rusm_pool *pool = pool_here();

    return pool == NULL ? rusmi_clock_now() : rusmi_pool_now(pool);
}

rusm_time rusmi_deadline(int64_t timeout_ms)
{
    rusm_time now = rusm_now();

    if (timeout_ms < 0 || (rusm_time)timeout_ms > (RUSMI_NEVER - now) / NS_PER_MS) {
        return RUSMI_NEVER;
    }
    return now + (rusm_time)timeout_ms * NS_PER_MS;
}

int64_t rusmi_time_left(rusm_time deadline)
{
    rusm_time now;

    if (deadline == RUSMI_NEVER) {
        return RUSM_INFINITY;
    }
    now = rusm_now();
    return now >= deadline ? 0 : (int64_t)((deadline - now + NS_PER_MS - 1) / NS_PER_MS);
}

struct rusmi_process *rusmi_process_self(void)
{
    struct rusmi_worker *worker = rusmi_worker_self();

    return worker != NULL ? rusmi_worker_current(worker) : tls_entered;
}

void rusmi_process_be(struct rusmi_process *proc)
{
    tls_entered = proc;
}

rusm_pid rusmi_process_pid(const struct rusmi_process *proc)
{
    return (rusm_pid){proc->runtime->incarnation, proc->own_serial};
}

rusm_pid rusm_self(void)
{
    struct rusmi_process *self = rusmi_process_self();

    return self == NULL ? RUSM_PID_NONE : rusmi_process_pid(self);
}

struct rusmi_process *rusmi_process_find(rusm_pool *pool, uint64_t serial)
{
    uint32_t number = (uint32_t)serial;

    return number == 0 ? NULL : rusmi_slot_at(pool, number - 1);
}

bool rusmi_process_killed(const struct rusmi_process *proc)
{
    return rusmi_process_killed_as(proc, proc->own_serial);
}

struct rusmi_process_extra *rusmi_process_extra(struct rusmi_process *self)
{
    if (self->extra == NULL) {
        self->extra = rusmi_zalloc(sizeof(*self->extra));
    }
    return self->extra;
}

/* Numbers are taken from the common counter in pieces, so that threads do not fight for it. */
__attribute__((noinline)) uint64_t rusmi_ref_new(void)
{
    static _Atomic uint64_t common = 1;
    static _Thread_local uint64_t next, end;

    if (next == end) {
        next = atomic_fetch_add(&common, REFS_PIECE);
        end = next + REFS_PIECE;
    }
    return next++;
}

/* ---- suspending and waking ------------------------------------------------------------------- */

void rusmi_process_run_again(struct rusmi_process *proc)
{
    if (proc->mailbox.wakes_thread) {
        atomic_store(&proc->park, 1);
        rusmi_futex_wake(&proc->park, 1);
    } else {
        rusmi_sched_queue(proc->pool, proc);
    }
}

void rusmi_process_wake(struct rusmi_process *proc)
{
    if (rusmi_mailbox_notify(&proc->mailbox)) {
        rusmi_process_run_again(proc);
    }
}

void rusmi_process_attend(struct rusmi_process *proc)
{
    rusmi_mailbox_collect(&proc->mailbox);
}

rusm_process_state rusmi_process_doing(const struct rusmi_process *proc)
{
    /* relaxed: a picture of a moment */
    uint8_t doing = atomic_load_explicit(&proc->doing, memory_order_relaxed);

    return doing == RUSMI_DOING_LONG ? RUSM_PROCESS_RECEIVING : (rusm_process_state)doing;
}

bool rusmi_process_woken(const struct rusmi_process *proc)
{
    return !rusmi_mailbox_waits(&proc->mailbox);
}

static void thread_suspend(struct rusmi_process *proc, rusm_time deadline)
{
    atomic_store(&proc->park, 0);
    if (!rusmi_mailbox_wait(&proc->mailbox)) {
        return;
    }
    if (proc->pool->kit != NULL) {
        rusmi_kit_suspend(proc, deadline);
        (void)rusmi_mailbox_unwait(&proc->mailbox);
        return;
    }
    /* Who ends the wait in our place may be at work on the mailbox until it lets us run. */
    while (atomic_load(&proc->park) == 0) {
        if (rusmi_clock_now() >= deadline) {
            if (rusmi_mailbox_unwait(&proc->mailbox)) {
                return;
            }
            deadline = RUSMI_NEVER;
        }
        rusmi_futex_wait(&proc->park, 0, deadline);
    }
}

void rusmi_process_suspend(struct rusmi_process *proc, rusm_process_state doing, rusm_time deadline)
{
    atomic_store_explicit(&proc->doing, (uint8_t)doing,
                          memory_order_relaxed); /* relaxed: for lists */
    if (proc->is_thread) {
        thread_suspend(proc, deadline);
        /* relaxed: as above */
        atomic_store_explicit(&proc->doing, RUSM_PROCESS_THREAD, memory_order_relaxed);
        return;
    }
    rusmi_timeout_begin(proc, deadline);
    rusmi_sched_leave(proc, RUSMI_LEAVE_WAIT);
    if (proc->pool->kit != NULL) {
        rusmi_timeout_end(proc); /* virtual time stops only where somebody waits for it */
    }
}

void rusmi_process_work(struct rusmi_process *proc, unsigned n)
{
    struct rusmi_worker *worker;

    /* relaxed: for lists, and only the process writes it */
    atomic_store_explicit(&proc->reductions,
                          atomic_load_explicit(&proc->reductions, memory_order_relaxed) + n,
                          memory_order_relaxed);
    if (proc->is_thread) {
        return;
    }
    worker = rusmi_worker_self();
    worker->budget -= (int)n;
    if (worker->budget <= 0 || (proc->pool->kit != NULL && rusmi_kit_interrupts(proc->pool))) {
        rusm_yield();
    }
}

void rusm_bump_reductions(unsigned n)
{
    struct rusmi_process *self = rusmi_process_self();

    if (self != NULL) {
        rusmi_process_work(self, n);
    }
}

void rusm_yield(void)
{
    struct rusmi_process *self = rusmi_process_self();

    if (self == NULL || self->is_thread) {
        return;
    }
    rusmi_checkpoint();
    atomic_store_explicit(&self->doing, RUSM_PROCESS_RUNNABLE,
                          memory_order_relaxed); /* relaxed: for lists */
    rusmi_sched_leave(self, RUSMI_LEAVE_YIELD);
    rusmi_checkpoint();
}

/* The mark names one life of the slot, and a kill that comes late must not replace the mark of
 * another. */
static void mark_killed(struct rusmi_process *proc, uint64_t serial)
{
    uint64_t killed = atomic_load(&proc->kill_serial);

    while (killed < serial && !atomic_compare_exchange_weak(&proc->kill_serial, &killed, serial)) {
    }
}

rusm_reason rusmi_reason_of_kill(struct rusmi_process *proc)
{
    rusm_reason reason = {.kind = RUSM_REASON_KILLED};

    rusmi_lock_take(rusmi_slot_stripe(proc->pool, proc));
    if (proc->doom != NULL) {
        reason = proc->doom->reason;
    }
    rusmi_lock_give(rusmi_slot_stripe(proc->pool, proc));
    return reason;
}

_Noreturn static void end_killed(struct rusmi_process *self)
{
    rusm_reason reason = rusmi_reason_of_kill(self);

    rusmi_process_end(self, &reason);
}

void rusmi_checkpoint(void)
{
    struct rusmi_process *self = rusmi_process_self();

    if (self != NULL && !self->is_thread && !self->ending && rusmi_process_killed(self)) {
        end_killed(self);
    }
}

/* Whether the running process can leave its stack: a thread that has entered can not. */
static bool can_end(const struct rusmi_process *self)
{
    return self != NULL && (!self->is_thread || self->unwind != NULL);
}

void rusm_checkpoint(void)
{
    struct rusmi_process *self = rusmi_process_self();

    if (can_end(self) && !self->ending && rusmi_process_killed(self)) {
        end_killed(self);
    }
}

void rusmi_process_doom(struct rusmi_process *proc, struct rusmi_cause *cause)
{
    /* Not from `serial`, which an end sets to 0 without the stripe: the caller has found the
     * process watchable, so it is still this one, and what is set here is given back by its end. */
    uint64_t serial = proc->own_serial;

    if (rusmi_process_killed_as(proc, serial)) {
        rusmi_cause_drop(cause); /* it has to end already */
        return;
    }
    proc->doom = cause;
    mark_killed(proc, serial);
}

rusm_err rusmi_process_deadlocked(void)
{
    return rusm_set_err_detail(RUSM_ETIMEOUT, "deadlock: nothing can run, and no timer is set");
}

rusm_err rusm_sleep(int64_t timeout_ms)
{
    struct rusmi_process *self = rusmi_process_self();
    rusm_time deadline = rusmi_deadline(timeout_ms);

    if (self == NULL) {
        return rusm_set_err_detail(RUSM_ENOCONTEXT, "%s", rusm_err_text(RUSM_ENOCONTEXT));
    }
    if (timeout_ms == 0) {
        rusm_yield();
    }
    for (;;) {
        rusmi_process_attend(self);
        if (rusmi_process_killed(self)) {
            rusmi_checkpoint();
            return RUSM_EKILLED;
        }
        if (rusmi_pool_now(self->pool) >= deadline) {
            return RUSM_OK;
        }
        rusmi_process_suspend(self, RUSM_PROCESS_WAITING, deadline);
        if (self->is_thread && rusmi_kit_deadlocked(self->pool)) {
            return rusmi_process_deadlocked();
        }
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

/* Only the thread that the shard is of changes it; but all threads that are no workers share one.
 */
void rusmi_shard_count(_Atomic uint64_t *counter)
{
    if (rusmi_worker_self() == NULL) {
        (void)atomic_fetch_add(counter, 1);
        return;
    }
    /* relaxed, both: a count */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* Whether the pool may have one more process. */
bool rusmi_pool_reserve(rusm_pool *pool)
{
    struct rusmi_worker *worker = rusmi_worker_self();
    bool own = worker != NULL && worker->pool == pool;
    uint64_t more = own ? pool->reserve : 1;

    if (own && worker->reserve > 0) {
        worker->reserve--;
        return true;
    }
    if (atomic_fetch_add(&pool->reserved, more) + more > pool->cfg.processes_max) {
        (void)atomic_fetch_sub(&pool->reserved, more);
        return false;
    }
    if (own) {
        worker->reserve += (unsigned)more - 1;
    }
    return true;
}

void rusmi_pool_unreserve(rusm_pool *pool)
{
    struct rusmi_worker *worker = rusmi_worker_self();
    unsigned less = 1;

    if (worker != NULL && worker->pool == pool && pool->reserve > 1) {
        if (++worker->reserve <= 2 * pool->reserve) {
            return;
        }
        less = pool->reserve;
        worker->reserve -= less;
    }
    (void)atomic_fetch_sub(&pool->reserved, less);
}

/* Of processes that could not be given all that they should be born with: nobody hears of them. */
const rusm_reason rusmi_never_ran = {.kind = RUSM_REASON_NORMAL};

/* All of the end but the last switch: nothing of the process is left but its slot. */
static void wind_up(struct rusmi_process *proc, const rusm_reason *reason)
{
    rusm_runtime *rt = proc->runtime;
    rusm_pid pid = rusmi_process_pid(proc);
    struct rusmi_shard *shard;
    struct rusmi_cause *doom;
    rusm_exit_watch *watches;
    uint64_t unread;
    char *label;
    bool tied;

    proc->ending = true;
    atomic_store_explicit(&proc->doing, RUSM_PROCESS_EXITING,
                          memory_order_relaxed); /* relaxed: for lists */
    rusmi_hooks_run(proc);
    rusmi_timeout_end(proc);
    rusmi_after_end(proc);
    rusmi_registered_release(rt, proc);
    atomic_store(&proc->serial, 0);
    rusmi_groups_end(proc);
    unread = rusmi_mailbox_close(&proc->mailbox);
    if (atomic_load(&rt->crowd_high) != 0) {
        rusmi_crowd_taken(proc, true);
    }
    rusmi_lock_take(rusmi_slot_stripe(proc->pool, proc));
    proc->watchable = false;
    /* A table that is empty again may have grown before. */
    tied = proc->ties.len != 0 || proc->ties.chains != NULL || proc->ties.foreign ||
           !rusmi_list_empty(&proc->monitors);
    watches = rusmi_watches_take(proc);
    label = proc->label;
    doom = proc->doom;
    proc->label = NULL;
    proc->doom = NULL;
    rusmi_lock_give(rusmi_slot_stripe(proc->pool, proc));
    /* Before others hear of the end: they may look into the trace. */
    if (rusmi_traced(proc)) {
        rusmi_trace_exit(proc, reason);
    }
    if ((rusmi_log_watches(&rt->log) || proc->census != 0) && reason != &rusmi_never_ran) {
        rusmi_log_exit(proc, label, reason);
    }
    if (tied) {
        rusmi_ties_end(proc, reason);
    }
    rusmi_watches_fire(watches, pid, reason);
    rusmi_free(label);
    rusmi_cause_drop(doom);
    rusmi_msgs_free(&proc->held);
    rusmi_blocks_free(proc);
    rusmi_free(proc->extra);
    proc->extra = NULL;
    shard = rusmi_runtime_shard(rt);
    if (unread != 0) {
        (void)atomic_fetch_add(&shard->unread, unread);
    }
    if (reason->kind >= RUSM_REASON_CRASHED) {
        rusmi_shard_count(&shard->crashed);
    }
    rusmi_shard_count(&shard->exited);
}

void rusmi_process_finish(struct rusmi_process *proc)
{
    rusm_runtime *rt = proc->runtime;
    rusm_pool *pool = proc->pool;

    wind_up(proc, proc->reason);
    if (!proc->is_thread) {
        rusmi_context_fini(&proc->context);
    }
    rusmi_slot_give(pool, proc);
    rusmi_pool_unreserve(pool);
    rusmi_runtime_left(rt);
}

void rusmi_process_end(struct rusmi_process *proc, const rusm_reason *reason)
{
    rusm_reason copy = *reason;
    struct rusmi_worker *worker;

    if (proc->unwind != NULL) {
        proc->unwind->reason = *reason;
        longjmp(proc->unwind->place, 1);
    }
    if (!rusmi_block_guarded(proc)) {
        size_t size;

        /* Without a guard page an overflow shows only now; what lies below may be damaged, so
         * nothing can go on. */
        rusmi_assert(rusmi_stack_intact((char *)rusmi_slot_stack(proc, &size) - rusmi_vm_page()));
    }
    proc->reason = &copy; /* the stack stays what it is until the slot is another's */
    worker = rusmi_worker_self();
    worker->left = proc;
    worker->leave = RUSMI_LEAVE_END;
    rusmi_context_leave(&proc->context, &worker->context);
    rusmi_unreachable();
}

/* End the running process in an orderly way: its last words first, see struct rusmi_process_extra.
 */
_Noreturn static void leave(struct rusmi_process *self, const rusm_reason *reason)
{
    struct rusmi_process_extra *extra = self->extra;
    rusm_reason copy = *reason; /* it may lie in what the last words free */

    rusm_checkpoint();
    if (extra != NULL && extra->before_exit != NULL) {
        void (*before_exit)(void *, const rusm_reason *) = extra->before_exit;

        extra->before_exit = NULL;
        before_exit(extra->before_exit_arg, &copy);
        rusm_checkpoint();
    }
    rusmi_process_end(self, &copy);
}

void rusm_exit(rusm_reason_kind kind)
{
    struct rusmi_process *self = rusmi_process_self();

    rusmi_assert(can_end(self));
    rusmi_assert(kind == RUSM_REASON_NORMAL || kind == RUSM_REASON_SHUTDOWN);
    leave(self, &(rusm_reason){.kind = kind});
}

void rusm_exit_with(const rusm_reason *reason)
{
    struct rusmi_process *self = rusmi_process_self();

    rusmi_assert(can_end(self));
    rusmi_assert((unsigned)reason->kind <= (unsigned)RUSM_REASON_STACK_OVERFLOW);
    leave(self, reason);
}

void rusm_crash(const char *format, ...)
{
    struct rusmi_process *self = rusmi_process_self();
    rusm_reason reason;
    va_list args;

    rusmi_assert(can_end(self));
    rusm_checkpoint();
    va_start(args, format);
    rusmi_reason_crashed(&reason, format, args);
    va_end(args);
    rusmi_process_end(self, &reason);
}

/* False: it has ended. */
static bool kill_local(rusm_runtime *rt, uint64_t serial)
{
    struct rusmi_process *proc = rusmi_process_find(rt->pool, serial);

    if (proc == NULL || !rusmi_process_is(proc, (rusm_pid){rt->incarnation, serial})) {
        return false;
    }
    /* If another life has begun meanwhile it is not meant, and only woken for nothing. */
    mark_killed(proc, serial);
    rusmi_process_wake(proc);
    return true;
}

rusm_err rusm_kill(rusm_pid pid)
{
    struct rusmi_process *self = rusmi_process_self();
    rusm_runtime *rt;
    bool known;

    if (rusmi_is_far(self, pid)) {
        const rusm_reason killed = {.kind = RUSM_REASON_KILLED};

        return rusmi_far_ask(self, RUSM_SIGNAL_ASK_EXIT, pid, &killed);
    }
    rusmi_runtimes_hold();
    rt = rusmi_runtime_find(pid.incarnation);
    known = rt != NULL && kill_local(rt, pid.serial);
    rusmi_runtimes_release();
    if (rt == NULL) {
        return rusm_set_err_detail(RUSM_ENONODE,
                                   "the process belongs to no node that is connected here");
    }
    if (!known) {
        return rusm_set_err_detail(RUSM_ENOPROC, "%s", rusm_err_text(RUSM_ENOPROC));
    }
    rusmi_checkpoint(); /* it may have been the caller itself */
    return RUSM_OK;
}

bool rusm_is_alive(rusm_pid pid)
{
    struct rusmi_process *proc;
    rusm_runtime *rt;
    bool alive;

    rusmi_runtimes_hold();
    proc = rusmi_runtime_find_process(pid, &rt);
    alive = proc != NULL && atomic_load(&proc->serial) == pid.serial &&
            atomic_load(&proc->owner_incarnation) == pid.incarnation;
    rusmi_runtimes_release();
    return alive;
}

void rusmi_process_run_here(struct rusmi_process *proc)
{
    struct rusmi_unwind unwind;

    proc->unwind = &unwind;
    /* relaxed: for lists */
    atomic_store_explicit(&proc->doing, RUSM_PROCESS_THREAD, memory_order_relaxed);
    tls_entered = proc;
    if (setjmp(unwind.place) == 0) {
        rusm_checkpoint();
        proc->fn(proc->arg);
        rusm_checkpoint();
        unwind.reason = (rusm_reason){.kind = RUSM_REASON_NORMAL};
    }
    tls_entered = NULL;
    proc->reason = &unwind.reason;
    rusmi_process_finish(proc);
}
