/* SPDX-License-Identifier: MIT */
/*
 * Several real nodes in one OS process: QUIC on loopback, port 0, certificates made at run time.
 *
 * A world is the state of one cmocka test: a CA of the cluster "test" and the nodes that the test
 * started, which its teardown ends, also after a failed assertion:
 *
 *     cmocka_unit_test_setup_teardown(some_case, support_world_setup, support_world_teardown)
 *
 * All waiting is for a condition and has a deadline (SUPPORT_DEADLINE_MS), which is far longer than
 * any honest wait: it bounds a hang and expects nothing about speed. Functions whose result a test
 * does not look at assert success themselves.
 *
 * Threading: the test's own thread, entered into no runtime; assertions elsewhere would jump
 * between stacks.
 */
#ifndef RUSM_SUPPORT_NODES_H
#define RUSM_SUPPORT_NODES_H

#include <rusm/rusm.h>
#include <stdatomic.h>

#define SUPPORT_CLUSTER     "test"
#define SUPPORT_DEADLINE_MS 60000
#define SUPPORT_NODES_MAX   16

struct support_node {
    rusm_runtime *runtime;
    rusm_node *node; /* NULL once it was stopped */
};

struct support_world {
    rusm_ca *ca;
    struct support_node nodes[SUPPORT_NODES_MAX];
    size_t nodes_len;
};

/* For cmocka; *state becomes the struct support_world. */
int support_world_setup(void **state);
int support_world_teardown(void **state);

/* A member's identity from the world's CA; free it with rusm_identity_del(). */
rusm_identity *support_identity(struct support_world *world, const char *name);

/* Start a node with support_node_config() and an identity of its own. */
struct support_node *support_node_start(struct support_world *world, const char *name);
/* The same with settings; cfg->identity NULL: one is issued. name NULL: that of the identity. */
struct support_node *support_node_start_with(struct support_world *world, const char *name,
                                             const rusm_node_config *cfg);
/* The defaults with listen 127.0.0.1:0, no identity, and neither mesh nor dials to lost peers. */
rusm_node_config support_node_config(void);
/* End a node and its runtime before the test does. */
void support_node_stop(struct support_node *node);

/* Connect and wait until both sides list each other. */
void support_connect(struct support_node *from, struct support_node *to);

/* Wait until done(arg) holds; false if it did not within SUPPORT_DEADLINE_MS. */
bool support_wait(bool (*done)(void *arg), void *arg);
/* Wait until a node lists exactly so many peers, or lists (no longer) one of that name. */
void support_wait_peers(struct support_node *node, size_t count);
void support_wait_peer(struct support_node *node, const char *name, bool present);

/* How many peers a node lists. */
size_t support_peers(struct support_node *node);
/* The record of a peer; false if it is not listed. */
bool support_peer_find(struct support_node *node, const char *name, rusm_peer_info *out_info);

/* The counters of a node. */
rusm_node_stats support_stats(struct support_node *node);
/* One of them: support_stat(node, offsetof(rusm_node_stats, refused_auth)). */
uint64_t support_stat(struct support_node *node, size_t offset);
/* Wait until that one is at least `least`. */
void support_wait_stat(struct support_node *node, size_t offset, uint64_t least);

/* A call of rusm_node_connect that a process of the node makes while the test does other things. It
 * must outlive the node: make it static. */
struct support_dial {
    char address[RUSM_ADDRESS_MAX];
    int64_t timeout_ms;
    /* results, once done */
    rusm_err err;
    char detail[1024];
    char peer[RUSM_NAME_MAX + 1];
    atomic_bool done;
};

void support_dial_start(struct support_dial *dial, struct support_node *node, const char *address,
                        int64_t timeout_ms);
/* A condition for support_wait(); arg is the struct support_dial. */
bool support_dial_is_done(void *dial);

/* Start a process named "echo" that sends every message back to its sender. */
void support_echo_start(struct support_node *node);
/* Send count numbered messages of len bytes (8 at least) to the echo of node `to`, each after the
 * echo of the one before it; assert that all come back. */
void support_exchange(struct support_node *from, struct support_node *to, unsigned count,
                      size_t len);

#endif
