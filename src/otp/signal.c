/* SPDX-License-Identifier: MIT */
/* What comes from other nodes: signals to processes here. otp/remote.h has the rules. */
#include "base/mem.h"
#include "otp/far.h"
#include "otp/sched.h"

/* The process that a signal is for, with its stripe taken; NULL if it has ended. */
struct rusmi_process *rusmi_signal_target(rusm_runtime *rt, rusm_pid to)
{
    struct rusmi_process *proc =
        to.incarnation == rt->incarnation ? rusmi_process_find(rt->pool, to.serial) : NULL;

    if (proc == NULL) {
        return NULL;
    }
    rusmi_lock_take(rusmi_stripe_of(proc));
    if (!rusmi_process_is(proc, to) || !proc->watchable) {
        rusmi_lock_give(rusmi_stripe_of(proc));
        return NULL;
    }
    return proc;
}

void rusmi_signal_answer(rusm_runtime *rt, rusm_signal_kind kind, const rusm_signal *to)
{
    const rusm_reason noproc = {.kind = RUSM_REASON_NOPROC};
    bool ended = kind == RUSM_SIGNAL_EXIT || kind == RUSM_SIGNAL_DOWN;

    rusmi_far_send(rt, kind, to->to, to->from, to->number, ended ? &noproc : NULL);
}

static rusm_err take_monitor(rusm_runtime *rt, struct rusmi_far *far, const rusm_signal *signal)
{
    struct rusmi_tie *tie = rusmi_tie_new(signal->from, signal->to, signal->number);
    struct rusmi_process *proc;
    rusm_err err;

    if (tie == NULL) {
        return RUSM_ENOMEM;
    }
    proc = rusmi_signal_target(rt, signal->to);
#ifdef RUSMI_PLANT_NOPROC
    if (proc != NULL && signal->number % 4 == 1) {
        rusmi_lock_give(rusmi_stripe_of(proc));
        proc = NULL;
    }
#endif
    if (proc == NULL) {
        rusmi_tie_del(tie);
        rusmi_signal_answer(rt, RUSM_SIGNAL_DOWN, signal);
        return RUSM_OK;
    }
    tie->late = rusmi_process_killed_as(proc, signal->to.serial);
    err = rusmi_far_attach(far, proc, tie, true);
    rusmi_lock_give(rusmi_stripe_of(proc));
    if (err != RUSM_OK) {
        rusmi_tie_del(tie);
    }
    return err == RUSM_EEXIST ? RUSM_OK : err; /* it has that monitor */
}

static void take_demonitor(rusm_runtime *rt, struct rusmi_far *far, const rusm_signal *signal)
{
    struct rusmi_process *proc = rusmi_signal_target(rt, signal->to);
    struct rusmi_map_entry *entry;
    struct rusmi_tie *tie = NULL;

    if (proc == NULL) {
        return;
    }
    rusmi_lock_take(&far->lock);
    entry = rusmi_map_find(&far->watches, &signal->number, sizeof(signal->number));
    if (entry != NULL) {
        tie = rusmi_container(entry, struct rusmi_tie, by_ref);
    }
    rusmi_lock_give(&far->lock);
    /* One on this process can not go while its stripe is held. */
    if (tie != NULL && tie->target_proc == proc && rusm_pid_equal(tie->owner, signal->from)) {
        rusmi_far_detach(tie);
    } else {
        tie = NULL;
    }
    rusmi_lock_give(rusmi_stripe_of(proc));
    if (tie != NULL) {
        rusmi_far_tie_free(tie);
    }
}

/* Their link, under the stripe of proc. *tie is taken if it is put in place. */
rusm_err rusmi_far_link_theirs(struct rusmi_far *far, struct rusmi_process *proc,
                               const rusm_signal *signal, struct rusmi_tie **tie)
{
    struct rusmi_tie *known = rusmi_tie_find_link(proc, signal->from);
    rusm_err err;

    if (known != NULL) {
        /* Both sides may have given the same number; then the link wins, on both. */
        if (signal->number >= known->version) {
            known->version = signal->number;
            rusmi_far_set_inactive(known, false);
        }
        return RUSM_OK;
    }
    (*tie)->version = signal->number;
    (*tie)->late = rusmi_process_killed_as(proc, signal->to.serial);
    err = rusmi_far_attach(far, proc, *tie, true);
    if (err == RUSM_OK) {
        *tie = NULL;
    }
    return err;
}

