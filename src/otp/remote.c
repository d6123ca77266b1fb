/* SPDX-License-Identifier: MIT */
/* What processes here do with processes of other nodes: otp/remote.h has the rules. */
#include "otp/far.h"
#include "otp/sched.h"

static struct rusmi_cause *cause_of(rusm_reason_kind kind)
{
    const rusm_reason reason = {.kind = kind};

    return rusmi_cause_new(&reason);
}

void rusmi_far_send(rusm_runtime *rt, rusm_signal_kind kind, rusm_pid from, rusm_pid to,
                    uint64_t number, const rusm_reason *reason)
{
    /* What could not be sent needs no answer: the ties with that node break. */
    (void)!rusmi_route_signal(rt, &(rusm_signal){kind, from, to, number, reason});
}

/* Why a node can not be asked. */
static rusm_reason_kind unreachable(rusm_runtime *rt, uint64_t incarnation)
{
    return rusmi_is_past(rt, incarnation) ? RUSM_REASON_NOPROC : RUSM_REASON_NOCONNECTION;
}

/* The tie never was in place: what it becomes comes at once. */
static void break_at_once(struct rusmi_process *self, struct rusmi_tie *tie)
{
    rusm_pid pid = tie->target;

    tie->cause = cause_of(unreachable(self->runtime, pid.incarnation));
    rusmi_lock_take(rusmi_stripe_of(self));
    /* It runs, so it is never its wait that is ended. */
    if (tie->is_link) {
        (void)rusmi_signal_exit(self, self->own_serial, rusmi_tie_msg(tie));
    } else {
        (void)rusmi_push_signal(self, self->own_serial, rusmi_tie_msg(tie));
    }
    rusmi_lock_give(rusmi_stripe_of(self));
    rusmi_checkpoint();
}

static rusm_err no_memory(void)
{
    return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
}

/* Put a new tie of self's in place, or let it break at once. True: the other side is to be told. */
static bool place(struct rusmi_process *self, struct rusmi_tie *tie)
{
    struct rusmi_far *far = rusmi_far_find(self->runtime, tie->target.incarnation);
    rusm_err err = RUSM_ENOLINK;

    if (far != NULL) {
        rusmi_lock_take(rusmi_stripe_of(self));
        err = rusmi_far_attach(far, self, tie, false);
        rusmi_lock_give(rusmi_stripe_of(self));
        rusmi_far_drop(far);
    }
    if (err != RUSM_OK) {
        break_at_once(self, tie);
    }
    return err == RUSM_OK;
}

bool rusmi_is_far(const struct rusmi_process *self, rusm_pid pid)
{
    return self != NULL && pid.incarnation != self->runtime->incarnation &&
           atomic_load(&self->runtime->router) != NULL;
}

rusm_err rusmi_far_monitor(struct rusmi_process *self, rusm_pid pid, uint64_t ref_number)
{
    rusm_pid own = rusmi_process_pid(self);
    struct rusmi_tie *tie = rusmi_tie_new(own, pid, ref_number);

    if (tie == NULL) {
        return no_memory();
    }
    if (place(self, tie)) {
        rusmi_far_send(self->runtime, RUSM_SIGNAL_MONITOR, own, pid, ref_number, NULL);
    }
    return RUSM_OK;
}

bool rusmi_far_demonitor(struct rusmi_process *self, uint64_t ref_number)
{
    struct rusmi_tie *tie;
    rusm_pid pid;

    rusmi_lock_take(rusmi_stripe_of(self));
    tie = rusmi_tie_find_monitor(self, ref_number);
    if (tie != NULL && tie->far != NULL) {
        rusmi_far_detach(tie);
    }
    rusmi_lock_give(rusmi_stripe_of(self));
    if (tie == NULL || tie->far == NULL) {
        return false;
    }
    pid = tie->target;
    rusmi_far_tie_free(tie);
    rusmi_far_send(self->runtime, RUSM_SIGNAL_DEMONITOR, rusmi_process_pid(self), pid, ref_number,
                   NULL);
    return true;
}

