/* SPDX-License-Identifier: MIT */
/* Asking another node, or, under its own name, this one: one request, one reply, the same answer
 * either way. */
#include "base/mem.h"
#include "base/utf8.h"
#include "node/call.h"
#include "node/execute.h"
#include "node/link.h"
#include "node/signal.h"

#include <rusm/cluster/remote.h>
#include <rusm/otp/link.h>

#include <stdio.h>
#include <string.h>

_Static_assert(RUSM_SPAWN_ARGS_MAX == RUSMI_SPAWN_ARGS_MAX, "the public limit is the wire's");

/* A request and what came of it. The reply's records are the call's, or (here) `own`. */
struct asked {
    rusm_node *node;
    struct rusmi_call call;
    bool called;
    struct rusmi_reply own;
    const struct rusmi_reply *reply;
};

/* Ask peer, and wait. On RUSM_OK asked->reply holds until asked_end(), which must be called in any
 * case. */
static rusm_err ask(struct asked *asked, rusm_node *node, const char *peer,
                    const struct rusmi_request *request, int64_t timeout_ms)
{
    struct rusmi_actions actions;
    rusm_err err;

    *asked = (struct asked){.node = rusmi_node_resolve(node)};
    node = asked->node;
    if (node == NULL) {
        return RUSM_ENOCONTEXT;
    }
    if (peer == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "no node was named");
    }
    if (strcmp(peer, node->name) == 0) {
        asked->reply = &asked->own;
        if (request->kind == RUSMI_REQUEST_SPAWN) {
            return rusmi_factory_call(node, request, timeout_ms, &asked->own);
        }
        rusmi_answer(node, request, &asked->own);
        return RUSM_OK;
    }
    rusmi_actions_init(&actions);
    rusmi_lock_take(&node->lock);
    err = node->closing ? RUSM_ECLOSED : rusmi_call_begin(node, &asked->call);
    if (err == RUSM_OK) {
        asked->called = true;
        err = rusmi_core_request(node->core, asked->call.ref, peer, request,
                                 rusmi_call_deadline(timeout_ms), rusm_now(), &actions);
    }
    rusmi_node_finish(node, &actions);
    if (err == RUSM_ENONODE) {
        return rusm_set_err_detail(err, "node %s has no link to node %s", node->name, peer);
    }
    if (err != RUSM_OK) {
        return rusm_set_err_detail(err, "%s", rusm_err_text(err));
    }
    err = rusmi_call_wait(node, &asked->call);
    if (err == RUSM_OK) {
        asked->reply = asked->call.answer->reply;
    }
    return err;
}

/* Free what ask() left; a killed process ends here. Returns err, or the error inside the reply. */
static rusm_err asked_end(struct asked *asked, rusm_err err)
{
    if (err == RUSM_OK && asked->reply->err != RUSM_OK) {
        err = rusm_set_err_detail(asked->reply->err, "%s", asked->reply->detail);
    }
    if (asked->called) {
        rusmi_call_end(asked->node, &asked->call);
    }
    rusmi_free(asked->own.records.any);
    if (err == RUSM_EKILLED) {
        rusm_checkpoint();
    }
    return err;
}

static bool set_name(struct rusmi_request *request, const char *name)
{
    size_t len = name == NULL ? 0 : strlen(name);

    if (!rusmi_name_valid(name == NULL ? "" : name, len)) {
        (void)rusm_set_err_detail(RUSM_EINVAL,
                                  "a name has 1 to %d bytes of UTF-8 without control characters",
                                  RUSM_NAME_MAX);
        return false;
    }
    memcpy(request->name, name, len + 1);
    return true;
}

