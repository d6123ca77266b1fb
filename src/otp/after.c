/* SPDX-License-Identifier: MIT */
/*
 * Timers that send messages: see rusm/otp/timer.h and docs/design/timers.md.
 *
 * An alarm is a timer with the message that it sends. It is allocated by the process that sets it,
 * is in that process's table by the number of its reference, and is freed by that process alone: it
 * can tell whether an alarm has fired without asking anybody, and no thread frees what another one
 * looks at.
 *
 * It is fired by whoever polls, under the lock of the timer's wheel. An alarm that will not fire
 * again is then pushed onto `done` of its owner, which is the last that this thread does with it;
 * the owner takes all of them from there at its next call. The owner ends only after it has
 * cancelled everything in its table, and a cancel waits for a timer that is firing: so the owner,
 * its table and its runtime outlive the firing.
 */
#include "otp/after.h"

#include "base/assert.h"
#include "base/mem.h"
#include "otp/sched.h"

#include <rusm/otp/driver.h>
#include <rusm/otp/timer.h>

#define NS_PER_MS ((uint64_t)1000000)

struct alarm {
    struct rusmi_timer timer;
    struct rusmi_after *owner;
    uint64_t to;          /* serial of the receiver, of the owner's runtime */
    uint64_t interval_ns; /* 0: it fires once */
    /* the owner until it is set and after it is done, else who fires it */
    rusm_msg *msg; /* what is sent; of an interval the model of it */
    struct alarm *next_done;
    /* the owner */
    uint64_t number;
    struct rusmi_map_entry by_number;
};

struct rusmi_after {
    struct rusmi_process *proc;
    struct rusmi_map alarms;    /* by number; the owner alone */
    struct alarm *_Atomic done; /* pushed by who fires, taken whole by the owner */
};

uint64_t rusmi_after_next(uint64_t at_ns, uint64_t interval_ns, uint64_t now_ns,
                          uint64_t *out_skipped)
{
    uint64_t late = now_ns > at_ns ? now_ns - at_ns : 0;

    *out_skipped = 0;
    if (interval_ns > RUSMI_NEVER - at_ns) {
        return RUSMI_NEVER;
    }
    if (late / interval_ns > RUSMI_OVERDUE_MAX) {
        *out_skipped = late / interval_ns - 1;
    }
    return at_ns + (*out_skipped + 1) * interval_ns;
}

/* ---- firing: any thread, under the wheel's lock ---------------------------------------------- */

/* Hand it back: from the exchange on the owner may free it. */
static void hand_back(struct alarm *alarm)
{
    struct rusmi_after *owner = alarm->owner;
    struct alarm *first = atomic_load_explicit(&owner->done, memory_order_relaxed);

    do {
        alarm->next_done = first;
        /* release: pairs with the acquire in reap(); relaxed: the next try reads it */
    } while (!atomic_compare_exchange_weak_explicit(&owner->done, &first, alarm,
                                                    memory_order_release, memory_order_relaxed));
}

/* What the receiver does not take is freed, and counted there. */
static rusm_err deliver(struct alarm *alarm, rusm_msg *msg)
{
    rusm_runtime *rt = alarm->owner->proc->runtime;
    rusm_err err = rusmi_deliver(rt, alarm->to, msg);

    if (err == RUSM_ENOPROC) {
        (void)atomic_fetch_add(&rt->noproc, 1);
    }
    if (err != RUSM_OK) {
        rusm_msg_del(msg);
    }
    return err;
}

static void fired_once(struct rusmi_timer *timer)
{
    struct alarm *alarm = rusmi_container(timer, struct alarm, timer);
    rusm_msg *msg = alarm->msg;

    alarm->msg = NULL;
    (void)deliver(alarm, msg);
    hand_back(alarm);
}