/* Link, under the stripe. The version to be told; 0: nothing is to be told. RUSM_ENOLINK. */
static rusm_err link_here(struct rusmi_process *self, struct rusmi_tie **tie, struct rusmi_far *far,
                          uint64_t *out_version)
{
    struct rusmi_tie *known = rusmi_tie_find_link(self, (*tie)->target);
    rusm_err err;

    *out_version = 0;
    if (known != NULL) {
        if (known->inactive) {
            rusmi_far_set_inactive(known, false);
            *out_version = known->version = rusmi_far_tick(known->far);
        }
        return RUSM_OK;
    }
    if (far == NULL) {
        return RUSM_ENOLINK;
    }
    (*tie)->version = rusmi_far_tick(far);
    err = rusmi_far_attach(far, self, *tie, false);
    if (err == RUSM_OK) {
        *out_version = (*tie)->version;
        *tie = NULL;
    }
    return err;
}

rusm_err rusmi_far_link(struct rusmi_process *self, rusm_pid pid)
{
    rusm_pid own = rusmi_process_pid(self);
    struct rusmi_tie *tie = rusmi_tie_new(own, pid, 0);
    struct rusmi_far *far;
    uint64_t version;
    rusm_err err;

    if (tie == NULL) {
        return no_memory();
    }
    far = rusmi_far_find(self->runtime, pid.incarnation);
    rusmi_lock_take(rusmi_stripe_of(self));
    err = link_here(self, &tie, far, &version);
    rusmi_lock_give(rusmi_stripe_of(self));
    if (far != NULL) {
        rusmi_far_drop(far);
    }
    if (err != RUSM_OK) {
        break_at_once(self, tie);
    } else {
        rusmi_tie_del(tie);
    }
    if (version != 0) {
        rusmi_far_send(self->runtime, RUSM_SIGNAL_LINK, own, pid, version, NULL);
    }
    rusmi_process_work(self, 1);
    return RUSM_OK;
}

void rusmi_far_unlink(struct rusmi_process *self, rusm_pid pid)
{
    struct rusmi_tie *tie;
    uint64_t version = 0;

    rusmi_lock_take(rusmi_stripe_of(self));
    tie = rusmi_tie_find_link(self, pid);
    if (tie != NULL && !tie->inactive) {
        version = rusmi_far_tick(tie->far);
        tie->version = tie->unlink_version = version;
        rusmi_far_set_inactive(tie, true);
    }
    rusmi_lock_give(rusmi_stripe_of(self));
    if (version != 0) {
        rusmi_far_send(self->runtime, RUSM_SIGNAL_UNLINK, rusmi_process_pid(self), pid, version,
                       NULL);
    }
}

rusm_err rusmi_far_ask_exit(struct rusmi_process *self, rusm_pid pid, const rusm_reason *reason)
{
    const rusm_signal signal = {
        .kind = RUSM_SIGNAL_ASK_EXIT, .from = rusmi_process_pid(self), .to = pid, .reason = reason};
    rusm_err err = rusmi_route_signal(self->runtime, &signal);

    if (err == RUSM_ENONODE && rusmi_is_past(self->runtime, pid.incarnation)) {
        err = rusm_set_err_detail(RUSM_ENOPROC, "its node has been restarted since");
    }
    rusmi_process_work(self, 1);
    return err;
}

void rusmi_far_tie_end(struct rusmi_process *proc, struct rusmi_tie *tie, const rusm_reason *reason)
{
    const rusm_reason noproc = {.kind = RUSM_REASON_NOPROC};
    rusm_pid own = {proc->runtime->incarnation, proc->own_serial};
    rusm_signal signal = {.from = own, .reason = tie->late ? &noproc : reason};
    bool tell = true;

    rusmi_far_detach(tie);
    rusmi_lock_give(rusmi_stripe_of(proc));
    if (tie->owner_proc == NULL) {
        signal.kind = RUSM_SIGNAL_DOWN;
        signal.to = tie->owner;
        signal.number = tie->at_owner.key;
    } else if (tie->is_link) {
        signal.kind = RUSM_SIGNAL_EXIT;
        signal.to = tie->target;
        tell = !tie->inactive && tie->unborn == 0;
#ifdef RUSMI_PLANT_EXIT_LOST
        tell = tell && own.serial % 4 != 1;
#endif
    } else {
        signal.kind = RUSM_SIGNAL_DEMONITOR;
        signal.to = tie->target;
        signal.number = tie->at_owner.key;
        signal.reason = NULL;
        tell = tie->unborn == 0;
    }
    rusmi_far_tie_free(tie);
    if (tell) {
        (void)!rusmi_route_signal(proc->runtime, &signal);
    }
}
<<<<<<< ours
=======

