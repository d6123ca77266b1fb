/* SPDX-License-Identifier: MIT */
/*
 * Files of addresses that a node is to join (node/addresses.h): any bytes.
 *
 *   what is read are addresses, each once, in the spelling in which they are dialled
 *   what is refused or left out is told of, in text that a terminal can show
 *   what was read, written one in a line, is read as the same
 */
#include "base/assert.h"
#include "node/addresses.h"

#include <rusm/otp/driver.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct rusmi_addresses *addresses)
{
    rusmi_assert(addresses->len <= RUSM_JOIN_ADDRESSES_MAX);
    for (size_t i = 0; i < addresses->len; i++) {
        struct rusmi_address address;
        char text[RUSM_ADDRESS_MAX];

        rusmi_assert(rusmi_address_parse(addresses->text[i], &address));
        rusmi_address_format(&address, text, sizeof(text));
        rusmi_assert(strcmp(text, addresses->text[i]) == 0);
        for (size_t k = 0; k < i; k++) {
            rusmi_assert(strcmp(addresses->text[i], addresses->text[k]) != 0);
        }
    }
}

static void check_detail(void)
{
    const char *detail = rusm_err_detail();

    rusmi_assert(detail[0] != '\0');
    for (; *detail != '\0'; detail++) {
        rusmi_assert(*detail >= ' ' && *detail <= '~');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct rusmi_addresses first, second;
    static char lines[RUSM_JOIN_ADDRESSES_MAX * RUSM_ADDRESS_MAX];
    size_t lines_len = 0;
    char *text = malloc(size + (size == 0 ? 1 : 0)); /* of its size: reads past it are seen */
    bool numbered = size % 2 == 0;

    rusmi_assert(text != NULL);
    if (size > 0) {
        memcpy(text, data, size);
    }
    memset(&first, 0, sizeof(first));
    memset(&second, 0, sizeof(second));
    (void)rusm_set_err_detail(RUSM_OK, "%s", "");
    if (!rusmi_addresses_read(&first, text, size, numbered)) {
        check_detail();
    }
    free(text);
    check(&first);
    for (size_t i = 0; i < first.len; i++) {
        size_t len = strlen(first.text[i]);

        memcpy(lines + lines_len, first.text[i], len);
        lines[lines_len + len] = '\n';
        lines_len += len + 1;
    }
    rusmi_assert(rusmi_addresses_read(&second, lines, lines_len, numbered) && !second.more);
    rusmi_assert(second.len == first.len);
    for (size_t i = 0; i < first.len; i++) {
        rusmi_assert(strcmp(first.text[i], second.text[i]) == 0);
    }
    return 0;
}
