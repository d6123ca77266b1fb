/* SPDX-License-Identifier: MIT */
/*
 * For tests only: several cores joined by a network inside the test, with virtual time.
 *
 * Each conn is a wire with two ends; what travels to an end keeps its order, but which end is
 * served next is free, and `choose` decides: by default the oldest parcel first, by a seed, or by a
 * list of choices that a test walks through exhaustively. Nothing here knows the protocol.
 */
#ifndef RUSMI_CLUSTER_CORE_NET_TEST_H
#define RUSMI_CLUSTER_CORE_NET_TEST_H

#include "base/prng.h"
#include "cluster/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NET_NODES 5
#define NET_WIRES 256
#define NET_REFS  256
#define MS(n)     ((rusm_time)(n)*1000000u)

enum parcel_kind {
    PARCEL_AUTHENTICATED,
    PARCEL_BYTES,
    PARCEL_CLOSED,
};

struct parcel {
    struct parcel *next;
    enum parcel_kind kind;
    uint64_t age;
    uint64_t code;
    enum rusmi_down_cause cause;
    char text[RUSMI_TEXT_MAX];
    size_t len;
    uint8_t bytes[];
};

struct end {
    int node;
    uint64_t conn;
    bool open; /* the core knows it */
    bool deaf; /* parcels wait and are not delivered */
    struct parcel *first, **last;
};

struct wire {
    struct end ends[2]; /* 0: the dialer */
};

/* The last thing that was told about a ref. */
struct told {
    unsigned times;
    rusm_err err;
    char text[RUSMI_TEXT_MAX];
    char peer[RUSM_NAME_MAX + 1];
    struct rusmi_action *reply; /* a REPLY with a payload */
};

struct net;

struct node {
    struct rusmi_core *core;
    struct rusmi_core_cert cert;
    char address[32];
    struct told dials[NET_REFS], replies[NET_REFS], registered[NET_REFS];
    unsigned conflicts;
    struct rusmi_action *conflict; /* the last one */
    unsigned ups, downs;
    enum rusmi_down_cause last_cause;
    char last_text[RUSMI_TEXT_MAX];
    char last_closed[RUSMI_TEXT_MAX]; /* of the last CLOSE action */
    enum rusmi_close_code last_code;
    /* looks at GROUPS and PEER_DOWN */
    void (*groups)(struct net *net, int i, const struct rusmi_action *action);
    unsigned executes;
    bool hold; /* keep EXECUTEs instead of answering them */
    struct rusmi_actions held;
    struct rusmi_action *flow;
    uint64_t wire_bytes; /* sent on all control streams */
};

struct net {
    rusm_time now;
    uint64_t age;
    struct node nodes[NET_NODES];
    struct wire wires[NET_WIRES];
    size_t wires_len;
    size_t (*choose)(void *arg, size_t options);
    void *choose_arg;
};

static inline void net_free_parcels(struct end *end)
{
    while (end->first != NULL) {
        struct parcel *parcel = end->first;

        end->first = parcel->next;
        free(parcel);
    }
    end->last = &end->first;
}

static inline struct rusmi_core_config net_config(const char *name, uint64_t incarnation,
                                                  enum rusmi_role role, const char *address)
{
    return (struct rusmi_core_config){.cluster = "demo",
                                      .name = name,
                                      .incarnation = incarnation,
                                      .role = role,
                                      .address = address,
                                      .software = "test",
                                      .hello_ms = 5000,
                                      .tick_ms = 2000,
                                      .peers_max = 100,
                                      .names_max = 10000,
                                      .requests_max = 8,
                                      .groups_max = 10000,
                                      .map_seed = {1, 2}};
}

/* Node i with all settings; its certificate says what the config says. */
static inline void net_start_with(struct net *net, int i, const struct rusmi_core_config *cfg)
{
    struct node *node = &net->nodes[i];

    memset(node, 0, sizeof(*node));
    rusmi_actions_init(&node->held);
    (void)snprintf(node->address, sizeof(node->address), "%s", cfg->address);
    (void)snprintf(node->cert.cluster, sizeof(node->cert.cluster), "%s", cfg->cluster);
    (void)snprintf(node->cert.node, sizeof(node->cert.node), "%s", cfg->name);
    node->cert.role = cfg->role;
    assert_int_equal(rusmi_core_new(&node->core, cfg), RUSM_OK);
}

