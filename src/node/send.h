/* SPDX-License-Identifier: MIT */
/* Sending to other nodes: see send.c. */
#ifndef RUSMI_NODE_SEND_H
#define RUSMI_NODE_SEND_H

#include "node/node.h"

/* Send a copy of bytes to a process of this node or of a connected one. Errors as rusm_node_send().
 */
rusm_err rusmi_send_pid(rusm_node *node, rusm_pid to, const void *data, size_t len);
/* Let the runtime's own sends and kills reach other nodes through this one. */
void rusmi_router_install(rusm_node *node);

#endif
