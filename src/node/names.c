/* SPDX-License-Identifier: MIT */
/*
 * The public calls on global names. The table is the core's; what is added here is that names go
 * when their process ends: each process that owns one is watched, once. A conflict is told under
 * node->lock, which may be held when a mailbox is pushed to.
 */
#include "base/mem.h"
#include "base/utf8.h"
#include "node/call.h"
#include "node/link.h"
#include "node/send.h"

#include <rusm/cluster/names.h>
#include <rusm/otp/call.h>

#include <string.h>

/* A process of this node that has registered a global name; lives until the process ends. */
struct owner {
    struct rusmi_map_entry entry; /* in node->owners, by serial, under node->lock */
    rusm_node *node;
    rusm_exit_watch watch;
    uint64_t serial;
};

/* The owner has ended: called once, on its thread, with no lock held. */
static void owner_exited(void *arg, rusm_pid pid, const rusm_reason *reason)
{
    struct owner *owner = arg;
    rusm_node *node = owner->node;
    struct rusmi_actions actions;

    (void)reason;
    rusmi_actions_init(&actions);
    rusmi_lock_take(&node->lock);
    rusmi_map_remove(&node->owners, &owner->entry);
    (void)rusmi_core_owner_exited(node->core, pid.serial, rusm_now(), &actions);
    rusmi_node_finish(node, &actions);
    rusmi_free(owner);
}

/* See to it that the end of pid is heard of. Under node->lock, which owner_exited waits for. */
static rusm_err watch_owner(rusm_node *node, rusm_pid pid)
{
    struct owner *owner;
    rusm_err err;

    if (rusmi_map_find(&node->owners, &pid.serial, sizeof(pid.serial)) != NULL) {
        return RUSM_OK;
    }
    owner = rusmi_zalloc(sizeof(*owner));
    if (owner == NULL) {
        return RUSM_ENOMEM;
    }
    owner->node = node;
    owner->serial = pid.serial;
    owner->watch.fn = owner_exited;
    owner->watch.arg = owner;
    if (!rusmi_map_insert(&node->owners, &owner->entry, &owner->serial, sizeof(owner->serial))) {
        rusmi_free(owner);
        return RUSM_ENOMEM;
    }
    err = rusm_watch_exit(&owner->watch, pid);
    if (err != RUSM_OK) {
        rusmi_map_remove(&node->owners, &owner->entry);
        rusmi_free(owner);
    }
    return err;
}

void rusmi_names_conflict(rusm_node *node, const struct rusmi_action *action)
{
    size_t len = strlen(action->text);
    rusm_msg *msg;
    rusm_err err;

    if (rusm_msg_new(&msg, len) != RUSM_OK) {
        rusmi_count(&node->counters.dropped_nomem, 1);
        return;
    }
    memcpy(rusm_msg_data(msg), action->text, len);
    rusm_msg_set_sender(msg, action->pid);
    rusm_msg_set_kind(msg, RUSM_MSG_NAME_CONFLICT, 0);
    rusm_msg_set_far(msg); /* a peer can claim a name again and again */
    err = rusm_deliver(node->runtime, action->ref, msg);
    if (err != RUSM_OK) {
        rusm_msg_del(msg);
        rusmi_count(
            err == RUSM_EFULL ? &node->counters.dropped_full : &node->counters.dropped_noproc, 1);
    }
}

static bool good_name(const char *name)
{
    return name != NULL && rusmi_name_valid(name, strlen(name));
}

static rusm_err bad_name(void)
{
    return rusm_set_err_detail(
        RUSM_EINVAL, "a name has 1 to %d bytes of UTF-8 without control characters", RUSM_NAME_MAX);
}

/* The node and what it is to publish; NULL with *out_err set if that can not be. */
static rusm_node *registrar(rusm_node *node, const char *name, rusm_pid pid, rusm_err *out_err)
{
    node = rusmi_node_resolve(node);
    if (node == NULL) {
        *out_err = RUSM_ENOCONTEXT;
    } else if (!good_name(name)) {
        *out_err = bad_name();
    } else if (pid.incarnation != node->incarnation) {
        *out_err = rusm_set_err_detail(
            RUSM_EINVAL, "only processes of node %s can be published by it", node->name);
    } else {
        return node;
    }
    return NULL;
}

/* Why the core refused a registration. Under node->lock. */
static void explain(const rusm_node *node, const char *name, rusm_err err)
{
    struct rusmi_core_owner owner;

    if (err == RUSM_EEXIST && rusmi_core_name_taken(node->core, name, &owner)) {
        (void)rusm_set_err_detail(err, "the global name %s is taken by a process of node %s", name,
                                  owner.node);
    } else if (err != RUSM_OK) {
        (void)rusm_set_err_detail(err, "the global name %s can not be registered: %s", name,
                                  rusm_err_text(err));
    }
}

rusm_err rusm_register_global(rusm_node *node, const char *name, rusm_pid pid)
{
    struct rusmi_actions actions;
    rusm_err err;

    node = registrar(node, name, pid, &err);
    if (node == NULL) {
        return err;
    }
    rusmi_actions_init(&actions);
    rusmi_lock_take(&node->lock);
    err = node->closing ? RUSM_ECLOSED : watch_owner(node, pid);
    if (err == RUSM_OK) {
        err = rusmi_core_register(node->core, name, pid.serial, rusm_now(), &actions);
    }
    explain(node, name, err);
    rusmi_node_finish(node, &actions);
    return err;
}

