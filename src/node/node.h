/* SPDX-License-Identifier: MIT */
/*
 * A node from the inside: the protocol core (cluster/core.h), one endpoint, and its links, driven
 * by the schedulers.
 *
 * Who does what: the core decides and is a pure step under `lock`; node_step (step.c) feeds it and
 * carries out what it asks for. The endpoint (endpoint.c) owns the listening socket and finds the
 * link that a datagram belongs to. A link (link.h) owns one QUIC connection and is run by one
 * thread at a time. Calls that wait for an answer are in call.h.
 *
 * Lifetime: a node outlives its links (count in `links_alive`), and rusm_node_del first stops the
 * runtime, so that no process can be in a call on the node while it goes. docs/design/node.md tells
 * the whole story.
 *
 * Locks: in this order: lock, then a link's lock; peers_lock and cids_lock are leaves; crowd_lock
 * is never held while another is taken.
 */
#ifndef RUSMI_NODE_NODE_H
#define RUSMI_NODE_NODE_H

#include <rusm/cluster/node.h>
#include <rusm/cluster/remote.h>
#include <rusm/err.h>
#include <rusm/otp/driver.h>
#include <rusm/otp/runtime.h>
#include <rusm/trust.h>
#include <rusm/types.h>

#include "base/list.h"
#include "base/map.h"
#include "cluster/budget.h"
#include "cluster/core.h"
#include "node/reload.h"
#include "node/sources.h"
#include "platform/lock.h"
#include "platform/udp.h"
#include "quic/conn.h"

#include <stdatomic.h>

struct rusmi_link;

/* What rusm_node_stats shows beside the core's own counters. Any thread, relaxed: they order
 * nothing. */
struct rusmi_node_counters {
    _Atomic uint64_t messages_sent, messages_received;
    _Atomic uint64_t dropped_noname, dropped_noproc, dropped_role, dropped_nomem, dropped_link;
    _Atomic uint64_t dropped_full, closed_slow, closed_memory;
    _Atomic uint64_t crl_stale, certs_refused;
    _Atomic uint64_t handshakes, refused_auth, refused_full, protocol_errors, timeouts, stray;
};

/* What the runtime said of members of groups, see groups.c. */
#define RUSMI_NEWS_MAX 32u

struct rusmi_group_news {
    _Atomic bool pending; /* there is something to be taken, or to be told */
    /* the endpoint's driver */
    rusm_group_change changes[RUSMI_NEWS_MAX];
    size_t len, told; /* taken; told to the core */
};

struct rusm_node {
    /* set by bind, then constant */
    rusm_runtime *runtime;
    rusm_role role;
    uint64_t incarnation;
    struct rusm_node_config cfg;
    struct rusmi_quic_config quic; /* without the identity, which may change: see reload.c */
    char name[RUSM_NAME_MAX + 1];
    char cluster[RUSM_NAME_MAX + 1];
    char address_text[RUSM_ADDRESS_MAX];
    struct rusmi_address address;
    int fd; /* the listening socket */
    rusm_driver *endpoint;
    rusm_waiter *gone; /* woken when a driver of this node has closed */

    struct rusmi_lock lock;
    /* under lock */
    struct rusmi_core *core;
    rusm_identity *identity;
    struct rusmi_trust trust;
    struct rusmi_map links;     /* by connection id; holds a reference */
    struct rusmi_map calls;     /* by reference number, see call.h */
    struct rusmi_map factories; /* by name */
    struct rusmi_map owners;    /* of global names here, by serial: see names.c */
    struct rusmi_map listeners; /* for nodes that come and go, see events.c */
    struct rusmi_map last;      /* incarnation of each node that had a link, see signal.c */
    struct rusmi_list todo;     /* requests of peers to be executed, see step.c */
    uint64_t next_ref;
    struct rusmi_list leaving; /* links that are lost, whose nodes' members leave: see groups.c */
    uint64_t told_last;        /* of node events and listeners, in one order: see events.c */
    struct rusmi_list joins;   /* specs of rusm_node_join, see discover.c */
    size_t joins_len;
    bool closing;
    rusm_time leave_ns;             /* leaving: links may drain for so long */
    _Atomic uint64_t core_deadline; /* when the core wants its TIMER; written under lock */

