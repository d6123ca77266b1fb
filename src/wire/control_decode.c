/* SPDX-License-Identifier: MIT */
/*
 * Frames from bytes. Keys of every map must ascend (RFC 8949 4.2.1), which refuses duplicates
 * without remembering any, and lets key 0 (the type) and key 2 (the kind) choose how the rest is
 * read. Each map has a function that takes one field and a set of keys that must have been seen.
 */
#include "base/mem.h"
#include "base/utf8.h"
#include "wire/cbor.h"
#include "wire/control.h"

#include <limits.h>
#include <string.h>

#define KEY(n) (1u << (n))

struct decoder {
    struct rusmi_cbor_reader reader;
    struct rusmi_frame *frame;
    bool no_memory;
};

/* Takes the value of key into record; skips it if the key is unknown. */
typedef bool (*field_fn)(struct decoder *decoder, uint64_t key, void *record);

static bool fail(struct decoder *decoder, const char *why)
{
    return rusmi_cbor_fail(&decoder->reader, why);
}

static bool get_uint32(struct decoder *decoder, uint32_t *out_value)
{
    uint64_t value;

    if (!rusmi_cbor_get_uint(&decoder->reader, &value)) {
        return false;
    }
    if (value > UINT32_MAX) {
        return fail(decoder, "an integer is out of range");
    }
    *out_value = (uint32_t)value;
    return true;
}

static bool get_nonzero(struct decoder *decoder, uint64_t *out_value)
{
    if (!rusmi_cbor_get_uint(&decoder->reader, out_value)) {
        return false;
    }
    return *out_value != 0 || fail(decoder, "an incarnation or serial is 0");
}

static bool get_name(struct decoder *decoder, char out[RUSM_NAME_MAX + 1])
{
    const uint8_t *bytes;
    size_t len;

    if (!rusmi_cbor_get_string(&decoder->reader, RUSMI_CBOR_TEXT, &bytes, &len)) {
        return false;
    }
    if (!rusmi_name_valid((const char *)bytes, len)) {
        return fail(decoder, "a name is empty, too long, or not printable UTF-8");
    }
    memcpy(out, bytes, len);
    out[len] = '\0';
    return true;
}

/* A text for people: UTF-8 without control characters, so that it can be printed anywhere. */
static bool get_text(struct decoder *decoder, char *out, size_t len_max)
{
    const uint8_t *bytes;
    size_t len;

    if (!rusmi_cbor_get_string(&decoder->reader, RUSMI_CBOR_TEXT, &bytes, &len)) {
        return false;
    }
    if (len > len_max) {
        return fail(decoder, "a text is too long");
    }
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] < 0x20 || bytes[i] == 0x7f) {
            return fail(decoder, "a text has control characters");
        }
    }
    if (!rusmi_utf8_valid((const char *)bytes, len)) {
        return fail(decoder, "a text is not UTF-8");
    }
    if (len != 0) {
        memcpy(out, bytes, len);
    }
    out[len] = '\0';
    return true;
}

/* Reads the pairs of a map that follow `after` (a key already read, or UINT64_MAX for none). */
static bool get_pairs(struct decoder *decoder, uint64_t pairs, uint64_t after, field_fn field,
                      void *record, uint32_t *out_seen)
{
    uint32_t seen = 0;

    for (; pairs != 0; pairs--) {
        uint64_t key;

        if (!rusmi_cbor_get_uint(&decoder->reader, &key)) {
            return false;
        }
        if (after != UINT64_MAX && key <= after) {
            return fail(decoder, key == after ? "a map key appears twice"
                                              : "map keys are not in ascending order");
        }
        if (!field(decoder, key, record)) {
            return false;
        }
        after = key;
        seen |= key < 32 ? KEY(key) : 0;
    }
    *out_seen = seen;
    return true;
}

static bool require(struct decoder *decoder, uint32_t seen, uint32_t required)
{
    return (seen & required) == required || fail(decoder, "a required field is missing");
}

static bool hello_versions(struct decoder *decoder, struct rusmi_hello *hello)
{
    uint64_t len;

    if (!rusmi_cbor_get_head(&decoder->reader, RUSMI_CBOR_ARRAY, &len)) {
        return false;
    }
    if (len == 0 || len > RUSMI_VERSIONS_MAX) {
        return fail(decoder, "no protocol version, or too many");
    }
    for (size_t i = 0; i < len; i++) {
        if (!get_uint32(decoder, &hello->versions[i])) {
            return false;
        }
    }
    hello->versions_len = (size_t)len;
    return true;
}

