/* SPDX-License-Identifier: MIT */
/*
 * Members of groups between the runtime and the core (docs/design/groups.md).
 *
 * Ours: the runtime says that there is news, on any thread and perhaps while a process ends; the
 * endpoint's driver then takes it in order and gives it to the core, which tells the peers. Theirs:
 * what the core heard is entered into the runtime's groups under node->lock, and goes with the
 * link: a slice of them at a time under node->lock, because a million take seconds; who listens for
 * nodes is told when the last has left, or, if the node is back before, all leave at once then.
 *
 * Lock order: node->lock, then the groups' lock of the runtime, which is why news is not told where
 * it is made. A message to a group is handed to the members here by the thread that runs the link,
 * under no lock, and goes no further.
 */
#include "node/groups.h"

#include "node/link.h"
#include "node/signal.h"

#include <stdio.h>
#include <string.h>

/* Pieces of news that one run of the driver tells; then others have their turn. */
#define PIECES_MAX 32u

/* Members of a lost node that leave while node->lock is held: some 0.3 ms, then others have it. */
#define SLICE 256u

/* Without memory for news, it is tried again after so long. */
#define AGAIN_NS ((rusm_time)100 * 1000 * 1000)

/* ---- ours ------------------------------------------------------------------------------------ */

void rusmi_groups_open(rusm_node *node)
{
    rusm_runtime_group_follow(node->runtime, true);
}

void rusmi_groups_close(rusm_node *node)
{
    struct rusmi_list *first;

    rusm_runtime_group_follow(node->runtime, false);
    while ((first = rusmi_list_pop(&node->leaving)) != NULL) {
        /* There is nobody left to be told. */
        rusmi_link_drop(rusmi_container(first, struct rusmi_link, leaving.in_node));
    }
}

void rusmi_groups_news(void *arg)
{
    rusm_node *node = arg;

    atomic_store(&node->groups.pending, true);
    rusmi_endpoint_post(node);
}

/* Give the core what was taken; false without memory: the rest waits. */
static bool tell_core(rusm_node *node)
{
    struct rusmi_group_news *news = &node->groups;
    struct rusmi_group_change changes[RUSMI_NEWS_MAX];
    struct rusmi_actions actions;
    size_t len = news->len - news->told;

    for (size_t i = 0; i < len; i++) {
        const rusm_group_change *change = &news->changes[news->told + i];

        changes[i] = (struct rusmi_group_change){.group = change->group,
                                                 .group_len = strlen(change->group),
                                                 .serial = change->serial,
                                                 .joined = change->joined};
    }
    rusmi_actions_init(&actions);
    rusmi_lock_take(&node->lock);
    news->told += rusmi_core_groups(node->core, changes, len, rusm_now(), &actions);
    rusmi_node_settle(node, &actions); /* telling peers asks for nothing to be executed */
    return news->told == news->len;
}

/* Tell the core what is new. Returns when to come again at the latest. */
static rusm_time tell_news(rusm_node *node, rusm_time now)
{
    struct rusmi_group_news *news = &node->groups;

    if (!atomic_load(&news->pending)) {
        return RUSMI_TIME_NEVER;
    }
    /* Before looking: what comes after this is told of again. */
    atomic_store(&news->pending, false);
    for (unsigned pieces = 0; pieces < PIECES_MAX; pieces++) {
        if (news->told == news->len) {
            news->told = 0;
            news->len = rusm_runtime_group_take(node->runtime, news->changes, RUSMI_NEWS_MAX);
            if (news->len == 0) {
                return RUSMI_TIME_NEVER;
            }
        }
        if (!tell_core(node)) {
            atomic_store(&news->pending, true);
            return now + AGAIN_NS;
        }
    }
    atomic_store(&news->pending, true);
    rusmi_endpoint_post(node);
    return RUSMI_TIME_NEVER;
}

/* ---- theirs ---------------------------------------------------------------------------------- */

void rusmi_groups_carry_out(rusm_node *node, const struct rusmi_action *action,
                            struct rusmi_actions *more)
{
    for (size_t i = 0; i < action->len; i++) {
        const struct rusmi_group_change *change = &action->groups[i];
        const rusm_pid pid = {action->incarnation, change->serial};

        if (!change->joined) {
            rusm_runtime_group_remote_del(node->runtime, change->group, change->group_len, pid);
        } else if (rusm_runtime_group_remote_add(node->runtime, change->group, change->group_len,
                                                 pid) != RUSM_OK) {
            /* A group that lacks a member for ever would be worse than a link that comes again. */
            rusmi_core_close(node->core, action->conn, RUSMI_CLOSE_MEMORY, RUSMI_DOWN_MEMORY,
                             "no memory for members of groups", rusm_now(), more);
            return;
        }
    }
}

