/* SPDX-License-Identifier: MIT */
/*
 * Messages: into mailboxes of this OS process, out to other nodes through the runtime's router, and
 * received.
 */
#include "base/mem.h"
#include "otp/sched.h"
#include "otp/trace.h"
#include "platform/clock.h"
#include "platform/futex.h"

#include <string.h>

/* ---- crowded mailboxes ----------------------------------------------------------------------- */

static struct rusmi_lock *crowd_stripe(const struct rusmi_process *proc)
{
    return &proc->pool->crowd_stripes[proc->slot % RUSMI_STRIPES];
}

/*
 * The mailbox of the process with that serial holds more than the runtime's limit. Decided, and
 * told, under the stripe, so that the tellings alternate and come in order; the process may have
 * emptied it, or ended, meanwhile.
 *
 * The owner looks at `crowded` after each message that it takes, without the lock. It may have
 * taken the last ones after we counted and before we set the mark, and then looks no more: so we
 * count again after that. Sequentially consistent on both sides, one of us sees the other.
 */
static bool is_crowded(const struct rusmi_process *proc, const rusm_runtime *rt)
{
    uint32_t high = atomic_load(&rt->crowd_high);

    /* relaxed: a count, and a limit that changes before the first process */
    return high != 0 && (rusmi_mailbox_depth(&proc->mailbox) > high ||
                         atomic_load_explicit(&proc->mailbox.far_bytes, memory_order_relaxed) >
                             atomic_load_explicit(&rt->far_bytes_max, memory_order_relaxed) / 2);
}

static bool is_emptied(const struct rusmi_process *proc, const rusm_runtime *rt)
{
    /* relaxed: as above */
    return rusmi_mailbox_depth(&proc->mailbox) <= atomic_load(&rt->crowd_low) &&
           atomic_load_explicit(&proc->mailbox.far_bytes, memory_order_relaxed) <=
               atomic_load_explicit(&rt->far_bytes_max, memory_order_relaxed) / 4;
}

static void crowd_pushed(struct rusmi_process *proc, rusm_runtime *rt, uint64_t serial)
{
    rusm_pid pid = {rt->incarnation, serial};

    rusmi_lock_take(crowd_stripe(proc));
    if (atomic_load(&proc->crowded) == 0 && atomic_load(&proc->serial) == serial &&
        is_crowded(proc, rt)) {
        atomic_store(&proc->crowded, 1);
        rt->crowd_fn(rt->crowd_arg, pid, true);
        atomic_thread_fence(memory_order_seq_cst);
        if (is_emptied(proc, rt)) {
            atomic_store(&proc->crowded, 0);
            rt->crowd_fn(rt->crowd_arg, pid, false);
        }
    }
    rusmi_lock_give(crowd_stripe(proc));
}

void rusmi_crowd_taken(struct rusmi_process *proc, bool closed)
{
    rusm_runtime *rt = proc->runtime;

    if (atomic_load(&rt->crowd_high) == 0) {
        return;
    }
    atomic_thread_fence(memory_order_seq_cst); /* between counting and looking, see crowd_pushed */
    if (!closed && (atomic_load(&proc->crowded) == 0 || !is_emptied(proc, rt))) {
        return;
    }
    rusmi_lock_take(crowd_stripe(proc));
    if (atomic_load(&rt->crowd_high) != 0 && atomic_load(&proc->crowded) != 0) {
        atomic_store(&proc->crowded, 0);
        rt->crowd_fn(rt->crowd_arg, (rusm_pid){rt->incarnation, proc->own_serial}, false);
    }
    rusmi_lock_give(crowd_stripe(proc));
}

/* ---- delivery -------------------------------------------------------------------------------- */

/*
 * Make room for a message that counts; false if there is none. One always fits, so that no limit
 * makes a message impossible.
 */
