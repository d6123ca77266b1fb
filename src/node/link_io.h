/* SPDX-License-Identifier: MIT */
/* The sockets of a link, used by its owner only: see link_io.c. */
#ifndef RUSMI_NODE_LINK_IO_H
#define RUSMI_NODE_LINK_IO_H

#include "node/link.h"

/* A dialed link: open its connected socket. out_local gets the address that it sends from. */
rusm_err rusmi_link_open_socket(struct rusmi_link *link, struct rusmi_address *out_local);
/* An accepted link whose peer is authenticated: give it a connected socket of its own, if the
 * system lets us. */
void rusmi_link_promote(struct rusmi_link *link);
void rusmi_link_close_socket(struct rusmi_link *link);
/* Read the link's own socket, a bounded number of times. */
void rusmi_link_receive(struct rusmi_link *link, rusm_time now);
/* Feed datagrams of `segment` bytes each (the last may be shorter) that came from `from`. */
void rusmi_link_feed(struct rusmi_link *link, const struct rusmi_address *from, const uint8_t *data,
                     size_t len, size_t segment, rusm_time now);
/* Write what QUIC has to say, a bounded number of batches; posts the driver again if there is more.
 */
void rusmi_link_write(struct rusmi_link *link, rusm_time now);

/* ---- endpoint.c: which link a connection id of this node belongs to ---- */
void rusmi_cids_add(struct rusmi_link *link, const uint8_t *data, size_t len);
void rusmi_cids_remove(struct rusmi_link *link, const uint8_t *data, size_t len);

/* ---- step.c ---- */
/* Take a link whose end the core knows out of node->links. */
void rusmi_node_forget(struct rusmi_link *link);

#endif
