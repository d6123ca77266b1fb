/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Asking another node: spawn a process there, look at its processes, peers and names, kill. peer
 * may be the node's own name: then it is answered here, without the wire.
 *
 * All of these suspend a process and block a thread until the answer comes. Common errors:
 * RUSM_ENONODE (no link; the detail names the node), RUSM_ENOLINK (it was lost before the answer),
 * RUSM_ETIMEOUT (no answer in time; the other side may still have acted), RUSM_EPERM (the role in
 * our certificate does not allow it), RUSM_EFULL (the peer works on too many requests of ours),
 * RUSM_ECLOSED, RUSM_EINVAL, RUSM_ENOMEM.
 */
#ifndef RUSM_CLUSTER_REMOTE_H
#define RUSM_CLUSTER_REMOTE_H

#include <rusm/cluster/names.h>
#include <rusm/cluster/node.h>
#include <rusm/err.h>
#include <rusm/otp/info.h>
#include <rusm/otp/process.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/** Arguments of a remote spawn, in bytes. */
#define RUSM_SPAWN_ARGS_MAX 32768

/**
 * Makes the process that a remote spawn asked for: usually one rusm_spawn() with a copy of args,
 * then RUSM_OK.
 *
 * It runs in a short-lived process of its own, so it may block and even crash; both only fail this
 * spawn. args is valid during the call.
 */
typedef rusm_err (*rusm_factory_fn)(void *arg, const void *args, size_t args_len,
                                    rusm_pid *out_pid);

/**
 * Let peers spawn by this name. Only factories registered here can be asked for.
 *
 * Owns:    arg stays the caller's and must live until the factory is unregistered or the node
 *          deleted.
 * Threads: any.
 * Errors:  RUSM_EEXIST, RUSM_EINVAL, RUSM_ENOMEM, RUSM_ENOCONTEXT
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_factory_register(rusm_node *node, const char *name,
                                                        rusm_factory_fn factory, void *arg);

/** Take a factory back; one that runs now is not waited for. Threads: any. Errors: RUSM_ENONAME */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_factory_unregister(rusm_node *node, const char *name);

/**
 * Spawn a process on node peer by its factory.
 *
 * Limits:  RUSM_SPAWN_ARGS_MAX
 * Errors:  RUSM_ENOFACTORY  peer has no factory of that name
 *          RUSM_EFACTORY    the factory failed or crashed; rusm_err_detail() has its own words
 *          RUSM_EMSGSIZE, and those at the top of this file
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_spawn_remote(rusm_node *node, const char *peer,
                                                    const char *factory, const void *args,
                                                    size_t args_len, int64_t timeout_ms,
                                                    rusm_pid *out_pid);

/**
 * Like rusm_spawn_remote(), and the caller is linked with the process from its beginning (OTP,
 * erlang:spawn_link/4): however soon it ends, the caller gets the exit with its true reason, and if
 * the link between the nodes is lost at any moment the process hears of it too.
 *
 * Unlike a caller in a plain rusm_link() the two are bound before the process could have run
 * unwatched. If no answer came in time (RUSM_ETIMEOUT) the process may still come to be, without
 * the link; an exit of it that has come by then stays in the mailbox. Where peer is this node
 * itself the link is made when the factory has returned.
 *
 * Threads: in context of a process of the node.
 * Errors:  as rusm_spawn_remote(); RUSM_EPROTO: the peer's protocol has no links; RUSM_ENOCONTEXT
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_spawn_remote_link(rusm_node *node, const char *peer,
                                                         const char *factory, const void *args,
                                                         size_t args_len, int64_t timeout_ms,
                                                         rusm_pid *out_pid);

/** Like rusm_spawn_remote_link(), with a monitor in place of the link; out_ref may be NULL. */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_spawn_remote_monitor(rusm_node *node, const char *peer,
                                                            const char *factory, const void *args,
                                                            size_t args_len, int64_t timeout_ms,
                                                            rusm_pid *out_pid, rusm_ref *out_ref);

/** Like rusm_process_list(), on another node. Returns: how many records were written, or a negative
 * rusm_err */
RUSM_API RUSM_MUST_CHECK ptrdiff_t rusm_remote_process_list(rusm_node *node, const char *peer,
                                                            uint64_t *cursor,
                                                            rusm_process_info *infos,
                                                            size_t infos_max, int64_t timeout_ms);

/** Like rusm_peer_list(), on another node. */
RUSM_API RUSM_MUST_CHECK ptrdiff_t rusm_remote_peer_list(rusm_node *node, const char *peer,
                                                         uint64_t *cursor, rusm_peer_info *infos,
                                                         size_t infos_max, int64_t timeout_ms);

/** Like rusm_name_list(), on another node. */
RUSM_API RUSM_MUST_CHECK ptrdiff_t rusm_remote_name_list(rusm_node *node, const char *peer,
                                                         uint64_t *cursor, rusm_name_info *infos,
                                                         size_t infos_max, int64_t timeout_ms);

/** A group with members, as a node knows it. */
typedef struct rusm_group_info {
    char name[RUSM_NAME_MAX + 1];
    uint64_t members; /**< on all nodes */
    uint64_t local;   /**< of these, on that node */
} rusm_group_info;

/** The groups that a node knows, a page at a time, in no order; as rusm_group_list(), with how many
 * members each has. Nodes that know only protocol version 1 refuse it: RUSM_EINVAL. */
RUSM_API RUSM_MUST_CHECK ptrdiff_t rusm_remote_group_list(rusm_node *node, const char *peer,
                                                          uint64_t *cursor, rusm_group_info *infos,
                                                          size_t infos_max, int64_t timeout_ms);

/** Find a registered (first) or else a global name on another node. Errors: RUSM_ENONAME, and those
 * above */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_remote_whereis(rusm_node *node, const char *peer,
                                                      const char *name, int64_t timeout_ms,
                                                      rusm_pid *out_pid);

/** Kill a process of node peer, and hear whether it was alive. Errors: RUSM_ENOPROC, and those
 * above */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_remote_kill(rusm_node *node, const char *peer, rusm_pid pid,
                                                   int64_t timeout_ms);

/**
 * Ask node peer to read its identity anew (rusm_node_on_reload()). Only an operator may.
 *
 * Errors: RUSM_EREFUSED  it has no way to; RUSM_EPERM  we are no operator; what its
 *         rusm_node_reload() returned, with its text, and then it goes on with what it had; and
 *         those above
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_remote_reload(rusm_node *node, const char *peer,
                                                     int64_t timeout_ms);

RUSM_END_DECLS

#endif