static bool far_reserve(struct rusmi_process *proc, const rusm_runtime *rt, int64_t bytes)
{
    /* relaxed, all: counts */
    int64_t before =
        atomic_fetch_add_explicit(&proc->mailbox.far_bytes, bytes, memory_order_relaxed);

    if (before > 0 &&
        before + bytes > atomic_load_explicit(&rt->far_bytes_max, memory_order_relaxed)) {
        (void)atomic_fetch_sub_explicit(&proc->mailbox.far_bytes, bytes, memory_order_relaxed);
        return false;
    }
    return true;
}

/* rusmi_push_to(), for any message. */
static enum rusmi_push push(struct rusmi_process *proc, rusm_runtime *rt, uint64_t serial,
                            rusm_msg *msg)
{
    int64_t bytes = (msg->flags & RUSMI_MSG_FAR) != 0 ? rusmi_msg_far_bytes(msg) : 0;
    enum rusmi_push result;

    if (bytes == 0) {
        return rusmi_push_to(proc, serial, msg);
    }
    if (!far_reserve(proc, rt, bytes)) {
        return RUSMI_PUSH_FULL;
    }
    result = rusmi_push_to(proc, serial, msg);
    if (result == RUSMI_PUSH_GONE || result == RUSMI_PUSH_FULL || result == RUSMI_PUSH_SHED) {
        /* relaxed: a count */
        (void)atomic_fetch_sub_explicit(&proc->mailbox.far_bytes, bytes, memory_order_relaxed);
    }
    return result;
}

bool rusmi_is_flooded(const struct rusmi_process *proc)
{
    /* relaxed, both: a count and a limit that changes before the first process */
    int64_t max = atomic_load_explicit(&proc->runtime->far_bytes_max, memory_order_relaxed);

    return max > 0 &&
           atomic_load_explicit(&proc->mailbox.far_bytes, memory_order_relaxed) / 2 > max;
}

enum rusmi_push rusmi_push_far(struct rusmi_process *proc, uint64_t serial, struct rusm_msg *msg)
{
    int64_t bytes;
    enum rusmi_push result;

    msg->flags |= RUSMI_MSG_FAR;
    bytes = rusmi_msg_far_bytes(msg);
    /* relaxed, both: a count */
    (void)atomic_fetch_add_explicit(&proc->mailbox.far_bytes, bytes, memory_order_relaxed);
    result = rusmi_push_to(proc, serial, msg);
    if (result == RUSMI_PUSH_GONE) {
        (void)atomic_fetch_sub_explicit(&proc->mailbox.far_bytes, bytes, memory_order_relaxed);
    }
    return result;
}

rusm_err rusmi_deliver(rusm_runtime *rt, uint64_t serial, rusm_msg *msg)
{
    struct rusmi_process *proc = rusmi_process_find(rt->pool, serial);

    rusmi_msg_let(msg);
    /* The slot may change its holder at any time: what holds is the generation that the push
     * proves. */
    if (proc == NULL || !rusmi_process_is(proc, (rusm_pid){rt->incarnation, serial})) {
        return RUSM_ENOPROC;
    }
    switch (push(proc, rt, serial, msg)) {
    case RUSMI_PUSH_GONE:
        return RUSM_ENOPROC;
    case RUSMI_PUSH_FULL:
        (void)atomic_fetch_add(&rt->full, 1);
        return RUSM_EFULL;
    case RUSMI_PUSH_SHED:
        (void)atomic_fetch_add(&rt->full, 1);
        return RUSM_OK;
    case RUSMI_PUSHED_OVER:
        (void)atomic_fetch_add(&rt->full, 1);
        break;
    case RUSMI_PUSHED_OVER_WAKE:
        (void)atomic_fetch_add(&rt->full, 1);
        rusmi_process_run_again(proc);
        break;
    case RUSMI_PUSHED_WAKE:
        rusmi_process_run_again(proc);
        break;
    case RUSMI_PUSHED:
        break;
    }
    /* relaxed: a hint, decided in crowd_pushed */
    if (atomic_load_explicit(&proc->crowded, memory_order_relaxed) == 0 && is_crowded(proc, rt)) {
        crowd_pushed(proc, rt, serial);
    }
    return RUSM_OK;
}