static void fired_tick(struct rusmi_timer *timer)
{
    struct alarm *alarm = rusmi_container(timer, struct alarm, timer);
    rusm_runtime *rt = alarm->owner->proc->runtime;
    const rusm_msg *model = alarm->msg;
    uint64_t skipped, next_ns;
    rusm_err err = RUSM_OK;
    rusm_msg *msg;

    if (rusmi_msg_make(&msg, RUSM_MSG_TIMER, model->ref, model->data, model->len) == RUSM_OK) {
        msg->sender = model->sender;
        err = deliver(alarm, msg);
    } else {
        (void)atomic_fetch_add(&rt->timers_skipped, 1);
    }
    if (err == RUSM_ENOPROC) {
        hand_back(alarm);
        return;
    }
    next_ns =
        rusmi_after_next(timer->at_ns, alarm->interval_ns, rusmi_pool_now(rt->pool), &skipped);
    if (skipped != 0) {
        (void)atomic_fetch_add(&rt->timers_skipped, skipped);
    }
    rusmi_timers_again(&rt->pool->timers, timer, next_ns);
}

/* ---- the owner ------------------------------------------------------------------------------- */

static void alarm_del(struct alarm *alarm)
{
    rusm_msg_del(alarm->msg);
    rusmi_free(alarm);
}

/* Free what is done. */
static void reap(struct rusmi_after *after)
{
    struct alarm *alarm;

    /* relaxed: only a hint; acquire: pairs with the release in hand_back() */
    if (atomic_load_explicit(&after->done, memory_order_relaxed) == NULL) {
        return;
    }
    alarm = atomic_exchange_explicit(&after->done, NULL, memory_order_acquire);
    while (alarm != NULL) {
        struct alarm *next = alarm->next_done;

        rusmi_map_remove(&after->alarms, &alarm->by_number);
        alarm_del(alarm);
        alarm = next;
    }
}

void rusmi_after_end(struct rusmi_process *proc)
{
    struct rusmi_after *after = proc->extra == NULL ? NULL : proc->extra->after;

    if (after == NULL) {
        return;
    }
    proc->extra->after = NULL;
    rusmi_map_each(&after->alarms, entry, position, following)
    {
        struct alarm *alarm = rusmi_container(entry, struct alarm, by_number);

        /* Also of those that are done: the thread that fired them may still be at it. */
        (void)rusmi_timers_cancel(&proc->pool->timers, &alarm->timer);
        alarm_del(alarm);
    }
    rusmi_map_fini(&after->alarms);
    rusmi_free(after);
}

/* The caller's timers; NULL without memory. */
static struct rusmi_after *after_of(struct rusmi_process *self)
{
    struct rusmi_process_extra *extra = rusmi_process_extra(self);
    struct rusmi_after *after;

    if (extra == NULL || extra->after != NULL) {
        return extra == NULL ? NULL : extra->after;
    }
    after = rusmi_zalloc(sizeof(*after));
    if (after != NULL) {
        after->proc = self;
        rusmi_map_init(&after->alarms, 0, 0); /* nobody outside chooses the keys */
        atomic_init(&after->done, NULL);
        extra->after = after;
    }
    return after;
}

/* An alarm in the caller's table, which is not set yet; NULL without memory. */
static struct alarm *alarm_new(struct rusmi_process *self, rusm_pid to, const void *data,
                               size_t len)
{
    struct rusmi_after *after = after_of(self);
    struct alarm *alarm = after == NULL ? NULL : rusmi_zalloc(sizeof(*alarm));

    if (alarm == NULL) {
        return NULL;
    }
    alarm->owner = after;
    alarm->to = to.serial;
    alarm->number = rusmi_ref_new();
    if (rusmi_msg_make(&alarm->msg, RUSM_MSG_TIMER, alarm->number, data, len) != RUSM_OK ||
        !rusmi_map_insert(&after->alarms, &alarm->by_number, &alarm->number,
                          sizeof(alarm->number))) {
        alarm_del(alarm);
        return NULL;
    }
    alarm->msg->sender = rusmi_process_pid(self);
    return alarm;
}

static rusm_err no_context(void)
{
    return rusm_set_err_detail(RUSM_ENOCONTEXT, "only a process has timers");
}