static inline void net_start(struct net *net, int i, const char *name, uint64_t incarnation)
{
    char address[32];
    struct rusmi_core_config cfg;

    (void)snprintf(address, sizeof(address), "10.0.0.%d:1", i);
    cfg = net_config(name, incarnation, RUSMI_ROLE_MEMBER, address);
    net_start_with(net, i, &cfg);
}

static inline void net_init(struct net *net)
{
    memset(net, 0, sizeof(*net));
    net->now = MS(1000);
}

/* The node is gone without a word: its ends of all wires are silent. */
static inline void net_kill(struct net *net, int i)
{
    struct node *node = &net->nodes[i];

    rusmi_core_del(node->core);
    node->core = NULL;
    rusmi_actions_fini(&node->held);
    rusmi_action_del(node->flow);
    node->flow = NULL;
    rusmi_action_del(node->conflict);
    node->conflict = NULL;
    for (size_t r = 0; r < NET_REFS; r++) {
        rusmi_action_del(node->replies[r].reply);
        node->replies[r].reply = NULL;
    }
    for (size_t w = 0; w < net->wires_len; w++) {
        for (int e = 0; e < 2; e++) {
            if (net->wires[w].ends[e].node == i) {
                net->wires[w].ends[e].open = false;
                net->wires[w].ends[e].conn = 0; /* a new core begins to count anew */
                net_free_parcels(&net->wires[w].ends[e]);
            }
        }
    }
}

static inline void net_fini(struct net *net)
{
    for (int i = 0; i < NET_NODES; i++) {
        if (net->nodes[i].core != NULL) {
            net_kill(net, i);
        }
    }
    for (size_t w = 0; w < net->wires_len; w++) {
        net_free_parcels(&net->wires[w].ends[0]);
        net_free_parcels(&net->wires[w].ends[1]);
    }
}

static inline struct parcel *net_post(struct net *net, struct end *to, enum parcel_kind kind,
                                      const void *bytes, size_t len)
{
    struct parcel *parcel = calloc(1, sizeof(struct parcel) + len);

    assert_non_null(parcel);
    parcel->kind = kind;
    parcel->age = net->age++;
    parcel->len = len;
    if (len != 0) {
        memcpy(parcel->bytes, bytes, len);
    }
    *to->last = parcel;
    to->last = &parcel->next;
    return parcel;
}

static inline void net_post_closed(struct net *net, struct end *to, enum rusmi_down_cause cause,
                                   uint64_t code, const char *text)
{
    struct parcel *parcel = net_post(net, to, PARCEL_CLOSED, NULL, 0);

    parcel->cause = cause;
    parcel->code = code;
    (void)snprintf(parcel->text, sizeof(parcel->text), "%s", text);
}

static inline struct end *net_end(struct net *net, int node, uint64_t conn, struct end **out_other)
{
    for (size_t w = 0; w < net->wires_len; w++) {
        for (int e = 0; e < 2; e++) {
            struct end *end = &net->wires[w].ends[e];

            if (end->node == node && end->conn == conn) {
                *out_other = &net->wires[w].ends[1 - e];
                return end;
            }
        }
    }
    fail_msg("node %d has no conn %llu", node, (unsigned long long)conn);
    return NULL;
}

static inline void net_dial_action(struct net *net, int i, const struct rusmi_action *action)
{
    struct wire *wire = &net->wires[net->wires_len++];

    assert_true(net->wires_len <= NET_WIRES);
    memset(wire, 0, sizeof(*wire));
    for (int e = 0; e < 2; e++) {
        wire->ends[e].node = -1;
        wire->ends[e].last = &wire->ends[e].first;
    }
    wire->ends[0].node = i;
    wire->ends[0].conn = action->conn;
    wire->ends[0].open = true;
    for (int n = 0; n < NET_NODES; n++) {
        if (net->nodes[n].core != NULL && strcmp(net->nodes[n].address, action->text) == 0) {
            wire->ends[1].node = n;
            wire->ends[1].conn = rusmi_core_conn_id(net->nodes[n].core);
            wire->ends[1].open = true;
            (void)net_post(net, &wire->ends[0], PARCEL_AUTHENTICATED, NULL, 0);
            (void)net_post(net, &wire->ends[1], PARCEL_AUTHENTICATED, NULL, 0);
        }
    }
    /* An address where nobody listens stays silent. */
}