/* The detail of a message that was not taken. */
static rusm_err not_delivered(rusm_err err)
{
    return rusm_set_err_detail(
        err, "%s", err == RUSM_EFULL ? "the receiver's mailbox is full" : rusm_err_text(err));
}

rusm_err rusm_deliver(rusm_runtime *rt, uint64_t serial, rusm_msg *msg)
{
    rusm_err err = rusmi_deliver(rt, serial, msg);

    if (err == RUSM_OK) {
        return RUSM_OK;
    }
    if (err == RUSM_ENOPROC) {
        (void)atomic_fetch_add(&rt->noproc, 1);
    }
    return not_delivered(err);
}

rusm_err rusm_deliver_name(rusm_runtime *rt, const char *name, size_t name_len, rusm_msg *msg,
                           rusm_pid *out_pid)
{
    rusm_err err = RUSM_ENOPROC;
    rusm_pid pid;

    if (rusmi_registered_find(rt, name, name_len, &pid)) {
        err = rusmi_deliver(rt, pid.serial, msg);
    }
    if (err == RUSM_ENOPROC) {
        (void)atomic_fetch_add(&rt->noname, 1);
        return rusm_set_err_detail(RUSM_ENONAME, "no process of %s has the name %.*s", rt->name,
                                   (int)name_len, name);
    }
    if (err != RUSM_OK) {
        return not_delivered(err);
    }
    *out_pid = pid;
    return RUSM_OK;
}

/* ---- routing --------------------------------------------------------------------------------- */

/* The router of self's runtime, counted in use; NULL, with the detail set, if there is none. */
static const struct rusm_router *router_hold(struct rusmi_process *self)
{
    const struct rusm_router *router = NULL;

    if (self != NULL) {
        (void)atomic_fetch_add(&self->runtime->router_calls, 1);
        router = atomic_load(&self->runtime->router);
        if (router == NULL) {
            (void)atomic_fetch_sub(&self->runtime->router_calls, 1);
        }
    }
    if (router == NULL) {
        (void)rusm_set_err_detail(RUSM_ENONODE,
                                  "the process belongs to no node that is connected here");
    }
    return router;
}

static void router_drop(rusm_runtime *rt)
{
    if (atomic_fetch_sub(&rt->router_calls, 1) == 1 && atomic_load(&rt->router) == NULL) {
        rusmi_futex_wake(&rt->router_calls, 8);
    }
}

rusm_err rusmi_route_signal(rusm_runtime *rt, const rusm_signal *signal)
{
    const struct rusm_router *router;
    rusm_err err = RUSM_ENONODE;

    (void)atomic_fetch_add(&rt->router_calls, 1);
    router = atomic_load(&rt->router);
    if (router != NULL) {
        err = router->signal(rt->router_arg, signal);
    }
    router_drop(rt);
    return err;
}

rusm_err rusmi_route_stream(rusm_runtime *rt, const rusm_stream_signal *signal, int64_t timeout_ms)
{
    const struct rusm_router *router;
    rusm_err err = RUSM_ENONODE;

    (void)atomic_fetch_add(&rt->router_calls, 1);
    router = atomic_load(&rt->router);
    if (router != NULL && router->stream != NULL) {
        err = router->stream(rt->router_arg, signal, timeout_ms);
    } else {
        (void)rusm_set_err_detail(err, "the process belongs to no node that carries streams");
    }
    router_drop(rt);
    return err;
}

bool rusmi_route_name(struct rusmi_process *self, uint64_t incarnation, char *buf, size_t buf_len)
{
    const struct rusm_router *router = NULL;
    bool known = false;

    (void)atomic_fetch_add(&self->runtime->router_calls, 1);
    router = atomic_load(&self->runtime->router);
    if (router != NULL) {
        known = router->node_name(self->runtime->router_arg, incarnation, buf, buf_len);
    }
    router_drop(self->runtime);
    return known;
}

