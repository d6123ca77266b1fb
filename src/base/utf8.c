/* SPDX-License-Identifier: MIT */
#include "base/utf8.h"

#include <rusm/types.h>

#include <string.h>

/* Length of the character at p, 0 if it is malformed. */
static size_t utf8_char(const unsigned char *p, size_t left)
{
    static const unsigned least[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len;
    unsigned code;

    if (p[0] < 0x80) {
        return 1;
    }
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        len = 2;
        code = p[0] & 0x1fu;
    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        len = 3;
        code = p[0] & 0x0fu;
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        len = 4;
        code = p[0] & 0x07u;
    } else {
        return 0;
    }
    if (left < len) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = (code << 6) | (p[i] & 0x3fu);
    }
    if (code < least[len] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
        return 0;
    }
    return len;
}

bool rusmi_utf8_valid(const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text;

    while (len > 0) {
        size_t n = utf8_char(p, len);

        if (n == 0) {
            return false;
        }
        p += n;
        len -= n;
    }
    return true;
}

/* Whether all eight bytes are ASCII and none is a control character or DEL. A borrow out of one
 * byte only adds alarms, for which the caller looks again. */
static bool is_plain(uint64_t eight)
{
    const uint64_t ones = 0x0101010101010101u, high = 0x80 * ones;
    uint64_t del = eight ^ (0x7f * ones);

    return ((eight | (eight - 0x20 * ones) | (del - ones)) & high) == 0;
}

/* Names are checked at each message that carries one, and nearly all are plain. */
static bool is_plain_name(const char *text, size_t len)
{
    uint64_t eight;
    size_t i = 0;

    for (; i + sizeof(eight) <= len; i += sizeof(eight)) {
        memcpy(&eight, text + i, sizeof(eight));
        if (!is_plain(eight)) {
            return false;
        }
    }
    memset(&eight, 'a', sizeof(eight));
    memcpy(&eight, text + i, len - i);
    return is_plain(eight);
}

bool rusmi_name_valid(const char *text, size_t len)
{
    if (len == 0 || len > RUSM_NAME_MAX) {
        return false;
    }
    if (is_plain_name(text, len)) {
        return true;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c < 0x20 || c == 0x7f) {
            return false;
        }
    }
    return rusmi_utf8_valid(text, len);
}

size_t rusmi_utf8_cut(const char *text, size_t len, size_t max)
{
    if (len <= max) {
        return len;
    }
    while (max > 0 && ((unsigned char)text[max] & 0xc0) == 0x80) {
        max--;
    }
    return max;
}