static rusm_err spawn_request(struct rusmi_request *request, const char *factory, const void *args,
                              size_t args_len)
{
    *request =
        (struct rusmi_request){.kind = RUSMI_REQUEST_SPAWN, .args = args, .args_len = args_len};
    if (!set_name(request, factory)) {
        return RUSM_EINVAL;
    }
    if (args == NULL && args_len != 0) {
        return rusm_set_err_detail(RUSM_EINVAL, "%zu bytes of arguments need bytes", args_len);
    }
    if (args_len > RUSM_SPAWN_ARGS_MAX) {
        return rusm_set_err_detail(RUSM_EMSGSIZE, "%zu bytes of arguments are over the limit of %d",
                                   args_len, RUSM_SPAWN_ARGS_MAX);
    }
    request->sender = rusm_self().serial;
    return RUSM_OK;
}

rusm_err rusm_spawn_remote(rusm_node *node, const char *peer, const char *factory, const void *args,
                           size_t args_len, int64_t timeout_ms, rusm_pid *out_pid)
{
    struct rusmi_request request;
    struct asked asked;
    rusm_err err = spawn_request(&request, factory, args, args_len);

    if (err != RUSM_OK) {
        return err;
    }
    err = ask(&asked, node, peer, &request, timeout_ms);
    if (err == RUSM_OK && asked.reply->err == RUSM_OK && out_pid != NULL) {
        *out_pid = asked.reply->pid;
    }
    return asked_end(&asked, err);
}

/* Prepare a tie with a process that peer is to spawn. */
static rusm_err prepare(rusm_node *node, const char *peer, bool is_link, uint64_t *out_number)
{
    struct rusmi_link *link = rusmi_peers_find(node, peer, strlen(peer));
    rusm_err err;

    if (link == NULL) {
        return rusm_set_err_detail(RUSM_ENONODE, "node %s has no link to node %s", node->name,
                                   peer);
    }
    if (!rusmi_signals_may(link)) {
        rusmi_link_drop(link);
        return rusm_set_err_detail(RUSM_EPROTO,
                                   "node %s speaks a protocol without links and "
                                   "monitors",
                                   peer);
    }
    err = rusm_tie_prepare(link->incarnation, is_link, out_number);
    rusmi_link_drop(link);
    return err;
}

/* Spawn and tie; *number: of the tie. */
static rusm_err spawn_tied(rusm_node *node, const char *peer, struct rusmi_request *request,
                           int64_t timeout_ms, bool is_link, rusm_pid *out_pid,
                           uint64_t *out_number)
{
    struct asked asked;
    rusm_err err;

    node = rusmi_node_resolve(node);
    if (node == NULL || rusm_self().incarnation != node->incarnation) {
        return rusm_set_err_detail(RUSM_ENOCONTEXT, "the caller is no process of the node");
    }
    if (peer == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "no node was named");
    }
    *out_number = 0;
    if (strcmp(peer, node->name) != 0) {
        err = prepare(node, peer, is_link, is_link ? &request->link : &request->monitor);
        if (err != RUSM_OK) {
            return err;
        }
        *out_number = is_link ? request->link : request->monitor;
    }
    err = ask(&asked, node, peer, request, timeout_ms);
    *out_pid = err == RUSM_OK && asked.reply->err == RUSM_OK ? asked.reply->pid : RUSM_PID_NONE;
    if (*out_number != 0 && err != RUSM_EKILLED) {
        rusm_err bound = rusm_tie_bind(*out_number, *out_pid);

        if (bound != RUSM_OK) {
            (void)asked_end(&asked, err);
            return rusm_set_err_detail(bound, "the link to node %s was lost", peer);
        }
    }
    return asked_end(&asked, err);
}

rusm_err rusm_spawn_remote_link(rusm_node *node, const char *peer, const char *factory,
                                const void *args, size_t args_len, int64_t timeout_ms,
                                rusm_pid *out_pid)
{
    struct rusmi_request request;
    uint64_t number;
    rusm_pid pid;
    rusm_err err = spawn_request(&request, factory, args, args_len);

    if (err == RUSM_OK) {
        err = spawn_tied(node, peer, &request, timeout_ms, true, &pid, &number);
    }
    if (err != RUSM_OK) {
        return err;
    }
    if (out_pid != NULL) {
        *out_pid = pid;
    }
    return number != 0 ? RUSM_OK : rusm_link(pid);
}

