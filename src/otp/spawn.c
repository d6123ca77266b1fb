/* SPDX-License-Identifier: MIT */
/*
 * The beginning of a process: a slot, a control block, ties to who spawns it; and ordinary threads
 * that become processes. Nothing is visible to others before all that can fail has been done.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "otp/blocking.h"
#include "otp/sched.h"
#include "otp/trace.h"
#include "platform/vm.h"

#include <rusm/otp/link.h>
#include <rusm/otp/registry.h>

#include <string.h>

/* What a spawn costs in reductions. A process that only spawns so gives its children their turn
 * while what they need is in the caches, instead of thousands later. */
#define SPAWN_WORK 16

void rusm_spawn_config_init(rusm_spawn_config *cfg)
{
    *cfg = (rusm_spawn_config){.size = sizeof(*cfg)};
}

static void process_main(void *arg)
{
    /* Not on the stack: this frame is there as long as the process, parked or not. */
    static const rusm_reason normal = {.kind = RUSM_REASON_NORMAL};
    struct rusmi_process *proc = arg;

    rusmi_sched_arrive();
    rusmi_checkpoint();
    proc->fn(proc->arg);
    rusmi_checkpoint();
    rusmi_process_end(proc, &normal);
}

static bool is_valid(const rusm_spawn_config *cfg)
{
    return cfg->size == sizeof(*cfg) &&
           (cfg->label == NULL || rusmi_name_valid(cfg->label, strlen(cfg->label))) &&
           (unsigned)cfg->mailbox_policy <= (unsigned)RUSM_MAILBOX_DROP_OLDEST &&
           cfg->mailbox_max <= UINT32_MAX;
}

/* Take a slot and fill the control block; the process is not visible yet. Counts it as live. */
static rusm_err begin(rusm_runtime *rt, const rusm_spawn_config *cfg, bool is_thread,
                      struct rusmi_process **out_proc)
{
    /* A thread has its own stack, that of its slot is not used. */
    size_t stack_size = is_thread              ? RUSMI_STACK_MIN
                        : cfg->stack_size == 0 ? rt->pool->cfg.stack_size
                                               : cfg->stack_size;
    struct rusmi_process *proc;
    char *label = NULL;
    bool reserved;
    rusm_err err;

    if (!is_valid(cfg)) {
        return rusm_set_err_detail(RUSM_EINVAL,
                                   "the spawn config is not initialised or its label is not valid");
    }
    /* Counted before looking: rusm_runtime_stop sets `stopping` and then waits for the count. */
    (void)atomic_fetch_add(&rusmi_runtime_shard(rt)->begun, 1);
    if (atomic_load(&rt->stopping) != 0) {
        rusmi_runtime_left(rt);
        return rusm_set_err_detail(RUSM_ECLOSED, "runtime %s is stopping", rt->name);
    }
    if (cfg->label != NULL) {
        label = rusmi_strdup(cfg->label);
    }
    reserved = rusmi_pool_reserve(rt->pool);
    if (!reserved) {
        err = RUSM_EFULL;
    } else if (rt->pool->kit != NULL && !rusmi_kit_reserve(rt->pool)) {
        err = RUSM_ENOMEM;
    } else if (cfg->label != NULL && label == NULL) {
        err = RUSM_ENOMEM;
    } else {
        err = rusmi_slot_take(rt->pool, stack_size, &proc);
    }
    if (err != RUSM_OK) {
        rusmi_free(label);
        if (reserved) {
            rusmi_pool_unreserve(rt->pool);
        }
        rusmi_runtime_left(rt);
        return rusm_set_err_detail(
            err, err == RUSM_EFULL ? "the pool has as many processes as it may" : "%s",
            rusm_err_text(err));
    }
    proc->generation++;
    proc->own_serial = ((uint64_t)(proc->generation - 1) << 32) | (proc->slot + 1);
    proc->runtime = rt;
    proc->parent_serial = 0;
    proc->fn = NULL; /* a thread's */
    proc->is_thread = proc->mailbox.wakes_thread = is_thread;
    proc->unwind = NULL;
    proc->ending = false;
    proc->saved_errno = 0;
    atomic_store_explicit(&proc->reductions, 0,
                          memory_order_relaxed); /* relaxed: published by serial */
    /* relaxed: as above. Its last watcher may have gone before it. */
    atomic_store_explicit(&proc->crowded, 0, memory_order_relaxed);
    atomic_store_explicit(&proc->named, 0, memory_order_relaxed);
    if (cfg->mailbox_max != 0) {
        rusmi_mailbox_bound(&proc->mailbox, cfg->mailbox_max, cfg->mailbox_policy);
    }
    /* Under the stripe it is looked at only by who has found the serial there. */
    proc->label = label;
    proc->watchable = true;
    proc->trap_exit = cfg->trap_exit;
    proc->watches_spawns = false;
    *out_proc = proc;
    return RUSM_OK;
}

