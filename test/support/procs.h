/* SPDX-License-Identifier: MIT */
/*
 * Processes that tests put on nodes: one that sits there, one that keeps what it gets, and one that
 * calls something which is expected to block.
 *
 * They run on the schedulers and assert nothing: the test's own thread looks at what they left.
 */
#ifndef RUSM_SUPPORT_PROCS_H
#define RUSM_SUPPORT_PROCS_H

#include "support/nodes.h"

/* A process that drops what it gets, until it is killed; name NULL: none. It ends normally upon a
 * message "end". */
rusm_pid support_idle_start(struct support_node *node, const char *name);

/* What a process got last. Must outlive its node: make it static. */
struct support_box {
    rusm_pid pid;
    _Atomic uint64_t count; /* messages so far; what follows is of the last of them */
    rusm_msg_kind kind;
    rusm_pid sender;
    size_t len;
    char data[256]; /* its beginning */
};

/* Start a process that notes every message in box; name NULL: none. */
rusm_pid support_box_start(struct support_box *box, struct support_node *node, const char *name);
/* Wait until it has got exactly so many, and assert it did not get more. */
void support_box_wait(struct support_box *box, uint64_t count);

/* A call that a process makes, and what came of it. Must outlive its node: make it static. */
struct support_call {
    rusm_err (*fn)(void *arg);
    void *arg;
    rusm_pid pid;
    /* results, once done */
    rusm_err err;
    char detail[512];
    atomic_bool done;
};

/* Make the call in a process of its own. */
void support_call_start(struct support_call *call, struct support_node *node,
                        rusm_err (*fn)(void *arg), void *arg);
/* Wait until it is suspended in something else than a receive. */
void support_call_wait_blocked(struct support_call *call);
/* Wait until it has returned. */
void support_call_wait(struct support_call *call);

/* Wait until a local process has ended. */
void support_wait_end(rusm_pid pid);
/* Send a process of this OS process "end" (see support_idle_start), or kill it, and wait for it. */
void support_end(rusm_pid pid);
void support_kill(rusm_pid pid);

/* An operator's or observer's identity. */
rusm_identity *support_identity_role(struct support_world *world, const char *name, rusm_role role);
/* A node with such an identity. */
struct support_node *support_node_start_role(struct support_world *world, const char *name,
                                             rusm_role role);

#endif
