/* SPDX-License-Identifier: MIT */
/*
 * From a call to a link's queue. The sender that the wire carries is the calling process if it
 * belongs to this node, and nobody otherwise: a node speaks only for its own processes.
 */
#include "node/send.h"

#include "base/utf8.h"
#include "node/call.h"
#include "node/groups.h"
#include "node/link.h"
#include "node/signal.h"
#include "node/stream.h"

#include <rusm/otp/registry.h>

#include <stdio.h>
#include <string.h>

/* A message to another node costs about so many receives. */
#define SEND_REDUCTIONS 4

static uint64_t sender_serial(const rusm_node *node)
{
    rusm_pid self = rusm_self();

    return self.incarnation == node->incarnation ? self.serial : 0;
}

/*
 * Queue out on the link, which is given back; on an error out stays the caller's. After
 * RUSM_EKILLED the caller ends the process as soon as nothing is held.
 */
static rusm_err queue(struct rusmi_link *link, struct rusmi_out *out,
                      const struct rusmi_message_head *head, int64_t timeout_ms)
{
    uint8_t key[RUSMI_BUSY_KEY_MAX];
    size_t key_len = rusmi_busy_key(key, head->serial, head->name, head->name_len);
    rusm_err err = rusmi_link_send(link, out, key, key_len, timeout_ms);

    if (err == RUSM_ENOLINK) {
        (void)rusm_set_err_detail(err, "the link to node %s was lost", link->name);
    }
    rusmi_link_drop(link);
    return err;
}

/* The end of a public call: a killed process ends here, and a busy one gives others a turn. */
static rusm_err done(rusm_err err)
{
    if (err == RUSM_EKILLED) {
        rusm_checkpoint();
    }
    rusm_bump_reductions(SEND_REDUCTIONS);
    return err;
}

/* An observer looks and does not touch: the other side would drop its messages and refuse its
 * kills, and nobody waits to hear of that. */
static rusm_err check_role(const rusm_node *node)
{
    if (node->role != RUSM_ROLE_OBSERVER) {
        return RUSM_OK;
    }
    return rusm_set_err_detail(RUSM_EPERM, "%s is an observer, which may not send or kill",
                               node->name);
}

static rusm_err send_head(struct rusmi_link *link, const struct rusmi_message_head *head,
                          const void *data, size_t len, int64_t timeout_ms)
{
    struct rusmi_out *out;
    rusm_err err = rusmi_out_new(&out, head, data, len);

    if (err != RUSM_OK) {
        rusmi_link_drop(link);
        if (err == RUSM_EMSGSIZE) {
            return rusm_set_err_detail(err, "a message of %zu bytes is over the limit of %zu", len,
                                       RUSM_MESSAGE_MAX);
        }
        return rusm_set_err_detail(err, "%s", rusm_err_text(err));
    }
    err = queue(link, out, head, timeout_ms);
    if (err != RUSM_OK) {
        rusmi_out_del(out);
    }
    return err;
}

static rusm_err send_here(rusm_node *node, const char *name, size_t name_len, const void *data,
                          size_t len)
{
    rusm_pid sender = {node->incarnation, sender_serial(node)};
    rusm_pid pid;
    rusm_msg *msg;
    rusm_err err = rusm_msg_new(&msg, len);

    if (err != RUSM_OK) {
        return err;
    }
    if (len != 0) {
        memcpy(rusm_msg_data(msg), data, len);
    }
    rusm_msg_set_sender(msg, sender.serial == 0 ? RUSM_PID_NONE : sender);
    err = rusm_deliver_name(node->runtime, name, name_len, msg, &pid);
    if (err != RUSM_OK) {
        rusm_msg_del(msg);
        return rusm_set_err_detail(err, "no process of node %s has the name %s", node->name, name);
    }
    return RUSM_OK;
}

static rusm_err node_send(rusm_node *node, const char *peer, const char *name, const void *data,
                          size_t len, int64_t timeout_ms)
{
    struct rusmi_message_head head = {.kind = RUSMI_MESSAGE_TO_NAME};
    struct rusmi_link *link;
    size_t name_len;

    node = rusmi_node_resolve(node);
    if (node == NULL) {
        return RUSM_ENOCONTEXT;
    }
    name_len = name == NULL ? 0 : strlen(name);
    if (peer == NULL || name == NULL || !rusmi_name_valid(name, name_len) ||
        (data == NULL && len != 0)) {
        return rusm_set_err_detail(
            RUSM_EINVAL, "a message needs a node, a name of 1 to %d bytes of UTF-8, and bytes",
            RUSM_NAME_MAX);
    }
    if (len > RUSM_MESSAGE_MAX) {
        return rusm_set_err_detail(RUSM_EMSGSIZE, "a message of %zu bytes is over the limit of %zu",
                                   len, RUSM_MESSAGE_MAX);
    }
    link = rusmi_peers_find(node, peer, strlen(peer));
    if (link == NULL) {
        if (strcmp(peer, node->name) == 0) {
            return send_here(node, name, name_len, data, len);
        }
        return rusm_set_err_detail(RUSM_ENONODE, "node %s has no link to node %s", node->name,
                                   peer);
    }
    if (check_role(node) != RUSM_OK) {
        rusmi_link_drop(link);
        return RUSM_EPERM;
    }
    head.sender = sender_serial(node);
    head.name = name;
    head.name_len = (uint8_t)name_len;
    return send_head(link, &head, data, len, timeout_ms);
}

rusm_err rusm_node_send(rusm_node *node, const char *peer, const char *name, const void *data,
                        size_t len)
{
    return done(node_send(node, peer, name, data, len, RUSM_INFINITY));
}

