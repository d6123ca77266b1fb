/* SPDX-License-Identifier: MIT */
/*
 * rusm ps, peers, names, groups, whereis: looking into a running node. Lists are fetched and
 * printed page by page. When a page can not be had, the JSON list is left open on purpose: a
 * reader that takes half a list for the whole would be worse than one that complains.
 */
#include "cli/attach.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/table.h"
#include "cli/text.h"

#include <inttypes.h>
#include <rusm/cluster.h>
#include <stdlib.h>

/* One page; the library asks the peer as often as this takes. */
#define PAGE                 512

#define COLUMNS_LEN(columns) (sizeof(columns) / sizeof((columns)[0]))

/* A list on its way to standard output. */
struct listing {
    struct rusmi_attach attach;
    struct rusmi_table table;
    struct rusmi_json json;
};

/* A kind of list: how a page of records is fetched, and how a record is printed. */
struct kind {
    const struct rusmi_column *columns;
    size_t columns_len;
    size_t record_size;
    ptrdiff_t (*fetch)(struct rusmi_attach *attach, uint64_t *cursor, void *records);
    void (*row)(struct listing *listing, const void *record);
    void (*object)(struct listing *listing, const void *record);
};

/* Fetch and print all pages. */
static enum rusmi_exit list_pages(struct listing *listing, const struct kind *kind, char *records)
{
    bool as_json = listing->attach.args->json;
    uint64_t cursor = 0;

    do {
        ptrdiff_t got = kind->fetch(&listing->attach, &cursor, records);

        if (got < 0) {
            return rusmi_fail((rusm_err)got);
        }
        for (ptrdiff_t i = 0; i < got; i++) {
            (as_json ? kind->object : kind->row)(listing, records + (size_t)i * kind->record_size);
        }
        if (!as_json && !rusmi_table_flush(&listing->table)) {
            rusmi_say("%s", rusm_err_text(RUSM_ENOMEM));
            return RUSMI_EXIT_FAILED;
        }
        if (ferror(stdout)) {
            return RUSMI_EXIT_OK; /* nobody reads any more; the caller's flush says so */
        }
    } while (cursor != 0);
    if (as_json) {
        rusmi_json_end(&listing->json);
    }
    return RUSMI_EXIT_OK;
}

static enum rusmi_exit list(const struct rusmi_args *args, const struct kind *kind)
{
    struct listing listing;
    char *records = calloc(PAGE, kind->record_size);
    enum rusmi_exit code;

    if (records == NULL) {
        rusmi_say("%s", rusm_err_text(RUSM_ENOMEM));
        return RUSMI_EXIT_FAILED;
    }
    code = rusmi_attach_init(&listing.attach, args);
    rusmi_table_init(&listing.table, stdout, kind->columns, kind->columns_len);
    rusmi_json_init(&listing.json, stdout);
    if (code == RUSMI_EXIT_OK) {
        if (args->json) {
            rusmi_json_begin_array(&listing.json, NULL);
        }
        code = list_pages(&listing, kind, records);
    }
    rusmi_table_fini(&listing.table);
    rusmi_attach_fini(&listing.attach);
    free(records);
    return code;
}

/* A text, or null where there is none. */
static const char *or_null(const char *text)
{
    return text[0] == '\0' ? NULL : text;
}

/* ---- ps */

static ptrdiff_t process_fetch(struct rusmi_attach *attach, uint64_t *cursor, void *records)
{
    return rusm_remote_process_list(attach->node, attach->peer, cursor, records, PAGE,
                                    attach->args->timeout_ms);
}

static void process_row(struct listing *listing, const void *record)
{
    const rusm_process_info *info = record;
    char pid[RUSMI_PID_TEXT_MAX], memory[RUSMI_TEXT_SHORT];

    rusmi_pid_format(listing->attach.peer, info->pid, pid);
    rusmi_text_bytes(info->memory_bytes, memory);
    rusmi_table_cell(&listing->table, "%s", pid);
    rusmi_table_cell(&listing->table, "%s", info->name);
    rusmi_table_cell(&listing->table, "%s", info->label);
    rusmi_table_cell(&listing->table, "%s", rusm_process_state_name(info->state));
    rusmi_table_cell(&listing->table, "%" PRIu64, info->mailbox_len);
    rusmi_table_cell(&listing->table, "%" PRIu64, info->reductions);
    rusmi_table_cell(&listing->table, "%s", memory);
}