rusm_err rusm_spawn_remote_monitor(rusm_node *node, const char *peer, const char *factory,
                                   const void *args, size_t args_len, int64_t timeout_ms,
                                   rusm_pid *out_pid, rusm_ref *out_ref)
{
    struct rusmi_request request;
    uint64_t number;
    rusm_pid pid;
    rusm_err err = spawn_request(&request, factory, args, args_len);

    if (err == RUSM_OK) {
        err = spawn_tied(node, peer, &request, timeout_ms, false, &pid, &number);
    }
    if (err != RUSM_OK) {
        return err;
    }
    if (out_pid != NULL) {
        *out_pid = pid;
    }
    if (number == 0) {
        return rusm_monitor(pid, out_ref);
    }
    if (out_ref != NULL) {
        *out_ref = (rusm_ref){rusm_self().incarnation, number};
    }
    return RUSM_OK;
}

rusm_err rusm_remote_whereis(rusm_node *node, const char *peer, const char *name,
                             int64_t timeout_ms, rusm_pid *out_pid)
{
    struct rusmi_request request = {.kind = RUSMI_REQUEST_WHEREIS};
    struct asked asked;
    rusm_err err;

    if (!set_name(&request, name)) {
        return RUSM_EINVAL;
    }
    err = ask(&asked, node, peer, &request, timeout_ms);
    if (err == RUSM_OK && asked.reply->err == RUSM_OK && out_pid != NULL) {
        *out_pid = asked.reply->pid;
    }
    return asked_end(&asked, err);
}

rusm_err rusm_remote_kill(rusm_node *node, const char *peer, rusm_pid pid, int64_t timeout_ms)
{
    struct rusmi_request request = {.kind = RUSMI_REQUEST_KILL, .pid = pid};
    struct asked asked;

    if (rusm_pid_is_none(pid)) {
        return rusm_set_err_detail(RUSM_EINVAL, "the zero pid names no process");
    }
    return asked_end(&asked, ask(&asked, node, peer, &request, timeout_ms));
}

rusm_err rusm_remote_reload(rusm_node *node, const char *peer, int64_t timeout_ms)
{
    struct rusmi_request request = {.kind = RUSMI_REQUEST_RELOAD};
    struct asked asked;

    return asked_end(&asked, ask(&asked, node, peer, &request, timeout_ms));
}

/* ---- lists ----------------------------------------------------------------------------------- */

/* Copy record i of a reply to place `at` of the caller's array. */
typedef void (*copy_fn)(void *infos, size_t at, const struct rusmi_reply *reply, size_t i);

static void copy_process(void *infos, size_t at, const struct rusmi_reply *reply, size_t i)
{
    const struct rusmi_process_record *from = &reply->records.processes[i];
    struct rusm_process_info *info = (struct rusm_process_info *)infos + at;

    *info = (struct rusm_process_info){.pid = from->pid,
                                       .state = (rusm_process_state)from->state,
                                       .mailbox_len = from->mailbox_len,
                                       .reductions = from->reductions,
                                       .memory_bytes = from->memory_bytes};
    memcpy(info->label, from->label, sizeof(info->label));
    memcpy(info->name, from->name, sizeof(info->name));
}

static void copy_peer(void *infos, size_t at, const struct rusmi_reply *reply, size_t i)
{
    const struct rusmi_peer_record *from = &reply->records.peers[i];
    struct rusm_peer_info *info = (struct rusm_peer_info *)infos + at;

    *info = (struct rusm_peer_info){.incarnation = from->incarnation,
                                    .role = (rusm_role)from->role,
                                    .dialed = from->dialed,
                                    .rtt_us = from->rtt_us,
                                    .packets_lost = from->packets_lost,
                                    .messages_sent = from->messages_sent,
                                    .messages_received = from->messages_received,
                                    .bytes_sent = from->bytes_sent,
                                    .bytes_received = from->bytes_received,
                                    .queue_bytes = from->queue_bytes,
                                    .up_ms = from->up_ms,
                                    .cert_not_after = from->cert_not_after,
                                    .payload_max = from->payload_max,
                                    .payload_shrunk = from->payload_shrunk};
    memcpy(info->name, from->name, sizeof(info->name));
    memcpy(info->address, from->address, sizeof(info->address));
    memcpy(info->listen, from->listen, sizeof(info->listen));
}