/* The caller is being killed: take back what it asked the peers for, or has just got unseen. */
static void cancel(rusm_node *node, const struct rusmi_call *call, const char *name, rusm_pid pid)
{
    struct rusmi_core_owner owner;
    struct rusmi_actions actions;

    rusmi_actions_init(&actions);
    rusmi_lock_take(&node->lock);
    rusmi_core_register_cancel(node->core, call->ref, rusm_now(), &actions);
    if (call->answer != NULL && call->answer->err == RUSM_OK &&
        rusmi_core_whereis(node->core, name, &owner) && rusm_pid_equal(owner.pid, pid)) {
        (void)!rusmi_core_unregister(node->core, name, rusm_now(), &actions); /* it is ours */
    }
    rusmi_node_finish(node, &actions);
}

rusm_err rusm_register_global_sync(rusm_node *node, const char *name, rusm_pid pid,
                                   int64_t timeout_ms)
{
    struct rusmi_actions actions;
    struct rusmi_call call;
    bool called = false;
    rusm_err err;

    node = registrar(node, name, pid, &err);
    if (node == NULL) {
        return err;
    }
    rusmi_actions_init(&actions);
    rusmi_lock_take(&node->lock);
    err = node->closing ? RUSM_ECLOSED : watch_owner(node, pid);
    if (err == RUSM_OK) {
        err = rusmi_call_begin(node, &call);
        called = err == RUSM_OK;
    }
    if (err == RUSM_OK) {
        err = rusmi_core_register_sync(node->core, call.ref, name, pid.serial,
                                       rusmi_call_deadline(timeout_ms), rusm_now(), &actions);
    }
    explain(node, name, err);
    rusmi_node_finish(node, &actions);
    if (err == RUSM_OK) {
        err = rusmi_call_wait(node, &call);
        if (err == RUSM_EKILLED) {
            cancel(node, &call, name, pid);
        }
    }
    if (called) {
        rusmi_call_end(node, &call);
    }
    if (err == RUSM_EKILLED) {
        rusm_checkpoint();
    }
    return err;
}

rusm_err rusm_unregister_global(rusm_node *node, const char *name)
{
    struct rusmi_actions actions;
    rusm_err err;

    node = rusmi_node_resolve(node);
    if (node == NULL) {
        return RUSM_ENOCONTEXT;
    }
    if (!good_name(name)) {
        return bad_name();
    }
    rusmi_actions_init(&actions);
    rusmi_lock_take(&node->lock);
    err = rusmi_core_unregister(node->core, name, rusm_now(), &actions);
    rusmi_node_finish(node, &actions);
    if (err != RUSM_OK) {
        (void)rusm_set_err_detail(err, "the global name %s can not be withdrawn: %s", name,
                                  err == RUSM_EPERM ? "another node owns it" : rusm_err_text(err));
    }
    return err;
}

rusm_err rusm_whereis_global(rusm_node *node, const char *name, rusm_pid *out_pid)
{
    struct rusmi_core_owner owner;
    bool found;

    node = rusmi_node_resolve(node);
    if (node == NULL) {
        return RUSM_ENOCONTEXT;
    }
    if (!good_name(name)) {
        return bad_name();
    }
    rusmi_lock_take(&node->lock);
    found = rusmi_core_whereis(node->core, name, &owner);
    rusmi_lock_give(&node->lock);
    if (!found) {
        return rusm_set_err_detail(RUSM_ENONAME, "no process has the global name %s", name);
    }
    *out_pid = owner.pid;
    return RUSM_OK;
}

rusm_err rusm_send_global(rusm_node *node, const char *name, const void *data, size_t len)
{
    rusm_pid pid;
    rusm_err err = rusm_whereis_global(node, name, &pid);

    if (err != RUSM_OK) {
        return err;
    }
    node = rusmi_node_resolve(node);
    return rusmi_send_pid(node, pid, data, len);
}

rusm_err rusm_call_global(rusm_node *node, const char *name, const void *data, size_t len,
                          int64_t timeout_ms, rusm_msg **out_reply)
{
    rusm_pid pid;
    rusm_err err = rusm_whereis_global(node, name, &pid);

    return err == RUSM_OK ? rusm_call(pid, data, len, timeout_ms, out_reply) : err;
}

ptrdiff_t rusm_name_list(rusm_node *node, uint64_t *cursor, rusm_name_info *infos, size_t infos_max)
{
    enum {
        STEP = 64
    };
    struct rusmi_core_owner owners[STEP];
    size_t done = 0, got;

    node = rusmi_node_resolve(node);
    if (node == NULL) {
        return RUSM_ENOCONTEXT;
    }
    if (cursor == NULL || infos == NULL || infos_max == 0) {
        return rusm_set_err_detail(RUSM_EINVAL, "a list needs a cursor and room for records");
    }
    do {
        size_t want = infos_max - done < STEP ? infos_max - done : STEP;

        /* The texts are the core's: copied before the lock is given up, a few dozen at a time. */
        rusmi_lock_take(&node->lock);
        got = rusmi_core_list_names(node->core, cursor, owners, want);
        for (size_t i = 0; i < got; i++) {
            memcpy(infos[done + i].name, owners[i].name, strlen(owners[i].name) + 1);
            memcpy(infos[done + i].node, owners[i].node, strlen(owners[i].node) + 1);
            infos[done + i].pid = owners[i].pid;
        }
        rusmi_lock_give(&node->lock);
        done += got;
    } while (*cursor != 0 && got != 0 && done < infos_max);
    return (ptrdiff_t)done;
}
