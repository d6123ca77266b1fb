/* SPDX-License-Identifier: MIT */
/*
 * Frames to bytes: shortest forms and ascending keys (RFC 8949 4.2.1), fields that are empty left
 * out where docs/wire.md allows. What decoding would refuse is refused here first, so a mistake of
 * this node never costs it a link.
 */
#include "base/utf8.h"
#include "wire/cbor.h"
#include "wire/control.h"

#include <string.h>

/* The longest records and entries, so that a full page always fits (docs/wire.md 3.3). */
#define INT_BYTES     9u                   /* head of an integer */
#define TEXT_BYTES    (2u + RUSM_NAME_MAX) /* head and bytes of the longest name */
#define ADDRESS_BYTES (2u + RUSMI_WIRE_ADDRESS_MAX)
#define PAGE_BYTES    (64u + 3u + RUSMI_DETAIL_MAX) /* around the records, generously */
_Static_assert(RUSMI_PAGE_MAX *(1 + 8 + 6 * INT_BYTES + 2 * TEXT_BYTES) + PAGE_BYTES <=
                   RUSMI_FRAME_MAX,
               "a page of the longest process records fits a frame");
_Static_assert(RUSMI_PAGE_MAX *(1 + 15 + 11 * INT_BYTES + 1 + TEXT_BYTES + 2 * ADDRESS_BYTES) +
                       PAGE_BYTES <=
                   RUSMI_FRAME_MAX,
               "a page of the longest peer records fits a frame");
_Static_assert(RUSMI_PAGE_MAX *(1 + 4 + 2 * INT_BYTES + 2 * TEXT_BYTES) + PAGE_BYTES <=
                   RUSMI_FRAME_MAX,
               "a page of the longest name records fits a frame");
_Static_assert(RUSMI_NAMES_MAX *(1 + 2 * INT_BYTES + TEXT_BYTES) + PAGE_BYTES <= RUSMI_FRAME_MAX,
               "a frame of the longest names fits");
_Static_assert(RUSMI_GROUPS_MAX *(1 + INT_BYTES + TEXT_BYTES) + PAGE_BYTES <= RUSMI_FRAME_MAX,
               "a frame of the longest groups fits");
_Static_assert(RUSMI_MEMBERS_MAX *(1 + INT_BYTES + TEXT_BYTES + ADDRESS_BYTES) + PAGE_BYTES <=
                   RUSMI_FRAME_MAX,
               "a frame of the longest members fits");
_Static_assert(RUSMI_CERT_MAX + RUSMI_PROOF_MAX + PAGE_BYTES <= RUSMI_FRAME_MAX,
               "a certificate fits a frame");
_Static_assert(RUSMI_SPAWN_ARGS_MAX + TEXT_BYTES + PAGE_BYTES <= RUSMI_FRAME_MAX,
               "a spawn request with the longest arguments fits");

struct encoder {
    struct rusmi_cbor_writer writer;
    bool invalid;
};

static void put_key_uint(struct encoder *encoder, uint64_t key, uint64_t value)
{
    rusmi_cbor_put_uint(&encoder->writer, key);
    rusmi_cbor_put_uint(&encoder->writer, value);
}

static void put_key_int(struct encoder *encoder, uint64_t key, int64_t value)
{
    rusmi_cbor_put_uint(&encoder->writer, key);
    rusmi_cbor_put_int(&encoder->writer, value);
}

static void put_key_bool(struct encoder *encoder, uint64_t key, bool value)
{
    rusmi_cbor_put_uint(&encoder->writer, key);
    rusmi_cbor_put_bool(&encoder->writer, value);
}

static void put_key_nonzero(struct encoder *encoder, uint64_t key, uint64_t value)
{
    encoder->invalid |= value == 0;
    put_key_uint(encoder, key, value);
}

static void put_name_len(struct encoder *encoder, const char *name, size_t len)
{
    encoder->invalid |= !rusmi_name_valid(name, len);
    rusmi_cbor_put_text(&encoder->writer, name, len);
}

