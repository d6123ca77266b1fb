/* SPDX-License-Identifier: MIT */
/*
 * Groups: after the heal every node lists as members exactly those who joined, did not leave, and
 * live; and whoever monitors a group has been told of each change once.
 */
#include "sim/sim.h"
#include "sim/sim_cover.h"

#include "base/assert.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GROUPS      4u
#define MEMBERS_MAX 1024u

struct membership {
    struct membership *next;
    const struct sim_proc *proc;
    unsigned group;
};

struct watch {
    struct watch *next;
    const struct sim_proc *from;
    unsigned group;
    rusm_ref ref;
    size_t len;
    rusm_pid members[MEMBERS_MAX];
};

static struct membership *memberships;
static struct watch *watches;

static const char *group_name(unsigned group)
{
    static const char *const names[GROUPS] = {"red", "green", "blue", "all the others"};

    return names[group];
}

static struct membership *find(const struct sim_proc *proc, unsigned group)
{
    struct membership *at = memberships;

    while (at != NULL && (at->proc != proc || at->group != group)) {
        at = at->next;
    }
    return at;
}

void sim_group_join(struct sim_proc *me)
{
    unsigned group = (unsigned)sim_below(&sim->work, GROUPS);
    rusm_err err = rusm_group_join(NULL, group_name(group), me->pid);

    sim_trace("process %u joins %s: %s", me->id, group_name(group), rusm_err_name(err));
    sim_check(err == RUSM_OK, "process %u can not join: %s", me->id, rusm_err_name(err));
    if (find(me, group) == NULL) {
        struct membership *membership = rusmi_zalloc(sizeof(*membership));

        rusmi_assert(membership != NULL);
        *membership = (struct membership){memberships, me, group};
        memberships = membership;
    }
}

void sim_group_leave(struct sim_proc *me)
{
    unsigned group = (unsigned)sim_below(&sim->work, GROUPS);
    struct membership *membership = find(me, group), **at = &memberships;
    rusm_err err = rusm_group_leave(NULL, group_name(group), me->pid);

    sim_trace("process %u leaves %s: %s", me->id, group_name(group), rusm_err_name(err));
    sim_check((err == RUSM_OK) == (membership != NULL), "process %u leaves %s: %s", me->id,
              group_name(group), rusm_err_name(err));
    if (membership != NULL) {
        while (*at != membership) {
            at = &(*at)->next;
        }
        *at = membership->next;
        rusmi_free(membership);
    }
}

void sim_group_send(struct sim_proc *me, size_t len)
{
    unsigned group = (unsigned)sim_below(&sim->work, GROUPS);
    uint8_t *data = rusm_alloc(len); /* freed if it is killed */
    struct sim_ticket ticket;
    ptrdiff_t sent;

    rusmi_assert(data != NULL);
    ticket = sim_sending(me, SIM_TO_GROUP, NULL, "", group_name(group), data, len);
    sim_trace("process %u sends to %s", me->id, group_name(group));
    sent = rusm_group_send(NULL, group_name(group), data, len);
    sim_sent(me, ticket, sent < 0 ? (rusm_err)sent : RUSM_OK);
    sim_check(sent >= 0, "process %u can not send to a group: %s", me->id,
              rusm_err_name((rusm_err)sent));
    rusm_free(data);
}

void sim_group_watch(struct sim_proc *me)
{
    struct watch *watch = rusmi_zalloc(sizeof(*watch));
    ptrdiff_t len;

    rusmi_assert(watch != NULL);
    watch->from = me;
    watch->group = (unsigned)sim_below(&sim->work, GROUPS);
    len = rusm_group_monitor(group_name(watch->group), &watch->ref, watch->members, MEMBERS_MAX);
    sim_check(len >= 0 && (size_t)len <= MEMBERS_MAX, "process %u can not monitor a group", me->id);
    watch->len = (size_t)len;
    watch->next = watches;
    watches = watch;
    sim_trace("process %u monitors %s: %td members", me->id, group_name(watch->group), len);
}