/* The members of a lost node have left: nobody is to hear of the loss before. */
static void left(struct rusmi_link *link)
{
    rusmi_list_remove(&link->leaving.in_node);
    rusmi_events_down(link, link->leaving.cause, link->leaving.text);
    rusmi_link_drop(link);
}

void rusmi_groups_peer_down(struct rusmi_link *link, enum rusmi_down_cause cause, const char *text)
{
    rusm_node *node = link->node;

#ifdef RUSMI_PLANT_GROUPS
    rusmi_events_down(link, cause, text);
    return;
#endif
    if (rusm_runtime_group_remote_drop_some(node->runtime, link->incarnation, SLICE)) {
        rusmi_events_down(link, cause, text);
        return;
    }
    link->leaving.since = ++node->told_last;
    link->leaving.cause = cause;
    (void)snprintf(link->leaving.text, sizeof(link->leaving.text), "%s", text);
    rusmi_list_push(&node->leaving, &rusmi_link_hold(link)->leaving.in_node);
    rusmi_endpoint_post(node);
}

void rusmi_groups_peer_up(const struct rusmi_link *link)
{
    struct rusmi_list *at = link->node->leaving.next, *next;

    for (; at != &link->node->leaving; at = next) {
        struct rusmi_link *old = rusmi_container(at, struct rusmi_link, leaving.in_node);

        next = at->next;
        if (old->incarnation == link->incarnation || strcmp(old->name, link->name) == 0) {
            rusm_runtime_group_remote_drop(link->node->runtime, old->incarnation);
            left(old);
        }
    }
}

/* Let some members of lost nodes leave. True: there are more. */
static bool leave_some(rusm_node *node)
{
    bool more;

    rusmi_lock_take(&node->lock);
    if (!rusmi_list_empty(&node->leaving)) {
        struct rusmi_link *link =
            rusmi_container(node->leaving.next, struct rusmi_link, leaving.in_node);

        if (rusm_runtime_group_remote_drop_some(node->runtime, link->incarnation, SLICE)) {
            left(link);
        }
    }
    more = !rusmi_list_empty(&node->leaving);
    rusmi_lock_give(&node->lock);
    return more;
}

rusm_time rusmi_groups_drain(rusm_node *node, rusm_time now)
{
    if (leave_some(node)) {
        rusmi_endpoint_post(node);
    }
    return tell_news(node, now);
}

/* ---- messages -------------------------------------------------------------------------------- */

void rusmi_groups_deliver(rusm_node *node, const struct rusmi_message_head *head, rusm_msg *msg)
{
    ptrdiff_t sent = rusm_runtime_group_deliver(node->runtime, head->name, head->name_len, msg);

    if (sent < 0) {
        rusmi_count(sent == RUSM_ENONAME ? &node->counters.dropped_noname
                                         : &node->counters.dropped_nomem,
                    1);
        rusm_msg_del(msg);
    }
}

rusm_err rusmi_groups_send(void *arg, rusm_pid from, uint64_t incarnation, const char *group,
                           const void *data, size_t len, int64_t timeout_ms)
{
    rusm_node *node = arg;
    struct rusmi_message_head head = {.kind = RUSMI_MESSAGE_TO_GROUP,
                                      .sender =
                                          from.incarnation == node->incarnation ? from.serial : 0,
                                      .name = group,
                                      .name_len = (uint8_t)strlen(group)};
    uint8_t key[RUSMI_BUSY_KEY_MAX] = {'g'};
    struct rusmi_link *link = rusmi_peers_find_incarnation(node, incarnation);
    struct rusmi_out *out;
    rusm_err err;

    if (link == NULL) {
        return RUSM_ENONODE;
    }
    err = rusmi_out_new(&out, &head, data, len);
    if (err == RUSM_OK) {
        memcpy(key + 1, group, head.name_len); /* a destination that no peer slows down for */
        err = rusmi_link_send(link, out, key, 1 + (size_t)head.name_len, timeout_ms);
        if (err != RUSM_OK) {
            rusmi_out_del(out);
        }
    }
    rusmi_link_drop(link);
    return err;
}
