/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Hearing of nodes that come and go (OTP, net_kernel:monitor_nodes/2).
 */
#ifndef RUSM_CLUSTER_EVENTS_H
#define RUSM_CLUSTER_EVENTS_H

#include <rusm/cluster/node.h>
#include <rusm/otp/message.h>

RUSM_BEGIN_DECLS

/** Why the link to a node was lost. */
typedef enum rusm_down_cause {
    RUSM_DOWN_BY_PEER = 0,      /**< the peer closed it; the text says why */
    RUSM_DOWN_SILENT = 1,       /**< time-out: nothing was heard for a tick */
    RUSM_DOWN_TLS = 2,          /**< a TLS alert or a failed verification */
    RUSM_DOWN_PROTOCOL = 3,     /**< the peer broke the protocol */
    RUSM_DOWN_REVOKED = 4,      /**< its certificate is no longer trusted, or has expired */
    RUSM_DOWN_SHUTDOWN = 5,     /**< this node shut down */
    RUSM_DOWN_DISCONNECTED = 6, /**< rusm_node_disconnect() */
    RUSM_DOWN_REPLACED = 7,     /**< a newer link took its place, as of a restarted node */
    RUSM_DOWN_REFUSED = 8,      /**< this node refused the peer */
    RUSM_DOWN_MEMORY = 9,       /**< out of memory here */
    RUSM_DOWN_TRANSPORT = 10,   /**< anything else that the network reported */
    RUSM_DOWN_LEFT = 11,        /**< the node left the cluster in good order */
} rusm_down_cause;

/** A cause in words, such as "time-out" for RUSM_DOWN_SILENT; what it came from, as "london:
 * time-out, last heard 10.2 s ago", is in rusm_node_event.text. Owns: nothing; the text is
 * constant. Threads: any. */
RUSM_API const char *rusm_down_cause_name(rusm_down_cause cause);

/** Bytes of the text of a node event, with the final NUL. */
#define RUSM_NODE_EVENT_TEXT_MAX 384

/** A node that came up or went down. */
typedef struct rusm_node_event {
    bool up;
    rusm_down_cause cause; /**< of a node that went down */
    uint64_t incarnation;
    char node[RUSM_NAME_MAX + 1];
    char text[RUSM_NODE_EVENT_TEXT_MAX]; /**< of a node that went down: why, in words; may be cut */
} rusm_node_event;

/**
 * Say whether the calling process wants to be told of nodes: each link to a member of the cluster
 * that comes up or goes down is one message of kind RUSM_MSG_NODE_UP or RUSM_MSG_NODE_DOWN.
 *
 * The message about a node that came up is in the mailbox before anything that comes from that
 * node, and the one about its loss after all that came from it, and after the downs and exits with
 * reason *noconnection* that the loss caused, and after its processes have left all groups (which
 * takes seconds if they were in a million). For each node the two alternate. Nodes that are up
 * already are not told of: rusm_peer_list() has them.
 *
 * Threads: in context of a process that belongs to the node.
 * Errors:  RUSM_ENOCONTEXT, RUSM_ENOMEM, RUSM_ECLOSED
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_monitor_nodes(bool on);

/** What a message of kind RUSM_MSG_NODE_UP or RUSM_MSG_NODE_DOWN says; NULL for any other. Owns:
 * nothing; valid as long as the message. */
RUSM_API const rusm_node_event *rusm_msg_node_event(const rusm_msg *msg);

RUSM_END_DECLS

#endif