static void put_key_name(struct encoder *encoder, uint64_t key, const char *name)
{
    rusmi_cbor_put_uint(&encoder->writer, key);
    put_name_len(encoder, name, strnlen(name, RUSM_NAME_MAX + 1));
}

/* Bytes of the printable character at text, 0 if there is none. */
static size_t printable(const char *text, size_t left)
{
    if ((unsigned char)text[0] < 0x20 || text[0] == 0x7f) {
        return 0;
    }
    for (size_t len = 1; len <= 4 && len <= left; len++) {
        if (rusmi_utf8_valid(text, len)) {
            return len;
        }
    }
    return 0;
}

/* A text for people, with `?` for what can not be printed, cut to len_max bytes. */
static void put_key_text(struct encoder *encoder, uint64_t key, const char *text, size_t len_max)
{
    char clean[RUSMI_DETAIL_MAX];
    size_t len = strlen(text), from = 0, to = 0;

    while (from < len) {
        size_t step = printable(text + from, len - from);

        if (to + (step == 0 ? 1 : step) > len_max) {
            break;
        }
        if (step == 0) {
            clean[to++] = '?';
            from++;
        } else {
            memcpy(clean + to, text + from, step);
            to += step;
            from += step;
        }
    }
    rusmi_cbor_put_uint(&encoder->writer, key);
    rusmi_cbor_put_text(&encoder->writer, clean, to);
}

_Static_assert(RUSMI_DETAIL_MAX >= RUSM_NAME_MAX && RUSMI_DETAIL_MAX >= RUSMI_SOFTWARE_MAX &&
                   RUSMI_DETAIL_MAX >= RUSMI_WIRE_ADDRESS_MAX,
               "put_key_text has room for every text");

static size_t filled(const char *text)
{
    return text[0] == '\0' ? 0 : 1;
}

/* The map's head and its type. */
static void begin(struct encoder *encoder, uint64_t type, size_t more)
{
    rusmi_cbor_put_map(&encoder->writer, 1 + more);
    put_key_uint(encoder, 0, type);
}

static void encode_hello(struct encoder *encoder, const struct rusmi_hello *hello)
{
    size_t len = hello->versions_len;

    if (len == 0 || len > RUSMI_VERSIONS_MAX) {
        encoder->invalid = true;
        return;
    }
    begin(encoder, RUSMI_FRAME_HELLO, 5 + filled(hello->address) + filled(hello->software));
    rusmi_cbor_put_uint(&encoder->writer, 1);
    rusmi_cbor_put_array(&encoder->writer, len);
    for (size_t i = 0; i < len; i++) {
        rusmi_cbor_put_uint(&encoder->writer, hello->versions[i]);
    }
    put_key_name(encoder, 2, hello->cluster);
    put_key_name(encoder, 3, hello->name);
    put_key_nonzero(encoder, 4, hello->incarnation);
    put_key_uint(encoder, 5, hello->features);
    if (filled(hello->address)) {
        put_key_text(encoder, 6, hello->address, RUSMI_WIRE_ADDRESS_MAX);
    }
    if (filled(hello->software)) {
        put_key_text(encoder, 7, hello->software, RUSMI_SOFTWARE_MAX);
    }
}

static void encode_names(struct encoder *encoder, const struct rusmi_frame *frame)
{
    size_t len = frame->u.names.len;

    if (len == 0 || len > RUSMI_NAMES_MAX) {
        encoder->invalid = true;
        return;
    }
    begin(encoder, frame->type, 1);
    rusmi_cbor_put_uint(&encoder->writer, 1);
    rusmi_cbor_put_array(&encoder->writer, len);
    for (size_t i = 0; i < len; i++) {
        const struct rusmi_name_entry *entry = &frame->u.names.entries[i];

        if (frame->type == RUSMI_FRAME_NAMES_ADD) {
            rusmi_cbor_put_array(&encoder->writer, 3);
        }
        put_name_len(encoder, entry->name, entry->name_len);
        if (frame->type == RUSMI_FRAME_NAMES_ADD) {
            encoder->invalid |= entry->serial == 0;
            rusmi_cbor_put_uint(&encoder->writer, entry->serial);
            rusmi_cbor_put_uint(&encoder->writer, entry->time);
        }
    }
}

