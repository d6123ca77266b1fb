/* SPDX-License-Identifier: MIT */
/*
 * What a node holds for its peers, charged to one account (cluster/budget.h,
 * docs/design/memory.md).
 *
 * Each link has two purses: `in`, which its owner alone uses, for the link itself, for what QUIC
 * allocates and for messages of the peer that can not be delivered yet; `out`, under link->lock,
 * for what waits for the peer until it is acknowledged, and for what other threads leave for the
 * owner. Names and members of groups are charged by the core.
 *
 * What has been delivered belongs to its process (mailbox_bytes_max).
 */
#ifndef RUSMI_NODE_MEMORY_H
#define RUSMI_NODE_MEMORY_H

#include <rusm/cluster/node.h>
#include <rusm/err.h>

#include <stddef.h>

struct rusmi_link;

/*
 * What a link takes whatever its peer does: the session of TLS, certificates, the structures of the
 * link and its driver. Measured at 81 KiB for an idle link, with the first blocks of QUIC, which
 * are charged on their own.
 */
#define RUSMI_LINK_BYTES ((size_t)96 * 1024)

/* The rings of the inbox and the sender's table of pairs: order.md, "Limits". Traffic touches all
 * of them sooner or later. */
#define RUSMI_BOXES_BYTES ((size_t)400 * 1024)

/* A sender that finds the budget used up looks again so often: room may come from any link, and a
 * list of all who wait would be touched by every acknowledgement. */
#define RUSMI_MEMORY_WAIT_MS 20

/* cfg->memory_max with its default. Errors: RUSM_EINVAL, it is too small; nothing has changed. */
RUSM_MUST_CHECK rusm_err rusmi_memory_limit(const rusm_node_config *cfg, size_t *out_limit);

/* Of the limit, what ends of streams that peers offer may hold: they are in the runtime, so their
 * part of it is a fixed one. */
size_t rusmi_memory_streams(size_t limit);

/* Handshakes that peers began and that the budget has room for, at a time: at most wanted. */
uint32_t rusmi_memory_handshakes(size_t limit, uint32_t wanted);

/* The window to grant to each peer: less than `wanted` if the budget is small. */
size_t rusmi_memory_window(size_t limit, size_t wanted);

/* Open the purses of a link that is being made. Errors: RUSM_EFULL, counted */
RUSM_MUST_CHECK rusm_err rusmi_memory_open(struct rusmi_link *link);
/* The same for what a link needs beyond its handshake. The owner. */
RUSM_MUST_CHECK rusm_err rusmi_memory_open_boxes(struct rusmi_link *link);
/* Give all back. The owner, or whoever has the only reference; may be called again. */
void rusmi_memory_close(struct rusmi_link *link);

/* Have the endpoint look whether links are in need of what others hold, if some may be. */
void rusmi_memory_look(rusm_node *node);
/* If so, close the link that holds most of what its peer sent, unless one such is ending. The
 * endpoint's driver; takes node->lock. */
void rusmi_memory_relieve(rusm_node *node);

/* What the peer has acknowledged is paid for no longer, if it is worth the lock. The owner. */
void rusmi_memory_settle(struct rusmi_link *link);
/* The same under link->lock, whatever it is worth. */
void rusmi_memory_settle_locked(struct rusmi_link *link);

#endif