/*
 * Whether exits would only be added to more than proc will ever look at. Without this, links that
 * end as soon as they are made, and exits that are asked for, would fill the memory. Under the
 * stripe.
 */
static bool is_deaf(const struct rusmi_process *proc)
{
    return proc->trap_exit && rusmi_is_flooded(proc);
}

static rusm_err take_link(rusm_runtime *rt, struct rusmi_far *far, const rusm_signal *signal)
{
    struct rusmi_tie *tie = rusmi_tie_new(signal->to, signal->from, 0);
    struct rusmi_process *proc;
    rusm_err err;
    bool deaf;

    if (tie == NULL) {
        return RUSM_ENOMEM;
    }
    rusmi_far_see(far, signal->number);
    proc = rusmi_signal_target(rt, signal->to);
    if (proc == NULL) {
        rusmi_tie_del(tie);
        rusmi_signal_answer(rt, RUSM_SIGNAL_EXIT, signal);
        return RUSM_OK;
    }
    deaf = is_deaf(proc) && rusmi_tie_find_link(proc, signal->from) == NULL;
    err = deaf ? RUSM_OK : rusmi_far_link_theirs(far, proc, signal, &tie);
    rusmi_lock_give(rusmi_stripe_of(proc));
    rusmi_tie_del(tie);
    if (deaf) {
        const rusm_reason refused = {.kind = RUSM_REASON_NOCONNECTION};

        rusmi_far_send(rt, RUSM_SIGNAL_EXIT, signal->to, signal->from, 0, &refused);
    }
    return err;
}

static void take_unlink(rusm_runtime *rt, struct rusmi_far *far, const rusm_signal *signal)
{
    struct rusmi_process *proc = rusmi_signal_target(rt, signal->to);
    struct rusmi_tie *tie = NULL;

    rusmi_far_see(far, signal->number);
    if (proc != NULL) {
        tie = rusmi_tie_find_link(proc, signal->from);
        if (tie != NULL && signal->number > tie->version) {
            tie->version = signal->number;
            rusmi_far_set_inactive(tie, true);
        }
        if (tie != NULL && tie->inactive && tie->unlink_version == 0) {
            rusmi_far_detach(tie);
        } else {
            tie = NULL;
        }
        rusmi_lock_give(rusmi_stripe_of(proc));
    }
    if (tie != NULL) {
        rusmi_far_tie_free(tie);
    }
    rusmi_signal_answer(rt, RUSM_SIGNAL_UNLINKED, signal);
}

static void take_unlinked(rusm_runtime *rt, const rusm_signal *signal)
{
    struct rusmi_process *proc = rusmi_signal_target(rt, signal->to);
    struct rusmi_tie *tie;

    if (proc == NULL) {
        return;
    }
    tie = rusmi_tie_find_link(proc, signal->from);
    if (tie != NULL && tie->unlink_version == signal->number) {
        tie->unlink_version = 0;
    }
    if (tie != NULL && tie->inactive && tie->unlink_version == 0) {
        rusmi_far_detach(tie);
    } else {
        tie = NULL;
    }
    rusmi_lock_give(rusmi_stripe_of(proc));
    if (tie != NULL) {
        rusmi_far_tie_free(tie);
    }
}

/* A process of theirs has ended that was linked or monitored. */
static void take_end(rusm_runtime *rt, const rusm_signal *signal)
{
    struct rusmi_process *proc = rusmi_signal_target(rt, signal->to);
    enum rusmi_signalled signalled = RUSMI_SIGNALLED_NOTHING;
    struct rusmi_tie *tie, *dead = NULL;

    if (proc == NULL) {
        return;
    }
    tie = signal->kind == RUSM_SIGNAL_EXIT ? rusmi_tie_find_link(proc, signal->from)
                                           : rusmi_tie_find_monitor(proc, signal->number);
    /* A peer speaks of its own processes only, and of those that are watched. */
    if (tie != NULL && tie->far != NULL && tie->unborn == 0 &&
        rusm_pid_equal(tie->target, signal->from)) {
        rusmi_far_detach(tie);
        if (tie->inactive) {
            dead = tie;
        } else {
            rusmi_tie_msg(tie)->flags |= RUSMI_MSG_FAR;
            signalled = rusmi_far_become(proc, tie, signal->from, rusmi_cause_new(signal->reason));
        }
    }
    rusmi_lock_give(rusmi_stripe_of(proc));
    if (dead != NULL) {
        rusmi_far_tie_free(dead);
    }
    rusmi_finish_signal(proc, signalled);
}