static void encode_groups(struct encoder *encoder, const struct rusmi_frame *frame)
{
    size_t len = frame->u.groups.len;

    if (len == 0 || len > RUSMI_GROUPS_MAX) {
        encoder->invalid = true;
        return;
    }
    begin(encoder, frame->type, 1);
    rusmi_cbor_put_uint(&encoder->writer, 1);
    rusmi_cbor_put_array(&encoder->writer, len);
    for (size_t i = 0; i < len; i++) {
        const struct rusmi_group_entry *entry = &frame->u.groups.entries[i];

        rusmi_cbor_put_array(&encoder->writer, 2);
        put_name_len(encoder, entry->group, entry->group_len);
        encoder->invalid |= entry->serial == 0;
        rusmi_cbor_put_uint(&encoder->writer, entry->serial);
    }
}

static void encode_members(struct encoder *encoder, const struct rusmi_frame *frame)
{
    size_t len = frame->u.members.len;

    if (len == 0 || len > RUSMI_MEMBERS_MAX) {
        encoder->invalid = true;
        return;
    }
    begin(encoder, RUSMI_FRAME_MEMBERS, 1);
    rusmi_cbor_put_uint(&encoder->writer, 1);
    rusmi_cbor_put_array(&encoder->writer, len);
    for (size_t i = 0; i < len; i++) {
        const struct rusmi_member_entry *entry = &frame->u.members.entries[i];

        rusmi_cbor_put_array(&encoder->writer, 3);
        put_name_len(encoder, entry->name, entry->name_len);
        encoder->invalid |= entry->incarnation == 0 ||
                            !rusmi_name_valid(entry->address, entry->address_len) ||
                            entry->address_len > RUSMI_WIRE_ADDRESS_MAX;
        rusmi_cbor_put_uint(&encoder->writer, entry->incarnation);
        rusmi_cbor_put_text(&encoder->writer, entry->address, entry->address_len);
    }
}

static void encode_spawn(struct encoder *encoder, const struct rusmi_request *request)
{
    put_key_name(encoder, 3, request->name);
    encoder->invalid |= request->args_len > RUSMI_SPAWN_ARGS_MAX;
    if (request->args_len != 0 && !encoder->invalid) {
        rusmi_cbor_put_uint(&encoder->writer, 4);
        rusmi_cbor_put_bytes(&encoder->writer, request->args, request->args_len);
    }
    if (request->sender != 0) {
        put_key_uint(encoder, 5, request->sender);
    }
    if (request->link != 0) {
        put_key_uint(encoder, 6, request->link);
    }
    if (request->monitor != 0) {
        put_key_uint(encoder, 7, request->monitor);
    }
}

static size_t request_pairs(const struct rusmi_request *request)
{
    switch ((enum rusmi_request_kind)request->kind) {
    case RUSMI_REQUEST_SPAWN:
        return 3 + (request->args_len != 0 ? 1u : 0u) + (request->sender != 0 ? 1u : 0u) +
               (request->link != 0 ? 1u : 0u) + (request->monitor != 0 ? 1u : 0u);
    case RUSMI_REQUEST_WHEREIS:
        return 3;
    case RUSMI_REQUEST_PROCESSES:
    case RUSMI_REQUEST_PEERS:
    case RUSMI_REQUEST_NAMES:
    case RUSMI_REQUEST_GROUPS:
    case RUSMI_REQUEST_KILL:
        return 4;
    case RUSMI_REQUEST_RELOAD:
        return 2;
    }
    return 2;
}