/* ---- in -------------------------------------------------------------------------------------- */

/* The process that a signal is for, with its stripe taken; NULL if it has ended. */
static struct rusmi_process *target_lock(rusm_runtime *rt, rusm_pid to)
{
    struct rusmi_process *proc =
        to.incarnation == rt->incarnation ? rusmi_process_find(rt->pool, to.serial) : NULL;

    if (proc == NULL) {
        return NULL;
    }
    rusmi_lock_take(stripe_of(proc));
    if (!rusmi_process_is(proc, to) || !proc->watchable) {
        rusmi_lock_give(stripe_of(proc));
        return NULL;
    }
    return proc;
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

static void answer(rusm_runtime *rt, rusm_signal_kind kind, const rusm_signal *to)
{
    const rusm_reason noproc = {.kind = RUSM_REASON_NOPROC};
    bool ended = kind == RUSM_SIGNAL_EXIT || kind == RUSM_SIGNAL_DOWN;

    send_signal(rt, kind, to->to, to->from, to->number, ended ? &noproc : NULL);
}

static rusm_err take_monitor(rusm_runtime *rt, struct rusmi_far *far, const rusm_signal *signal)
{
    struct rusmi_tie *tie = rusmi_tie_new(signal->from, signal->to, signal->number);
    struct rusmi_process *proc;
    rusm_err err;

    if (tie == NULL) {
        return RUSM_ENOMEM;
    }
    proc = target_lock(rt, signal->to);
    if (proc == NULL) {
        rusmi_tie_del(tie);
        answer(rt, RUSM_SIGNAL_DOWN, signal);
        return RUSM_OK;
    }
    tie->late = rusmi_process_killed_as(proc, signal->to.serial);
    err = attach(far, proc, tie, true);
    rusmi_lock_give(stripe_of(proc));
    if (err != RUSM_OK) {
        rusmi_tie_del(tie);
    }
    return err == RUSM_EEXIST ? RUSM_OK : err; /* it has that monitor */
}

static void take_demonitor(rusm_runtime *rt, struct rusmi_far *far, const rusm_signal *signal)
{
    struct rusmi_process *proc = target_lock(rt, signal->to);
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
        detach(tie);
    } else {
        tie = NULL;
    }
    rusmi_lock_give(stripe_of(proc));
    if (tie != NULL) {
        tie_free(tie);
    }
}

/* Their link, under the stripe of proc. *tie is taken if it is put in place. */
static rusm_err link_theirs(struct rusmi_far *far, struct rusmi_process *proc,
                            const rusm_signal *signal, struct rusmi_tie **tie)
{
    struct rusmi_tie *known = rusmi_tie_find_link(proc, signal->from);
    rusm_err err;

    if (known != NULL) {
        if (signal->number > known->version) {
            known->version = signal->number;
            set_inactive(known, false);
        }
        return RUSM_OK;
    }
    if (is_deaf(proc)) {
        return RUSM_EAGAIN;
    }
    (*tie)->version = signal->number;
    (*tie)->late = rusmi_process_killed_as(proc, signal->to.serial);
    err = attach(far, proc, *tie, true);
    if (err == RUSM_OK) {
        *tie = NULL;
    }
    return err;
}

static rusm_err take_link(rusm_runtime *rt, struct rusmi_far *far, const rusm_signal *signal)
{
    struct rusmi_tie *tie = rusmi_tie_new(signal->to, signal->from, 0);
    struct rusmi_process *proc;
    rusm_err err;

    if (tie == NULL) {
        return RUSM_ENOMEM;
    }
    far_see(far, signal->number);
    proc = target_lock(rt, signal->to);
    if (proc == NULL) {
        rusmi_tie_del(tie);
        answer(rt, RUSM_SIGNAL_EXIT, signal);
        return RUSM_OK;
    }
    err = link_theirs(far, proc, signal, &tie);
    rusmi_lock_give(stripe_of(proc));
    rusmi_tie_del(tie);
    if (err == RUSM_EAGAIN) {
        const rusm_reason refused = {.kind = RUSM_REASON_NOCONNECTION};

        send_signal(rt, RUSM_SIGNAL_EXIT, signal->to, signal->from, 0, &refused);
        return RUSM_OK;
    }
    return err;
}

