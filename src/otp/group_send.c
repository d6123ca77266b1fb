/* SPDX-License-Identifier: MIT */
/*
 * Sending to all members of a group: one message for each member of this runtime, all of which show
 * the same bytes, and one copy for each other node that has members, which hands it out there.
 *
 * The lock is held for a piece of the members at a time. Each roll is gone through by the numbers
 * of its entries up to the number that was the last one when the call began, so the call ends
 * however many join meanwhile.
 */
#include "otp/group_state.h"

#include "base/assert.h"
#include "base/mem.h"
#include "otp/trace.h"

#include <rusm/otp/driver.h>
#include <rusm/otp/link.h>

#include <string.h>

/* Where a call is: the members of this runtime first, then those of other nodes. */
struct walk {
    uint64_t until; /* joins with larger numbers do not count */
    uint64_t after;
    bool local, remote; /* these are to be gone through still */
};

/* A node that is to get a copy. */
struct target {
    uint64_t incarnation;
    size_t members;
    bool waits; /* its link was full */
};

/* ---- going through --------------------------------------------------------------------------- */

/* The next members; 0: there are no more. */
static size_t next_members(rusm_runtime *rt, const char *name, struct walk *walk, rusm_pid *pids)
{
    size_t count = 0;

    while (count == 0 && (walk->local || walk->remote)) {
        const struct rusmi_group *group;

        rusmi_lock_take(&rt->groups.lock);
        group = rusmi_group_find(&rt->groups, name, strlen(name));
        if (group != NULL && walk->after < walk->until) {
            count = rusmi_roll_copy(walk->local ? &group->local : &group->remote, &walk->after,
                                    walk->until, pids, RUSMI_GROUP_STEP);
        }
        rusmi_lock_give(&rt->groups.lock);
        if (count == 0) {
            walk->after = 0;
            walk->remote = walk->remote && walk->local;
            walk->local = false;
        }
    }
    return count;
}

/* Begin a walk; how many local members and other nodes with members there are. */
static struct walk begin(rusm_runtime *rt, const char *name, size_t name_len, bool remote,
                         size_t *out_members, size_t *out_nodes)
{
    struct walk walk = {.local = true, .remote = remote};
    const struct rusmi_group *group;

    rusmi_lock_take(&rt->groups.lock);
    group = rusmi_group_find(&rt->groups, name, name_len);
    *out_members = group == NULL ? 0 : group->local.len;
    *out_nodes = group == NULL ? 0 : group->shares_len;
    walk.until = rt->groups.number;
    rusmi_lock_give(&rt->groups.lock);
    return walk;
}

/* ---- here ------------------------------------------------------------------------------------ */

/* So many messages that show the bytes. False without memory. */
static bool make_copies(struct rusmi_luggage *bag, size_t count, const void *data, size_t len,
                        rusm_pid sender)
{
    bag->shared = rusmi_shared_new(data, len);
    if (bag->shared == NULL) {
        return false;
    }
    while (bag->msgs_len < count) {
        struct rusm_msg *msg;

        if (rusmi_msg_share(&msg, RUSM_MSG_DATA, bag->shared) != RUSM_OK) {
            return false;
        }
        msg->sender = sender;
        rusmi_luggage_push(bag, msg);
    }
    return true;
}

/* Hand one message to each of these members, as far as there are messages. Returns to how many. */
static size_t hand_out(rusm_runtime *rt, struct rusmi_luggage *bag, const rusm_pid *pids,
                       size_t len, struct rusmi_process *self)
{
    size_t sent = 0, bytes = bag->shared->len;

    for (size_t i = 0; i < len && bag->msgs != NULL; i++) {
        struct rusm_msg *msg = rusmi_luggage_pop(bag);

        msg->next = NULL;
        if (rusmi_deliver(rt, pids[i].serial, msg) != RUSM_OK) {
            rusmi_luggage_push(bag, msg); /* it has left, or wants nothing more: on to the next */
            continue;
        }
        sent++;
        if (self != NULL && rusmi_traced(self)) {
            rusmi_trace_send(self, pids[i], RUSM_MSG_DATA, bytes);
        }
    }
    return sent;
}

/*
 * Let others run, if so many sends have used up the caller's budget. It does not end here if it has
 * been killed, since there is luggage: it first sends what is left.
 */
static void give_way(struct rusmi_process *self, size_t sent)
{
    struct rusmi_worker *worker = rusmi_worker_self();

    if (self == NULL || self->is_thread) {
        return;
    }
    worker->budget -= (int)sent;
    if (worker->budget <= 0 || (self->pool->kit != NULL && rusmi_kit_interrupts(self->pool))) {
        atomic_store_explicit(&self->doing, RUSM_PROCESS_RUNNABLE,
                              memory_order_relaxed); /* relaxed: for lists */
        rusmi_sched_leave(self, RUSMI_LEAVE_YIELD);
    }
}

