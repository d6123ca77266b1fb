/* SPDX-License-Identifier: MIT */
/*
 * A call that waits for the core's answer: a dial, a request to a peer, or a name that peers are
 * asked for. It lives on the caller's
 * stack; that is safe, because a process that is killed meanwhile is woken first and takes the call
 * back before it ends.
 *
 *     lock; rusmi_call_begin; rusmi_core_...(ref = call.ref); rusmi_node_finish (unlocks);
 * rusmi_call_wait; use call.answer; rusmi_call_end
 */
#ifndef RUSMI_NODE_CALL_H
#define RUSMI_NODE_CALL_H

#include "node/node.h"

struct rusmi_call {
    struct rusmi_map_entry
        entry; /* in node->calls until it is answered or taken back; under node->lock */
    uint64_t ref;
    rusm_waiter *waiter;
    struct rusmi_action
        *answer; /* DIALED or REPLY; NULL until then; under node->lock until the wait is over */
    bool listed;
};

/* Under node->lock. Errors: RUSM_ENOMEM */
RUSM_MUST_CHECK rusm_err rusmi_call_begin(rusm_node *node, struct rusmi_call *call);
/*
 * Wait for the answer: its error, with its text as detail; or RUSM_EKILLED. The core ends every
 * call by its deadline, so there is no other time-out here.
 */
RUSM_MUST_CHECK rusm_err rusmi_call_wait(rusm_node *node, struct rusmi_call *call);
/* Free what the call holds, in any state but before begin. */
void rusmi_call_end(rusm_node *node, struct rusmi_call *call);
/* The core's answer; under node->lock. False if nobody waits for it: the action stays the caller's.
 */
bool rusmi_call_complete(rusm_node *node, struct rusmi_action *action);
/* rusm_now() plus a timeout, saturating; RUSMI_TIME_NEVER for RUSM_INFINITY. */
rusm_time rusmi_call_deadline(int64_t timeout_ms);

#endif
