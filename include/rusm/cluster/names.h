/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Global names: known on every node of a cluster, each owned by one process. docs/design/names.md
 * argues the rules.
 */
#ifndef RUSM_CLUSTER_NAMES_H
#define RUSM_CLUSTER_NAMES_H

#include <rusm/err.h>
#include <rusm/otp/message.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/**
 * Publish a process of this node under a global name: at once here, moments later on every peer.
 *
 * The name is withdrawn everywhere when the process ends, when it is unregistered, or when its node
 * is lost. Nobody is asked: two nodes that register one name at the same time, or on both sides of
 * a partition, both succeed. Once they see each other every node agrees on one owner, the earlier
 * registration (in logical time, then the node whose name sorts first), and the process that lost
 * the name gets a message of kind RUSM_MSG_NAME_CONFLICT: its bytes are the name, its sender is the
 * owner. One message for each loss; it passes a mailbox with a capacity, and counts against
 * rusm_node_config.mailbox_bytes_max. The registration stays on record: the loser owns the name
 * again when all that won over it are gone, unless it calls rusm_unregister_global(). This is the
 * spirit of Erlang's global:random_notify_name/3, with a
 * choice that is the same everywhere instead of random.
 *
 * Owns:    nothing; the name is copied.
 * Threads: any. Never blocks.
 * Limits:  1 to RUSM_NAME_MAX bytes of UTF-8; rusm_node_config.names_max names per node
 * Errors:  RUSM_EEXIST   the name is taken, as far as this node knows, or is being registered
 *          RUSM_ENOPROC  the process has ended
 *          RUSM_EINVAL   a bad name, or pid is not of this node
 *          RUSM_EPERM    this node's role is not member
 *          RUSM_EFULL, RUSM_ENOMEM, RUSM_ENOCONTEXT, RUSM_ECLOSED
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_register_global(rusm_node *node, const char *name,
                                                       rusm_pid pid);

/**
 * The same, once every member that is linked with this node has agreed (OTP: global:register_name/2
 * in its cluster-wide lock): after RUSM_OK none of them has or grants the name to anybody else, and
 * each knows the owner moments later.
 *
 * Until then the name is nobody's: rusm_whereis_global() does not find it, here or elsewhere, and
 * registering it fails. Of several nodes that try at once exactly one succeeds, by the rule above.
 * A peer whose link is lost meanwhile is no longer waited for, and nodes that are not linked now,
 * across a partition for instance, are not asked; conflicts with those are resolved as above.
 *
 * Without success nothing stays registered, not on a time-out nor when the caller is killed.
 *
 * Owns, Limits: as rusm_register_global(). timeout_ms: RUSM_INFINITY waits as long as the links
 * stay.
 * Threads: any; suspends a process, blocks an ordinary thread.
 * Errors:  RUSM_EEXIST    the name is taken or being registered: rusm_err_detail() names the node
 *          RUSM_ETIMEOUT  a peer did not answer in time: rusm_err_detail() names it
 *          else as rusm_register_global()
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_register_global_sync(rusm_node *node, const char *name,
                                                            rusm_pid pid, int64_t timeout_ms);

/** Withdraw a name that this node owns. Threads: any. Errors: RUSM_ENONAME, RUSM_EPERM (a peer owns
 * it), RUSM_EINVAL */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_unregister_global(rusm_node *node, const char *name);

/** Find the owner of a global name, as this node knows it. Threads: any. Errors: RUSM_ENONAME,
 * RUSM_EINVAL */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_whereis_global(rusm_node *node, const char *name,
                                                      rusm_pid *out_pid);

/**
 * Send a copy of len bytes to the owner of a global name; a local owner is served without the wire.
 *
 * Threads, Limits: as rusm_node_send().
 * Errors:  RUSM_ENONAME; RUSM_ENOPROC if the owner has just ended here; else as rusm_node_send()
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_send_global(rusm_node *node, const char *name,
                                                   const void *data, size_t len);

/**
 * Call the owner of a global name, wherever it is, and wait for its answer: rusm_call() with what
 * rusm_whereis_global() finds. If the owner ends meanwhile the call fails, also if another process
 * has taken over the name: the request may have been served.
 *
 * node:    whose table is looked at; NULL: the caller's own. The call itself is the caller's.
 * Owns, Threads: as rusm_call().
 * Errors:  RUSM_ENONAME; else as rusm_call()
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_call_global(rusm_node *node, const char *name,
                                                   const void *data, size_t len, int64_t timeout_ms,
                                                   rusm_msg **out_reply);

/** A global name as a node knows it. */
typedef struct rusm_name_info {
    char name[RUSM_NAME_MAX + 1];
    char node[RUSM_NAME_MAX + 1]; /**< the node that owns it */
    rusm_pid pid;
} rusm_name_info;

/**
 * List the global names that a node knows, a page at a time; cursors as in rusm_process_list().
 *
 * Threads: any. Never blocks.
 * Returns: how many records were written, or a negative rusm_err
 */
RUSM_API RUSM_MUST_CHECK ptrdiff_t rusm_name_list(rusm_node *node, uint64_t *cursor,
                                                  rusm_name_info *infos, size_t infos_max);

RUSM_END_DECLS

#endif
