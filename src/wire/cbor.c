/* SPDX-License-Identifier: MIT */
#include "wire/cbor.h"

#include <cbor.h>

/* A head is one byte and at most eight of value. */
#define CBOR_HEAD_MAX ((size_t)9)

static void set(void *context, enum rusmi_cbor_kind kind, uint64_t value, const uint8_t *bytes)
{
    struct rusmi_cbor_item *item = context;

    *item = (struct rusmi_cbor_item){.kind = kind, .value = value, .bytes = bytes};
}

static void on_uint8(void *context, uint8_t value)
{
    set(context, RUSMI_CBOR_UINT, value, NULL);
}

static void on_uint16(void *context, uint16_t value)
{
    set(context, RUSMI_CBOR_UINT, value, NULL);
}

static void on_uint32(void *context, uint32_t value)
{
    set(context, RUSMI_CBOR_UINT, value, NULL);
}

static void on_uint64(void *context, uint64_t value)
{
    set(context, RUSMI_CBOR_UINT, value, NULL);
}

static void on_negint8(void *context, uint8_t value)
{
    set(context, RUSMI_CBOR_NEGINT, value, NULL);
}

static void on_negint16(void *context, uint16_t value)
{
    set(context, RUSMI_CBOR_NEGINT, value, NULL);
}

static void on_negint32(void *context, uint32_t value)
{
    set(context, RUSMI_CBOR_NEGINT, value, NULL);
}

static void on_negint64(void *context, uint64_t value)
{
    set(context, RUSMI_CBOR_NEGINT, value, NULL);
}

static void on_bytes(void *context, cbor_data bytes, size_t len)
{
    set(context, RUSMI_CBOR_BYTES, len, bytes);
}

static void on_text(void *context, cbor_data bytes, size_t len)
{
    set(context, RUSMI_CBOR_TEXT, len, bytes);
}

static void on_array(void *context, size_t len)
{
    set(context, RUSMI_CBOR_ARRAY, len, NULL);
}

static void on_map(void *context, size_t pairs)
{
    set(context, RUSMI_CBOR_MAP, pairs, NULL);
}

static void on_tag(void *context, uint64_t value)
{
    set(context, RUSMI_CBOR_TAG, value, NULL);
}

static void on_bool(void *context, bool value)
{
    set(context, RUSMI_CBOR_BOOL, value, NULL);
}

static void on_float(void *context, float value)
{
    (void)value;
    set(context, RUSMI_CBOR_OTHER, 0, NULL);
}

static void on_double(void *context, double value)
{
    (void)value;
    set(context, RUSMI_CBOR_OTHER, 0, NULL);
}

static void on_other(void *context)
{
    set(context, RUSMI_CBOR_OTHER, 0, NULL);
}

static void on_indefinite(void *context)
{
    set(context, RUSMI_CBOR_INDEFINITE, 0, NULL);
}

static const struct cbor_callbacks callbacks = {
    .uint8 = on_uint8,
    .uint16 = on_uint16,
    .uint32 = on_uint32,
    .uint64 = on_uint64,
    .negint8 = on_negint8,
    .negint16 = on_negint16,
    .negint32 = on_negint32,
    .negint64 = on_negint64,
    .byte_string_start = on_indefinite,
    .byte_string = on_bytes,
    .string = on_text,
    .string_start = on_indefinite,
    .indef_array_start = on_indefinite,
    .array_start = on_array,
    .indef_map_start = on_indefinite,
    .map_start = on_map,
    .tag = on_tag,
    .float2 = on_float,
    .float4 = on_float,
    .float8 = on_double,
    .undefined = on_other,
    .null = on_other,
    .boolean = on_bool,
    .indef_break = on_indefinite,
};

bool rusmi_cbor_fail(struct rusmi_cbor_reader *reader, const char *why)
{
    if (reader->why == NULL) {
        reader->why = why;
    }
    return false;
}

bool rusmi_cbor_next(struct rusmi_cbor_reader *reader, struct rusmi_cbor_item *out_item)
{
    struct rusmi_cbor_item item = {.kind = RUSMI_CBOR_OTHER};
    struct cbor_decoder_result result;

    if (reader->why != NULL) {
        return false;
    }
    result =
        cbor_stream_decode(reader->next, (size_t)(reader->end - reader->next), &callbacks, &item);
    switch (result.status) {
    case CBOR_DECODER_FINISHED:
        break;
    case CBOR_DECODER_NEDATA:
        return rusmi_cbor_fail(reader, "the frame ends inside an item");
    case CBOR_DECODER_ERROR:
        return rusmi_cbor_fail(reader, "not well-formed CBOR");
    }
    if (item.kind == RUSMI_CBOR_INDEFINITE) {
        return rusmi_cbor_fail(reader, "an item of indefinite length");
    }
    reader->next += result.read;
    *out_item = item;
    return true;
}

/* Items are passed over in a loop; `left` counts what each open level still expects. */
bool rusmi_cbor_skip(struct rusmi_cbor_reader *reader)
{
    uint64_t left[RUSMI_CBOR_NESTING_MAX + 1] = {1};
    size_t depth = 0;
    struct rusmi_cbor_item item;

    for (;;) {
        uint64_t inside = 0;

        while (left[depth] == 0) {
            if (depth == 0) {
                return true;
            }
            depth--;
        }
        left[depth]--;
        if (!rusmi_cbor_next(reader, &item)) {
            return false;
        }
        if (item.kind == RUSMI_CBOR_ARRAY) {
            inside = item.value;
        } else if (item.kind == RUSMI_CBOR_MAP) {
            inside = item.value > UINT64_MAX / 2 ? UINT64_MAX : item.value * 2;
        } else if (item.kind == RUSMI_CBOR_TAG) {
            inside = 1;
        }
        if (inside != 0) {
            if (depth == RUSMI_CBOR_NESTING_MAX) {
                return rusmi_cbor_fail(reader, "a value is nested too deeply");
            }
            left[++depth] = inside;
        }
    }
}

