/* SPDX-License-Identifier: MIT */
/* Children: see gen/child.h. */
#include "gen/child.h"

#include "otp/sched.h"

void rusmi_child_init(struct rusmi_child *child, void (*del)(struct rusmi_child *child))
{
    atomic_init(&child->refs, 1);
    atomic_init(&child->gate, RUSMI_CHILD_STARTING);
    atomic_init(&child->told, 0);
    atomic_init(&child->ended, 0);
    child->parent = rusmi_process_self();
    child->parent_pid = rusmi_process_pid(child->parent);
    child->del = del;
    child->pid = RUSM_PID_NONE;
    child->spawning = false;
}

void rusmi_child_drop(struct rusmi_child *child)
{
    /* acq_rel: what was done with a reference happens before the free by the last one */
    if (atomic_fetch_sub_explicit(&child->refs, 1, memory_order_acq_rel) == 1) {
        child->del(child);
    }
}

/* The child has ended; its reference goes with it. */
static void on_end(void *arg, rusm_pid pid, const rusm_reason *reason)
{
    struct rusmi_child *child = arg;
    struct rusmi_process *parent = child->parent;

    (void)pid;
    child->reason = *reason;
    atomic_store(&child->ended, 1);
    rusmi_child_drop(child);
    /* A control block stays as long as the pool, which our own process keeps until after this. */
    rusmi_process_wake(parent);
}

rusm_err rusmi_child_spawn(struct rusmi_child *child, rusm_process_fn fn, void *arg,
                           const rusm_spawn_config *cfg)
{
    rusm_err err;

    child->watch = (rusm_exit_watch){.fn = on_end, .arg = child};
    /* relaxed: nobody else knows the record yet */
    (void)atomic_fetch_add_explicit(&child->refs, 1, memory_order_relaxed);
    child->spawning = true;
    err = rusmi_spawn_watched(NULL, fn, arg, cfg, &child->watch, &child->pid);
    if (err != RUSM_OK) {
        child->spawning = false;
        rusmi_child_drop(child);
    }
    return err;
}

static bool gate_move(struct rusmi_child *child, uint32_t to)
{
    uint32_t starting = RUSMI_CHILD_STARTING;

    return atomic_compare_exchange_strong(&child->gate, &starting, to);
}

bool rusmi_child_ready(struct rusmi_child *child)
{
    return gate_move(child, RUSMI_CHILD_READY);
}

bool rusmi_child_give_up(struct rusmi_child *child)
{
    return gate_move(child, RUSMI_CHILD_GIVEN_UP);
}

void rusmi_child_tell(struct rusmi_child *child)
{
    atomic_store(&child->told, 1);
    rusmi_process_wake(child->parent);
}

rusm_err rusmi_child_wait(struct rusmi_child *child, const _Atomic uint32_t *flag,
                          int64_t timeout_ms)
{
    struct rusmi_process *self = rusmi_process_self();
    rusm_time deadline = rusmi_deadline(timeout_ms);

    rusmi_process_work(self, 1);
    for (;;) {
        rusmi_process_attend(self);
        if (rusmi_process_killed(self)) {
            rusmi_checkpoint();
            return rusm_set_err_detail(RUSM_EKILLED, "%s", rusm_err_text(RUSM_EKILLED));
        }
        if (atomic_load(flag) != 0 || atomic_load(&child->ended) != 0) {
            return RUSM_OK;
        }
        if (deadline != RUSMI_NEVER && rusmi_pool_now(self->pool) >= deadline) {
            return rusm_set_err_detail(RUSM_ETIMEOUT, "process %llu was not done within %lld ms",
                                       (unsigned long long)child->pid.serial,
                                       (long long)timeout_ms);
        }
        rusmi_process_suspend(self, RUSM_PROCESS_WAITING, deadline);
        if (self->is_thread && rusmi_kit_deadlocked(self->pool)) {
            return rusmi_process_deadlocked();
        }
    }
}

void rusmi_child_orphan(struct rusmi_child *child)
{
    if (!rusm_pid_is_none(child->pid)) {
        (void)!rusm_kill(child->pid);
    } else if (child->spawning) {
        rusmi_child_drop(child); /* the watch was never set */
    }
    rusmi_child_drop(child);
}
