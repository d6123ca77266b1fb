/* SPDX-License-Identifier: MIT */
#include "wire/message.h"

#include <string.h>

/* What follows the sender, by kind. */
enum {
    KNOWN = 1,
    BY_NAME = 2,
    NUMBERED = 4,
    FIRST = 8,      /* in protocol version 1 already */
    SENT = 16,      /* it is of a process, so it has a sender */
    OF_STREAM = 32, /* it is for a stream */
};

static const uint8_t kinds[] = {
    [RUSMI_MESSAGE_TO_SERIAL] = KNOWN | FIRST,
    [RUSMI_MESSAGE_TO_NAME] = KNOWN | FIRST | BY_NAME,
    [RUSMI_MESSAGE_CALL] = KNOWN | NUMBERED | SENT,
    [RUSMI_MESSAGE_CAST] = KNOWN,
    [RUSMI_MESSAGE_REPLY] = KNOWN | NUMBERED | SENT,
    [RUSMI_MESSAGE_TO_GROUP] = KNOWN | BY_NAME,
    [RUSMI_MESSAGE_LINK] = KNOWN | NUMBERED | SENT,
    [RUSMI_MESSAGE_UNLINK] = KNOWN | NUMBERED | SENT,
    [RUSMI_MESSAGE_UNLINKED] = KNOWN | NUMBERED | SENT,
    [RUSMI_MESSAGE_MONITOR] = KNOWN | NUMBERED | SENT,
    [RUSMI_MESSAGE_DEMONITOR] = KNOWN | NUMBERED | SENT,
    [RUSMI_MESSAGE_EXIT] = KNOWN | SENT,
    [RUSMI_MESSAGE_DOWN] = KNOWN | NUMBERED | SENT,
    [RUSMI_MESSAGE_ASK_EXIT] = KNOWN,
    [RUSMI_MESSAGE_STREAM_OFFER] = KNOWN | NUMBERED | SENT,
    [RUSMI_MESSAGE_STREAM_DATA] = KNOWN | OF_STREAM,
    [RUSMI_MESSAGE_STREAM_CREDIT] = KNOWN | OF_STREAM | NUMBERED,
    [RUSMI_MESSAGE_STREAM_END] = KNOWN | OF_STREAM | NUMBERED,
    [RUSMI_MESSAGE_STOP] = KNOWN | SENT,
    [RUSMI_MESSAGE_BORN_LINKED] = KNOWN | NUMBERED | SENT,
    [RUSMI_MESSAGE_BORN_WATCHED] = KNOWN | NUMBERED | SENT,
};

static inline uint8_t traits(uint8_t kind)
{
    return kind < sizeof(kinds) ? kinds[kind] : 0;
}

bool rusmi_message_kind_known(uint8_t kind)
{
    return traits(kind) != 0;
}

bool rusmi_message_by_name(uint8_t kind)
{
    return (traits(kind) & BY_NAME) != 0;
}

bool rusmi_message_numbered(uint8_t kind)
{
    return (traits(kind) & NUMBERED) != 0;
}

bool rusmi_message_of_stream(uint8_t kind)
{
    return (traits(kind) & OF_STREAM) != 0;
}

unsigned rusmi_message_version(uint8_t kind)
{
    return (traits(kind) & FIRST) != 0 ? 1 : 2;
}

static bool lacks_sender(const struct rusmi_message_head *head)
{
    return head->sender == 0 && (traits(head->kind) & SENT) != 0;
}

size_t rusmi_varint_len(uint64_t value)
{
    if (value < (1u << 6)) {
        return 1;
    }
    if (value < (1u << 14)) {
        return 2;
    }
    return value < (1u << 30) ? 4 : 8;
}

size_t rusmi_varint_encode(uint8_t *out, uint64_t value)
{
    size_t len = rusmi_varint_len(value);

    for (size_t i = len; i > 0; i--) {
        out[i - 1] = (uint8_t)value;
        value >>= 8;
    }
    /* The two top bits of the first byte are the logarithm of the length (RFC 9000, 16). */
    out[0] |= len == 1 ? 0 : len == 2 ? 0x40 : len == 4 ? 0x80 : 0xc0;
    return len;
}