/* What the node answers; enough to see that every field crosses. */
static inline void net_answer(struct net *net, int i, const struct rusmi_action *action,
                              struct rusmi_actions *out)
{
    struct rusmi_reply reply = {.kind = action->request->kind};
    struct rusmi_process_record process = {.pid = {7, 8}, .label = "worker", .mailbox_len = 9};
    struct rusmi_peer_record peer = {.name = "paris", .incarnation = 4, .rtt_us = 12};
    struct rusmi_name_record name = {.name = "db", .node = "paris", .pid = {4, 5}};
    struct rusmi_group_record group = {.name = "room", .members = 3, .local = 1};

    switch ((enum rusmi_request_kind)action->request->kind) {
    case RUSMI_REQUEST_SPAWN:
        if (strcmp(action->request->name, "missing") == 0) {
            reply.err = RUSM_ENOFACTORY;
            (void)snprintf(reply.detail, sizeof(reply.detail), "no factory \"missing\"");
        }
        reply.pid = (rusm_pid){action->request->args_len + 1, action->request->sender + 1};
        break;
    case RUSMI_REQUEST_PROCESSES:
        reply.cursor = action->request->cursor + action->request->max;
        reply.records.processes = &process;
        reply.records_len = 1;
        break;
    case RUSMI_REQUEST_PEERS:
        reply.records.peers = &peer;
        reply.records_len = 1;
        break;
    case RUSMI_REQUEST_NAMES:
        reply.records.names = &name;
        reply.records_len = 1;
        break;
    case RUSMI_REQUEST_GROUPS:
        reply.records.groups = &group;
        reply.records_len = 1;
        break;
    case RUSMI_REQUEST_WHEREIS:
        reply.pid = (rusm_pid){1, 2};
        break;
    case RUSMI_REQUEST_RELOAD:
    case RUSMI_REQUEST_KILL:
        reply.err = action->request->pid.serial == 1 ? RUSM_ENOPROC : RUSM_OK;
        break;
    }
    rusmi_core_answer(net->nodes[i].core, action->conn, action->request_id, &reply, net->now, out);
}

static inline void net_tell(struct told *told, const struct rusmi_action *action)
{
    told->times++;
    told->err = action->err;
    (void)snprintf(told->text, sizeof(told->text), "%s", action->text);
    (void)snprintf(told->peer, sizeof(told->peer), "%s", action->peer);
}

static inline void net_close_action(struct net *net, int i, const struct rusmi_action *action)
{
    struct node *node = &net->nodes[i];
    struct end *other, *end = net_end(net, i, action->conn, &other);

    assert_true(end->open);
    end->open = false;
    net_free_parcels(end);
    node->last_code = action->code;
    (void)snprintf(node->last_closed, sizeof(node->last_closed), "%s", action->text);
    if (other->open) {
        net_post_closed(net, other, RUSMI_DOWN_BY_PEER, action->code, action->text);
    }
}

/* Keep an action in the place of the one before. */
static inline bool net_keep(struct rusmi_action **place, struct rusmi_action *action)
{
    rusmi_action_del(*place);
    *place = action;
    return true;
}

/* Do what one action says; true if the action was kept. */
static inline bool net_do(struct net *net, int i, struct rusmi_action *action,
                          struct rusmi_actions *more)
{
    struct node *node = &net->nodes[i];
    struct end *end, *other;

    switch (action->kind) {
    case RUSMI_ACTION_DIAL:
        net_dial_action(net, i, action);
        return false;
    case RUSMI_ACTION_SEND:
        end = net_end(net, i, action->conn, &other);
        assert_true(end->open);
        node->wire_bytes += action->len;
        if (other->open) {
            (void)net_post(net, other, PARCEL_BYTES, action->bytes, action->len);
        }
        return false;
    case RUSMI_ACTION_CLOSE:
        net_close_action(net, i, action);
        return false;
    case RUSMI_ACTION_DIALED:
        net_tell(&node->dials[action->ref], action);
        return false;
    case RUSMI_ACTION_PEER_UP:
        node->ups++;
        return false;
    case RUSMI_ACTION_GROUPS:
        if (node->groups != NULL) {
            node->groups(net, i, action);
        }
        return false;
    case RUSMI_ACTION_PEER_DOWN:
        if (node->groups != NULL) {
            node->groups(net, i, action);
        }
        node->downs++;
        node->last_cause = action->cause;
        (void)snprintf(node->last_text, sizeof(node->last_text), "%s", action->text);
        return false;
    case RUSMI_ACTION_REPLY:
        net_tell(&node->replies[action->ref], action);
        return net_keep(&node->replies[action->ref].reply, action);
    case RUSMI_ACTION_EXECUTE:
        node->executes++;
        if (node->hold) {
            rusmi_list_push(&node->held.list, &action->link);
            return true;
        }
        net_answer(net, i, action, more);
        return false;
    case RUSMI_ACTION_FLOW:
        return net_keep(&node->flow, action);
    case RUSMI_ACTION_REGISTERED:
        net_tell(&node->registered[action->ref], action);
        return false;
    case RUSMI_ACTION_CERTIFICATE:
        return false;
    case RUSMI_ACTION_CONFLICT:
        node->conflicts++;
        return net_keep(&node->conflict, action);
    }
    return false;
}