static bool hello_field(struct decoder *decoder, uint64_t key, void *record)
{
    struct rusmi_hello *hello = record;

    switch (key) {
    case 1:
        return hello_versions(decoder, hello);
    case 2:
        return get_name(decoder, hello->cluster);
    case 3:
        return get_name(decoder, hello->name);
    case 4:
        return get_nonzero(decoder, &hello->incarnation);
    case 5:
        return rusmi_cbor_get_uint(&decoder->reader, &hello->features);
    case 6:
        return get_text(decoder, hello->address, RUSMI_WIRE_ADDRESS_MAX);
    case 7:
        return get_text(decoder, hello->software, RUSMI_SOFTWARE_MAX);
    }
    return rusmi_cbor_skip(&decoder->reader);
}

static bool nothing_field(struct decoder *decoder, uint64_t key, void *record)
{
    (void)key;
    (void)record;
    return rusmi_cbor_skip(&decoder->reader);
}

static bool ping_field(struct decoder *decoder, uint64_t key, void *record)
{
    return key == 1 ? rusmi_cbor_get_uint(&decoder->reader, &decoder->frame->id)
                    : nothing_field(decoder, key, record);
}

/* A name that the frame keeps: *out_name points into its bytes. */
static bool point_to_name(struct decoder *decoder, const char **out_name, size_t *out_len)
{
    const uint8_t *bytes;

    if (!rusmi_cbor_get_string(&decoder->reader, RUSMI_CBOR_TEXT, &bytes, out_len)) {
        return false;
    }
    *out_name = (const char *)bytes;
    return rusmi_name_valid(*out_name, *out_len) ||
           fail(decoder, "a name is empty, too long, or not printable UTF-8");
}

/* Elements of an entry beyond those that are known. */
static bool skip_beyond(struct decoder *decoder, uint64_t elements, uint64_t known)
{
    for (; elements > known; elements--) {
        if (!rusmi_cbor_skip(&decoder->reader)) {
            return false;
        }
    }
    return true;
}

/* The head of a list, and memory for its entries in frame->memory. */
static bool begin_list(struct decoder *decoder, size_t len_max, size_t entry_size, size_t *out_len,
                       const char *wrong_len)
{
    uint64_t len;

    if (!rusmi_cbor_get_head(&decoder->reader, RUSMI_CBOR_ARRAY, &len)) {
        return false;
    }
    if (len == 0 || len > len_max) {
        return fail(decoder, wrong_len);
    }
    decoder->frame->memory = rusmi_zalloc_array((size_t)len, entry_size);
    if (decoder->frame->memory == NULL) {
        decoder->no_memory = true;
        return fail(decoder, "out of memory");
    }
    *out_len = (size_t)len;
    return true;
}

static bool name_entry(struct decoder *decoder, bool full, struct rusmi_name_entry *entry)
{
    uint64_t elements = 0;

    if (full) {
        if (!rusmi_cbor_get_head(&decoder->reader, RUSMI_CBOR_ARRAY, &elements)) {
            return false;
        }
        if (elements < 3) {
            return fail(decoder, "a name entry has fewer than three elements");
        }
    }
    if (!point_to_name(decoder, &entry->name, &entry->name_len)) {
        return false;
    }
    if (full && (!get_nonzero(decoder, &entry->serial) ||
                 !rusmi_cbor_get_uint(&decoder->reader, &entry->time))) {
        return false;
    }
    return skip_beyond(decoder, elements, 3);
}

static bool names_field(struct decoder *decoder, uint64_t key, void *record)
{
    struct rusmi_frame *frame = decoder->frame;
    size_t len;

    if (key != 1) {
        return nothing_field(decoder, key, record);
    }
    if (!begin_list(decoder, RUSMI_NAMES_MAX, sizeof(struct rusmi_name_entry), &len,
                    "no names, or too many in one frame")) {
        return false;
    }
    frame->u.names.entries = frame->memory;
    frame->u.names.len = len;
    for (size_t i = 0; i < len; i++) {
        if (!name_entry(decoder, frame->type == RUSMI_FRAME_NAMES_ADD,
                        &frame->u.names.entries[i])) {
            return false;
        }
    }
    return true;
}