static void take_unlink(rusm_runtime *rt, struct rusmi_far *far, const rusm_signal *signal)
{
    struct rusmi_process *proc = target_lock(rt, signal->to);
    struct rusmi_tie *tie = NULL;

    far_see(far, signal->number);
    if (proc != NULL) {
        tie = rusmi_tie_find_link(proc, signal->from);
        if (tie != NULL && signal->number > tie->version) {
            tie->version = signal->number;
            set_inactive(tie, true);
        }
        if (tie != NULL && tie->inactive && tie->unlink_version == 0) {
            detach(tie);
        } else {
            tie = NULL;
        }
        rusmi_lock_give(stripe_of(proc));
    }
    if (tie != NULL) {
        tie_free(tie);
    }
    answer(rt, RUSM_SIGNAL_UNLINKED, signal);
}

static void take_unlinked(rusm_runtime *rt, const rusm_signal *signal)
{
    struct rusmi_process *proc = target_lock(rt, signal->to);
    struct rusmi_tie *tie;

    if (proc == NULL) {
        return;
    }
    tie = rusmi_tie_find_link(proc, signal->from);
    if (tie != NULL && tie->unlink_version == signal->number) {
        tie->unlink_version = 0;
    }
    if (tie != NULL && tie->inactive && tie->unlink_version == 0) {
        detach(tie);
    } else {
        tie = NULL;
    }
    rusmi_lock_give(stripe_of(proc));
    if (tie != NULL) {
        tie_free(tie);
    }
}

/* A process of theirs has ended that was linked or monitored. */
static void take_end(rusm_runtime *rt, const rusm_signal *signal)
{
    struct rusmi_process *proc = target_lock(rt, signal->to);
    enum rusmi_signalled signalled = RUSMI_SIGNALLED_NOTHING;
    struct rusmi_tie *tie, *dead = NULL;

    if (proc == NULL) {
        return;
    }
    tie = signal->kind == RUSM_SIGNAL_EXIT ? rusmi_tie_find_link(proc, signal->from)
                                           : rusmi_tie_find_monitor(proc, signal->number);
    /* A peer speaks of its own processes only, and of those that are watched. */
    if (tie != NULL && tie->far != NULL && rusm_pid_equal(tie->target, signal->from)) {
        detach(tie);
        if (tie->inactive) {
            dead = tie;
        } else {
            rusmi_tie_msg(tie)->flags |= RUSMI_MSG_FAR;
            signalled = become(proc, tie, signal->from, rusmi_cause_new(signal->reason));
        }
    }
    rusmi_lock_give(stripe_of(proc));
    if (dead != NULL) {
        tie_free(dead);
    }
    rusmi_finish_signal(proc, signalled);
}

static rusm_err take_ask_exit(rusm_runtime *rt, const rusm_signal *signal)
{
    enum rusmi_signalled signalled = RUSMI_SIGNALLED_NOTHING;
    struct rusmi_process *proc;
    struct rusm_msg *msg;

    if (signal->reason->kind == RUSM_REASON_KILLED) {
        (void)!rusm_kill(signal->to); /* whether it was there does not matter */
        return RUSM_OK;
    }
    msg = rusmi_msg_with_cause(RUSM_MSG_EXIT, NULL, 0);
    if (msg == NULL) {
        return RUSM_ENOMEM;
    }
    ((struct rusmi_tie *)(void *)msg->data)->cause = rusmi_cause_new(signal->reason);
    msg->sender = signal->from;
    proc = target_lock(rt, signal->to);
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
    rusmi_lock_give(stripe_of(proc));
    rusmi_finish_signal(proc, signalled);
    return RUSM_OK;
}

/* Find the tie that self prepared with that number; under its stripe. */
static struct rusmi_tie *find_unborn(struct rusmi_process *self, uint64_t number)
{
    struct rusmi_tie *tie = rusmi_tie_find_numbered(self, number);

    return tie != NULL && tie->unborn == number ? tie : NULL;
}