static void copy_name(void *infos, size_t at, const struct rusmi_reply *reply, size_t i)
{
    const struct rusmi_name_record *from = &reply->records.names[i];
    struct rusm_name_info *info = (struct rusm_name_info *)infos + at;

    info->pid = from->pid;
    memcpy(info->name, from->name, sizeof(info->name));
    memcpy(info->node, from->node, sizeof(info->node));
}

static void copy_group(void *infos, size_t at, const struct rusmi_reply *reply, size_t i)
{
    const struct rusmi_group_record *from = &reply->records.groups[i];
    struct rusm_group_info *info = (struct rusm_group_info *)infos + at;

    info->members = from->members;
    info->local = from->local;
    memcpy(info->name, from->name, sizeof(info->name));
}

/*
 * Fill the caller's array from as many pages as that takes. What was fetched before an error is
 * given up: the caller asks again with its old cursor.
 */
static ptrdiff_t list(rusm_node *node, const char *peer, uint32_t kind, uint64_t *cursor,
                      void *infos, size_t infos_max, int64_t timeout_ms, copy_fn copy)
{
    struct rusmi_request request = {.kind = kind};
    size_t done = 0, got;

    if (cursor == NULL || infos == NULL || infos_max == 0) {
        return rusm_set_err_detail(RUSM_EINVAL, "a list needs a cursor and room for records");
    }
    request.cursor = *cursor;
    do {
        struct asked asked;
        rusm_err err;

        request.max =
            (uint32_t)(infos_max - done < RUSMI_PAGE_MAX ? infos_max - done : RUSMI_PAGE_MAX);
        err = ask(&asked, node, peer, &request, timeout_ms);
        got = 0;
        if (err == RUSM_OK && asked.reply->err == RUSM_OK) {
            got = asked.reply->records_len < request.max ? asked.reply->records_len : request.max;
            for (size_t i = 0; i < got; i++) {
                copy(infos, done + i, asked.reply, i);
            }
            request.cursor = asked.reply->cursor;
        }
        err = asked_end(&asked, err);
        if (err != RUSM_OK) {
            return err;
        }
        done += got;
    } while (request.cursor != 0 && got != 0 && done < infos_max);
    *cursor = request.cursor;
    return (ptrdiff_t)done;
}

ptrdiff_t rusm_remote_process_list(rusm_node *node, const char *peer, uint64_t *cursor,
                                   rusm_process_info *infos, size_t infos_max, int64_t timeout_ms)
{
    return list(node, peer, RUSMI_REQUEST_PROCESSES, cursor, infos, infos_max, timeout_ms,
                copy_process);
}

ptrdiff_t rusm_remote_peer_list(rusm_node *node, const char *peer, uint64_t *cursor,
                                rusm_peer_info *infos, size_t infos_max, int64_t timeout_ms)
{
    return list(node, peer, RUSMI_REQUEST_PEERS, cursor, infos, infos_max, timeout_ms, copy_peer);
}

ptrdiff_t rusm_remote_name_list(rusm_node *node, const char *peer, uint64_t *cursor,
                                rusm_name_info *infos, size_t infos_max, int64_t timeout_ms)
{
    return list(node, peer, RUSMI_REQUEST_NAMES, cursor, infos, infos_max, timeout_ms, copy_name);
}

ptrdiff_t rusm_remote_group_list(rusm_node *node, const char *peer, uint64_t *cursor,
                                 rusm_group_info *infos, size_t infos_max, int64_t timeout_ms)
{
    return list(node, peer, RUSMI_REQUEST_GROUPS, cursor, infos, infos_max, timeout_ms, copy_group);
}