static bool group_entry(struct decoder *decoder, struct rusmi_group_entry *entry)
{
    uint64_t elements;

    if (!rusmi_cbor_get_head(&decoder->reader, RUSMI_CBOR_ARRAY, &elements)) {
        return false;
    }
    if (elements < 2) {
        return fail(decoder, "a membership has fewer than two elements");
    }
    if (!point_to_name(decoder, &entry->group, &entry->group_len)) {
        return false;
    }
    if (!get_nonzero(decoder, &entry->serial)) {
        return false;
    }
    return skip_beyond(decoder, elements, 2);
}

static bool groups_field(struct decoder *decoder, uint64_t key, void *record)
{
    struct rusmi_frame *frame = decoder->frame;
    size_t len;

    if (key != 1) {
        return nothing_field(decoder, key, record);
    }
    if (!begin_list(decoder, RUSMI_GROUPS_MAX, sizeof(struct rusmi_group_entry), &len,
                    "no memberships, or too many in one frame")) {
        return false;
    }
    frame->u.groups.entries = frame->memory;
    frame->u.groups.len = len;
    for (size_t i = 0; i < len; i++) {
        if (!group_entry(decoder, &frame->u.groups.entries[i])) {
            return false;
        }
    }
    return true;
}

static bool member_entry(struct decoder *decoder, struct rusmi_member_entry *entry)
{
    const uint8_t *bytes;
    uint64_t elements;

    if (!rusmi_cbor_get_head(&decoder->reader, RUSMI_CBOR_ARRAY, &elements)) {
        return false;
    }
    if (elements < 3) {
        return fail(decoder, "a member entry has fewer than three elements");
    }
    if (!point_to_name(decoder, &entry->name, &entry->name_len)) {
        return false;
    }
    if (!get_nonzero(decoder, &entry->incarnation) ||
        !rusmi_cbor_get_string(&decoder->reader, RUSMI_CBOR_TEXT, &bytes, &entry->address_len)) {
        return false;
    }
    entry->address = (const char *)bytes;
    if (entry->address_len > RUSMI_WIRE_ADDRESS_MAX ||
        !rusmi_name_valid(entry->address, entry->address_len)) {
        return fail(decoder, "an address is empty, too long, or not printable UTF-8");
    }
    return skip_beyond(decoder, elements, 3);
}

static bool members_field(struct decoder *decoder, uint64_t key, void *record)
{
    struct rusmi_frame *frame = decoder->frame;
    size_t len;

    if (key != 1) {
        return nothing_field(decoder, key, record);
    }
    if (!begin_list(decoder, RUSMI_MEMBERS_MAX, sizeof(struct rusmi_member_entry), &len,
                    "no members, or too many in one frame")) {
        return false;
    }
    frame->u.members.entries = frame->memory;
    frame->u.members.len = len;
    for (size_t i = 0; i < len; i++) {
        if (!member_entry(decoder, &frame->u.members.entries[i])) {
            return false;
        }
    }
    return true;
}

static bool request_max(struct decoder *decoder, struct rusmi_request *request)
{
    uint64_t max;

    if (!rusmi_cbor_get_uint(&decoder->reader, &max)) {
        return false;
    }
    if (max == 0) {
        return fail(decoder, "a list of no records is asked for");
    }
    request->max = max > RUSMI_PAGE_MAX ? RUSMI_PAGE_MAX : (uint32_t)max;
    return true;
}

static bool spawn_args(struct decoder *decoder, struct rusmi_request *request)
{
    if (!rusmi_cbor_get_string(&decoder->reader, RUSMI_CBOR_BYTES, &request->args,
                               &request->args_len)) {
        return false;
    }
    return request->args_len <= RUSMI_SPAWN_ARGS_MAX || fail(decoder, "arguments are too long");
}

