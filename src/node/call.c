/* SPDX-License-Identifier: MIT */
#include "node/call.h"

#include "base/assert.h"

#define NS_PER_MS ((rusm_time)1000000)

rusm_err rusmi_call_begin(rusm_node *node, struct rusmi_call *call)
{
    rusm_err err;

    *call = (struct rusmi_call){.ref = ++node->next_ref};
    err = rusm_waiter_new(&call->waiter);
    if (err != RUSM_OK) {
        return err;
    }
    if (!rusmi_map_insert(&node->calls, &call->entry, &call->ref, sizeof(call->ref))) {
        rusm_waiter_drop(call->waiter);
        call->waiter = NULL;
        return RUSM_ENOMEM;
    }
    call->listed = true;
    return RUSM_OK;
}

bool rusmi_call_complete(rusm_node *node, struct rusmi_action *action)
{
    struct rusmi_map_entry *entry = rusmi_map_find(&node->calls, &action->ref, sizeof(action->ref));
    struct rusmi_call *call;

    if (entry == NULL) {
        return false;
    }
    call = rusmi_container(entry, struct rusmi_call, entry);
    rusmi_map_remove(&node->calls, entry);
    call->listed = false;
    call->answer = action;
    rusm_waiter_wake(call->waiter);
    return true;
}

rusm_err rusmi_call_wait(rusm_node *node, struct rusmi_call *call)
{
    rusm_err err = rusm_waiter_wait(call->waiter, RUSM_INFINITY);

    if (err != RUSM_OK) {
        return err;
    }
    /* The lock makes the answer visible, and is free again once the completing step is through with
     * the call. */
    rusmi_lock_take(&node->lock);
    rusmi_assert(call->answer != NULL);
    rusmi_lock_give(&node->lock);
    if (call->answer->err != RUSM_OK) {
        return rusm_set_err_detail(call->answer->err, "%s", call->answer->text);
    }
    return RUSM_OK;
}

void rusmi_call_end(rusm_node *node, struct rusmi_call *call)
{
    rusmi_lock_take(&node->lock);
    if (call->listed) {
        rusmi_map_remove(&node->calls, &call->entry);
        call->listed = false;
    }
    rusmi_lock_give(&node->lock);
    if (call->answer != NULL) {
        rusmi_action_del(call->answer);
        call->answer = NULL;
    }
    rusm_waiter_drop(call->waiter);
    call->waiter = NULL;
}

rusm_time rusmi_call_deadline(int64_t timeout_ms)
{
    rusm_time now = rusm_now();

    if (timeout_ms < 0 || (rusm_time)timeout_ms > (RUSMI_TIME_NEVER - now) / NS_PER_MS) {
        return RUSMI_TIME_NEVER;
    }
    return now + (rusm_time)timeout_ms * NS_PER_MS;
}