static void process_object(struct listing *listing, const void *record)
{
    const rusm_process_info *info = record;
    struct rusmi_json *json = &listing->json;
    char pid[RUSMI_PID_TEXT_MAX];

    rusmi_pid_format(listing->attach.peer, info->pid, pid);
    rusmi_json_begin_object(json, NULL);
    rusmi_json_text(json, "pid", pid);
    rusmi_json_text(json, "name", or_null(info->name));
    rusmi_json_text(json, "label", or_null(info->label));
    rusmi_json_text(json, "state", rusm_process_state_name(info->state));
    rusmi_json_number(json, "mailbox", info->mailbox_len);
    rusmi_json_number(json, "reductions", info->reductions);
    rusmi_json_number(json, "memory_bytes", info->memory_bytes);
    rusmi_json_end(json);
}

enum rusmi_exit rusmi_run_ps(const struct rusmi_args *args)
{
    static const struct rusmi_column columns[] = {
        {"PID", false},    {"NAME", false},      {"LABEL", false}, {"STATE", false},
        {"MAILBOX", true}, {"REDUCTIONS", true}, {"MEMORY", true}};
    static const struct kind kind = {columns,       COLUMNS_LEN(columns), sizeof(rusm_process_info),
                                     process_fetch, process_row,          process_object};

    return list(args, &kind);
}

/* ---- peers */

static ptrdiff_t peer_fetch(struct rusmi_attach *attach, uint64_t *cursor, void *records)
{
    return rusm_remote_peer_list(attach->node, attach->peer, cursor, records, PAGE,
                                 attach->args->timeout_ms);
}

static void peer_row(struct listing *listing, const void *record)
{
    const rusm_peer_info *info = record;
    char up[RUSMI_TEXT_SHORT], rtt[RUSMI_TEXT_SHORT], date[RUSMI_TEXT_SHORT];
    char queue[RUSMI_TEXT_SHORT];

    rusmi_text_age(info->up_ms, up);
    rusmi_text_us(info->rtt_us, rtt);
    rusmi_text_date(info->cert_not_after, date);
    rusmi_text_bytes(info->queue_bytes, queue);
    rusmi_table_cell(&listing->table, "%s", info->name);
    rusmi_table_cell(&listing->table, "%s %s", info->dialed ? "to" : "from", info->address);
    rusmi_table_cell(&listing->table, "%s", up);
    rusmi_table_cell(&listing->table, "%s", rtt);
    rusmi_table_cell(&listing->table, "%" PRIu64, info->messages_sent);
    rusmi_table_cell(&listing->table, "%" PRIu64, info->messages_received);
    rusmi_table_cell(&listing->table, "%s", queue);
    rusmi_table_cell(&listing->table, "%" PRIu64, info->packets_lost);
    rusmi_table_cell(&listing->table, "%s", date);
}

static void peer_object(struct listing *listing, const void *record)
{
    const rusm_peer_info *info = record;
    struct rusmi_json *json = &listing->json;
    char incarnation[RUSMI_TEXT_SHORT];

    (void)snprintf(incarnation, sizeof(incarnation), "%016" PRIx64, info->incarnation);
    rusmi_json_begin_object(json, NULL);
    rusmi_json_text(json, "name", info->name);
    rusmi_json_text(json, "address", info->address);
    rusmi_json_text(json, "listen", info->listen);
    rusmi_json_text(json, "incarnation", incarnation);
    rusmi_json_text(json, "role", rusm_role_name(info->role));
    rusmi_json_bool(json, "dialed", info->dialed);
    rusmi_json_integer(json, "up_ms", info->up_ms);
    rusmi_json_number(json, "rtt_us", info->rtt_us);
    rusmi_json_number(json, "packets_lost", info->packets_lost);
    rusmi_json_number(json, "messages_sent", info->messages_sent);
    rusmi_json_number(json, "messages_received", info->messages_received);
    rusmi_json_number(json, "bytes_sent", info->bytes_sent);
    rusmi_json_number(json, "bytes_received", info->bytes_received);
    rusmi_json_number(json, "queue_bytes", info->queue_bytes);
    rusmi_json_integer(json, "cert_not_after", info->cert_not_after);
    rusmi_json_number(json, "payload_max", info->payload_max);
    rusmi_json_number(json, "payload_shrunk", info->payload_shrunk);
    rusmi_json_end(json);
}