static void encode_request(struct encoder *encoder, const struct rusmi_frame *frame)
{
    const struct rusmi_request *request = &frame->u.request;

    begin(encoder, RUSMI_FRAME_REQUEST, request_pairs(request));
    put_key_uint(encoder, 1, frame->id);
    put_key_uint(encoder, 2, request->kind);
    switch ((enum rusmi_request_kind)request->kind) {
    case RUSMI_REQUEST_SPAWN:
        encode_spawn(encoder, request);
        return;
    case RUSMI_REQUEST_PROCESSES:
    case RUSMI_REQUEST_PEERS:
    case RUSMI_REQUEST_NAMES:
    case RUSMI_REQUEST_GROUPS:
        put_key_uint(encoder, 3, request->cursor);
        put_key_nonzero(encoder, 4, request->max);
        return;
    case RUSMI_REQUEST_WHEREIS:
        put_key_name(encoder, 3, request->name);
        return;
    case RUSMI_REQUEST_KILL:
        put_key_nonzero(encoder, 3, request->pid.serial);
        put_key_nonzero(encoder, 4, request->pid.incarnation);
        return;
    case RUSMI_REQUEST_RELOAD:
        return;
    }
}

static void encode_process(struct encoder *encoder, const struct rusmi_process_record *process)
{
    rusmi_cbor_put_map(&encoder->writer, 6 + filled(process->label) + filled(process->name));
    put_key_nonzero(encoder, 1, process->pid.incarnation);
    put_key_nonzero(encoder, 2, process->pid.serial);
    put_key_uint(encoder, 3, process->state);
    put_key_uint(encoder, 4, process->mailbox_len);
    put_key_uint(encoder, 5, process->reductions);
    put_key_uint(encoder, 6, process->memory_bytes);
    if (filled(process->label)) {
        put_key_text(encoder, 7, process->label, RUSM_NAME_MAX);
    }
    if (filled(process->name)) {
        put_key_text(encoder, 8, process->name, RUSM_NAME_MAX);
    }
}

static void encode_peer(struct encoder *encoder, const struct rusmi_peer_record *peer)
{
    rusmi_cbor_put_map(&encoder->writer, 15 + filled(peer->address) + filled(peer->listen));
    put_key_name(encoder, 1, peer->name);
    put_key_nonzero(encoder, 2, peer->incarnation);
    put_key_uint(encoder, 3, peer->role);
    put_key_bool(encoder, 4, peer->dialed);
    if (filled(peer->address)) {
        put_key_text(encoder, 5, peer->address, RUSMI_WIRE_ADDRESS_MAX);
    }
    put_key_uint(encoder, 6, peer->rtt_us);
    put_key_uint(encoder, 7, peer->packets_lost);
    put_key_uint(encoder, 8, peer->messages_sent);
    put_key_uint(encoder, 9, peer->messages_received);
    put_key_uint(encoder, 10, peer->bytes_sent);
    put_key_uint(encoder, 11, peer->bytes_received);
    put_key_uint(encoder, 12, peer->queue_bytes);
    put_key_int(encoder, 13, peer->up_ms);
    put_key_int(encoder, 14, peer->cert_not_after);
    if (filled(peer->listen)) {
        put_key_text(encoder, 15, peer->listen, RUSMI_WIRE_ADDRESS_MAX);
    }
    put_key_uint(encoder, 16, peer->payload_max);
    put_key_uint(encoder, 17, peer->payload_shrunk);
}

static void encode_name(struct encoder *encoder, const struct rusmi_name_record *name)
{
    rusmi_cbor_put_map(&encoder->writer, 4);
    put_key_name(encoder, 1, name->name);
    put_key_name(encoder, 2, name->node);
    put_key_nonzero(encoder, 3, name->pid.incarnation);
    put_key_nonzero(encoder, 4, name->pid.serial);
}

static void encode_group(struct encoder *encoder, const struct rusmi_group_record *group)
{
    rusmi_cbor_put_map(&encoder->writer, 3);
    put_key_name(encoder, 1, group->name);
    put_key_uint(encoder, 2, group->members);
    put_key_uint(encoder, 3, group->local);
}