/*
 * The process that a tie was prepared for is pid; under the stripe. What is returned is to be freed:
 * a link that there is already, because the new process itself has made it.
 */
static struct rusmi_tie *bind_unborn(struct rusmi_process *self, struct rusmi_tie *tie,
                                     rusm_pid pid)
{
    struct rusmi_tie *known = tie->is_link ? rusmi_tie_find_link(self, pid) : NULL;

    if (known != NULL) {
        detach(tie);
        return tie;
    }
    tie->unborn = 0;
    tie->target = rusmi_tie_msg(tie)->sender = pid;
    if (tie->is_link) {
        rusmi_ties_remove(&self->ties, &tie->at_owner);
        tie->at_owner.key = rusmi_tie_key(pid);
        rusmi_ties_add(&self->ties, &tie->at_owner);
    }
    return NULL;
}

/* They have spawned a process for one of ours: the first that comes from it. */
static void take_born(rusm_runtime *rt, struct rusmi_far *far, const rusm_signal *signal)
{
    bool is_link = signal->kind == RUSM_SIGNAL_BORN_LINKED, known = false;
    struct rusmi_process *proc = target_lock(rt, signal->to);
    struct rusmi_tie *tie, *dead = NULL;

    far_see(far, signal->number);
    if (proc == NULL) {
        answer(rt, is_link ? RUSM_SIGNAL_EXIT : RUSM_SIGNAL_DEMONITOR, signal);
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
    rusmi_lock_give(stripe_of(proc));
    if (dead != NULL) {
        tie_free(dead);
    }
    if (!known) { /* who asked waits no longer */
        send_signal(rt, is_link ? RUSM_SIGNAL_UNLINK : RUSM_SIGNAL_DEMONITOR, signal->to,
                    signal->from, is_link ? far_tick(far) : signal->number, NULL);
    }
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
    case RUSM_SIGNAL_BORN_LINKED:
    case RUSM_SIGNAL_BORN_WATCHED:
        take_born(rt, far, signal);
        return RUSM_OK;
    }
    return RUSM_OK;
}

rusm_err rusm_signal_deliver(rusm_runtime *rt, const rusm_signal *signal)
{
    struct rusmi_far *far = far_find(rt, signal->from.incarnation);
    rusm_err err;

    if (far == NULL) {
        return RUSM_OK;
    }
    err = take_signal(rt, far, signal);
    far_drop(far);
    return err == RUSM_ENOLINK ? RUSM_OK : err;
}

/* ---- spawned for another node ---------------------------------------------------------------- */

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
        return no_memory();
    }
    tie->unborn = tie->version = tie->at_owner.key = number;
    far = far_find(self->runtime, incarnation);
    err = RUSM_ENONODE;
    if (far != NULL) {
        far_see(far, number);
        rusmi_lock_take(stripe_of(self));
        err = attach(far, self, tie, false) == RUSM_OK ? RUSM_OK : RUSM_ENONODE;
        rusmi_lock_give(stripe_of(self));
        far_drop(far);
    }
    if (err != RUSM_OK) {
        rusmi_tie_del(tie);
        return rusm_set_err_detail(err, "the node is not connected");
    }
    *out_number = number;
    return RUSM_OK;
}

void rusm_tie_bind(uint64_t number, rusm_pid pid)
{
    struct rusmi_process *self = rusmi_process_self();
    struct rusmi_tie *tie, *dead = NULL;

    if (self == NULL) {
        return;
    }
    rusmi_lock_take(stripe_of(self));
    tie = find_unborn(self, number);
    if (tie != NULL && rusm_pid_is_none(pid)) {
        detach(tie);
        dead = tie;
    } else if (tie != NULL) {
        dead = bind_unborn(self, tie, pid);
    }
    rusmi_lock_give(stripe_of(self));
    if (dead != NULL) {
        tie_free(dead);
    }
}

void rusm_watch_spawns(void)
{
    struct rusmi_process *self = rusmi_process_self();

    if (self != NULL) {
        self->watches_spawns = true;
    }
}

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
    far_see(far, number);
    proc = target_lock(rt, pid);
    if (proc == NULL) {
        rusmi_tie_del(tie);
        return RUSM_ENOPROC;
    }
    if (is_link) {
        err = link_theirs(far, proc, &signal, &tie);
    } else {
        err = attach(far, proc, tie, true);
        tie = err == RUSM_OK ? NULL : tie;
    }
    rusmi_lock_give(stripe_of(proc));
    rusmi_tie_del(tie);
    return err;
}

