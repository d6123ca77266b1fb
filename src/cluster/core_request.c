/* SPDX-License-Identifier: MIT */
/*
 * Requests to peers and from peers. What a role may ask is decided by who is asked, from the
 * certificate; nothing that a peer says about itself counts. Each request that reaches the caller
 * of the core as EXECUTE is answered once; what comes back for a request that nobody waits for any
 * more is counted and dropped.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "cluster/core_state.h"

#include <stdio.h>
#include <string.h>

static bool request_valid(const struct rusmi_request *request)
{
    switch ((enum rusmi_request_kind)request->kind) {
    case RUSMI_REQUEST_SPAWN:
        return rusmi_name_valid(request->name, strlen(request->name)) &&
               request->args_len <= RUSMI_SPAWN_ARGS_MAX;
    case RUSMI_REQUEST_PROCESSES:
    case RUSMI_REQUEST_PEERS:
    case RUSMI_REQUEST_NAMES:
    case RUSMI_REQUEST_GROUPS:
        return request->max != 0;
    case RUSMI_REQUEST_WHEREIS:
        return rusmi_name_valid(request->name, strlen(request->name));
    case RUSMI_REQUEST_KILL:
        return request->pid.serial != 0 && request->pid.incarnation != 0;
    case RUSMI_REQUEST_RELOAD:
        return true;
    }
    return false;
}

/* Tell the caller and free the record. payload, with its memory, becomes the action's. */
static void pending_end(struct rusmi_core *core, struct pending *pending, rusm_err err,
                        const char *text, struct rusmi_reply *payload, void *payload_memory,
                        struct rusmi_actions *out)
{
    struct rusmi_action *action = pending->done;

    action->err = err;
    action->reply = payload;
    action->memory[0] = payload;
    action->memory[1] = payload_memory;
    rusmi_action_tell(action, pending->conn->name, text);
    rusmi_actions_push(out, action);
    rusmi_list_remove(&pending->in_conn);
    rusmi_map_remove(&core->requests, &pending->by_id);
    rusmi_deadlines_release(&core->deadlines, &pending->deadline);
    /* In no list, map or heap any more, and nobody keeps a pointer over this call. */
    rusmi_free(pending);
}

static struct pending *pending_new(struct rusmi_core *core, uint64_t ref, struct conn *conn,
                                   const struct rusmi_request *request)
{
    struct pending *pending = rusmi_zalloc(sizeof(struct pending));

    if (pending == NULL) {
        return NULL;
    }
    pending->id = core->request_last + 1;
    pending->kind = request->kind;
    pending->conn = conn;
    pending->deadline.kind = DEADLINE_REQUEST;
    pending->done = rusmi_action_new_told(RUSMI_ACTION_REPLY);
    if (pending->done == NULL || !rusmi_deadlines_reserve(&core->deadlines)) {
        rusmi_action_del(pending->done);
        rusmi_free(pending);
        return NULL;
    }
    if (!rusmi_map_insert(&core->requests, &pending->by_id, &pending->id, sizeof(pending->id))) {
        rusmi_deadlines_release(&core->deadlines, &pending->deadline);
        rusmi_action_del(pending->done);
        rusmi_free(pending);
        return NULL;
    }
    pending->done->ref = ref;
    core->request_last++;
    rusmi_list_push(&conn->requests, &pending->in_conn);
    return pending;
}

rusm_err rusmi_core_request(struct rusmi_core *core, uint64_t ref, const char *peer,
                            const struct rusmi_request *request, rusm_time deadline, rusm_time now,
                            struct rusmi_actions *out)
{
    struct rusmi_frame frame = {.type = RUSMI_FRAME_REQUEST};
    struct pending *pending;
    struct conn *conn;

    if (core->shut_down) {
        return RUSM_ECLOSED;
    }
    if (!request_valid(request)) {
        return RUSM_EINVAL;
    }
    conn = rusmi_peer_find(core, peer);
    if (conn == NULL) {
        return RUSM_ENONODE;
    }
    pending = pending_new(core, ref, conn, request);
    if (pending == NULL) {
        return RUSM_ENOMEM;
    }
    rusmi_deadlines_set(&core->deadlines, &pending->deadline, deadline);
    frame.id = pending->id;
    frame.u.request = *request;
    /* If this fails, the conn has gone and the REPLY is in out already. */
    (void)rusmi_conn_send(core, conn, &frame, now, out);
    rusmi_core_finish(core, now, out);
    return RUSM_OK;
}

void rusmi_requests_fail(struct rusmi_core *core, struct conn *conn, rusm_err err, const char *text,
                         struct rusmi_actions *out)
{
    while (!rusmi_list_empty(&conn->requests)) {
        pending_end(core, rusmi_container(conn->requests.next, struct pending, in_conn), err, text,
                    NULL, NULL, out);
    }
}

void rusmi_request_expired(struct rusmi_core *core, struct pending *pending,
                           struct rusmi_actions *out)
{
    char text[RUSMI_TEXT_MAX];

    (void)snprintf(text, sizeof(text), "\"%s\" did not answer in time", pending->conn->name);
    pending_end(core, pending, RUSM_ETIMEOUT, text, NULL, NULL, out);
}