    struct rusmi_lock peers_lock;
    /* under peers_lock: links that are up, members only; each table holds a reference */
    struct rusmi_map by_name;
    struct rusmi_map by_incarnation;

    struct rusmi_lock cids_lock;
    /* under cids_lock */
    struct rusmi_map cids;    /* connection ids of this side; entries hold a reference */
    struct rusmi_list strays; /* datagrams that arrived on a link's socket and belong elsewhere */
    size_t strays_len;

    struct rusmi_lock crowd_lock;
    /* under crowd_lock, see crowd.c */
    struct rusmi_map crowded;
    struct rusmi_list uncrowded;  /* what is to be taken back */
    _Atomic uint32_t crowded_len; /* written under crowd_lock, read relaxed as a hint */

    _Atomic bool undrained;       /* leaving: a link ended with messages that nobody acknowledged */
    _Atomic bool hurry;           /* closing: a link ends as soon as its CONNECTION_CLOSE is out */
    _Atomic uint32_t links_alive; /* drivers not yet closed, the endpoint's too */
    atomic_bool endpoint_done;    /* it was the last, has closed its socket and does nothing more */
    struct rusmi_sources sources; /* accepted and not yet authenticated */
    struct rusmi_group_news groups;
    struct rusmi_node_counters counters;
    struct rusmi_budget budget; /* for all that is held for peers: see memory.h */
};

/* NULL stands for the caller's own node; NULL with RUSM_ENOCONTEXT set as detail if there is none.
 */
rusm_node *rusmi_node_resolve(rusm_node *node);

/* ---- step.c ---- */

/* Feed one event to the core and carry out what follows. Takes node->lock; no lock may be held. */
rusm_err rusmi_node_step(rusm_node *node, const struct rusmi_core_event *event);
/*
 * Carry out the actions that a core function filled while the caller held node->lock, free them,
 * and unlock it. Requests of peers are executed after that, outside any lock.
 */
void rusmi_node_finish(rusm_node *node, struct rusmi_actions *actions);
/*
 * The same for callers that hold a lock of the runtime (a mailbox's watcher): nothing is executed,
 * so the actions must ask for nothing of the kind.
 */
void rusmi_node_settle(rusm_node *node, struct rusmi_actions *actions);

/* ---- endpoint.c ---- */

/* Open the socket and make the driver, which sleeps until start. node->address becomes the real
 * one. */
rusm_err rusmi_endpoint_open(rusm_node *node);
/* Begin to serve; the core exists. */
rusm_err rusmi_endpoint_start(rusm_node *node);
/* Hand the endpoint a datagram that reached a link's socket but is not the link's; to as in struct
 * rusmi_datagram. Copied; dropped and counted if that fails. */
void rusmi_endpoint_stray(rusm_node *node, const struct rusmi_address *from,
                          const struct rusmi_address *to, const uint8_t *data, size_t len);
/* Wake the endpoint's driver, whose timer follows node->core_deadline. */
void rusmi_endpoint_post(rusm_node *node);

/* ---- names.c ---- */

/* Tell a process that it has lost a name (RUSMI_ACTION_CONFLICT). Under node->lock. */
void rusmi_names_conflict(rusm_node *node, const struct rusmi_action *action);

/* ---- crowd.c ---- */

void rusmi_crowd_init(rusm_node *node);
void rusmi_crowd_fini(rusm_node *node);
/* Take back what peers were told of mailboxes that are no longer crowded. Takes node->lock. */
void rusmi_crowd_drain(rusm_node *node);
/* The connection has ended: what its peer was told is of no use any more. */
void rusmi_crowd_forget(rusm_node *node, uint64_t conn);
/* A message from link, addressed to a serial or (name not NULL) a name, reached pid: tell link's
 * peer if pid is crowded. */
void rusmi_crowd_delivered(rusm_node *node, struct rusmi_link *link, uint64_t serial,
                           const char *name, size_t name_len, rusm_pid pid);

static inline void rusmi_count(_Atomic uint64_t *counter, uint64_t n)
{
    /* relaxed: a statistic that orders nothing */
    (void)atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

#endif