/* Make it visible to lookups. */
static void appear(struct rusmi_process *proc, rusm_process_state doing)
{
    atomic_store_explicit(&proc->doing, (uint8_t)doing,
                          memory_order_relaxed); /* relaxed: published by serial */
    /* relaxed: published by serial; release: pairs with the loads of who looks it up */
    atomic_store_explicit(&proc->owner_incarnation, proc->runtime->incarnation,
                          memory_order_relaxed);
    atomic_store_explicit(&proc->serial, proc->own_serial, memory_order_release);
    rusmi_shard_count(&rusmi_runtime_shard(proc->runtime)->spawned);
}

/* Undo begin() and appear() of a process that has never run. */
static void vanish(struct rusmi_process *proc)
{
    proc->reason = &rusmi_never_ran;
    rusmi_process_finish(proc);
}

/* The ties that bind a new process to who spawns it, made before it is. */
struct newborn_ties {
    struct rusmi_process *self;
    struct rusmi_tie *link, *monitor, *watch;
    uint64_t ref;
};

static void drop_ties(struct newborn_ties *ties)
{
    rusmi_tie_del(ties->link);
    rusmi_tie_del(ties->monitor);
    rusmi_tie_del(ties->watch);
}

static rusm_err make_ties(struct newborn_ties *ties, const rusm_spawn_config *cfg, bool is_child)
{
    bool watched;

    *ties = (struct newborn_ties){.self = rusmi_process_self()};
    watched = ties->self != NULL && ties->self->watches_spawns;
    if (!cfg->link && cfg->out_ref == NULL && !watched) {
        return RUSM_OK;
    }
    if (ties->self == NULL) {
        return rusm_set_err_detail(RUSM_ENOCONTEXT,
                                   "only a process can link to or monitor another");
    }
    rusmi_checkpoint(); /* before anything is allocated */
    if (cfg->link && !is_child) {
        ties->link = rusmi_tie_new(rusmi_process_pid(ties->self), RUSM_PID_NONE, 0);
    }
    if (watched) {
        ties->watch = rusmi_tie_new(rusmi_process_pid(ties->self), RUSM_PID_NONE, rusmi_ref_new());
    }
    if (cfg->out_ref != NULL) {
        rusm_pid self = rusmi_process_pid(ties->self);

        ties->ref = rusmi_ref_new();
        ties->monitor = is_child ? rusmi_tie_new_child(self, ties->ref)
                                 : rusmi_tie_new(self, RUSM_PID_NONE, ties->ref);
    }
    if ((cfg->link && !is_child && ties->link == NULL) || (watched && ties->watch == NULL) ||
        (cfg->out_ref != NULL && ties->monitor == NULL)) {
        drop_ties(ties);
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    return RUSM_OK;
}

/* The process is registered but has not run, so it can not have ended. */
static void bind_ties(struct newborn_ties *ties, const rusm_spawn_config *cfg,
                      struct rusmi_process *proc)
{
    if (ties->link != NULL) {
        rusmi_tie_newborn(ties->self, proc, ties->link);
    }
    if (ties->watch != NULL) {
        rusmi_tie_newborn(ties->self, proc, ties->watch);
    }
    if (ties->monitor != NULL) {
        rusmi_tie_newborn(ties->self, proc, ties->monitor);
        *cfg->out_ref = (rusm_ref){ties->self->runtime->incarnation, ties->ref};
    }
}

/* Give a process that has begun what it is born with; nothing has to be undone if that fails but
 * the beginning. */
static rusm_err equip(struct rusmi_process *proc, struct rusmi_process *self,
                      const struct rusmi_spawn_more *more)
{
    if (more->hook != NULL) {
        if (rusmi_process_extra(proc) == NULL) {
            return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
        }
        if (self == NULL || !rusmi_hook_move(self, more->hook, proc)) {
            return rusm_set_err_detail(RUSM_EINVAL, "it is not the caller's");
        }
    }
    if (more->watch != NULL) {
        (void)!rusm_watch_exit(more->watch, rusmi_process_pid(proc)); /* it can not have ended */
    }
    return RUSM_OK;
}

/* Let it run, on a scheduler or on a thread of its own. It may have ended when this returns. */
static void start(struct rusmi_process *proc, struct rusmi_job *job)
{
    rusm_pool *pool = proc->pool;

    if (job == NULL) {
        rusmi_sched_queue(pool, proc);
    } else {
        job->proc = proc;
        rusmi_blocking_queue(pool, job);
    }
    rusm_bump_reductions(SPAWN_WORK);
}

rusm_err rusmi_spawn_more(rusm_runtime *rt, rusm_process_fn fn, void *arg,
                          const rusm_spawn_config *cfg, const struct rusmi_spawn_more *more,
                          rusm_pid *out_pid)
{
    rusm_spawn_config defaults;
    struct rusmi_process *proc;
    struct newborn_ties ties;
    struct rusmi_job *job = NULL;
    rusm_pid pid;
    rusm_err err;

    rt = rusmi_runtime_resolve(rt);
    if (rt == NULL || fn == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL,
                                   "a process needs a function, and outside a process a runtime");
    }
    rusm_spawn_config_init(&defaults);
    cfg = cfg == NULL ? &defaults : cfg;
    err = make_ties(&ties, cfg, more->is_child);
    if (err != RUSM_OK) {
        return err;
    }
    if (more->blocking) {
        err = rusmi_blocking_process(rt->pool, &job);
    }
    if (err == RUSM_OK) {
        err = begin(rt, cfg, more->blocking, &proc);
    }
    if (err != RUSM_OK) {
        rusmi_blocking_process_cancel(rt->pool, job);
        drop_ties(&ties);
        return err;
    }
    proc->fn = fn;
    proc->arg = arg;
    proc->parent_serial = ties.self != NULL && ties.self->runtime == rt ? ties.self->own_serial : 0;
    if (job == NULL) {
        size_t size;
        void *bottom = rusmi_slot_stack(proc, &size);

        rusmi_context_init(&proc->context, bottom, (char *)bottom + size, process_main, proc);
    }
    pid = rusmi_process_pid(proc);
    /* It does not wait, so a wake-up (a message to its name, a kill) does not queue it too. */
    appear(proc, RUSM_PROCESS_RUNNABLE);
    if (cfg->name != NULL) {
        err = rusm_register(rt, cfg->name, pid);
    }
    if (err == RUSM_OK) {
        err = equip(proc, ties.self, more);
    }
    if (err != RUSM_OK) {
        rusmi_blocking_process_cancel(rt->pool, job);
        drop_ties(&ties);
        vanish(proc);
        return err;
    }
    bind_ties(&ties, cfg, proc);
    if (rusmi_log_watches(&rt->log)) {
        rusmi_log_spawn(proc);
    }
    if (out_pid != NULL) {
        *out_pid = pid;
    }
    start(proc, job);
    return RUSM_OK;
}

