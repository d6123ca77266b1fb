/* SPDX-License-Identifier: MIT */
/*
 * The nodes that are connected, and the ties that lead there, in their two places: the mechanics
 * for remote.c, signal.c and newborn.c. otp/remote.h has the rules.
 */
#include "otp/far.h"

#include "base/assert.h"
#include "base/mem.h"
#include "otp/sched.h"
#include "otp/trace.h"

#include <sched.h>

/* ---- far nodes ------------------------------------------------------------------------------- */

void rusmi_fars_init(struct rusmi_fars *fars, uint64_t seed0, uint64_t seed1)
{
    rusmi_lock_init(&fars->lock);
    rusmi_map_init(&fars->nodes, seed0, seed1);
    rusmi_map_init(&fars->past, seed0, seed1);
    rusmi_list_init(&fars->past_order);
}

void rusmi_far_drop(struct rusmi_far *far)
{
    /* acq_rel: all that was done with a reference happens before the free by the last one */
    if (atomic_fetch_sub_explicit(&far->refs, 1, memory_order_acq_rel) == 1) {
        rusmi_map_fini(&far->watches);
        rusmi_map_fini(&far->streams.ours);
        rusmi_map_fini(&far->streams.theirs);
        rusmi_lock_fini(&far->streams.lock);
        rusmi_lock_fini(&far->lock);
        rusmi_free(far);
    }
}

struct rusmi_far *rusmi_far_hold(struct rusmi_far *far)
{
    /* relaxed: whoever holds one more has one already, or the lock of the table */
    (void)atomic_fetch_add_explicit(&far->refs, 1, memory_order_relaxed);
    return far;
}

/* Under no lock. */
static void lose_streams(struct rusmi_far *far)
{
    void (*lose)(struct rusmi_far * far);

    rusmi_lock_take(&far->streams.lock);
    far->streams.gone = true;
    lose = far->streams.lose;
    rusmi_lock_give(&far->streams.lock);
    if (lose != NULL) {
        lose(far);
    }
}

void rusmi_fars_fini(struct rusmi_fars *fars)
{
    rusmi_map_each(&fars->nodes, entry, position, following)
    {
        rusmi_map_remove(&fars->nodes, entry);
        lose_streams(rusmi_container(entry, struct rusmi_far, entry));
        rusmi_far_drop(rusmi_container(entry, struct rusmi_far, entry));
    }
    rusmi_map_each(&fars->past, old, place, next)
    {
        rusmi_map_remove(&fars->past, old);
        rusmi_free(rusmi_container(old, struct rusmi_past, entry)); /* the order ends with it */
    }
    rusmi_map_fini(&fars->nodes);
    rusmi_map_fini(&fars->past);
    rusmi_lock_fini(&fars->lock);
}

/* The record of a node that is connected, held; NULL if it is not. */
struct rusmi_far *rusmi_far_find(rusm_runtime *rt, uint64_t incarnation)
{
    struct rusmi_map_entry *entry;
    struct rusmi_far *far = NULL;

    rusmi_lock_take(&rt->fars.lock);
    entry = rusmi_map_find(&rt->fars.nodes, &incarnation, sizeof(incarnation));
    if (entry != NULL) {
        far = rusmi_far_hold(rusmi_container(entry, struct rusmi_far, entry));
    }
    rusmi_lock_give(&rt->fars.lock);
    return far;
}

bool rusmi_is_past(rusm_runtime *rt, uint64_t incarnation)
{
    bool past;

    rusmi_lock_take(&rt->fars.lock);
    past = rusmi_map_find(&rt->fars.past, &incarnation, sizeof(incarnation)) != NULL;
    rusmi_lock_give(&rt->fars.lock);
    return past;
}

