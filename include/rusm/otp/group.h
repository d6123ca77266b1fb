/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Groups of processes (OTP, pg(3)): a name with many members; a process may be in many groups.
 * A group exists as long as it has members or is monitored; it needs no making.
 *
 * On nodes (rusm/cluster.h) a group spans the cluster: each node tells the others of its own
 * members, so that all come to know the same ones a moment later. What a node knows of another ends
 * with the link between them, and begins anew with the next one. Nodes with roles other than member
 * (operators, observers) see no members but their own, and theirs are seen by nobody.
 */
#ifndef RUSM_OTP_GROUP_H
#define RUSM_OTP_GROUP_H

#include <rusm/err.h>
#include <rusm/otp/reason.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/**
 * Make a process a member of a group of runtime rt; rt may be NULL in context. Joining twice is
 * joining once. A member leaves when it ends.
 *
 * Threads: any. Never blocks.
 * Errors:  RUSM_EINVAL   the name is not valid (see rusm_register()), or pid is of another runtime
 *          RUSM_ENOPROC  the process has ended
 *          RUSM_ENOCONTEXT, RUSM_ENOMEM
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_group_join(rusm_runtime *rt, const char *group,
                                                  rusm_pid pid);

/** Leave a group. Threads: any. Errors: RUSM_ENONAME it is no member; RUSM_EINVAL, RUSM_ENOCONTEXT
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_group_leave(rusm_runtime *rt, const char *group,
                                                   rusm_pid pid);

/**
 * The members of a group as they were at one moment: those of this runtime in joining order, then
 * those of other nodes in the order in which this node heard of them.
 *
 * Writes at most pids_max of them.
 *
 * Returns: how many members there are, which may be more than pids_max, or a negative rusm_err:
 *          RUSM_EINVAL, RUSM_ENOCONTEXT
 */
RUSM_API RUSM_MUST_CHECK ptrdiff_t rusm_group_members(rusm_runtime *rt, const char *group,
                                                      rusm_pid *pids, size_t pids_max);

/** As rusm_group_members(), of this runtime alone (pg:get_local_members/2). */
RUSM_API RUSM_MUST_CHECK ptrdiff_t rusm_group_local_members(rusm_runtime *rt, const char *group,
                                                            rusm_pid *pids, size_t pids_max);

/**
 * Send the same bytes to every member. Those of one runtime share one copy of the bytes, which must
 * not be written by who receives them. To each other node that has members goes one copy, and that
 * node hands it to the members that it then has.
 *
 * Members whose mailbox is full and refuses are skipped and counted
 * (rusm_runtime_stats.sends_full). Members that join or leave during the call may or may not get
 * it. What one sender sends to one group reaches each member in order; a message that it sends to a
 * member directly may overtake them, or be overtaken, when that is on another node.
 *
 * Links that are full make the caller wait, as rusm_send() does: the copy first goes to all members
 * here and to all nodes whose link takes it at once, so that only the caller waits for a slow one,
 * and then to the others, one after the other. A caller that is killed while it waits sends no
 * more.
 * A node whose link is lost is passed over; one for whose copy there is no memory is, too, and is
 * counted (rusm_runtime_stats.copies_skipped). Crowded mailboxes of members on other nodes do not
 * slow the sender: a member that may be flooded should bound its mailbox.
 *
 * Threads: any; outside a context the sender is the zero pid. Suspends a process, blocks a thread,
 *          while a link is full.
 * Limits:  RUSM_MESSAGE_MAX, if other nodes have members
 * Returns: how many members it was sent to, as far as this node knows them, or a negative rusm_err
 *          (nobody got it): RUSM_EINVAL, RUSM_ENOMEM, RUSM_EMSGSIZE, RUSM_ENOCONTEXT
 */
RUSM_API RUSM_MUST_CHECK ptrdiff_t rusm_group_send(rusm_runtime *rt, const char *group,
                                                   const void *data, size_t len);

/**
 * As rusm_group_send(), but never waits: a node whose link is full is passed over and counted
 * (rusm_runtime_stats.copies_skipped).
 */
RUSM_API RUSM_MUST_CHECK ptrdiff_t rusm_group_try_send(rusm_runtime *rt, const char *group,
                                                       const void *data, size_t len);

/**
 * Hear of a group's changes: the caller gets a message of kind RUSM_MSG_JOIN or RUSM_MSG_LEAVE for
 * each, with the member as sender and this reference, from here on.
 *
 * The members at that moment are written as by rusm_group_members(), so that nothing is missed or
 * seen twice. Ends with rusm_group_demonitor() or the caller.
 *
 * Members of other nodes join when this node hears of them. They leave, once, when it hears of that
 * or when the link to their node is lost: then before the node-down event of that node. A mailbox
 * that is full of what came from other nodes, twice over (rusm_node_config.mailbox_bytes_max), gets
 * no more of these; what it loses is counted (rusm_runtime_stats.sends_full).
 *
 * Threads: in context.
 * Returns: as rusm_group_members(); also RUSM_ENOMEM, then nothing is monitored
 */
RUSM_API RUSM_MUST_CHECK ptrdiff_t rusm_group_monitor(const char *group, rusm_ref *out_ref,
                                                      rusm_pid *pids, size_t pids_max);

/** Stop hearing of a group's changes; what came before stays in the mailbox. No effect if ref is no
 * group monitor of the caller. Threads: in context. */
RUSM_API void rusm_group_demonitor(rusm_ref ref);

/**
 * Send an exit signal to every member, as rusm_exit_process() does.
 *
 * Returns: to how many, or a negative rusm_err: RUSM_EINVAL, RUSM_ENOCONTEXT, RUSM_ENOMEM
 */
RUSM_API RUSM_MUST_CHECK ptrdiff_t rusm_group_terminate(rusm_runtime *rt, const char *group,
                                                        const rusm_reason *reason);

/**
 * List the names of the groups of a runtime that have members, a page at a time, in no order:
 * start with *cursor 0, go on until it is 0 again. names is an array of names_max pieces of
 * RUSM_NAME_MAX + 1 bytes. A group that exists all the time appears exactly once.
 *
 * Returns: how many names were written, or a negative rusm_err: RUSM_EINVAL, RUSM_ENOCONTEXT
 */
RUSM_API RUSM_MUST_CHECK ptrdiff_t rusm_group_list(rusm_runtime *rt, uint64_t *cursor,
                                                   char (*names)[RUSM_NAME_MAX + 1],
                                                   size_t names_max);

RUSM_END_DECLS

#endif
