/* SPDX-License-Identifier: MIT */
#include "cli/json.h"

#include "cli/text.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

void rusmi_json_init(struct rusmi_json *json, FILE *out)
{
    *json = (struct rusmi_json){.out = out, .empty = true};
}

static void write_string(FILE *out, const char *text)
{
    size_t len = strlen(text), taken;

    (void)fputc('"', out);
    for (size_t i = 0; i < len; i += taken) {
        uint32_t character;

        taken = rusmi_text_next(text + i, len - i, &character);
        if (character == '"' || character == '\\') {
            (void)fprintf(out, "\\%c", (int)character);
        } else if (character == '\n') {
            (void)fputs("\\n", out);
        } else if (character == '\t') {
            (void)fputs("\\t", out);
        } else if (character < 0x20 || character == 0x7F || character == RUSMI_TEXT_REPLACEMENT) {
            (void)fprintf(out, "\\u%04x", (unsigned)character);
        } else {
            (void)fwrite(text + i, 1, taken, out);
        }
    }
    (void)fputc('"', out);
}

/* What comes before a value: a comma, a line for each record of the outermost list, a key. */
static void write_key(struct rusmi_json *json, const char *key)
{
    assert((key != NULL) == (json->depth > 0 && json->closers[json->depth - 1] == '}'));
    if (!json->empty) {
        (void)fputc(',', json->out);
    }
    if (json->depth == 1 && key == NULL) {
        (void)fputc('\n', json->out);
    }
    json->empty = false;
    if (key != NULL) {
        write_string(json->out, key);
        (void)fputc(':', json->out);
    }
}

static void begin(struct rusmi_json *json, const char *key, char opener, char closer)
{
    write_key(json, key);
    assert(json->depth < RUSMI_JSON_DEPTH_MAX);
    json->closers[json->depth++] = closer;
    json->empty = true;
    (void)fputc(opener, json->out);
}

void rusmi_json_begin_object(struct rusmi_json *json, const char *key)
{
    begin(json, key, '{', '}');
}

void rusmi_json_begin_array(struct rusmi_json *json, const char *key)
{
    begin(json, key, '[', ']');
}

void rusmi_json_end(struct rusmi_json *json)
{
    char closer;

    assert(json->depth > 0);
    closer = json->closers[--json->depth];
    if (json->depth == 0 && closer == ']' && !json->empty) {
        (void)fputc('\n', json->out);
    }
    (void)fputc(closer, json->out);
    if (json->depth == 0) {
        (void)fputc('\n', json->out);
    }
    json->empty = false;
}

void rusmi_json_text(struct rusmi_json *json, const char *key, const char *text)
{
    write_key(json, key);
    if (text == NULL) {
        (void)fputs("null", json->out);
    } else {
        write_string(json->out, text);
    }
}

void rusmi_json_number(struct rusmi_json *json, const char *key, uint64_t number)
{
    write_key(json, key);
    (void)fprintf(json->out, "%" PRIu64, number);
}

void rusmi_json_integer(struct rusmi_json *json, const char *key, int64_t number)
{
    write_key(json, key);
    (void)fprintf(json->out, "%" PRId64, number);
}

void rusmi_json_bool(struct rusmi_json *json, const char *key, bool yes)
{
    write_key(json, key);
    (void)fputs(yes ? "true" : "false", json->out);
}