rusm_err rusm_runtime_node_up(rusm_runtime *rt, uint64_t incarnation, size_t watches_max)
{
    struct rusmi_far *far = rusmi_zalloc(sizeof(*far));
    rusm_err err = RUSM_OK;

    if (far == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    far->incarnation = incarnation;
    far->theirs_max = watches_max;
    atomic_init(&far->refs, 1);
    rusmi_lock_init(&far->lock);
    rusmi_list_init(&far->ties);
    rusmi_map_init(&far->watches, rt->fars.nodes.seed[0], rt->fars.nodes.seed[1]);
    rusmi_lock_init(&far->streams.lock);
    rusmi_map_init(&far->streams.ours, rt->fars.nodes.seed[0], rt->fars.nodes.seed[1]);
    rusmi_map_init(&far->streams.theirs, rt->fars.nodes.seed[0], rt->fars.nodes.seed[1]);
    rusmi_lock_take(&rt->fars.lock);
    if (rusmi_map_find(&rt->fars.nodes, &incarnation, sizeof(incarnation)) != NULL) {
        err = RUSM_EEXIST;
    } else if (!rusmi_map_insert(&rt->fars.nodes, &far->entry, &far->incarnation,
                                 sizeof(far->incarnation))) {
        err = RUSM_ENOMEM;
    }
    rusmi_lock_give(&rt->fars.lock);
    if (err != RUSM_OK) {
        rusmi_far_drop(far);
        return rusm_set_err_detail(err, "%s", rusm_err_text(err));
    }
    return RUSM_OK;
}

void rusm_runtime_node_past(rusm_runtime *rt, uint64_t incarnation)
{
    struct rusmi_fars *fars = &rt->fars;
    struct rusmi_past *past = rusmi_zalloc(sizeof(*past)), *oldest = NULL;

    if (past == NULL) {
        return; /* its pids are answered with noconnection, then */
    }
    past->incarnation = incarnation;
    rusmi_list_init(&past->in_order);
    rusmi_lock_take(&fars->lock);
    if (rusmi_map_find(&fars->past, &incarnation, sizeof(incarnation)) == NULL &&
        rusmi_map_insert(&fars->past, &past->entry, &past->incarnation,
                         sizeof(past->incarnation))) {
        rusmi_list_push(&fars->past_order, &past->in_order);
        past = NULL;
        if (fars->past.len > RUSMI_PAST_MAX) {
            oldest =
                rusmi_container(rusmi_list_pop(&fars->past_order), struct rusmi_past, in_order);
            rusmi_map_remove(&fars->past, &oldest->entry);
        }
    }
    rusmi_lock_give(&fars->lock);
    rusmi_free(oldest);
    rusmi_free(past);
}

/* ---- ties in their two places ---------------------------------------------------------------- */

/*
 * Put a tie into both of its places; under the stripe of proc, the process here. RUSM_ENOLINK: the
 * node is no longer connected; RUSM_EFULL, RUSM_EEXIST, RUSM_ENOMEM: of those that they ask for.
 */
rusm_err rusmi_far_attach(struct rusmi_far *far, struct rusmi_process *proc, struct rusmi_tie *tie,
                          bool asked_by_them)
{
    rusm_err err = RUSM_OK;

    rusmi_lock_take(&far->lock);
    if (far->gone) {
        err = RUSM_ENOLINK;
    } else if (asked_by_them && far->theirs >= far->theirs_max) {
        err = RUSM_EFULL;
    } else if (asked_by_them && !tie->is_link) {
        const uint64_t *number = &tie->at_owner.key;

        if (rusmi_map_find(&far->watches, number, sizeof(*number)) != NULL) {
            err = RUSM_EEXIST;
        } else if (!rusmi_map_insert(&far->watches, &tie->by_ref, number, sizeof(*number))) {
            err = RUSM_ENOMEM;
        }
    }
    if (err == RUSM_OK) {
        tie->far = rusmi_far_hold(far);
        rusmi_list_push(&far->ties, &tie->in_far);
        far->theirs += asked_by_them ? 1 : 0;
        tie->theirs = asked_by_them;
    }
    rusmi_lock_give(&far->lock);
    if (err != RUSM_OK) {
        return err;
    }
    if (asked_by_them && !tie->is_link) {
        tie->target_proc = proc;
        rusmi_list_push(&proc->monitors, &tie->on_target);
        proc->monitors_len++;
        return RUSM_OK;
    }
    tie->owner_proc = proc;
    rusmi_ties_add(&proc->ties, &tie->at_owner);
    if (tie->is_link && rusmi_traced(proc)) {
        rusmi_trace_link(proc, tie->owner.serial, tie->target);
    }
    return RUSM_OK;
}

/* Take a tie out of both of its places; under the stripe. The far node's record is still held. */
void rusmi_far_detach(struct rusmi_tie *tie)
{
    struct rusmi_far *far = tie->far;

    rusmi_lock_take(&far->lock);
    rusmi_list_remove(&tie->in_far);
    if (tie->owner_proc == NULL) {
        rusmi_map_remove(&far->watches, &tie->by_ref);
    }
    far->theirs -= tie->theirs ? 1 : 0;
    rusmi_lock_give(&far->lock);
    if (tie->owner_proc == NULL) {
        rusmi_list_remove(&tie->on_target);
        tie->target_proc->monitors_len--;
    } else {
        rusmi_ties_remove(&tie->owner_proc->ties, &tie->at_owner);
    }
}

/* After rusmi_far_detach(), with the stripe given back if it is known that nobody else holds the
 * node. */
void rusmi_far_tie_free(struct rusmi_tie *tie)
{
    struct rusmi_far *far = tie->far;

    rusmi_tie_del(tie);
    rusmi_far_drop(far);
}

/* The tie becomes its message, to the process here, whose stripe is held. */
enum rusmi_signalled rusmi_far_become(struct rusmi_process *proc, struct rusmi_tie *tie,
                                      rusm_pid sender, struct rusmi_cause *cause)
{
    struct rusm_msg *msg = rusmi_tie_msg(tie);
    struct rusmi_far *far = tie->far;
    enum rusmi_signalled signalled;

    msg->sender = sender;
    tie->cause = cause;
    if (tie->is_link) {
        msg->kind = RUSM_MSG_EXIT;
        msg->ref = 0;
        signalled = rusmi_signal_exit(proc, proc->own_serial, msg);
    } else {
        signalled = rusmi_push_signal(proc, proc->own_serial, msg);
    }
#ifdef RUSMI_PLANT_DOWN_TWICE
    struct rusmi_tie *again = rusmi_tie_new(tie->owner, tie->target, tie->at_owner.key);

    if (again != NULL && !tie->is_link) {
        rusmi_tie_msg(again)->sender = sender;
        again->cause = rusmi_cause_hold(cause);
        (void)rusmi_push_signal(proc, proc->own_serial, rusmi_tie_msg(again));
    }
#endif
    rusmi_far_drop(far);
    return signalled;
}

/* A version for a change of ours. */
uint64_t rusmi_far_tick(struct rusmi_far *far)
{
    uint64_t version;

    rusmi_lock_take(&far->lock);
    version = ++far->clock;
    rusmi_lock_give(&far->lock);
    return version;
}

/* A change of theirs has come; one that would wear the clock out is none of a peer's that follows
 * the protocol, and has no effect on it. */
void rusmi_far_see(struct rusmi_far *far, uint64_t version)
{
    rusmi_lock_take(&far->lock);
    if (version > far->clock && version < RUSMI_VERSION_MAX) {
        far->clock = version;
    }
    rusmi_lock_give(&far->lock);
}

/* Whether the link holds, or waits only for its unlink to be acknowledged. Under the stripe. */
void rusmi_far_set_inactive(struct rusmi_tie *tie, bool inactive)
{
    struct rusmi_ties *ties = &tie->owner_proc->ties;

    if (tie->inactive != inactive) {
        tie->inactive = inactive;
        ties->links = inactive ? ties->links - 1 : ties->links + 1;
    }
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
        rusmi_lock_take(rusmi_stripe_of(proc));
        rusmi_lock_take(&far->lock);
        if (far->ties.next == &tie->in_far &&
            (tie->owner_proc == proc || (tie->owner_proc == NULL && tie->target_proc == proc))) {
            rusmi_lock_give(&far->lock);
            *out_proc = proc;
            return tie;
        }
        rusmi_lock_give(&far->lock);
        rusmi_lock_give(rusmi_stripe_of(proc));
    }
}

