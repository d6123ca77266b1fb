/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Membership: how a node finds the others, and how it leaves them for good.
 *
 * A node that joins one member is linked with all: members tell each other whom they know
 * (rusm_node_config.mesh). A lost member is dialled again for ever with exponential back-off and
 * jitter (reconnect_min_ms, reconnect_max_ms), until it leaves, rusm_node_disconnect() is asked
 * for, or a new node of its name takes its place. docs/design/membership.md has the rules.
 */
#ifndef RUSM_CLUSTER_MEMBERSHIP_H
#define RUSM_CLUSTER_MEMBERSHIP_H

#include <rusm/cluster/node.h>
#include <rusm/err.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/** Bytes of a spec for rusm_node_join(), without the final NUL. */
#define RUSM_JOIN_SPEC_MAX 1023
/** Specs that one node may have. */
#define RUSM_JOINS_MAX 64
/** Addresses that one spec may lead to; more are not looked at. */
#define RUSM_JOIN_ADDRESSES_MAX 256

/**
 * Look for members at the addresses that spec leads to, from now on: each is dialled until it
 * answers, and again whenever its node is lost. Returns at once; rusm_join_list() says how it goes.
 *
 * | spec | addresses |
 * | --- | --- |
 * | `10.0.0.1:4433,[fd00::2]:4433` | these |
 * | `file:/etc/rusm/peers` | those in the file, separated by blanks, commas or lines; `#` begins a
 *   comment |
 * | `dns:rusm.prod.svc:4433` | A and AAAA records of the name, with that port (a headless service
 *   of Kubernetes) |
 * | `srv:_rusm._udp.example.org` | hosts and ports of the SRV records (RFC 2782) |
 *
 * A file is read again when it has changed, names are resolved again, every
 * rusm_node_config.discover_ms. An address that is no longer there is not looked for any more; its
 * link stays. When looking fails (no such file or name, a broken answer), what was found before
 * stays. The node's own addresses are recognised and skipped. Of a file of more than 262144 bytes
 * the whole lines that fit are read; that, and words that are no addresses, are in
 * rusm_join_info.problem.
 *
 * Owns:    spec is copied.
 * Threads: any. Never blocks. Files and names are looked at by a process of its own, labelled
 *          "discover" (rusm_spawn_blocking()): while a name server does not answer, the end of the
 *          node waits for the resolver to give up.
 * Limits:  RUSM_JOIN_SPEC_MAX, RUSM_JOINS_MAX, RUSM_JOIN_ADDRESSES_MAX,
 *          rusm_node_config.members_max
 * Errors:  RUSM_EINVAL     the spec can not be understood; rusm_err_detail() says why
 *          RUSM_EFULL      a limit is reached
 *          RUSM_ENOCONTEXT, RUSM_ECLOSED, RUSM_ENOMEM; as rusm_spawn_blocking()
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_node_join(rusm_node *node, const char *spec);

/** How a spec is doing. */
typedef struct rusm_join_info {
    char spec[RUSM_JOIN_SPEC_MAX + 1];
    uint32_t addresses; /**< found at the last look that worked, the node's own counted */
    uint64_t looks;     /**< how often the source was looked at */
    char problem[256];  /**< what was wrong at the last look; empty if nothing was */
} rusm_join_info;

/**
 * List the specs of a node in the order in which they were given, at most infos_max.
 *
 * Threads: any. Never blocks.
 * Returns: how many records were written, or RUSM_ENOCONTEXT, RUSM_EINVAL
 */
RUSM_API RUSM_MUST_CHECK ptrdiff_t rusm_join_list(rusm_node *node, rusm_join_info *infos,
                                                  size_t infos_max);

/** What becomes of an address that is looked for. */
typedef enum rusm_wanted_state {
    RUSM_WANTED_UP = 0,      /**< its node has a link */
    RUSM_WANTED_DIALING = 1, /**< a dial is under way */
    RUSM_WANTED_WAITING = 2, /**< for the next dial, in next_ms */
    RUSM_WANTED_SELF = 3,    /**< it is this node's own: it is not dialled */
} rusm_wanted_state;

/** An address that the node looks at for members, as it was at some moment during the call. */
typedef struct rusm_wanted_info {
    char address[RUSM_ADDRESS_MAX];
    char node[RUSM_NAME_MAX + 1]; /**< who was there last, or is said to be; may be empty */
    bool joined; /**< a spec of rusm_node_join() leads to it; else a member was there
                                     before it was lost, or peers say that one is */
    rusm_wanted_state state;
    uint32_t failures; /**< dials in a row that led to no link */
    int64_t next_ms;   /**< until the next dial; -1: none is planned */
    rusm_err err;      /**< of the last dial */
    char problem[160]; /**< the same in words; empty if it led to a link */
} rusm_wanted_info;

/**
 * List the addresses that a node looks for, oldest first, a page at a time; cursors as in
 * rusm_process_list().
 *
 * Threads: any. Never blocks. Takes time in proportion to all that there are.
 * Returns: how many records were written, or RUSM_ENOCONTEXT, RUSM_EINVAL
 */
RUSM_API RUSM_MUST_CHECK ptrdiff_t rusm_wanted_list(rusm_node *node, uint64_t *cursor,
                                                    rusm_wanted_info *infos, size_t infos_max);

/**
 * Leave the cluster for good. Every peer is told, reports the node as *left*, and does not look for
 * it any more; those that name its address in a spec of theirs look there slowly, for its
 * successor.
 *
 * From the call on the node has no peers: sends to other nodes fail with RUSM_ENONODE, ties with
 * their processes end with *noconnection*, and nobody is let in. What was accepted for sending
 * before is still handed over: the call returns when all of it is acknowledged or time is up. The
 * node's processes go on; what remains to do with the node is rusm_node_del(), which then has
 * nobody to wait for.
 *
 * Threads: any. Suspends a process; blocks a thread.
 * Errors:  RUSM_ETIMEOUT  not all was acknowledged in time: the rest is lost and counted
 *                         (rusm_node_stats.dropped_link)
 *          RUSM_ECLOSED   the node has left before, or ends
 *          RUSM_ENOCONTEXT
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_node_leave(rusm_node *node, int64_t timeout_ms);

RUSM_END_DECLS

#endif
