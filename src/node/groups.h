/* SPDX-License-Identifier: MIT */
/* Members of groups on several nodes: see groups.c. */
#ifndef RUSMI_NODE_GROUPS_H
#define RUSMI_NODE_GROUPS_H

#include "node/node.h"
#include "wire/message.h"

struct rusmi_link;

/* Begin and end to follow the groups of the node's runtime; the core exists, and no process of the
 * runtime lives at the end. */
void rusmi_groups_open(rusm_node *node);
void rusmi_groups_close(rusm_node *node);

/* The endpoint's driver: tell the peers what is new. Returns when to come again at the latest. */
rusm_time rusmi_groups_drain(rusm_node *node, rusm_time now);

/* Carry out a GROUPS action. Under node->lock. */
void rusmi_groups_carry_out(rusm_node *node, const struct rusmi_action *action,
                            struct rusmi_actions *more);
/* The link to a node is lost, and with it its members; when all have left, perhaps later, the
 * listeners are told. Under node->lock. */
void rusmi_groups_peer_down(struct rusmi_link *link, enum rusmi_down_cause cause, const char *text);
/* A node of that name or incarnation is back: its loss is over and told. Under node->lock. */
void rusmi_groups_peer_up(const struct rusmi_link *link);

/* A message for the members of a group here, its sender set. Takes it. */
void rusmi_groups_deliver(rusm_node *node, const struct rusmi_message_head *head, rusm_msg *msg);

/* For the runtime's router. */
void rusmi_groups_news(void *arg);
rusm_err rusmi_groups_send(void *arg, rusm_pid from, uint64_t incarnation, const char *group,
                           const void *data, size_t len, int64_t timeout_ms);

#endif