bool rusmi_cbor_get_uint(struct rusmi_cbor_reader *reader, uint64_t *out_value)
{
    struct rusmi_cbor_item item;

    if (!rusmi_cbor_next(reader, &item)) {
        return false;
    }
    if (item.kind != RUSMI_CBOR_UINT) {
        return rusmi_cbor_fail(reader, "not an unsigned integer where one is required");
    }
    *out_value = item.value;
    return true;
}

bool rusmi_cbor_get_int(struct rusmi_cbor_reader *reader, int64_t *out_value)
{
    struct rusmi_cbor_item item;

    if (!rusmi_cbor_next(reader, &item)) {
        return false;
    }
    if (item.kind != RUSMI_CBOR_UINT && item.kind != RUSMI_CBOR_NEGINT) {
        return rusmi_cbor_fail(reader, "not an integer where one is required");
    }
    if (item.value > INT64_MAX) {
        return rusmi_cbor_fail(reader, "an integer is out of range");
    }
    *out_value = item.kind == RUSMI_CBOR_UINT ? (int64_t)item.value : -1 - (int64_t)item.value;
    return true;
}

bool rusmi_cbor_get_bool(struct rusmi_cbor_reader *reader, bool *out_value)
{
    struct rusmi_cbor_item item;

    if (!rusmi_cbor_next(reader, &item)) {
        return false;
    }
    if (item.kind != RUSMI_CBOR_BOOL) {
        return rusmi_cbor_fail(reader, "not true or false where one is required");
    }
    *out_value = item.value != 0;
    return true;
}

bool rusmi_cbor_get_head(struct rusmi_cbor_reader *reader, enum rusmi_cbor_kind kind,
                         uint64_t *out_len)
{
    struct rusmi_cbor_item item;

    if (!rusmi_cbor_next(reader, &item)) {
        return false;
    }
    if (item.kind != kind) {
        return rusmi_cbor_fail(reader, kind == RUSMI_CBOR_MAP
                                           ? "not a map where one is required"
                                           : "not an array where one is required");
    }
    *out_len = item.value;
    return true;
}

bool rusmi_cbor_get_string(struct rusmi_cbor_reader *reader, enum rusmi_cbor_kind kind,
                           const uint8_t **out_bytes, size_t *out_len)
{
    struct rusmi_cbor_item item;

    if (!rusmi_cbor_next(reader, &item)) {
        return false;
    }
    if (item.kind != kind) {
        return rusmi_cbor_fail(reader, kind == RUSMI_CBOR_TEXT
                                           ? "not a text string where one is required"
                                           : "not a byte string where one is required");
    }
    *out_bytes = item.bytes;
    *out_len = (size_t)item.value;
    return true;
}

/* Room for one head; NULL once memory has run out. */
static uint8_t *head_room(struct rusmi_cbor_writer *writer)
{
    uint8_t *room = writer->failed ? NULL : rusmi_buf_reserve(writer->buf, CBOR_HEAD_MAX);

    writer->failed = room == NULL;
    return room;
}

void rusmi_cbor_put_uint(struct rusmi_cbor_writer *writer, uint64_t value)
{
    uint8_t *room = head_room(writer);

    if (room != NULL) {
        rusmi_buf_commit(writer->buf, cbor_encode_uint(value, room, CBOR_HEAD_MAX));
    }
}

void rusmi_cbor_put_int(struct rusmi_cbor_writer *writer, int64_t value)
{
    uint8_t *room;

    if (value >= 0) {
        rusmi_cbor_put_uint(writer, (uint64_t)value);
        return;
    }
    room = head_room(writer);
    if (room != NULL) {
        rusmi_buf_commit(writer->buf,
                         cbor_encode_negint((uint64_t)(-1 - value), room, CBOR_HEAD_MAX));
    }
}

void rusmi_cbor_put_bool(struct rusmi_cbor_writer *writer, bool value)
{
    uint8_t *room = head_room(writer);

    if (room != NULL) {
        rusmi_buf_commit(writer->buf, cbor_encode_bool(value, room, CBOR_HEAD_MAX));
    }
}

void rusmi_cbor_put_array(struct rusmi_cbor_writer *writer, size_t len)
{
    uint8_t *room = head_room(writer);

    if (room != NULL) {
        rusmi_buf_commit(writer->buf, cbor_encode_array_start(len, room, CBOR_HEAD_MAX));
    }
}

void rusmi_cbor_put_map(struct rusmi_cbor_writer *writer, size_t pairs)
{
    uint8_t *room = head_room(writer);

    if (room != NULL) {
        rusmi_buf_commit(writer->buf, cbor_encode_map_start(pairs, room, CBOR_HEAD_MAX));
    }
}

void rusmi_cbor_put_bytes(struct rusmi_cbor_writer *writer, const void *bytes, size_t len)
{
    uint8_t *room = head_room(writer);

    if (room != NULL) {
        rusmi_buf_commit(writer->buf, cbor_encode_bytestring_start(len, room, CBOR_HEAD_MAX));
        writer->failed = !rusmi_buf_append(writer->buf, bytes, len);
    }
}

void rusmi_cbor_put_text(struct rusmi_cbor_writer *writer, const char *text, size_t len)
{
    uint8_t *room = head_room(writer);

    if (room != NULL) {
        rusmi_buf_commit(writer->buf, cbor_encode_string_start(len, room, CBOR_HEAD_MAX));
        writer->failed = !rusmi_buf_append(writer->buf, text, len);
    }
}
