/* SPDX-License-Identifier: MIT */
/*
 * Node events: for each node ups and downs alternate; the up comes before anything that comes over
 * that link, the down after all of it, and after the ends of all ties that it broke.
 *
 * A bond is what one life has seen of another: the sessions that came up, and those that were lost,
 * in order. A listener reads its events behind what has happened; it counts how far it is.
 */
#include "sim/sim.h"
#include "sim/sim_cover.h"

#include "base/assert.h"
#include "base/mem.h"

#include <string.h>

#define SESSIONS_MAX 512u

struct bond {
    struct bond *next;
    const struct sim_life *from, *to;
    uint64_t ups[SESSIONS_MAX], downs[SESSIONS_MAX];
    size_t ups_len, downs_len;
};

/* How far a process that listens has come in a bond. */
struct listener {
    struct listener *next;
    const struct sim_proc *proc;
    const struct bond *bond;
    size_t first_up, ups, downs;
};

static struct bond *bonds;
static struct listener *listeners;

static struct bond *bond_of(const struct sim_life *from, const struct sim_life *to)
{
    struct bond *bond = bonds;

    while (bond != NULL && (bond->from != from || bond->to != to)) {
        bond = bond->next;
    }
    if (bond == NULL) {
        bond = rusmi_zalloc(sizeof(*bond));
        rusmi_assert(bond != NULL);
        bond->from = from;
        bond->to = to;
        bond->next = bonds;
        bonds = bond;
    }
    return bond;
}

void sim_event_up(const struct sim_life *from, const struct sim_life *to, uint64_t session)
{
    struct bond *bond = bond_of(from, to);

    rusmi_assert(bond->ups_len < SESSIONS_MAX);
    bond->ups[bond->ups_len++] = session;
}

void sim_event_down(const struct sim_life *from, const struct sim_life *to, uint64_t session)
{
    struct bond *bond = bond_of(from, to);

    rusmi_assert(bond->downs_len < SESSIONS_MAX);
    bond->downs[bond->downs_len++] = session;
}

static struct listener *listener_of(const struct sim_proc *proc, const struct bond *bond)
{
    struct listener *listener = listeners;

    while (listener != NULL && (listener->proc != proc || listener->bond != bond)) {
        listener = listener->next;
    }
    return listener;
}

static struct listener *listen_to(const struct sim_proc *proc, const struct bond *bond)
{
    struct listener *listener = rusmi_zalloc(sizeof(*listener));

    rusmi_assert(listener != NULL);
    listener->proc = proc;
    listener->bond = bond;
    listener->next = listeners;
    listeners = listener;
    return listener;
}

void sim_listen(struct sim_proc *me)
{
    rusm_err err = rusm_monitor_nodes(true);

    if (err == RUSM_ECLOSED && sim->nodes[me->life->index].leaves_at != 0) {
        return; /* nothing comes or goes any more */
    }
    sim_check(err == RUSM_OK, "process %u can not listen: %s", me->id, rusm_err_name(err));
    me->listens = true;
    /* It begins with what there is now; nothing gives way between the call and this. */
    for (const struct bond *bond = bonds; bond != NULL; bond = bond->next) {
        if (bond->from == me->life) {
            struct listener *listener = listen_to(me, bond);

            listener->first_up = listener->ups = bond->ups_len;
            listener->downs = bond->downs_len;
        }
    }
}

void sim_node_event(struct sim_proc *me, const rusm_msg *msg)
{
    const rusm_node_event *event = rusm_msg_node_event(msg);
    const struct sim_life *peer = sim_life_by_incarnation(event->incarnation);
    struct listener *listener;
    const struct bond *bond;

    if (me->life->cut) {
        return;
    }
    sim_check(peer != NULL && strcmp(sim->nodes[peer->index].name, event->node) == 0,
              "process %u: an event of a node that nobody has", me->id);
    sim_trace("process %u: %s is %s%s", me->id, event->node,
              event->up ? "up" : "down: ", event->text);
    sim->totals.node_events++;
    sim_seen(event->up ? SIM_SEEN_NODE_UP : SIM_SEEN_NODE_DOWN);
    bond = bond_of(me->life, peer);
    listener = listener_of(me, bond);
    if (listener == NULL) {
        listener = listen_to(me, bond); /* it had not been up before */
    }
    if (event->up) {
        sim_check(listener->ups < bond->ups_len && listener->ups == listener->downs,
                  "process %u: %s is up once more than it came", me->id, event->node);
        listener->ups++;
        return;
    }
    sim_check(listener->downs < bond->downs_len && listener->downs + 1 == listener->ups,
              "process %u: %s is down once more than it was lost", me->id, event->node);
    sim_check_broken(me, peer, bond->downs[listener->downs]);
    listener->downs++;
}

void sim_event_check(const struct sim_proc *me, const struct sim_life *peer, uint64_t session)
{
    const struct bond *bond = bond_of(me->life, peer);
    const struct listener *listener = listener_of(me, bond);
    size_t ups = listener == NULL ? 0 : listener->ups;

    for (size_t i = 0; i < bond->ups_len; i++) {
        sim_check(bond->ups[i] != session || i < ups,
                  "process %u got something over link %llu before it heard that it is up", me->id,
                  (unsigned long long)session);
    }
    for (size_t i = 0; listener != NULL && i < listener->downs; i++) {
        sim_check(bond->downs[i] != session,
                  "process %u got something over link %llu after it heard that it is lost", me->id,
                  (unsigned long long)session);
    }
}

const char *sim_check_events(void)
{
    for (const struct listener *listener = listeners; listener != NULL; listener = listener->next) {
        if (!listener->proc->ended && !listener->proc->life->cut &&
            (listener->ups != listener->bond->ups_len ||
             listener->downs != listener->bond->downs_len)) {
            return "a process has not heard of a node that came or went";
        }
    }
    return NULL;
}

void sim_events_stop(void)
{
    while (bonds != NULL) {
        struct bond *bond = bonds;

        bonds = bond->next;
        rusmi_free(bond);
    }
    while (listeners != NULL) {
        struct listener *listener = listeners;

        listeners = listener->next;
        rusmi_free(listener);
    }
}
