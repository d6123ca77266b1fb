/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Links, monitors and exit signals: how processes hear of each other's end (OTP, "Processes",
 * Erlang Reference Manual 14).
 *
 * A *link* joins two processes in both directions: when one ends with another reason than normal,
 * the other ends with the same reason, unless it traps exits and gets a message of kind
 * RUSM_MSG_EXIT instead. A *monitor* goes one way: when the monitored process ends, for whatever
 * reason, the other gets one message of kind RUSM_MSG_DOWN.
 *
 * Each link leads to at most one exit and each monitor to exactly one down, whatever ends first.
 * They come after every message that the ended process had sent. "In context" is said in
 * rusm/otp/process.h.
 */
#ifndef RUSM_OTP_LINK_H
#define RUSM_OTP_LINK_H

#include <rusm/err.h>
#include <rusm/otp/process.h>
#include <rusm/otp/reason.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/* All of this works for processes of other nodes as well (docs/design/remote.md). When the link
 * between the nodes is lost, every link and monitor over it breaks with reason *noconnection*, once
 * each, after all that came from that node. A process of a node that is not connected is answered
 * so at once, and with *noproc* if that node is known to have been restarted. */

/**
 * Link the caller to a process. Linking twice is one link; a process is never linked to itself.
 *
 * If the process does not exist any more the link is made and broken at once: a caller that traps
 * exits gets an exit message with reason *noproc*, another one ends with it (OTP, erlang:link/1).
 *
 * Threads: in context. Never blocks.
 * Errors:  RUSM_EINVAL      pid is the zero pid
 *          RUSM_ENOMEM      no link was made
 *          RUSM_ENOCONTEXT
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_link(rusm_pid pid);

/**
 * Take a link away, in both directions. Afterwards no exit from it reaches the caller, except one
 * that already is in its mailbox. No effect if there is none.
 *
 * Threads: in context. Never blocks.
 * Errors:  RUSM_ENOCONTEXT
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_unlink(rusm_pid pid);

/**
 * Say whether exits of others become messages for the caller (Erlang's `trap_exit` flag) or end it.
 *
 * A process that traps and whose mailbox is full of what came from other nodes, twice over
 * (rusm_node_config.mailbox_bytes_max), gets no new links from there (they end with *noconnection*)
 * and no exits that are merely asked for; the exits of links that it has always come.
 *
 * Threads: in context. An entered thread may trap; if it does not, exits make its blocking calls
 * return RUSM_EKILLED.
 * Returns: the setting before; false outside a context.
 */
RUSM_API bool rusm_trap_exit(bool trap);

/**
 * Send an exit signal to a process, as if it were linked to the caller and the caller had ended
 * so (OTP, erlang:exit/2).
 *
 * A process that traps exits gets a message of kind RUSM_MSG_EXIT from the caller. Another one ends
 * with the reason, except that *normal* is ignored by every process but the caller itself.
 * RUSM_REASON_KILLED can not be trapped: it is rusm_kill().
 *
 * Threads: any thread for a local pid; in context for one of another node. Never blocks: to another
 *          node it is sent in order with the caller's messages, and whether it arrives is not told.
 * Errors:  RUSM_ENOPROC   it has ended; of another node: that was restarted since
 *          RUSM_EINVAL    the reason is none that can be sent
 *          RUSM_ENONODE   its node is not connected
 *          RUSM_EPERM     the caller's node is an observer
 *          RUSM_ENOMEM
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_exit_process(rusm_pid pid, const rusm_reason *reason);

/**
 * Monitor a process: when it ends the caller gets one message of kind RUSM_MSG_DOWN with this
 * reference, the ended process as sender, and the reason.
 *
 * If it has ended already the message comes at once, with reason *noproc*. A process may be
 * monitored many times; each monitor is apart. rusm_is_alive() is false for the process when the
 * message arrives, its names are free, and its exit hooks have run.
 *
 * Owns:    nothing. out_ref may be NULL.
 * Threads: in context. Never blocks.
 * Errors:  RUSM_EINVAL      pid is the zero pid
 *          RUSM_ENOMEM      nothing is monitored
 *          RUSM_ENOCONTEXT
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_monitor(rusm_pid pid, rusm_ref *out_ref);

/**
 * Take a monitor of the caller away. Afterwards no down with this reference comes into the mailbox;
 * one that is there already stays, or is removed too with flush. No effect for a reference that
 * is not, or no longer, a monitor of the caller.
 *
 * Threads: in context. Never blocks.
 * Returns: whether the monitor was still waiting: false if its down was in the mailbox or received
 */
RUSM_API bool rusm_demonitor(rusm_ref ref, bool flush);

/** Spawn a process that is linked to the caller from its beginning. See rusm_spawn_with(). Threads:
 * in context. Errors: as rusm_spawn(); RUSM_ENOCONTEXT */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_spawn_link(rusm_process_fn fn, void *arg, rusm_pid *out_pid);

/** Spawn a process that the caller monitors from its beginning. See rusm_spawn_with(). Threads: in
 * context. Errors: as rusm_spawn(); RUSM_ENOCONTEXT */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_spawn_monitor(rusm_process_fn fn, void *arg,
                                                     rusm_pid *out_pid, rusm_ref *out_ref);

RUSM_END_DECLS

#endif