rusm_err rusmi_spawn_watched(rusm_runtime *rt, rusm_process_fn fn, void *arg,
                             const rusm_spawn_config *cfg, rusm_exit_watch *watch,
                             rusm_pid *out_pid)
{
    return rusmi_spawn_more(rt, fn, arg, cfg, &(struct rusmi_spawn_more){.watch = watch}, out_pid);
}

rusm_err rusm_spawn_with(rusm_runtime *rt, rusm_process_fn fn, void *arg,
                         const rusm_spawn_config *cfg, rusm_pid *out_pid)
{
    static const struct rusmi_spawn_more nothing;

    return rusmi_spawn_more(rt, fn, arg, cfg, &nothing, out_pid);
}

rusm_err rusm_spawn(rusm_runtime *rt, rusm_process_fn fn, void *arg, rusm_pid *out_pid)
{
    return rusm_spawn_with(rt, fn, arg, NULL, out_pid);
}

rusm_err rusm_spawn_link(rusm_process_fn fn, void *arg, rusm_pid *out_pid)
{
    rusm_spawn_config cfg;

    rusm_spawn_config_init(&cfg);
    cfg.link = true;
    return rusm_spawn_with(NULL, fn, arg, &cfg, out_pid);
}

rusm_err rusm_spawn_monitor(rusm_process_fn fn, void *arg, rusm_pid *out_pid, rusm_ref *out_ref)
{
    rusm_spawn_config cfg;
    rusm_ref ref;

    rusm_spawn_config_init(&cfg);
    cfg.out_ref = out_ref == NULL ? &ref : out_ref;
    return rusm_spawn_with(NULL, fn, arg, &cfg, out_pid);
}

/* ---- threads --------------------------------------------------------------------------------- */

rusm_err rusm_thread_enter(rusm_runtime *rt, const char *label)
{
    rusm_spawn_config cfg;
    struct rusmi_process *proc;
    rusm_err err;

    if (rt == NULL || rusmi_worker_self() != NULL || rusmi_process_self() != NULL) {
        return rusm_set_err_detail(
            RUSM_EINVAL, "only an ordinary thread that has not entered can enter a runtime");
    }
    rusm_spawn_config_init(&cfg);
    cfg.label = label;
    err = begin(rt, &cfg, true, &proc);
    if (err != RUSM_OK) {
        return err;
    }
    appear(proc, RUSM_PROCESS_THREAD);
    if (rusmi_log_watches(&rt->log)) {
        rusmi_log_spawn(proc);
    }
    rusmi_process_be(proc);
    return RUSM_OK;
}

void rusm_thread_leave(void)
{
    struct rusmi_process *proc = rusmi_process_self();
    rusm_reason reason = {.kind = RUSM_REASON_NORMAL};

    if (proc == NULL || proc->unwind != NULL || rusmi_worker_self() != NULL) {
        return;
    }
    rusmi_process_be(NULL);
    if (rusmi_process_killed(proc)) {
        reason = rusmi_reason_of_kill(proc); /* the cause goes on through a thread, too */
    }
    proc->reason = &reason;
    rusmi_process_finish(proc);
}