static void encode_records(struct encoder *encoder, const struct rusmi_reply *reply)
{
    put_key_uint(encoder, 5, reply->cursor);
    if (reply->records_len > RUSMI_PAGE_MAX) {
        encoder->invalid = true;
        return;
    }
    rusmi_cbor_put_uint(&encoder->writer, 6);
    rusmi_cbor_put_array(&encoder->writer, reply->records_len);
    for (size_t i = 0; i < reply->records_len; i++) {
        if (reply->kind == RUSMI_REQUEST_PROCESSES) {
            encode_process(encoder, &reply->records.processes[i]);
        } else if (reply->kind == RUSMI_REQUEST_PEERS) {
            encode_peer(encoder, &reply->records.peers[i]);
        } else if (reply->kind == RUSMI_REQUEST_GROUPS) {
            encode_group(encoder, &reply->records.groups[i]);
        } else {
            encode_name(encoder, &reply->records.names[i]);
        }
    }
}

static void encode_result(struct encoder *encoder, const struct rusmi_reply *reply)
{
    switch ((enum rusmi_request_kind)reply->kind) {
    case RUSMI_REQUEST_SPAWN:
    case RUSMI_REQUEST_WHEREIS:
        put_key_nonzero(encoder, 5, reply->pid.incarnation);
        put_key_nonzero(encoder, 6, reply->pid.serial);
        return;
    case RUSMI_REQUEST_PROCESSES:
    case RUSMI_REQUEST_PEERS:
    case RUSMI_REQUEST_NAMES:
    case RUSMI_REQUEST_GROUPS:
        encode_records(encoder, reply);
        return;
    case RUSMI_REQUEST_KILL:
    case RUSMI_REQUEST_RELOAD:
        return;
    }
}

static void encode_reply(struct encoder *encoder, const struct rusmi_frame *frame)
{
    const struct rusmi_reply *reply = &frame->u.reply;
    bool result = reply->err == RUSM_OK &&
                  ((reply->kind >= RUSMI_REQUEST_SPAWN && reply->kind < RUSMI_REQUEST_KILL) ||
                   reply->kind == RUSMI_REQUEST_GROUPS);

    encoder->invalid |= reply->err > 0;
    begin(encoder, RUSMI_FRAME_REPLY, 3 + filled(reply->detail) + (result ? 2u : 0u));
    put_key_uint(encoder, 1, frame->id);
    put_key_uint(encoder, 2, reply->kind);
    put_key_int(encoder, 3, reply->err);
    if (filled(reply->detail)) {
        put_key_text(encoder, 4, reply->detail, RUSMI_DETAIL_MAX);
    }
    if (result) {
        encode_result(encoder, reply);
    }
}

static void encode_flow(struct encoder *encoder, const struct rusmi_flow *flow)
{
    encoder->invalid |= (flow->serial != 0) == (flow->name[0] != '\0');
    begin(encoder, RUSMI_FRAME_FLOW, 2);
    put_key_bool(encoder, 1, flow->on);
    if (flow->serial != 0) {
        put_key_uint(encoder, 2, flow->serial);
    } else {
        put_key_name(encoder, 3, flow->name);
    }
}

static void encode_names_ask(struct encoder *encoder, const struct rusmi_frame *frame)
{
    const struct rusmi_names_ask *ask = &frame->u.names_ask;

    begin(encoder, RUSMI_FRAME_NAMES_ASK, 4);
    put_key_uint(encoder, 1, frame->id);
    put_key_name(encoder, 2, ask->name);
    put_key_nonzero(encoder, 3, ask->serial);
    put_key_uint(encoder, 4, ask->time);
}

static void encode_names_agree(struct encoder *encoder, const struct rusmi_frame *frame)
{
    const struct rusmi_names_agree *agree = &frame->u.names_agree;
    bool agreed = agree->node[0] == '\0';

    begin(encoder, RUSMI_FRAME_NAMES_AGREE, agreed ? 1 : 4);
    put_key_uint(encoder, 1, frame->id);
    if (!agreed) {
        put_key_name(encoder, 2, agree->node);
        put_key_nonzero(encoder, 3, agree->pid.incarnation);
        put_key_nonzero(encoder, 4, agree->pid.serial);
    }
}

