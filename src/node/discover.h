/* SPDX-License-Identifier: MIT */
/*
 * The specs of rusm_node_join(): each is a list of addresses that the core is told to look for, and
 * for files and names a process that looks again and tells the core what came and went.
 */
#ifndef RUSMI_NODE_DISCOVER_H
#define RUSMI_NODE_DISCOVER_H

#include "node/node.h"

/* Free what was joined; the runtime has stopped. */
void rusmi_joins_fini(rusm_node *node);

#endif