static inline void net_act(struct net *net, int i, struct rusmi_actions *actions)
{
    struct rusmi_action *action;

    while ((action = rusmi_actions_pop(actions)) != NULL) {
        struct rusmi_actions more;

        rusmi_actions_init(&more);
        if (!net_do(net, i, action, &more)) {
            rusmi_action_del(action);
        }
        net_act(net, i, &more);
    }
}

/* Take the first parcel of an end to its core. */
static inline void net_deliver(struct net *net, struct wire *wire, int e)
{
    struct end *end = &wire->ends[e];
    struct parcel *parcel = end->first;
    struct rusmi_core_event event = {.conn = end->conn};
    int far = wire->ends[1 - e].node; /* -1: an address where nobody listens */
    const struct node *other = far < 0 ? NULL : &net->nodes[far];
    int i = end->node;
    struct rusmi_actions actions;

    end->first = parcel->next;
    end->last = end->first == NULL ? &end->first : end->last;
    rusmi_actions_init(&actions);
    switch (parcel->kind) {
    case PARCEL_AUTHENTICATED:
        event.kind = RUSMI_EVENT_AUTHENTICATED;
        event.u.authenticated.dialed = e == 0;
        event.u.authenticated.cert = &other->cert;
        event.u.authenticated.address = other->address;
        break;
    case PARCEL_BYTES:
        event.kind = RUSMI_EVENT_FRAMES;
        event.u.frames.bytes = parcel->bytes;
        event.u.frames.len = parcel->len;
        break;
    case PARCEL_CLOSED:
        event.kind = RUSMI_EVENT_CLOSED;
        event.u.closed.cause = parcel->cause;
        event.u.closed.code = parcel->code;
        event.u.closed.text = parcel->text;
        end->open = false;
        break;
    }
    if (rusmi_core_step(net->nodes[i].core, &event, net->now, &actions) != RUSM_OK) {
        assert_int_equal(parcel->kind, PARCEL_AUTHENTICATED); /* nothing else may fail */
        end->open = false;
        net_post_closed(net, &wire->ends[1 - e], RUSMI_DOWN_BY_PEER, RUSMI_CLOSE_MEMORY, "");
    }
    free(parcel);
    net_act(net, i, &actions);
}

/* Deliver one parcel; false if none is on its way. */
static inline bool net_step(struct net *net)
{
    struct {
        struct wire *wire;
        int e;
    } options[NET_WIRES * 2];
    size_t len = 0, chosen = 0;

    for (size_t w = 0; w < net->wires_len; w++) {
        for (int e = 0; e < 2; e++) {
            struct end *end = &net->wires[w].ends[e];

            if (!end->open) {
                net_free_parcels(end);
            } else if (end->first != NULL && !end->deaf) {
                options[len].wire = &net->wires[w];
                options[len++].e = e;
            }
        }
    }
    if (len == 0) {
        return false;
    }
    if (net->choose != NULL) {
        chosen = net->choose(net->choose_arg, len);
    } else {
        for (size_t o = 1; o < len; o++) {
            if (options[o].wire->ends[options[o].e].first->age <
                options[chosen].wire->ends[options[chosen].e].first->age) {
                chosen = o;
            }
        }
    }
    net_deliver(net, options[chosen].wire, options[chosen].e);
    return true;
}

static inline void net_run(struct net *net)
{
    while (net_step(net)) {
    }
}

/* Let ms pass, with every timer at its time. */
static inline void net_pass(struct net *net, uint64_t ms)
{
    rusm_time until = net->now + MS(ms);

    net_run(net);
    for (;;) {
        rusm_time next = until;
        int who = -1;

        for (int i = 0; i < NET_NODES; i++) {
            if (net->nodes[i].core != NULL && rusmi_core_deadline(net->nodes[i].core) <= next) {
                next = rusmi_core_deadline(net->nodes[i].core);
                who = i;
            }
        }
        net->now = next > net->now ? next : net->now;
        if (who < 0) {
            net->now = until;
            return;
        }
        {
            struct rusmi_core_event event = {.kind = RUSMI_EVENT_TIMER};
            struct rusmi_actions actions;

            rusmi_actions_init(&actions);
            assert_int_equal(rusmi_core_step(net->nodes[who].core, &event, net->now, &actions),
                             RUSM_OK);
            net_act(net, who, &actions);
        }
        net_run(net);
    }
}

