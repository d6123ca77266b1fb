/* SPDX-License-Identifier: MIT */
/*
 * Signals between processes of this node and others: out from the runtime's router, in from a link,
 * and what the loss of a link means for them (docs/design/remote.md).
 */
#ifndef RUSMI_NODE_SIGNAL_H
#define RUSMI_NODE_SIGNAL_H

#include "node/link.h"

/* The router's `signal`; arg: the node. */
rusm_err rusmi_signal_route(void *arg, const rusm_signal *signal);

/*
 * A message that is a signal has come; msg stays the caller's. RUSM_EPROTO, RUSM_EFULL,
 * RUSM_ENOMEM: the link is to end, with *out_why (static text).
 */
rusm_err rusmi_signal_take(struct rusmi_link *link, const struct rusmi_message_head *head,
                           const rusm_msg *msg, const char **out_why);

/*
 * The gate of a link: its owner delivers only inside, and once the link is cut nobody enters any
 * more. So whoever cuts it knows that nothing is delivered afterwards, without a lock for each
 * message. The owner leaves before it takes node->lock, because who cuts holds that.
 */
static inline void rusmi_gate_enter(struct rusmi_link *link)
{
    /* Dekker's pattern with rusmi_gate_cut(): one of the two sees the other. */
    atomic_store(&link->delivering, 1);
    link->open = !atomic_load(&link->cut);
    if (!link->open) {
        atomic_store(&link->delivering, 0);
    }
}

static inline void rusmi_gate_leave(struct rusmi_link *link)
{
    link->open = false;
    atomic_store(&link->delivering, 0);
}

/* No delivery happens after this. Under node->lock. */
void rusmi_gate_cut(struct rusmi_link *link);

/* Whether processes may be tied to that node's at all. Threads: any that found the link. */
bool rusmi_signals_may(const struct rusmi_link *link);
/* The link is up: processes may be tied to that node's. False without memory. Under node->lock. */
bool rusmi_signals_up(struct rusmi_link *link);
void rusmi_signals_fini(rusm_node *node);
/* The link is lost, and cut: break the ties. Under node->lock. */
void rusmi_signals_down(struct rusmi_link *link, const char *text);

/* ---- events.c ---- */
/* Tell who wants to know. Under node->lock. */
void rusmi_events_up(struct rusmi_link *link);
void rusmi_events_down(struct rusmi_link *link, enum rusmi_down_cause cause, const char *text);
void rusmi_events_init(rusm_node *node, const uint64_t seed[2]);
void rusmi_events_fini(rusm_node *node);

#endif
