/* SPDX-License-Identifier: MIT */
/* PEM armour: what decodes fits into the room of its text, and survives encoding. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "trust/armor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), *encoded;
    uint8_t *first = malloc(size + 1), *second;
    size_t len = 0, again = 0;

    rusmi_assert(text != NULL && first != NULL);
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    if (rusmi_armor_decode(text, "KEY", first, &len) == RUSM_OK) {
        rusmi_assert(len > 0 && len <= size);
        encoded = malloc(RUSMI_ARMOR_SIZE(len));
        second = malloc(RUSMI_ARMOR_SIZE(len));
        rusmi_assert(encoded != NULL && second != NULL);
        again = rusmi_armor_encode(first, len, "KEY", encoded);
        rusmi_assert(again == strlen(encoded));
        rusmi_assert(rusmi_armor_decode(encoded, "KEY", second, &again) == RUSM_OK);
        rusmi_assert(again == len && memcmp(first, second, len) == 0);
        free(encoded);
        free(second);
    }
    free(text);
    free(first);
    return 0;
}