enum rusmi_exit rusmi_run_peers(const struct rusmi_args *args)
{
    static const struct rusmi_column columns[] = {
        {"NODE", false},    {"LINK", false}, {"UP", true},   {"RTT", true},        {"SENT", true},
        {"RECEIVED", true}, {"QUEUE", true}, {"LOST", true}, {"CERT UNTIL", false}};
    static const struct kind kind = {
        columns, COLUMNS_LEN(columns), sizeof(rusm_peer_info), peer_fetch, peer_row, peer_object};

    return list(args, &kind);
}

/* ---- names */

static ptrdiff_t name_fetch(struct rusmi_attach *attach, uint64_t *cursor, void *records)
{
    return rusm_remote_name_list(attach->node, attach->peer, cursor, records, PAGE,
                                 attach->args->timeout_ms);
}

static void name_row(struct listing *listing, const void *record)
{
    const rusm_name_info *info = record;
    char pid[RUSMI_PID_TEXT_MAX];

    rusmi_pid_format(info->node, info->pid, pid);
    rusmi_table_cell(&listing->table, "%s", info->name);
    rusmi_table_cell(&listing->table, "%s", info->node);
    rusmi_table_cell(&listing->table, "%s", pid);
}

static void name_object(struct listing *listing, const void *record)
{
    const rusm_name_info *info = record;
    char pid[RUSMI_PID_TEXT_MAX];

    rusmi_pid_format(info->node, info->pid, pid);
    rusmi_json_begin_object(&listing->json, NULL);
    rusmi_json_text(&listing->json, "name", info->name);
    rusmi_json_text(&listing->json, "node", info->node);
    rusmi_json_text(&listing->json, "pid", pid);
    rusmi_json_end(&listing->json);
}

enum rusmi_exit rusmi_run_names(const struct rusmi_args *args)
{
    static const struct rusmi_column columns[] = {{"NAME", false}, {"NODE", false}, {"PID", false}};
    static const struct kind kind = {
        columns, COLUMNS_LEN(columns), sizeof(rusm_name_info), name_fetch, name_row, name_object};

    return list(args, &kind);
}

/* ---- groups */

static ptrdiff_t group_fetch(struct rusmi_attach *attach, uint64_t *cursor, void *records)
{
    return rusm_remote_group_list(attach->node, attach->peer, cursor, records, PAGE,
                                  attach->args->timeout_ms);
}

static void group_row(struct listing *listing, const void *record)
{
    const rusm_group_info *info = record;

    rusmi_table_cell(&listing->table, "%s", info->name);
    rusmi_table_cell(&listing->table, "%" PRIu64, info->members);
    rusmi_table_cell(&listing->table, "%" PRIu64, info->local);
}

static void group_object(struct listing *listing, const void *record)
{
    const rusm_group_info *info = record;

    rusmi_json_begin_object(&listing->json, NULL);
    rusmi_json_text(&listing->json, "name", info->name);
    rusmi_json_number(&listing->json, "members", info->members);
    rusmi_json_number(&listing->json, "local", info->local);
    rusmi_json_end(&listing->json);
}

enum rusmi_exit rusmi_run_groups(const struct rusmi_args *args)
{
    static const struct rusmi_column columns[] = {
        {"GROUP", false}, {"MEMBERS", true}, {"LOCAL", true}};
    static const struct kind kind = {
        columns,   COLUMNS_LEN(columns), sizeof(rusm_group_info), group_fetch,
        group_row, group_object};

    return list(args, &kind);
}

/* ---- whereis */

enum rusmi_exit rusmi_run_whereis(const struct rusmi_args *args)
{
    const char *name = args->operands.items[0];
    struct rusmi_attach attach;
    struct rusmi_json json;
    char text[RUSMI_PID_TEXT_MAX];
    enum rusmi_exit code = rusmi_attach_init(&attach, args);
    rusm_pid pid;

    if (code == RUSMI_EXIT_OK) {
        rusm_err err = rusm_remote_whereis(attach.node, attach.peer, name, args->timeout_ms, &pid);

        code = err == RUSM_OK ? RUSMI_EXIT_OK : rusmi_fail(err);
    }
    if (code == RUSMI_EXIT_OK) {
        rusmi_attach_format(&attach, pid, text);
        if (args->json) {
            rusmi_json_init(&json, stdout);
            rusmi_json_begin_object(&json, NULL);
            rusmi_json_text(&json, "name", name);
            rusmi_json_text(&json, "pid", text);
            rusmi_json_end(&json);
        } else {
            (void)puts(text);
        }
    }
    rusmi_attach_fini(&attach);
    return code;
}
