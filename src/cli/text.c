/* SPDX-License-Identifier: MIT */
#include "cli/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

#define SECONDS_MAX ((uint64_t)366 * 86400)

/* ---- characters */

size_t rusmi_text_next(const char *text, size_t len, uint32_t *out_character)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *at = (const unsigned char *)text;
    uint32_t character = at[0];
    size_t need = 1;

    if (character >= 0xF0 && character < 0xF8) {
        need = 4;
        character &= 0x07;
    } else if (character >= 0xE0 && character < 0xF0) {
        need = 3;
        character &= 0x0F;
    } else if (character >= 0xC0 && character < 0xE0) {
        need = 2;
        character &= 0x1F;
    } else if (character >= 0x80) {
        *out_character = RUSMI_TEXT_REPLACEMENT;
        return 1;
    }
    for (size_t i = 1; i < need; i++) {
        if (i >= len || (at[i] & 0xC0) != 0x80) {
            *out_character = RUSMI_TEXT_REPLACEMENT;
            return 1;
        }
        character = character << 6 | (at[i] & 0x3Fu);
    }
    if (character < smallest[need] || character > 0x10FFFF ||
        (character >= 0xD800 && character < 0xE000)) {
        *out_character = RUSMI_TEXT_REPLACEMENT;
        return 1;
    }
    *out_character = character;
    return need;
}

/* Characters that move the cursor, end the line or change the direction of writing. */
static bool is_unsafe(uint32_t character)
{
    return character < 0x20 || (character >= 0x7F && character < 0xA0) || character == 0x61C ||
           (character >= 0x200E && character <= 0x200F) ||
           (character >= 0x2028 && character <= 0x202E) ||
           (character >= 0x2066 && character <= 0x2069);
}

size_t rusmi_text_clean(const char *text, char *buf, size_t buf_len)
{
    size_t len = strlen(text), done = 0, taken;

    for (size_t i = 0; i < len; i += taken) {
        char escaped[16];
        const char *from = text + i;
        size_t from_len;
        uint32_t character;

        taken = from_len = rusmi_text_next(from, len - i, &character);
        if ((character == RUSMI_TEXT_REPLACEMENT && taken == 1) || character < 0x80) {
            if (is_unsafe(character) || character >= 0x80) {
                from_len = (size_t)snprintf(escaped, sizeof(escaped), "\\x%02x",
                                            (unsigned)(unsigned char)*from);
                from = escaped;
            }
        } else if (is_unsafe(character)) {
            from_len = (size_t)snprintf(escaped, sizeof(escaped), "\\u{%x}", (unsigned)character);
            from = escaped;
        }
        if (done + from_len >= buf_len) {
            break;
        }
        memcpy(buf + done, from, from_len);
        done += from_len;
    }
    buf[done] = '\0';
    return done;
}

size_t rusmi_text_width(const char *text)
{
    size_t len = strlen(text), width = 0, taken;

    for (size_t i = 0; i < len; i += taken) {
        uint32_t character;
        int columns;

        taken = rusmi_text_next(text + i, len - i, &character);
        /* The wide characters of Linux are Unicode, in every locale; -1 is one that it does not
         * know. */
        columns = wcwidth((wchar_t)character);
        width += columns < 0 ? 1 : (size_t)columns;
    }
    return width;
}

/* ---- for people */

void rusmi_text_date(int64_t seconds, char buf[RUSMI_TEXT_SHORT])
{
    time_t when = (time_t)seconds;
    struct tm tm;

    if (gmtime_r(&when, &tm) == NULL || strftime(buf, RUSMI_TEXT_SHORT, "%Y-%m-%d", &tm) == 0) {
        (void)snprintf(buf, RUSMI_TEXT_SHORT, "@%" PRId64, seconds);
    }
}

void rusmi_text_age(int64_t ms, char buf[RUSMI_TEXT_SHORT])
{
    int64_t s = ms / 1000;

    if (ms < 1000) {
        (void)snprintf(buf, RUSMI_TEXT_SHORT, "%" PRId64 " ms", ms);
    } else if (s < 60) {
        (void)snprintf(buf, RUSMI_TEXT_SHORT, "%" PRId64 " s", s);
    } else if (s < 3600) {
        (void)snprintf(buf, RUSMI_TEXT_SHORT, "%" PRId64 "m%02ds", s / 60, (int)(s % 60));
    } else if (s < 86400) {
        (void)snprintf(buf, RUSMI_TEXT_SHORT, "%" PRId64 "h%02dm", s / 3600, (int)(s / 60 % 60));
    } else {
        (void)snprintf(buf, RUSMI_TEXT_SHORT, "%" PRId64 "d%02dh", s / 86400, (int)(s / 3600 % 24));
    }
}

void rusmi_text_bytes(uint64_t bytes, char buf[RUSMI_TEXT_SHORT])
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes / 1024.0;
    size_t unit = 0;

    if (bytes < 1024) {
        (void)snprintf(buf, RUSMI_TEXT_SHORT, "%" PRIu64 " B", bytes);
        return;
    }
    while (value >= 1023.95 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024.0;
        unit++;
    }
    (void)snprintf(buf, RUSMI_TEXT_SHORT, "%.1f %s", value, units[unit]);
}

void rusmi_text_us(uint64_t us, char buf[RUSMI_TEXT_SHORT])
{
    if (us < 1000) {
        (void)snprintf(buf, RUSMI_TEXT_SHORT, "%" PRIu64 " us", us);
    } else if (us < 1000000) {
        (void)snprintf(buf, RUSMI_TEXT_SHORT, "%.2f ms", (double)us / 1e3);
    } else {
        (void)snprintf(buf, RUSMI_TEXT_SHORT, "%.2f s", (double)us / 1e6);
    }
}

/* ---- from people */

/* Read digits from *at on, and leave *at behind them; false if there are none or too many. */
static bool read_digits(const char **at, uint64_t *out_number)
{
    uint64_t number = 0;
    const char *from = *at;

    for (; **at >= '0' && **at <= '9'; ++*at) {
        uint64_t digit = (uint64_t)(**at - '0');

        if (number > (UINT64_MAX - digit) / 10) {
            return false;
        }
        number = number * 10 + digit;
    }
    *out_number = number;
    return *at != from;
}

bool rusmi_text_number(const char *text, uint64_t min, uint64_t max, uint64_t *out_number)
{
    uint64_t number;

    if (!read_digits(&text, &number) || *text != '\0' || number < min || number > max) {
        return false;
    }
    *out_number = number;
    return true;
}

bool rusmi_text_seconds(const char *text, int64_t *out_ms)
{
    uint64_t seconds = 0, ms = 0;

    if (!read_digits(&text, &seconds) || seconds > SECONDS_MAX) {
        return false;
    }
    if (*text == '.') {
        const char *from = ++text;

        if (!read_digits(&text, &ms) || text - from > 3) {
            return false;
        }
        for (ptrdiff_t digits = text - from; digits < 3; digits++) {
            ms *= 10;
        }
    }
    if (*text != '\0' || (seconds == 0 && ms == 0)) {
        return false;
    }
    *out_ms = (int64_t)(seconds * 1000 + ms);
    return true;
}