void sim_group_event(struct sim_proc *me, const rusm_msg *msg)
{
    bool joined = rusm_msg_get_kind(msg) == RUSM_MSG_JOIN;
    rusm_pid member = rusm_msg_sender(msg);
    struct watch *watch = watches;
    size_t at = 0;

    if (me->life->cut) {
        return;
    }
    while (watch != NULL && (watch->from != me || !rusm_ref_equal(watch->ref, rusm_msg_ref(msg)))) {
        watch = watch->next;
    }
    sim->totals.group_events++;
    sim_seen(joined ? SIM_SEEN_JOIN : SIM_SEEN_PART);
    sim_check(watch != NULL, "process %u: a change of a group that it does not monitor", me->id);
    while (at < watch->len && !rusm_pid_equal(watch->members[at], member)) {
        at++;
    }
    if (joined) {
        sim_check(at == watch->len && watch->len < MEMBERS_MAX,
                  "process %u: a member of %s joined twice", me->id, group_name(watch->group));
        watch->members[watch->len++] = member;
    } else {
        sim_check(at < watch->len, "process %u: a member of %s left that never joined", me->id,
                  group_name(watch->group));
        watch->members[at] = watch->members[--watch->len];
    }
}

/* ---- convergence ----------------------------------------------------------------------------- */

static int by_pid(const void *a, const void *b)
{
    const rusm_pid *x = a, *y = b;

    return x->incarnation != y->incarnation ? (x->incarnation < y->incarnation ? -1 : 1)
           : x->serial != y->serial         ? (x->serial < y->serial ? -1 : 1)
                                            : 0;
}

static bool same(const rusm_pid *pids, size_t len, const rusm_pid *truth, size_t truth_len)
{
    static rusm_pid sorted[MEMBERS_MAX];

    memcpy(sorted, pids, len * sizeof(sorted[0]));
    qsort(sorted, len, sizeof(sorted[0]), by_pid);
    return len == truth_len && memcmp(sorted, truth, len * sizeof(sorted[0])) == 0;
}

/* Who is a member as far as that life can know: with version 1 nobody tells of members. */
static size_t members_for(const struct sim_life *life, unsigned group, rusm_pid *truth)
{
    size_t len = 0;

    for (const struct membership *at = memberships; at != NULL; at = at->next) {
        if (at->group == group && !at->proc->ended && !at->proc->life->cut &&
            sim_is_modern(at->proc->life, life)) {
            rusmi_assert(len < MEMBERS_MAX);
            truth[len++] = at->proc->pid;
        }
    }
    qsort(truth, len, sizeof(truth[0]), by_pid);
    return len;
}

static const char *check_group(unsigned group)
{
    static rusm_pid truth[MEMBERS_MAX], pids[MEMBERS_MAX];
    size_t len;

    for (unsigned i = 0; i < sim->options.nodes; i++) {
        ptrdiff_t got =
            rusm_group_members(sim->nodes[i].life->rt, group_name(group), pids, MEMBERS_MAX);

        len = members_for(sim->nodes[i].life, group, truth);
        if (got < 0 || !same(pids, (size_t)got, truth, len)) {
            return "a node knows other members of a group than there are";
        }
    }
    for (const struct watch *watch = watches; watch != NULL; watch = watch->next) {
        if (watch->group != group || watch->from->ended || watch->from->life->cut) {
            continue;
        }
        len = members_for(watch->from->life, group, truth);
        if (!same(watch->members, watch->len, truth, len)) {
            return "a process that monitors a group has not heard of all changes";
        }
    }
    return NULL;
}

const char *sim_check_groups(void)
{
    for (unsigned group = 0; group < GROUPS; group++) {
        const char *why = check_group(group);

        if (why != NULL) {
            return why;
        }
    }
    return NULL;
}

void sim_groups_stop(void)
{
    while (memberships != NULL) {
        struct membership *membership = memberships;

        memberships = membership->next;
        rusmi_free(membership);
    }
    while (watches != NULL) {
        struct watch *watch = watches;

        watches = watch->next;
        rusmi_free(watch);
    }
}