/* A key from 3 on, whose meaning depends on the kind. */
static bool request_argument(struct decoder *decoder, uint64_t key, struct rusmi_request *request)
{
    switch (request->kind) {
    case RUSMI_REQUEST_SPAWN:
        return key == 3   ? get_name(decoder, request->name)
               : key == 4 ? spawn_args(decoder, request)
               : key == 5 ? rusmi_cbor_get_uint(&decoder->reader, &request->sender)
               : key == 6 ? rusmi_cbor_get_uint(&decoder->reader, &request->link)
               : key == 7 ? rusmi_cbor_get_uint(&decoder->reader, &request->monitor)
                          : nothing_field(decoder, key, NULL);
    case RUSMI_REQUEST_PROCESSES:
    case RUSMI_REQUEST_PEERS:
    case RUSMI_REQUEST_NAMES:
    case RUSMI_REQUEST_GROUPS:
        return key == 3   ? rusmi_cbor_get_uint(&decoder->reader, &request->cursor)
               : key == 4 ? request_max(decoder, request)
                          : nothing_field(decoder, key, NULL);
    case RUSMI_REQUEST_WHEREIS:
        return key == 3 ? get_name(decoder, request->name) : nothing_field(decoder, key, NULL);
    case RUSMI_REQUEST_KILL:
        return key == 3   ? get_nonzero(decoder, &request->pid.serial)
               : key == 4 ? get_nonzero(decoder, &request->pid.incarnation)
                          : nothing_field(decoder, key, NULL);
    }
    return nothing_field(decoder, key, NULL);
}

static bool request_field(struct decoder *decoder, uint64_t key, void *record)
{
    struct rusmi_request *request = record;

    switch (key) {
    case 1:
        return rusmi_cbor_get_uint(&decoder->reader, &decoder->frame->id);
    case 2:
        return get_uint32(decoder, &request->kind);
    }
    return request_argument(decoder, key, request);
}

static uint32_t request_required(uint32_t kind)
{
    switch (kind) {
    case RUSMI_REQUEST_SPAWN:
    case RUSMI_REQUEST_WHEREIS:
        return KEY(1) | KEY(2) | KEY(3);
    case RUSMI_REQUEST_PROCESSES:
    case RUSMI_REQUEST_PEERS:
    case RUSMI_REQUEST_NAMES:
    case RUSMI_REQUEST_GROUPS:
    case RUSMI_REQUEST_KILL:
        return KEY(1) | KEY(2) | KEY(3) | KEY(4);
    }
    return KEY(1) | KEY(2);
}

static bool process_field(struct decoder *decoder, uint64_t key, void *record)
{
    struct rusmi_process_record *process = record;

    switch (key) {
    case 1:
        return get_nonzero(decoder, &process->pid.incarnation);
    case 2:
        return get_nonzero(decoder, &process->pid.serial);
    case 3:
        return get_uint32(decoder, &process->state);
    case 4:
        return rusmi_cbor_get_uint(&decoder->reader, &process->mailbox_len);
    case 5:
        return rusmi_cbor_get_uint(&decoder->reader, &process->reductions);
    case 6:
        return rusmi_cbor_get_uint(&decoder->reader, &process->memory_bytes);
    case 7:
        return get_text(decoder, process->label, RUSM_NAME_MAX);
    case 8:
        return get_text(decoder, process->name, RUSM_NAME_MAX);
    }
    return nothing_field(decoder, key, record);
}

static bool peer_field(struct decoder *decoder, uint64_t key, void *record)
{
    struct rusmi_peer_record *peer = record;
    uint64_t *const numbers[] = {
        &peer->rtt_us,     &peer->packets_lost,   &peer->messages_sent, &peer->messages_received,
        &peer->bytes_sent, &peer->bytes_received, &peer->queue_bytes};

    switch (key) {
    case 1:
        return get_name(decoder, peer->name);
    case 2:
        return get_nonzero(decoder, &peer->incarnation);
    case 3:
        return get_uint32(decoder, &peer->role);
    case 4:
        return rusmi_cbor_get_bool(&decoder->reader, &peer->dialed);
    case 5:
        return get_text(decoder, peer->address, RUSMI_WIRE_ADDRESS_MAX);
    case 6:
    case 7:
    case 8:
    case 9:
    case 10:
    case 11:
    case 12:
        return rusmi_cbor_get_uint(&decoder->reader, numbers[key - 6]);
    case 13:
        return rusmi_cbor_get_int(&decoder->reader, &peer->up_ms);
    case 14:
        return rusmi_cbor_get_int(&decoder->reader, &peer->cert_not_after);
    case 15:
        return get_text(decoder, peer->listen, RUSMI_WIRE_ADDRESS_MAX);
    case 16:
        return rusmi_cbor_get_uint(&decoder->reader, &peer->payload_max);
    case 17:
        return rusmi_cbor_get_uint(&decoder->reader, &peer->payload_shrunk);
    }
    return nothing_field(decoder, key, record);
}