void rusmi_route_groups_changed(rusm_runtime *rt)
{
    const struct rusm_router *router;

    (void)atomic_fetch_add(&rt->router_calls, 1);
    router = atomic_load(&rt->router);
    if (router != NULL && router->groups_changed != NULL) {
        router->groups_changed(rt->router_arg);
    }
    router_drop(rt);
}

rusm_err rusmi_route_group_send(rusm_runtime *rt, uint64_t incarnation, const char *group,
                                const void *data, size_t len, int64_t timeout_ms)
{
    const struct rusm_router *router;
    rusm_err err = RUSM_ENONODE;

    (void)atomic_fetch_add(&rt->router_calls, 1);
    router = atomic_load(&rt->router);
    if (router != NULL && router->group_send != NULL) {
        err = router->group_send(rt->router_arg, rusm_self(), incarnation, group, data, len,
                                 timeout_ms);
    }
    router_drop(rt);
    return err;
}

/* Give back what was to be handed over: to the process, which holds it again. */
static void take_back(struct rusmi_process *self, rusm_msg *msg)
{
    if (self != NULL && msg->held == NULL) {
        rusmi_msg_hold(&self->held, msg);
    }
}

static rusm_err route_send(struct rusmi_process *self, rusm_pid to, rusm_msg *msg,
                           int64_t timeout_ms)
{
    const struct rusm_router *router = router_hold(self);
    rusm_runtime *rt;
    rusm_err err;

    if (router == NULL) {
        return RUSM_ENONODE;
    }
    rt = self->runtime;
    if (rusmi_msg_carries(msg)) {
        router_drop(rt);
        return rusm_set_err_detail(RUSM_EINVAL,
                                   "what the message carries does not go to another node with it");
    }
    if (to.serial == 0) {
        router_drop(rt);
        return rusm_set_err_detail(RUSM_ENOPROC, "no process has number 0");
    }
    rusmi_msg_let(msg);
    err = router->send(rt->router_arg, rusmi_process_pid(self), to, msg, timeout_ms);
    router_drop(rt);
    if (err == RUSM_ENONODE && rusmi_is_past(rt, to.incarnation)) {
        err = rusm_set_err_detail(RUSM_ENOPROC, "the node of the process has been restarted since");
    }
    if (err != RUSM_OK) {
        take_back(self, msg);
    }
    /* A router leaves the end of a killed process to us, so that the count above is given back. */
    rusmi_checkpoint();
    return err;
}

rusm_err rusmi_send_far(struct rusmi_process *self, rusm_pid to, rusm_msg *msg, int64_t timeout_ms)
{
    rusm_runtime *rt;
    rusm_err err = RUSM_OK;

    /* A node's processes reach other nodes through links, wherever those live. */
    if (self != NULL && atomic_load(&self->runtime->router) != NULL) {
        return route_send(self, to, msg, timeout_ms);
    }
    rusmi_runtimes_hold();
    rt = rusmi_runtime_find(to.incarnation);
    if (rt != NULL) {
        err = rusm_deliver(rt, to.serial, msg);
    }
    rusmi_runtimes_release();
    return rt != NULL ? err : route_send(self, to, msg, timeout_ms);
}

static rusm_err send_as(struct rusmi_process *self, rusm_pid to, rusm_msg *msg, int64_t timeout_ms)
{
    rusm_msg_kind kind = rusm_msg_get_kind(msg);
    uint64_t len = msg->len;
    rusm_err err;

    msg->sender = self == NULL ? RUSM_PID_NONE : rusmi_process_pid(self);
    err = self != NULL && self->runtime->incarnation == to.incarnation
              ? rusm_deliver(self->runtime, to.serial, msg)
              : rusmi_send_far(self, to, msg, timeout_ms);
    if (self != NULL && rusmi_traced(self) && err == RUSM_OK) {
        rusmi_trace_send(self, to, kind, len);
    }
    return err;
}

