/* SPDX-License-Identifier: MIT */
/*
 * Headers of messages: what decodes can be sent, encodes to no more bytes than it came from, and
 * decodes to the same again; any part of it asks for more. The same of what a stream is offered
 * with, at the front of a body.
 */
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "wire/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(const struct rusmi_message_head *a, const struct rusmi_message_head *b)
{
    rusmi_assert(a->prev == b->prev && a->sender == b->sender && a->serial == b->serial);
    rusmi_assert(a->kind == b->kind && a->name_len == b->name_len && a->body_len == b->body_len);
    rusmi_assert(a->name_len == 0 || memcmp(a->name, b->name, a->name_len) == 0);
}

static void check_offer(const uint8_t *body, size_t body_len)
{
    uint8_t bytes[RUSMI_STREAM_OFFER_MAX + RUSMI_MESSAGE_HEAD_MAX];
    struct rusmi_stream_offer offer, again;
    const char *why = NULL;
    ptrdiff_t len = rusmi_stream_offer_decode(body, body_len, &offer, &why);
    size_t encoded, used;

    if (len < 0) {
        rusmi_assert(len == RUSM_EPROTO && why != NULL);
        return;
    }
    used = offer.writing ? 0 : (size_t)offer.used;
    rusmi_assert((size_t)len <= body_len && used <= body_len - (size_t)len);
    rusmi_assert(offer.capacity != 0 && offer.used <= offer.capacity);
    encoded = rusmi_stream_offer_encode(bytes, &offer);
    rusmi_assert(encoded <= (size_t)len);
    if (used <= RUSMI_MESSAGE_HEAD_MAX) {
        rusmi_assert(rusmi_stream_offer_decode(bytes, encoded + used, &again, &why) ==
                     (ptrdiff_t)encoded);
        rusmi_assert(again.writing == offer.writing && again.capacity == offer.capacity &&
                     again.used == offer.used);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t room[RUSMI_VARINT_LEN_MAX + RUSMI_MESSAGE_HEAD_MAX];
    uint8_t *tail = room + RUSMI_VARINT_LEN_MAX;
    struct rusmi_message_head head, again;
    const char *why = NULL;
    ptrdiff_t len = rusmi_message_head_decode(data, size, &head, &why);
    size_t tail_len, prev_len;

    if (len < 0) {
        rusmi_assert(len == RUSM_EPROTO && why != NULL);
        return 0;
    }
    if (len == 0) {
        rusmi_assert(size < RUSMI_MESSAGE_HEAD_MAX);
        return 0;
    }
    rusmi_assert((size_t)len <= size && (size_t)len <= RUSMI_MESSAGE_HEAD_MAX);
    for (size_t part = 0; part < (size_t)len; part++) {
        rusmi_assert(rusmi_message_head_decode(data, part, &again, &why) == 0);
    }
    rusmi_assert(rusmi_message_head_check(&head) == RUSM_OK);
    tail_len = rusmi_message_tail_encode(tail, &head);
    rusmi_assert(tail_len == rusmi_message_tail_len(&head));
    prev_len = rusmi_message_prev_encode(tail, head.prev);
    rusmi_assert(prev_len + tail_len <= (size_t)len);
    rusmi_assert(rusmi_message_head_decode(tail - prev_len, prev_len + tail_len, &again, &why) ==
                 (ptrdiff_t)(prev_len + tail_len));
    check_same(&head, &again);
    if (head.kind == RUSMI_MESSAGE_STREAM_OFFER) {
        check_offer(data + len, size - (size_t)len);
    }
    return 0;
}