static bool name_field(struct decoder *decoder, uint64_t key, void *record)
{
    struct rusmi_name_record *name = record;

    switch (key) {
    case 1:
        return get_name(decoder, name->name);
    case 2:
        return get_name(decoder, name->node);
    case 3:
        return get_nonzero(decoder, &name->pid.incarnation);
    case 4:
        return get_nonzero(decoder, &name->pid.serial);
    }
    return nothing_field(decoder, key, record);
}

static bool group_field(struct decoder *decoder, uint64_t key, void *record)
{
    struct rusmi_group_record *group = record;

    switch (key) {
    case 1:
        return get_name(decoder, group->name);
    case 2:
        return rusmi_cbor_get_uint(&decoder->reader, &group->members);
    case 3:
        return rusmi_cbor_get_uint(&decoder->reader, &group->local);
    }
    return nothing_field(decoder, key, record);
}

/* How the records of a list are read. */
struct record_kind {
    field_fn field;
    size_t size;
    uint32_t required;
};

static const struct record_kind *record_kind(uint32_t kind)
{
    static const struct record_kind processes = {process_field, sizeof(struct rusmi_process_record),
                                                 KEY(1) | KEY(2) | KEY(3) | KEY(4) | KEY(5) |
                                                     KEY(6)};
    static const struct record_kind peers = {peer_field, sizeof(struct rusmi_peer_record),
                                             KEY(1) | KEY(2) | KEY(3)};
    static const struct record_kind names = {name_field, sizeof(struct rusmi_name_record),
                                             KEY(1) | KEY(2) | KEY(3) | KEY(4)};
    static const struct record_kind groups = {group_field, sizeof(struct rusmi_group_record),
                                              KEY(1) | KEY(2) | KEY(3)};

    switch (kind) {
    case RUSMI_REQUEST_PROCESSES:
        return &processes;
    case RUSMI_REQUEST_PEERS:
        return &peers;
    case RUSMI_REQUEST_NAMES:
        return &names;
    case RUSMI_REQUEST_GROUPS:
        return &groups;
    }
    return NULL;
}

static bool reply_records(struct decoder *decoder, struct rusmi_reply *reply,
                          const struct record_kind *kind)
{
    uint64_t len;
    char *record;

    if (!rusmi_cbor_get_head(&decoder->reader, RUSMI_CBOR_ARRAY, &len)) {
        return false;
    }
    if (len > RUSMI_PAGE_MAX) {
        return fail(decoder, "too many records in one page");
    }
    if (len == 0) {
        return true;
    }
    record = decoder->frame->memory = rusmi_zalloc_array((size_t)len, kind->size);
    if (record == NULL) {
        decoder->no_memory = true;
        return fail(decoder, "out of memory");
    }
    reply->records.any = record;
    reply->records_len = (size_t)len;
    for (uint64_t i = 0; i < len; i++, record += kind->size) {
        uint64_t pairs;
        uint32_t seen = 0;

        if (!rusmi_cbor_get_head(&decoder->reader, RUSMI_CBOR_MAP, &pairs) ||
            !get_pairs(decoder, pairs, UINT64_MAX, kind->field, record, &seen) ||
            !require(decoder, seen, kind->required)) {
            return false;
        }
    }
    return true;
}

static bool reply_err(struct decoder *decoder, struct rusmi_reply *reply)
{
    int64_t err;

    if (!rusmi_cbor_get_int(&decoder->reader, &err)) {
        return false;
    }
    if (err > 0 || err < INT_MIN) {
        return fail(decoder, "an error code is positive or out of range");
    }
    reply->err = (rusm_err)err;
    return true;
}

static bool reply_field(struct decoder *decoder, uint64_t key, void *record)
{
    struct rusmi_reply *reply = record;
    const struct record_kind *list = record_kind(reply->kind);
    bool pid = reply->kind == RUSMI_REQUEST_SPAWN || reply->kind == RUSMI_REQUEST_WHEREIS;

    switch (key) {
    case 1:
        return rusmi_cbor_get_uint(&decoder->reader, &decoder->frame->id);
    case 2:
        return get_uint32(decoder, &reply->kind);
    case 3:
        return reply_err(decoder, reply);
    case 4:
        return get_text(decoder, reply->detail, RUSMI_DETAIL_MAX);
    case 5:
        return list != NULL ? rusmi_cbor_get_uint(&decoder->reader, &reply->cursor)
               : pid        ? get_nonzero(decoder, &reply->pid.incarnation)
                            : nothing_field(decoder, key, record);
    case 6:
        return list != NULL ? reply_records(decoder, reply, list)
               : pid        ? get_nonzero(decoder, &reply->pid.serial)
                            : nothing_field(decoder, key, record);
    }
    return nothing_field(decoder, key, record);
}