void rusm_runtime_node_down(rusm_runtime *rt, uint64_t incarnation, const rusm_reason *reason)
{
    struct rusmi_far *far = rusmi_far_find(rt, incarnation);
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
    rusmi_far_drop(far); /* the table's */
    rusmi_lock_take(&far->lock);
    far->gone = true;
    rusmi_lock_give(&far->lock);
    while ((tie = lost_tie(far, &proc)) != NULL) {
        enum rusmi_signalled signalled = RUSMI_SIGNALLED_NOTHING;
        bool told = tie->owner_proc != NULL && !tie->inactive && tie->unborn == 0;

#ifdef RUSMI_PLANT_DOWN_LOST
        told = told && (tie->is_link || tie->at_owner.key % 4 != 1);
#endif
        rusmi_far_detach(tie);
        if (told) {
            signalled = rusmi_far_become(proc, tie, tie->target, rusmi_cause_hold(cause));
        }
        rusmi_lock_give(rusmi_stripe_of(proc));
        if (!told) {
            rusmi_far_tie_free(tie);
        }
        rusmi_finish_signal(proc, signalled);
    }
    rusmi_cause_drop(cause);
    lose_streams(far);
    atomic_store(&far->closed, true);
    while (atomic_load(&far->senders) != 0) {
        (void)sched_yield(); /* one is just being handed to the link, which does not block */
    }
    rusmi_far_drop(far);
}
