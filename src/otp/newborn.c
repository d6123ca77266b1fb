/* SPDX-License-Identifier: MIT */
/*
 * Processes that one node spawns for a process of another, bound to it from their beginning: the
 * side that asks (prepare, bind) and the side that spawns (newborn). docs/design/remote.md says why
 * it takes both.
 */
#include "otp/far.h"
#include "otp/sched.h"

#include <rusm/otp/link.h>

/* ---- the side that asks ---------------------------------------------------------------------- */

/* Find the tie that self prepared with that number; under its stripe. */
static struct rusmi_tie *find_unborn(struct rusmi_process *self, uint64_t number)
{
    struct rusmi_tie *tie = rusmi_tie_find_numbered(self, number);

    return tie != NULL && tie->unborn == number ? tie : NULL;
}

/*
 * The process that a tie was prepared for is pid; under the stripe. What is returned is to be
 * freed: a link that there is already, because the new process itself has made it.
 */
static struct rusmi_tie *bind_unborn(struct rusmi_process *self, struct rusmi_tie *tie,
                                     rusm_pid pid)
{
    struct rusmi_tie *known = tie->is_link ? rusmi_tie_find_link(self, pid) : NULL;
    uint64_t number = tie->unborn;

    self->ties.born = number;
    if (known != NULL) {
        rusmi_far_detach(tie);
        return tie;
    }
    rusmi_ties_remove(&self->ties, &tie->at_owner);
    tie->unborn = 0;
    tie->target = rusmi_tie_msg(tie)->sender = pid;
    if (tie->is_link) {
        tie->born = number;
        tie->at_owner.key = rusmi_tie_key(pid);
    }
    rusmi_ties_add(&self->ties, &tie->at_owner);
    return NULL;
}

/* They have spawned a process for one of ours: the first that comes from it. */
void rusmi_signal_born(rusm_runtime *rt, struct rusmi_far *far, const rusm_signal *signal)
{
    bool is_link = signal->kind == RUSM_SIGNAL_BORN_LINKED, known = false;
    struct rusmi_process *proc = rusmi_signal_target(rt, signal->to);
    struct rusmi_tie *tie, *dead = NULL;

    rusmi_far_see(far, signal->number);
    if (proc == NULL) {
        rusmi_signal_answer(rt, is_link ? RUSM_SIGNAL_EXIT : RUSM_SIGNAL_DEMONITOR, signal);
        return;
    }
    tie = find_unborn(proc, signal->number);
    if (tie != NULL && tie->is_link == is_link && tie->far == far) {
        dead = bind_unborn(proc, tie, signal->from);
        known = true;
    } else {
        known = is_link ? rusmi_tie_find_link(proc, signal->from) != NULL
                        : rusmi_tie_find_monitor(proc, signal->number) != NULL;
    }
    rusmi_lock_give(rusmi_stripe_of(proc));
    if (dead != NULL) {
        rusmi_far_tie_free(dead);
    }
    if (!known) { /* who asked waits no longer */
        rusmi_far_send(rt, is_link ? RUSM_SIGNAL_UNLINK : RUSM_SIGNAL_DEMONITOR, signal->to,
                       signal->from, is_link ? rusmi_far_tick(far) : signal->number, NULL);
    }
}