/* Give the messages of the luggage to the local members. self NULL: never gives way. */
static size_t send_here(rusm_runtime *rt, const char *name, struct walk *walk,
                        struct rusmi_luggage *bag, struct rusmi_process *self)
{
    rusm_pid pids[RUSMI_GROUP_STEP];
    size_t count, sent = 0;

    while (bag->msgs != NULL && (count = next_members(rt, name, walk, pids)) != 0) {
        count = hand_out(rt, bag, pids, count, self);
        sent += count;
        give_way(self, count);
    }
    return sent;
}

/* The message as it is, to the only member. */
static ptrdiff_t deliver_to_one(rusm_runtime *rt, const char *name, struct walk *walk,
                                rusm_msg *msg)
{
    rusm_pid pids[RUSMI_GROUP_STEP];

    if (next_members(rt, name, walk, pids) == 0) {
        return RUSM_ENONAME;
    }
    if (rusmi_deliver(rt, pids[0].serial, msg) == RUSM_OK) {
        return 1;
    }
    rusm_msg_del(msg);
    return 0;
}

ptrdiff_t rusm_runtime_group_deliver(rusm_runtime *rt, const char *group, size_t group_len,
                                     rusm_msg *msg)
{
    struct rusmi_luggage bag = {.wanted = 0};
    char name[RUSM_NAME_MAX + 1];
    size_t members, nodes, sent;
    struct walk walk;

    if (group_len > RUSM_NAME_MAX) {
        return RUSM_ENONAME;
    }
    memcpy(name, group, group_len);
    name[group_len] = '\0';
    walk = begin(rt, name, group_len, false, &members, &nodes);
    if (members <= 1) {
        return deliver_to_one(rt, name, &walk, msg);
    }
    if (!make_copies(&bag, members, rusm_msg_data(msg), rusm_msg_len(msg), rusm_msg_sender(msg))) {
        rusmi_luggage_fini(&bag, rt);
        return rusmi_group_no_memory();
    }
    for (struct rusm_msg *copy = bag.msgs; copy != NULL; copy = copy->next) {
        copy->flags |= msg->flags & RUSMI_MSG_FAR;
    }
    for (rusm_msg *copy = bag.msgs; (msg->flags & RUSMI_MSG_FAR) != 0 && copy != NULL;
         copy = copy->next) {
        rusm_msg_set_far(copy);
    }
    sent = send_here(rt, name, &walk, &bag, NULL);
    rusmi_luggage_fini(&bag, rt);
    rusm_msg_del(msg);
    return (ptrdiff_t)sent;
}

/* ---- other nodes ----------------------------------------------------------------------------- */

/* The nodes with members, at most targets_max. */
static size_t get_targets(rusm_runtime *rt, const char *name, struct target *targets,
                          size_t targets_max)
{
    const struct rusmi_group *group;
    size_t count = 0;

    rusmi_lock_take(&rt->groups.lock);
    group = rusmi_group_find(&rt->groups, name, strlen(name));
    if (group != NULL) {
        for (struct rusmi_list *at = group->shares.next;
             at != &group->shares && count < targets_max; at = at->next) {
            const struct rusmi_group_share *share =
                rusmi_container(at, struct rusmi_group_share, in_group);

            targets[count++] =
                (struct target){.incarnation = share->key.incarnation, .members = share->members};
        }
    }
    rusmi_lock_give(&rt->groups.lock);
    return count;
}

/* What is sent to other nodes. */
struct parcel {
    rusm_runtime *rt;
    const char *name;
    const void *data;
    size_t len;
    struct rusmi_process *self;
};

/* One copy; returns to how many members it went. */
static size_t send_copy(const struct parcel *parcel, struct target *target, int64_t timeout_ms,
                        rusm_err *out_err)
{
    rusm_err err = rusmi_route_group_send(parcel->rt, target->incarnation, parcel->name,
                                          parcel->data, parcel->len, timeout_ms);

    *out_err = err;
    if (err != RUSM_OK) {
        target->waits = err == RUSM_EAGAIN;
        if (err == RUSM_ENOMEM) {
            (void)atomic_fetch_add(&parcel->rt->copies_skipped, 1);
        }
        return 0; /* any other error: the link was lost, and its members are about to leave */
    }
    if (parcel->self != NULL && rusmi_traced(parcel->self)) {
        rusmi_trace_send(parcel->self, (rusm_pid){target->incarnation, 0}, RUSM_MSG_DATA,
                         parcel->len);
    }
    return target->members;
}

/*
 * First to all nodes whose link takes it at once, so that nobody waits for a slow one but the
 * caller; then, if that is to wait, to the others, one after the other.
 */
