/* SPDX-License-Identifier: MIT */
#include "trust/armor.h"

#include "base/assert.h"

#include <stdio.h>
#include <string.h>

#define LINE_BYTES 48 /* 64 characters (RFC 7468, section 2) */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int value_of(char c)
{
    const char *at = c == '\0' ? NULL : strchr(alphabet, c);

    return at == NULL ? -1 : (int)(at - alphabet);
}

static bool is_space(char c)
{
    return c == '\n' || c == '\r' || c == ' ' || c == '\t';
}

/* Decode base64 (RFC 4648, section 4) up to end, with canonical padding; false if it is not. */
static bool decode_base64(const char *text, const char *end, uint8_t *out_data, size_t *out_len)
{
    uint32_t bits = 0;
    unsigned count = 0, padding = 0;
    size_t len = 0;

    for (; text < end; text++) {
        int value = value_of(*text);

        if (is_space(*text)) {
            continue;
        }
        if (*text == '=') {
            padding++;
        } else if (value < 0 || padding > 0) {
            return false;
        }
        bits = bits << 6 | (uint32_t)(value < 0 ? 0 : value);
        if (++count % 4 != 0) {
            continue;
        }
        if (padding > 2 || (padding == 1 && (bits & 0xff) != 0) ||
            (padding == 2 && (bits & 0xffff) != 0)) {
            return false;
        }
        for (unsigned i = 0; i < 3 - padding; i++) {
            out_data[len++] = (uint8_t)(bits >> (16 - 8 * i));
        }
        bits = 0;
    }
    *out_len = len;
    return count % 4 == 0 && len > 0;
}

rusm_err rusmi_armor_decode(const char *text, const char *label, uint8_t *out_data, size_t *out_len)
{
    char line[RUSMI_ARMOR_LABEL_MAX + 20];
    const char *begin, *end;
    size_t len = 0;

    rusmi_assert(strlen(label) <= RUSMI_ARMOR_LABEL_MAX);
    (void)snprintf(line, sizeof(line), "-----BEGIN %s-----", label);
    begin = strstr(text, line);
    if (begin == NULL) {
        return RUSM_ENONAME;
    }
    begin += strlen(line);
    (void)snprintf(line, sizeof(line), "-----END %s-----", label);
    end = strstr(begin, line);
    if (end == NULL || !decode_base64(begin, end, out_data, &len)) {
        return RUSM_ECERT;
    }
    *out_len = len;
    return RUSM_OK;
}

static char *encode_group(const uint8_t *data, size_t len, char *at)
{
    uint32_t bits = (uint32_t)data[0] << 16;

    if (len > 1) {
        bits |= (uint32_t)data[1] << 8;
    }
    if (len > 2) {
        bits |= data[2];
    }
    *at++ = alphabet[bits >> 18];
    *at++ = alphabet[bits >> 12 & 63];
    *at++ = len > 1 ? alphabet[bits >> 6 & 63] : '=';
    *at++ = len > 2 ? alphabet[bits & 63] : '=';
    return at;
}

size_t rusmi_armor_encode(const uint8_t *data, size_t len, const char *label, char *out_text)
{
    const size_t line_max = RUSMI_ARMOR_LABEL_MAX + 20;
    char *at = out_text;

    rusmi_assert(strlen(label) <= RUSMI_ARMOR_LABEL_MAX);
    at += snprintf(at, line_max, "-----BEGIN %s-----\n", label);
    for (size_t i = 0; i < len; i += 3) {
        at = encode_group(data + i, len - i, at);
        if ((i + 3) % LINE_BYTES == 0 || i + 3 >= len) {
            *at++ = '\n';
        }
    }
    at += snprintf(at, line_max, "-----END %s-----\n", label);
    return (size_t)(at - out_text);
}
