/* SPDX-License-Identifier: MIT */
/*
 * What nodes know of global names. A name that is right on one node becomes right on the others a
 * moment later, so what is expected of a peer is waited for.
 */
#ifndef RUSM_SUPPORT_NAMES_H
#define RUSM_SUPPORT_NAMES_H

#include "support/procs.h"

/* Nodes "a", "b" and "c". */
struct support_three {
    struct support_node *a, *b, *c;
};

/* Each linked with both others. */
struct support_three support_three_start(struct support_world *world);

/* Register, and assert success. */
void support_publish(struct support_node *node, const char *name, rusm_pid pid);
/* Whether pid has the name as far as the node knows; the zero pid: nobody has it. */
bool support_name_is(struct support_node *node, const char *name, rusm_pid pid);
/* Wait for that. */
void support_name_wait(struct support_node *node, const char *name, rusm_pid pid);
void support_name_wait_all(const struct support_three *nodes, const char *name, rusm_pid pid);

/* How many names a node lists; wait for that. */
size_t support_names(struct support_node *node);
void support_names_wait(struct support_node *node, size_t count);

#endif