/* As rusmi_varint_encode(), for numbers that are mostly short: serials of processes, lengths. */
static uint8_t *put_varint(uint8_t *at, uint64_t value)
{
    if (value < (1u << 6)) {
        *at = (uint8_t)value;
        return at + 1;
    }
    if (value < (1u << 14)) {
        at[0] = (uint8_t)(0x40 | value >> 8);
        at[1] = (uint8_t)value;
        return at + 2;
    }
    return at + rusmi_varint_encode(at, value);
}

size_t rusmi_varint_decode(const uint8_t *data, size_t len, uint64_t *out_value)
{
    uint64_t value;
    size_t need;

    if (len == 0) {
        return 0;
    }
    value = data[0] & 0x3fu;
    need = (size_t)1 << (data[0] >> 6);
    if (len < need) {
        return 0;
    }
    for (size_t i = 1; i < need; i++) {
        value = value << 8 | data[i];
    }
    *out_value = value;
    return need;
}

rusm_err rusmi_message_head_check(const struct rusmi_message_head *head)
{
    if (head->body_len > RUSM_MESSAGE_MAX) {
        return RUSM_EMSGSIZE;
    }
    if (head->sender > RUSMI_VARINT_MAX || !rusmi_message_kind_known(head->kind) ||
        lacks_sender(head)) {
        return RUSM_EINVAL;
    }
    if (rusmi_message_numbered(head->kind) &&
        (head->number == 0 || head->number > RUSMI_VARINT_MAX)) {
        return RUSM_EINVAL;
    }
    if (rusmi_message_by_name(head->kind)) {
        return head->name == NULL || head->name_len == 0 ? RUSM_EINVAL : RUSM_OK;
    }
    return head->serial == 0 || head->serial > RUSMI_VARINT_MAX ? RUSM_EINVAL : RUSM_OK;
}

size_t rusmi_message_tail_len(const struct rusmi_message_head *head)
{
    size_t to = rusmi_message_by_name(head->kind) ? (size_t)1 + head->name_len
                                                  : rusmi_varint_len(head->serial);
    size_t number = rusmi_message_numbered(head->kind) ? rusmi_varint_len(head->number) : 0;

    return 1 + rusmi_varint_len(head->sender) + to + number + rusmi_varint_len(head->body_len);
}

size_t rusmi_message_tail_encode(uint8_t *out, const struct rusmi_message_head *head)
{
    uint8_t *at = out;

    *at++ = head->kind;
    at = put_varint(at, head->sender);
    if (rusmi_message_by_name(head->kind)) {
        *at++ = head->name_len;
        memcpy(at, head->name, head->name_len);
        at += head->name_len;
    } else {
        at = put_varint(at, head->serial);
    }
    if (rusmi_message_numbered(head->kind)) {
        at = put_varint(at, head->number);
    }
    at = put_varint(at, head->body_len);
    return (size_t)(at - out);
}

size_t rusmi_message_prev_encode(uint8_t *tail, uint64_t prev)
{
    size_t len = rusmi_varint_len(prev);

    put_varint(tail - len, prev);
    return len;
}

/* What is left of the input. */
struct cursor {
    const uint8_t *data;
    size_t len;
};

static void cursor_skip(struct cursor *cursor, size_t len)
{
    cursor->data += len;
    cursor->len -= len;
}

/* False if the input ends before the number does. */
static inline bool cursor_varint(struct cursor *cursor, uint64_t *out_value)
{
    size_t len = 1;

    if (cursor->len > 0 && cursor->data[0] < 0x40) {
        *out_value = cursor->data[0];
    } else {
        len = rusmi_varint_decode(cursor->data, cursor->len, out_value);
    }
    cursor_skip(cursor, len);
    return len > 0;
}

