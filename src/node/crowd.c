/* SPDX-License-Identifier: MIT */
/*
 * Slowing remote senders down while a mailbox here is crowded (docs/design/flow.md).
 *
 * The runtime says when a mailbox becomes crowded and when it no longer is. While it is, every
 * destination (serial or name) through which a message of some peer reaches it is told to that peer
 * once, by a *flow* frame; when it no longer is, or its process ends, all of them are taken back.
 * What is told is kept per crowded process.
 *
 * The runtime says so under a lock of its own, and messages are also delivered under node->lock, so
 * the callback must not take that: what is to be taken back is left to the endpoint's driver.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "node/link.h"

#include <string.h>

/* One destination that one peer was told about. */
struct told {
    struct rusmi_list node;
    uint64_t serial; /* of the crowded process */
    uint64_t conn;
    struct rusmi_flow flow;
};

struct crowded {
    struct rusmi_map_entry entry; /* by serial */
    uint64_t serial;
    struct rusmi_list told;
};

static void send_flow(rusm_node *node, uint64_t conn, const struct rusmi_flow *flow)
{
    struct rusmi_actions actions;

    rusmi_actions_init(&actions);
    rusmi_lock_take(&node->lock);
    rusmi_core_flow(node->core, conn, flow, rusm_now(), &actions);
    rusmi_node_settle(node, &actions); /* flow frames ask for nothing to be executed */
}

static struct crowded *find(rusm_node *node, uint64_t serial)
{
    struct rusmi_map_entry *entry = rusmi_map_find(&node->crowded, &serial, sizeof(serial));

    return entry == NULL ? NULL : rusmi_container(entry, struct crowded, entry);
}

/* Under crowd_lock. Without memory nobody is slowed down: the mailbox grows, nothing is lost. */
static void become_crowded(rusm_node *node, uint64_t serial)
{
    struct crowded *crowded = rusmi_zalloc(sizeof(*crowded));

    if (crowded == NULL) {
        return;
    }
    crowded->serial = serial;
    rusmi_list_init(&crowded->told);
    if (find(node, serial) != NULL ||
        !rusmi_map_insert(&node->crowded, &crowded->entry, &crowded->serial,
                          sizeof(crowded->serial))) {
        rusmi_free(crowded);
        return;
    }
    /* relaxed: a hint for rusmi_crowd_delivered, which then takes the lock */
    (void)atomic_fetch_add_explicit(&node->crowded_len, 1, memory_order_relaxed);
}

/* The runtime's callback, on any thread, under a lock of the runtime. */
static void on_crowd(void *arg, rusm_pid pid, bool now_crowded)
{
    rusm_node *node = arg;
    struct crowded *crowded = NULL;
    struct rusmi_list *first;
    bool post = false;

    rusmi_lock_take(&node->crowd_lock);
    if (now_crowded) {
        become_crowded(node, pid.serial);
    } else {
        crowded = find(node, pid.serial);
        if (crowded != NULL) {
            rusmi_map_remove(&node->crowded, &crowded->entry);
            /* relaxed: as above */
            (void)atomic_fetch_sub_explicit(&node->crowded_len, 1, memory_order_relaxed);
            while ((first = rusmi_list_pop(&crowded->told)) != NULL) {
                rusmi_list_push(&node->uncrowded, first);
                post = true;
            }
        }
    }
    rusmi_lock_give(&node->crowd_lock);
    if (post && atomic_load(&node->links_alive) > 0) {
        rusmi_endpoint_post(node);
    }
    rusmi_free(crowded); /* in no map any more, and its list is empty */
}

static bool same(const struct told *told, uint64_t conn, const struct rusmi_flow *flow)
{
    return told->conn == conn && told->flow.serial == flow->serial &&
           strcmp(told->flow.name, flow->name) == 0;
}

/* Under crowd_lock. */
static bool is_told(const struct crowded *crowded, uint64_t conn, const struct rusmi_flow *flow)
{
    for (struct rusmi_list *n = crowded->told.next; n != &crowded->told; n = n->next) {
        if (same(rusmi_container(n, struct told, node), conn, flow)) {
            return true;
        }
    }
    return false;
}

/* Under crowd_lock: note that conn is told; false if it was already, or memory is short. */
static bool note(struct crowded *crowded, uint64_t conn, const struct rusmi_flow *flow)
{
    struct told *told;

    if (is_told(crowded, conn, flow)) {
        return false;
    }
    told = rusmi_alloc(sizeof(*told));
    if (told == NULL) {
        return false;
    }
    told->serial = crowded->serial;
    told->conn = conn;
    told->flow = *flow;
    rusmi_list_init(&told->node);
    rusmi_list_push_front(&crowded->told, &told->node);
    return true;
}

