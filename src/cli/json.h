/* SPDX-License-Identifier: MIT */
/*
 * Writes one JSON document (RFC 8259), piece by piece, to a stream. Lists may be endless: nothing
 * is kept but the open brackets.
 *
 * Strings may hold any bytes: what is no UTF-8 becomes U+FFFD, so the document always parses. Whole
 * numbers are written exactly; what may exceed 2^53, where many readers round, is the caller's to
 * write as text. Not thread-safe.
 */
#ifndef RUSMI_CLI_JSON_H
#define RUSMI_CLI_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define RUSMI_JSON_DEPTH_MAX 8

struct rusmi_json {
    FILE *out;
    unsigned depth;
    char closers[RUSMI_JSON_DEPTH_MAX];
    bool empty; /* nothing was written since the last bracket was opened */
};

void rusmi_json_init(struct rusmi_json *json, FILE *out);

/* For each: key is the member's name inside an object, and NULL inside an array and at the top. */
void rusmi_json_begin_object(struct rusmi_json *json, const char *key);
void rusmi_json_begin_array(struct rusmi_json *json, const char *key);
/* Close the last bracket that is open; after the outermost the line ends, too. */
void rusmi_json_end(struct rusmi_json *json);

/* text NULL is null. */
void rusmi_json_text(struct rusmi_json *json, const char *key, const char *text);
void rusmi_json_number(struct rusmi_json *json, const char *key, uint64_t number);
void rusmi_json_integer(struct rusmi_json *json, const char *key, int64_t number);
void rusmi_json_bool(struct rusmi_json *json, const char *key, bool yes);

#endif