void rusmi_reply_frame(struct rusmi_core *core, struct conn *conn, struct rusmi_frame *frame,
                       rusm_time now, struct rusmi_actions *out)
{
    struct rusmi_map_entry *entry = rusmi_map_find(&core->requests, &frame->id, sizeof(frame->id));
    struct pending *pending = entry == NULL ? NULL : rusmi_container(entry, struct pending, by_id);
    struct rusmi_reply *reply;

    if (pending == NULL || pending->conn != conn) {
        core->stats.replies_late++;
        return;
    }
    if (frame->u.reply.kind != pending->kind) {
        rusmi_conn_close(core, conn, RUSMI_CLOSE_PROTOCOL, RUSMI_DOWN_PROTOCOL, now, out,
                         "\"%s\" answered a request with a reply of another kind", conn->name);
        return;
    }
    if (frame->u.reply.err != RUSM_OK) {
        pending_end(core, pending, frame->u.reply.err, frame->u.reply.detail, NULL, NULL, out);
        return;
    }
    reply = rusmi_alloc(sizeof(struct rusmi_reply));
    if (reply == NULL) {
        pending_end(core, pending, RUSM_ENOMEM, "no memory for the answer", NULL, NULL, out);
        return;
    }
    *reply = frame->u.reply;
    pending_end(core, pending, RUSM_OK, reply->detail, reply, frame->memory, out);
    frame->memory = NULL; /* the records go with the action */
}

static void answer(struct rusmi_core *core, struct conn *conn, uint64_t id, uint32_t kind,
                   rusm_err err, const char *detail, rusm_time now, struct rusmi_actions *out)
{
    struct rusmi_frame frame = {.type = RUSMI_FRAME_REPLY, .id = id};

    frame.u.reply.kind = kind;
    frame.u.reply.err = err;
    (void)snprintf(frame.u.reply.detail, sizeof(frame.u.reply.detail), "%s", detail);
    (void)rusmi_conn_send(core, conn, &frame, now, out);
}

static bool role_may(enum rusmi_role role, uint32_t kind)
{
    if (kind == RUSMI_REQUEST_RELOAD) {
        return role == RUSMI_ROLE_OPERATOR; /* members have no business with each other's files */
    }
    return role != RUSMI_ROLE_OBSERVER ||
           (kind != RUSMI_REQUEST_SPAWN && kind != RUSMI_REQUEST_KILL);
}

/* Hand a request to the caller; false when memory ran out. */
static bool execute(struct rusmi_core *core, struct conn *conn, const struct rusmi_frame *frame,
                    struct rusmi_actions *out)
{
    const struct rusmi_request *from = &frame->u.request;
    struct rusmi_action *action = rusmi_action_new_told(RUSMI_ACTION_EXECUTE);
    struct rusmi_request *request =
        action == NULL ? NULL : rusmi_alloc(sizeof(struct rusmi_request) + from->args_len);

    (void)core;
    if (request == NULL) {
        rusmi_action_del(action);
        return false;
    }
    *request = *from;
    if (from->args_len != 0) {
        memcpy(request + 1, from->args, from->args_len);
    }
    request->args = (const uint8_t *)(request + 1);
    action->memory[0] = request;
    action->request = request;
    action->conn = conn->id;
    action->incarnation = conn->incarnation;
    action->request_id = frame->id;
    action->role = conn->cert.role;
    rusmi_action_tell(action, conn->name, "");
    rusmi_actions_push(out, action);
    conn->serving++;
    return true;
}

void rusmi_request_frame(struct rusmi_core *core, struct conn *conn,
                         const struct rusmi_frame *frame, rusm_time now, struct rusmi_actions *out)
{
    uint32_t kind = frame->u.request.kind;

    if (kind < RUSMI_REQUEST_SPAWN || kind > RUSMI_REQUEST_GROUPS) {
        answer(core, conn, frame->id, kind, RUSM_EINVAL, "an unknown kind of request", now, out);
    } else if (core->cfg.role != RUSMI_ROLE_MEMBER) {
        core->stats.requests_refused++;
        answer(core, conn, frame->id, kind, RUSM_EPERM, "only members answer requests", now, out);
    } else if (!role_may(conn->cert.role, kind)) {
        core->stats.requests_refused++;
        answer(core, conn, frame->id, kind, RUSM_EPERM,
               kind == RUSMI_REQUEST_RELOAD ? "only an operator may ask a node to reload"
                                            : "an observer may look, not act",
               now, out);
    } else if (conn->serving >= core->cfg.requests_max) {
        core->stats.refused_full++;
        answer(core, conn, frame->id, kind, RUSM_EFULL,
               "too many requests of this peer are being worked on", now, out);
    } else if (!execute(core, conn, frame, out)) {
        rusmi_conn_close(core, conn, RUSMI_CLOSE_MEMORY, RUSMI_DOWN_MEMORY, now, out,
                         "no memory for a request of \"%s\"", conn->name);
    }
}

void rusmi_core_answer(struct rusmi_core *core, uint64_t conn_id, uint64_t request_id,
                       const struct rusmi_reply *reply, rusm_time now, struct rusmi_actions *out)
{
    struct conn *conn = rusmi_conn_find(core, conn_id);
    struct rusmi_frame frame = {.type = RUSMI_FRAME_REPLY, .id = request_id};
    struct rusmi_buf trial;
    rusm_err err;

    if (conn == NULL) {
        return;
    }
    rusmi_assert(conn->serving > 0);
    conn->serving--;
    frame.u.reply = *reply;
    rusmi_buf_init(&trial);
    err = rusmi_control_encode(&trial, &frame);
    rusmi_buf_fini(&trial);
    if (err == RUSM_EINVAL || err == RUSM_EMSGSIZE) {
        answer(core, conn, request_id, reply->kind, RUSM_EINVAL, "the answer can not be encoded",
               now, out);
    } else {
        (void)rusmi_conn_send(core, conn, &frame, now, out);
    }
    rusmi_core_finish(core, now, out);
}