static uint32_t reply_required(const struct rusmi_reply *reply)
{
    uint32_t required = KEY(1) | KEY(2) | KEY(3);

    if (reply->err == RUSM_OK && reply->kind >= RUSMI_REQUEST_SPAWN &&
        reply->kind < RUSMI_REQUEST_KILL) {
        required |= KEY(5) | KEY(6);
    }
    return required;
}

static bool flow_field(struct decoder *decoder, uint64_t key, void *record)
{
    struct rusmi_flow *flow = record;

    switch (key) {
    case 1:
        return rusmi_cbor_get_bool(&decoder->reader, &flow->on);
    case 2:
        return get_nonzero(decoder, &flow->serial);
    case 3:
        return get_name(decoder, flow->name);
    }
    return nothing_field(decoder, key, record);
}

static bool flow_required(struct decoder *decoder, uint32_t seen)
{
    uint32_t destination = seen & (KEY(2) | KEY(3));

    if (destination != KEY(2) && destination != KEY(3)) {
        return fail(decoder, "flow names not exactly one of serial and name");
    }
    return require(decoder, seen, KEY(1));
}

static bool names_ask_field(struct decoder *decoder, uint64_t key, void *record)
{
    struct rusmi_names_ask *ask = record;

    switch (key) {
    case 1:
        return rusmi_cbor_get_uint(&decoder->reader, &decoder->frame->id);
    case 2:
        return get_name(decoder, ask->name);
    case 3:
        return get_nonzero(decoder, &ask->serial);
    case 4:
        return rusmi_cbor_get_uint(&decoder->reader, &ask->time);
    }
    return nothing_field(decoder, key, record);
}

static bool names_agree_field(struct decoder *decoder, uint64_t key, void *record)
{
    struct rusmi_names_agree *agree = record;

    switch (key) {
    case 1:
        return rusmi_cbor_get_uint(&decoder->reader, &decoder->frame->id);
    case 2:
        return get_name(decoder, agree->node);
    case 3:
        return get_nonzero(decoder, &agree->pid.incarnation);
    case 4:
        return get_nonzero(decoder, &agree->pid.serial);
    }
    return nothing_field(decoder, key, record);
}

static bool names_agree_required(struct decoder *decoder, uint32_t seen)
{
    uint32_t owner = seen & (KEY(2) | KEY(3) | KEY(4));

    if (owner != 0 && owner != (KEY(2) | KEY(3) | KEY(4))) {
        return fail(decoder, "the owner of a name is told in part");
    }
    return require(decoder, seen, KEY(1));
}

/* Bytes that stay in the frame, 1 to max of them. */
static bool get_bytes(struct decoder *decoder, size_t max, const uint8_t **out, size_t *out_len)
{
    if (!rusmi_cbor_get_string(&decoder->reader, RUSMI_CBOR_BYTES, out, out_len)) {
        return false;
    }
    return (*out_len != 0 && *out_len <= max) ||
           fail(decoder, "a certificate or its proof is empty or longer than its limit");
}

static bool certificate_field(struct decoder *decoder, uint64_t key, void *record)
{
    struct rusmi_certificate *certificate = record;

    switch (key) {
    case 1:
        return get_bytes(decoder, RUSMI_CERT_MAX, &certificate->der, &certificate->der_len);
    case 2:
        return get_bytes(decoder, RUSMI_PROOF_MAX, &certificate->proof, &certificate->proof_len);
    }
    return nothing_field(decoder, key, record);
}

