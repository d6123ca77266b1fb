/* SPDX-License-Identifier: MIT */
/*
 * Streams between processes of this node and others: out from the runtime's router, in from a link
 * (docs/design/streams.md). What they mean is the runtime's business.
 */
#ifndef RUSMI_NODE_STREAM_H
#define RUSMI_NODE_STREAM_H

#include "node/link.h"

/* The router's `stream`; arg: the node. */
rusm_err rusmi_streams_route(void *arg, const rusm_stream_signal *signal, int64_t timeout_ms);

/*
 * Such a message has come; msg stays the caller's. RUSM_ENOPROC, RUSM_EFULL: it was an offer, and
 * nobody takes it. RUSM_EPROTO: the link is to end, with *out_why (valid until the next error).
 */
rusm_err rusmi_streams_take(struct rusmi_link *link, const struct rusmi_message_head *head,
                            const rusm_msg *msg, const char **out_why);

#endif
