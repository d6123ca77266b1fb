/* SPDX-License-Identifier: MIT */
/*
 * Between the protocol core and the world: events in under node->lock, actions carried out in their
 * order under the same lock, so that control frames leave in the order in which the core decided
 * them. Only what peers asked to be executed here waits until the lock is free, because it calls
 * into the runtime and into users' factories.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "node/call.h"
#include "node/execute.h"
#include "node/groups.h"
#include "node/link.h"
#include "node/link_io.h"
#include "node/signal.h"

#include <string.h>

/* How long a link that is closed in peace may still hand its messages to the network. */
#define FLUSH_NS ((rusm_time)1000 * 1000 * 1000)

static struct rusmi_link *find_link(rusm_node *node, uint64_t conn)
{
    struct rusmi_map_entry *entry = rusmi_map_find(&node->links, &conn, sizeof(conn));

    return entry == NULL ? NULL : rusmi_container(entry, struct rusmi_link, by_id);
}

void rusmi_node_forget(struct rusmi_link *link)
{
    rusm_node *node = link->node;
    bool found;

    rusmi_lock_take(&node->lock);
    found = find_link(node, link->id) == link;
    if (found) {
        rusmi_map_remove(&node->links, &link->by_id);
    }
    rusmi_lock_give(&node->lock);
    if (found) {
        rusmi_link_drop(link);
    }
}

/* The core hears of a dial that can not even begin as of any other: by its conn's end. */
static void fail_dial(rusm_node *node, uint64_t conn, rusm_err err, const char *text,
                      struct rusmi_actions *more)
{
    struct rusmi_core_event event = {.kind = RUSMI_EVENT_CLOSED, .conn = conn};

    event.u.closed.cause = RUSMI_DOWN_TRANSPORT;
    event.u.closed.err = err;
    event.u.closed.text = text;
    (void)!rusmi_core_step(node->core, &event, rusm_now(), more); /* a CLOSED event never fails */
}

static void dial(rusm_node *node, const struct rusmi_action *action, struct rusmi_actions *more)
{
    struct rusmi_address remote;
    struct rusmi_link *link;
    rusm_err err;

    if (!rusmi_address_parse(action->text, &remote)) {
        fail_dial(node, action->conn, RUSM_EINVAL, "the address is not numeric \"host:port\"",
                  more);
        return;
    }
    err = rusmi_link_new(&link, node, action->conn, true, &remote, NULL, NULL, NULL);
    if (err != RUSM_OK) {
        fail_dial(node, action->conn, err, rusm_err_detail(), more);
        return;
    }
    if (rusmi_map_insert(&node->links, &link->by_id, &link->id, sizeof(link->id))) {
        (void)rusmi_link_hold(link);
        rusmi_link_post(link);
    } else {
        rusmi_link_close(link, RUSMI_CLOSE_MEMORY, "out of memory", 0);
        fail_dial(node, action->conn, RUSM_ENOMEM, "out of memory", more);
    }
    rusmi_link_drop(link);
}

static void peer_up(struct rusmi_link *link, const struct rusmi_action *action)
{
    memcpy(link->name, action->peer, strlen(action->peer) + 1);
    link->incarnation = action->incarnation;
    link->role = (rusm_role)action->role;
    link->hidden = action->hidden;
    link->version = action->version;
    link->cert_not_after = link->peer.not_after;
    link->up_since = rusm_now();
    /*
     * In this order: who finds the link among the peers may send; once the runtime knows of the
     * node ties are made; and nothing of the node is delivered before the listeners know of it.
     */
    rusmi_link_open_queue(link);
    rusmi_peers_add(link);
    if (!link->listed || !rusmi_signals_up(link)) {
        rusmi_link_close(link, RUSMI_CLOSE_MEMORY, "no room in the tables of peers", 0);
        return;
    }
    rusmi_groups_peer_up(link);
    rusmi_events_up(link);
    rusmi_link_begin(link);
}

/* After this nothing comes from that node any more, and whoever has to hear of its loss has. */
static void peer_down(struct rusmi_link *link, const struct rusmi_action *action)
{
    rusmi_peers_remove(link);
    rusmi_link_shut_queue(link, false);
    rusmi_gate_cut(link);
#ifdef RUSMI_PLANT_EVENTS
    rusmi_events_down(link, action->cause, action->text);
#endif
    rusmi_signals_down(link, action->text);
    rusmi_groups_peer_down(link, action->cause, action->text);
}

static rusm_time flush_time(const rusm_node *node, enum rusmi_close_code code)
{
    if (code == RUSMI_CLOSE_LEFT || (code == RUSMI_CLOSE_SHUTDOWN && node->leave_ns != 0)) {
        return node->leave_ns;
    }
    return code == RUSMI_CLOSE_NORMAL || code == RUSMI_CLOSE_SHUTDOWN ? FLUSH_NS : 0;
}

