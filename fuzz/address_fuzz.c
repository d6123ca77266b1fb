/* SPDX-License-Identifier: MIT */
/*
 * Addresses as text, which come from users, files, name servers and peers: what parses can be
 * written, and parses to the same address again.
 */
#include "base/assert.h"
#include "platform/udp.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t source[RUSMI_ADDRESS_SOURCE_LEN];
    struct rusmi_address address, again;
    char *text = malloc(size + 1), written[128];

    rusmi_assert(text != NULL);
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    if (rusmi_address_parse(text, &address)) {
        rusmi_address_format(&address, written, sizeof(written));
        rusmi_assert(rusmi_address_parse(written, &again));
        rusmi_assert(rusmi_address_equal(&address, &again));
        rusmi_address_source(&address, source);
        rusmi_assert(source[0] == 4 || source[0] == 6);
    }
    free(text);
    return 0;
}