static rusm_err start(rusm_pid to, const void *data, size_t len, int64_t span_ms, bool repeat,
                      rusm_ref *out_ref)
{
    struct rusmi_process *self = rusmi_process_self();
    struct alarm *alarm;
    rusm_ref ref;

    if (self == NULL) {
        return no_context();
    }
    if (span_ms < (repeat ? 1 : 0) || (data == NULL && len != 0)) {
        return rusm_set_err_detail(RUSM_EINVAL, "a timer needs a time from now on, and its bytes");
    }
    if (to.incarnation != self->runtime->incarnation || to.serial == 0) {
        return rusm_set_err_detail(RUSM_EINVAL, "a timer sends to processes of its runtime only");
    }
    rusmi_checkpoint(); /* before anything is allocated */
    if (self->extra != NULL && self->extra->after != NULL) {
        reap(self->extra->after);
    }
    alarm = alarm_new(self, to, data, len);
    if (alarm == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    ref = (rusm_ref){self->runtime->incarnation, alarm->number};
    if (repeat) {
        alarm->interval_ns = (uint64_t)span_ms > RUSMI_NEVER / NS_PER_MS
                                 ? RUSMI_NEVER
                                 : (uint64_t)span_ms * NS_PER_MS;
    }
    alarm->timer.fire = repeat ? fired_tick : fired_once;
    rusmi_sched_set_timer(self->pool, &alarm->timer, rusmi_deadline(span_ms));
    if (out_ref != NULL) {
        *out_ref = ref;
    }
    rusm_bump_reductions(1);
    return RUSM_OK;
}

rusm_err rusm_send_after(rusm_pid to, const void *data, size_t len, int64_t delay_ms,
                         rusm_ref *out_ref)
{
    return start(to, data, len, delay_ms, false, out_ref);
}

rusm_err rusm_send_interval(rusm_pid to, const void *data, size_t len, int64_t interval_ms,
                            rusm_ref *out_ref)
{
    return start(to, data, len, interval_ms, true, out_ref);
}

/* The caller's alarm of that reference, which may be firing just now; NULL if it is done, or never
 * was. */
static struct alarm *find(struct rusmi_process *self, rusm_ref ref)
{
    struct rusmi_after *after = self->extra == NULL ? NULL : self->extra->after;
    struct rusmi_map_entry *entry;

    if (after == NULL || ref.incarnation != self->runtime->incarnation) {
        return NULL;
    }
    reap(after);
    entry = rusmi_map_find(&after->alarms, &ref.number, sizeof(ref.number));
    return entry == NULL ? NULL : rusmi_container(entry, struct alarm, by_number);
}

static rusm_err no_timer(void)
{
    return rusm_set_err_detail(RUSM_ENONAME,
                               "the caller has no such timer: it has fired, or was cancelled");
}

rusm_err rusm_cancel_timer(rusm_ref ref)
{
    struct rusmi_process *self = rusmi_process_self();
    struct alarm *alarm;

    if (self == NULL) {
        return no_context();
    }
    rusm_bump_reductions(1);
    alarm = find(self, ref);
    if (alarm == NULL || !rusmi_timers_cancel(&self->pool->timers, &alarm->timer)) {
        return no_timer(); /* if it has just fired it is handed back, and the next call frees it */
    }
    rusmi_map_remove(&alarm->owner->alarms, &alarm->by_number);
    alarm_del(alarm);
    return RUSM_OK;
}

ptrdiff_t rusm_timer_left_ms(rusm_ref ref)
{
    struct rusmi_process *self = rusmi_process_self();
    uint64_t at_ns, now;
    struct alarm *alarm;

    if (self == NULL) {
        return no_context();
    }
    alarm = find(self, ref);
    if (alarm == NULL || !rusmi_timers_get(&self->pool->timers, &alarm->timer, &at_ns)) {
        return no_timer();
    }
    now = rusmi_pool_now(self->pool);
    return at_ns <= now ? 0 : (ptrdiff_t)((at_ns - now - 1) / NS_PER_MS + 1);
}