static rusm_err take_ask_exit(rusm_runtime *rt, const rusm_signal *signal)
{
    enum rusmi_signalled signalled = RUSMI_SIGNALLED_NOTHING;
    struct rusmi_process *proc;
    struct rusm_msg *msg;

    if (signal->reason->kind == RUSM_REASON_KILLED) {
#ifdef RUSMI_PLANT_KILL
        return RUSM_OK;
#endif
        (void)!rusm_kill(signal->to); /* whether it was there does not matter */
        return RUSM_OK;
    }
    msg = rusmi_msg_with_cause(RUSM_MSG_EXIT, NULL, 0);
    if (msg == NULL) {
        return RUSM_ENOMEM;
    }
    ((struct rusmi_tie *)(void *)msg->data)->cause = rusmi_cause_new(signal->reason);
    msg->sender = signal->from;
    proc = rusmi_signal_target(rt, signal->to);
    if (proc == NULL) {
        rusm_msg_del(msg);
        return RUSM_OK;
    }
    if (is_deaf(proc)) {
        (void)atomic_fetch_add(&rt->full, 1);
        rusm_msg_del(msg);
    } else {
        msg->flags |= RUSMI_MSG_FAR;
        signalled = rusmi_signal_exit(proc, signal->to.serial, msg);
    }
    rusmi_lock_give(rusmi_stripe_of(proc));
    rusmi_finish_signal(proc, signalled);
    return RUSM_OK;
}

/* An order for a server is a message for it, as one from here (gen/server.c): it waits its turn,
 * and neither kills nor is lost if the server does not trap exits. */
static rusm_err take_stop(rusm_runtime *rt, const rusm_signal *signal)
{
    enum rusmi_signalled signalled = RUSMI_SIGNALLED_NOTHING;
    struct rusm_msg *msg = rusmi_msg_with_cause(RUSM_MSG_EXIT, rusmi_cause_new(signal->reason), 0);
    struct rusmi_process *proc;

    if (msg == NULL) {
        return RUSM_ENOMEM;
    }
    msg->sender = signal->from;
    msg->ref = RUSMI_STOP_REF;
    proc = rusmi_signal_target(rt, signal->to);
    if (proc == NULL) {
        rusm_msg_del(msg); /* who asks has a monitor */
        return RUSM_OK;
    }
    if (rusmi_is_flooded(proc)) {
        (void)atomic_fetch_add(&rt->full, 1);
        rusm_msg_del(msg);
    } else {
        msg->flags |= RUSMI_MSG_FAR;
        signalled = rusmi_push_signal(proc, signal->to.serial, msg);
    }
    rusmi_lock_give(rusmi_stripe_of(proc));
    rusmi_finish_signal(proc, signalled);
    return RUSM_OK;
}

static rusm_err take_signal(rusm_runtime *rt, struct rusmi_far *far, const rusm_signal *signal)
{
    switch (signal->kind) {
    case RUSM_SIGNAL_LINK:
        return take_link(rt, far, signal);
    case RUSM_SIGNAL_UNLINK:
        take_unlink(rt, far, signal);
        return RUSM_OK;
    case RUSM_SIGNAL_UNLINKED:
        take_unlinked(rt, signal);
        return RUSM_OK;
    case RUSM_SIGNAL_MONITOR:
        return take_monitor(rt, far, signal);
    case RUSM_SIGNAL_DEMONITOR:
        take_demonitor(rt, far, signal);
        return RUSM_OK;
    case RUSM_SIGNAL_EXIT:
    case RUSM_SIGNAL_DOWN:
        take_end(rt, signal);
        return RUSM_OK;
    case RUSM_SIGNAL_ASK_EXIT:
        return take_ask_exit(rt, signal);
    case RUSM_SIGNAL_STOP:
        return take_stop(rt, signal);
    case RUSM_SIGNAL_BORN_LINKED:
    case RUSM_SIGNAL_BORN_WATCHED:
        rusmi_signal_born(rt, far, signal);
        return RUSM_OK;
    }
    return RUSM_OK;
}

rusm_err rusm_signal_deliver(rusm_runtime *rt, const rusm_signal *signal)
{
    struct rusmi_far *far = rusmi_far_find(rt, signal->from.incarnation);
    rusm_err err;

    if (far == NULL) {
        return RUSM_OK;
    }
    err = take_signal(rt, far, signal);
    rusmi_far_drop(far);
    return err == RUSM_ENOLINK ? RUSM_OK : err;
}
