/* SPDX-License-Identifier: MIT */
/* Requests that are done on this node, for a peer or for a caller here: see execute.c and
 * factory.c. */
#ifndef RUSMI_NODE_EXECUTE_H
#define RUSMI_NODE_EXECUTE_H

#include "node/node.h"

/* Do what an EXECUTE action asks, and see to it that it is answered. Takes the action; no lock is
 * held. */
void rusmi_execute(rusm_node *node, struct rusmi_action *action);

/*
 * Answer a request other than a spawn. reply->records are allocated and the caller's to free
 * (records.any), also when the reply carries an error.
 */
void rusmi_answer(rusm_node *node, const struct rusmi_request *request, struct rusmi_reply *reply);

/* Send the answer to a peer's request. */
void rusmi_answer_send(rusm_node *node, uint64_t conn, uint64_t request_id,
                       const struct rusmi_reply *reply);

/* Set the error of a reply with a text; text NULL: that of the code. */
void rusmi_reply_fail(struct rusmi_reply *reply, rusm_err err, const char *text);

/* ---- factory.c ---- */

/* Spawn for a peer: takes the action and answers when the factory is done. */
void rusmi_factory_execute(rusm_node *node, struct rusmi_action *action);
/* Spawn for a caller here, who waits. Fills reply. */
rusm_err rusmi_factory_call(rusm_node *node, const struct rusmi_request *request,
                            int64_t timeout_ms, struct rusmi_reply *reply);
void rusmi_factories_fini(rusm_node *node);

#endif