static void flow(struct rusmi_link *link, const struct rusmi_flow *flow)
{
    uint8_t key[RUSMI_BUSY_KEY_MAX];
    size_t len = rusmi_busy_key(key, flow->serial, flow->name[0] != '\0' ? flow->name : NULL,
                                strlen(flow->name));

    rusmi_link_set_busy(link, key, len, flow->on);
}

/* Returns true if the action was kept. */
static bool carry_out(rusm_node *node, struct rusmi_action *action, struct rusmi_actions *more)
{
    struct rusmi_link *link = action->conn == 0 ? NULL : find_link(node, action->conn);

    switch (action->kind) {
    case RUSMI_ACTION_DIAL:
        dial(node, action, more);
        break;
    case RUSMI_ACTION_SEND:
        if (link != NULL) {
            rusmi_link_control(link, action->bytes, action->len);
        }
        break;
    case RUSMI_ACTION_CLOSE:
        if (link != NULL) {
            rusmi_link_close(link, action->code, action->text, flush_time(node, action->code));
        }
        break;
    case RUSMI_ACTION_PEER_UP:
        if (link != NULL) {
            peer_up(link, action);
            rusmi_trust_up(link, more);
        }
        break;
    case RUSMI_ACTION_PEER_DOWN:
        if (link != NULL) {
            peer_down(link, action);
        } else {
            rusm_runtime_group_remote_drop(node->runtime, action->incarnation);
        }
        break;
    case RUSMI_ACTION_DIALED:
    case RUSMI_ACTION_REPLY:
    case RUSMI_ACTION_REGISTERED:
        return rusmi_call_complete(node, action);
    case RUSMI_ACTION_EXECUTE:
        rusmi_list_push(&node->todo, &action->link);
        return true;
    case RUSMI_ACTION_GROUPS:
        rusmi_groups_carry_out(node, action, more);
        break;
    case RUSMI_ACTION_FLOW:
        if (link != NULL) {
            flow(link, action->flow);
        }
        break;
    case RUSMI_ACTION_CERTIFICATE:
        if (link != NULL) {
            rusmi_trust_shown(link, action->certificate, more);
        }
        break;
    case RUSMI_ACTION_CONFLICT:
        rusmi_names_conflict(node, action);
        break;
    }
    return false;
}

/* Take one request of a peer out of the list; NULL if there is none. */
static struct rusmi_action *next_todo(rusm_node *node)
{
    struct rusmi_list *first;

    rusmi_lock_take(&node->lock);
    first = rusmi_list_pop(&node->todo);
    rusmi_lock_give(&node->lock);
    return first == NULL ? NULL : rusmi_container(first, struct rusmi_action, link);
}

/* Whether something is to be executed here; carrying out actions never adds such a one. */
static bool asks_to_execute(const struct rusmi_actions *actions)
{
    for (const struct rusmi_list *n = actions->list.next; n != &actions->list; n = n->next) {
        if (rusmi_container(n, struct rusmi_action, link)->kind == RUSMI_ACTION_EXECUTE) {
            return true;
        }
    }
    return false;
}

void rusmi_node_settle(rusm_node *node, struct rusmi_actions *actions)
{
    struct rusmi_action *action;
    uint64_t deadline;

    /* Carrying out an action may add others at the end (a dial that fails at once). */
    while ((action = rusmi_actions_pop(actions)) != NULL) {
        rusmi_list_init(&action->link);
        if (!carry_out(node, action, actions)) {
            rusmi_action_del(action);
        }
    }
    rusmi_actions_fini(actions);
    deadline = rusmi_core_deadline(node->core);
    if (deadline != atomic_load(&node->core_deadline)) {
        bool sooner = deadline < atomic_load(&node->core_deadline);

        atomic_store(&node->core_deadline, deadline);
        if (sooner && atomic_load(&node->links_alive) > 0) {
            rusmi_endpoint_post(node);
        }
    }
    rusmi_lock_give(&node->lock);
}

void rusmi_node_finish(rusm_node *node, struct rusmi_actions *actions)
{
    struct rusmi_action *action;
    bool execute = asks_to_execute(actions);

    rusmi_node_settle(node, actions);
    if (execute) {
        while ((action = next_todo(node)) != NULL) {
            rusmi_execute(node, action);
        }
    }
}

rusm_err rusmi_node_step(rusm_node *node, const struct rusmi_core_event *event)
{
    struct rusmi_actions actions;
    rusm_err err;

    rusmi_actions_init(&actions);
    rusmi_lock_take(&node->lock);
    err = rusmi_core_step(node->core, event, rusm_now(), &actions);
    rusmi_node_finish(node, &actions);
    return err;
}
