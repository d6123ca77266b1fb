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

void rusmi_far_signal(struct rusmi_far *far, rusm_runtime *rt, const rusm_signal *signal)
{
    /* Dekker's pattern with rusm_runtime_node_down(): one of the two sees the other. */
    (void)atomic_fetch_add(&far->senders, 1);
    if (!atomic_load(&far->closed)) {
        (void)!rusmi_route_signal(rt, signal);
    }
    (void)atomic_fetch_sub(&far->senders, 1);
}

/* No process has the serial 0, and no signal can name one: nobody is asked. */
static struct rusmi_far *far_of(struct rusmi_process *self, rusm_pid pid)
{
    return pid.serial == 0 ? NULL : rusmi_far_find(self->runtime, pid.incarnation);
}

/* Why nobody is asked. */
static rusm_reason_kind unreachable(rusm_runtime *rt, rusm_pid pid)
{
    return pid.serial == 0 || rusmi_is_past(rt, pid.incarnation) ? RUSM_REASON_NOPROC
                                                                 : RUSM_REASON_NOCONNECTION;
}

/* The tie never was in place: what it becomes comes at once. */
static void break_at_once(struct rusmi_process *self, struct rusmi_tie *tie)
{
    rusm_pid pid = tie->target;

    tie->cause = cause_of(unreachable(self->runtime, pid));
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

rusm_err rusmi_far_monitor(struct rusmi_process *self, rusm_pid pid, uint64_t ref_number)
{
    const rusm_signal signal = {.kind = RUSM_SIGNAL_MONITOR,
                                .from = rusmi_process_pid(self),
                                .to = pid,
                                .number = ref_number};
    struct rusmi_tie *tie = rusmi_tie_new(signal.from, pid, ref_number);
    struct rusmi_far *far;
    rusm_err err = RUSM_ENOLINK;

    if (tie == NULL) {
        return no_memory();
    }
    far = far_of(self, pid);
    if (far != NULL) {
        rusmi_lock_take(rusmi_stripe_of(self));
        err = rusmi_far_attach(far, self, tie, false);
        rusmi_lock_give(rusmi_stripe_of(self));
    }
    if (err == RUSM_OK) {
        rusmi_far_signal(far, self->runtime, &signal);
    }
    if (far != NULL) {
        rusmi_far_drop(far);
    }
    if (err != RUSM_OK) {
        break_at_once(self, tie); /* last: self may end there */
    }
    return RUSM_OK;
}

bool rusmi_is_far(const struct rusmi_process *self, rusm_pid pid)
{
    return self != NULL && pid.incarnation != self->runtime->incarnation &&
           atomic_load(&self->runtime->router) != NULL;
}

bool rusmi_far_demonitor(struct rusmi_process *self, uint64_t ref_number)
{
    rusm_signal signal = {
        .kind = RUSM_SIGNAL_DEMONITOR, .from = rusmi_process_pid(self), .number = ref_number};
    struct rusmi_tie *tie;

    rusmi_lock_take(rusmi_stripe_of(self));
    tie = rusmi_tie_find_monitor(self, ref_number);
    if (tie != NULL && tie->far != NULL) {
        rusmi_far_detach(tie);
    }
    rusmi_lock_give(rusmi_stripe_of(self));
    if (tie == NULL || tie->far == NULL) {
        return false;
    }
    signal.to = tie->target;
    rusmi_far_signal(tie->far, self->runtime, &signal);
    rusmi_far_tie_free(tie);
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
    rusm_signal signal = {.kind = RUSM_SIGNAL_LINK, .from = rusmi_process_pid(self), .to = pid};
    struct rusmi_tie *tie = rusmi_tie_new(signal.from, pid, 0);
    struct rusmi_far *far;
    rusm_err err;

    if (tie == NULL) {
        return no_memory();
    }
    far = far_of(self, pid);
    rusmi_lock_take(rusmi_stripe_of(self));
    err = link_here(self, &tie, far, &signal.number);
    rusmi_lock_give(rusmi_stripe_of(self));
    if (far != NULL && signal.number != 0) {
        rusmi_far_signal(far, self->runtime, &signal);
    }
    if (far != NULL) {
        rusmi_far_drop(far);
    }
    if (err != RUSM_OK) {
        break_at_once(self, tie); /* self may end there */
    } else {
        rusmi_tie_del(tie);
    }
    rusmi_process_work(self, 1);
    return RUSM_OK;
}

void rusmi_far_unlink(struct rusmi_process *self, rusm_pid pid)
{
    rusm_signal signal = {.kind = RUSM_SIGNAL_UNLINK, .from = rusmi_process_pid(self), .to = pid};
    struct rusmi_far *far = NULL;
    struct rusmi_tie *tie;

    rusmi_lock_take(rusmi_stripe_of(self));
    tie = rusmi_tie_find_link(self, pid);
    if (tie != NULL && !tie->inactive) {
        far = rusmi_far_hold(tie->far);
        signal.number = rusmi_far_tick(far);
        tie->version = tie->unlink_version = signal.number;
        rusmi_far_set_inactive(tie, true);
    }
    rusmi_lock_give(rusmi_stripe_of(self));
    if (far != NULL) {
        rusmi_far_signal(far, self->runtime, &signal);
        rusmi_far_drop(far);
    }
}

rusm_err rusmi_far_ask(struct rusmi_process *self, rusm_signal_kind kind, rusm_pid pid,
                       const rusm_reason *reason)
{
    const rusm_signal signal = {
        .kind = kind, .from = rusmi_process_pid(self), .to = pid, .reason = reason};
    rusm_err err = pid.serial == 0 ? rusm_set_err_detail(RUSM_ENOPROC, "no process has number 0")
                                   : rusmi_route_signal(self->runtime, &signal);

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
    if (tell) {
        rusmi_far_signal(tie->far, proc->runtime, &signal);
    }
    rusmi_far_tie_free(tie);
}