/* The down of a process that self has spawned and that has ended; NULL if it spawned none such. */
static rusm_err down_of(struct rusmi_process *self, rusm_pid pid, rusm_msg **out_down)
{
    bool to_come;
    rusm_err err;

    rusmi_lock_take(stripe_of(self));
    to_come = rusmi_tie_watches(self, pid);
    rusmi_lock_give(stripe_of(self));
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
    struct rusmi_far *far = far_find(self->runtime, asker.incarnation);
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
        send_signal(self->runtime, is_link ? RUSM_SIGNAL_BORN_LINKED : RUSM_SIGNAL_BORN_WATCHED,
                    pid, asker, numbers[i], NULL);
        err = tie_newborn(far, self->runtime, pid, asker, is_link, numbers[i]);
        if (err == RUSM_ENOPROC) {
            err = down == NULL ? down_of(self, pid, &down) : RUSM_OK;
            send_signal(self->runtime, is_link ? RUSM_SIGNAL_EXIT : RUSM_SIGNAL_DOWN, pid, asker,
                        is_link ? 0 : numbers[i], down == NULL ? &noproc : rusm_msg_reason(down));
        } else if (err == RUSM_ENOLINK || err == RUSM_EEXIST) {
            err = RUSM_OK;
        }
    }
    rusm_msg_del(down);
    far_drop(far);
    return err;
}

/* ---- a node is lost -------------------------------------------------------------------------- */

/* One of its ties, with the stripe of the process here taken; NULL when none is left. */
static struct rusmi_tie *lost_tie(struct rusmi_far *far, struct rusmi_process **out_proc)
{
    for (;;) {
        struct rusmi_process *proc;
        struct rusmi_tie *tie = NULL;

        rusmi_lock_take(&far->lock);
        if (!rusmi_list_empty(&far->ties)) {
            tie = rusmi_container(far->ties.next, struct rusmi_tie, in_far);
            proc = tie->owner_proc != NULL ? tie->owner_proc : tie->target_proc;
        }
        rusmi_lock_give(&far->lock);
        if (tie == NULL) {
            return NULL;
        }
        /* The stripe comes first, so look again: it may have gone in between, and its memory be
         * another tie of this list. */
        rusmi_lock_take(stripe_of(proc));
        rusmi_lock_take(&far->lock);
        if (far->ties.next == &tie->in_far &&
            (tie->owner_proc == proc || (tie->owner_proc == NULL && tie->target_proc == proc))) {
            rusmi_lock_give(&far->lock);
            *out_proc = proc;
            return tie;
        }
        rusmi_lock_give(&far->lock);
        rusmi_lock_give(stripe_of(proc));
    }
}

void rusm_runtime_node_down(rusm_runtime *rt, uint64_t incarnation, const rusm_reason *reason)
{
    struct rusmi_far *far = far_find(rt, incarnation);
    struct rusmi_process *proc;
    struct rusmi_cause *cause;
    struct rusmi_tie *tie;

    if (far == NULL) {
        return;
    }
    cause = rusmi_cause_new(reason);
    rusmi_lock_take(&rt->fars.lock);
    rusmi_map_remove(&rt->fars.nodes, &far->entry);
    rusmi_lock_give(&rt->fars.lock);
    far_drop(far); /* the table's */
    rusmi_lock_take(&far->lock);
    far->gone = true;
    rusmi_lock_give(&far->lock);
    while ((tie = lost_tie(far, &proc)) != NULL) {
        enum rusmi_signalled signalled = RUSMI_SIGNALLED_NOTHING;
        bool told = tie->owner_proc != NULL && !tie->inactive && tie->unborn == 0;

        detach(tie);
        if (told) {
            signalled = become(proc, tie, tie->target, rusmi_cause_hold(cause));
        }
        rusmi_lock_give(stripe_of(proc));
        if (!told) {
            tie_free(tie);
        }
        rusmi_finish_signal(proc, signalled);
    }
    rusmi_cause_drop(cause);
    far_drop(far);
}
>>>>>>> theirs