rusm_err rusm_send_msg(rusm_pid to, rusm_msg *msg)
{
    struct rusmi_process *self = rusmi_process_self();
    unsigned kind;
    uint64_t ref;
    rusm_err err;

    if (rusm_pid_is_none(to) || msg == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "a message needs bytes and a process to go to");
    }
    rusmi_checkpoint();
    /* What is sent on is data: an answer would be dropped as one that nobody waits for, an exit or
     * a down would say what is not so. */
    kind = msg->kind & 0xff;
    ref = msg->ref;
    msg->kind = RUSM_MSG_DATA;
    msg->ref = 0;
    err = send_as(self, to, msg, RUSM_INFINITY);
    if (err != RUSM_OK) {
        msg->kind = kind & 0xff;
        msg->ref = ref;
    }
    if (self != NULL) {
        if (err != RUSM_OK) {
            take_back(self, msg);
        }
        rusmi_process_work(self, 1);
    }
    return err;
}

/* A message with a copy of the bytes, held by nobody. */
static rusm_err copy(rusm_msg **out_msg, rusm_msg_kind kind, const void *data, size_t len)
{
    if (data == NULL && len != 0) {
        return rusm_set_err_detail(RUSM_EINVAL, "a message of %zu bytes needs bytes", len);
    }
    return rusmi_msg_make(out_msg, kind, 0, data, len);
}

static rusm_err send_within(rusm_pid to, rusm_msg_kind kind, const void *data, size_t len,
                            int64_t timeout_ms)
{
    struct rusmi_process *self = rusmi_process_self();
    rusm_msg *msg;
    rusm_err err;

    if (rusm_pid_is_none(to)) {
        return rusm_set_err_detail(RUSM_EINVAL, "a message needs a process to go to");
    }
    rusmi_checkpoint(); /* before anything is allocated */
    err = copy(&msg, kind, data, len);
    if (err != RUSM_OK) {
        return err;
    }
    err = send_as(self, to, msg, timeout_ms);
    if (err != RUSM_OK) {
        rusm_msg_del(msg);
    }
    if (self != NULL) {
        rusmi_process_work(self, 1);
    }
    return err;
}

rusm_err rusmi_send_kind(rusm_pid to, rusm_msg_kind kind, const void *data, size_t len)
{
    return send_within(to, kind, data, len, RUSM_INFINITY);
}

rusm_err rusm_try_send(rusm_pid to, const void *data, size_t len)
{
    return send_within(to, RUSM_MSG_DATA, data, len, 0);
}

rusm_err rusmi_send_name_kind(const char *name, rusm_msg_kind kind, const void *data, size_t len)
{
    struct rusmi_process *self = rusmi_process_self();
    rusm_pid pid;
    rusm_msg *msg;
    rusm_err err;

    if (self == NULL) {
        return rusm_set_err_detail(RUSM_ENOCONTEXT, "%s", rusm_err_text(RUSM_ENOCONTEXT));
    }
    if (name == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "a message needs a name to go to");
    }
    rusmi_checkpoint();
    err = copy(&msg, kind, data, len);
    if (err != RUSM_OK) {
        return err;
    }
    msg->sender = rusmi_process_pid(self);
    err = rusm_deliver_name(self->runtime, name, strlen(name), msg, &pid);
    if (err != RUSM_OK) {
        rusm_msg_del(msg);
    }
    rusmi_process_work(self, 1);
    return err;
}

rusm_err rusm_send_name(const char *name, const void *data, size_t len)
{
    return rusmi_send_name_kind(name, RUSM_MSG_DATA, data, len);
}

/* ---- receiving ------------------------------------------------------------------------------- */

static rusm_err no_context(void)
{
    return rusm_set_err_detail(RUSM_ENOCONTEXT, "%s", rusm_err_text(RUSM_ENOCONTEXT));
}

static struct rusm_msg *take(struct rusmi_process *self, struct rusmi_wanted *wanted)
{
    uint64_t late = 0;
    struct rusm_msg *msg = rusmi_mailbox_take(&self->mailbox, wanted, &late);