static void encode_certificate(struct encoder *encoder, const struct rusmi_certificate *certificate)
{
    begin(encoder, RUSMI_FRAME_CERTIFICATE, 2);
    if (certificate->der_len == 0 || certificate->der_len > RUSMI_CERT_MAX ||
        certificate->proof_len == 0 || certificate->proof_len > RUSMI_PROOF_MAX) {
        encoder->invalid = true;
        return;
    }
    rusmi_cbor_put_uint(&encoder->writer, 1);
    rusmi_cbor_put_bytes(&encoder->writer, certificate->der, certificate->der_len);
    rusmi_cbor_put_uint(&encoder->writer, 2);
    rusmi_cbor_put_bytes(&encoder->writer, certificate->proof, certificate->proof_len);
}

static void encode_body(struct encoder *encoder, const struct rusmi_frame *frame)
{
    switch ((enum rusmi_frame_type)frame->type) {
    case RUSMI_FRAME_HELLO:
        encode_hello(encoder, &frame->u.hello);
        return;
    case RUSMI_FRAME_ACCEPT:
    case RUSMI_FRAME_READY:
    case RUSMI_FRAME_LEAVE:
    case RUSMI_FRAME_NAMES_MORE:
    case RUSMI_FRAME_GROUPS_MORE:
        begin(encoder, frame->type, 0);
        return;
    case RUSMI_FRAME_PING:
    case RUSMI_FRAME_PONG:
        begin(encoder, frame->type, 1);
        put_key_uint(encoder, 1, frame->id);
        return;
    case RUSMI_FRAME_NAMES_ADD:
    case RUSMI_FRAME_NAMES_DEL:
        encode_names(encoder, frame);
        return;
    case RUSMI_FRAME_REQUEST:
        encode_request(encoder, frame);
        return;
    case RUSMI_FRAME_REPLY:
        encode_reply(encoder, frame);
        return;
    case RUSMI_FRAME_FLOW:
        encode_flow(encoder, &frame->u.flow);
        return;
    case RUSMI_FRAME_MEMBERS:
        encode_members(encoder, frame);
        return;
    case RUSMI_FRAME_GROUPS_ADD:
    case RUSMI_FRAME_GROUPS_DEL:
        encode_groups(encoder, frame);
        return;
    case RUSMI_FRAME_NAMES_ASK:
        encode_names_ask(encoder, frame);
        return;
    case RUSMI_FRAME_NAMES_AGREE:
        encode_names_agree(encoder, frame);
        return;
    case RUSMI_FRAME_CERTIFICATE:
        encode_certificate(encoder, &frame->u.certificate);
        return;
    }
    /* An extension's bare type; a number below is nobody's to send. */
    encoder->invalid |= frame->type < RUSMI_FRAME_EXTENSION;
    begin(encoder, frame->type, 0);
}

rusm_err rusmi_control_encode(struct rusmi_buf *out, const struct rusmi_frame *frame)
{
    struct encoder encoder = {.writer = {.buf = out}};
    size_t mark = out->len, len;
    uint8_t *prefix = rusmi_buf_reserve(out, RUSMI_FRAME_PREFIX);

    if (prefix == NULL) {
        return RUSM_ENOMEM;
    }
    rusmi_buf_commit(out, RUSMI_FRAME_PREFIX);
    encode_body(&encoder, frame);
    len = out->len - mark - RUSMI_FRAME_PREFIX;
    if (encoder.invalid || encoder.writer.failed || len > RUSMI_FRAME_MAX) {
        out->len = mark;
        return encoder.invalid ? RUSM_EINVAL : encoder.writer.failed ? RUSM_ENOMEM : RUSM_EMSGSIZE;
    }
    prefix = out->data + out->start + mark; /* the buffer may have moved */
    prefix[0] = (uint8_t)(len >> 24);
    prefix[1] = (uint8_t)(len >> 16);
    prefix[2] = (uint8_t)(len >> 8);
    prefix[3] = (uint8_t)len;
    return RUSM_OK;
}
