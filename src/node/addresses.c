/* SPDX-License-Identifier: MIT */
#include "node/addresses.h"

#include <rusm/otp/driver.h>

#include <stdio.h>
#include <string.h>

void rusmi_addresses_add(struct rusmi_addresses *addresses, const struct rusmi_address *address)
{
    char text[RUSM_ADDRESS_MAX] = "";

    rusmi_address_format(address, text, sizeof(text));
    if (rusmi_addresses_has(addresses, text)) {
        return;
    }
    if (addresses->len == RUSM_JOIN_ADDRESSES_MAX) {
        addresses->more = true;
        return;
    }
    memcpy(addresses->text[addresses->len++], text, sizeof(text));
}

bool rusmi_addresses_has(const struct rusmi_addresses *addresses, const char *text)
{
    for (size_t i = 0; i < addresses->len; i++) {
        if (strcmp(addresses->text[i], text) == 0) {
            return true;
        }
    }
    return false;
}

/* A NUL is a blank like others: a file may have any bytes. */
static bool separates(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ',' || c == '\0';
}

/* Tell of a word that is no address; what can not be shown on a terminal is not. */
static void refuse(const char *word, size_t len, unsigned line, bool numbered)
{
    char shown[RUSM_ADDRESS_MAX];
    char where[24] = "";
    size_t i;

    for (i = 0; i < len && i < sizeof(shown) - 1; i++) {
        shown[i] = word[i] >= '!' && word[i] <= '~' ? word[i] : '?';
    }
    shown[i] = '\0';
    if (numbered) {
        (void)snprintf(where, sizeof(where), "line %u: ", line);
    }
    (void)rusm_set_err_detail(
        RUSM_EINVAL, "%s%s is no numeric address \"IPv4:port\" or \"[IPv6]:port\"", where, shown);
}

static bool read_word(struct rusmi_addresses *addresses, const char *word, size_t len)
{
    struct rusmi_address address;
    char text[RUSM_ADDRESS_MAX];

    if (len >= sizeof(text)) {
        return false;
    }
    memcpy(text, word, len);
    text[len] = '\0';
    if (!rusmi_address_parse(text, &address)) {
        return false;
    }
    rusmi_addresses_add(addresses, &address);
    return true;
}

/* How much of a text that is too long is whole lines: half an address could be another one. */
static size_t whole_lines(const char *text)
{
    size_t len = RUSMI_ADDRESSES_TEXT_MAX;

    while (len > 0 && text[len - 1] != '\n') {
        len--;
    }
    return len;
}

bool rusmi_addresses_read(struct rusmi_addresses *addresses, const char *text, size_t text_len,
                          bool numbered)
{
    bool too_long = text_len > RUSMI_ADDRESSES_TEXT_MAX, good = true;
    const char *end = text + (too_long ? whole_lines(text) : text_len);
    unsigned line = 1;

    while (text < end) {
        size_t len = 0;

        if (*text == '#') {
            while (text < end && *text != '\n') {
                text++;
            }
            continue;
        }
        if (separates(*text)) {
            line += *text == '\n' ? 1 : 0;
            text++;
            continue;
        }
        while (text + len < end && !separates(text[len]) && text[len] != '#') {
            len++;
        }
        if (!read_word(addresses, text, len) && good) {
            good = false;
            refuse(text, len, line, numbered);
        }
        text += len;
    }
    if (too_long && good) {
        (void)rusm_set_err_detail(RUSM_EFULL, "longer than %zu bytes: the rest is not read",
                                  RUSMI_ADDRESSES_TEXT_MAX);
    }
    return good && !too_long;
}
