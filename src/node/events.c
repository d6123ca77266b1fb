/* SPDX-License-Identifier: MIT */
/*
 * Telling processes of nodes that come and go (rusm/cluster/events.h). Who wants to know is in
 * node->listeners, by serial, until its process ends. Everything is under node->lock, in which
 * links go up and down, so the messages of all listeners are in that order. A loss that is told
 * later (groups.c) is not told to who began to listen meanwhile: for it that node never was up.
 */
#include "base/mem.h"
#include "base/utf8.h"
#include "node/signal.h"

#include <rusm/cluster/events.h>

#include <string.h>

/* A process of this node that listens; lives until the process ends or no longer wants to. */
struct listener {
    struct rusmi_map_entry entry; /* in node->listeners, by serial */
    rusm_node *node;
    rusm_exit_watch watch;
    uint64_t serial;
    uint64_t since; /* in the order of node->told_last */
};

_Static_assert((int)RUSM_DOWN_TRANSPORT == (int)RUSMI_DOWN_TRANSPORT, "one list of causes");
_Static_assert(RUSM_NODE_EVENT_TEXT_MAX == RUSMI_TEXT_MAX, "the texts of both fit each other");

void rusmi_events_init(rusm_node *node, const uint64_t seed[2])
{
    rusmi_map_init(&node->listeners, seed[0], seed[1]);
}

void rusmi_events_fini(rusm_node *node)
{
    rusmi_map_fini(&node->listeners); /* empty: every process of the node has ended */
}

static void listener_exited(void *arg, rusm_pid pid, const rusm_reason *reason)
{
    struct listener *listener = arg;
    rusm_node *node = listener->node;

    (void)pid;
    (void)reason;
    rusmi_lock_take(&node->lock);
    rusmi_map_remove(&node->listeners, &listener->entry);
    rusmi_lock_give(&node->lock);
    rusmi_free(listener);
}

/* Under node->lock. */
static rusm_err listener_add(rusm_node *node, rusm_pid self)
{
    struct listener *listener;
    rusm_err err;

    if (rusmi_map_find(&node->listeners, &self.serial, sizeof(self.serial)) != NULL) {
        return RUSM_OK;
    }
    listener = rusmi_zalloc(sizeof(*listener));
    if (listener == NULL) {
        return RUSM_ENOMEM;
    }
    listener->node = node;
    listener->serial = self.serial;
    listener->since = ++node->told_last;
    listener->watch.fn = listener_exited;
    listener->watch.arg = listener;
    if (!rusmi_map_insert(&node->listeners, &listener->entry, &listener->serial,
                          sizeof(listener->serial))) {
        rusmi_free(listener);
        return RUSM_ENOMEM;
    }
    err = rusm_watch_exit(&listener->watch, self);
    if (err != RUSM_OK) {
        rusmi_map_remove(&node->listeners, &listener->entry);
        rusmi_free(listener);
    }
    return err;
}

/* Under node->lock. The process itself asks, so it does not end meanwhile. */
static void listener_remove(rusm_node *node, rusm_pid self)
{
    struct rusmi_map_entry *entry =
        rusmi_map_find(&node->listeners, &self.serial, sizeof(self.serial));
    struct listener *listener;

    if (entry == NULL) {
        return;
    }
    listener = rusmi_container(entry, struct listener, entry);
    if (rusm_unwatch_exit(&listener->watch)) {
        rusmi_map_remove(&node->listeners, &listener->entry);
        rusmi_free(listener);
    }
}

rusm_err rusm_monitor_nodes(bool on)
{
    rusm_node *node = rusmi_node_resolve(NULL);
    rusm_pid self = rusm_self();
    rusm_err err = RUSM_OK;

    if (node == NULL || self.incarnation != node->incarnation) {
        return rusm_set_err_detail(RUSM_ENOCONTEXT, "the caller is no process of a node");
    }
    rusmi_lock_take(&node->lock);
    if (!on) {
        listener_remove(node, self);
    } else {
        err = node->closing ? RUSM_ECLOSED : listener_add(node, self);
    }
    rusmi_lock_give(&node->lock);
    return err == RUSM_OK ? err : rusm_set_err_detail(err, "%s", rusm_err_text(err));
}

const rusm_node_event *rusm_msg_node_event(const rusm_msg *msg)
{
    rusm_msg_kind kind = rusm_msg_get_kind(msg);

    return kind == RUSM_MSG_NODE_UP || kind == RUSM_MSG_NODE_DOWN ? rusm_msg_data(msg) : NULL;
}

const char *rusm_down_cause_name(rusm_down_cause cause)
{
    return rusmi_down_cause_text((enum rusmi_down_cause)cause);
}

static void tell(rusm_node *node, const struct listener *listener, const rusm_node_event *event)
{
    rusm_msg *msg;

    if (rusm_msg_new(&msg, sizeof(*event)) != RUSM_OK) {
        rusmi_count(&node->counters.dropped_nomem, 1);
        return;
    }
    memcpy(rusm_msg_data(msg), event, sizeof(*event));
    rusm_msg_set_sender(msg, RUSM_PID_NONE);
    rusm_msg_set_kind(msg, event->up ? RUSM_MSG_NODE_UP : RUSM_MSG_NODE_DOWN, 0);
    if (rusm_deliver(node->runtime, listener->serial, msg) != RUSM_OK) {
        rusm_msg_del(msg); /* it ends just now */
    }
}

/* Tell those who listen since then or longer. */
static void tell_all(rusm_node *node, const rusm_node_event *event, uint64_t since)
{
    rusmi_map_each(&node->listeners, entry, position, following)
    {
        const struct listener *listener = rusmi_container(entry, struct listener, entry);

        if (listener->since <= since) {
            tell(node, listener, event);
        }
    }
}

void rusmi_events_up(struct rusmi_link *link)
{
    rusm_node_event event = {.up = true, .incarnation = link->incarnation};

    if (link->hidden) {
        return;
    }
    memcpy(event.node, link->name, sizeof(event.node));
    link->announced = true;
    tell_all(link->node, &event, UINT64_MAX);
}

void rusmi_events_down(struct rusmi_link *link, enum rusmi_down_cause cause, const char *text)
{
    rusm_node_event event = {.cause = (rusm_down_cause)cause, .incarnation = link->incarnation};

    if (!link->announced) {
        return;
    }
    link->announced = false;
    memcpy(event.node, link->name, sizeof(event.node));
    memcpy(event.text, text, rusmi_utf8_cut(text, strlen(text), sizeof(event.text) - 1));
    tell_all(link->node, &event, link->leaving.since == 0 ? UINT64_MAX : link->leaving.since);
}
