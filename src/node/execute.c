/* SPDX-License-Identifier: MIT */
/*
 * What peers may ask of a node, other than messages: look at processes, peers and names, find,
 * kill. The core has checked the asker's role. Everything here answers at once; a spawn, which may
 * take time, is in factory.c.
 */
#include "node/execute.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "node/link.h"

#include <rusm/cluster/names.h>
#include <rusm/otp/group.h>
#include <rusm/otp/info.h>
#include <rusm/otp/registry.h>

#include <string.h>

/* Records that are fetched at a time: a page of the wire. */
#define PAGE RUSMI_PAGE_MAX

_Static_assert(RUSM_ADDRESS_MAX == RUSMI_WIRE_ADDRESS_MAX + 1, "an address fits its field");

void rusmi_reply_fail(struct rusmi_reply *reply, rusm_err err, const char *text)
{
    const char *detail = text != NULL && text[0] != '\0' ? text : rusm_err_text(err);
    size_t len = rusmi_utf8_cut(detail, strlen(detail), RUSMI_DETAIL_MAX);

    reply->err = err;
    memcpy(reply->detail, detail, len);
    reply->detail[len] = '\0';
}

void rusmi_answer_send(rusm_node *node, uint64_t conn, uint64_t request_id,
                       const struct rusmi_reply *reply)
{
    struct rusmi_actions actions;

    rusmi_actions_init(&actions);
    rusmi_lock_take(&node->lock);
    rusmi_core_answer(node->core, conn, request_id, reply, rusm_now(), &actions);
    rusmi_node_finish(node, &actions);
}

static size_t page_len(const struct rusmi_request *request)
{
    return request->max == 0 || request->max > PAGE ? PAGE : request->max;
}

static void answer_processes(rusm_node *node, const struct rusmi_request *request,
                             struct rusmi_reply *reply)
{
    size_t max = page_len(request);
    struct rusm_process_info *infos = rusmi_zalloc_array(max, sizeof(*infos));
    struct rusmi_process_record *records = rusmi_zalloc_array(max, sizeof(*records));
    ptrdiff_t got;

    reply->records.processes = records;
    if (infos == NULL || records == NULL) {
        rusmi_reply_fail(reply, RUSM_ENOMEM, NULL);
        rusmi_free(infos);
        return;
    }
    reply->cursor = request->cursor;
    got = rusm_process_list(node->runtime, &reply->cursor, infos, max);
    if (got < 0) {
        rusmi_reply_fail(reply, (rusm_err)got, rusm_err_detail());
        got = 0;
    }
    for (ptrdiff_t i = 0; i < got; i++) {
        records[i] = (struct rusmi_process_record){.pid = infos[i].pid,
                                                   .state = (uint32_t)infos[i].state,
                                                   .mailbox_len = infos[i].mailbox_len,
                                                   .reductions = infos[i].reductions,
                                                   .memory_bytes = infos[i].memory_bytes};
        memcpy(records[i].label, infos[i].label, sizeof(records[i].label));
        memcpy(records[i].name, infos[i].name, sizeof(records[i].name));
    }
    reply->records_len = (size_t)got;
    rusmi_free(infos);
}

static void answer_peers(rusm_node *node, const struct rusmi_request *request,
                         struct rusmi_reply *reply)
{
    size_t max = page_len(request);
    struct rusm_peer_info *infos = rusmi_zalloc_array(max, sizeof(*infos));
    struct rusmi_peer_record *records = rusmi_zalloc_array(max, sizeof(*records));
    ptrdiff_t got;

    reply->records.peers = records;
    if (infos == NULL || records == NULL) {
        rusmi_reply_fail(reply, RUSM_ENOMEM, NULL);
        rusmi_free(infos);
        return;
    }
    reply->cursor = request->cursor;
    got = rusm_peer_list(node, &reply->cursor, infos, max);
    for (ptrdiff_t i = 0; i < got; i++) {
        const struct rusm_peer_info *from = &infos[i];

        records[i] = (struct rusmi_peer_record){.incarnation = from->incarnation,
                                                .role = (uint32_t)from->role,
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
        memcpy(records[i].name, from->name, sizeof(records[i].name));
        memcpy(records[i].address, from->address, sizeof(records[i].address));
        memcpy(records[i].listen, from->listen, sizeof(records[i].listen));
    }
    reply->records_len = got < 0 ? 0 : (size_t)got;
    rusmi_free(infos);
}

static void answer_names(rusm_node *node, const struct rusmi_request *request,
                         struct rusmi_reply *reply)
{
    size_t max = page_len(request);
    struct rusm_name_info *infos = rusmi_zalloc_array(max, sizeof(*infos));
    struct rusmi_name_record *records = rusmi_zalloc_array(max, sizeof(*records));
    ptrdiff_t got;