void rusmi_crowd_delivered(rusm_node *node, struct rusmi_link *link, uint64_t serial,
                           const char *name, size_t name_len, rusm_pid pid)
{
    struct rusmi_flow flow = {.serial = name == NULL ? serial : 0, .on = true};
    struct crowded *crowded;
    bool tell = false;

    if (name != NULL) {
        memcpy(flow.name, name, name_len);
    }
    rusmi_lock_take(&node->crowd_lock);
    crowded = find(node, pid.serial);
    if (crowded != NULL) {
        tell = note(crowded, link->id, &flow);
    }
    rusmi_lock_give(&node->crowd_lock);
    /*
     * Between the lock and this frame the mailbox may have emptied and sent its "off" first: the
     * peer would stay slow for a destination that is free. So look again afterwards, and take it
     * back.
     */
    if (tell) {
        send_flow(node, link->id, &flow);
        rusmi_lock_take(&node->crowd_lock);
        tell = find(node, pid.serial) == NULL;
        rusmi_lock_give(&node->crowd_lock);
        if (tell) {
            flow.on = false;
            send_flow(node, link->id, &flow);
        }
    }
}

void rusmi_crowd_drain(rusm_node *node)
{
    for (;;) {
        struct crowded *crowded;
        struct rusmi_list *first;
        struct told *told;
        bool again;

        rusmi_lock_take(&node->crowd_lock);
        first = rusmi_list_pop(&node->uncrowded);
        rusmi_lock_give(&node->crowd_lock);
        if (first == NULL) {
            return;
        }
        told = rusmi_container(first, struct told, node);
        told->flow.on = false;
        send_flow(node, told->conn, &told->flow);
        /* If it became crowded again meanwhile, and its "on" has overtaken this, it is repeated. */
        rusmi_lock_take(&node->crowd_lock);
        crowded = find(node, told->serial);
        again = crowded != NULL && is_told(crowded, told->conn, &told->flow);
        rusmi_lock_give(&node->crowd_lock);
        if (again) {
            told->flow.on = true;
            send_flow(node, told->conn, &told->flow);
        }
        rusmi_free(told);
    }
}

/* Move what conn was told from one list to another. Under crowd_lock. */
static void take_told(struct rusmi_list *from, uint64_t conn, struct rusmi_list *to)
{
    for (struct rusmi_list *n = from->next, *next; n != from; n = next) {
        next = n->next;
        if (rusmi_container(n, struct told, node)->conn == conn) {
            rusmi_list_remove(n);
            rusmi_list_push(to, n);
        }
    }
}

void rusmi_crowd_forget(rusm_node *node, uint64_t conn)
{
    struct rusmi_list gone, *first;

    rusmi_list_init(&gone);
    rusmi_lock_take(&node->crowd_lock);
    rusmi_map_each(&node->crowded, entry, position, following)
    {
        take_told(&rusmi_container(entry, struct crowded, entry)->told, conn, &gone);
    }
    take_told(&node->uncrowded, conn, &gone);
    rusmi_lock_give(&node->crowd_lock);
    while ((first = rusmi_list_pop(&gone)) != NULL) {
        rusmi_free(rusmi_container(first, struct told, node));
    }
}

void rusmi_crowd_init(rusm_node *node)
{
    rusm_runtime_watch_mailboxes(node->runtime, node->cfg.mailbox_high, node->cfg.mailbox_high / 4,
                                 node->cfg.mailbox_bytes_max, on_crowd, node);
}

void rusmi_crowd_fini(rusm_node *node)
{
    struct rusmi_list *first;

    rusm_runtime_watch_mailboxes(node->runtime, 0, 0, 0, NULL, NULL);
    rusmi_map_each(&node->crowded, entry, position, following)
    {
        struct crowded *crowded = rusmi_container(entry, struct crowded, entry);

        rusmi_map_remove(&node->crowded, entry);
        while ((first = rusmi_list_pop(&crowded->told)) != NULL) {
            rusmi_list_push(&node->uncrowded, first);
        }
        rusmi_free(crowded);
    }
    while ((first = rusmi_list_pop(&node->uncrowded)) != NULL) {
        rusmi_free(rusmi_container(first, struct told, node));
    }
    rusmi_map_fini(&node->crowded);
}