rusm_err rusm_node_try_send(rusm_node *node, const char *peer, const char *name, const void *data,
                            size_t len)
{
    return done(node_send(node, peer, name, data, len, 0));
}

/* The link to the node of that incarnation, held; sets the detail if there is none. */
static struct rusmi_link *link_to(rusm_node *node, rusm_pid to)
{
    struct rusmi_link *link = rusmi_peers_find_incarnation(node, to.incarnation);
    char text[RUSM_PID_TEXT_MAX];

    if (link == NULL) {
        (void)rusm_pid_format(to, text, sizeof(text));
        (void)rusm_set_err_detail(
            RUSM_ENONODE, "process %s belongs to no node that %s is linked to", text, node->name);
    }
    return link;
}

rusm_err rusmi_send_pid(rusm_node *node, rusm_pid to, const void *data, size_t len)
{
    struct rusmi_message_head head = {
        .kind = RUSMI_MESSAGE_TO_SERIAL, .sender = sender_serial(node), .serial = to.serial};
    struct rusmi_link *link;

    if (data == NULL && len != 0) {
        return rusm_set_err_detail(RUSM_EINVAL, "a message of %zu bytes needs bytes", len);
    }
    if (to.incarnation == node->incarnation) {
        return rusm_send(to, data, len);
    }
    if (check_role(node) != RUSM_OK) {
        return RUSM_EPERM;
    }
    link = link_to(node, to);
    return link == NULL ? RUSM_ENONODE : done(send_head(link, &head, data, len, RUSM_INFINITY));
}

/* ---- the runtime's router -------------------------------------------------------------------- */

/* How a kind of message appears on the wire; 0: it does not cross nodes. */
static uint8_t wire_kind(rusm_msg_kind kind)
{
    switch (kind) {
    case RUSM_MSG_DATA:
    case RUSM_MSG_TIMER:
        return RUSMI_MESSAGE_TO_SERIAL;
    case RUSM_MSG_CALL:
        return RUSMI_MESSAGE_CALL;
    case RUSM_MSG_CAST:
        return RUSMI_MESSAGE_CAST;
    case RUSM_MSG_REPLY:
        return RUSMI_MESSAGE_REPLY;
    case RUSM_MSG_EXIT:
    case RUSM_MSG_DOWN:
    case RUSM_MSG_JOIN:
    case RUSM_MSG_LEAVE:
    case RUSM_MSG_NODE_UP:
    case RUSM_MSG_NODE_DOWN:
    case RUSM_MSG_NAME_CONFLICT:
        return 0;
    }
    return 0;
}

/*
 * A message that the caller keeps on any error. A small one is copied: its memory goes back to the
 * thread that it is from, which is cheaper than a second block on the way. A large one is sent from
 * where it is: the copy would hold the scheduler thread, for 2 ms if it has 16 MiB.
 */
static rusm_err send_msg(struct rusmi_link *link, const struct rusmi_message_head *head,
                         rusm_msg *msg, int64_t timeout_ms)
{
    size_t len = rusm_msg_len(msg);
    bool copied = len <= RUSMI_OUT_COPY_MAX;
    struct rusmi_out *out;
    rusm_err err = copied ? rusmi_out_new(&out, head, rusm_msg_data(msg), len)
                          : rusmi_out_new_msg(&out, head, msg);

    if (err != RUSM_OK) {
        rusmi_link_drop(link);
        return rusm_set_err_detail(err, "a message of %zu bytes: %s", len, rusm_err_text(err));
    }
    err = queue(link, out, head, timeout_ms);
    if (err == RUSM_OK) {
        if (copied) {
            rusm_msg_del(msg);
        }
    } else if (copied) {
        rusmi_out_del(out);
    } else {
        rusmi_out_del_shell(out);
    }
    return err;
}

static rusm_err route_send(void *arg, rusm_pid from, rusm_pid to, rusm_msg *msg, int64_t timeout_ms)
{
    rusm_node *node = arg;
    rusm_msg_kind kind = rusm_msg_get_kind(msg);
    struct rusmi_message_head head = {
        .kind = wire_kind(kind),
        .number = kind == RUSM_MSG_CALL || kind == RUSM_MSG_REPLY ? rusm_msg_ref(msg).number : 0,
        .sender = from.incarnation == node->incarnation ? from.serial : 0,
        .serial = to.serial};
    struct rusmi_link *link;

    if (check_role(node) != RUSM_OK) {
        return RUSM_EPERM;
    }
    if (head.kind == 0) {
        return rusm_set_err_detail(RUSM_EINVAL, "a process of another node can not be sent that");
    }
    link = link_to(node, to);
    if (link == NULL) {
        return RUSM_ENONODE;
    }
    if (link->version < rusmi_message_version(head.kind)) {
        rusmi_link_drop(link);
        return rusm_set_err_detail(RUSM_EPROTO, "the node of the process speaks an older protocol");
    }
    return send_msg(link, &head, msg, timeout_ms);
}

static bool route_name(void *arg, uint64_t incarnation, char *buf, size_t buf_len)
{
    struct rusmi_link *link = rusmi_peers_find_incarnation(arg, incarnation);

    if (link == NULL) {
        return false;
    }
    (void)snprintf(buf, buf_len, "%s", link->name);
    rusmi_link_drop(link);
    return true;
}

void rusmi_router_install(rusm_node *node)
{
    static const struct rusm_router router = {.send = route_send,
                                              .signal = rusmi_signal_route,
                                              .node_name = route_name,
                                              .groups_changed = rusmi_groups_news,
                                              .group_send = rusmi_groups_send,
                                              .stream = rusmi_streams_route};

    rusm_runtime_set_router(node->runtime, &router, node);
}