static bool cursor_byte(struct cursor *cursor, uint8_t *out_value)
{
    if (cursor->len == 0) {
        return false;
    }
    *out_value = cursor->data[0];
    cursor_skip(cursor, 1);
    return true;
}

/* The destination. 1: read; 0: the input ends before it does; RUSM_EPROTO with a reason. */
static int decode_to(struct cursor *cursor, struct rusmi_message_head *head, const char **out_why)
{
    if (!rusmi_message_by_name(head->kind)) {
        if (!cursor_varint(cursor, &head->serial)) {
            return 0;
        }
        if (head->serial == 0) {
            *out_why = "a message is addressed to serial 0";
            return RUSM_EPROTO;
        }
        return 1;
    }
    if (!cursor_byte(cursor, &head->name_len)) {
        return 0;
    }
    if (head->name_len == 0) {
        *out_why = "a message is addressed to an empty name";
        return RUSM_EPROTO;
    }
    if (cursor->len < head->name_len) {
        return 0;
    }
    head->name = (const char *)cursor->data;
    cursor_skip(cursor, head->name_len);
    return 1;
}

ptrdiff_t rusmi_message_head_decode(const uint8_t *data, size_t len,
                                    struct rusmi_message_head *out_head, const char **out_why)
{
    struct cursor cursor = {data, len};
    struct rusmi_message_head head = {0};
    uint64_t body_len;
    int to;

    if (!cursor_varint(&cursor, &head.prev) || !cursor_byte(&cursor, &head.kind)) {
        return 0;
    }
    if (!rusmi_message_kind_known(head.kind)) {
        *out_why = "a message is of an unknown kind";
        return RUSM_EPROTO;
    }
    if (!cursor_varint(&cursor, &head.sender)) {
        return 0;
    }
    if (lacks_sender(&head)) {
        *out_why = "a signal comes from no process";
        return RUSM_EPROTO;
    }
    to = decode_to(&cursor, &head, out_why);
    if (to <= 0) {
        return to;
    }
    if (rusmi_message_numbered(head.kind)) {
        if (!cursor_varint(&cursor, &head.number)) {
            return 0;
        }
        if (head.number == 0) {
            *out_why = "a message carries the number 0";
            return RUSM_EPROTO;
        }
    }
    if (!cursor_varint(&cursor, &body_len)) {
        return 0;
    }
    if (body_len > RUSM_MESSAGE_MAX) {
        *out_why = "a message is larger than the limit";
        return RUSM_EPROTO;
    }
    head.body_len = (uint32_t)body_len;
    *out_head = head;
    return cursor.data - data;
}

size_t rusmi_stream_offer_encode(uint8_t out[RUSMI_STREAM_OFFER_MAX],
                                 const struct rusmi_stream_offer *offer)
{
    uint8_t *at = out;

    *at++ = offer->writing ? 1 : 0;
    at = put_varint(at, offer->capacity);
    at = put_varint(at, offer->used);
    return (size_t)(at - out);
}

ptrdiff_t rusmi_stream_offer_decode(const uint8_t *data, size_t len,
                                    struct rusmi_stream_offer *out_offer, const char **out_why)
{
    struct cursor cursor = {data, len};
    struct rusmi_stream_offer offer = {0};
    uint8_t end;

    if (!cursor_byte(&cursor, &end) || !cursor_varint(&cursor, &offer.capacity) ||
        !cursor_varint(&cursor, &offer.used)) {
        *out_why = "an offer of a stream is cut";
        return RUSM_EPROTO;
    }
    offer.writing = end == 1;
    if (end > 1 || offer.capacity == 0 || offer.used > offer.capacity) {
        *out_why = "an offer of a stream makes no sense";
        return RUSM_EPROTO;
    }
    if (!offer.writing && offer.used > cursor.len) {
        *out_why = "an offer of a stream is shorter than what was written";
        return RUSM_EPROTO;
    }
    *out_offer = offer;
    return cursor.data - data;
}