static size_t send_away(const struct parcel *parcel, struct target *targets, size_t len, bool wait)
{
    rusm_err err = RUSM_OK;
    size_t sent = 0;

    for (size_t i = 0; i < len; i++) {
        sent += send_copy(parcel, &targets[i], 0, &err);
    }
    for (size_t i = 0; i < len && err != RUSM_EKILLED; i++) {
        if (targets[i].waits && wait) {
            sent += send_copy(parcel, &targets[i], RUSM_INFINITY, &err);
        } else if (targets[i].waits) {
            (void)atomic_fetch_add(&parcel->rt->copies_skipped, 1);
        }
    }
    return sent;
}

/* ---- sending to all -------------------------------------------------------------------------- */

/* Everything that may be refused or need memory, and then the sending. */
static ptrdiff_t send_all(rusm_runtime *rt, const char *name, const void *data, size_t len,
                          bool wait)
{
    const struct parcel parcel = {rt, name, data, len, rusmi_process_self()};
    struct rusmi_luggage bag = {.wanted = 0};
    struct target *targets = NULL;
    size_t members, nodes, sent = 0;
    struct walk walk = begin(rt, name, strlen(name), false, &members, &nodes);

    if (nodes != 0) {
        if (len > RUSM_MESSAGE_MAX) {
            return rusm_set_err_detail(
                RUSM_EMSGSIZE, "a message of %zu bytes is over the limit of %zu for other nodes",
                len, RUSM_MESSAGE_MAX);
        }
        targets = rusmi_zalloc_array(nodes, sizeof(*targets));
        if (targets == NULL) {
            return rusmi_group_no_memory();
        }
        nodes = get_targets(rt, name, targets, nodes);
    }
    if (members != 0 && !make_copies(&bag, members, data, len, rusm_self())) {
        rusmi_luggage_fini(&bag, rt);
        rusmi_free(targets);
        return rusmi_group_no_memory();
    }
    if (members != 0) {
        sent = send_here(rt, name, &walk, &bag, parcel.self);
    }
    rusmi_luggage_fini(&bag, rt);
    sent += send_away(&parcel, targets, nodes, wait);
    rusmi_free(targets);
    return (ptrdiff_t)sent;
}

static ptrdiff_t group_send(rusm_runtime *rt, const char *name, const void *data, size_t len,
                            bool wait)
{
    ptrdiff_t sent;
    rusm_err err;

    rt = rusmi_group_check(rt, name, &err);
    if (rt == NULL) {
        return err;
    }
    if (data == NULL && len != 0) {
        return rusm_set_err_detail(RUSM_EINVAL, "a message of %zu bytes needs bytes", len);
    }
    rusmi_checkpoint(); /* before anything is allocated */
    sent = send_all(rt, name, data, len, wait);
    rusmi_checkpoint(); /* who was killed while it waited for a link */
    rusm_bump_reductions(1);
    return sent;
}

ptrdiff_t rusm_group_send(rusm_runtime *rt, const char *name, const void *data, size_t len)
{
    return group_send(rt, name, data, len, true);
}

ptrdiff_t rusm_group_try_send(rusm_runtime *rt, const char *name, const void *data, size_t len)
{
    return group_send(rt, name, data, len, false);
}

ptrdiff_t rusm_group_terminate(rusm_runtime *rt, const char *name, const rusm_reason *reason)
{
    rusm_pid pids[RUSMI_GROUP_STEP], self = rusm_self();
    bool nomem = false, own_turn = false;
    size_t count, nodes, sent = 0;
    struct walk walk;
    rusm_err err;

    rt = rusmi_group_check(rt, name, &err);
    if (rt == NULL) {
        return err;
    }
    if (reason == NULL || (unsigned)reason->kind > (unsigned)RUSM_REASON_STACK_OVERFLOW ||
        memchr(reason->text, '\0', sizeof(reason->text)) == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "an exit signal needs a reason");
    }
    walk = begin(rt, name, strlen(name), true, &count, &nodes);
    while ((count = next_members(rt, name, &walk, pids)) != 0) {
        for (size_t i = 0; i < count; i++) {
            if (rusm_pid_equal(pids[i], self)) {
                own_turn = true; /* after all others: it may end here */
                continue;
            }
            err = rusm_exit_process(pids[i], reason);
            sent += err == RUSM_OK ? 1 : 0;
            nomem = nomem || err == RUSM_ENOMEM;
        }
    }
    if (own_turn) {
        err = rusm_exit_process(self, reason);
        sent += err == RUSM_OK ? 1 : 0;
        nomem = nomem || err == RUSM_ENOMEM;
    }
    return nomem ? rusmi_group_no_memory() : (ptrdiff_t)sent;
}
