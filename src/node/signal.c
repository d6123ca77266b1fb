/* SPDX-License-Identifier: MIT */
#include "node/signal.h"

#include "base/assert.h"
#include "base/mem.h"
#include "cluster/reason.h"
#include "cluster/signal.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

/* The protocol version that has signals. */
#define SIGNALS_VERSION 2u

/* Names of nodes whose last incarnation is remembered. */
#define LAST_MAX 65536u

/* ---- out ------------------------------------------------------------------------------------- */

rusm_err rusmi_signal_route(void *arg, const rusm_signal *signal)
{
    rusm_node *node = arg;
    struct rusmi_message_head head;
    struct rusmi_link *link = rusmi_peers_find_incarnation(node, signal->to.incarnation);
    uint8_t body[RUSMI_REASON_BYTES_MAX];
    size_t body_len = signal->reason == NULL ? 0 : rusmi_reason_encode(body, signal->reason);
    struct rusmi_out *out;

    rusmi_signal_head(&head, signal);
    if (node->role == RUSM_ROLE_OBSERVER) {
        if (link != NULL) {
            rusmi_link_drop(link);
        }
        return rusm_set_err_detail(RUSM_EPERM, "%s is an observer, which may not send or kill",
                                   node->name);
    }
    if (link != NULL && link->version < rusmi_message_version(head.kind)) {
        rusmi_link_drop(link);
        return rusm_set_err_detail(RUSM_EPROTO, "the node of the process speaks an older protocol");
    }
    if (link == NULL) {
        return rusm_set_err_detail(RUSM_ENONODE, "node %s has no link to the node of the process",
                                   node->name);
    }
    if (rusmi_out_new(&out, &head, body, body_len) == RUSM_OK) {
        rusmi_link_signal(link, out);
    } else {
        rusmi_link_close(link, RUSMI_CLOSE_MEMORY, "no memory for a signal", 0);
    }
    rusmi_link_drop(link);
    return RUSM_OK;
}

/* ---- in -------------------------------------------------------------------------------------- */

rusm_err rusmi_signal_take(struct rusmi_link *link, const struct rusmi_message_head *head,
                           const rusm_msg *msg, const char **out_why)
{
    rusm_node *node = link->node;
    rusm_reason reason;
    rusm_signal signal;
    rusm_err err =
        rusmi_signal_decode(&signal, &reason, head, rusm_msg_data(msg), rusm_msg_len(msg),
                            link->incarnation, node->incarnation, out_why);

    if (err != RUSM_OK) {
        return err;
    }
    err = rusm_signal_deliver(node->runtime, &signal);
    *out_why = err == RUSM_EFULL    ? "more links and monitors than a node may ask for"
               : err == RUSM_ENOMEM ? "no memory for a signal"
                                    : NULL;
    return err;
}

/* ---- up and down ----------------------------------------------------------------------------- */

void rusmi_gate_cut(struct rusmi_link *link)
{
#ifdef RUSMI_PLANT_LATE
    return;
#endif
    atomic_store(&link->cut, true);
    while (atomic_load(&link->delivering) != 0) {
        (void)sched_yield(); /* its owner is in a batch of deliveries, and waits for nothing */
    }
}

/* The last incarnation of each node that had a link. */
struct last {
    struct rusmi_map_entry entry;
    uint64_t incarnation;
    char name[RUSM_NAME_MAX + 1];
};

/* A node that was known under another incarnation has been restarted. */
static void note_incarnation(rusm_node *node, const struct rusmi_link *link)
{
    struct rusmi_map_entry *entry = rusmi_map_find(&node->last, link->name, strlen(link->name));
    struct last *last;

    if (entry != NULL) {
        last = rusmi_container(entry, struct last, entry);
        if (last->incarnation != link->incarnation) {
            rusm_runtime_node_past(node->runtime, last->incarnation);
            last->incarnation = link->incarnation;
        }
        return;
    }
    /* Not remembered: its past pids are answered with noconnection in place of noproc. */
    last = node->last.len >= LAST_MAX ? NULL : rusmi_zalloc(sizeof(*last));
    if (last == NULL) {
        return;
    }
    last->incarnation = link->incarnation;
    memcpy(last->name, link->name, sizeof(last->name));
    if (!rusmi_map_insert(&node->last, &last->entry, last->name, strlen(last->name))) {
        rusmi_free(last);
    }
}

void rusmi_signals_fini(rusm_node *node)
{
    rusmi_map_each(&node->last, entry, position, following)
    {
        rusmi_map_remove(&node->last, entry);
        rusmi_free(rusmi_container(entry, struct last, entry)); /* only the map led to it */
    }
    rusmi_map_fini(&node->last);
}

bool rusmi_signals_may(const struct rusmi_link *link)
{
    /* who only looks has no ties, and who is older knows none */
    return link->role != RUSM_ROLE_OBSERVER && link->node->role != RUSM_ROLE_OBSERVER &&
           link->version >= SIGNALS_VERSION;
}

bool rusmi_signals_up(struct rusmi_link *link)
{
    rusm_node *node = link->node;

    if (!link->hidden) {
        note_incarnation(node, link);
    }
    if (!rusmi_signals_may(link)) {
        return true;
    }
    link->tied =
        rusm_runtime_node_up(node->runtime, link->incarnation, node->cfg.watches_max) == RUSM_OK;
    return link->tied;
}

void rusmi_signals_down(struct rusmi_link *link, const char *text)
{
    rusm_reason reason = {.kind = RUSM_REASON_NOCONNECTION};

    (void)text;
    if (link->tied) {
        link->tied = false;
        rusm_runtime_node_down(link->node->runtime, link->incarnation, &reason);
    }
}