/* Everything after `0: type`. */
static bool decode_body(struct decoder *decoder, uint64_t pairs)
{
    struct rusmi_frame *frame = decoder->frame;
    uint32_t seen = 0;

    switch (frame->type) {
    case RUSMI_FRAME_HELLO:
        return get_pairs(decoder, pairs, 0, hello_field, &frame->u.hello, &seen) &&
               require(decoder, seen, KEY(1) | KEY(2) | KEY(3) | KEY(4));
    case RUSMI_FRAME_ACCEPT:
    case RUSMI_FRAME_READY:
    case RUSMI_FRAME_LEAVE:
    case RUSMI_FRAME_NAMES_MORE:
    case RUSMI_FRAME_GROUPS_MORE:
        return get_pairs(decoder, pairs, 0, nothing_field, NULL, &seen);
    case RUSMI_FRAME_PING:
    case RUSMI_FRAME_PONG:
        return get_pairs(decoder, pairs, 0, ping_field, NULL, &seen) &&
               require(decoder, seen, KEY(1));
    case RUSMI_FRAME_NAMES_ADD:
    case RUSMI_FRAME_NAMES_DEL:
        return get_pairs(decoder, pairs, 0, names_field, NULL, &seen) &&
               require(decoder, seen, KEY(1));
    case RUSMI_FRAME_REQUEST:
        return get_pairs(decoder, pairs, 0, request_field, &frame->u.request, &seen) &&
               require(decoder, seen, request_required(frame->u.request.kind));
    case RUSMI_FRAME_REPLY:
        return get_pairs(decoder, pairs, 0, reply_field, &frame->u.reply, &seen) &&
               require(decoder, seen, reply_required(&frame->u.reply));
    case RUSMI_FRAME_FLOW:
        return get_pairs(decoder, pairs, 0, flow_field, &frame->u.flow, &seen) &&
               flow_required(decoder, seen);
    case RUSMI_FRAME_MEMBERS:
        return get_pairs(decoder, pairs, 0, members_field, NULL, &seen) &&
               require(decoder, seen, KEY(1));
    case RUSMI_FRAME_GROUPS_ADD:
    case RUSMI_FRAME_GROUPS_DEL:
        return get_pairs(decoder, pairs, 0, groups_field, NULL, &seen) &&
               require(decoder, seen, KEY(1));
    case RUSMI_FRAME_NAMES_ASK:
        return get_pairs(decoder, pairs, 0, names_ask_field, &frame->u.names_ask, &seen) &&
               require(decoder, seen, KEY(1) | KEY(2) | KEY(3) | KEY(4));
    case RUSMI_FRAME_NAMES_AGREE:
        return get_pairs(decoder, pairs, 0, names_agree_field, &frame->u.names_agree, &seen) &&
               names_agree_required(decoder, seen);
    case RUSMI_FRAME_CERTIFICATE:
        return get_pairs(decoder, pairs, 0, certificate_field, &frame->u.certificate, &seen) &&
               require(decoder, seen, KEY(1) | KEY(2));
    }
    if (frame->type < RUSMI_FRAME_EXTENSION) {
        return fail(decoder, "an unknown frame type");
    }
    return get_pairs(decoder, pairs, 0, nothing_field, NULL, &seen);
}

static bool decode_frame(struct decoder *decoder)
{
    uint64_t pairs, key;

    if (!rusmi_cbor_get_head(&decoder->reader, RUSMI_CBOR_MAP, &pairs)) {
        return false;
    }
    if (pairs == 0) {
        return fail(decoder, "the frame has no type");
    }
    if (!rusmi_cbor_get_uint(&decoder->reader, &key)) {
        return false;
    }
    if (key != 0) {
        return fail(decoder, "the frame does not begin with its type");
    }
    if (!rusmi_cbor_get_uint(&decoder->reader, &decoder->frame->type) ||
        !decode_body(decoder, pairs - 1)) {
        return false;
    }
    return decoder->reader.next == decoder->reader.end ||
           fail(decoder, "bytes follow the map in the frame");
}

rusm_err rusmi_control_decode(const uint8_t *bytes, size_t len, struct rusmi_frame *out_frame,
                              const char **out_why)
{
    struct rusmi_frame frame;
    struct decoder decoder = {.reader = {.next = bytes, .end = bytes + len}, .frame = &frame};

    memset(&frame, 0, sizeof(frame));
    if (len > RUSMI_FRAME_MAX) {
        (void)fail(&decoder, "the frame is longer than its limit");
    } else if (decode_frame(&decoder)) {
        *out_frame = frame;
        return RUSM_OK;
    }
    rusmi_frame_fini(&frame);
    if (decoder.no_memory) {
        return RUSM_ENOMEM;
    }
    if (out_why != NULL) {
        *out_why = decoder.reader.why;
    }
    return RUSM_EPROTO;
}

void rusmi_frame_fini(struct rusmi_frame *frame)
{
    rusmi_free(frame->memory);
    frame->memory = NULL;
}