    if (late != 0) {
        (void)atomic_fetch_add(&self->runtime->late, late);
    }
    if (msg != NULL) {
        rusmi_crowd_taken(self, false);
        rusmi_msg_hold(&self->held, msg);
        if (rusmi_traced(self)) {
            rusmi_trace_receive(self, msg);
        }
    }
    return msg;
}

void rusmi_flush_down(struct rusmi_process *self, uint64_t number)
{
    struct rusmi_wanted wanted = {.reply = number};
    struct rusm_msg *msg;

    rusmi_process_attend(self);
    while ((msg = take(self, &wanted)) != NULL) {
        rusm_msg_del(msg);
    }
}

rusm_err rusmi_receive(struct rusmi_process *self, struct rusmi_wanted *wanted, int64_t timeout_ms,
                       rusm_msg **out_msg)
{
    rusm_time deadline = RUSMI_NEVER;
    bool timed = false;

    rusmi_process_work(self, 1);
    for (;;) {
        struct rusm_msg *msg;

        rusmi_process_attend(self);
        if (rusmi_process_killed(self)) {
            rusmi_checkpoint();
            return rusm_set_err_detail(RUSM_EKILLED, "%s", rusm_err_text(RUSM_EKILLED));
        }
        msg = take(self, wanted);
        if (msg != NULL) {
            *out_msg = msg;
            return RUSM_OK;
        }
        wanted->again = true;
        if (timeout_ms == 0 || (timed && rusmi_pool_now(self->pool) >= deadline)) {
            return rusm_set_err_detail(RUSM_ETIMEOUT, "no message came within %lld ms",
                                       (long long)timeout_ms);
        }
        if (timeout_ms > 0 && !timed) { /* the clock costs as much as a switch: once is enough */
            deadline = rusmi_deadline(timeout_ms);
            timed = true;
        }
        rusmi_process_suspend(self, RUSM_PROCESS_RECEIVING, deadline);
        if (self->is_thread && rusmi_kit_deadlocked(self->pool)) {
            return rusmi_process_deadlocked();
        }
    }
}

rusm_err rusmi_receive_any(rusm_msg **out_msg, int64_t timeout_ms)
{
    struct rusmi_process *self = rusmi_process_self();
    struct rusmi_wanted wanted = {.match = NULL};

    return self == NULL ? no_context() : rusmi_receive(self, &wanted, timeout_ms, out_msg);
}

static rusm_err receive_match(uint64_t mark, rusm_msg **out_msg, rusm_match_fn match, void *arg,
                              int64_t timeout_ms)
{
    struct rusmi_process *self = rusmi_process_self();
    struct rusmi_wanted wanted = {.match = match, .arg = arg, .mark = mark};

    if (match == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "selective receive needs a function that selects");
    }
    return self == NULL ? no_context() : rusmi_receive(self, &wanted, timeout_ms, out_msg);
}

rusm_err rusm_receive_match(rusm_msg **out_msg, rusm_match_fn match, void *arg, int64_t timeout_ms)
{
    return receive_match(0, out_msg, match, arg, timeout_ms);
}

rusm_err rusm_receive_since(rusm_mark mark, rusm_msg **out_msg, rusm_match_fn match, void *arg,
                            int64_t timeout_ms)
{
    return receive_match(mark.number, out_msg, match, arg, timeout_ms);
}

rusm_err rusmi_receive_reply(rusm_mark mark, uint64_t ref_number, int64_t timeout_ms,
                             rusm_msg **out_msg)
{
    struct rusmi_wanted wanted = {.reply = ref_number, .mark = mark.number};

    return rusmi_receive(rusmi_process_self(), &wanted, timeout_ms, out_msg);
}

rusm_mark rusm_mailbox_mark(void)
{
    struct rusmi_process *self = rusmi_process_self();
    rusm_mark mark = {0};
    uint64_t late = 0;

    if (self != NULL) {
        mark.number = rusmi_mailbox_mark(&self->mailbox, &late);
        if (late != 0) {
            (void)atomic_fetch_add(&self->runtime->late, late);
        }
    }
    return mark;
}
