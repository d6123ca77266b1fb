/* SPDX-License-Identifier: MIT */
/*
 * Reading and writing single CBOR items over libcbor's streaming codec, which allocates nothing.
 *
 * A reader walks over bytes that it does not own; the first thing that is wrong stops it for good
 * and is kept as constant text in `why`. A writer appends to a buffer and remembers a failed
 * allocation, so that a sequence of puts is checked once at its end. Only definite lengths exist
 * here, floating point values are only ever skipped.
 */
#ifndef RUSMI_WIRE_CBOR_H
#define RUSMI_WIRE_CBOR_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Levels of arrays, maps and tags inside a value that is skipped. */
#define RUSMI_CBOR_NESTING_MAX 8u

enum rusmi_cbor_kind {
    RUSMI_CBOR_UINT,
    RUSMI_CBOR_NEGINT, /* the integer -1 - value */
    RUSMI_CBOR_BYTES,
    RUSMI_CBOR_TEXT,
    RUSMI_CBOR_ARRAY, /* value: elements that follow */
    RUSMI_CBOR_MAP,   /* value: pairs that follow */
    RUSMI_CBOR_TAG,
    RUSMI_CBOR_BOOL,
    RUSMI_CBOR_OTHER,      /* null, undefined, floating point */
    RUSMI_CBOR_INDEFINITE, /* never returned: refused */
};

struct rusmi_cbor_item {
    enum rusmi_cbor_kind kind;
    uint64_t value;
    const uint8_t *bytes; /* BYTES and TEXT: value of them, inside the input */
};

struct rusmi_cbor_reader {
    const uint8_t *next, *end;
    const char *why; /* NULL while all is well */
};

/* Note why, unless something was wrong before; always false. */
bool rusmi_cbor_fail(struct rusmi_cbor_reader *reader, const char *why);
bool rusmi_cbor_next(struct rusmi_cbor_reader *reader, struct rusmi_cbor_item *out_item);
/* Pass over one item with all that is in it. */
bool rusmi_cbor_skip(struct rusmi_cbor_reader *reader);
bool rusmi_cbor_get_uint(struct rusmi_cbor_reader *reader, uint64_t *out_value);
/* Any integer that fits. */
bool rusmi_cbor_get_int(struct rusmi_cbor_reader *reader, int64_t *out_value);
bool rusmi_cbor_get_bool(struct rusmi_cbor_reader *reader, bool *out_value);
/* kind is ARRAY or MAP; out_len is how many elements or pairs follow. */
bool rusmi_cbor_get_head(struct rusmi_cbor_reader *reader, enum rusmi_cbor_kind kind,
                         uint64_t *out_len);
/* kind is BYTES or TEXT; the bytes stay in the input. */
bool rusmi_cbor_get_string(struct rusmi_cbor_reader *reader, enum rusmi_cbor_kind kind,
                           const uint8_t **out_bytes, size_t *out_len);

struct rusmi_cbor_writer {
    struct rusmi_buf *buf;
    bool failed; /* memory ran out: what was written is not whole */
};

void rusmi_cbor_put_uint(struct rusmi_cbor_writer *writer, uint64_t value);
void rusmi_cbor_put_int(struct rusmi_cbor_writer *writer, int64_t value);
void rusmi_cbor_put_bool(struct rusmi_cbor_writer *writer, bool value);
void rusmi_cbor_put_array(struct rusmi_cbor_writer *writer, size_t len);
void rusmi_cbor_put_map(struct rusmi_cbor_writer *writer, size_t pairs);
void rusmi_cbor_put_bytes(struct rusmi_cbor_writer *writer, const void *bytes, size_t len);
/* text must be UTF-8. */
void rusmi_cbor_put_text(struct rusmi_cbor_writer *writer, const char *text, size_t len);

#endif