rusm_err rusm_tie_prepare(uint64_t incarnation, bool is_link, uint64_t *out_number)
{
    struct rusmi_process *self = rusmi_process_self();
    uint64_t number = rusmi_ref_new();
    struct rusmi_far *far;
    struct rusmi_tie *tie;
    rusm_err err;

    if (self == NULL) {
        return rusm_set_err_detail(RUSM_ENOCONTEXT, "%s", rusm_err_text(RUSM_ENOCONTEXT));
    }
    rusmi_checkpoint();
    tie = rusmi_tie_new(rusmi_process_pid(self), (rusm_pid){incarnation, 0}, is_link ? 0 : number);
    if (tie == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    tie->unborn = tie->version = tie->at_owner.key = number;
    far = rusmi_far_find(self->runtime, incarnation);
    err = RUSM_ENONODE;
    if (far != NULL) {
        rusmi_far_see(far, number);
        rusmi_lock_take(rusmi_stripe_of(self));
        err = rusmi_far_attach(far, self, tie, false) == RUSM_OK ? RUSM_OK : RUSM_ENONODE;
        rusmi_lock_give(rusmi_stripe_of(self));
        rusmi_far_drop(far);
    }
    if (err != RUSM_OK) {
        rusmi_tie_del(tie);
        return rusm_set_err_detail(err, "the node is not connected");
    }
    *out_number = number;
    return RUSM_OK;
}

/*
 * The asker gives up, and the process has come all the same, before its answer: what tied them
 * goes, as nobody knows the process. A down that came is taken back; an exit that came stays, as
 * with rusm_unlink().
 */
static void forsake(struct rusmi_process *self, uint64_t number)
{
    rusm_pid pid = RUSM_PID_NONE;
    struct rusmi_tie *tie;

    rusmi_lock_take(rusmi_stripe_of(self));
    tie = rusmi_tie_find_born(self, number);
    if (tie != NULL) {
        pid = tie->target;
    }
    rusmi_lock_give(rusmi_stripe_of(self));
    if (rusm_pid_is_none(pid)) {
        (void)rusm_demonitor((rusm_ref){self->runtime->incarnation, number}, true);
    } else {
        rusmi_far_unlink(self, pid);
    }
}

rusm_err rusm_tie_bind(uint64_t number, rusm_pid pid)
{
    struct rusmi_process *self = rusmi_process_self();
    struct rusmi_tie *tie, *dead = NULL;
    bool lost;

    if (self == NULL) {
        return rusm_set_err_detail(RUSM_ENOCONTEXT, "%s", rusm_err_text(RUSM_ENOCONTEXT));
    }
    rusmi_lock_take(rusmi_stripe_of(self));
    tie = find_unborn(self, number);
    if (tie != NULL && pid.incarnation != tie->target.incarnation) {
        rusmi_far_detach(tie);
        dead = tie;
    } else if (tie != NULL) {
        dead = bind_unborn(self, tie, pid);
    }
    /* One that went unborn, with the link to its node, was told to nobody. */
    lost = !rusm_pid_is_none(pid) && self->ties.born != number;
    rusmi_lock_give(rusmi_stripe_of(self));
    if (dead != NULL) {
        rusmi_far_tie_free(dead);
    } else if (tie == NULL && rusm_pid_is_none(pid)) {
        forsake(self, number);
    }
    return lost ? rusm_set_err_detail(RUSM_ENOLINK, "the link to the node of the new process was "
                                                    "lost")
                : RUSM_OK;
}

void rusm_watch_spawns(void)
{
    struct rusmi_process *self = rusmi_process_self();

    if (self != NULL) {
        self->watches_spawns = true;
    }
}

/* ---- the side that spawns -------------------------------------------------------------------- */

static bool is_down_of(const rusm_msg *msg, void *arg)
{
    const rusm_pid *pid = arg;

    return rusm_msg_get_kind(msg) == RUSM_MSG_DOWN && rusm_pid_equal(rusm_msg_sender(msg), *pid);
}

/* One of the ties of a new process that was asked for, put in place; RUSM_ENOPROC: it has ended. */
static rusm_err tie_newborn(struct rusmi_far *far, rusm_runtime *rt, rusm_pid pid, rusm_pid asker,
                            bool is_link, uint64_t number)
{
    const rusm_signal signal = {.from = asker, .to = pid, .number = number};
    struct rusmi_tie *tie =
        is_link ? rusmi_tie_new(pid, asker, 0) : rusmi_tie_new(asker, pid, number);
    struct rusmi_process *proc;
    rusm_err err;

    if (tie == NULL) {
        return RUSM_ENOMEM;
    }
    rusmi_far_see(far, number);
    proc = rusmi_signal_target(rt, pid);
    if (proc == NULL) {
        rusmi_tie_del(tie);
        return RUSM_ENOPROC;
    }
    if (is_link) {
        err = rusmi_far_link_theirs(far, proc, &signal, &tie);
    } else {
        err = rusmi_far_attach(far, proc, tie, true);
        tie = err == RUSM_OK ? NULL : tie;
    }
    rusmi_lock_give(rusmi_stripe_of(proc));
    rusmi_tie_del(tie);
    return err;
}

/* The down of a process that self has spawned and that has ended; NULL if it spawned none such. */
static rusm_err down_of(struct rusmi_process *self, rusm_pid pid, rusm_msg **out_down)
{
    bool to_come;
    rusm_err err;

    rusmi_lock_take(rusmi_stripe_of(self));
    to_come = rusmi_tie_watches(self, pid);
    rusmi_lock_give(rusmi_stripe_of(self));
    err = rusm_receive_match(out_down, is_down_of, &pid, to_come ? RUSM_INFINITY : 0);
    if (err != RUSM_OK) {
        *out_down = NULL;
    }
    return err == RUSM_ETIMEOUT ? RUSM_OK : err;
}

rusm_err rusm_tie_newborn(rusm_pid pid, rusm_pid asker, uint64_t link_number,
                          uint64_t monitor_number)
{
    struct rusmi_process *self = rusmi_process_self();
    const rusm_reason noproc = {.kind = RUSM_REASON_NOPROC};
    const uint64_t numbers[2] = {link_number, monitor_number};
    rusm_msg *down = NULL;
    struct rusmi_far *far = rusmi_far_find(self->runtime, asker.incarnation);
    rusm_err err = RUSM_OK;

    if (far == NULL) {
        return RUSM_OK; /* the asker's node is lost, and the asker has heard of it */
    }
    for (int i = 0; i < 2 && err == RUSM_OK; i++) {
        bool is_link = i == 0;

        if (numbers[i] == 0) {
            continue;
        }
        /* Before the tie is in place, so that no end of the process can come first. */
        rusmi_far_signal(
            far, self->runtime,
            &(rusm_signal){.kind = is_link ? RUSM_SIGNAL_BORN_LINKED : RUSM_SIGNAL_BORN_WATCHED,
                           .from = pid,
                           .to = asker,
                           .number = numbers[i]});
        err = tie_newborn(far, self->runtime, pid, asker, is_link, numbers[i]);
        if (err == RUSM_ENOPROC) {
            err = down == NULL ? down_of(self, pid, &down) : RUSM_OK;
            rusmi_far_signal(
                far, self->runtime,
                &(rusm_signal){.kind = is_link ? RUSM_SIGNAL_EXIT : RUSM_SIGNAL_DOWN,
                               .from = pid,
                               .to = asker,
                               .number = is_link ? 0 : numbers[i],
                               .reason = down == NULL ? &noproc : rusm_msg_reason(down)});
        } else if (err == RUSM_ENOLINK || err == RUSM_EEXIST) {
            err = RUSM_OK;
        }
    }
    rusm_msg_del(down);
    rusmi_far_drop(far);
    return err;
}