static inline rusm_err net_dial(struct net *net, int i, uint64_t ref, const char *address,
                                uint64_t ms)
{
    struct rusmi_actions actions;
    rusm_err err;

    rusmi_actions_init(&actions);
    err = rusmi_core_dial(net->nodes[i].core, ref, address, net->now + MS(ms), net->now, &actions);
    net_act(net, i, &actions);
    return err;
}

/* Dial node j from node i and let everything happen. */
static inline void net_join(struct net *net, int i, int j)
{
    assert_int_equal(net_dial(net, i, 0, net->nodes[j].address, 3000), RUSM_OK);
    net_run(net);
    assert_int_equal(net->nodes[i].dials[0].err, RUSM_OK);
}

static inline rusm_err net_register(struct net *net, int i, const char *name, uint64_t serial)
{
    struct rusmi_actions actions;
    rusm_err err;

    rusmi_actions_init(&actions);
    err = rusmi_core_register(net->nodes[i].core, name, serial, net->now, &actions);
    net_act(net, i, &actions);
    return err;
}

/* Ask all peers of node i for a name; what comes of it is in registered[ref]. */
static inline rusm_err net_register_sync(struct net *net, int i, uint64_t ref, const char *name,
                                         uint64_t serial, uint64_t ms)
{
    struct rusmi_actions actions;
    rusm_err err;

    memset(&net->nodes[i].registered[ref], 0, sizeof(struct told));
    rusmi_actions_init(&actions);
    err = rusmi_core_register_sync(net->nodes[i].core, ref, name, serial, net->now + MS(ms),
                                   net->now, &actions);
    net_act(net, i, &actions);
    return err;
}

static inline rusm_err net_unregister(struct net *net, int i, const char *name)
{
    struct rusmi_actions actions;
    rusm_err err;

    rusmi_actions_init(&actions);
    err = rusmi_core_unregister(net->nodes[i].core, name, net->now, &actions);
    net_act(net, i, &actions);
    return err;
}

/* Who owns name, as node i knows it: "node.serial", or "" if nobody. */
static inline const char *net_owner(struct net *net, int i, const char *name)
{
    static char text[300];
    struct rusmi_core_owner owner;

    text[0] = '\0';
    if (rusmi_core_whereis(net->nodes[i].core, name, &owner)) {
        (void)snprintf(text, sizeof(text), "%s.%llu", owner.node,
                       (unsigned long long)owner.pid.serial);
    }
    return text;
}

static inline rusm_err net_ask(struct net *net, int i, uint64_t ref, const char *peer,
                               const struct rusmi_request *request, uint64_t ms)
{
    struct rusmi_actions actions;
    rusm_err err;

    rusmi_actions_init(&actions);
    err = rusmi_core_request(net->nodes[i].core, ref, peer, request, net->now + MS(ms), net->now,
                             &actions);
    net_act(net, i, &actions);
    return err;
}

static inline struct rusmi_core_stats net_stats(struct net *net, int i)
{
    struct rusmi_core_stats stats;

    rusmi_core_get_stats(net->nodes[i].core, &stats);
    return stats;
}

static inline void net_event(struct net *net, int i, const struct rusmi_core_event *event)
{
    struct rusmi_actions actions;

    rusmi_actions_init(&actions);
    assert_int_equal(rusmi_core_step(net->nodes[i].core, event, net->now, &actions), RUSM_OK);
    net_act(net, i, &actions);
}

/* The conn of node i to the peer of that name; 0 if there is no link. */
static inline uint64_t net_link(struct net *net, int i, const char *peer)
{
    struct rusmi_core_peer found;

    return rusmi_core_find_peer(net->nodes[i].core, peer, &found) ? found.conn : 0;
}

/* Wires that are open at both ends. */
static inline size_t net_wires_open(const struct net *net)
{
    size_t open = 0;

    for (size_t w = 0; w < net->wires_len; w++) {
        open += net->wires[w].ends[0].open && net->wires[w].ends[1].open ? 1 : 0;
    }
    return open;
}

#endif