    reply->records.names = records;
    if (infos == NULL || records == NULL) {
        rusmi_reply_fail(reply, RUSM_ENOMEM, NULL);
        rusmi_free(infos);
        return;
    }
    reply->cursor = request->cursor;
    got = rusm_name_list(node, &reply->cursor, infos, max);
    for (ptrdiff_t i = 0; i < got; i++) {
        records[i].pid = infos[i].pid;
        memcpy(records[i].name, infos[i].name, sizeof(records[i].name));
        memcpy(records[i].node, infos[i].node, sizeof(records[i].node));
    }
    reply->records_len = got < 0 ? 0 : (size_t)got;
    rusmi_free(infos);
}

static void answer_groups(rusm_node *node, const struct rusmi_request *request,
                          struct rusmi_reply *reply)
{
    size_t max = page_len(request);
    char(*names)[RUSM_NAME_MAX + 1] = rusmi_zalloc_array(max, sizeof(*names));
    struct rusmi_group_record *records = rusmi_zalloc_array(max, sizeof(*records));
    ptrdiff_t got;

    reply->records.groups = records;
    if (names == NULL || records == NULL) {
        rusmi_reply_fail(reply, RUSM_ENOMEM, NULL);
        rusmi_free(names);
        return;
    }
    reply->cursor = request->cursor;
    got = rusm_group_list(node->runtime, &reply->cursor, names, max);
    for (ptrdiff_t i = 0; i < got; i++) {
        ptrdiff_t local = rusm_group_local_members(node->runtime, names[i], NULL, 0);
        ptrdiff_t all = rusm_group_members(node->runtime, names[i], NULL, 0);

        memcpy(records[i].name, names[i], sizeof(records[i].name));
        records[i].members = (uint64_t)all;
        records[i].local = (uint64_t)local;
    }
    reply->records_len = got < 0 ? 0 : (size_t)got;
    rusmi_free(names);
}

static void answer_whereis(rusm_node *node, const struct rusmi_request *request,
                           struct rusmi_reply *reply)
{
    rusm_err err = rusm_whereis(node->runtime, request->name, &reply->pid);

    if (err == RUSM_ENONAME) {
        err = rusm_whereis_global(node, request->name, &reply->pid);
    }
    if (err != RUSM_OK) {
        rusmi_reply_fail(reply, err, rusm_err_detail());
    }
}

static void answer_kill(rusm_node *node, const struct rusmi_request *request,
                        struct rusmi_reply *reply)
{
    rusm_err err =
        request->pid.incarnation == node->incarnation ? rusm_kill(request->pid) : RUSM_ENOPROC;

    if (err != RUSM_OK) {
        rusmi_reply_fail(reply, err, NULL);
    }
}

void rusmi_answer(rusm_node *node, const struct rusmi_request *request, struct rusmi_reply *reply)
{
    *reply = (struct rusmi_reply){.kind = request->kind, .err = RUSM_OK};
    switch (request->kind) {
    case RUSMI_REQUEST_PROCESSES:
        answer_processes(node, request, reply);
        return;
    case RUSMI_REQUEST_PEERS:
        answer_peers(node, request, reply);
        return;
    case RUSMI_REQUEST_NAMES:
        answer_names(node, request, reply);
        return;
    case RUSMI_REQUEST_GROUPS:
        answer_groups(node, request, reply);
        return;
    case RUSMI_REQUEST_WHEREIS:
        answer_whereis(node, request, reply);
        return;
    case RUSMI_REQUEST_KILL:
        answer_kill(node, request, reply);
        return;
    case RUSMI_REQUEST_RELOAD:
        rusmi_trust_answer(node, reply);
        return;
    default:
        rusmi_reply_fail(reply, RUSM_EINVAL, "this node does not know such a request");
        return;
    }
}

void rusmi_execute(rusm_node *node, struct rusmi_action *action)
{
    struct rusmi_reply reply;

    if (action->request->kind == RUSMI_REQUEST_SPAWN) {
        rusmi_factory_execute(node, action);
        return;
    }
    rusmi_answer(node, action->request, &reply);
    rusmi_answer_send(node, action->conn, action->request_id, &reply);
    rusmi_free(reply.records.any);
    rusmi_action_del(action);
}
